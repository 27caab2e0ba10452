//! Who a peer is: the identity that its certificate gives it, and the node that this identity may speak for.

use std::sync::Arc;

use x509_parser::der_parser::asn1_rs::{Any, Tag};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// A longer identity or node is none: it stands in every journal record, and a tag's value is not longer either.
pub const IDENTITY_BYTES_MAX: usize = 1_024;

/// A peer that proved its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The first URI among the certificate's subject alternative names, else its first DNS name, else its last CN.
    pub name: Arc<str>,
    /// What `node_id` of its points must be: the URI's last path segment (or host), the DNS name, or the CN.
    pub node: Arc<str>,
}

impl Identity {
    /// The identity of a certificate; none when it has none, or one that could not be stored as a tag.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let (name, node) = named(&certificate)?;
        let storable =
            |text: &str| text.len() <= IDENTITY_BYTES_MAX && !text.bytes().any(|byte| byte.is_ascii_control());
        (!node.is_empty() && storable(&name) && storable(&node)).then(|| Self { name: name.into(), node: node.into() })
    }
}

/// The name that counts, and its node; a URI whose node is no text has none.
fn named(certificate: &X509Certificate<'_>) -> Option<(String, String)> {
    let names = alternative_names(certificate)?;
    let uri = names.iter().find_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    if let Some(uri) = uri.filter(|uri| !uri.is_empty()) {
        return Some((uri.to_owned(), node_of_uri(uri)?));
    }
    let host = names.iter().find_map(|name| if let GeneralName::DNSName(host) = name { Some(*host) } else { None });
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        return Some((host.to_owned(), host.to_owned()));
    }
    let common = text_of(certificate.subject().iter_common_name().last()?.attr_value())?;
    (!common.is_empty()).then(|| (common.clone(), common))
}

/// Its subject alternative names, none of them when it has no such extension; no answer when they are damaged.
fn alternative_names<'a>(certificate: &X509Certificate<'a>) -> Option<Vec<GeneralName<'a>>> {
    let mut found = None;
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) if found.is_none() => {
                found = Some(names.general_names.clone());
            }
            ParsedExtension::SubjectAlternativeName(_) | ParsedExtension::ParseError { .. } => return None,
            _ => {}
        }
    }
    let names = found.unwrap_or_default();
    let readable = |name: &GeneralName<'_>| {
        !matches!(name, GeneralName::Invalid(..) | GeneralName::X400Address(_) | GeneralName::EDIPartyName(_))
    };
    names.iter().all(readable).then_some(names)
}

/// RFC 3986, appendix B: any text falls into these parts, so that a strange URI has a node or none.
fn node_of_uri(uri: &str) -> Option<String> {
    let after_scheme = match uri.find([':', '/', '?', '#']) {
        Some(end) if end > 0 && uri[end..].starts_with(':') => &uri[end + 1..],
        _ => uri,
    };
    let (authority, path) = match after_scheme.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
        None => ("", after_scheme),
    };
    let path = &path[..path.find(['?', '#']).unwrap_or(path.len())];
    let segment = path.rsplit('/').find(|segment| !segment.is_empty());
    String::from_utf8(unquoted(segment.unwrap_or_else(|| host(authority)))).ok()
}

fn host(authority: &str) -> &str {
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.starts_with('[') {
        return &host[..host.find(']').map_or(0, |end| end + 1)];
    }
    host.split(':').next().unwrap_or_default()
}

/// Percent-decoded; what is no escape stays as it is.
fn unquoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = match (byte, behind) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        out.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// The text of a name's attribute, in whichever of the string types it was written.
fn text_of(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::BmpString => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            bytes.len().is_multiple_of(2).then(|| char::decode_utf16(units).collect::<Result<_, _>>().ok())?
        }
        Tag::UniversalString => {
            let scalar = |four: &[u8]| char::from_u32(u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
            bytes.len().is_multiple_of(4).then(|| bytes.chunks_exact(4).map(scalar).collect())?
        }
        _ => std::str::from_utf8(bytes).ok().map(str::to_owned),
    }
}
