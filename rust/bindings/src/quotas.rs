//! `Quota` and `Quotas`.

use pyo3::prelude::*;
use telemetry_core::ingest::quotas;

/// What one identity may send; frozen.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Quota(quotas::Quota);

#[pymethods]
impl Quota {
    #[new]
    #[pyo3(signature = (*, batches_per_sec = None, points_per_sec = None, bytes_per_sec = None, series = None))]
    fn new(
        batches_per_sec: Option<u64>,
        points_per_sec: Option<u64>,
        bytes_per_sec: Option<u64>,
        series: Option<u64>,
    ) -> Self {
        Self(quotas::Quota { batches_per_sec, points_per_sec, bytes_per_sec, series })
    }
}

/// Everybody's quota; frozen.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Quotas(pub(crate) quotas::Quotas);

#[pymethods]
impl Quotas {
    #[new]
    #[pyo3(signature = (*, default, overrides = Vec::new()))]
    fn new(default: &Quota, overrides: Vec<(Vec<String>, PyRef<'_, Quota>)>) -> Self {
        let overrides = overrides.into_iter().map(|(patterns, quota)| quotas::Override {
            identities: patterns.iter().map(|pattern| quotas::Pattern::new(pattern)).collect(),
            quota: quota.0,
        });
        Self(quotas::Quotas { default: default.0, overrides: overrides.collect() })
    }
}
