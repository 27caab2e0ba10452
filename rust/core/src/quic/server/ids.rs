//! Connection ids: random, and of a length that a restarted listener knows.
//!
//! The transport's own ids carry a mark that only the process which made them can check, and a packet without it is not
//! answered. Here every id is answered for, so a connection of before a restart is told at once that it is gone.

use quinn::{ConnectionId, ConnectionIdGenerator};
use ring::rand::{SecureRandom, SystemRandom};

/// Length of our connection ids.
const CONNECTION_ID_BYTES: usize = 8;

/// Makes connection ids.
pub(super) struct RandomIds(SystemRandom);

impl RandomIds {
    pub(super) fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; CONNECTION_ID_BYTES];
        self.0.fill(&mut id).expect("the system has random bytes or no handshake works either");
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}
