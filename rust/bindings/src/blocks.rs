//! `Blocks`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use telemetry_core::columns::{ArrowAssembler, TimestampUnit};
use telemetry_core::ingest;
use telemetry_core::line_protocol::LineEncoder;

use crate::errors::CoreError;
use crate::line_protocol::LineProtocol;
use crate::record_batch::RecordBatch;

/// A contiguous range of the journal, decoded.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Blocks(ingest::Blocks);

impl Blocks {
    pub(crate) fn new(inner: ingest::Blocks) -> Self {
        Self(inner)
    }
}

#[pymethods]
impl Blocks {
    #[getter]
    fn start(&self) -> u64 {
        self.0.start.get()
    }

    #[getter]
    fn end(&self) -> u64 {
        self.0.end.get()
    }

    #[getter]
    fn batches(&self) -> usize {
        self.0.blocks.len()
    }

    #[getter]
    fn points(&self) -> usize {
        self.0.points
    }

    #[getter]
    fn hour(&self) -> i64 {
        self.0.hour()
    }

    #[getter]
    fn received_first_us(&self) -> i64 {
        self.0.blocks.first().map_or(0, |block| block.received_unix_us)
    }

    #[getter]
    fn received_last_us(&self) -> i64 {
        self.0.blocks.last().map_or(0, |block| block.received_unix_us)
    }

    #[pyo3(signature = (timestamp_unit = "us"))]
    fn record_batch(&self, py: Python<'_>, timestamp_unit: &str) -> PyResult<RecordBatch> {
        let unit = match timestamp_unit {
            "us" => TimestampUnit::Microseconds,
            "ns" => TimestampUnit::Nanoseconds,
            other => return Err(PyValueError::new_err(format!("timestamp_unit {other:?}: expected 'us' or 'ns'"))),
        };
        let batch = py.detach(|| {
            let mut assembler = ArrowAssembler::new();
            for block in &self.0.blocks {
                assembler.push(block).map_err(|error| error.to_string())?;
            }
            assembler.finish(unit).map_err(|error| error.to_string())
        });
        Ok(RecordBatch::from(batch.map_err(CoreError::new_err)?))
    }

    fn line_protocol(&self, py: Python<'_>, bytes_max: usize) -> LineProtocol {
        let lines = py.detach(|| {
            let mut encoder = LineEncoder::new(bytes_max);
            self.0.blocks.iter().for_each(|block| encoder.push(block));
            encoder.finish()
        });
        LineProtocol::new(py, &lines)
    }
}
