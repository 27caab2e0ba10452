//! `Signals`, `SignalCursor` and `SignalBlocks`: traces and logs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use telemetry_core::ingest::Peer;
use telemetry_core::journal::{JournalSettings, Position};
use telemetry_core::signals::{self, Signal, SignalJournal, SignalPlace};

use crate::blocks::unit_named;
use crate::detached::detached;
use crate::errors::{self, CoreError, JournalError};
use crate::fault_disk::storage_of;
use crate::ingest::Ingest;
use crate::record_batch::RecordBatch;
use crate::request::{Request, RequestForm};
use crate::wake::WakeFd;

/// Batches, points, and receipt of the first and the last.
type Measured = (u64, u64, Option<(i64, i64)>);

fn signal_named(name: &str) -> PyResult<Signal> {
    Signal::named(name).ok_or_else(|| PyValueError::new_err(format!("signal {name:?}: expected 'traces' or 'logs'")))
}

/// One signal's requests, from the socket to its cursor.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Signals {
    inner: Arc<SignalJournal>,
    wake: WakeFd,
}

#[pymethods]
impl Signals {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "a path is extracted as a value")]
    #[pyo3(signature = (signal, ingest, *, journal_dir, journal_segment_bytes, journal_bytes_max))]
    fn new(
        py: Python<'_>,
        signal: &str,
        ingest: &Ingest,
        journal_dir: PathBuf,
        journal_segment_bytes: u64,
        journal_bytes_max: u64,
    ) -> PyResult<Self> {
        let signal = signal_named(signal)?;
        let wake = WakeFd::new()?;
        let signals = wake.clone();
        let storage = storage_of("journal", &journal_dir, None)?;
        let settings = JournalSettings {
            segment_bytes: journal_segment_bytes,
            bytes_max: journal_bytes_max,
            ..JournalSettings::default()
        };
        let points = Arc::clone(ingest.inner());
        let inner = detached(py, || {
            SignalJournal::open(signal, storage, settings, points, Box::new(move || signals.signal()))
        })?;
        Ok(Self { inner, wake })
    }

    #[staticmethod]
    #[pyo3(signature = (signal, timestamp_unit = "us"))]
    fn no_rows(signal: &str, timestamp_unit: &str) -> PyResult<RecordBatch> {
        let schema = signals::schema(signal_named(signal)?, unit_named(timestamp_unit)?);
        Ok(RecordBatch::from(arrow_array::RecordBatch::new_empty(schema)))
    }

    #[getter]
    fn recovery<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let recovered = self.inner.recovered();
        let found = PyDict::new(py);
        found.set_item("records", recovered.records)?;
        found.set_item("rows", recovered.rows)?;
        found.set_item("undecodable", recovered.undecodable)?;
        found.set_item("torn_bytes", recovered.torn_bytes)?;
        found.set_item("quarantined", recovered.quarantined)?;
        found.set_item("seconds", recovered.elapsed.as_secs_f64())?;
        Ok(found)
    }

    #[getter]
    fn journal_id(&self) -> String {
        self.inner.journal().id().to_string()
    }

    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    #[pyo3(signature = (form, body, encoding, *, identity, node, relay, now_unix_ns))]
    fn take(
        &self,
        py: Python<'_>,
        form: &RequestForm,
        body: &[u8],
        encoding: &str,
        identity: &str,
        node: &str,
        relay: bool,
        now_unix_ns: i64,
    ) -> PyResult<Request> {
        let peer = Peer { identity: identity.into(), node: node.into(), relay };
        Request::take_signal(py, &self.inner, form, (encoding, body), &peer, now_unix_ns)
    }

    fn fileno(&self) -> i32 {
        self.wake.number()
    }

    fn ready(&self) -> Vec<u64> {
        // Cleared first: what becomes ready after it signals again.
        self.wake.clear();
        self.inner.take_ready()
    }

    fn cursor(&self, py: Python<'_>, consumer: &str) -> PyResult<SignalCursor> {
        let inner = detached(py, || self.inner.cursor(consumer))?;
        Ok(SignalCursor { journal: inner.journal(), place: inner.place(), inner: Mutex::new(inner) })
    }

    fn room_wanted(&self, passable: u64) -> Option<u64> {
        self.inner.journal().room_wanted(Position::new(passable)).map(Position::get)
    }

    fn refusal(&self) -> Option<(&'static str, String)> {
        self.inner.journal().refusal().as_ref().map(errors::refusal)
    }

    fn maintain(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.inner.maintain())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counters = self.inner.counters();
        let out = PyDict::new(py);
        for (name, counter) in [
            ("requests_received", &counters.requests_received),
            ("rows_received", &counters.rows_received),
            ("rows_committed", &counters.rows_committed),
            ("retries_asked", &counters.retries_asked),
            ("commits_failed", &counters.commits_failed),
            ("undecodable", &counters.undecodable),
        ] {
            out.set_item(name, counter.load(Relaxed))?;
        }
        let refused = PyDict::new(py);
        for (reason, rows) in counters.refusals().filter(|(_, rows)| *rows > 0) {
            refused.set_item(reason.as_str(), rows)?;
        }
        out.set_item("rows_refused", refused)?;
        let journal = self.inner.journal().stats();
        out.set_item("journal_bytes", journal.bytes)?;
        out.set_item("journal_bytes_max", journal.bytes_max)?;
        out.set_item("journal_quarantined", journal.damaged_ranges)?;
        Ok(out)
    }

    fn drain(&self, py: Python<'_>, timeout_secs: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(timeout_secs)
            .map_err(|error| PyValueError::new_err(format!("timeout_secs {timeout_secs}: {error}")))?;
        Ok(py.detach(|| self.inner.drain(timeout)))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.close()).map_err(|error| JournalError::new_err(error.to_string()))
    }
}

/// The writer's place in a signal's journal. One reader at a time.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct SignalCursor {
    journal: Arc<SignalJournal>,
    /// What the event loop asks for: never behind the lock below.
    place: Arc<SignalPlace>,
    /// Held while it reads and stores, which may take as long as the disk does.
    inner: Mutex<signals::SignalCursor>,
}

#[pymethods]
impl SignalCursor {
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
        self.journal.lag_bytes(&self.place)
    }

    #[getter]
    fn lag_points(&self) -> u64 {
        self.journal.lag_rows(&self.place)
    }

    #[getter]
    fn lag_secs(&self, py: Python<'_>) -> f64 {
        py.detach(|| self.inner.lock().lag_secs())
    }

    /// As of `Cursor`. Whoever reads is told of every commit: requests wait for each.
    #[expect(clippy::unused_self, reason = "a method in Python")]
    fn want(&self, points: u64) {
        let _ = points;
    }

    fn read(&self, py: Python<'_>, points_max: usize) -> PyResult<Option<SignalBlocks>> {
        Ok(detached(py, || self.inner.lock().read(points_max))?.map(SignalBlocks))
    }

    fn claim(&self, py: Python<'_>, position: u64) -> PyResult<bool> {
        detached(py, || self.inner.lock().claim(Position::new(position)))
    }

    fn seek(&self, py: Python<'_>, position: u64) {
        py.detach(|| self.inner.lock().seek(Position::new(position)));
    }

    fn measure(&self, py: Python<'_>, start: u64, end: u64) -> PyResult<Measured> {
        let found = detached(py, || self.journal.measure(Position::new(start), Position::new(end)))?;
        Ok((found.batches, found.points, found.received_unix_us))
    }

    fn store(&self, py: Python<'_>, position: u64) -> PyResult<()> {
        detached(py, || self.inner.lock().store(Position::new(position)))
    }
}

/// A contiguous range of a signal's journal.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct SignalBlocks(signals::SignalBlocks);

#[pymethods]
impl SignalBlocks {
    #[getter]
    fn start(&self) -> u64 {
        self.0.start.get()
    }

    #[getter]
    fn end(&self) -> u64 {
        self.0.end.get()
    }

    #[getter]
    fn batches(&self) -> usize {
        self.0.requests()
    }

    #[getter]
    fn points(&self) -> usize {
        self.0.rows
    }

    #[getter]
    fn hour(&self) -> i64 {
        self.0.hour()
    }

    #[getter]
    fn received_first_us(&self) -> i64 {
        self.0.received_unix_us().0
    }

    #[getter]
    fn received_last_us(&self) -> i64 {
        self.0.received_unix_us().1
    }

    #[pyo3(signature = (timestamp_unit = "us"))]
    fn record_batch(&self, py: Python<'_>, timestamp_unit: &str) -> PyResult<RecordBatch> {
        let unit = unit_named(timestamp_unit)?;
        let batch = py.detach(|| self.0.record_batch(unit));
        Ok(RecordBatch::from(batch.map_err(|error| CoreError::new_err(error.to_string()))?))
    }
}
