//! How connections end, in words for counters and logs.

use std::borrow::Cow;

use quinn::{ConnectionError, TransportErrorCode, VarInt};

use crate::wire::CloseCode;

/// RFC 9001, 4.8: an alert is the transport's error of this number and its own.
const ALERTS_FROM: u64 = 0x100;

/// An ended connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// A close code, a TLS alert or an error of the transport by name; one of few, so that it can be a label.
    pub code: Cow<'static, str>,
    /// Who ended it: collector, agent or network.
    pub side: &'static str,
    /// What was said about it.
    pub words: String,
}

/// The code as the transport carries it.
pub(super) fn number(code: CloseCode) -> VarInt {
    VarInt::from_u32(code.number())
}

impl Ending {
    /// This side ended it.
    pub(super) fn here(code: impl Into<Cow<'static, str>>, words: impl Into<String>) -> Self {
        Self { code: code.into(), side: "collector", words: words.into() }
    }

    /// As the transport saw it.
    pub(super) fn of(error: &ConnectionError) -> Self {
        let agent = |code, words: &[u8]| Self { code, side: "agent", words: String::from_utf8_lossy(words).into() };
        match error {
            ConnectionError::ApplicationClosed(close) => agent(
                CloseCode::from_wire(close.error_code.into_inner()).map_or("unknown", CloseCode::as_str).into(),
                &close.reason,
            ),
            ConnectionError::ConnectionClosed(close) => agent(transport_code(close.error_code), &close.reason),
            ConnectionError::TransportError(error) => Self::here(transport_code(error.code), error.reason.clone()),
            ConnectionError::Reset | ConnectionError::TimedOut => {
                Self { code: "lost".into(), side: "network", words: error.to_string() }
            }
            _ => Self::here("dropped", error.to_string()),
        }
    }
}

/// Whether an error of the transport is an alert of TLS.
pub(super) fn is_alert(code: TransportErrorCode) -> bool {
    alert_of(code).is_some()
}

fn alert_of(code: TransportErrorCode) -> Option<u8> {
    u64::from(code).checked_sub(ALERTS_FROM).and_then(|alert| u8::try_from(alert).ok())
}

/// The name of a TLS alert or of a transport's error.
fn transport_code(code: TransportErrorCode) -> Cow<'static, str> {
    if let Some(alert) = alert_of(code) {
        return match rustls::AlertDescription::from(alert) {
            rustls::AlertDescription::Unknown(_) => "unknown".into(),
            alert => snake(&format!("{alert:?}")).into(),
        };
    }
    let name = format!("{code:?}");
    if name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
        name.to_lowercase().into()
    } else {
        "unknown".into()
    }
}

/// `UnknownCA` as `unknown_ca`.
fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut before_lower = false;
    for letter in name.chars() {
        if letter.is_uppercase() && before_lower {
            out.push('_');
        }
        before_lower = letter.is_lowercase();
        out.extend(letter.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_and_errors_of_the_transport_have_the_names_of_their_standards() {
        let named = |code: TransportErrorCode| transport_code(code);
        assert_eq!(named(TransportErrorCode::crypto(48)), "unknown_ca");
        assert_eq!(named(TransportErrorCode::crypto(116)), "certificate_required");
        assert_eq!(named(TransportErrorCode::crypto(120)), "no_application_protocol");
        assert_eq!(named(TransportErrorCode::crypto(255)), "unknown");
        assert_eq!(named(TransportErrorCode::STREAM_LIMIT_ERROR), "stream_limit_error");
        assert_eq!(named(TransportErrorCode::crypto(254)), "unknown");
    }

    #[test]
    fn a_silent_path_is_the_networks_and_a_close_is_whosever_it_was() {
        assert_eq!(Ending::of(&ConnectionError::TimedOut).side, "network");
        let close = quinn::ApplicationClose { error_code: number(CloseCode::ShuttingDown), reason: "bye".into() };
        let ending = Ending::of(&ConnectionError::ApplicationClosed(close));
        assert_eq!((&*ending.code, ending.side, &*ending.words), ("shutting_down", "agent", "bye"));
    }
}
