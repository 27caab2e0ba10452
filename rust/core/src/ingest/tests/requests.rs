//! Requests of other protocols: taken as a whole or not at all, whatever is full.

use rustix::io::Errno;

use super::*;
use crate::ingest::quotas::{Quota, Quotas};
use crate::translate::influx::Precision;
use crate::translate::{Encoding, Form, Renames, Translated, translate};

/// Lines of one series each, in batches of ten.
fn request(lines: std::ops::Range<u32>) -> Translated {
    use std::fmt::Write as _;

    let mut text = String::new();
    for number in lines {
        writeln!(text, "m,line=l{number} value={number}").expect("memory takes it");
    }
    let limits = Limits { max_batch_size: 10, ..Limits::default() };
    let form = Form::Influx(Precision::NANOSECONDS, Renames::default());
    translate(&form, Encoding::Identity, text.as_bytes(), &limits).expect("lines")
}

fn ask(stand: &Stand, translated: &Translated, now_ns: i64) -> super::super::Answer {
    let peer = Peer { identity: "influx".into(), node: "node-1".into(), relay: true };
    let mut taken = stand.ingest.take(&peer, translated, now_ns);
    assert!(stand.ingest.drain(Duration::from_secs(10)), "the commits come");
    taken.answer().expect("its commits are known").clone()
}

/// The values of all points that are stored.
fn stored(stand: &Stand) -> Vec<f64> {
    let mut values: Vec<f64> = stored_points(&stand.ingest).into_iter().flat_map(|(_, values)| values).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn numbers(range: std::ops::Range<u32>) -> Vec<f64> {
    range.map(f64::from).collect()
}

#[test]
fn a_request_over_its_quota_stores_nothing_however_often_it_comes() {
    for quota in [
        Quota { points_per_sec: Some(5), ..Quota::default() },
        Quota { batches_per_sec: Some(1), ..Quota::default() },
        Quota { bytes_per_sec: Some(200), ..Quota::default() },
    ] {
        let stand = Stand::new();
        stand.ingest.set_quotas(Quotas { default: quota, overrides: Vec::new() });
        let (mut now_ns, mut tries) = (NOW_NS, 0);
        for number in 0..3 {
            let request = request(100 * number..100 * (number + 1));
            assert_eq!(request.frames.len(), 10);
            loop {
                let answer = ask(&stand, &request, now_ns);
                tries += 1;
                let Some(wait_ms) = answer.retry_after_ms else {
                    assert_eq!((answer.accepted_points, answer.rejected_points), (100, 0));
                    break;
                };
                assert_eq!(answer.accepted_points, 0, "{quota:?}");
                // Half as patient as it is asked to be.
                now_ns += i64::from(wait_ms) * 500_000;
                assert!(tries < 1_000, "there is room some day");
            }
        }
        assert!(tries > 6, "{quota:?} is met: {tries} tries");
        assert_eq!(stored(&stand), numbers(0..300), "{quota:?}: each point once");
    }
}

#[test]
fn a_request_larger_than_the_whole_bucket_is_let_in_once_and_waited_for() {
    let stand = Stand::new();
    let quota = Quota { points_per_sec: Some(1), ..Quota::default() };
    stand.ingest.set_quotas(Quotas { default: quota, overrides: Vec::new() });
    assert_eq!(ask(&stand, &request(0..100), NOW_NS).accepted_points, 100);
    let later = ask(&stand, &request(100..101), NOW_NS);
    assert_eq!(later.retry_after_ms, Some(60_001), "it is 96 points in debt, and nobody is told to wait for longer");
    assert_eq!(ask(&stand, &request(100..101), NOW_NS + 98_000_000_000).accepted_points, 1);
}

#[test]
fn a_request_that_a_full_journal_meets_in_its_middle_stores_nothing() {
    let stand = Stand::with(|settings| settings.journal.bytes_max = 3 * 64 * 1024);
    let _required = stand.ingest.cursor("parquet").expect("a cursor opens");
    let mut next = 0;
    let put_off = loop {
        let answer = ask(&stand, &request(next..next + 500), NOW_NS);
        if answer.retry_after_ms.is_some() {
            break answer;
        }
        next += 500;
        assert!(next < 100_000, "the journal is bounded");
    };
    assert_eq!((put_off.accepted_points, put_off.retry_after_ms), (0, Some(1_000)));
    for _ in 0..20 {
        assert!(ask(&stand, &request(next..next + 500), NOW_NS).retry_after_ms.is_some());
    }
    assert_eq!(stored(&stand), numbers(0..next), "no point of it, and each of the others once");
    assert!(next > 0);
    let one = ask(&stand, &request(next..next + 1), NOW_NS);
    assert_eq!(one.accepted_points, 1, "a smaller one finds the room that the large one did not");
}

#[test]
fn a_request_whose_commit_fails_where_a_segment_ends_is_stored_nowhere_and_counts_as_put_off() {
    let stand = Stand::with(|settings| settings.limits.max_cardinality = 1_000_000);
    let mut next = 0;
    for round in 0..24 {
        // Segments are of 64 KiB, so that some of these requests are begun where one has little room left.
        let translated = request(next..next + 500);
        stand.storage.fail(Fault {
            operation: Operation::SyncData,
            prefix: "segment-".into(),
            skip: round % 3,
            times: 1,
            errno: Errno::IO,
        });
        let answered = |outcome: Answer| {
            stand.ingest.counters().outcomes().find(|(known, _)| *known == outcome).map_or(0, |(_, count)| count)
        };
        let before = answered(Answer::Stored);
        let answer = ask(&stand, &translated, NOW_NS);
        stand.storage.heal();
        if answer.retry_after_ms.is_some() {
            assert_eq!((answer.accepted_points, answered(Answer::Stored)), (0, before));
            assert_eq!(stored(&stand), numbers(0..next), "round {round}: no point of what comes again");
            assert_eq!(ask(&stand, &translated, NOW_NS).accepted_points, 500);
        }
        next += 500;
        assert_eq!(stored(&stand), numbers(0..next));
    }
    assert!(stand.ingest.counters().commits_failed.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_request_that_never_fits_into_the_journal_is_refused_for_good() {
    let stand = Stand::with(|settings| {
        settings.journal.bytes_max = 2 * 64 * 1024;
        settings.limits.max_cardinality = 1_000_000;
    });
    let answer = ask(&stand, &request(0..20_000), NOW_NS);
    assert_eq!((answer.retry_after_ms, answer.accepted_points, answer.rejected_points), (None, 0, 20_000));
    assert_eq!((answer.rejections.len(), answer.rejections[0].reason), (1, Reason::BatchTooLarge));
    assert!(answer.rejections[0].example.contains("send smaller"), "{}", answer.rejections[0].example);
    assert!(stored(&stand).is_empty());
    assert_eq!(stand.ingest.counters().inflight_batches.load(Ordering::Relaxed), 0);
}

#[test]
fn a_begun_request_passes_the_soft_limit_that_it_meets_itself() {
    let stand = Stand::with(|settings| settings.limits.backpressure_threshold = 1);
    let answer = ask(&stand, &request(0..100), NOW_NS);
    assert_eq!((answer.accepted_points, answer.retry_after_ms), (100, None), "ten batches, where two may be in flight");
}

#[test]
fn what_is_refused_of_a_request_is_counted_once() {
    let stand = Stand::with(|settings| settings.limits.max_cardinality = 15);
    let answer = ask(&stand, &request(0..30), NOW_NS);
    assert_eq!((answer.accepted_points, answer.rejected_points), (15, 15));
    let refused = stand.ingest.counters().points_refused.get(Reason::CardinalityLimit as usize);
    assert_eq!(refused, 15);
}
