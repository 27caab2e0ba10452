//! Answers: what the collector writes, the sender reads, and what it makes of other bytes. And refusals to encode.

use proptest::prelude::*;

use super::{bytes, message, number};
use crate::limits::{Limits, STREAM_DEFINITION_BYTES_MAX, STREAM_DEFINITIONS_MAX};
use crate::wire::ack::{ACK_BYTES_MAX, AckError, AckReader, BatchAck, EXAMPLE_BYTES_MAX, Rejection};
use crate::wire::codes::{Outcome, Reason};
use crate::wire::decode::{DecodeScratch, decode};
use crate::wire::encode::{
    BatchName, Compression, EncodeError, EncoderSettings, Form, FrameEncoder, OutgoingBatch, OutgoingHeartbeat,
    OutgoingSeries, question,
};
use crate::wire::frame::FrameTooLarge;
use crate::wire::proto::WireFault;

fn ack() -> impl Strategy<Value = BatchAck> {
    let rejection = (prop::sample::select(Reason::ALL), any::<u32>(), "\\PC{0,60}")
        .prop_map(|(reason, points, example)| Rejection { reason, points, example });
    let numbers = (any::<u64>(), any::<u32>(), any::<u32>(), 1..u32::MAX, any::<u32>());
    (prop::sample::select(Outcome::ALL), prop::collection::vec(rejection, 0..11), numbers).prop_map(
        |(outcome, rejections, (sequence, accepted_points, rejected_points, credit, retry_after_ms))| BatchAck {
            sequence,
            outcome,
            accepted_points,
            rejected_points,
            rejections,
            credit,
            retry_after_ms,
        },
    )
}

proptest! {
    #[test]
    fn answers_arrive_as_they_were_sent_however_the_stream_is_cut(
        acks in prop::collection::vec(ack(), 1..5),
        cut in 1_usize..40,
    ) {
        let mut stream = Vec::new();
        for ack in &acks {
            ack.write_frame(&mut stream);
        }
        let mut reader = AckReader::default();
        let read = stream.chunks(cut).flat_map(|chunk| reader.feed(chunk).expect("sound")).collect::<Vec<_>>();
        prop_assert_eq!(read, acks);
    }
}

#[test]
fn what_a_later_version_says_is_read_as_the_contract_has_it() {
    let rejection = message(5, [number(1, 77), number(2, 3), bytes(3, [b'a', 0xff])]);
    let frame = [number(1, 4), number(2, 99), rejection, number(6, 0), bytes(15, "new")].concat();
    let read = BatchAck::read(&frame).expect("sound");
    assert_eq!((read.sequence, read.outcome, read.credit), (4, Outcome::RetryLater, 1));
    assert_eq!(read.rejections, [Rejection { reason: Reason::Unspecified, points: 3, example: "a\u{fffd}".into() }]);
    assert_eq!(BatchAck::read(&[]).expect("sound").outcome, Outcome::RetryLater, "an absent outcome is unknown too");
}

#[test]
fn bytes_that_are_no_answer_end_the_reading_for_good() {
    let too_large = FrameTooLarge { declared: ACK_BYTES_MAX as u32 + 1, bytes_max: ACK_BYTES_MAX };
    let cases = [
        (vec![0, 1, 0, 1], AckError::Frame(too_large)),
        (vec![0, 0, 0, 1, 0x0c], AckError::Message(WireFault::InvalidKey)),
        (vec![0, 0, 0, 2, 0x2a, 9], AckError::Message(WireFault::Truncated)),
    ];
    for (stream, expected) in cases {
        let mut reader = AckReader::default();
        assert_eq!(reader.feed(&stream), Err(expected));
        assert_eq!(reader.feed(&[0, 0, 0, 2, 0x10, 1]), Err(expected));
    }
}

#[test]
fn an_example_is_cut_at_a_character() {
    let example = "é".repeat(EXAMPLE_BYTES_MAX);
    let rejections = vec![Rejection { reason: Reason::InvalidName, points: 1, example: format!("x{example}") }];
    let ack = BatchAck {
        sequence: 1,
        outcome: Outcome::Rejected,
        accepted_points: 0,
        rejected_points: 1,
        rejections,
        credit: 8,
        retry_after_ms: 0,
    };
    let mut frame = Vec::new();
    ack.write_frame(&mut frame);
    let read = BatchAck::read(&frame[4..]).expect("sound");
    assert_eq!(read.rejections[0].example.len(), EXAMPLE_BYTES_MAX - 1, "half a character is none");
}

fn series(name: String) -> OutgoingSeries {
    OutgoingSeries { name: name.into(), tags: Vec::new(), metric_type: 2, unit: "".into(), delta: false }
}

fn batch(series: Vec<OutgoingSeries>) -> OutgoingBatch {
    let points = series.len();
    let index = (0..points as u32).collect();
    OutgoingBatch::new(Vec::new(), series, index, vec![1; points], vec![1.0; points]).expect("consistent")
}

fn encoder(frame_bytes_max: usize) -> FrameEncoder {
    FrameEncoder::new(EncoderSettings { frame_bytes_max, ..EncoderSettings::default() }).expect("memory")
}

#[test]
fn a_frame_that_fails_leaves_nothing_behind() {
    let mut encoder = encoder(100);
    let mut out = vec![9];
    let large = batch((0..50).map(|place| series(format!("s{place}"))).collect());
    let name = BatchName { sequence: 1, epoch: 1, oldest_unacknowledged: 1 };
    let failed = encoder.frame(Some(&large), name, None, &mut out);
    assert!(matches!(failed, Err(EncodeError::FrameTooLarge { bytes_max: 100, .. })), "{failed:?}");
    assert_eq!((out.as_slice(), encoder.definitions()), (&[9][..], 0));
    encoder.frame(Some(&batch(vec![series("s0".into())])), name, None, &mut out).expect("small");
    assert_eq!(encoder.definitions(), 1);
    let first = out.len();
    encoder.frame(Some(&batch(vec![series("s0".into())])), name, None, &mut out).expect("small");
    assert_eq!(encoder.definitions(), 1, "remembered");
    assert!(out.len() - first < first - 1, "and not defined again");
}

#[test]
fn a_question_has_the_name_and_one_point_of_a_series_that_no_encoder_defines() {
    let mut out = vec![9];
    let name = BatchName { sequence: 7, epoch: 3, oldest_unacknowledged: 5 };
    question(name, &mut out).expect("a name");
    let mut scratch = DecodeScratch::default();
    let batch = decode(&out[5..], &Limits::default(), &mut scratch).expect("a batch");
    assert_eq!((batch.sequence, batch.epoch, batch.oldest_unacknowledged, batch.withdraw), (7, 3, 5, true));
    assert_eq!((batch.points, batch.series_ids()), (1, &[u32::MAX][..]));
    assert_eq!(out[..5], [9, 0, 0, 0, out.len() as u8 - 5]);
    let nameless = question(BatchName { sequence: 0, ..name }, &mut out);
    assert!(matches!(nameless, Err(EncodeError::Name { .. })), "{nameless:?}");
}

#[test]
fn a_streams_definitions_are_bounded_in_number() {
    let mut encoder = encoder(usize::MAX);
    let all = batch((0..STREAM_DEFINITIONS_MAX).map(|place| series(format!("{place:x}"))).collect());
    encoder.frame(Some(&all), BatchName::default(), None, &mut Vec::new()).expect("just within");
    let one_more = batch(vec![series("one.more".into())]);
    let used_up = encoder.frame(Some(&one_more), BatchName::default(), None, &mut Vec::new());
    assert!(matches!(used_up, Err(EncodeError::DefinitionsUsedUp { .. })), "{used_up:?}");
    assert_eq!(encoder.definitions(), STREAM_DEFINITIONS_MAX);
    encoder.frame(Some(&all), BatchName::default(), None, &mut Vec::new()).expect("repeats are free");
}

#[test]
fn a_streams_definitions_are_bounded_in_bytes() {
    let mut encoder = encoder(usize::MAX);
    let large = |letter: &str, bytes| batch(vec![series(letter.repeat(bytes))]);
    let half = STREAM_DEFINITION_BYTES_MAX / 2;
    encoder.frame(Some(&large("a", half)), BatchName::default(), None, &mut Vec::new()).expect("half");
    encoder.frame(Some(&large("b", half)), BatchName::default(), None, &mut Vec::new()).expect("just within");
    let used_up = encoder.frame(Some(&large("c", 1)), BatchName::default(), None, &mut Vec::new());
    assert!(matches!(used_up, Err(EncodeError::DefinitionsUsedUp { .. })), "{used_up:?}");
}

#[test]
fn contents_that_compressing_does_not_help_are_sent_as_they_are() {
    for compression in [Compression::Gzip, Compression::Zstd] {
        let settings = EncoderSettings { compression, form: Form::Row, ..EncoderSettings::default() };
        let mut encoder = FrameEncoder::new(settings).expect("memory");
        let mut small = Vec::new();
        encoder.frame(Some(&batch(vec![series("s".into())])), BatchName::default(), None, &mut small).expect("small");
        assert_eq!(small[4], 0x22, "a metric");
        let mut large = Vec::new();
        let many = batch((0..50).map(|place| series(format!("series.{place}"))).collect());
        encoder.frame(Some(&many), BatchName::default(), None, &mut large).expect("small");
        assert_eq!(large[4], 0x42, "a compressed body");
    }
}

#[test]
fn what_the_collector_would_call_malformed_is_not_encoded() {
    let mut encoder = encoder(1_000);
    let mut out = Vec::new();
    for (sequence, epoch, oldest_unacknowledged) in [(1 << 63, 0, 0), (0, 1, 0), (1, 1, 2)] {
        let name = BatchName { sequence, epoch, oldest_unacknowledged };
        let refused = encoder.frame(None, name, None, &mut out);
        assert!(matches!(refused, Err(EncodeError::Name { .. })), "{refused:?}");
    }
    assert_eq!(encoder.frame(None, BatchName::default(), None, &mut out), Err(EncodeError::Empty));
    let heartbeat = OutgoingHeartbeat { timestamp_unix_ns: -1, ..OutgoingHeartbeat::default() };
    let argument = "heartbeat.timestamp_unix_ns";
    assert_eq!(
        encoder.frame(None, BatchName::default(), Some(&heartbeat), &mut out),
        Err(EncodeError::NegativeTimestamp { argument, timestamp: -1 })
    );
    assert!(out.is_empty());
}

#[test]
fn a_batch_is_consistent() {
    let make = |series, index: &[u32], timestamps: &[i64], values: &[f64]| {
        OutgoingBatch::new(Vec::new(), series, index.to_vec(), timestamps.to_vec(), values.to_vec()).map(|_| ())
    };
    let one = || vec![series("s".into())];
    let unequal =
        |series_index, timestamps, values| Err(EncodeError::UnequalColumns { series_index, timestamps, values });
    assert_eq!(make(one(), &[0], &[0], &[0.0]), Ok(()));
    assert_eq!(make(one(), &[0], &[], &[0.0]), unequal(1, 0, 1));
    assert_eq!(make(one(), &[0], &[0], &[]), unequal(1, 1, 0));
    assert_eq!(
        make(one(), &[0, 1], &[0; 2], &[0.0; 2]),
        Err(EncodeError::SeriesIndex { point: 1, index: 1, series: 1 })
    );
    let argument = "timestamps_unix_ns";
    assert_eq!(make(one(), &[0], &[-7], &[0.0]), Err(EncodeError::NegativeTimestamp { argument, timestamp: -7 }));
    for metric_type in [3, 4, 6] {
        let distribution = vec![OutgoingSeries { metric_type, ..series("s".into()) }];
        assert_eq!(make(distribution, &[], &[], &[]), Err(EncodeError::SeriesType { series: 0, metric_type }));
    }
}
