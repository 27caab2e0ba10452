//! Random operations, faults and crashes against the model.

use proptest::prelude::*;
use rustix::io::Errno;

use super::world::{CONSUMERS, End, World};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    AppendTogether(Vec<usize>),
    Settle,
    StoreCursor(usize, usize),
    Checkpoint(usize),
    Trim,
    MakeRoom,
    Fault(Operation, &'static str, u64, u64, Errno),
    Limit(Option<u64>),
    CrashAfter(u64),
    Restart(End),
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![3 => 0..600usize, 2 => 600..9_000usize, 1 => 9_000..40_000usize];
    let operation = prop_oneof![
        Just(Operation::Create),
        Just(Operation::Write),
        Just(Operation::SyncData),
        Just(Operation::Rename),
        Just(Operation::Remove),
        Just(Operation::SyncDir),
    ];
    let prefix = prop_oneof![Just(""), Just("segment-"), Just("spare-"), Just("cursor-"), Just("checkpoint-")];
    let errno = prop_oneof![Just(Errno::IO), Just(Errno::NOSPC)];
    let end = prop_oneof![Just(End::Close), Just(End::Kill), Just(End::PowerLoss)];
    prop_oneof![
        7 => prop::collection::vec(length.clone(), 1..8).prop_map(Step::Append),
        3 => prop::collection::vec(length, 1..8).prop_map(Step::AppendTogether),
        3 => Just(Step::Settle),
        2 => (0..CONSUMERS.len(), 0..=8usize).prop_map(|(consumer, eighths)| Step::StoreCursor(consumer, eighths)),
        2 => (0..=8usize).prop_map(Step::Checkpoint),
        2 => Just(Step::Trim),
        2 => Just(Step::MakeRoom),
        3 => (operation, prefix, 0..4u64, 1..4u64, errno)
            .prop_map(|(operation, prefix, skip, times, errno)| Step::Fault(operation, prefix, skip, times, errno)),
        1 => prop::option::of(2 * SEGMENT_BYTES..8 * SEGMENT_BYTES).prop_map(Step::Limit),
        1 => (0..30u64).prop_map(Step::CrashAfter),
        2 => end.prop_map(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: every record told committed is replayed and read exactly once, in order, at
    /// its position; none told failed is, unless a crash came before anything else was committed.
    #[test]
    fn the_journal_keeps_what_it_promised(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new(seed);
        for step in steps.into_iter().chain([Step::Restart(End::PowerLoss), Step::Restart(End::Kill)]) {
            match step {
                Step::Append(lengths) => world.append(&lengths),
                Step::AppendTogether(lengths) => world.append_together(&lengths),
                Step::Settle => {
                    world.settle();
                    world.check_readers();
                }
                Step::StoreCursor(consumer, eighths) => world.store_cursor(CONSUMERS[consumer], eighths),
                Step::Checkpoint(eighths) => world.checkpoint(eighths),
                Step::Trim => world.trim(),
                Step::MakeRoom => world.make_room(),
                Step::Fault(operation, prefix, skip, times, errno) => {
                    world.storage.fail(Fault { operation, prefix: prefix.into(), skip, times, errno });
                }
                Step::Limit(bytes_max) => world.storage.limit(bytes_max),
                Step::CrashAfter(operations) => world.storage.crash_after(operations),
                Step::Restart(end) => world.restart(end),
            }
        }
    }
}
