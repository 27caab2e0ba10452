//! Newcomers: whether each may begin, must prove its address first, or is not heard.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use quinn::{ConnectionError, Endpoint, Incoming};

use super::Shared;
use super::arrivals::Address;
use super::connection;
use super::ending::{Ending, is_alert};
use super::events::Event;
use crate::quic::provoked::place;

/// Decides about every newcomer until the endpoint is closed.
pub(super) async fn accept_forever(shared: Arc<Shared>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        let peer = incoming.remote_address();
        // One newcomer's fault must not be the last thing that is accepted. What it shares is whole between two calls.
        let let_in = catch_unwind(AssertUnwindSafe(|| accept(&shared, &endpoint, incoming))).unwrap_or_else(|_| {
            fail(&shared, peer.to_string(), "accepting it panicked");
            false
        });
        if !let_in {
            shared.counters.turned_away.fetch_add(1, Relaxed);
        }
    }
}

/// Handling somebody who is nobody yet went wrong.
fn fail(shared: &Shared, peer: String, problem: &str) {
    shared.events.happened(Event::HandlerFailed { peer, identity: None, problem: problem.to_owned() });
}

/// Whether its handshake has begun.
fn accept(shared: &Arc<Shared>, endpoint: &Endpoint, incoming: Incoming) -> bool {
    place("accepting");
    let peer = incoming.remote_address();
    let refused = |reason| shared.events.happened(Event::Refused { reason, peer: peer.to_string(), identity: None });
    if shared.orders.borrow().stopping {
        refused("shutting_down");
        incoming.ignore();
        return false;
    }
    // Those that are not let in yet, or on their way out.
    let under_way = endpoint.open_connections().saturating_sub(shared.agents.lock().len());
    if under_way >= shared.bounds.lock().handshakes_max {
        refused("too_many_handshakes");
        incoming.ignore();
        return false;
    }
    let (address, proven, now) = (Address::from(peer.ip()), incoming.remote_address_validated(), Instant::now());
    let mut arrivals = shared.arrivals.lock();
    if !proven && arrivals.must_prove(address, under_way, now) {
        drop(arrivals);
        shared.counters.retries_sent.fetch_add(1, Relaxed);
        // Only who has come back with a token cannot be sent away for one.
        let _ = incoming.retry();
        return false;
    }
    if let Some(reason) = arrivals.refusal(address, proven, now) {
        drop(arrivals);
        refused(reason);
        incoming.ignore();
        return false;
    }
    arrivals.begun(address);
    drop(arrivals);
    let begun = Begun { shared: Arc::clone(shared), address, peer };
    match incoming.accept() {
        Ok(connecting) => {
            tokio::spawn(connection::serve(Arc::clone(shared), connecting, begun));
            true
        }
        Err(ConnectionError::TransportError(error)) if is_alert(error.code) => {
            let ending = Ending::of(&ConnectionError::TransportError(error));
            shared.events.happened(Event::HandshakeFailed { ending, peer: peer.to_string() });
            false
        }
        Err(_) => {
            // Nothing in it was a client's first packet.
            shared.counters.garbage.fetch_add(1, Relaxed);
            false
        }
    }
}

/// Somebody who is on the way in until this is dropped.
pub(super) struct Begun {
    shared: Arc<Shared>,
    address: Address,
    peer: SocketAddr,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.shared.arrivals.lock().ended(self.address);
        if std::thread::panicking() {
            fail(&self.shared, self.peer.to_string(), "its handshake panicked");
        }
    }
}
