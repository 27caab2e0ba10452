//! The listener: agents' connections on every processor, their frames to the ingest without a step through Python.
//!
//! ```text
//! socket ─► quinn ─► accepting ─► connection (handshake, identity, slot) ─► stream ─► ingest::Conversation
//!                       │                │                                    ▲               │ commit
//!                   arrivals           trust                                  └──── wake ◄────┘
//! ```
//!
//! A connection is a task, and so is each of its streams. A stream is not read while its peer does not take its replies,
//! nor while it waits for a commit and all bytes that may be in flight are: its window then stays shut, which is how QUIC
//! tells an agent to wait. What happens is handed out as counters and events; the caller makes metrics and lines of them.

mod accepting;
mod agents;
mod arrivals;
mod connection;
mod ending;
mod endpoint;
mod events;
mod identity;
mod ids;
mod settings;
mod socket;
mod stream;
mod trust;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};
use rustls::pki_types::UnixTime;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use self::accepting::accept_forever;
use self::agents::Agents;
use self::arrivals::Arrivals;
use self::connection::Agent;
pub use self::ending::Ending;
use self::endpoint::{TokenKey, endpoint, offloads, server_config, token_key};
use self::events::EventQueue;
pub use self::events::{Counters, Event, Labels, Taken};
pub use self::identity::{IDENTITY_BYTES_MAX, Identity};
pub use self::settings::{Deadlines, ServerSettings};
use self::trust::CurrentTrust;
pub use self::trust::{Trust, TrustError};
use crate::ingest::{Ingest, Wake};
use crate::wire::CloseCode;

/// How long the last words to peers may take to leave.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why a listener cannot be started or reconfigured; permanent until what it names is another.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Certificate and key do not fit, or are of a kind that is not supported.
    #[error(
        "the certificate or its key cannot be used: {0}; expected RSA of 2048 bits or more, P-256, P-384 or Ed25519"
    )]
    Certificate(rustls::Error),
    /// The socket or the threads.
    #[error("the listener's socket or threads: {0}")]
    Socket(std::io::Error),
}

/// What every connection is told while it runs.
#[derive(Clone, Copy, Debug)]
struct Orders {
    deadlines: Deadlines,
    /// Read no more, and end when what was received is answered.
    stopping: bool,
}

/// What the tasks of one listener share.
struct Shared {
    ingest: Arc<Ingest>,
    trust: Arc<CurrentTrust>,
    counters: Counters,
    events: EventQueue,
    orders: watch::Sender<Orders>,
    bounds: Mutex<Bounds>,
    arrivals: Mutex<Arrivals>,
    agents: Mutex<Agents<Arc<Agent>>>,
    /// One of them has left.
    left: Condvar,
}

/// How many there may be.
#[derive(Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "they say what they bound, and that they are bounds comes last")]
struct Bounds {
    connections_max: usize,
    connections_per_identity_max: Option<usize>,
    handshakes_max: usize,
}

/// A listener at work.
pub struct Server {
    shared: Arc<Shared>,
    endpoint: quinn::Endpoint,
    offloads: (usize, usize),
    token_key: TokenKey,
    /// The most that `datagrams_received` has told.
    datagrams_told: AtomicU64,
    runtime: Mutex<Option<Runtime>>,
}

impl Server {
    /// Listens on a socket that is bound and does not block. `wake` is called when there are events to take.
    ///
    /// # Errors
    /// [`ServerError`] says what cannot be used.
    pub fn start(
        socket: UdpSocket,
        settings: &ServerSettings,
        trust: Arc<Trust>,
        ingest: Arc<Ingest>,
        wake: Wake,
    ) -> Result<Self, ServerError> {
        let trust = Arc::new(CurrentTrust::new(trust));
        let token_key = token_key();
        let config = server_config(settings, Arc::clone(&trust), Arc::clone(&token_key))?;
        let runtime = runtime(settings.threads).map_err(ServerError::Socket)?;
        let offloads = offloads(&socket).map_err(ServerError::Socket)?;
        let endpoint = {
            let _entered = runtime.enter();
            endpoint(socket, settings, config)?
        };
        let shared = Arc::new(Shared {
            ingest,
            trust,
            counters: Counters::default(),
            events: EventQueue::new(wake),
            orders: watch::Sender::new(Orders { deadlines: settings.deadlines, stopping: false }),
            bounds: Mutex::new(bounds(settings)),
            arrivals: Mutex::new(Arrivals::new(
                settings.handshakes_max,
                settings.handshakes_per_address,
                settings.connections_per_address_per_sec,
                Instant::now(),
            )),
            agents: Mutex::new(Agents::new()),
            left: Condvar::new(),
        });
        runtime.spawn(accept_forever(Arc::clone(&shared), endpoint.clone()));
        runtime.spawn(expire_forever(Arc::clone(&shared)));
        let runtime = Mutex::new(Some(runtime));
        Ok(Self { shared, endpoint, offloads, token_key, datagrams_told: AtomicU64::new(0), runtime })
    }

    /// Open connections that were let in.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.agents.lock().len()
    }

    /// UDP datagrams that open connections have received, and those that are over. Never fewer than the last time.
    #[must_use]
    pub fn datagrams_received(&self) -> u64 {
        let (open, left) = self.shared.agents.lock().open_and_left();
        let now = left + open.iter().map(|agent| agent.connection.stats().udp_rx.datagrams).sum::<u64>();
        // One that has left since may have received more than it left with.
        self.datagrams_told.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// Datagrams of one flow that the system sends, and hands over, in one call; 1 where it does not bundle them.
    #[must_use]
    pub fn offloads(&self) -> (usize, usize) {
        self.offloads
    }

    /// What is counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// What has happened since the last call.
    #[must_use]
    pub fn take_events(&self) -> Taken {
        self.shared.events.take()
    }

    /// Takes other settings: new handshakes show another certificate, and other bounds and deadlines hold, for open
    /// connections too. Threads, reset key and the bounds of addresses stay.
    ///
    /// # Errors
    /// [`ServerError`], and nothing has changed.
    pub fn reconfigure(&self, settings: &ServerSettings) -> Result<(), ServerError> {
        let config = server_config(settings, Arc::clone(&self.shared.trust), Arc::clone(&self.token_key))?;
        self.endpoint.set_server_config(Some(config));
        *self.shared.bounds.lock() = bounds(settings);
        self.shared.orders.send_modify(|orders| orders.deadlines = settings.deadlines);
        Ok(())
    }

    /// Judges by other trust from now on. Returns when every open connection was judged anew.
    pub fn update_trust(&self, trust: Arc<Trust>) {
        self.shared.trust.replace(trust);
        let open = self.shared.open();
        // Each look verifies a whole revocation list: on one processor thousands of agents would take too long.
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for share in open.chunks(open.len().div_ceil(threads).max(1)) {
                scope.spawn(|| share.iter().for_each(|agent| self.shared.judge(agent)));
            }
        });
    }

    /// Lets nobody in, reads no more, and waits until the replies due are sent and their connections closed with
    /// `SHUTTING_DOWN`. How many were still open when the time was over.
    #[must_use]
    pub fn settle(&self, timeout: Duration) -> usize {
        self.shared.orders.send_modify(|orders| orders.stopping = true);
        let until = Instant::now() + timeout;
        let mut agents = self.shared.agents.lock();
        while agents.len() > 0 && !self.shared.left.wait_until(&mut agents, until).timed_out() {}
        agents.len()
    }

    /// Says `SHUTTING_DOWN` to all that are left and frees everything. Idempotent, and ends a `settle` under way.
    pub fn close(&self) {
        let Some(runtime) = self.runtime.lock().take() else { return };
        self.shared.orders.send_modify(|orders| orders.stopping = true);
        for agent in self.shared.open() {
            agent.end(CloseCode::ShuttingDown, "");
        }
        self.endpoint.close(ending::number(CloseCode::ShuttingDown), b"");
        // The last words are lost when they do not leave in time; the peers' transport then finds out by itself.
        let _ = runtime.block_on(async { tokio::time::timeout(FAREWELL, self.endpoint.wait_idle()).await });
        runtime.shutdown_timeout(FAREWELL);
    }
}

impl Shared {
    fn open(&self) -> Vec<Arc<Agent>> {
        self.agents.lock().open()
    }

    /// Ends a connection whose certificate or identity no longer counts.
    fn judge(&self, agent: &Agent) {
        let trust = self.trust.get();
        let identity = &agent.identity.name;
        if let Err(refusal) = trust.verify(&agent.chain(), UnixTime::now()) {
            agent.end(CloseCode::Revoked, &format!("{refusal}"));
        } else if !trust.allows(identity) {
            agent.end(CloseCode::Revoked, "no longer allowed");
        } else if agent.relay && !trust.is_relay(identity) {
            // Its conversations were begun with a right that it has lost.
            agent.end(CloseCode::Revoked, "no longer a relay");
        }
    }
}

async fn expire_forever(shared: Arc<Shared>) {
    loop {
        let every = shared.orders.borrow().deadlines.expiry;
        tokio::time::sleep(every).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        for agent in shared.open() {
            if agent.expires_unix_secs <= now {
                agent.end(CloseCode::Revoked, "certificate expired");
            }
        }
    }
}

fn bounds(settings: &ServerSettings) -> Bounds {
    Bounds {
        connections_max: settings.connections_max,
        connections_per_identity_max: settings.connections_per_identity_max,
        handshakes_max: settings.handshakes_max,
    }
}

fn runtime(threads: Option<usize>) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder.thread_name("quic-listener").enable_all().build()
}
