//! Names that are taken back: the question whether a batch is stored, and copies of it that come after the answer.

use super::admission::{Arrival, Judged};
use super::counters::RetryCause;
use super::names::Verdict;
use super::{Ingest, answer};
use crate::wire::decode::DecodedBatch;
use crate::wire::{Outcome, Reason};

impl Ingest {
    /// Answers whether a name is stored. If it is not, it never will be: copies of its batch may still come, read late from
    /// a connection that the agent has given up.
    pub(super) fn withdraw(&self, arrival: &Arrival<'_>, batch: &DecodedBatch<'_>) -> Judged {
        let &DecodedBatch { sequence, epoch, oldest_unacknowledged, .. } = batch;
        let mut names = self.shared.names.lock();
        let verdict = names.withdraw(&arrival.peer.identity, epoch, sequence, oldest_unacknowledged);
        drop(names);
        match verdict {
            Verdict::Stored => Judged::Answered(answer::plain(sequence, Outcome::Duplicate)),
            Verdict::Pending(ticket) => self.copy_of(arrival.reply_to, sequence, ticket),
            Verdict::Withdrawn => Judged::Answered(answer::withdrawn(sequence, batch.points as u32)),
            Verdict::New | Verdict::NoRoom => self.retry(sequence, RetryCause::Names),
        }
    }

    /// A batch whose name was taken back before it came; `counted` of its points count as refused.
    pub(super) fn came_late(&self, sequence: u64, points: u32, counted: u64) -> Judged {
        self.counters().refused(Reason::Withdrawn, counted);
        Judged::Answered(answer::withdrawn(sequence, points))
    }
}
