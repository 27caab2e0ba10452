//! `Spool`.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use telemetry_core::spool::{self, DropReason, Drops, Opening, Owner, Renewal, SpoolSettings, Told};

use crate::batch::Batch;
use crate::detached::detached;
use crate::fault_disk::{FaultDisk, storage_of};
use crate::wake::WakeFd;

/// The batches of an agent that wait for their answer, on disk.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Spool {
    inner: spool::Spool,
    opening: Opening,
    wake: WakeFd,
}

#[pymethods]
impl Spool {
    #[new]
    #[pyo3(signature = (*, directory, bytes_max, memory_bytes_max, machine_id, identity, node, started_unix_us = 0, disk = None))]
    #[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)] // keyword arguments, in Python's own form
    fn new(
        py: Python<'_>,
        directory: PathBuf,
        bytes_max: u64,
        memory_bytes_max: usize,
        machine_id: String,
        identity: String,
        node: String,
        started_unix_us: u64,
        disk: Option<&FaultDisk>,
    ) -> PyResult<Self> {
        let wake = WakeFd::new()?;
        let signal = wake.clone();
        let owner = Owner { machine_id, identity, node };
        let settings = SpoolSettings { bytes_max, memory_bytes_max, owner, started_unix_us };
        let storage = storage_of("spool", &directory, disk)?;
        let (inner, opening) =
            detached(py, || spool::Spool::open(storage, &settings, Box::new(move || signal.signal())))?;
        Ok(Self { inner, opening, wake })
    }

    #[getter]
    fn opening<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = PyDict::new(py);
        let renewal = self.opening.renewal.map(|renewal| match renewal {
            Renewal::Fresh => "fresh",
            Renewal::AnotherMachine => "another_machine",
            Renewal::AnotherIdentity => "another_identity",
        });
        found.set_item("renewal", renewal)?;
        found.set_item("dropped", dropped(py, &self.opening.drops)?)?;
        found.set_item("batches", self.opening.batches)?;
        found.set_item("points", self.opening.points)?;
        found.set_item("undecodable", self.opening.undecodable)?;
        found.set_item("torn_bytes", self.opening.journal.torn_bytes)?;
        found.set_item("damaged_bytes", self.opening.journal.damaged_bytes)?;
        found.set_item("damaged_files", &self.opening.journal.damaged_files)?;
        Ok(found)
    }

    #[getter]
    fn epoch(&self) -> u64 {
        self.inner.epoch()
    }

    #[getter]
    fn oldest_unacknowledged(&self) -> u64 {
        self.inner.oldest_unacknowledged()
    }

    #[getter]
    fn next_sequence(&self) -> u64 {
        self.inner.next_sequence()
    }

    #[getter]
    fn waiting(&self) -> (u64, u64) {
        self.inner.waiting()
    }

    #[getter]
    fn pressed(&self) -> bool {
        self.inner.pressed()
    }

    fn has_room(&self, points: usize) -> bool {
        self.inner.has_room(points)
    }

    fn put(&self, py: Python<'_>, batch: &Batch) -> u64 {
        let batch = batch.0.clone();
        py.detach(|| self.inner.put(batch))
    }

    fn points_of(&self, sequence: u64) -> Option<u32> {
        self.inner.points_of(sequence)
    }

    fn durable(&self, sequence: u64) -> bool {
        self.inner.durable(sequence)
    }

    fn next_after(&self, sequence: u64) -> Option<u64> {
        self.inner.next_after(sequence)
    }

    fn batch(&self, py: Python<'_>, sequence: u64) -> Option<Batch> {
        py.detach(|| self.inner.batch(sequence)).map(Batch)
    }

    fn acknowledge(&self, sequence: u64) {
        self.inner.acknowledge(sequence);
    }

    fn abandon_too_large(&self, sequence: u64) {
        self.inner.abandon(sequence, DropReason::TooLarge);
    }

    fn split(&self, py: Python<'_>, sequence: u64) -> Option<u64> {
        py.detach(|| self.inner.split(sequence))
    }

    fn fileno(&self) -> i32 {
        self.wake.number()
    }

    fn told(&self) -> Vec<(u64, u32, Option<&'static str>)> {
        // Cleared first: what happens after it signals again.
        self.wake.clear();
        let told = self.inner.take_told().into_iter();
        let told = told.map(|told| match told {
            Told::Dropped { sequence, points, reason } => (sequence, points, Some(reason.as_str())),
            Told::Unsplit { sequence } => (sequence, 0, None),
        });
        told.collect()
    }

    fn maintain(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.inner.maintain())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.inner.stats();
        let out = PyDict::new(py);
        out.set_item("dropped", dropped(py, &stats.drops)?)?;
        out.set_item("batches", stats.batches)?;
        out.set_item("points", stats.points)?;
        out.set_item("batches_unspooled", stats.unspooled.0)?;
        out.set_item("points_unspooled", stats.unspooled.1)?;
        out.set_item("trouble", stats.trouble)?;
        out.set_item("bytes", stats.journal.bytes)?;
        out.set_item("bytes_max", stats.journal.bytes_max)?;
        out.set_item("syncs", stats.journal.syncs)?;
        Ok(out)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.inner.close())
    }
}

/// (batches, points) by reason, where there are any.
fn dropped<'py>(py: Python<'py>, drops: &Drops) -> PyResult<Bound<'py, PyDict>> {
    let out = PyDict::new(py);
    for reason in DropReason::ALL {
        let (batches, points) = drops.of(reason);
        if batches > 0 {
            out.set_item(reason.as_str(), (batches, points))?;
        }
    }
    Ok(out)
}
