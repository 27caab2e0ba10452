//! One agent's connection: its handshake, who it is, its streams, its deadlines.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use quinn::{Connecting, Connection};
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Shared;
use super::accepting::Begun;
use super::ending::{Ending, number};
use super::events::Event;
use super::identity::Identity;
use super::stream::Stream;
use crate::ingest::Peer;
use crate::quic::provoked::place;
use crate::wire::CloseCode;

/// An open connection that was let in.
pub(super) struct Agent {
    pub(super) connection: Connection,
    pub(super) peer: String,
    pub(super) identity: Identity,
    /// The node and the right that its conversations have.
    pub(super) speaker: Arc<Peer>,
    pub(super) relay: bool,
    pub(super) expires_unix_secs: u64,
    /// How this side ended it, if it did.
    ending: Mutex<Option<Ending>>,
    frames: AtomicU64,
    since: Instant,
    /// When the last whole frame was received, in milliseconds of the connection.
    last_frame_ms: AtomicU64,
}

impl Agent {
    /// Its certificate and what came along with it, which the transport keeps.
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        chain_of(&self.connection)
    }

    /// Ends the connection; the first to do so says why. Nothing that arrives from now on is read.
    pub(super) fn end(&self, code: CloseCode, words: &str) {
        self.end_as(code, Ending::here(code.as_str(), words));
    }

    fn end_as(&self, code: CloseCode, ending: Ending) {
        let mut first = self.ending.lock();
        if first.is_none() && self.connection.close_reason().is_none() {
            self.connection.close(number(code), ending.words.as_bytes());
            *first = Some(ending);
        }
    }

    /// Whole frames were received.
    pub(super) fn received_frames(&self, count: u64) {
        self.frames.fetch_add(count, Relaxed);
        self.last_frame_ms.store(self.since.elapsed().as_millis() as u64, Relaxed);
    }

    fn last_frame(&self) -> Instant {
        self.since + Duration::from_millis(self.last_frame_ms.load(Relaxed))
    }
}

/// Serves a connection from its first datagram to its end.
pub(super) async fn serve(shared: Arc<Shared>, connecting: Connecting, begun: Begun) {
    let peer = connecting.remote_address().to_string();
    let generation = shared.trust.generation();
    let deadline = shared.orders.borrow().deadlines.handshake;
    let connection = match timeout(deadline, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            shared.events.happened(Event::HandshakeFailed { ending: Ending::of(&error), peer });
            return;
        }
        Err(_) => {
            let ending = Ending::here(CloseCode::TimedOut.as_str(), "handshake");
            shared.events.happened(Event::HandshakeFailed { ending, peer });
            return;
        }
    };
    let Some(seat) = let_in(&shared, connection, peer) else { return };
    drop(begun);
    if shared.trust.generation() != generation {
        // Whom to trust has changed between its certificate and this moment.
        shared.judge(&seat.agent);
    }
    converse(&shared, &seat.agent).await;
}

/// Takes a place for a peer, or tells it why there is none.
fn let_in(shared: &Arc<Shared>, connection: Connection, peer: String) -> Option<Seat> {
    let refuse_for = |reason, code, identity| {
        connection.close(number(code), b"");
        shared.events.happened(Event::Refused { reason, peer: peer.clone(), identity });
    };
    let refuse = |code: CloseCode, identity| refuse_for(code.as_str(), code, identity);
    place("letting in");
    let chain = chain_of(&connection);
    let Some((identity, expires_unix_secs)) = chain.first().and_then(|own| named(own)) else {
        refuse(CloseCode::NotAllowed, None);
        return None;
    };
    let trust = shared.trust.get();
    if !trust.allows(&identity.name) {
        refuse(CloseCode::NotAllowed, Some(identity.name));
        return None;
    }
    let relay = trust.is_relay(&identity.name);
    let bounds = *shared.bounds.lock();
    let mut agents = shared.agents.lock();
    if agents.len() >= bounds.connections_max {
        drop(agents);
        refuse(CloseCode::TooManyConnections, Some(identity.name));
        return None;
    }
    if bounds.connections_per_identity_max.is_some_and(|bound| agents.of(&identity.name) >= bound) {
        drop(agents);
        refuse_for("too_many_connections_of_identity", CloseCode::TooManyConnections, Some(identity.name));
        return None;
    }
    let speaker = Peer { identity: Arc::clone(&identity.name), node: Arc::clone(&identity.node), relay };
    let agent = Arc::new(Agent {
        connection,
        peer,
        identity,
        speaker: Arc::new(speaker),
        relay,
        expires_unix_secs,
        ending: Mutex::default(),
        frames: AtomicU64::new(0),
        since: Instant::now(),
        last_frame_ms: AtomicU64::new(0),
    });
    let number = agents.enter(Arc::clone(&agent), &agent.identity.name);
    drop(agents);
    shared.events.happened(Event::Opened {
        peer: agent.peer.clone(),
        identity: Arc::clone(&agent.identity.name),
        relay,
    });
    Some(Seat { shared: Arc::clone(shared), number, agent })
}

/// Accepts streams until the connection ends.
async fn converse(shared: &Arc<Shared>, agent: &Arc<Agent>) {
    let mut orders = shared.orders.subscribe();
    let mut streams = JoinSet::new();
    loop {
        let told = *orders.borrow_and_update();
        if told.stopping && streams.is_empty() {
            agent.end(CloseCode::ShuttingDown, "");
        }
        let idle_until = agent.last_frame() + told.deadlines.idle;
        tokio::select! {
            accepted = agent.connection.accept_bi() => match accepted {
                Ok((send, receive)) if !told.stopping => {
                    place("connection");
                    streams.spawn(Stream::new(shared, agent, send, receive).serve());
                }
                Ok(_) => {}
                Err(_) => return,
            },
            Some(ended) = streams.join_next() => if let Err(error) = ended {
                fail(shared, agent, &error.to_string());
            },
            () = sleep_until(idle_until) => {
                if agent.last_frame() + told.deadlines.idle <= Instant::now() {
                    agent.end(CloseCode::TimedOut, "no frame");
                }
            }
            _ = orders.changed() => {}
        }
    }
}

/// Handling it went wrong: the fault is on this side, and it is closed.
fn fail(shared: &Shared, agent: &Agent, problem: &str) {
    let identity = Some(Arc::clone(&agent.identity.name));
    shared.events.happened(Event::HandlerFailed { peer: agent.peer.clone(), identity, problem: problem.to_owned() });
    agent.end_as(CloseCode::Normal, Ending::here("internal_error", problem));
}

/// The place of a connection among those that were let in, which it leaves however its task ends.
struct Seat {
    shared: Arc<Shared>,
    number: u64,
    agent: Arc<Agent>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Self { shared, number, agent } = self;
        if std::thread::panicking() {
            fail(shared, agent, "its task panicked");
        }
        agent.end_as(CloseCode::Normal, Ending::here("dropped", "freed without a word"));
        let datagrams = agent.connection.stats().udp_rx.datagrams;
        shared.agents.lock().leave(*number, &agent.identity.name, datagrams);
        shared.left.notify_all();
        let ending = agent.ending.lock().take();
        let reason = agent.connection.close_reason();
        shared.events.happened(Event::Closed {
            ending: ending.or_else(|| reason.as_ref().map(Ending::of)).unwrap_or_else(|| Ending::here("dropped", "")),
            peer: agent.peer.clone(),
            identity: Arc::clone(&agent.identity.name),
            frames: agent.frames.load(Relaxed),
        });
    }
}

fn chain_of(connection: &Connection) -> Vec<CertificateDer<'static>> {
    let identity = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    identity.map(|chain| *chain).unwrap_or_default()
}

fn named(certificate: &[u8]) -> Option<(Identity, u64)> {
    let identity = Identity::of(certificate)?;
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some((identity, u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default()))
}
