//! Lines ready to be sent.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use telemetry_core::columns::PointBlock;
use telemetry_core::line_protocol::LineEncoder;

/// Holds its chunks as Python bytes, so that reading them twice copies nothing.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct LineProtocol {
    chunks: Vec<Py<PyBytes>>,
    lines: u64,
    rewritten: u64,
}

impl LineProtocol {
    /// The lines of blocks. Each chunk goes into Python's memory as soon as it is full: two copies of all would be much.
    pub(crate) fn of(blocks: &[Arc<PointBlock>], encoder: &mut LineEncoder) -> Self {
        let mut chunks = Vec::new();
        for block in blocks {
            encoder.push(block);
            encoder.drain(|chunk| chunks.push(copied(chunk)));
        }
        let rest = encoder.finish();
        chunks.extend(rest.chunks.iter().map(|chunk| copied(chunk)));
        Self { chunks, lines: rest.lines, rewritten: rest.rewritten }
    }
}

/// Takes the GIL for the copy alone.
fn copied(chunk: &[u8]) -> Py<PyBytes> {
    Python::attach(|py| PyBytes::new(py, chunk).unbind())
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
