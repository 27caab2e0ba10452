//! Whether the journal says that nothing is taken, and from when on that it is again.

use std::thread;
use std::time::Instant;

use rustix::io::Errno;

use super::faults::{fault, faulty};
use super::*;

#[test]
fn it_says_that_nothing_is_taken_from_the_first_refusal_until_a_segment_can_be_begun() {
    let storage = faulty();
    storage.limit(Some(3 * SEGMENT_BYTES));
    let opened = open(&storage);
    let full = Some(AppendError::Full(FullReason::NoSpace));
    while opened.commit(&payload(0, 20_000)) == Outcome::Committed {
        assert_eq!(opened.journal.refusal(), None, "it took the last record, and does not know of a larger one");
    }
    assert_eq!(opened.journal.refusal(), full);
    assert_eq!(opened.commit(b"small"), Outcome::Committed, "there is room in the segment that is written");
    assert_eq!(opened.journal.refusal(), full, "which says nothing about the others");
    storage.limit(None);
    let until = Instant::now() + PATIENCE;
    while opened.journal.refusal().is_some() {
        assert!(Instant::now() < until, "the room is noticed though nobody appends: {:?}", opened.journal.stats());
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn at_its_bound_it_says_that_nothing_is_taken_until_segments_are_deleted() {
    let opened = open(&faulty());
    while opened.commit(&payload(0, 20_000)) == Outcome::Committed {}
    assert_eq!(opened.journal.refusal(), Some(AppendError::Full(FullReason::BytesMax)));
    opened.journal.checkpoint(opened.journal.committed(), b"").unwrap();
    assert!(opened.journal.trim().unwrap() > 0);
    assert_eq!(opened.journal.refusal(), None);
}

#[test]
fn a_failed_commit_is_told_of_until_one_succeeds() {
    let storage = faulty();
    let opened = open(&storage);
    assert_eq!(opened.commit(b"before"), Outcome::Committed);
    storage.fail(fault(Operation::SyncData, "segment-", 0, 1, Errno::IO));
    assert_eq!(opened.commit(b"failed"), Outcome::Failed);
    assert!(matches!(opened.journal.refusal(), Some(AppendError::Failed(_))), "{:?}", opened.journal.refusal());
    assert_eq!(opened.commit(b"after"), Outcome::Committed);
    assert_eq!(opened.journal.refusal(), None);
    opened.journal.close();
    assert_eq!(opened.journal.refusal(), Some(AppendError::Closed));
}
