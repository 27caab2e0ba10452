//! The files of a journal's directory.

/// Held while a journal is open.
pub(crate) const LOCK: &str = "lock";
/// What is not finished; removed when the journal is opened.
const UNFINISHED: &str = ".tmp";

/// A file, told by its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// Segment with this base.
    Segment(u64),
    /// Checkpoint at this position.
    Checkpoint(u64),
    /// Cursor of this consumer.
    Cursor(String),
    /// Damaged bytes that were set aside.
    Quarantine,
    /// Left over from a crash.
    Unfinished,
    /// None of ours.
    Other,
}

impl Name {
    pub(crate) fn parse(name: &str) -> Self {
        if name.ends_with(UNFINISHED) {
            return Self::Unfinished;
        }
        match name.split_once('-') {
            Some(("segment", base)) => position(base).map_or(Self::Other, Self::Segment),
            Some(("checkpoint", at)) => position(at).map_or(Self::Other, Self::Checkpoint),
            Some(("cursor", consumer)) if is_consumer(consumer) => Self::Cursor(consumer.to_owned()),
            Some(("quarantine", _)) => Self::Quarantine,
            _ => Self::Other,
        }
    }
}

fn position(digits: &str) -> Option<u64> {
    let lower = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    (digits.len() == 16 && lower).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Whether a consumer may be called so.
pub(crate) fn is_consumer(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

pub(crate) fn segment(base: u64) -> String {
    format!("segment-{base:016x}")
}

pub(crate) fn checkpoint(position: u64) -> String {
    format!("checkpoint-{position:016x}")
}

pub(crate) fn cursor(consumer: &str) -> String {
    format!("cursor-{consumer}")
}

pub(crate) fn quarantine(position: u64) -> String {
    format!("quarantine-{position:016x}")
}

/// Where a damaged file is moved to as a whole.
pub(crate) fn quarantine_file(name: &str) -> String {
    format!("quarantine-{name}")
}

/// The name a file has until it is whole.
pub(crate) fn unfinished(name: &str) -> String {
    format!("{name}{UNFINISHED}")
}

pub(crate) fn spare(number: u64) -> String {
    unfinished(&format!("spare-{number}"))
}
