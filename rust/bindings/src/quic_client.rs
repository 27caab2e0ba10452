//! `QuicCredentials`, `QuicClient` and `QuicConnection`: an agent's connections over quinn.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use telemetry_core::quic::client::{self, Event, Target, TlsSettings, What};

use crate::errors::CoreError;
use crate::wake::WakeFd;

/// What connections of one agent prove themselves with.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct QuicCredentials(pub(crate) client::Credentials);

#[pymethods]
impl QuicCredentials {
    #[new]
    #[pyo3(signature = (*, chain, key, authorities))]
    fn new(chain: Vec<Vec<u8>>, key: Vec<u8>, authorities: Vec<Vec<u8>>) -> PyResult<Self> {
        let credentials = client::Credentials::new(TlsSettings { chain, key, authorities });
        credentials.map(Self).map_err(|error| PyValueError::new_err(error.to_string()))
    }
}

/// Connections whose events come out of one queue.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct QuicClient {
    inner: client::Client,
    wake: WakeFd,
}

#[pymethods]
impl QuicClient {
    #[new]
    fn new() -> PyResult<Self> {
        let wake = WakeFd::new()?;
        let signal = wake.clone();
        Ok(Self { inner: client::Client::new(Box::new(move || signal.signal())), wake })
    }

    fn fileno(&self) -> i32 {
        self.wake.number()
    }

    #[pyo3(signature = (host, port, *, server_name, credentials, datagram_bytes_max = 1_200, unreachable_secs = 1.0))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn connect(
        &self,
        py: Python<'_>,
        host: &str,
        port: u16,
        server_name: &str,
        credentials: &QuicCredentials,
        datagram_bytes_max: u16,
        unreachable_secs: f64,
    ) -> PyResult<QuicConnection> {
        let target = Target {
            address: address_of(host, port)?,
            server_name: server_name.to_owned(),
            datagram_bytes_max,
            unreachable: seconds("unreachable_secs", unreachable_secs)?,
        };
        let connection = py.detach(|| self.inner.connect(target, &credentials.0));
        Ok(QuicConnection(connection?))
    }

    fn departed(&self, py: Python<'_>, timeout_secs: f64) -> PyResult<bool> {
        let timeout = seconds("timeout_secs", timeout_secs)?;
        Ok(py.detach(|| self.inner.departed(timeout)))
    }

    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        // Cleared first: what happens after it signals again.
        self.wake.clear();
        let taken = PyList::empty(py);
        for Event { connection, what } in self.inner.take_events() {
            match what {
                What::Established(chain) => {
                    let chain: Vec<_> = chain.iter().map(|one| PyBytes::new(py, one)).collect();
                    taken.append((connection, "established", chain))?;
                }
                What::Received(stream, data) => {
                    taken.append((connection, "received", stream, PyBytes::new(py, &data)))?;
                }
                What::Ended(stream) => taken.append((connection, "ended", stream))?,
                What::Stopped(stream, code) => taken.append((connection, "stopped", stream, code))?,
                What::Closed(closing) => {
                    taken.append((connection, "closed", closing.origin.as_str(), closing.code, closing.reason))?;
                }
            }
        }
        Ok(taken)
    }
}

/// One connection. Its methods never wait.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct QuicConnection(client::Connection);

#[pymethods]
impl QuicConnection {
    #[getter]
    fn number(&self) -> u64 {
        self.0.number()
    }

    #[getter]
    fn queued_bytes(&self) -> usize {
        self.0.queued_bytes()
    }

    #[pyo3(signature = (stream, data, *, finish = false))]
    fn write(&self, stream: u64, data: &[u8], finish: bool) -> PyResult<()> {
        self.0.write(stream, data.to_vec().into(), finish).map_err(|error| CoreError::new_err(error.to_string()))
    }

    #[pyo3(signature = (code, reason = ""))]
    fn close(&self, code: u32, reason: &str) {
        self.0.close(code, reason);
    }
}

pub(crate) fn address_of(host: &str, port: u16) -> PyResult<SocketAddr> {
    let address: IpAddr = host
        .parse()
        .map_err(|_| PyValueError::new_err(format!("host is {host:?}; an IPv4 or IPv6 address is right")))?;
    Ok(SocketAddr::new(address, port))
}

pub(crate) fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|error| PyValueError::new_err(format!("{name} {value}: {error}")))
}
