//! What changes while batches come in: the policy, who reads, and how far a reader gets.

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
fn points_that_a_batch_only_claims_count_as_one_too_many() {
    let stand = Stand::new();
    stand.ingest.set_policy(Policy { limits: Limits { max_batch_size: 2, ..Limits::default() }, bind_node_id: true });
    let refused = stand.stream_in(Form::Dense, "node-1", false).ask(&batch(&["a"], &[1.0; 1_000]), 1);
    assert_eq!((refused.rejections[0].reason, refused.rejected_points), (Reason::BatchTooLarge, 1_000));
    let counters = stand.ingest.counters();
    let received = || counters.points_received.load(Ordering::Relaxed);
    assert_eq!((received(), counters.points_refused.get(Reason::BatchTooLarge as usize)), (3, 3));
    stand.stream().ask(&batch(&["a"], &[1.0; 1_000]), 2);
    assert_eq!(received(), 1_003, "points that were sent all count");
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

#[test]
fn what_a_consumer_gives_up_is_measured_and_the_next_read_begins_behind_it() {
    let stand = Stand::with(|settings| settings.recent_bytes_max = 0);
    let mut stream = stand.stream();
    let mut cursor = stand.ingest.cursor("slow").expect("a cursor opens");
    let start = cursor.position();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    // Within one hour of receipt, whenever this runs.
    let hour_ns = since.as_nanos() as i64 / HOUR_NS * HOUR_NS;
    let mut ends = Vec::new();
    for sequence in 1..=6 {
        stream.now_ns = hour_ns - 60_000_000_000 + sequence as i64 * 1_000_000_000;
        stream.send(&batch_at(&["a", "b"], &[1.0; 10], stream.now_ns), sequence);
        assert!(stand.ingest.drain(Duration::from_secs(10)), "the commit comes");
        ends.push(stand.ingest.journal().committed());
    }
    let received_us = |sequence: i64| (hour_ns - 60_000_000_000 + sequence * 1_000_000_000) / 1_000;
    let measured = |from, to| stand.ingest.measure(from, to).expect("the journal can be read");
    let all = Measured { batches: 6, points: 60, received_unix_us: Some((received_us(1), received_us(6))) };
    assert_eq!(measured(start, ends[5]), all);
    let some = Measured { batches: 2, points: 20, received_unix_us: Some((received_us(2), received_us(3))) };
    assert_eq!(measured(ends[0], ends[2]), some);
    assert_eq!(measured(ends[3], ends[3]), Measured::default());

    let before = cursor.lag_secs();
    assert!(before > 50.0, "what is only on disk has an age, too: {before}");
    cursor.store(ends[2]).expect("it can be stored");
    cursor.seek(ends[2]);
    let younger = before - cursor.lag_secs();
    assert!((1.0..=3.0).contains(&younger), "by three seconds, less what the test takes: {younger}");
    let read = cursor.read(1_000).expect("the journal can be read").expect("there is something");
    assert_eq!((read.start, read.end, read.points), (ends[2], ends[5], 30));
}

#[test]
fn sectors_that_cannot_be_read_hold_a_consumer_up_and_do_not_stop_it() {
    let stand = Stand::with(|settings| settings.recent_bytes_max = 0);
    let mut stream = stand.stream();
    let mut ends = Vec::new();
    let mut values = (0_u32..).map(|number| f64::from(number).sin());
    for sequence in 1..=6 {
        let points = values.by_ref().take(1_000).collect::<Vec<_>>();
        stream.ask(&batch_at(&["a"], &points, stream.now_ns), sequence);
        ends.push(stand.ingest.journal().committed());
    }
    let mut cursor = stand.ingest.cursor("slow").expect("a cursor opens");
    let start = cursor.position();
    for before in [1, 3] {
        // In the middle of a record, all of whose page is its own.
        let worn = ends[before].get().midpoint(ends[before + 1].get());
        stand.storage.wear_out("segment-0000000000000000", worn..worn + 1);
    }
    let measured = stand.ingest.measure(start, ends[5]).expect("whoever gives it up need not wait");
    assert_eq!((measured.batches, measured.points), (4, 4_000));
    assert_eq!(stand.ingest.journal().stats().damaged_ranges, 0, "others still ask again");

    // A writer that fails before its first flush begins at its stored position, again and again.
    let mut failures = 0;
    let mut points = 0;
    while cursor.position() < ends[5] {
        match cursor.read(10_000) {
            Ok(blocks) => points += blocks.map_or(0, |blocks| blocks.points),
            Err(error) => {
                (points, failures) = (0, failures + 1);
                assert!(failures < 20, "it gives up what cannot be read: {error}");
                cursor.seek(start);
            }
        }
    }
    assert_eq!(points, 4_000);
    assert!(failures >= 2, "it asked again before: {failures}");
    let mut other = stand.ingest.cursor("other").expect("a cursor opens");
    let read = other.read(10_000).expect("what one has given up is known to all").expect("there is something");
    assert_eq!(read.points, 4_000);
}
