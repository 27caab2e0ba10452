//! `FaultDisk`: a directory that fails on demand, for `torture`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use rustix::io::Errno;
use telemetry_core::journal::{DiskStorage, Fault, FaultStorage, Operation, Storage};

use crate::errors::JournalError;

/// What can fail, by the name that Python uses.
const OPERATIONS: [(&str, Operation); 7] = [
    ("create", Operation::Create),
    ("read", Operation::Read),
    ("write", Operation::Write),
    ("sync_data", Operation::SyncData),
    ("rename", Operation::Rename),
    ("remove", Operation::Remove),
    ("sync_dir", Operation::SyncDir),
];

/// A directory of the local file system behind a page cache of its own, which dies with the process.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct FaultDisk {
    storage: Arc<FaultStorage>,
}

/// A directory for `what`, or the disk that takes its place.
pub(crate) fn storage_of(what: &str, directory: &Path, disk: Option<&FaultDisk>) -> PyResult<Arc<dyn Storage>> {
    if let Some(disk) = disk {
        return Ok(disk.storage.clone());
    }
    let opened = DiskStorage::open(directory);
    let opened = opened.map_err(|error| JournalError::new_err(format!("{what} {}: {error}", directory.display())))?;
    Ok(Arc::new(opened))
}

#[pymethods]
impl FaultDisk {
    #[new]
    fn new(py: Python<'_>, directory: PathBuf, seed: u64) -> PyResult<Self> {
        let path = directory.display().to_string();
        let opened =
            py.detach(|| DiskStorage::open(directory).and_then(|disk| FaultStorage::new(Arc::new(disk), seed)));
        let storage = opened.map_err(|error| PyOSError::new_err(format!("{path}: {error}")))?;
        Ok(Self { storage: Arc::new(storage) })
    }

    #[getter]
    fn bytes(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.storage.bytes())
    }

    fn limit(&self, py: Python<'_>, bytes_max: Option<u64>) {
        py.detach(|| self.storage.limit(bytes_max));
    }

    #[pyo3(signature = (operation, *, prefix = String::new(), skip = 0, times = 1, errno))]
    fn fail(&self, py: Python<'_>, operation: &str, prefix: String, skip: u64, times: u64, errno: i32) -> PyResult<()> {
        let Some(&(_, operation)) = OPERATIONS.iter().find(|(name, _)| *name == operation) else {
            let names: Vec<_> = OPERATIONS.iter().map(|(name, _)| *name).collect();
            return Err(PyValueError::new_err(format!(
                "operation {operation:?}: expected one of {}",
                names.join(", ")
            )));
        };
        let errno = Errno::from_raw_os_error(errno);
        py.detach(|| self.storage.fail(Fault { operation, prefix: prefix.into(), skip, times, errno }));
        Ok(())
    }

    fn heal(&self, py: Python<'_>) {
        py.detach(|| self.storage.heal());
    }

    fn power_loss(&self, py: Python<'_>) -> PyResult<()> {
        let lost = py.detach(|| {
            self.storage.power_loss()?;
            self.storage.crash_after(0);
            Ok(())
        });
        lost.map_err(|error: std::io::Error| error.into())
    }
}
