//! Requests of other protocols, ready to be sent.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use telemetry_core::columns::PointBlock;
use telemetry_core::export::{self, Totals, otlp, prometheus};

/// Holds its bodies as Python bytes, so that reading them twice copies nothing.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Requests {
    bodies: Vec<Py<PyBytes>>,
    points: Vec<u64>,
    rewritten: u64,
}

impl Requests {
    pub(crate) fn otlp(blocks: &[Arc<PointBlock>], bytes_max: usize) -> Self {
        Self::of(otlp::encode(blocks, bytes_max))
    }

    pub(crate) fn remote_write(blocks: &[Arc<PointBlock>], bytes_max: usize, totals: &mut Totals) -> Self {
        Self::of(prometheus::encode(blocks, bytes_max, totals))
    }

    /// Each body goes into Python's memory by itself: two copies of all would be much.
    fn of(written: export::Requests) -> Self {
        let points = written.requests.iter().map(|request| request.points).collect();
        let copied = |request: export::Request| Python::attach(|py| PyBytes::new(py, &request.body).unbind());
        Self { bodies: written.requests.into_iter().map(copied).collect(), points, rewritten: written.rewritten }
    }
}

#[pymethods]
impl Requests {
    #[getter]
    fn bodies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, &self.bodies)
    }

    #[getter]
    fn points(&self) -> Vec<u64> {
        self.points.clone()
    }

    #[getter]
    fn rewritten(&self) -> u64 {
        self.rewritten
    }
}
