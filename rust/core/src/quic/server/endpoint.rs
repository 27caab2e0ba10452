//! The transport and TLS under the listener, made from its settings.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, Runtime, TokioRuntime, TransportConfig, VarInt};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::NoServerSessionStorage;

use super::ServerError;
use super::ids::RandomIds;
use super::settings::{
    CONNECTION_WINDOW_BYTES, DATAGRAM_BYTES_MAX, REPLY_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX, ServerSettings,
};
use super::socket::ListenerSocket;
use super::trust::{CurrentTrust, provider};
use crate::quic::ALPN;

/// The contract's timeout, `TIMED_OUT`, is to come before the transport's, which says nothing.
const IDLE_MARGIN: Duration = Duration::from_secs(10);

/// First datagrams that wait for a decision, and what may wait behind each; the rest is dropped and sent again.
const INCOMING_MAX: usize = 1_024;
const INCOMING_BYTES_MAX: u64 = 16 * 1024;
const INCOMING_BYTES_TOTAL_MAX: u64 = 2 * 1024 * 1024;

/// Data of one handshake that arrived ahead of its turn.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

/// The endpoint on a socket. Runs on the runtime that is entered.
pub(super) fn endpoint(
    socket: UdpSocket,
    settings: &ServerSettings,
    server: quinn::ServerConfig,
) -> Result<Endpoint, ServerError> {
    let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &settings.reset_key);
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config
        .cid_generator(|| Box::new(RandomIds::new()))
        .supported_versions(vec![1])
        .max_udp_payload_size(DATAGRAM_BYTES_MAX)
        .expect("the size is one that UDP has");
    let runtime = Arc::new(TokioRuntime);
    let socket = ListenerSocket(runtime.wrap_udp_socket(socket).map_err(ServerError::Socket)?);
    Endpoint::new_with_abstract_socket(config, Some(server), Arc::new(socket), runtime).map_err(ServerError::Socket)
}

/// Datagrams that the system sends, and receives, in one call: what the transport will find out about the socket.
pub(super) fn offloads(socket: &UdpSocket) -> std::io::Result<(usize, usize)> {
    let state = quinn::udp::UdpSocketState::new(socket.into())?;
    Ok((state.max_gso_segments(), state.gro_segments()))
}

/// What proves that a newcomer was told to come again: one key as long as the listener lives, whatever is configured.
pub(super) type TokenKey = Arc<ring::hkdf::Prk>;

/// A new one.
pub(super) fn token_key() -> TokenKey {
    let mut secret = [0; 64];
    SystemRandom::new().fill(&mut secret).expect("the system has random bytes or no handshake works either");
    Arc::new(Salt::new(HKDF_SHA256, &[]).extract(&secret))
}

/// What new connections are made by.
pub(super) fn server_config(
    settings: &ServerSettings,
    trust: Arc<CurrentTrust>,
    token_key: TokenKey,
) -> Result<quinn::ServerConfig, ServerError> {
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(ServerError::Certificate)?
        .with_client_cert_verifier(trust)
        .with_single_cert(settings.certificates.clone(), settings.key.clone_key().into())
        .map_err(ServerError::Certificate)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // Every connection proves its certificate: nothing is resumed, and no data comes before the proof.
    tls.send_tls13_tickets = 0;
    tls.max_early_data_size = 0;
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    let crypto = QuicServerConfig::try_from(tls).expect("the provider has the suite of QUIC's first packets");
    let mut config = quinn::ServerConfig::new(Arc::new(crypto), token_key);
    config
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL_MAX)
        .transport_config(Arc::new(transport(settings)));
    Ok(config)
}

fn transport(settings: &ServerSettings) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(0_u32.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(REPLY_BYTES_MAX)
        .crypto_buffer_size(HANDSHAKE_BYTES_MAX)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle_timeout(settings.deadlines.idle)));
    transport
}

fn idle_timeout(idle: Duration) -> IdleTimeout {
    // A time beyond what the transport can say is as good as its longest.
    IdleTimeout::try_from(idle.saturating_add(IDLE_MARGIN)).unwrap_or_else(|_| IdleTimeout::from(VarInt::MAX))
}
