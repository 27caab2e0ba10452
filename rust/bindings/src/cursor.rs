//! `Cursor`.

use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::prelude::*;
use telemetry_core::ingest::{BlockCursor, CursorPlace};
use telemetry_core::journal::Position;

use crate::blocks::{Blocks, Encoders};
use crate::detached::detached;

/// Batches, points, and receipt of the first and the last.
type Measured = (u64, u64, Option<(i64, i64)>);

/// A consumer's place in the journal. One reader at a time.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Cursor {
    /// Held while it reads and stores, which may take as long as the disk does.
    inner: Mutex<BlockCursor>,
    /// What the event loop asks for: never behind that lock.
    place: Arc<CursorPlace>,
    encoders: Arc<Encoders>,
}

impl Cursor {
    pub(crate) fn new(inner: BlockCursor) -> Self {
        let place = inner.place();
        Self { inner: Mutex::new(inner), place, encoders: Arc::default() }
    }
}

#[pymethods]
impl Cursor {
    #[getter]
    fn consumer(&self) -> String {
        self.inner.lock().consumer().to_owned()
    }

    #[getter]
    fn position(&self) -> u64 {
        self.place.position().get()
    }

    #[getter]
    fn stored(&self) -> u64 {
        self.place.stored().get()
    }

    #[getter]
    fn lag_bytes(&self) -> u64 {
        self.place.lag_bytes()
    }

    #[getter]
    fn lag_points(&self) -> u64 {
        self.place.lag_points()
    }

    fn want(&self, points: u64) {
        self.place.want(points);
    }

    #[getter]
    fn lag_secs(&self, py: Python<'_>) -> f64 {
        py.detach(|| self.inner.lock().lag_secs())
    }

    fn read(&self, py: Python<'_>, points_max: usize) -> PyResult<Option<Blocks>> {
        let read = detached(py, || self.inner.lock().read(points_max))?;
        Ok(read.map(|blocks| Blocks::new(blocks, Arc::clone(&self.encoders))))
    }

    fn claim(&self, py: Python<'_>, position: u64) -> PyResult<bool> {
        detached(py, || self.inner.lock().claim(Position::new(position)))
    }

    fn seek(&self, py: Python<'_>, position: u64) {
        py.detach(|| self.inner.lock().seek(Position::new(position)));
    }

    fn measure(&self, py: Python<'_>, start: u64, end: u64) -> PyResult<Measured> {
        // Not under the lock: it takes long, and whoever asks for a lag meanwhile need not wait.
        let ingest = self.inner.lock().ingest();
        let found = detached(py, || ingest.measure(Position::new(start), Position::new(end)))?;
        Ok((found.batches, found.points, found.received_unix_us))
    }

    fn store(&self, py: Python<'_>, position: u64) -> PyResult<()> {
        detached(py, || self.inner.lock().store(Position::new(position)))
    }
}
