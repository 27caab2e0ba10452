//! What the listener is told, and the bounds that nobody needs to set.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// Datagrams as large as any network's; larger than the default because loopback and jumbo frames carry more.
pub(super) const DATAGRAM_BYTES_MAX: u16 = 9_000;

/// Bidirectional streams that a peer may have open at a time; unidirectional ones it may have none.
pub(super) const STREAMS_MAX: u32 = 4;

/// What a stream may send beyond what was read of it.
pub(super) const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// What a connection may send, over its streams, beyond what was read of it.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 2 * STREAM_WINDOW_BYTES;

/// Replies of one connection that were sent and not acknowledged by the peer's transport.
pub(super) const REPLY_BYTES_MAX: u64 = 256 * 1024;

/// How long a peer may take over each step.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// A connection without a whole frame for so long is closed; keep-alives are no frames.
    pub idle: Duration,
    /// From the first datagram to the end of the handshake.
    pub handshake: Duration,
    /// From a frame's first byte to its last.
    pub frame: Duration,
    /// Replies may wait so long for the peer's flow control to let them go.
    pub replies: Duration,
    /// How often open connections are asked whether their certificate has run out.
    pub expiry: Duration,
}

/// How a listener is built, and built anew while it runs.
#[derive(Debug)]
pub struct ServerSettings {
    /// The server's certificate, its intermediates after it.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivatePkcs8KeyDer<'static>,
    /// Stateless resets are made with it; whoever has it after a restart makes the same ones.
    pub reset_key: [u8; 32],
    /// Threads that serve connections; none stands for one a processor.
    pub threads: Option<usize>,
    /// Connections that are let in at a time.
    pub connections_max: usize,
    /// Of these, so many of one identity; none stands for no bound.
    pub connections_per_identity_max: Option<usize>,
    /// Connections that are not let in yet, or on their way out.
    pub handshakes_max: usize,
    /// Handshakes of one address under way.
    pub handshakes_per_address: usize,
    /// Connections that an address may begin a second.
    pub connections_per_address_per_sec: usize,
    /// How long peers may take.
    pub deadlines: Deadlines,
}
