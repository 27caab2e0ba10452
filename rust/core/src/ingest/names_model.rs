//! Names beside a model of them that keeps every sequence by itself and folds nothing.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::limits::{EPOCHS_PER_IDENTITY_MAX, RANGES_PER_EPOCH_MAX};

#[derive(Default)]
struct Model {
    epochs: BTreeMap<(u8, u64), ModelEpoch>,
    uses: u64,
    forgotten: u64,
    uncertain: bool,
}

#[derive(Clone, Default)]
struct ModelEpoch {
    floor: u64,
    closed: BTreeSet<u64>,
    durable: BTreeSet<u64>,
    pending: BTreeMap<u64, u32>,
    withdrawn: BTreeSet<u64>,
    last_use: u64,
}

fn ranges(set: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &value in set {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == value => *last = value,
            _ => ranges.push((value, value)),
        }
    }
    ranges
}

impl ModelEpoch {
    fn has_room(&self, sequence: u64) -> bool {
        [&self.closed, &self.durable].into_iter().all(|set| {
            let mut with = set.clone();
            with.insert(sequence);
            let (before, after) = (ranges(set).len(), ranges(&with).len());
            before < RANGES_PER_EPOCH_MAX || after <= before
        })
    }

    fn raise_floor(&mut self, floor: u64) {
        if floor > self.floor {
            self.floor = floor;
            self.closed.retain(|&sequence| sequence >= floor);
            self.durable.retain(|&sequence| sequence >= floor);
            self.withdrawn.retain(|&sequence| sequence >= floor);
        }
    }
}

impl Model {
    fn epoch(&mut self, who: u8, number: u64) -> Option<&mut ModelEpoch> {
        self.uses += 1;
        let known = self.epochs.range((who, 0)..=(who, u64::MAX));
        if !self.epochs.contains_key(&(who, number)) && known.clone().count() >= EPOCHS_PER_IDENTITY_MAX {
            let idle = known.filter(|(_, epoch)| epoch.pending.is_empty());
            let oldest = *idle.min_by_key(|(_, epoch)| epoch.last_use)?.0;
            self.epochs.remove(&oldest);
            self.forgotten += 1;
        }
        let epoch = self.epochs.entry((who, number)).or_default();
        epoch.last_use = self.uses;
        Some(epoch)
    }

    fn judge(&mut self, who: u8, number: u64, sequence: u64, floor: u64) -> Verdict<u32> {
        if number == 0 {
            return Verdict::New;
        }
        let Some(epoch) = self.epoch(who, number) else { return Verdict::NoRoom };
        epoch.raise_floor(floor);
        match epoch.pending.get(&sequence) {
            _ if sequence < epoch.floor => Verdict::Stored,
            Some(&ticket) => Verdict::Pending(ticket),
            None if epoch.closed.contains(&sequence) => Verdict::Stored,
            None if epoch.withdrawn.contains(&sequence) => Verdict::Withdrawn,
            None if epoch.has_room(sequence) => Verdict::New,
            None => Verdict::NoRoom,
        }
    }

    fn withdraw(&mut self, who: u8, number: u64, sequence: u64, floor: u64) -> Verdict<u32> {
        let uncertain = self.uncertain;
        match self.judge(who, number, sequence, floor) {
            decided @ (Verdict::Stored | Verdict::Pending(_) | Verdict::Withdrawn) => decided,
            _ if uncertain => Verdict::NoRoom,
            _ => {
                let Some(epoch) = self.epochs.get_mut(&(who, number)) else { return Verdict::NoRoom };
                let mut with = epoch.withdrawn.clone();
                with.insert(sequence);
                let (before, after) = (ranges(&epoch.withdrawn).len(), ranges(&with).len());
                if before >= RANGES_PER_EPOCH_MAX && after > before && sequence != epoch.floor {
                    return Verdict::NoRoom;
                }
                epoch.withdrawn = with;
                Verdict::Withdrawn
            }
        }
    }

    fn durable(&self) -> Vec<Durable> {
        let mut epochs: Vec<_> = self.epochs.iter().collect();
        epochs.sort_by_key(|(_, epoch)| epoch.last_use);
        let durable = |(&(who, number), epoch): (&(u8, u64), &ModelEpoch)| {
            let stored =
                epoch.durable.iter().filter(|sequence| !epoch.pending.contains_key(sequence)).copied().collect();
            (name(who).into_bytes(), number, epoch.floor, ranges(&stored))
        };
        epochs.into_iter().map(durable).collect()
    }
}

/// Identity, number, floor and stored ranges of an epoch.
type Durable = (Vec<u8>, u64, u64, Vec<(u64, u64)>);

fn name(who: u8) -> String {
    format!("spiffe://fleet/node-{who}")
}

#[derive(Clone, Debug)]
enum Operation {
    Judge {
        floor: u64,
    },
    Withdraw {
        floor: u64,
    },
    /// As many questions with a gap before each.
    WithdrawGaps {
        times: u64,
    },
    Reserve,
    CloseEmpty,
    Committed,
    Failed,
    Replay {
        floor: u64,
    },
    Restore {
        floor: u64,
        lengths: Vec<(u64, u64)>,
    },
    /// As many batches with a gap before each.
    Gaps {
        times: u64,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => prop_oneof![3 => Just(0), 1 => 0..40_u64].prop_map(|floor| Operation::Judge { floor }),
        4 => prop_oneof![3 => Just(0), 1 => 0..40_u64].prop_map(|floor| Operation::Withdraw { floor }),
        1 => prop_oneof![Just(3), Just(RANGES_PER_EPOCH_MAX as u64)].prop_map(|times| Operation::WithdrawGaps { times }),
        6 => Just(Operation::Reserve),
        2 => Just(Operation::CloseEmpty),
        6 => Just(Operation::Committed),
        2 => Just(Operation::Failed),
        2 => prop_oneof![Just(0), 0..40_u64].prop_map(|floor| Operation::Replay { floor }),
        1 => (0..20_u64, prop::collection::vec((0..4_u64, 0..6_u64), 0..4))
            .prop_map(|(floor, lengths)| Operation::Restore { floor, lengths }),
        1 => prop_oneof![Just(3), Just(RANGES_PER_EPOCH_MAX as u64)].prop_map(|times| Operation::Gaps { times }),
    ]
}

/// Who, epoch and sequence: mostly one agent with one epoch, sometimes so many epochs that one has to go.
fn place() -> impl Strategy<Value = (u8, u64, u64)> {
    let epoch = prop_oneof![8 => Just(1), 1 => Just(0), 6 => 1..=(EPOCHS_PER_IDENTITY_MAX as u64 + 4)];
    let sequence = prop_oneof![40 => 0..40_u64, 1 => Just(u64::MAX - 1), 1 => Just(i64::MAX as u64)];
    (0..2_u8, epoch, sequence)
}

fn apply(
    operation: &Operation,
    who: u8,
    number: u64,
    sequence: u64,
    ticket: u32,
    names: &mut Names<u32>,
    model: &mut Model,
) {
    let identity = &*name(who);
    let known = model.epochs.get_mut(&(who, number));
    match operation {
        Operation::Judge { floor } => {
            assert_eq!(names.judge(identity, number, sequence, *floor), model.judge(who, number, sequence, *floor));
        }
        Operation::Withdraw { floor } => {
            let told = names.withdraw(identity, number, sequence, *floor);
            assert_eq!(told, model.withdraw(who, number, sequence, *floor));
        }
        Operation::WithdrawGaps { times } => {
            for step in 0..*times {
                let told = names.withdraw(identity, number, 2 * step + 1, 0);
                assert_eq!(told, model.withdraw(who, number, 2 * step + 1, 0));
            }
        }
        Operation::Reserve => {
            names.reserve(identity, number, sequence, ticket);
            if let Some(epoch) = known {
                epoch.closed.insert(sequence);
                epoch.durable.insert(sequence);
                epoch.pending.insert(sequence, ticket);
            }
        }
        Operation::CloseEmpty => {
            names.close_empty(identity, number, sequence);
            if let Some(epoch) = known.filter(|epoch| epoch.has_room(sequence)) {
                epoch.closed.insert(sequence);
            }
        }
        Operation::Committed => {
            names.committed(identity, number, sequence);
            model.uncertain = false;
            known.map(|epoch| epoch.pending.remove(&sequence));
        }
        Operation::Failed => {
            names.failed(identity, number, sequence);
            model.uncertain = true;
            if let Some(epoch) = known.filter(|epoch| epoch.pending.contains_key(&sequence)) {
                epoch.pending.remove(&sequence);
                epoch.closed.remove(&sequence);
                epoch.durable.remove(&sequence);
            }
        }
        Operation::Replay { floor } => {
            names.replay(identity, number, sequence, *floor);
            if number != 0
                && let Some(epoch) = model.epoch(who, number)
            {
                epoch.raise_floor(*floor);
                if sequence >= epoch.floor {
                    epoch.closed.insert(sequence);
                    epoch.durable.insert(sequence);
                }
            }
        }
        Operation::Restore { floor, lengths } if number != 0 => {
            let mut stored = RangeSet::default();
            let mut all = BTreeSet::new();
            let mut at = 0;
            for (gap, length) in lengths {
                stored.insert_range(at + gap, at + gap + length);
                all.extend(at + gap..=at + gap + length);
                at += gap + length;
            }
            names.restore(identity, number, *floor, &stored);
            if let Some(epoch) = model.epoch(who, number) {
                epoch.floor = epoch.floor.max(*floor);
                epoch.closed.extend(&all);
                epoch.durable.extend(&all);
            }
        }
        Operation::Restore { .. } => {}
        Operation::Gaps { times } => {
            for step in 0..*times {
                names.reserve(identity, number, 2 * step, ticket);
                names.committed(identity, number, 2 * step);
            }
            model.uncertain = false;
            if let Some(epoch) = known {
                for step in 0..*times {
                    epoch.closed.insert(2 * step);
                    epoch.durable.insert(2 * step);
                    epoch.pending.remove(&(2 * step));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn names_judge_and_keep_like_a_model_that_keeps_every_sequence(
        operations in prop::collection::vec((operation(), place()), 0..120),
    ) {
        let (mut names, mut model) = (Names::default(), Model::default());
        for (ticket, (operation, (who, number, sequence))) in operations.iter().enumerate() {
            apply(operation, *who, *number, *sequence, ticket as u32, &mut names, &mut model);
            let durable = names.durable();
            let kept: Vec<_> = durable
                .map(|epoch| (epoch.identity.to_vec(), epoch.number, epoch.floor, epoch.stored.iter().collect()))
                .collect();
            prop_assert_eq!(kept, model.durable());
            prop_assert_eq!(names.epochs_forgotten(), model.forgotten);
        }
        for (who, number) in model.epochs.keys().copied().collect::<Vec<_>>() {
            for sequence in 0..50 {
                let judged = names.judge(&name(who), number, sequence, 0);
                prop_assert_eq!(judged, model.judge(who, number, sequence, 0), "{} {} {}", who, number, sequence);
            }
        }
    }
}
