//! `Heartbeat`: a worker's state.

use pyo3::prelude::*;
use telemetry_core::wire::{OutgoingHeartbeat, OutgoingTask};

use crate::errors::EncodeError;

/// A worker's state, as in the message of that name.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Heartbeat(pub(crate) OutgoingHeartbeat);

#[pymethods]
impl Heartbeat {
    #[new]
    #[pyo3(signature = (
        *, worker_id, cpu_usage, memory_usage, gpu_usage, timestamp_unix_ns, running_tasks = Vec::new()
    ))]
    fn new(
        worker_id: String,
        cpu_usage: f64,
        memory_usage: f64,
        gpu_usage: f64,
        timestamp_unix_ns: i64,
        running_tasks: Vec<(String, String, String, i64)>,
    ) -> PyResult<Self> {
        let running_tasks = running_tasks.into_iter().map(|(task_id, name, status, started_unix_ns)| OutgoingTask {
            task_id,
            name,
            status,
            started_unix_ns,
        });
        let running_tasks = running_tasks.collect();
        let heartbeat =
            OutgoingHeartbeat { worker_id, cpu_usage, memory_usage, gpu_usage, timestamp_unix_ns, running_tasks };
        heartbeat.check().map_err(|error| EncodeError::new_err(error.to_string()))?;
        Ok(Self(heartbeat))
    }

    fn without_tasks(&self) -> Self {
        Self(OutgoingHeartbeat { running_tasks: Vec::new(), ..self.0.clone() })
    }
}
