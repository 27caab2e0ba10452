//! QUIC with mutual TLS, in the core: the listener that uses every processor, and the agent's half.
//!
//! ```text
//! server ─► ingest::Conversation      client ◄─► frames and acknowledgements of an agent
//!      └──────── tls, transport ────────┘
//! ```
//!
//! Sockets are handed in, and what happens is handed out as counters and events: neither Python nor logs are known here.

pub mod client;
mod provoked;
pub mod server;
#[cfg(test)]
mod tests;

/// The wire protocol's name in the TLS handshake.
const ALPN: &[u8] = b"telemetry/1";
