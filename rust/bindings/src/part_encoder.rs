//! `PartEncoder`.

use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use telemetry_core::parquet::{Compression, FileEncoder, FileSettings, WriteError};

use crate::arrow_import;
use crate::errors::CoreError;
use crate::record_batch::RecordBatch;

/// A Parquet file in the making, without I/O.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct PartEncoder {
    /// `None` once the file is finished.
    inner: Mutex<Option<FileEncoder>>,
}

#[pymethods]
impl PartEncoder {
    #[new]
    #[pyo3(signature = (schema, *, compression, statistics, group_rows_max, group_bytes_max))]
    fn new(
        schema: &Bound<'_, PyAny>,
        compression: &str,
        statistics: Vec<String>,
        group_rows_max: usize,
        group_bytes_max: usize,
    ) -> PyResult<Self> {
        let compression = match compression {
            "none" => Compression::None,
            "snappy" => Compression::Snappy,
            "zstd" => Compression::Zstd,
            other => {
                return Err(PyValueError::new_err(format!("compression {other:?}: expected snappy, zstd or none")));
            }
        };
        let schema = Arc::new(arrow_import::schema(schema)?);
        let settings = FileSettings { compression, statistics, group_rows_max, group_bytes_max };
        let encoder = FileEncoder::new(schema, &settings).map_err(|error| CoreError::new_err(error.to_string()))?;
        Ok(Self { inner: Mutex::new(Some(encoder)) })
    }

    #[getter]
    fn group_bytes(&self) -> usize {
        self.inner.lock().as_ref().map_or(0, FileEncoder::group_bytes)
    }

    fn push<'py>(&self, py: Python<'py>, batch: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        // The core's own rows need not go through the interface, which takes half a millisecond each way.
        let batch = match batch.cast::<RecordBatch>() {
            Ok(own) => own.get().shared(),
            Err(_) => arrow_import::record_batch(batch)?,
        };
        let done = py.detach(|| {
            let mut inner = self.inner.lock();
            let encoder = inner.as_mut().ok_or_else(finished)?;
            encoder.push(&batch).map_err(raised)?;
            Ok::<_, PyErr>(encoder.take())
        })?;
        Ok(PyBytes::new(py, &done))
    }

    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let done = py.detach(|| {
            let encoder = self.inner.lock().take().ok_or_else(finished)?;
            encoder.finish().map_err(raised)
        })?;
        Ok(PyBytes::new(py, &done))
    }
}

#[allow(clippy::needless_pass_by_value)] // what `map_err` hands over
fn raised(error: WriteError) -> PyErr {
    CoreError::new_err(error.to_string())
}

fn finished() -> PyErr {
    CoreError::new_err("the part is finished")
}
