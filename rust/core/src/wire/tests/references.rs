//! Values as distances from what their stream was told before: one frame after the other says what plain columns say, and
//! a frame that was lost with what it kept is noticed by the next one.

use std::collections::HashMap;

use proptest::prelude::*;

use super::dense::reading;
use super::{bytes, fault, message, number};
use crate::limits::Limits;
use crate::wire::decode::{DecodeScratch, DecodedBatch, Fault, Reference, References, decode, decode_with};
use crate::wire::encode::{BatchName, Compression, EncoderSettings, Form, FrameEncoder, OutgoingBatch, OutgoingSeries};
use crate::wire::proto::WireFault;

/// The collector's end of a stream, the plain way.
#[derive(Default)]
pub(super) struct Known {
    version: u32,
    by_id: HashMap<u32, Reference>,
}

impl Known {
    /// What a frame says, if it could be told by what the stream has.
    pub(super) fn read<T>(&mut self, frame: &[u8], look: impl FnOnce(&DecodedBatch<'_>) -> T) -> Option<T> {
        let mut scratch = DecodeScratch::default();
        let batch = decode_with(self, frame, &Limits::default(), &mut scratch).expect("sound");
        if batch.references_unknown() {
            return None;
        }
        self.version += u32::from(!batch.references().is_empty());
        self.by_id.extend(batch.references().iter().map(|kept| (kept.id, kept.reference)));
        Some(look(&batch))
    }

    fn points(&mut self, frame: &[u8]) -> Option<Vec<(u32, i64, u64)>> {
        self.read(frame, |batch| {
            let columns = batch.series_ids().iter().zip(batch.timestamps_unix_ns()).zip(batch.values());
            columns.map(|((&id, &time), value)| (id, time, value.to_bits())).collect()
        })
    }
}

impl References for Known {
    fn version(&self) -> u32 {
        self.version
    }

    fn reference(&self, id: u32) -> Option<Reference> {
        self.by_id.get(&id).copied()
    }
}

/// Points of series by their number: one reading, or several.
fn batch(points: &[(u32, f64)]) -> OutgoingBatch {
    let series = (0..64).map(|place| OutgoingSeries {
        name: format!("m{place}").into(),
        tags: Vec::new(),
        metric_type: 2,
        unit: "".into(),
        delta: false,
    });
    let index = points.iter().map(|&(series, _)| series).collect::<Vec<_>>();
    let times = vec![1_790_000_000_000_000_000; points.len()];
    let values = points.iter().map(|&(_, value)| value).collect();
    OutgoingBatch::new(Vec::new(), series.collect(), index, times, values).expect("consistent")
}

fn encoder(form: Form) -> FrameEncoder {
    let settings =
        EncoderSettings { form, references: true, compression: Compression::None, ..EncoderSettings::default() };
    FrameEncoder::new(settings).expect("memory")
}

fn frame(encoder: &mut FrameEncoder, points: &[(u32, f64)]) -> Vec<u8> {
    let mut frame = Vec::new();
    encoder.frame(Some(&batch(points)), BatchName::default(), None, &mut frame).expect("small");
    frame.split_off(4)
}

fn bits(points: &[(u32, f64)]) -> Vec<u64> {
    points.iter().map(|(_, value)| value.to_bits()).collect()
}

#[test]
fn what_does_not_change_takes_a_bit() {
    let (mut encoder, mut known) = (encoder(Form::Dense), Known::default());
    let points: Vec<_> = (0..64).map(|series| (series, f64::from(series) * 1e6)).collect();
    assert!(known.points(&frame(&mut encoder, &points)).is_some());
    let again = frame(&mut encoder, &points);
    assert_eq!(known.points(&again).map(|read| read.len()), Some(64));
    assert!(again.len() <= 32 + 64 / 8, "{} bytes", again.len());
}

#[test]
fn hundredths_are_found_where_their_longest_product_is_half_a_unit_off() {
    let mut dense = encoder(Form::Dense);
    let first = frame(&mut dense, &[(0, 33.52)]);
    let heads = [&[0x42, 4, 0x82, 1][..], &[0xb0, 0x34]].concat();
    assert!(first.windows(heads.len()).any(|bytes| bytes == heads), "3352 hundredths: {first:02x?}");
}

#[test]
fn references_are_renewed_before_distances_grow() {
    let (mut dense, mut known) = (encoder(Form::Dense), Known::default());
    let counter = |turn: u32| [(0, 1e9 + f64::from(turn) * 999_999.0), (1, 7.0)];
    let lengths: Vec<_> = (0..300)
        .map(|turn| {
            let frame = frame(&mut dense, &counter(turn));
            let read = known.points(&frame).expect("nothing was lost");
            assert_eq!(read.iter().map(|point| point.2).collect::<Vec<_>>(), bits(&counter(turn)));
            frame.len()
        })
        .collect();
    assert!(known.version > 60, "{}", known.version);
    // The version takes a byte more from 128 on.
    let longest = *lengths[1..].iter().max().expect("many");
    assert!(longest <= lengths[1] + 2, "{lengths:?}");
}

#[test]
fn a_frame_that_was_lost_with_what_it_kept_is_noticed() {
    let (mut encoder, mut known) = (encoder(Form::Dense), Known::default());
    let readings = [[(0, 1.0), (1, 10.5)], [(0, 1.25), (1, 10.5)], [(0, 1.25), (1, 10.5)], [(0, 1.5), (1, 11.0)]];
    let frames = readings.map(|points| frame(&mut encoder, &points));
    assert_eq!(Known::default().points(&frames[1]), None, "without the first one nothing can be told");
    assert!(known.points(&frames[0]).is_some());
    // The second told 1.25 in full, because the tenths or whole numbers of before could not say it.
    assert_eq!(known.points(&frames[2]), None, "without the second one neither");
    assert_eq!((known.version, known.by_id.len()), (1, 2), "and nothing is kept of it");
    assert!(frames[1..].iter().all(|frame| known.points(frame).is_some()));
    assert_eq!(known.version, 2);
}

#[test]
fn a_frame_that_was_not_made_leaves_no_trace() {
    let settings =
        EncoderSettings { form: Form::Dense, references: true, frame_bytes_max: 100, ..EncoderSettings::default() };
    let (mut encoder, mut known) = (FrameEncoder::new(settings).expect("memory"), Known::default());
    assert!(known.points(&frame(&mut encoder, &[(0, 1.0)])).is_some());
    let large: Vec<_> = (0..64).map(|series| (series, 0.1 + f64::from(series))).collect();
    encoder.frame(Some(&batch(&large)), BatchName::default(), None, &mut Vec::new()).expect_err("too large");
    for points in [[(0, 1.0)], [(0, 1.5)], [(1, 2.0)]] {
        let read = known.points(&frame(&mut encoder, &points)).expect("what the encoder counts on is there");
        assert_eq!(read.iter().map(|point| point.2).collect::<Vec<_>>(), bits(&points));
    }
}

/// One round of one series, with these heads and bits.
fn columns(heads: &[u8], bits: &[u8]) -> Vec<u8> {
    message(6, [bytes(1, [7]), number(5, 1), bytes(8, heads), bytes(9, bits)])
}

#[test]
fn distances_are_whole() {
    let truncated = Fault::Wire(WireFault::Truncated);
    for (bits, why) in [
        (&[][..], truncated),
        (&[0x03], truncated),
        (&[0x0f, 0, 0, 0], truncated),
        (&[0x00, 0x00], Fault::DenseBytesBehind),
    ] {
        assert_eq!(fault([columns(&[0x20, 1], bits)]).fault, why, "{bits:?}");
        assert_eq!(fault([columns(&[0xa0, 1], bits)]).fault, why, "{bits:?}");
    }
    let mut scratch = DecodeScratch::default();
    for bits in [&[0x00][..], &[0x11], &[0x0f, 0, 0, 0, 0]] {
        let frame = columns(&[0x20, 1], bits);
        let read = decode(&frame, &Limits::default(), &mut scratch).expect("sound");
        assert!(read.references_unknown(), "but there is nothing to be distant from");
    }
}

#[test]
fn distances_wrap_around() {
    let mut known = Known { version: 1, by_id: [(7, Reference { scale: 63, number: i64::MAX })].into() };
    let frame = message(6, [bytes(1, [7]), number(5, 1), bytes(8, [0xa0, 1]), bytes(9, [0x21]), number(10, 1)]);
    let read = known.points(&frame).expect("known");
    assert_eq!(read[0].2, i64::MIN as u64);
    assert_eq!(known.by_id[&7], Reference { scale: 63, number: i64::MIN });
}

/// What a value does from one reading to the next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Stays,
    Moves(f64),
    Is(f64),
}

/// Readings of series that mostly go on as they are, or a little further, with all that a double can be here and there;
/// of all the series or of some, once or several times.
fn readings() -> impl Strategy<Value = Vec<Vec<(u32, f64)>>> {
    let step = prop_oneof![
        4 => Just(Step::Stays),
        4 => (-300..300_i32).prop_map(|step| Step::Moves(f64::from(step) / 4.0)),
        1 => reading().prop_map(Step::Is),
    ];
    let some = prop::collection::vec((0..12_u32, step), 1..30);
    let batches = prop::collection::vec((some, 1..4_usize, any::<bool>()), 1..24);
    (prop::collection::vec(reading(), 12), batches).prop_map(|(mut values, batches)| {
        let mut batch = |(steps, rounds, whole): (Vec<(u32, Step)>, usize, bool)| {
            let mut points = Vec::new();
            for (series, step) in steps {
                let value = &mut values[series as usize];
                *value = match step {
                    Step::Stays => *value,
                    Step::Moves(by) => *value + by,
                    Step::Is(other) => other,
                };
                points.push((series, *value));
            }
            if whole {
                points = (0..12).map(|series| (series, values[series as usize])).collect();
            }
            points.repeat(rounds)
        };
        batches.into_iter().map(&mut batch).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_says_what_plain_columns_say(readings in readings(), lost in any::<prop::sample::Index>()) {
        let [mut dense, mut plain] = [Form::Dense, Form::Columnar].map(encoder);
        let (mut known, mut lossy) = (Known::default(), Known::default());
        let lost = lost.index(readings.len());
        for (place, points) in readings.iter().enumerate() {
            let (frame, plain) = (frame(&mut dense, points), frame(&mut plain, points));
            let expected = Known::default().points(&plain);
            prop_assert_eq!(&known.points(&frame), &expected);
            if place != lost {
                // What can be told without one of the frames is right; else it is known that it cannot be told.
                let read = lossy.points(&frame);
                prop_assert!(read.is_none() || read == expected);
            }
        }
    }
}
