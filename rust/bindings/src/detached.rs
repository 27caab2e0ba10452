//! The one way into the core for what can take long: the GIL is released, and errors become Python's.

use pyo3::prelude::*;
use telemetry_core::journal::JournalError;

use crate::errors;

/// Runs `work` without the GIL.
pub(crate) fn detached<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, JournalError> + Send,
) -> PyResult<T> {
    py.detach(work).map_err(|error| errors::JournalError::new_err(error.to_string()))
}
