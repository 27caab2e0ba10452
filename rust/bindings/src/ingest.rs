//! `Ingest`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use telemetry_core::ingest::{self, Peer, Policy, RetryCause, latency};
use telemetry_core::journal::Position;

use crate::conversation::Conversation;
use crate::cursor::Cursor;
use crate::detached::detached;
use crate::errors;
use crate::fault_disk::{FaultDisk, storage_of};
use crate::quotas::Quotas;
use crate::request::{Request, RequestForm};
use crate::settings::IngestSettings;
use crate::wake::WakeFd;
use crate::workers::{self, StateOfWorker, TakenHeartbeat};

/// The one door of the data plane.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Ingest {
    inner: Arc<ingest::Ingest>,
    wake: WakeFd,
}

impl Ingest {
    pub(crate) fn inner(&self) -> &Arc<ingest::Ingest> {
        &self.inner
    }
}

#[pymethods]
impl Ingest {
    #[new]
    #[pyo3(signature = (settings, disk = None))]
    fn new(py: Python<'_>, settings: &IngestSettings, disk: Option<&FaultDisk>) -> PyResult<Self> {
        let wake = WakeFd::new()?;
        let signal = wake.clone();
        let storage = storage_of("journal", &settings.journal_dir, disk)?;
        let inner = detached(py, || {
            ingest::Ingest::open(storage, settings.settings.clone(), Box::new(move || signal.signal()))
        })?;
        Ok(Self { inner, wake })
    }

    #[getter]
    fn recovery<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let recovered = self.inner.recovered();
        let found = PyDict::new(py);
        found.set_item("records", recovered.records)?;
        found.set_item("points", recovered.points)?;
        found.set_item("series", self.inner.series().0)?;
        found.set_item("undecodable", recovered.undecodable)?;
        found.set_item("torn_bytes", recovered.torn_bytes)?;
        found.set_item("quarantined", &recovered.quarantined)?;
        found.set_item("seconds", recovered.elapsed.as_secs_f64())?;
        Ok(found)
    }

    #[getter]
    fn journal_id(&self) -> String {
        self.inner.journal().id().to_string()
    }

    #[getter]
    fn committed(&self) -> u64 {
        self.inner.journal().committed().get()
    }

    #[pyo3(signature = (identity, node, *, relay))]
    fn conversation(&self, identity: &str, node: &str, relay: bool) -> Conversation {
        let peer = Peer { identity: identity.into(), node: node.into(), relay };
        Conversation::new(self.inner.conversation(Arc::new(peer)))
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
        Request::take(py, &self.inner, form, (encoding, body), &peer, now_unix_ns)
    }

    fn fileno(&self) -> i32 {
        self.wake.number()
    }

    fn ready(&self) -> Vec<u64> {
        // Cleared first: what becomes ready after it signals again.
        self.wake.clear();
        self.inner.take_ready()
    }

    fn cursor(&self, py: Python<'_>, consumer: &str) -> PyResult<Cursor> {
        Ok(Cursor::new(detached(py, || self.inner.cursor(consumer))?))
    }

    fn maintain(&self, py: Python<'_>, now_unix_secs: f64) -> PyResult<()> {
        detached(py, || self.inner.maintain(now_unix_secs.max(0.0) as u64))
    }

    fn set_policy(&self, py: Python<'_>, settings: &IngestSettings) {
        let policy = Policy::from(&settings.settings);
        py.detach(|| self.inner.set_policy(policy));
    }

    fn close_cursor(&self, consumer: &str) {
        self.inner.close_cursor(consumer);
    }

    fn room_wanted(&self, passable: u64) -> Option<u64> {
        self.inner.journal().room_wanted(Position::new(passable)).map(Position::get)
    }

    fn refusal(&self) -> Option<(&'static str, String)> {
        self.inner.journal().refusal().as_ref().map(errors::refusal)
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        stats(py, &self.inner)
    }

    fn set_quotas(&self, quotas: &Quotas) {
        self.inner.set_quotas(quotas.0.clone());
    }

    fn quota_offenders(&self) -> Vec<(String, String, u64)> {
        let worst = self.inner.accounts().offenders().worst_first();
        worst.into_iter().map(|entry| (entry.identity.into(), entry.name.into(), entry.points)).collect()
    }

    fn offenders(&self) -> Vec<(String, String, u64)> {
        let worst = self.inner.offenders();
        worst.into_iter().map(|entry| (entry.identity.into(), entry.name.into(), entry.points)).collect()
    }

    fn hand_on_heartbeats(&self, py: Python<'_>, count_max: usize) -> Vec<TakenHeartbeat> {
        py.detach(|| self.inner.hand_on_heartbeats(count_max)).into_iter().map(workers::taken).collect()
    }

    fn store_workers(&self, py: Python<'_>, states: Vec<StateOfWorker>, now_unix_ns: i64) {
        let states: Vec<_> = states.into_iter().map(workers::state).collect();
        py.detach(|| self.inner.store_workers(&states, now_unix_ns));
    }

    fn drain(&self, py: Python<'_>, timeout_secs: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(timeout_secs).map_err(|error| {
            pyo3::exceptions::PyValueError::new_err(format!("timeout_secs {timeout_secs}: {error}"))
        })?;
        Ok(py.detach(|| self.inner.drain(timeout)))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.close()).map_err(|error| errors::JournalError::new_err(error.to_string()))
    }
}

fn stats<'py>(py: Python<'py>, inner: &ingest::Ingest) -> PyResult<Bound<'py, PyDict>> {
    let counters = inner.counters();
    let out = PyDict::new(py);
    for (name, counter) in [
        ("batches_received", &counters.batches_received),
        ("frame_bytes_received", &counters.frame_bytes_received),
        ("batches_malformed", &counters.malformed),
        ("points_received", &counters.points_received),
        ("points_accepted", &counters.points_accepted),
        ("points_committed", &counters.points_committed),
        ("commits_failed", &counters.commits_failed),
        ("inflight_batches", &counters.inflight_batches),
        ("inflight_bytes", &counters.inflight_bytes),
        ("held_bytes", &counters.held_bytes),
        ("quota_series_refused", &counters.quota_series_refused),
        ("worker_points_committed", &counters.worker_points_committed),
    ] {
        out.set_item(name, counter.load(Relaxed))?;
    }
    let refused = PyDict::new(py);
    for (reason, points) in counters.refusals() {
        refused.set_item(reason.as_str(), points)?;
    }
    out.set_item("points_refused", refused)?;
    let answered = PyDict::new(py);
    for (outcome, batches) in counters.outcomes() {
        answered.set_item(outcome.as_str(), batches)?;
    }
    out.set_item("batches_answered", answered)?;
    let retries = PyDict::new(py);
    for cause in RetryCause::ALL {
        retries.set_item(cause.as_str(), counters.retries_asked.get(cause as usize))?;
    }
    out.set_item("retries_asked", retries)?;
    let dropped = PyDict::new(py);
    for (reason, points) in counters.worker_points_dropped.lock().iter() {
        dropped.set_item(reason, points)?;
    }
    out.set_item("worker_points_dropped", dropped)?;
    let (series, expired, changed) = inner.series();
    out.set_item("series", series)?;
    out.set_item("series_max", inner.policy().limits.max_cardinality)?;
    out.set_item("series_expired", expired)?;
    out.set_item("series_changed", changed)?;
    let (heartbeats, ignored) = inner.heartbeat_counts();
    out.set_item("heartbeats_taken", heartbeats)?;
    out.set_item("heartbeats_ignored", ignored)?;
    out.set_item("quota_identities", inner.accounts().len())?;
    out.set_item("epochs_forgotten", inner.epochs_forgotten())?;
    out.set_item("recent_bytes", inner.recent_bytes())?;
    let journal = inner.journal().stats();
    out.set_item("journal_bytes", journal.bytes)?;
    out.set_item("journal_bytes_max", inner.journal_settings().bytes_max)?;
    out.set_item("journal_segments", journal.segments)?;
    out.set_item("journal_bytes_committed", journal.bytes_committed)?;
    out.set_item("journal_syncs", journal.syncs)?;
    out.set_item("journal_oldest_created_unix_secs", journal.oldest_created_unix_secs)?;
    out.set_item("journal_quarantined", journal.damaged_ranges)?;
    let (buckets, sum_us) = counters.stable_latency.snapshot();
    out.set_item("stable_latency", (latency::BOUNDS_US.to_vec(), buckets, sum_us))?;
    Ok(out)
}
