//! What an agent proves itself with, and whom it believes.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{IdleTimeout, TransportConfig, VarInt};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::quic::ALPN;

/// A connection that neither brings nor takes anything for so long is over, should the collector not say so earlier.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes of replies that may wait unread on a stream and on a connection.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes on their way to the collector on one connection.
const SEND_WINDOW_BYTES: u64 = 16 * 1024 * 1024;

/// Certificates and keys, in DER.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The agent's certificate, then its intermediates.
    pub chain: Vec<Vec<u8>>,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: Vec<u8>,
    /// The only authorities that a collector's certificate may come from.
    pub authorities: Vec<Vec<u8>>,
}

/// Certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The key is none, or none of this certificate.
    #[error("the certificate and its key: {0}")]
    Own(rustls::Error),
    /// Not a private key.
    #[error("the private key: {0}")]
    Key(&'static str),
    /// An authority's certificate.
    #[error("an authority's certificate: {0}")]
    Authority(rustls::Error),
    /// Without one nobody could be believed.
    #[error("there is no authority's certificate")]
    NoAuthority,
}

/// What connections of one agent prove themselves with: read once, used for any number of them.
#[derive(Clone)]
pub struct Credentials(Arc<QuicClientConfig>);

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credentials")
    }
}

impl Credentials {
    /// Credentials of one agent.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn new(settings: TlsSettings) -> Result<Self, CredentialsError> {
        let mut roots = RootCertStore::empty();
        for authority in settings.authorities {
            roots.add(CertificateDer::from(authority)).map_err(CredentialsError::Authority)?;
        }
        if roots.is_empty() {
            return Err(CredentialsError::NoAuthority);
        }
        let key = PrivateKeyDer::try_from(settings.key).map_err(CredentialsError::Key)?;
        let chain = settings.chain.into_iter().map(CertificateDer::from).collect();
        let mut tls = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(CredentialsError::Own)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(CredentialsError::Own)?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        // Every connection proves its certificate: no tickets, no 0-RTT.
        tls.resumption = Resumption::disabled();
        tls.enable_early_data = false;
        // Refused only to a provider without the cipher suite of the first packets, which ours has.
        let quic = QuicClientConfig::try_from(tls)
            .map_err(|error| CredentialsError::Own(rustls::Error::General(error.to_string())))?;
        Ok(Self(Arc::new(quic)))
    }

    pub(super) fn configuration(&self, datagram_bytes_max: u16) -> quinn::ClientConfig {
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .max_idle_timeout(Some(IdleTimeout::try_from(IDLE).expect("a minute fits")))
            .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
            .receive_window(VarInt::from_u32(WINDOW_BYTES))
            .send_window(SEND_WINDOW_BYTES)
            .initial_mtu(datagram_bytes_max)
            .mtu_discovery_config(None);
        let mut configuration = quinn::ClientConfig::new(Arc::clone(&self.0) as Arc<_>);
        configuration.transport_config(Arc::new(transport));
        configuration
    }
}

/// ring, with the cipher that processors do fastest first: the collector follows the agent's order.
fn provider() -> CryptoProvider {
    let cipher_suites = vec![
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    CryptoProvider { cipher_suites, ..default_provider() }
}
