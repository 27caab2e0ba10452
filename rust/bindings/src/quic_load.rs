//! `QuicLoad`: many simulated agents, whose loops are in the core.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use telemetry_core::quic::client::Target;
use telemetry_core::quic::client::load::{AgentSettings, Load, LoadSettings};

use crate::quic_client::{QuicCredentials, address_of, seconds};

/// Simulated agents at work.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct QuicLoad(Load);

type AgentParts<'py> = (Bound<'py, QuicCredentials>, u64, Vec<Vec<u8>>, Vec<Vec<u8>>);

#[pymethods]
impl QuicLoad {
    #[new]
    #[pyo3(signature = (
        host, port, *, server_name, agents, batches_per_sec = None, inflight_max = 1_024, datagram_bytes_max = 1_200,
        connect_timeout_secs = 30.0
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn new(
        py: Python<'_>,
        host: &str,
        port: u16,
        server_name: &str,
        agents: Vec<AgentParts<'_>>,
        batches_per_sec: Option<f64>,
        inflight_max: u32,
        datagram_bytes_max: u16,
        connect_timeout_secs: f64,
    ) -> PyResult<Self> {
        if batches_per_sec.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            return Err(PyValueError::new_err("batches_per_sec is above 0, or None for as many as the credit allows"));
        }
        let target = Target {
            address: address_of(host, port)?,
            server_name: server_name.to_owned(),
            datagram_bytes_max,
            unreachable: Duration::ZERO,
        };
        let connect_timeout = seconds("connect_timeout_secs", connect_timeout_secs)?;
        let settings = LoadSettings { target, batches_per_sec, inflight_max, connect_timeout };
        let agents = agents.into_iter().map(|(credentials, epoch, opening, cycle)| AgentSettings {
            credentials: credentials.get().0.clone(),
            epoch,
            opening,
            cycle,
        });
        let agents: Vec<_> = agents.collect();
        if agents.iter().any(|agent| agent.epoch == 0) {
            return Err(PyValueError::new_err("an agent's epoch is 0; any other names its batches"));
        }
        let load = py.detach(|| Load::start(&settings, agents))?;
        Ok(Self(load))
    }

    fn begin(&self) {
        self.0.begin();
    }

    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let figures = self.0.counters().figures();
        let out = PyDict::new(py);
        for (name, figure) in [
            ("connected", figures.connected),
            ("lost", figures.lost),
            ("batches_sent", figures.batches_sent),
            ("batches_acknowledged", figures.batches_acknowledged),
            ("batches_refused", figures.batches_refused),
            ("batches_retried", figures.batches_retried),
            ("points_acknowledged", figures.points_acknowledged),
            ("points_refused", figures.points_refused),
            ("frame_bytes_sent", figures.frame_bytes_sent),
        ] {
            out.set_item(name, figure)?;
        }
        Ok(out)
    }

    fn latency_secs(&self, part: f64) -> f64 {
        self.0.counters().latency(part).as_secs_f64()
    }

    #[getter]
    fn faults(&self) -> Vec<String> {
        self.0.faults()
    }

    fn stop(&self, py: Python<'_>, drain_secs: f64) -> PyResult<()> {
        let drain = seconds("drain_secs", drain_secs)?;
        py.detach(|| self.0.stop(drain));
        Ok(())
    }

    fn acknowledged<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        let records = py.detach(|| self.0.acknowledged());
        let native = |points: Vec<u32>| points.into_iter().flat_map(u32::to_ne_bytes).collect::<Vec<u8>>();
        records.into_iter().map(|points| PyBytes::new(py, &native(points))).collect()
    }
}
