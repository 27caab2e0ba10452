//! Whatever fails, crashes and comes late: what was acknowledged is stored, and each name once or, taken back, never.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rustix::io::Errno;

use super::*;
use crate::wire;

impl Stream {
    /// Asks whether a batch is stored, and takes its name back if it is not.
    fn withdraw(&mut self, sequence: u64, oldest_unacknowledged: u64) -> BatchAck {
        let mut frame = Vec::new();
        let name = BatchName { sequence, epoch: EPOCH, oldest_unacknowledged };
        wire::question(name, &mut frame).expect("a name");
        self.conversation.receive(&frame, self.now_ns);
        self.answer()
    }
}

fn is_withdrawn(ack: &BatchAck) -> bool {
    let reasons: Vec<_> = ack.rejections.iter().map(|rejection| rejection.reason).collect();
    ack.outcome == Answer::Rejected && reasons == [Reason::Withdrawn]
}

impl Stand {
    /// What is written next stays there, uncommitted: it is not synchronized, not cut off, and no segment is begun.
    fn fail_every_way(&self) {
        let fault = |operation, skip| Fault { operation, prefix: "".into(), skip, times: 4, errno: Errno::IO };
        self.storage.fail(fault(Operation::SyncData, 0));
        self.storage.fail(Fault { prefix: "segment-".into(), ..fault(Operation::Write, 1) });
    }

    /// What a killed process and a new start leave.
    fn restart_killed(&mut self) {
        self.storage.crash_after(0);
        self.ingest.journal.close();
        self.storage.heal();
        self.storage.kill();
        self.ingest = open(&self.storage, &self.settings);
    }
}

#[test]
fn a_record_that_may_come_back_is_not_said_to_be_taken_back() {
    let mut stand = Stand::new();
    let mut stream = stand.stream();
    assert_eq!(stream.ask(&batch(&["a"], &[0.0]), 9).outcome, Answer::Stored);
    stand.fail_every_way();
    assert_eq!(stream.ask(&batch(&["a"], &[1.0]), 1).outcome, Answer::RetryLater);
    assert_eq!(stream.withdraw(1, 0).outcome, Answer::RetryLater, "nobody knows");
    stand.restart_killed();
    let mut stream = stand.stream();
    assert_eq!(stream.withdraw(1, 0).outcome, Answer::Duplicate, "it has come back");
    // Where the disk is well again, and something else was committed, it is certain.
    stand.fail_every_way();
    assert_eq!(stream.ask(&batch(&["a"], &[1.0]), 2).outcome, Answer::RetryLater);
    stand.storage.heal();
    // The journal looks by and by whether the disk is well.
    let deadline = Instant::now() + Duration::from_secs(60);
    while stream.ask(&batch(&["a"], &[1.0]), 3).outcome != Answer::Stored {
        assert!(Instant::now() < deadline, "it goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(is_withdrawn(&stream.withdraw(2, 0)));
    stand.restart_killed();
    let mut stored: Vec<_> = stored_points(&stand.ingest).into_iter().map(|(sequence, _)| sequence).collect();
    stored.sort_unstable();
    assert_eq!(stored, [1, 3, 9]);
}

#[derive(Clone, Debug)]
enum Step {
    /// Also one whose name was taken back: then it is a copy that comes late.
    Send {
        sequence: u64,
        oldest: u64,
    },
    Ask {
        sequence: u64,
        oldest: u64,
    },
    Crash,
    Kill,
    FailSync,
    FailEveryWay,
    Checkpoint,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || (1..30_u64, 0..3_u64).prop_map(|(sequence, oldest)| (sequence, oldest.min(sequence)));
    prop_oneof![
        8 => name().prop_map(|(sequence, oldest)| Step::Send { sequence, oldest }),
        4 => name().prop_map(|(sequence, oldest)| Step::Ask { sequence, oldest }),
        1 => Just(Step::Crash),
        1 => Just(Step::Kill),
        1 => Just(Step::FailSync),
        1 => Just(Step::FailEveryWay),
        1 => Just(Step::Checkpoint),
    ]
}

/// What a client knows of the names that it gave.
#[derive(Default)]
struct Client {
    acknowledged: BTreeSet<u64>,
    /// Put off after its record may have been written.
    unsure: BTreeSet<u64>,
    withdrawn: BTreeSet<u64>,
    /// Of these, those of this life of the collector: connections from before can bring nothing any more.
    late: BTreeSet<u64>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn acknowledged_means_stored_once_and_taken_back_means_never(steps in prop::collection::vec(step(), 1..40)) {
        let mut stand = Stand::new();
        let mut stream = stand.stream();
        let mut client = Client::default();
        for step in steps {
            match step {
                Step::Send { sequence, .. } if client.withdrawn.contains(&sequence) && !client.late.contains(&sequence) => {}
                Step::Send { sequence, oldest } => {
                    let frame = stream.frame(Some(&batch(&["a"], &[sequence as f64])), sequence, oldest);
                    stream.conversation.receive(&frame, NOW_NS);
                    let ack = stream.answer();
                    let (known, settled) = (client.acknowledged.contains(&sequence), sequence < 3);
                    match ack.outcome {
                        Answer::Stored => prop_assert!(client.acknowledged.insert(sequence), "stored once"),
                        Answer::Duplicate => prop_assert!(known || client.unsure.contains(&sequence) || settled),
                        Answer::RetryLater => drop(client.unsure.insert(sequence)),
                        _ => prop_assert!(is_withdrawn(&ack) && client.late.contains(&sequence), "{ack:?}"),
                    }
                }
                Step::Ask { sequence, oldest } => {
                    let ack = stream.withdraw(sequence, oldest);
                    let (known, settled) = (client.acknowledged.contains(&sequence), sequence < 3);
                    match ack.outcome {
                        Answer::Duplicate => prop_assert!(known || client.unsure.contains(&sequence) || settled),
                        Answer::RetryLater => {}
                        _ => {
                            prop_assert!(is_withdrawn(&ack) && !known, "{ack:?}");
                            client.withdrawn.insert(sequence);
                            client.late.insert(sequence);
                        }
                    }
                }
                Step::Crash | Step::Kill => {
                    // A storage that fails while it is opened is told to the operator; here it is well again by then.
                    stand.storage.heal();
                    if matches!(step, Step::Crash) { stand.restart() } else { stand.restart_killed() }
                    stream = stand.stream();
                    client.late.clear();
                }
                Step::FailSync => stand.storage.fail(Fault {
                    operation: Operation::SyncData,
                    prefix: "segment-".into(),
                    skip: 0,
                    times: 1,
                    errno: Errno::IO,
                }),
                Step::FailEveryWay => stand.fail_every_way(),
                Step::Checkpoint => drop(stand.ingest.checkpoint()),
            }
        }
        stand.storage.heal();
        stand.restart();
        let mut stored: Vec<u64> = stored_points(&stand.ingest).into_iter().map(|(sequence, _)| sequence).collect();
        stored.sort_unstable();
        let once: BTreeSet<_> = stored.iter().copied().collect();
        prop_assert_eq!(stored.len(), once.len(), "no name is stored twice");
        prop_assert!(client.acknowledged.is_subset(&once));
        prop_assert!(client.withdrawn.is_disjoint(&once), "{:?} of {:?}", client.withdrawn, once);
    }
}
