//! `RequestForm` and `Request`.

use std::borrow::Cow;
use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use telemetry_core::ingest::{self, Answer, Peer};
use telemetry_core::signals::{Signal, SignalJournal, SignalRequest};
use telemetry_core::translate::exposition::{Syntax, Target};
use telemetry_core::translate::influx::Precision;
use telemetry_core::translate::otlp::Ignored;
use telemetry_core::translate::{Encoding, Form, Left, Renames, RequestFault, translate};

use crate::errors;

/// How a request's body is to be read.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct RequestForm(Of);

enum Of {
    Points(Form),
    /// In JSON or protobuf.
    Signal(Signal, bool),
}

#[expect(clippy::needless_pass_by_value, reason = "arguments come from Python as values of their own")]
#[pymethods]
impl RequestForm {
    #[staticmethod]
    #[pyo3(signature = (ignored_attributes, *, json = false))]
    fn otlp_metrics(ignored_attributes: Vec<String>, json: bool) -> Self {
        let ignored = Ignored::new(ignored_attributes.iter().map(String::as_str));
        Self(Of::Points(if json { Form::OtlpJson(ignored) } else { Form::Otlp(ignored) }))
    }

    #[staticmethod]
    #[pyo3(signature = (*, json = false))]
    fn otlp_traces(json: bool) -> Self {
        Self(Of::Signal(Signal::Traces, json))
    }

    #[staticmethod]
    #[pyo3(signature = (*, json = false))]
    fn otlp_logs(json: bool) -> Self {
        Self(Of::Signal(Signal::Logs, json))
    }

    #[getter]
    fn signal(&self) -> &'static str {
        match self.0 {
            Of::Points(_) => "metrics",
            Of::Signal(signal, _) => signal.as_str(),
        }
    }

    #[staticmethod]
    fn line_protocol(precision: &str, renames: Vec<(String, String)>) -> PyResult<Self> {
        let precision = Precision::named(precision).ok_or_else(|| {
            PyValueError::new_err(format!("precision {precision:?} is not known; expected ns, us, ms, s, m or h"))
        })?;
        Ok(Self(Of::Points(Form::Influx(precision, renamed(&renames)))))
    }

    #[staticmethod]
    #[pyo3(signature = (labels, *, openmetrics = false))]
    fn exposition(labels: Vec<(String, String)>, openmetrics: bool) -> Self {
        let labels = labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let syntax = if openmetrics { Syntax::OpenMetrics } else { Syntax::Text };
        Self(Of::Points(Form::Exposition(syntax, Target::new(labels))))
    }

    #[staticmethod]
    fn remote_write(renames: Vec<(String, String)>) -> Self {
        Self(Of::Points(Form::Prometheus(renamed(&renames))))
    }
}

fn refused(fault: &RequestFault) -> PyErr {
    match fault {
        RequestFault::TooLarge { .. } | RequestFault::BatchesTooLarge { .. } | RequestFault::TooLargePacked { .. } => {
            errors::RequestTooLargeError::new_err(fault.to_string())
        }
        _ => errors::RequestError::new_err(fault.to_string()),
    }
}

/// What a body unpacks to, unless that is more than `bytes_max`.
#[pyfunction]
pub(crate) fn unpack_small<'py>(
    py: Python<'py>,
    body: Bound<'py, PyBytes>,
    encoding: &str,
    bytes_max: usize,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let unpacked = Encoding::named(encoding).and_then(|encoding| encoding.unpack(body.as_bytes(), bytes_max));
    let owned = match unpacked {
        Ok(Cow::Borrowed(_)) => None,
        Ok(Cow::Owned(contents)) => Some(contents),
        Err(RequestFault::TooLarge { .. }) => return Ok(None),
        Err(fault) => return Err(refused(&fault)),
    };
    Ok(Some(owned.map_or(body, |contents| PyBytes::new(py, &contents))))
}

fn renamed(pairs: &[(String, String)]) -> Renames {
    Renames::new(pairs.iter().map(|(from, to)| (from.as_str(), to.as_str())))
}

/// A request that was taken.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Request {
    id: u64,
    points: u64,
    left: Left,
    first_fault: Option<String>,
    inner: Mutex<Waiting>,
}

/// What waits for its commits.
enum Waiting {
    Points(ingest::Request),
    Signal(SignalRequest),
}

impl Waiting {
    fn answer(&mut self) -> Option<&Answer> {
        match self {
            Self::Points(request) => request.answer(),
            Self::Signal(request) => request.answer(),
        }
    }
}

impl Request {
    /// Unpacks, writes as frames and judges, all without the GIL.
    pub(crate) fn take(
        py: Python<'_>,
        ingest: &Arc<ingest::Ingest>,
        form: &RequestForm,
        (encoding, body): (&str, &[u8]),
        peer: &Peer,
        now_unix_ns: i64,
    ) -> PyResult<Self> {
        let Of::Points(form) = &form.0 else {
            return Err(PyValueError::new_err("form: expected one of points, not of traces or logs"));
        };
        py.detach(|| {
            let encoding = Encoding::named(encoding)?;
            let translated = translate(form, encoding, body, &ingest.policy().limits)?;
            let inner = ingest.take(peer, &translated, now_unix_ns);
            Ok(Self {
                id: inner.id(),
                points: translated.points,
                left: translated.left,
                first_fault: translated.first_fault,
                inner: Mutex::new(Waiting::Points(inner)),
            })
        })
        .map_err(|fault| refused(&fault))
    }

    /// Unpacks and judges a request of traces or logs, all without the GIL.
    pub(crate) fn take_signal(
        py: Python<'_>,
        journal: &SignalJournal,
        form: &RequestForm,
        (encoding, body): (&str, &[u8]),
        peer: &Peer,
        now_unix_ns: i64,
    ) -> PyResult<Self> {
        let as_json = match form.0 {
            Of::Signal(signal, as_json) if signal == journal.signal() => as_json,
            _ => {
                let expected = journal.signal().as_str();
                return Err(PyValueError::new_err(format!("form: expected one of {expected}")));
            }
        };
        py.detach(|| {
            let encoding = Encoding::named(encoding)?;
            let inner = journal.take(as_json, encoding, body, peer, now_unix_ns)?;
            Ok(Self {
                id: inner.id(),
                points: inner.rows(),
                left: Left::default(),
                first_fault: None,
                inner: Mutex::new(Waiting::Signal(inner)),
            })
        })
        .map_err(|fault| refused(&fault))
    }

    fn answer<T>(&self, read: impl FnOnce(&Answer) -> T) -> Option<T> {
        self.inner.lock().answer().map(read)
    }
}

#[pymethods]
impl Request {
    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    #[getter]
    fn points(&self) -> u64 {
        self.points
    }

    #[getter]
    fn left_out(&self) -> Vec<(&'static str, u64)> {
        self.left.by_name().into_iter().filter(|&(_, count)| count > 0).collect()
    }

    #[getter]
    fn first_fault(&self) -> Option<&str> {
        self.first_fault.as_deref()
    }

    fn done(&self) -> bool {
        self.answer(|_| ()).is_some()
    }

    #[getter]
    fn accepted_points(&self) -> u64 {
        self.answer(|answer| answer.accepted_points).unwrap_or(0)
    }

    #[getter]
    fn rejected_points(&self) -> u64 {
        self.answer(|answer| answer.rejected_points).unwrap_or(0)
    }

    #[getter]
    fn rejections(&self) -> Vec<(&'static str, u32, String)> {
        let each = |answer: &Answer| {
            let rejections = answer.rejections.iter();
            rejections.map(|told| (told.reason.as_str(), told.points, told.example.clone())).collect()
        };
        self.answer(each).unwrap_or_default()
    }

    #[getter]
    fn retry_after_ms(&self) -> Option<u32> {
        self.answer(|answer| answer.retry_after_ms).flatten()
    }
}
