//! What happened to connections, in one queue, so that a wake-up costs once and not once a connection.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::Closing;

/// Bytes received and not taken yet, of all connections of a client. Beyond it streams are not read on, and flow control
/// holds the collector back.
pub const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Something that happened to a connection.
#[derive(Debug)]
pub struct Event {
    /// The connection's number.
    pub connection: u64,
    /// What it was.
    pub what: What,
}

/// What can happen. Streams are numbered by the caller.
#[derive(Debug)]
pub enum What {
    /// The handshake is done on our side; the collector's certificate, then its intermediates, in DER.
    Established(Vec<Vec<u8>>),
    /// A stream brought bytes.
    Received(u64, Bytes),
    /// A stream brings nothing more, by its end or a reset.
    Ended(u64),
    /// The collector reads a stream no further, and why.
    Stopped(u64, u64),
    /// The connection is over.
    Closed(Closing),
}

pub(super) struct Events {
    queue: Mutex<Vec<Event>>,
    room: Arc<Semaphore>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Events {
    pub(super) fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { queue: Mutex::default(), room: Arc::new(Semaphore::new(EVENT_BYTES_MAX)), wake }
    }

    pub(super) fn push(&self, connection: u64, what: What) {
        let mut queue = self.queue.lock();
        let was_empty = queue.is_empty();
        queue.push(Event { connection, what });
        drop(queue);
        if was_empty {
            (self.wake)();
        }
    }

    /// Waits until there is room for the bytes.
    pub(super) async fn received(&self, connection: u64, stream: u64, data: Bytes) {
        let room = self.room.acquire_many(data.len() as u32).await.expect("the semaphore is never closed");
        room.forget();
        self.push(connection, What::Received(stream, data));
    }

    pub(super) fn take(&self) -> Vec<Event> {
        let taken = std::mem::take(&mut *self.queue.lock());
        let bytes = taken.iter().map(|event| if let What::Received(_, data) = &event.what { data.len() } else { 0 });
        self.room.add_permits(bytes.sum());
        taken
    }
}
