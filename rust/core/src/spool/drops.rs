//! What a spool gave up, and why.

/// Why a batch was given up. The order is that of the checkpoint's format: reasons are only added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Room was made for newer ones.
    OutboxFull,
    /// A single point that no collector takes.
    TooLarge,
    /// It was in memory alone, because the storage failed, when the agent stopped.
    SpoolFailed,
    /// Its record cannot be read any more.
    Damaged,
    /// It lies in a copy of another machine's disk, and is that machine's to send.
    AnotherMachine,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::OutboxFull, Self::TooLarge, Self::SpoolFailed, Self::Damaged, Self::AnotherMachine];

    /// The reason in the words of counters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutboxFull => "outbox_full",
            Self::TooLarge => "too_large",
            Self::SpoolFailed => "spool_failed",
            Self::Damaged => "damaged",
            Self::AnotherMachine => "another_machine",
        }
    }
}

/// Batches and points given up, by reason, since the spool was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops([(u64, u64); DropReason::ALL.len()]);

impl Drops {
    /// Batches and points of one reason.
    #[must_use]
    pub fn of(&self, reason: DropReason) -> (u64, u64) {
        self.0[reason as usize]
    }

    pub(super) fn add(&mut self, reason: DropReason, batches: u64, points: u64) {
        let (total_batches, total_points) = &mut self.0[reason as usize];
        *total_batches = total_batches.saturating_add(batches);
        *total_points = total_points.saturating_add(points);
    }
}
