//! An eventfd that the committer's thread signals and an event loop watches.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use rustix::event::{EventfdFlags, eventfd};

/// Cheap to clone; closed with the last clone.
#[derive(Clone)]
pub(crate) struct WakeFd(Arc<OwnedFd>);

impl WakeFd {
    pub(crate) fn new() -> PyResult<Self> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
            .map_err(|errno| PyOSError::new_err((errno.raw_os_error(), format!("eventfd: {errno}"))))?;
        Ok(Self(Arc::new(fd)))
    }

    pub(crate) fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Makes the descriptor readable. A full counter is readable already, so that error says nothing.
    pub(crate) fn signal(&self) {
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it unreadable again; it may have been that already.
    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }
}
