//! Python's exceptions of the core.

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use telemetry_core::journal::{AppendError, FullReason};

create_exception!(telemetry_collector._core, CoreError, PyException, "Base of what the core raises.");
create_exception!(
    telemetry_collector._core,
    JournalError,
    CoreError,
    "The journal cannot be opened, read or written; the message names the path and the operating system's error."
);
create_exception!(
    telemetry_collector._core,
    EncodeError,
    CoreError,
    "A batch that cannot be encoded; the message names the argument."
);
create_exception!(
    telemetry_collector._core,
    RequestError,
    CoreError,
    "A request that cannot be read; the message is for whoever sent it."
);
create_exception!(
    telemetry_collector._core,
    RequestTooLargeError,
    RequestError,
    "A request that may be read in smaller parts."
);

/// Why a journal takes nothing, by the name that Python uses, and in words.
pub(crate) fn refusal(error: &AppendError) -> (&'static str, String) {
    let name = match error {
        AppendError::Full(FullReason::NoSpace) => "no_space",
        AppendError::Full(_) => "bytes_max",
        AppendError::Closed => "closed",
        AppendError::Failed(_) | AppendError::TooLarge { .. } => "failed",
    };
    (name, error.to_string())
}
