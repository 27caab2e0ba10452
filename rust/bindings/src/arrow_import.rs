//! Arrow data that comes in through the C data interface. The only unsafe code of the project.

use std::ffi::CStr;
use std::ptr::NonNull;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi};
use arrow_array::{Array as _, RecordBatch, StructArray};
use arrow_schema::{ArrowError, DataType, Schema};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

use crate::errors::CoreError;
use crate::record_batch::{ARRAY_CAPSULE, SCHEMA_CAPSULE};

/// The schema of an object with `__arrow_c_schema__`.
pub(crate) fn schema(object: &Bound<'_, PyAny>) -> PyResult<Schema> {
    let capsule = object.call_method0("__arrow_c_schema__")?.cast_into::<PyCapsule>()?;
    let schema = pointer::<FFI_ArrowSchema>(&capsule, SCHEMA_CAPSULE)?;
    // SAFETY: a capsule of this name holds a schema, by the Arrow PyCapsule interface, and owns it as long as it lives.
    Schema::try_from(unsafe { schema.as_ref() }).map_err(raised)
}

/// The rows of an object with `__arrow_c_array__`, such as a `pyarrow.RecordBatch`. Nothing is copied, and everything is
/// checked: other people's code may have made it.
pub(crate) fn record_batch(object: &Bound<'_, PyAny>) -> PyResult<RecordBatch> {
    let capsules = object.call_method0("__arrow_c_array__")?.cast_into::<PyTuple>()?;
    let (schema, array) = capsules.extract::<(Bound<'_, PyCapsule>, Bound<'_, PyCapsule>)>()?;
    let schema = pointer::<FFI_ArrowSchema>(&schema, SCHEMA_CAPSULE)?;
    let array = pointer::<FFI_ArrowArray>(&array, ARRAY_CAPSULE)?;
    // SAFETY: capsules of these names hold a schema and an array of it, by the Arrow PyCapsule interface. The array is
    // moved out and marked as released, so that the capsule does not release it a second time.
    let data = unsafe { from_ffi(FFI_ArrowArray::from_raw(array.as_ptr()), schema.as_ref()) }.map_err(raised)?;
    if !matches!(data.data_type(), DataType::Struct(_)) {
        return Err(CoreError::new_err(format!("an array of {}; expected a record batch", data.data_type())));
    }
    data.validate_full().map_err(raised)?;
    let rows = StructArray::from(data);
    if rows.null_count() > 0 {
        return Err(CoreError::new_err(format!("{} rows are null as a whole", rows.null_count())));
    }
    Ok(RecordBatch::from(rows))
}

fn pointer<T>(capsule: &Bound<'_, PyCapsule>, name: &CStr) -> PyResult<NonNull<T>> {
    Ok(capsule.pointer_checked(Some(name))?.cast())
}

#[allow(clippy::needless_pass_by_value)] // what `map_err` hands over
fn raised(error: ArrowError) -> PyErr {
    CoreError::new_err(error.to_string())
}
