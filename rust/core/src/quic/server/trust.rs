//! Whom a listener lets in: one object that is replaced whole when certificates or the allow-list change.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{ASN1Time, FromDer, ParsedExtension, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::ingest::quotas::Pattern;

/// Certificates that a client may send; more are refused before any is looked at.
const CHAIN_CERTIFICATES_MAX: usize = 8;

/// A shorter RSA key of a client is refused.
const RSA_BITS_MIN: usize = 2_048;

/// A part of what is to be trusted that cannot be used; permanent until the file is another.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TrustError(String);

/// Why a certificate is refused that nothing else is wrong with.
#[derive(Debug, thiserror::Error)]
enum Unknowable {
    #[error("no revocation list of its issuer")]
    NoList,
    #[error("the revocation list of its issuer has run out")]
    ListRanOut,
}

/// Authorities, revocation lists and the identities that are allowed.
#[derive(Debug)]
pub struct Trust {
    authorities: Vec<Authority>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    /// Of the authorities that count now; made anew when those are others.
    verifier: RwLock<Dated>,
    allowed: Vec<Pattern>,
    relays: Vec<Pattern>,
}

impl Trust {
    /// From authorities and revocation lists in DER, and patterns of identities. With any list, every certificate needs
    /// one of its issuer that has not run out.
    ///
    /// # Errors
    /// [`TrustError`] names the authority or list that cannot be used.
    pub fn new(
        authorities: &[Vec<u8>],
        lists: Vec<Vec<u8>>,
        allowed: &[String],
        relays: &[String],
    ) -> Result<Self, TrustError> {
        let authorities: Vec<_> = authorities
            .iter()
            .enumerate()
            .map(|(place, der)| Authority::of(der).map_err(|why| TrustError(format!("authority {}: {why}", place + 1))))
            .collect::<Result<_, _>>()?;
        let lists: Vec<_> = lists.into_iter().map(CertificateRevocationListDer::from).collect();
        // Of all, so that what cannot be used is told now; good while all of them count, which may be never.
        let verifier = verifier(authorities.iter(), &lists).map_err(|error| {
            TrustError(format!("a revocation list cannot be used: {error}; expected complete lists"))
        })?;
        let since = authorities.iter().map(|one| one.counts.start).max().unwrap_or_default();
        let until = authorities.iter().map(|one| one.counts.end).min().unwrap_or_default();
        let verifier = RwLock::new(Dated { holds: since..until, verifier: Some(verifier) });
        let patterns = |written: &[String]| written.iter().map(|one| Pattern::new(one)).collect();
        Ok(Self { authorities, lists, verifier, allowed: patterns(allowed), relays: patterns(relays) })
    }

    /// Whether a peer of this identity may connect.
    pub(super) fn allows(&self, identity: &str) -> bool {
        self.allowed.iter().any(|pattern| pattern.fits(identity))
    }

    /// Whether it may speak for nodes that are not its own.
    pub(super) fn is_relay(&self, identity: &str) -> bool {
        self.relays.iter().any(|pattern| pattern.fits(identity))
    }

    /// Whether a client's certificate is good now. The error is the one that TLS has an alert for.
    pub(super) fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), CertificateError> {
        let [certificate, intermediates @ ..] = chain else { return Err(CertificateError::BadEncoding) };
        if intermediates.len() >= CHAIN_CERTIFICATES_MAX {
            return Err(CertificateError::BadEncoding);
        }
        let verifier = self.verifier_at(now.as_secs()).ok_or(CertificateError::UnknownIssuer)?;
        let outcome = verifier.verify_client_cert(certificate, intermediates, now);
        outcome.map_err(|error| refusal(error, certificate))?;
        says_client(certificate)
    }

    /// None when no authority counts. rustls itself looks at no authority's dates.
    fn verifier_at(&self, now: u64) -> Option<Arc<dyn ClientCertVerifier>> {
        let current = self.verifier.read();
        if current.holds.contains(&now) {
            return current.verifier.clone();
        }
        drop(current);
        let dated = Dated::at(now, &self.authorities, &self.lists);
        let verifier = dated.verifier.clone();
        *self.verifier.write() = dated;
        verifier
    }
}

/// Whose certificates are good, while its own is.
#[derive(Debug)]
struct Authority {
    der: CertificateDer<'static>,
    counts: Range<u64>,
}

impl Authority {
    fn of(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let der = CertificateDer::from(der.to_vec());
        RootCertStore::empty().add(der.clone()).map_err(|error| error.to_string())?;
        let unix_secs = |date: ASN1Time| u64::try_from(date.timestamp()).unwrap_or_default();
        let validity = certificate.validity();
        // It counts in its last second too.
        let counts = unix_secs(validity.not_before)..unix_secs(validity.not_after) + 1;
        Ok(Self { der, counts })
    }
}

/// A verifier, and from when to when it is the right one.
#[derive(Debug)]
struct Dated {
    holds: Range<u64>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl Dated {
    fn at(now: u64, authorities: &[Authority], lists: &[CertificateRevocationListDer<'static>]) -> Self {
        let turns = || authorities.iter().flat_map(|one| [one.counts.start, one.counts.end]);
        let since = turns().filter(|turn| *turn <= now).max().unwrap_or(0);
        let until = turns().filter(|turn| *turn > now).min().unwrap_or(u64::MAX);
        let counting = authorities.iter().filter(|one| one.counts.contains(&now));
        // Lists and authorities were usable when all were taken, so what is wrong is that none is left.
        Self { holds: since..until, verifier: verifier(counting, lists).ok() }
    }
}

fn verifier<'a>(
    authorities: impl Iterator<Item = &'a Authority>,
    lists: &[CertificateRevocationListDer<'static>],
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.der.clone()).map_err(|error| error.to_string())?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()))
        .with_crls(lists.iter().cloned())
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| error.to_string())
}

/// rustls takes a certificate without extended key usage for one of any use, and a weak key for a fault of the
/// connection, later.
fn says_client(certificate: &[u8]) -> Result<(), CertificateError> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    match certificate.extended_key_usage() {
        Ok(Some(usage)) if usage.value.client_auth => {}
        Ok(_) => return Err(CertificateError::InvalidPurpose),
        Err(_) => return Err(CertificateError::BadEncoding),
    }
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < RSA_BITS_MIN => Err(CertificateError::BadEncoding),
        Ok(_) => Ok(()),
        Err(_) => Err(CertificateError::BadEncoding),
    }
}

/// Whether it is an authority's, or has a critical extension that nobody knows.
fn is_of_another_kind(certificate: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    certificate.is_ca()
        || certificate
            .extensions()
            .iter()
            .any(|one| one.critical && matches!(one.parsed_extension(), ParsedExtension::UnsupportedExtension { .. }))
}

/// The error with the alert that both listeners refuse with. What is not known about a certificate is told from what is
/// known against it, and whatever keeps its issuer from being trusted is an unknown authority.
fn refusal(error: Error, certificate: &[u8]) -> CertificateError {
    let unknowable = |why| CertificateError::Other(OtherError(Arc::new(why)));
    match error {
        // None, or one that another has signed under its issuer's name.
        Error::InvalidCertificate(CertificateError::UnknownRevocationStatus) | Error::InvalidCertRevocationList(_) => {
            unknowable(Unknowable::NoList)
        }
        Error::InvalidCertificate(
            CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. },
        ) => unknowable(Unknowable::ListRanOut),
        Error::InvalidCertificate(CertificateError::Other(_)) if is_of_another_kind(certificate) => {
            CertificateError::InvalidPurpose
        }
        // Another authority of the same name, or a way to sign that is not taken: rustls takes both for a fault of the
        // connection. What has no name there is a fault of the chain.
        Error::InvalidCertificate(
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
            | CertificateError::Other(_),
        ) => CertificateError::UnknownIssuer,
        Error::InvalidCertificate(error) => error,
        _ => CertificateError::BadEncoding,
    }
}

/// The cryptography of the listener, in one place.
pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// What holds now. Handshakes ask it; open connections are judged again when it is another.
#[derive(Debug)]
pub(super) struct CurrentTrust {
    trust: RwLock<Arc<Trust>>,
    generation: AtomicU64,
    algorithms: WebPkiSupportedAlgorithms,
}

impl CurrentTrust {
    pub(super) fn new(trust: Arc<Trust>) -> Self {
        Self {
            trust: RwLock::new(trust),
            generation: AtomicU64::new(0),
            algorithms: provider().signature_verification_algorithms,
        }
    }

    pub(super) fn get(&self) -> Arc<Trust> {
        Arc::clone(&self.trust.read())
    }

    /// Grows with each replacement.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn replace(&self, trust: Arc<Trust>) {
        *self.trust.write() = trust;
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

impl ClientCertVerifier for CurrentTrust {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        self.get().verify(&chain, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::{Authority, CertificateDer, Dated};

    fn authority(counts: std::ops::Range<u64>) -> Authority {
        Authority { der: CertificateDer::from(Vec::new()), counts }
    }

    #[test]
    fn a_verifier_holds_until_an_authority_begins_or_ends_to_count() {
        let authorities = [authority(10..20), authority(15..30)];
        let holds = |now| Dated::at(now, &authorities, &[]).holds;
        assert_eq!([holds(0), holds(10), holds(19)], [0..10, 10..15, 15..20]);
        assert_eq!([holds(20), holds(29), holds(30)], [20..30, 20..30, 30..u64::MAX]);
    }
}
