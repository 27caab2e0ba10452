//! Why a connection is over.

use quinn::ConnectionError;

/// Who ended a connection, which says how to read its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The collector, with a code of the wire contract.
    Application,
    /// TLS or QUIC on either side, with a code of RFC 9000; 0x100 and more are TLS alerts.
    Transport,
    /// The collector no longer knows the connection (stateless reset).
    Reset,
    /// Nothing came for too long, or the network says that nobody listens.
    Network,
    /// Serving it failed on our side, which is a defect.
    Fault,
}

impl Origin {
    /// Its name for callers in other languages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Transport => "transport",
            Self::Reset => "reset",
            Self::Network => "network",
            Self::Fault => "fault",
        }
    }
}

/// The end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Who ended it.
    pub origin: Origin,
    /// The code; 0 where there is none.
    pub code: u64,
    /// Words for people, possibly empty.
    pub reason: String,
}

impl Closing {
    pub(super) fn network(reason: String) -> Self {
        Self { origin: Origin::Network, code: 0, reason }
    }

    pub(super) fn fault(reason: &str) -> Self {
        Self { origin: Origin::Fault, code: 0, reason: reason.to_owned() }
    }
}

impl From<ConnectionError> for Closing {
    fn from(error: ConnectionError) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match error {
            ConnectionError::ApplicationClosed(close) => {
                Self { origin: Origin::Application, code: close.error_code.into_inner(), reason: text(&close.reason) }
            }
            ConnectionError::ConnectionClosed(close) => {
                Self { origin: Origin::Transport, code: u64::from(close.error_code), reason: text(&close.reason) }
            }
            ConnectionError::TransportError(fault) => {
                Self { origin: Origin::Transport, code: u64::from(fault.code), reason: fault.reason }
            }
            ConnectionError::Reset => Self { origin: Origin::Reset, code: 0, reason: String::new() },
            other => Self::network(other.to_string()),
        }
    }
}
