//! Heartbeats on their way to whoever keeps the workers: the newest of each, until they are handed on.
//!
//! Nobody need ask for them. What waits is bounded in workers and in bytes, and over it heartbeats are ignored and counted:
//! a newer one follows anyway.

use std::collections::HashMap;
use std::sync::Arc;

use crate::limits::RUNNING_TASKS_MAX;

/// Workers whose heartbeat waits; over it, those of further workers are ignored and counted.
const WORKERS_MAX: usize = 100_000;
/// Bytes of what waits, about; a heartbeat that would exceed them is ignored and counted.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// A worker's state as it was reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// Name of the worker: the node of its identity, except where a relay speaks for it.
    pub worker_id: Arc<str>,
    /// The `node_id` among its batch's common tags, else the node that the certificate names; of a relay's, the worker.
    pub node_id: Arc<str>,
    /// 0 to 1 of all cores; -1 where it is not known, as with the other two.
    pub cpu_usage: f64,
    /// 0 to 1 of physical memory.
    pub memory_usage: f64,
    /// 0 to 1 of the busiest device; -1 without a device.
    pub gpu_usage: f64,
    /// What runs on it, the first [`RUNNING_TASKS_MAX`].
    pub running_tasks: Vec<RunningTask>,
    /// When it was taken, nanoseconds since 1970.
    pub timestamp_unix_ns: i64,
}

/// One task of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunningTask {
    /// Unique on its worker.
    pub task_id: String,
    /// Human-readable.
    pub name: String,
    /// As the worker calls it.
    pub status: String,
    /// When it started, nanoseconds since 1970.
    pub started_unix_ns: u64,
}

impl Heartbeat {
    /// What it takes in memory, about.
    fn bytes(&self) -> usize {
        let text = |task: &RunningTask| task.task_id.len() + task.name.len() + task.status.len();
        let tasks: usize = self.running_tasks.iter().map(|task| size_of::<RunningTask>() + text(task)).sum();
        size_of::<Self>() + self.worker_id.len() + self.node_id.len() + tasks
    }
}

/// The newest heartbeat of each worker since it was last handed on.
#[derive(Debug, Default)]
pub struct Heartbeats {
    waiting: HashMap<Arc<str>, Heartbeat>,
    bytes: usize,
    taken: u64,
    ignored: u64,
}

impl Heartbeats {
    /// Keeps a heartbeat unless a newer one of its worker waits. One with a number that is NaN or above 1 is ignored, as is
    /// one for which there is no room.
    pub fn take(&mut self, mut heartbeat: Heartbeat) {
        heartbeat.running_tasks.truncate(RUNNING_TASKS_MAX);
        let usages = [&mut heartbeat.cpu_usage, &mut heartbeat.memory_usage, &mut heartbeat.gpu_usage];
        let numbers = usages.iter().all(|usage| **usage <= 1.0);
        // Below zero is all the same, and minus infinity is no number to the readers of JSON.
        for usage in usages {
            *usage = usage.max(-1.0);
        }
        let before = self.waiting.get(&heartbeat.worker_id);
        let (known, freed) = (before.is_some(), before.map_or(0, Heartbeat::bytes));
        let bytes = self.bytes - freed + heartbeat.bytes();
        if !numbers || bytes > BYTES_MAX || (!known && self.waiting.len() >= WORKERS_MAX) {
            self.ignored += 1;
            return;
        }
        self.taken += 1;
        if before.is_some_and(|before| before.timestamp_unix_ns > heartbeat.timestamp_unix_ns) {
            return;
        }
        self.bytes = bytes;
        self.waiting.insert(Arc::clone(&heartbeat.worker_id), heartbeat);
    }

    /// Hands on what waits, `count_max` at most, in no particular order. What is left is handed on by the next call.
    pub fn hand_on(&mut self, count_max: usize) -> Vec<Heartbeat> {
        let handed: Vec<Heartbeat> = if self.waiting.len() <= count_max {
            std::mem::take(&mut self.waiting).into_values().collect()
        } else {
            let some: Vec<Arc<str>> = self.waiting.keys().take(count_max).map(Arc::clone).collect();
            some.iter().filter_map(|worker_id| self.waiting.remove(worker_id)).collect()
        };
        self.bytes -= handed.iter().map(Heartbeat::bytes).sum::<usize>();
        handed
    }

    /// Heartbeats taken and heartbeats ignored.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.taken, self.ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(worker_id: &str, cpu_usage: f64, timestamp_unix_ns: i64) -> Heartbeat {
        Heartbeat {
            worker_id: worker_id.into(),
            node_id: "node-1".into(),
            cpu_usage,
            memory_usage: 0.5,
            gpu_usage: f64::NEG_INFINITY,
            running_tasks: vec![RunningTask::default(); RUNNING_TASKS_MAX + 1],
            timestamp_unix_ns,
        }
    }

    #[test]
    fn the_newest_timestamp_wins_whatever_the_order_of_arrival() {
        let mut heartbeats = Heartbeats::default();
        heartbeats.take(heartbeat("a", 0.2, 2));
        heartbeats.take(heartbeat("a", 0.1, 1));
        let newest = heartbeats.hand_on(1).pop().expect("one worker is known");
        assert_eq!((newest.timestamp_unix_ns, newest.running_tasks.len()), (2, RUNNING_TASKS_MAX));
        assert_eq!((newest.cpu_usage, newest.gpu_usage), (0.2, -1.0));
        assert_eq!(heartbeats.counts(), (2, 0));
    }

    #[test]
    fn a_number_above_one_or_not_a_number_is_ignored_and_counted() {
        let mut heartbeats = Heartbeats::default();
        heartbeats.take(heartbeat("a", 1.5, 1));
        heartbeats.take(heartbeat("a", f64::NAN, 1));
        assert_eq!((heartbeats.hand_on(9).len(), heartbeats.counts()), (0, (0, 2)));
    }

    #[test]
    fn each_is_handed_on_once_and_no_more_than_asked_for_at_a_time() {
        let mut heartbeats = Heartbeats::default();
        for worker in 0..5 {
            heartbeats.take(heartbeat(&format!("worker-{worker}"), 0.5, 1));
        }
        let mut handed: Vec<_> = (0..4).map(|_| heartbeats.hand_on(2)).collect();
        assert_eq!(handed.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1, 0]);
        let mut names: Vec<_> = handed.drain(..).flatten().map(|one| one.worker_id).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), heartbeats.bytes), (5, 0));
    }

    #[test]
    fn what_nobody_asks_for_is_bounded_in_bytes_and_workers_that_wait_go_on() {
        let mut heartbeats = Heartbeats::default();
        let fat = |worker: usize, timestamp| Heartbeat {
            running_tasks: vec![RunningTask { name: "x".repeat(1_024), ..RunningTask::default() }; RUNNING_TASKS_MAX],
            ..heartbeat(&format!("worker-{worker}"), 0.5, timestamp)
        };
        for worker in 0..100 {
            heartbeats.take(fat(worker, 1));
        }
        let (taken, ignored) = heartbeats.counts();
        assert!(ignored > 0 && taken > 30 && heartbeats.bytes <= BYTES_MAX, "{taken} taken, {ignored} ignored");
        heartbeats.take(fat(0, 2));
        assert_eq!(heartbeats.counts(), (taken + 1, ignored));
        assert_eq!(heartbeats.hand_on(1_000).len() as u64, taken);
    }
}
