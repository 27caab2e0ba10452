//! What becomes of records once their commit is known: names, counters, recent blocks, and whoever waits is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::recent::Committed;
use super::reply_to::ReplyTo;
use super::{Pending, RetryCause, Shared};
use crate::journal::{Appended, CommitSink, Outcome, Position};

impl CommitSink<Pending> for Shared {
    fn committed(&self, records: Vec<Appended<Pending>>) {
        let counters = &self.counters;
        {
            let mut names = self.names.lock();
            for Appended { item, .. } in &records {
                names.committed(&item.block.identity, item.block.epoch, item.block.sequence);
            }
        }
        if let Some(last) = records.last() {
            self.applied.store(last.end.get(), Ordering::Release);
        }
        {
            let mut recent = self.recent.lock();
            for &Appended { start, end, ref item } in &records {
                recent.push(Committed { start, end, block: Arc::clone(&item.block) });
            }
        }
        // Behind the blocks: who counts what it wants by these numbers finds at least so much to read.
        for Appended { item, .. } in &records {
            counters.stable_latency.observe(item.received.elapsed());
            let committed = if item.is_own() { &counters.worker_points_committed } else { &counters.points_committed };
            committed.fetch_add(item.block.len() as u64, Ordering::Release);
            self.left_flight(item);
        }
        self.forget_read();
        // Last: who hears of a commit finds what it acknowledges.
        self.tell(records.iter().map(|record| &record.item.reply_to));
        self.notify();
    }

    fn failed(&self, items: Vec<Pending>) {
        for item in &items {
            if item.is_own() {
                self.counters.drop_worker_points(RetryCause::JournalFailed.as_str(), item.block.len() as u64);
            } else {
                self.counters.commits_failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        {
            let mut names = self.names.lock();
            for item in &items {
                names.failed(&item.block.identity, item.block.epoch, item.block.sequence);
            }
        }
        for item in &items {
            self.left_flight(item);
        }
        self.tell(items.iter().map(|item| &item.reply_to));
        self.notify();
    }
}

impl Shared {
    /// Everything before it is committed, and names say so: the journal's committed end moves before names hear of it.
    pub(super) fn applied(&self) -> Position {
        Position::new(self.applied.load(Ordering::Acquire))
    }

    /// Forgets recent blocks that no consumer is to read any more; without consumers, all of them.
    pub(super) fn forget_read(&self) {
        let read = self.readers.slowest().unwrap_or_else(|| Position::new(u64::MAX));
        self.recent.lock().forget_before(read);
    }

    fn left_flight(&self, item: &Pending) {
        self.counters.inflight_batches.fetch_sub(1, Ordering::Relaxed);
        self.counters.inflight_bytes.fetch_sub(item.frame_bytes, Ordering::Relaxed);
    }

    /// Tells each once where its batches stand together, as those of one stream mostly do.
    fn tell<'a>(&self, decided: impl Iterator<Item = &'a ReplyTo>) {
        let mut ready = self.ready.lock();
        let mut told: Option<&ReplyTo> = None;
        for reply_to in decided {
            if !told.is_some_and(|told| told.is(reply_to)) {
                reply_to.tell(&mut ready);
                told = Some(reply_to);
            }
        }
    }

    /// Adds the conversations whose copies are decided, and wakes whoever serves them or waits for blocks.
    fn notify(&self) {
        let mut ready = self.ready.lock();
        self.copies.lock().retain(|(ticket, reply_to)| {
            let pending = ticket.outcome() == Outcome::Pending;
            if !pending {
                reply_to.tell(&mut ready);
            }
            pending
        });
        let replies_due = !ready.is_empty();
        drop(ready);
        if replies_due || self.readers.want(self.counters.all_points_committed()) {
            (self.wake)();
        }
    }
}
