//! `Ack` and `AckReader`: the collector's answers, as a sender reads them.

use parking_lot::Mutex;
use pyo3::prelude::*;
use telemetry_core::wire;

use crate::errors::CoreError;

/// A `BatchAck`.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Ack(wire::BatchAck);

#[pymethods]
impl Ack {
    #[getter]
    fn sequence(&self) -> u64 {
        self.0.sequence
    }

    #[getter]
    fn outcome(&self) -> u32 {
        self.0.outcome.number()
    }

    #[getter]
    fn accepted_points(&self) -> u32 {
        self.0.accepted_points
    }

    #[getter]
    fn rejected_points(&self) -> u32 {
        self.0.rejected_points
    }

    #[getter]
    fn rejections(&self) -> Vec<(u32, u32, &str)> {
        self.0.rejections.iter().map(|one| (one.reason.number(), one.points, one.example.as_str())).collect()
    }

    #[getter]
    fn credit(&self) -> u32 {
        self.0.credit
    }

    #[getter]
    fn retry_after_ms(&self) -> u32 {
        self.0.retry_after_ms
    }
}

/// Splits a stream's received bytes into `BatchAck`s.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct AckReader(Mutex<wire::AckReader>);

#[pymethods]
impl AckReader {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(wire::AckReader::default()))
    }

    fn feed(&self, py: Python<'_>, data: &[u8]) -> PyResult<Vec<Ack>> {
        let acks = py.detach(|| self.0.lock().feed(data));
        let acks = acks.map_err(|error| CoreError::new_err(error.to_string()))?;
        Ok(acks.into_iter().map(Ack).collect())
    }
}
