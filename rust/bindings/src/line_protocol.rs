//! Lines ready to be sent.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use telemetry_core::line_protocol::Lines;

/// Holds its chunks as Python bytes, so that reading them twice copies nothing.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct LineProtocol {
    chunks: Vec<Py<PyBytes>>,
    lines: u64,
    rewritten: u64,
}

impl LineProtocol {
    /// Copies the chunks into Python's memory.
    pub(crate) fn new(py: Python<'_>, lines: &Lines) -> Self {
        Self {
            chunks: lines.chunks.iter().map(|chunk| PyBytes::new(py, chunk).unbind()).collect(),
            lines: lines.lines,
            rewritten: lines.rewritten,
        }
    }
}

#[pymethods]
impl LineProtocol {
    #[getter]
    fn chunks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, &self.chunks)
    }

    #[getter]
    fn lines(&self) -> u64 {
        self.lines
    }

    #[getter]
    fn rewritten(&self) -> u64 {
        self.rewritten
    }
}
