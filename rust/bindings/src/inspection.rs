//! `inspect_journal`.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use telemetry_core::ingest::{self, Inspected, Payload};
use telemetry_core::journal::{DiskStorage, Position};

use crate::detached::detached;
use crate::errors;

#[pyfunction]
#[pyo3(signature = (directory, progress = None))]
pub(crate) fn inspect_journal(
    py: Python<'_>,
    directory: PathBuf,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'_, PyDict>> {
    let path = directory.display().to_string();
    let storage = DiskStorage::read_only(directory)
        .map_err(|error| errors::JournalError::new_err(format!("journal {path}: {error}")))?;
    let mut failed = None;
    let failure = &mut failed;
    let mut tell = move |bytes: u64, of: u64| {
        if let Some(progress) = progress.as_ref().filter(|_| failure.is_none()) {
            *failure = Python::attach(|py| progress.call1(py, (bytes, of)).err());
        }
    };
    let found = detached(py, || ingest::inspect(&storage, &mut tell))?;
    failed.map_or_else(|| as_dict(py, &found), Err)
}

fn as_dict<'py>(py: Python<'py>, found: &Inspected) -> PyResult<Bound<'py, PyDict>> {
    let journal = &found.journal;
    let out = PyDict::new(py);
    out.set_item("journal_id", journal.journal_id.map(|id| id.to_string()))?;
    out.set_item("format_version", journal.format_version)?;
    out.set_item(
        "payload",
        match found.payload {
            Payload::Empty => "empty",
            Payload::Blocks => "blocks",
            Payload::Foreign => "not decoded",
        },
    )?;
    out.set_item("end", journal.end.get())?;
    out.set_item("tail_bytes", journal.tail_bytes)?;
    let segments = PyList::empty(py);
    for segment in &journal.segments {
        let contents = found.segments.get(&segment.base).copied().unwrap_or_default();
        let item = PyDict::new(py);
        item.set_item("base", segment.base.get())?;
        item.set_item("end", segment.end.get())?;
        item.set_item("limit", segment.limit.map(Position::get))?;
        item.set_item("bytes", segment.bytes)?;
        item.set_item("records", segment.records)?;
        item.set_item("payload_bytes", segment.payload_bytes)?;
        item.set_item("batches", contents.batches)?;
        item.set_item("points", contents.points)?;
        item.set_item("created_unix_secs", segment.begun.map(|(secs, _)| secs))?;
        item.set_item("cause", segment.begun.map(|(_, cause)| cause.name()))?;
        segments.append(item)?;
    }
    out.set_item("segments", segments)?;
    let cursors = PyList::empty(py);
    for cursor in &journal.cursors {
        let item = PyDict::new(py);
        item.set_item("consumer", &cursor.consumer)?;
        item.set_item("position", cursor.position.map(Position::get))?;
        let lag = cursor.position.map(|position| journal.end.get().saturating_sub(position.get()));
        item.set_item("lag_bytes", lag)?;
        cursors.append(item)?;
    }
    out.set_item("cursors", cursors)?;
    let checkpoints = PyList::empty(py);
    for checkpoint in &journal.checkpoints {
        let contents = found.checkpoints.get(&checkpoint.position);
        let item = PyDict::new(py);
        item.set_item("position", checkpoint.position.get())?;
        item.set_item("bytes", checkpoint.bytes)?;
        item.set_item("series", contents.map(|contents| contents.series))?;
        item.set_item("identities", contents.map(|contents| contents.identities))?;
        item.set_item("epochs", contents.map(|contents| contents.epochs))?;
        checkpoints.append(item)?;
    }
    out.set_item("checkpoints", checkpoints)?;
    let quarantine = PyList::empty(py);
    for file in &journal.quarantine {
        let item = PyDict::new(py);
        item.set_item("file", &file.name)?;
        item.set_item("bytes", file.bytes)?;
        item.set_item("position", file.range.as_ref().map(|(position, ..)| position.get()))?;
        item.set_item("damaged_bytes", file.range.as_ref().map(|(_, bytes, _)| *bytes))?;
        item.set_item("reason", file.range.as_ref().map(|(.., reason)| reason))?;
        quarantine.append(item)?;
    }
    out.set_item("quarantine", quarantine)?;
    let damage = PyList::empty(py);
    for damaged in &journal.damage {
        let item = PyDict::new(py);
        item.set_item("file", &damaged.file)?;
        item.set_item("position", damaged.position.get())?;
        item.set_item("bytes", damaged.bytes)?;
        item.set_item("reason", damaged.reason.name())?;
        item.set_item("detail", &damaged.detail)?;
        damage.append(item)?;
    }
    out.set_item("damage", damage)?;
    out.set_item("damaged", journal.damaged)?;
    out.set_item("damaged_bytes", journal.damaged_bytes)?;
    Ok(out)
}
