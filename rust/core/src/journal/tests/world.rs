//! A journal on a faulty disk beside a model of what it has promised.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::*;

/// What a checkpoint of the model holds: how many records the state has taken in.
fn state(records: usize) -> Vec<u8> {
    (records as u64).to_le_bytes().repeat(40)
}

/// The journal under test, and everything it may be held to.
pub(super) struct World {
    pub(super) storage: Arc<FaultStorage>,
    opened: Option<Opened>,
    tickets: Vec<(Vec<u8>, Ticket)>,
    /// Of these, the ones that were appended together.
    together: Vec<Range<usize>>,
    next: u64,
    id: Option<JournalId>,
    /// Every committed record, in order; those of earlier lives as recovery has shown them.
    committed: Vec<Seen>,
    /// Appended and not told to be committed: may be there after a crash.
    uncertain: Vec<Vec<u8>>,
    /// Durable at least, tried at most.
    checkpoint: (Position, Position),
    cursors: BTreeMap<&'static str, (Position, Position)>,
    /// How often a consumer gave way.
    pub(super) gave_way: usize,
}

pub(super) const CONSUMERS: [&str; 2] = ["parquet", "influxdb"];

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let storage = Arc::new(FaultStorage::new(Arc::new(MemoryStorage::new()), seed).unwrap());
        let mut world = Self {
            storage,
            opened: None,
            tickets: Vec::new(),
            together: Vec::new(),
            next: 0,
            id: None,
            committed: Vec::new(),
            uncertain: Vec::new(),
            checkpoint: Default::default(),
            cursors: CONSUMERS.into_iter().map(|name| (name, Default::default())).collect(),
            gave_way: 0,
        };
        world.open();
        world
    }

    fn opened(&self) -> &Opened {
        self.opened.as_ref().expect("open between the steps of a test")
    }

    /// Appends records of these lengths without waiting for any.
    pub(super) fn append(&mut self, lengths: &[usize]) {
        for length in lengths {
            let payload = payload(self.next, *length);
            self.next += 1;
            if let Ok(ticket) = self.opened().append(&payload) {
                self.tickets.push((payload, ticket));
            }
        }
    }

    /// Appends records of these lengths together, without waiting for them.
    pub(super) fn append_together(&mut self, lengths: &[usize]) {
        let payloads: Vec<_> =
            lengths.iter().zip(self.next..).map(|(&length, number)| payload(number, length)).collect();
        self.next += lengths.len() as u64;
        let records = payloads.iter().map(|payload| (payload.clone(), payload.clone())).collect();
        let Ok(tickets) = self.opened().journal.append_all(records) else { return };
        let begin = self.tickets.len();
        self.tickets.extend(payloads.into_iter().zip(tickets));
        // More than that may be over a segment.
        if lengths.iter().map(|length| length + 40).sum::<usize>() <= SEGMENT_BYTES as usize - 4_096 {
            self.together.push(begin..self.tickets.len());
        }
    }

    /// Waits for every outcome and compares what tickets, sink and readers say.
    pub(super) fn settle(&mut self) {
        assert!(self.opened().journal.flush(PATIENCE), "every record gets its outcome");
        let told = std::mem::take(&mut *self.opened().told.committed.lock());
        let failed = std::mem::take(&mut *self.opened().told.failed.lock());
        let tickets = std::mem::take(&mut self.tickets);
        for together in self.together.drain(..) {
            let mut outcomes = tickets[together].iter().map(|(_, ticket)| ticket.outcome());
            let first = outcomes.next();
            assert!(outcomes.all(|outcome| Some(outcome) == first), "one commit decides about all of them");
        }
        let with = |outcome| {
            tickets.iter().filter(move |(_, ticket)| ticket.outcome() == outcome).map(|(payload, _)| payload.clone())
        };
        assert_eq!(payloads(&told), with(Outcome::Committed).collect::<Vec<_>>(), "sink and tickets agree");
        assert_eq!(failed, with(Outcome::Failed).collect::<Vec<_>>(), "sink and tickets agree");
        assert_eq!(told.len() + failed.len(), tickets.len());
        if let Some(first) = told.first() {
            assert!(first.start >= self.committed.last().map_or(Position::new(0), |last| last.end), "positions grow");
            // What failed before a later commit is sealed off; what failed after it may come back after a crash.
            let last = tickets.iter().rposition(|(_, ticket)| ticket.outcome() == Outcome::Committed).unwrap();
            self.uncertain.clear();
            let behind = tickets[last + 1..].iter().map(|(payload, _)| payload.clone());
            self.uncertain.extend(behind);
        } else {
            self.uncertain.extend(failed);
        }
        self.committed.extend(told);
    }

    /// Makes room at the cost of the first consumer, as far as the second has no need of it.
    pub(super) fn make_room(&mut self) {
        let [giving, keeping] = CONSUMERS;
        let Some(wanted) = self.opened().journal.room_wanted(self.cursors[keeping].0) else { return };
        assert!(wanted <= self.cursors[keeping].0, "nobody else's records are given up");
        let (durable, tried) = self.cursors[giving];
        let stored = self.opened().journal.store_cursor(giving, wanted);
        self.cursors.insert(giving, (stored.unwrap_or(durable), tried.max(wanted)));
        self.gave_way += 1;
        if self.opened().journal.wants_checkpoint() {
            self.checkpoint(8);
        }
        self.trim();
        self.check_kept();
    }

    /// What a cursor has not passed is there.
    fn check_kept(&self) {
        let oldest = self.opened().journal.oldest();
        for (name, (durable, _)) in &self.cursors {
            let first = self.committed.iter().find(|seen| seen.start >= *durable);
            assert!(first.is_none_or(|first| oldest <= first.start), "{name} at {durable}, oldest {oldest}");
        }
    }

    /// Readers see every committed record and nothing else, from every cursor on.
    pub(super) fn check_readers(&self) {
        let opened = self.opened();
        let end = self.committed.last().map_or(Position::new(0), |last| last.end);
        assert!(opened.journal.committed() >= end);
        for from in [opened.journal.oldest()].into_iter().chain(self.cursors.values().map(|(durable, _)| *durable)) {
            let from = from.max(opened.journal.oldest());
            let expected: Vec<_> = self.committed.iter().filter(|seen| seen.start >= from).cloned().collect();
            match opened.try_read_from(from) {
                Ok(read) => assert_eq!(read, expected),
                Err(error) => assert!(self.storage.crashed(), "{error}"),
            }
        }
    }

    pub(super) fn store_cursor(&mut self, name: &'static str, eighths: usize) {
        let Some(position) = self.position(eighths) else { return };
        let (durable, tried) = self.cursors[name];
        let stored = self.opened().journal.store_cursor(name, position);
        self.cursors.insert(name, (stored.unwrap_or(durable), tried.max(position)));
    }

    pub(super) fn checkpoint(&mut self, eighths: usize) {
        let Some(position) = self.position(eighths) else { return };
        let records = self.committed.iter().filter(|seen| seen.end <= position).count();
        let stored = self.opened().journal.checkpoint(position, state(records));
        match stored {
            Ok(()) => self.checkpoint = (position, position.max(self.checkpoint.1)),
            Err(JournalError::CheckpointBehind { .. }) => assert!(position < self.checkpoint.1),
            Err(_) => self.checkpoint.1 = self.checkpoint.1.max(position),
        }
    }

    /// The end of a committed record, so many eighths of the way through them.
    fn position(&self, eighths: usize) -> Option<Position> {
        self.committed.get((self.committed.len() * eighths / 8).checked_sub(1)?).map(|seen| seen.end)
    }

    pub(super) fn trim(&self) {
        // A faulty disk may refuse; what must hold holds either way.
        let _ = self.opened().journal.trim();
    }

    /// Ends this life: cleanly, with the process, or with the machine. The next one must hold what this one promised.
    pub(super) fn restart(&mut self, end: End) {
        if end != End::Close {
            self.storage.crash_after(0);
        }
        self.opened().journal.close();
        self.settle();
        self.opened = None;
        self.storage.heal();
        match end {
            End::Close | End::Kill => self.storage.kill(),
            End::PowerLoss => self.storage.power_loss().unwrap(),
        }
        self.open();
    }

    /// Ends this life, crashes after so many operations of the next start, and starts again.
    pub(super) fn crash_in_recovery(&mut self, end: End, operations: u64) {
        self.storage.crash_after(0);
        self.opened().journal.close();
        self.settle();
        self.opened = None;
        let crash = |storage: &FaultStorage| match end {
            End::PowerLoss => storage.power_loss().unwrap(),
            End::Close | End::Kill => storage.kill(),
        };
        crash(&self.storage);
        self.storage.crash_after(operations);
        // It may have been over before the crash.
        drop(try_open(self.storage.clone(), settings()));
        crash(&self.storage);
        self.open();
    }

    fn open(&mut self) {
        let opened = open(&self.storage);
        if let Some(id) = self.id.filter(|_| !self.committed.is_empty()) {
            assert_eq!(opened.recovery.journal_id, id);
        }
        self.id = Some(opened.recovery.journal_id);
        self.check_checkpoint(&opened);
        let damage: Vec<_> =
            opened.recovery.quarantined.iter().filter(|found| found.reason != Damage::Unfinished).collect();
        assert!(damage.is_empty(), "a crash damages nothing that was committed: {damage:?}");
        assert_eq!(opened.recovery.damaged_files, Vec::<String>::new());

        let from = self.checkpoint.0;
        let promised: Vec<_> = self.committed.iter().filter(|seen| seen.start >= from).cloned().collect();
        let replayed = &opened.replayed.records;
        assert!(
            replayed.len() >= promised.len(),
            "{} of {} committed records are left",
            replayed.len(),
            promised.len()
        );
        assert_eq!(replayed[..promised.len()], promised, "every committed record, once, in order, at its position");
        let mut allowed = self.uncertain.iter();
        let mut end = self.committed.last().map_or(Position::new(0), |last| last.end);
        for extra in &replayed[promised.len()..] {
            assert!(allowed.any(|payload| *payload == extra.payload), "what was appended last may be there, in order");
            assert!(extra.start >= end);
            end = extra.end;
        }
        self.committed.extend_from_slice(&replayed[promised.len()..]);
        self.uncertain.clear();
        for name in CONSUMERS {
            let (durable, tried) = self.cursors[name];
            let stored = opened.journal.cursor(name).unwrap();
            assert!(durable <= stored, "{name} was stored at {durable} and is at {stored}");
            assert!(stored <= tried.max(opened.journal.oldest()));
            self.cursors.insert(name, (stored, tried.max(stored)));
        }
        self.opened = Some(opened);
        self.check_readers();
    }

    fn check_checkpoint(&mut self, opened: &Opened) {
        let (durable, tried) = self.checkpoint;
        let found = opened.recovery.checkpoint.unwrap_or_default();
        assert!(durable <= found && found <= tried, "checkpoint {found} is not from {durable} to {tried}");
        if let Some((position, payload)) = &opened.replayed.checkpoint {
            let records = self.committed.iter().filter(|seen| seen.end <= *position).count();
            assert_eq!(*payload, state(records));
        }
        self.checkpoint = (found, found);
    }
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Close,
    Kill,
    PowerLoss,
}
