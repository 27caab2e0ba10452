//! `Blocks`.

use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use telemetry_core::columns::{ArrowAssembler, TimestampUnit};
use telemetry_core::export::Totals;
use telemetry_core::ingest;
use telemetry_core::line_protocol::LineEncoder;

use crate::errors::CoreError;
use crate::line_protocol::LineProtocol;
use crate::record_batch::RecordBatch;
use crate::requests::Requests;

/// A contiguous range of the journal, decoded.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Blocks {
    inner: ingest::Blocks,
    encoders: Arc<Encoders>,
}

/// What a cursor's blocks share, so that a series is turned into codes or text once and not once a read. Each is bounded
/// by itself, and takes nothing until it is used.
pub(crate) struct Encoders {
    arrow: Mutex<ArrowAssembler>,
    lines: Mutex<LineEncoder>,
    totals: Mutex<Totals>,
}

impl Default for Encoders {
    fn default() -> Self {
        Self {
            arrow: Mutex::new(ArrowAssembler::new()),
            lines: Mutex::new(LineEncoder::new(0)),
            totals: Mutex::default(),
        }
    }
}

impl Blocks {
    pub(crate) fn new(inner: ingest::Blocks, encoders: Arc<Encoders>) -> Self {
        Self { inner, encoders }
    }
}

/// The unit that Python means. `ValueError` for another.
pub(crate) fn unit_named(name: &str) -> PyResult<TimestampUnit> {
    match name {
        "us" => Ok(TimestampUnit::Microseconds),
        "ns" => Ok(TimestampUnit::Nanoseconds),
        other => Err(PyValueError::new_err(format!("timestamp_unit {other:?}: expected 'us' or 'ns'"))),
    }
}

#[pymethods]
impl Blocks {
    #[getter]
    fn start(&self) -> u64 {
        self.inner.start.get()
    }

    #[getter]
    fn end(&self) -> u64 {
        self.inner.end.get()
    }

    #[getter]
    fn batches(&self) -> usize {
        self.inner.blocks.len()
    }

    #[getter]
    fn points(&self) -> usize {
        self.inner.points
    }

    #[getter]
    fn hour(&self) -> i64 {
        self.inner.hour()
    }

    #[getter]
    fn received_first_us(&self) -> i64 {
        self.inner.blocks.first().map_or(0, |block| block.received_unix_us)
    }

    #[getter]
    fn received_last_us(&self) -> i64 {
        self.inner.blocks.last().map_or(0, |block| block.received_unix_us)
    }

    #[pyo3(signature = (timestamp_unit = "us"))]
    fn record_batch(&self, py: Python<'_>, timestamp_unit: &str) -> PyResult<RecordBatch> {
        let unit = unit_named(timestamp_unit)?;
        let batch = py.detach(|| {
            let mut assembler = self.encoders.arrow.lock();
            assembler.reserve(self.inner.points);
            for block in &self.inner.blocks {
                if let Err(error) = assembler.push(block) {
                    // What it has taken so far is nobody's.
                    *assembler = ArrowAssembler::new();
                    return Err(error.to_string());
                }
            }
            assembler.finish(unit).map_err(|error| error.to_string())
        });
        Ok(RecordBatch::from(batch.map_err(CoreError::new_err)?))
    }

    fn otlp(&self, py: Python<'_>, bytes_max: usize) -> Requests {
        py.detach(|| Requests::otlp(&self.inner.blocks, bytes_max))
    }

    fn remote_write(&self, py: Python<'_>, bytes_max: usize) -> Requests {
        py.detach(|| {
            let mut totals = self.encoders.totals.lock();
            totals.begin(self.inner.start.get(), self.inner.end.get());
            Requests::remote_write(&self.inner.blocks, bytes_max, &mut totals)
        })
    }

    fn line_protocol(&self, py: Python<'_>, bytes_max: usize) -> LineProtocol {
        py.detach(|| {
            let mut encoder = self.encoders.lines.lock();
            encoder.set_bytes_max(bytes_max);
            LineProtocol::of(&self.inner.blocks, &mut encoder)
        })
    }
}
