//! `FrameEncoder`: the sending half of one stream.

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use telemetry_core::wire;
use telemetry_core::wire::{BatchName, Compression, EncoderSettings, Form};

use crate::batch::Batch;
use crate::errors::EncodeError;
use crate::heartbeat::Heartbeat;

/// Encodes batches for one stream and remembers which series the stream has defined.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct FrameEncoder(Mutex<wire::FrameEncoder>);

#[pymethods]
impl FrameEncoder {
    /// Without `frame_bytes_max` frames may be as long as a length prefix can say, and the caller minds the collector's limit.
    #[new]
    #[pyo3(signature = (*, form = "columnar", references = false, compression = "none", frame_bytes_max = u32::MAX))]
    fn new(form: &str, references: bool, compression: &str, frame_bytes_max: u32) -> PyResult<Self> {
        let form = match form {
            "dense" => Form::Dense,
            "columnar" => Form::Columnar,
            "row" => Form::Row,
            other => return Err(PyValueError::new_err(format!("form is {other:?}; dense, columnar or row are right"))),
        };
        let compression = match compression {
            "none" => Compression::None,
            "gzip" => Compression::Gzip,
            "zstd" => Compression::Zstd,
            other => {
                let message = format!("compression is {other:?}; none, gzip or zstd are right");
                return Err(PyValueError::new_err(message));
            }
        };
        let frame_bytes_max = frame_bytes_max as usize;
        let settings = EncoderSettings { form, references, compression, frame_bytes_max, ..EncoderSettings::default() };
        let encoder = wire::FrameEncoder::new(settings).map_err(|error| refused(&error))?;
        Ok(Self(Mutex::new(encoder)))
    }

    #[getter]
    fn definitions(&self, py: Python<'_>) -> usize {
        py.detach(|| self.0.lock().definitions())
    }

    #[pyo3(signature = (batch, *, sequence, epoch, oldest_unacknowledged = 0, heartbeat = None))]
    fn frame<'py>(
        &self,
        py: Python<'py>,
        batch: Option<&Bound<'_, Batch>>,
        sequence: u64,
        epoch: u64,
        oldest_unacknowledged: u64,
        heartbeat: Option<&Bound<'_, Heartbeat>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let name = BatchName { sequence, epoch, oldest_unacknowledged };
        let batch = batch.map(|batch| &batch.get().0);
        let heartbeat = heartbeat.map(|heartbeat| &heartbeat.get().0);
        let frame = py.detach(|| {
            let mut frame = Vec::new();
            self.0.lock().frame(batch, name, heartbeat, &mut frame).map(|()| frame)
        });
        Ok(PyBytes::new(py, &frame.map_err(|error| refused(&error))?))
    }

    #[staticmethod]
    #[pyo3(signature = (*, sequence, epoch, oldest_unacknowledged = 0))]
    fn question(py: Python<'_>, sequence: u64, epoch: u64, oldest_unacknowledged: u64) -> PyResult<Bound<'_, PyBytes>> {
        let mut frame = Vec::new();
        let name = BatchName { sequence, epoch, oldest_unacknowledged };
        wire::question(name, &mut frame).map_err(|error| refused(&error))?;
        Ok(PyBytes::new(py, &frame))
    }
}

fn refused(error: &wire::EncodeError) -> PyErr {
    EncodeError::new_err(error.to_string())
}
