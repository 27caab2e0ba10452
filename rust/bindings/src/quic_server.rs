//! `QuicServer`, its settings and whom it trusts.

use std::net::UdpSocket;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use telemetry_core::quic::server::{self, Deadlines, Event};

use crate::errors::CoreError;
use crate::ingest::Ingest;
use crate::wake::WakeFd;

/// How the listener is built; frozen.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct QuicServerSettings(server::ServerSettings);

#[pymethods]
impl QuicServerSettings {
    #[new]
    #[pyo3(signature = (
        *,
        certificates,
        key,
        reset_key,
        threads = None,
        connections_max,
        connections_per_identity_max = None,
        handshakes_max,
        handshakes_per_address,
        connections_per_address_per_sec,
        idle_secs,
        handshake_secs,
        frame_secs,
        replies_secs,
        expiry_secs,
    ))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of a settings object, in Python's own form
    fn new(
        certificates: Vec<Vec<u8>>,
        key: Vec<u8>,
        reset_key: [u8; 32],
        threads: Option<usize>,
        connections_max: usize,
        connections_per_identity_max: Option<usize>,
        handshakes_max: usize,
        handshakes_per_address: usize,
        connections_per_address_per_sec: usize,
        idle_secs: f64,
        handshake_secs: f64,
        frame_secs: f64,
        replies_secs: f64,
        expiry_secs: f64,
    ) -> PyResult<Self> {
        Ok(Self(server::ServerSettings {
            certificates: certificates.into_iter().map(Into::into).collect(),
            key: key.into(),
            reset_key,
            threads,
            connections_max,
            connections_per_identity_max,
            handshakes_max,
            handshakes_per_address,
            connections_per_address_per_sec,
            deadlines: Deadlines {
                idle: seconds(idle_secs)?,
                handshake: seconds(handshake_secs)?,
                frame: seconds(frame_secs)?,
                replies: seconds(replies_secs)?,
                expiry: seconds(expiry_secs)?,
            },
        }))
    }
}

/// Whom the listener lets in; frozen.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct QuicTrust(Arc<server::Trust>);

#[pymethods]
impl QuicTrust {
    #[new]
    #[pyo3(signature = (*, authorities, revocation_lists, allowed, relays))]
    #[allow(clippy::needless_pass_by_value)] // arguments come from Python owned
    fn new(
        authorities: Vec<Vec<u8>>,
        revocation_lists: Vec<Vec<u8>>,
        allowed: Vec<String>,
        relays: Vec<String>,
    ) -> PyResult<Self> {
        let trust = server::Trust::new(&authorities, revocation_lists, &allowed, &relays);
        Ok(Self(Arc::new(trust.map_err(|error| CoreError::new_err(error.to_string()))?)))
    }
}

/// How often events of one kind and its labels were not told one by one.
type Missed = (&'static str, Vec<String>, u64);

/// The listener.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct QuicServer {
    inner: server::Server,
    wake: WakeFd,
}

#[pymethods]
impl QuicServer {
    #[new]
    fn new(
        py: Python<'_>,
        ingest: &Ingest,
        socket_fd: i32,
        settings: &QuicServerSettings,
        trust: &QuicTrust,
    ) -> PyResult<Self> {
        let wake = WakeFd::new()?;
        let signal = wake.clone();
        let socket = duplicate(socket_fd)?;
        let (ingest, trust) = (Arc::clone(ingest.inner()), Arc::clone(&trust.0));
        let inner = py
            .detach(|| server::Server::start(socket, &settings.0, trust, ingest, Box::new(move || signal.signal())))
            .map_err(|error| CoreError::new_err(error.to_string()))?;
        Ok(Self { inner, wake })
    }

    #[getter]
    fn connections(&self) -> usize {
        self.inner.connections()
    }

    #[getter]
    fn datagrams_received(&self, py: Python<'_>) -> u64 {
        // Every connection is asked.
        py.detach(|| self.inner.datagrams_received())
    }

    #[getter]
    fn offloads(&self) -> (usize, usize) {
        self.inner.offloads()
    }

    fn fileno(&self) -> i32 {
        self.wake.number()
    }

    fn events<'py>(&self, py: Python<'py>) -> PyResult<(Vec<Bound<'py, PyTuple>>, Vec<Missed>)> {
        // Cleared first: what happens after it signals again.
        self.wake.clear();
        let taken = self.inner.take_events();
        let events = taken.events.into_iter().map(|event| told(py, event)).collect::<PyResult<_>>()?;
        let missed = taken.missed.into_iter().map(|(labels, count)| (labels.kind, labels.labels, count));
        Ok((events, missed.collect()))
    }

    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counters = self.inner.counters();
        let out = PyDict::new(py);
        for (name, counter) in [
            ("streams_opened", &counters.streams_opened),
            ("stream_bytes_received", &counters.stream_bytes_received),
            ("frames_received", &counters.frames_received),
            ("retries_sent", &counters.retries_sent),
            ("garbage", &counters.garbage),
            ("turned_away", &counters.turned_away),
        ] {
            out.set_item(name, counter.load(Relaxed))?;
        }
        Ok(out)
    }

    fn reconfigure(&self, py: Python<'_>, settings: &QuicServerSettings) -> PyResult<()> {
        py.detach(|| self.inner.reconfigure(&settings.0)).map_err(|error| CoreError::new_err(error.to_string()))
    }

    fn update_trust(&self, py: Python<'_>, trust: &QuicTrust) {
        let trust = Arc::clone(&trust.0);
        py.detach(|| self.inner.update_trust(trust));
    }

    fn settle(&self, py: Python<'_>, timeout_secs: f64) -> PyResult<usize> {
        let timeout = seconds(timeout_secs)?;
        Ok(py.detach(|| self.inner.settle(timeout)))
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.inner.close());
    }
}

/// The identity and the node that a certificate in DER names.
#[pyfunction]
pub(crate) fn identity_of(certificate: &[u8]) -> Option<(String, String)> {
    let identity = server::Identity::of(certificate)?;
    Some((identity.name.to_string(), identity.node.to_string()))
}

fn told(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyTuple>> {
    match event {
        Event::Opened { peer, identity, relay } => ("opened", peer, &*identity, relay).into_pyobject(py),
        Event::Closed { ending, peer, identity, frames } => {
            ("closed", ending.code, ending.side, peer, &*identity, frames, ending.words).into_pyobject(py)
        }
        Event::Refused { reason, peer, identity } => ("refused", reason, peer, identity.as_deref()).into_pyobject(py),
        Event::HandshakeFailed { ending, peer } => {
            ("handshake_failed", ending.code, peer, ending.words).into_pyobject(py)
        }
        Event::StreamFailed { code, peer, identity } => ("stream_failed", code, peer, &*identity).into_pyobject(py),
        Event::HandlerFailed { peer, identity, problem } => {
            ("handler_failed", peer, identity.as_deref(), problem).into_pyobject(py)
        }
    }
}

/// A descriptor of its own for a socket of Python's, which keeps the other.
fn duplicate(fd: i32) -> PyResult<UdpSocket> {
    if fd < 0 {
        return Err(PyValueError::new_err(format!("socket_fd {fd}: expected an open socket")));
    }
    // SAFETY: it is only borrowed for the call that duplicates it, which says so when it is not open.
    #[allow(unsafe_code)]
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(borrowed.try_clone_to_owned()?.into())
}

fn seconds(given: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(given).map_err(|error| PyValueError::new_err(format!("{given} seconds: {error}")))
}
