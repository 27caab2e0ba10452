//! An Arrow record batch that leaves through the C data interface.

use std::ffi::CStr;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::{Array, StructArray};
use arrow_schema::SchemaRef;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

use crate::errors::CoreError;

/// Names that the Arrow `PyCapsule` interface prescribes.
pub(crate) const SCHEMA_CAPSULE: &CStr = c"arrow_schema";
pub(crate) const ARRAY_CAPSULE: &CStr = c"arrow_array";

/// Holds the columns; every export shares their buffers.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct RecordBatch(arrow_array::RecordBatch);

impl From<arrow_array::RecordBatch> for RecordBatch {
    fn from(batch: arrow_array::RecordBatch) -> Self {
        Self(batch)
    }
}

impl RecordBatch {
    /// The same columns.
    pub(crate) fn shared(&self) -> arrow_array::RecordBatch {
        self.0.clone()
    }
}

#[pymethods]
impl RecordBatch {
    #[getter]
    fn num_rows(&self) -> usize {
        self.0.num_rows()
    }

    #[getter]
    fn schema(&self) -> Schema {
        Schema(self.0.schema())
    }

    /// The schema asked for is not honoured, which the interface allows: the columns come in the types they have.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let _ = requested_schema;
        let schema = self.schema().__arrow_c_schema__(py)?;
        let array = FFI_ArrowArray::new(&StructArray::from(self.0.clone()).to_data());
        let array = PyCapsule::new_with_value(py, array, ARRAY_CAPSULE)?;
        PyTuple::new(py, [schema, array])
    }
}

/// A schema that leaves through the same interface.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Schema(SchemaRef);

#[pymethods]
impl Schema {
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema =
            FFI_ArrowSchema::try_from(self.0.as_ref()).map_err(|error| CoreError::new_err(error.to_string()))?;
        PyCapsule::new_with_value(py, schema, SCHEMA_CAPSULE)
    }
}
