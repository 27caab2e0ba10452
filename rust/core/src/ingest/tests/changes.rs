//! What changes while batches come in: the policy, and who reads.

use super::*;

#[test]
fn a_consumer_that_is_closed_holds_the_journal_no_longer_and_a_new_one_begins_with_what_is_kept() {
    let stand = Stand::new();
    let mut stream = stand.stream();
    let held = stand.ingest.cursor("held").expect("a cursor opens");
    let values: Vec<f64> = (0..1_000).map(|place| f64::from(place).sqrt()).collect();
    for sequence in 1..=30 {
        assert_eq!(stream.ask(&batch(&["a"], &values), sequence).outcome, Answer::Stored);
    }
    let now_secs = (NOW_NS / 1_000_000_000) as u64;
    stand.ingest.maintain(now_secs).expect("maintenance succeeds");
    let segments = stand.ingest.journal().stats().segments;
    assert!(segments > 2, "the consumer has read nothing");
    stand.ingest.close_cursor(held.consumer());
    stand.ingest.maintain(now_secs).expect("maintenance succeeds");
    assert_eq!(stand.ingest.journal().stats().segments, 1);
    let added = stand.ingest.cursor("added").expect("a cursor opens");
    assert_eq!(added.stored(), stand.ingest.journal().oldest());
}

#[test]
fn another_policy_judges_streams_that_are_open_and_known_series_go_on() {
    let stand = Stand::new();
    let mut stream = stand.stream();
    assert_eq!(stream.ask(&batch(&["a", "b"], &[1.0, 2.0]), 1).outcome, Answer::Stored);
    let tight = Limits { max_batch_size: 2, max_cardinality: 1, ..Limits::default() };
    stand.ingest.set_policy(Policy { limits: tight, bind_node_id: true });
    assert_eq!(stream.ask(&batch(&["a", "b"], &[1.0; 3]), 2).rejections[0].reason, Reason::BatchTooLarge);
    assert_eq!(stream.ask(&batch(&["b", "a"], &[1.0, 2.0]), 2).outcome, Answer::Stored);
    assert_eq!(stream.ask(&batch(&["c"], &[1.0]), 3).rejections[0].reason, Reason::CardinalityLimit);
    stand.ingest.set_policy(Policy { limits: Limits::default(), bind_node_id: true });
    assert_eq!(stream.ask(&batch(&["a", "b", "c"], &[1.0; 3]), 3).outcome, Answer::Stored);
}

#[test]
fn a_frame_that_has_begun_is_allowed_and_the_next_one_has_the_new_limit() {
    let stand = Stand::new();
    let mut stream = stand.stream();
    let frame = stream.frame(Some(&batch(&["a"], &[1.0])), 1, 0);
    stream.conversation.receive(&frame[..10], NOW_NS);
    let limits = Limits { frame_bytes_max: frame.len() - 5, ..Limits::default() };
    stand.ingest.set_policy(Policy { limits, bind_node_id: true });
    stream.conversation.receive(&frame[10..], NOW_NS);
    assert_eq!(stream.answer().outcome, Answer::Stored);
    stream.conversation.receive(&frame, NOW_NS);
    assert_eq!(stream.conversation.fault(), Some(CloseCode::FrameTooLarge));
}
