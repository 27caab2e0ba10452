//! An agent's connections to a collector: mutual TLS, streams, bytes. What the bytes mean is for the caller, but for the load.
//!
//! ```text
//! caller ─► Connection ─► connection task ─► stream tasks ─► quinn
//!    ▲      commands, never waiting           │ reading, writing
//!    └───── Events: one queue, one wake-up ◄──┘
//! ```
//!
//! All connections of a process share one runtime with one thread: an agent's share of work is small.

mod closing;
mod connection;
mod departures;
mod events;
pub mod load;
mod runtime;
mod socket;
mod stream;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub use closing::{Closing, Origin};
pub use connection::{Connection, QUEUED_BYTES_MAX, QueueFull};
pub use events::{EVENT_BYTES_MAX, Event, What};
pub use tls::{Credentials, CredentialsError, TlsSettings};

use departures::Departures;
use events::Events;

/// How one collector is reached.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name, or address, that its certificate must carry.
    pub server_name: String,
    /// Bytes of QUIC in one datagram.
    pub datagram_bytes_max: u16,
    /// How long a connection lives on without a datagram after the network said that nobody listens there.
    pub unreachable: Duration,
}

/// Connections whose events come out of one queue. Dropping it leaves connections alone; they close when they are dropped.
pub struct Client {
    events: Arc<Events>,
    departures: Arc<Departures>,
    next: AtomicU64,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Client {
    /// `wake` is called from the runtime's thread when the queue of events is no longer empty. It must not wait.
    #[must_use]
    pub fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { events: Arc::new(Events::new(wake)), departures: Arc::default(), next: AtomicU64::new(1) }
    }

    /// Begins a handshake. The connection's end is an event too; nothing comes after that.
    ///
    /// # Errors
    /// The operating system's, when there is no socket to be had or no way to the address.
    pub fn connect(&self, target: Target, credentials: &Credentials) -> std::io::Result<Connection> {
        let number = self.next.fetch_add(1, Relaxed);
        Connection::start(number, target, credentials, Arc::clone(&self.events), Arc::clone(&self.departures))
    }

    /// Waits until every close is sent, at most so long; whether they are. For a process that is about to end.
    #[must_use]
    pub fn departed(&self, timeout: Duration) -> bool {
        self.departures.wait(timeout)
    }

    /// Everything that has happened to all connections since the last call, in order for each.
    #[must_use]
    pub fn take_events(&self) -> Vec<Event> {
        self.events.take()
    }
}
