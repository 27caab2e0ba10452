//! `IngestSettings`.

use std::path::PathBuf;

use pyo3::prelude::*;
use telemetry_core::ingest;
use telemetry_core::journal::JournalSettings;
use telemetry_core::limits::Limits;

/// Everything `Ingest` needs to know; frozen.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct IngestSettings {
    pub(crate) journal_dir: PathBuf,
    pub(crate) settings: ingest::IngestSettings,
}

#[pymethods]
impl IngestSettings {
    #[new]
    #[pyo3(signature = (
        *,
        journal_dir,
        journal_segment_bytes = 64 * 1024 * 1024,
        journal_bytes_max = 16 * 1024 * 1024 * 1024,
        recent_bytes_max = 16 * 1024 * 1024,
        max_cardinality = 100_000,
        series_idle_secs = 86_400,
        max_batch_size = 1_000,
        frame_bytes_max = 1024 * 1024,
        inflated_bytes_max = 16 * 1024 * 1024,
        backpressure_threshold = 5_000,
        inflight_bytes_max = 256 * 1024 * 1024,
        timestamp_past_secs = 604_800,
        timestamp_future_secs = 600,
        bind_node_id = true,
    ))]
    #[allow(clippy::too_many_arguments)] // keyword arguments of a settings object, in Python's own form
    fn new(
        journal_dir: PathBuf,
        journal_segment_bytes: u64,
        journal_bytes_max: u64,
        recent_bytes_max: usize,
        max_cardinality: usize,
        series_idle_secs: u64,
        max_batch_size: usize,
        frame_bytes_max: usize,
        inflated_bytes_max: usize,
        backpressure_threshold: usize,
        inflight_bytes_max: usize,
        timestamp_past_secs: u64,
        timestamp_future_secs: u64,
        bind_node_id: bool,
    ) -> Self {
        let limits = Limits {
            max_cardinality,
            series_idle_secs,
            max_batch_size,
            frame_bytes_max,
            inflated_bytes_max,
            backpressure_threshold,
            inflight_bytes_max,
            timestamp_past_secs,
            timestamp_future_secs,
        };
        let journal = JournalSettings {
            segment_bytes: journal_segment_bytes,
            bytes_max: journal_bytes_max,
            ..JournalSettings::default()
        };
        Self { journal_dir, settings: ingest::IngestSettings { limits, bind_node_id, recent_bytes_max, journal } }
    }
}
