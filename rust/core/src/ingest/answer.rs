//! The answers that ingest gives, before the window is filled in.

use crate::wire::{BatchAck, Outcome, Reason, Rejection};

/// An answer without counts.
pub(super) fn plain(sequence: u64, outcome: Outcome) -> BatchAck {
    BatchAck {
        sequence,
        outcome,
        accepted_points: 0,
        rejected_points: 0,
        rejections: Vec::new(),
        credit: 0,
        retry_after_ms: 0,
    }
}

/// Nothing was stored, and sending it again cannot help.
pub(super) fn rejected(sequence: u64, points: u32, rejections: Vec<Rejection>) -> BatchAck {
    BatchAck { rejected_points: points, rejections, ..plain(sequence, Outcome::Rejected) }
}

/// The name was taken back: nothing is stored under it.
pub(super) fn withdrawn(sequence: u64, points: u32) -> BatchAck {
    let example = "the client has taken this name back".into();
    rejected(sequence, points, vec![Rejection { reason: Reason::Withdrawn, points, example }])
}

/// Nothing was stored, and never will be in one piece: every point is refused, whatever the answer would have been.
pub(super) fn too_large(instead_of: &BatchAck, example: &str) -> BatchAck {
    let points = instead_of.accepted_points + instead_of.rejected_points;
    let rejection = Rejection { reason: Reason::BatchTooLarge, points, example: example.into() };
    rejected(instead_of.sequence, points, vec![rejection])
}

/// Nothing was stored; the same batch is welcome later.
pub(super) fn retry_later(sequence: u64, retry_after_ms: u32) -> BatchAck {
    BatchAck { retry_after_ms, ..plain(sequence, Outcome::RetryLater) }
}
