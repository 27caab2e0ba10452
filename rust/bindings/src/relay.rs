//! `RelayStream` and `RelayedBatch`: what an agent reads from a service beside it, and answers.

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use telemetry_core::limits::Limits;
use telemetry_core::relay::{Relay, Relayed};
use telemetry_core::wire::{BatchAck, FrameReader, Outcome, Reason, Rejection};

use crate::batch::Batch;
use crate::errors::CoreError;

/// The receiving half of one service's stream.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct RelayStream(Mutex<(FrameReader, Relay)>);

#[pymethods]
impl RelayStream {
    #[new]
    #[pyo3(signature = (*, common_tags, node, points_max, frame_bytes_max))]
    fn new(common_tags: Vec<(String, String)>, node: &str, points_max: usize, frame_bytes_max: usize) -> Self {
        let tags = common_tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        let limits = Limits { max_batch_size: points_max, inflated_bytes_max: frame_bytes_max, ..Limits::default() };
        Self(Mutex::new((FrameReader::new(frame_bytes_max), Relay::new(tags, node, limits))))
    }

    #[getter]
    fn mid_frame(&self) -> bool {
        self.0.lock().0.mid_frame()
    }

    fn feed(&self, py: Python<'_>, data: &[u8], now_unix_ns: i64) -> PyResult<Vec<RelayedBatch>> {
        let read = py.detach(|| {
            let (reader, relay) = &mut *self.0.lock();
            let mut input = data;
            let mut taken = Vec::new();
            loop {
                match reader.next(&mut input) {
                    Ok(Some(frame)) => taken.push(RelayedBatch(relay.take(frame, now_unix_ns))),
                    // A fault is told at every call: first come the frames before it.
                    Err(fault) if taken.is_empty() => return Err(fault),
                    Ok(None) | Err(_) => return Ok(taken),
                }
            }
        });
        read.map_err(|fault| CoreError::new_err(fault.to_string()))
    }
}

/// One frame of a service: what is to be sent on, and what was refused.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct RelayedBatch(Relayed);

#[pymethods]
impl RelayedBatch {
    #[getter]
    fn sequence(&self) -> u64 {
        self.0.sequence
    }

    #[getter]
    fn epoch(&self) -> u64 {
        self.0.epoch
    }

    #[getter]
    fn oldest_unacknowledged(&self) -> u64 {
        self.0.oldest_unacknowledged
    }

    #[getter]
    fn withdraws(&self) -> bool {
        self.0.withdraw
    }

    #[getter]
    fn batch(&self) -> Option<Batch> {
        self.0.batch.clone().map(Batch)
    }

    #[getter]
    fn rejections(&self) -> Vec<(u32, u32, &str)> {
        self.0.rejections.iter().map(|one| (one.reason.number(), one.points, one.example.as_str())).collect()
    }

    #[pyo3(signature = (answer, *, credit, retry_after_ms = 0))]
    fn reply<'py>(
        &self,
        py: Python<'py>,
        answer: &str,
        credit: u32,
        retry_after_ms: u32,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let accepted_points = self.0.batch.as_ref().map_or(0, |batch| batch.len() as u32);
        let none = |outcome| BatchAck {
            sequence: self.0.sequence,
            outcome,
            accepted_points: 0,
            rejected_points: 0,
            rejections: Vec::new(),
            credit,
            retry_after_ms,
        };
        let ack = match answer {
            "kept" => BatchAck {
                accepted_points,
                rejected_points: self.0.rejections.iter().map(|one| one.points).sum(),
                rejections: self.0.rejections.clone(),
                ..none(match (self.0.rejections.is_empty(), accepted_points) {
                    (true, _) => Outcome::Stored,
                    (false, 0) => Outcome::Rejected,
                    (false, _) => Outcome::Partial,
                })
            },
            "duplicate" => none(Outcome::Duplicate),
            "retry_later" => none(Outcome::RetryLater),
            "withdrawn" => {
                let example = "its client has taken this name back".into();
                let points = accepted_points + self.0.rejections.iter().map(|one| one.points).sum::<u32>();
                let rejections = vec![Rejection { reason: Reason::Withdrawn, points, example }];
                BatchAck { rejected_points: points, rejections, ..none(Outcome::Rejected) }
            }
            other => {
                let message = format!("answer is {other:?}; kept, duplicate, retry_later or withdrawn are right");
                return Err(PyValueError::new_err(message));
            }
        };
        let mut frame = Vec::new();
        ack.write_frame(&mut frame);
        Ok(PyBytes::new(py, &frame))
    }
}
