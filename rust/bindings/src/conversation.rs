//! `Conversation`.

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use telemetry_core::ingest;

/// One stream of one peer, without I/O.
#[pyclass(frozen, module = "telemetry_collector._core")]
pub(crate) struct Conversation {
    // Never contended: one thread drives a stream. The lock is what makes that a rule instead of a hope.
    inner: Mutex<ingest::Conversation>,
    id: u64,
}

impl Conversation {
    pub(crate) fn new(inner: ingest::Conversation) -> Self {
        Self { id: inner.id(), inner: Mutex::new(inner) }
    }
}

#[pymethods]
impl Conversation {
    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    #[getter]
    fn fault(&self) -> u32 {
        self.inner.lock().fault().map_or(0, telemetry_core::wire::CloseCode::number)
    }

    #[getter]
    fn pending(&self) -> usize {
        self.inner.lock().pending()
    }

    #[getter]
    fn mid_frame(&self) -> bool {
        self.inner.lock().mid_frame()
    }

    #[getter]
    fn done(&self) -> bool {
        self.inner.lock().done()
    }

    #[getter]
    fn frames(&self) -> u64 {
        self.inner.lock().frames()
    }

    fn receive<'py>(&self, py: Python<'py>, data: &[u8], now_unix_ns: i64) -> Bound<'py, PyBytes> {
        let replies = py.detach(|| {
            let mut conversation = self.inner.lock();
            conversation.receive(data, now_unix_ns);
            taken(&mut conversation)
        });
        PyBytes::new(py, &replies)
    }

    fn replies<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let replies = taken(&mut self.inner.lock());
        PyBytes::new(py, &replies)
    }

    fn finish(&self) {
        self.inner.lock().finish();
    }
}

fn taken(conversation: &mut ingest::Conversation) -> Vec<u8> {
    let mut replies = Vec::new();
    conversation.take_replies(&mut replies);
    replies
}
