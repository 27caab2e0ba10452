//! Heartbeats as Python has them: plain tuples, which cost least to make and are no use beyond their first reader.

use telemetry_core::ingest::heartbeats::Heartbeat;
use telemetry_core::ingest::worker_points::WorkerState;

/// `(worker_id, node_id, cpu_usage, memory_usage, gpu_usage, running_tasks, timestamp_unix_ns)`, and a task is
/// `(task_id, name, status, started_unix_ns)`.
pub(crate) type TakenHeartbeat = (String, String, f64, f64, f64, Vec<(String, String, String, u64)>, i64);

/// The same, with how many tasks there are instead of the tasks.
pub(crate) type StateOfWorker = (String, String, f64, f64, f64, u32, i64);

pub(crate) fn taken(heartbeat: Heartbeat) -> TakenHeartbeat {
    let tasks = heartbeat.running_tasks.into_iter();
    (
        heartbeat.worker_id.as_ref().to_owned(),
        heartbeat.node_id.as_ref().to_owned(),
        heartbeat.cpu_usage,
        heartbeat.memory_usage,
        heartbeat.gpu_usage,
        tasks.map(|task| (task.task_id, task.name, task.status, task.started_unix_ns)).collect(),
        heartbeat.timestamp_unix_ns,
    )
}

pub(crate) fn state(given: StateOfWorker) -> WorkerState {
    let (worker_id, node_id, cpu_usage, memory_usage, gpu_usage, running_tasks, timestamp_unix_ns) = given;
    WorkerState { worker_id, node_id, cpu_usage, memory_usage, gpu_usage, running_tasks, timestamp_unix_ns }
}
