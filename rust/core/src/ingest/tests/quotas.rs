//! Quotas in the order of the contract: what they put off, what they do not touch, and whose they are.

use super::*;
use crate::ingest::quotas::{Quota, Quotas};

fn bounded(stand: &Stand, quota: Quota) {
    stand.ingest.set_quotas(Quotas { default: quota, overrides: Vec::new() });
}

#[test]
fn a_batch_over_the_quota_is_put_off_until_there_is_room() {
    let stand = Stand::new();
    bounded(&stand, Quota { points_per_sec: Some(1), ..Quota::default() });
    let mut stream = stand.stream();
    let six = batch(&["a", "a", "a", "a", "a", "a"], &[0.0; 6]);
    assert_eq!(stream.ask(&six, 1).outcome, Answer::Stored, "whoever has a token left may spend more");
    let later = stream.ask(&six, 2);
    assert_eq!((later.outcome, later.accepted_points, later.rejected_points), (Answer::RetryLater, 0, 0));
    assert!((2_900..3_100).contains(&later.retry_after_ms), "{}", later.retry_after_ms);
    assert_eq!(stand.stream_of("node-2", false).ask(&six, 1).outcome, Answer::Stored, "others are not concerned");
    stream.now_ns += i64::from(later.retry_after_ms) * 1_000_000;
    assert_eq!(stream.ask(&six, 2).outcome, Answer::Stored);
    let counters = stand.ingest.counters();
    assert_eq!(counters.retries_asked.get(RetryCause::QuotaPoints as usize), 1);
    let worst = stand.ingest.accounts().offenders().worst_first();
    assert_eq!((&*worst[0].identity, &*worst[0].name, worst[0].points), ("node-1", "quota_points", 1));
}

#[test]
fn duplicates_malformed_and_empty_batches_are_answered_as_ever() {
    let stand = Stand::new();
    let mut stream = stand.stream();
    assert_eq!(stream.ask(&batch(&["a"], &[1.0]), 1).outcome, Answer::Stored);
    bounded(&stand, Quota { batches_per_sec: Some(1), ..Quota::default() });
    for _ in 0..10 {
        assert_eq!(stream.ask(&batch(&["a"], &[1.0]), 1).outcome, Answer::Duplicate);
    }
    assert_eq!(stream.ask(&batch(&["a"], &[1.0]), 2).outcome, Answer::RetryLater, "they have used up the quota");
    let empty = stream.frame(None, 3, 0);
    stream.conversation.receive(&empty, stream.now_ns);
    assert_eq!(stream.answer().outcome, Answer::Stored);
    stream.conversation.receive(b"\x00\x00\x00\x01\xff", stream.now_ns);
    assert_eq!(stream.answer().rejections[0].reason, Reason::Malformed);
}

#[test]
fn what_a_batch_that_is_put_off_defines_is_defined() {
    let stand = Stand::new();
    bounded(&stand, Quota { batches_per_sec: Some(1), ..Quota::default() });
    let mut stream = stand.stream();
    for sequence in 1..=4 {
        assert_eq!(stream.ask(&batch(&["a"], &[1.0]), sequence).outcome, Answer::Stored);
    }
    let later = stream.ask(&batch(&["b"], &[2.0]), 5);
    assert_eq!(later.outcome, Answer::RetryLater);
    stream.now_ns += i64::from(later.retry_after_ms) * 1_000_000;
    // The encoder does not define "b" a second time.
    assert_eq!(stream.ask(&batch(&["b"], &[2.0]), 5).outcome, Answer::Stored);
}

#[test]
fn an_identity_that_heeds_nothing_is_closed_and_nothing_more_is_read() {
    let stand = Stand::new();
    bounded(&stand, Quota { batches_per_sec: Some(1), ..Quota::default() });
    let mut stream = stand.stream();
    let mut sequence = 0;
    while stream.conversation.fault().is_none() {
        sequence += 1;
        stream.send(&batch(&["a"], &[1.0]), sequence);
        assert!(stand.ingest.drain(Duration::from_secs(10)));
        stream.due();
        assert!(sequence < 10_000);
    }
    assert_eq!(stream.conversation.fault(), Some(CloseCode::QuotaExceeded));
    let known = stand.ingest.counters().points_received.load(Ordering::Relaxed);
    let mut other = stand.stream();
    other.send(&batch(&["a"], &[1.0]), 1);
    assert_eq!(other.conversation.fault(), Some(CloseCode::QuotaExceeded), "all its connections are meant");
    assert_eq!(stand.ingest.counters().points_received.load(Ordering::Relaxed), known, "it was not even decoded");
}

#[test]
fn a_small_frame_that_inflates_pays_for_what_it_inflates_to() {
    let stand = Stand::new();
    bounded(&stand, Quota { bytes_per_sec: Some(1_000), ..Quota::default() });
    let mut stream = stand.stream();
    let gzip = EncoderSettings { compression: Compression::Gzip, ..EncoderSettings::default() };
    stream.encoder = FrameEncoder::new(gzip).expect("settings within the bounds");
    let names = vec!["a"; 1_000];
    let large = batch(&names, &vec![1.0; 1_000]);
    let frame = stream.frame(Some(&large), 1, 0);
    assert!(frame.len() < 1_000, "{} bytes", frame.len());
    stream.conversation.receive(&frame, stream.now_ns);
    assert_eq!(stream.answer().outcome, Answer::Stored);
    let later = stream.ask(&large, 2);
    assert_eq!(later.outcome, Answer::RetryLater, "8,000 values are behind it");
    assert_eq!(stand.ingest.counters().retries_asked.get(RetryCause::QuotaBytes as usize), 1);
}

#[test]
fn new_series_over_the_identitys_quota_are_refused_and_known_ones_go_on() {
    let mut stand = Stand::new();
    let quota = Quota { series: Some(2), ..Quota::default() };
    bounded(&stand, quota);
    let mut stream = stand.stream();
    assert_eq!(stream.ask(&batch(&["a", "b"], &[1.0, 2.0]), 1).outcome, Answer::Stored);
    let partial = stream.ask(&batch(&["c", "a"], &[1.0, 2.0]), 2);
    assert_eq!((partial.outcome, partial.rejections[0].reason), (Answer::Partial, Reason::CardinalityLimit));
    assert_eq!(
        partial.rejections[0].example,
        "c: Cardinality limit exceeded: this identity has brought the 2 series of its quota"
    );
    assert_eq!(stand.stream_of("node-2", false).ask(&batch(&["c", "d"], &[1.0, 2.0]), 1).outcome, Answer::Stored);
    let worst = stand.ingest.accounts().offenders().worst_first();
    assert_eq!((&*worst[0].identity, &*worst[0].name, worst[0].points), ("node-1", "quota_series", 1));
    assert_eq!(stand.ingest.counters().quota_series_refused.load(Ordering::Relaxed), 1);

    // The records say who brought what.
    stand.restart();
    bounded(&stand, quota);
    assert_eq!(stand.stream().ask(&batch(&["e"], &[1.0]), 3).outcome, Answer::Rejected);
    // The checkpoint does not: whoever sends a series' next point counts for it.
    stand.ingest.checkpoint().expect("a checkpoint is written");
    stand.restart();
    bounded(&stand, quota);
    let mut stream = stand.stream();
    assert_eq!(stream.ask(&batch(&["a", "b"], &[1.0, 2.0]), 4).outcome, Answer::Stored);
    assert_eq!(stream.ask(&batch(&["e"], &[1.0]), 5).outcome, Answer::Rejected);
}

#[test]
fn a_series_that_expires_makes_room_for_its_identity() {
    let stand = Stand::with(|settings| settings.limits.series_idle_secs = 60);
    bounded(&stand, Quota { series: Some(1), ..Quota::default() });
    let mut stream = stand.stream();
    assert_eq!(stream.ask(&batch(&["a"], &[1.0]), 1).outcome, Answer::Stored);
    assert_eq!(stream.ask(&batch(&["b"], &[1.0]), 2).outcome, Answer::Rejected);
    stream.now_ns += 61 * 1_000_000_000;
    stand.ingest.maintain((stream.now_ns / 1_000_000_000) as u64).expect("maintenance succeeds");
    assert_eq!(stream.ask(&batch_at(&["b"], &[1.0], 0), 2).outcome, Answer::Stored);
}

#[test]
fn a_batch_that_a_full_journal_puts_off_costs_its_quota_nothing() {
    let stand = Stand::with(|settings| settings.journal.bytes_max = 3 * 64 * 1024);
    let _required = stand.ingest.cursor("parquet").expect("a cursor opens");
    let values: Vec<f64> = (0..1_000).map(f64::from).collect();
    let mut stream = stand.stream();
    let mut sequence = 1;
    while stream.ask(&batch(&["a"], &values), sequence).outcome == Answer::Stored {
        sequence += 1;
        assert!(sequence < 100, "the journal is bounded");
    }
    let default = Quota { points_per_sec: Some(1_000), ..Quota::default() };
    stand.ingest.set_quotas(Quotas { default, overrides: Vec::new() });
    for _ in 0..100 {
        let put_off = stream.ask(&batch(&["a"], &values), sequence);
        assert_eq!(
            (put_off.outcome, put_off.retry_after_ms),
            (Answer::RetryLater, 1_000),
            "of the journal, not the quota"
        );
    }
}
