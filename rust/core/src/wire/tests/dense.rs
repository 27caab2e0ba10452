//! The dense form of points: what it can say, what it must not, and that no small frame makes much of itself.

use proptest::prelude::*;

use super::dense_reference::VERSION;
use super::differential::Bytes;
use super::{bytes, fault, fault_of, fixed, is_sound, malformed, message, number};
use crate::limits::Limits;
use crate::wire::decode::{DecodeScratch, Fault, decode};
use crate::wire::dense::scale::Scale;
use crate::wire::dense::{DENSE_POINTS_MAX, DISTANCE, KEPT};
use crate::wire::encode::{BatchName, EncoderSettings, Form, FrameEncoder, OutgoingBatch, OutgoingSeries};
use crate::wire::proto::{WireFault, put_varint, zigzag};

fn varints(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut out = Vec::new();
    numbers.into_iter().for_each(|number| put_varint(&mut out, number));
    out
}

/// `PointColumns` of series 7, 8 and 9 in two rounds, with other bytes in some of its fields.
fn columns(changes: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let fields = [
        (1, bytes(1, [7])),
        (5, number(5, 6)),
        (6, bytes(6, varints([zigzag(1), 1]))),
        (7, bytes(7, varints([zigzag(1_000), zigzag(10), 0]))),
        (8, bytes(8, [2, 2, 4, 2, 0, 8, 63, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0])),
        (9, bytes(9, [0x21])),
    ];
    let kept = fields.iter().filter(|(field, _)| changes.iter().all(|(changed, _)| changed != field));
    let all = kept.map(|(_, field)| field).chain(changes.iter().map(|(_, field)| field));
    bytes(6, all.flatten().copied().collect::<Vec<_>>())
}

fn why(changes: &[(u32, Vec<u8>)]) -> Fault {
    fault([columns(changes)]).fault
}

/// Id, time and value of each point of a frame.
fn points(frame: &[u8]) -> Vec<(u32, i64, f64)> {
    let mut scratch = DecodeScratch::default();
    let batch = decode(frame, &Limits::default(), &mut scratch).expect("sound");
    let columns = batch.series_ids().iter().zip(batch.timestamps_unix_ns()).zip(batch.values());
    columns.map(|((&id, &time), &value)| (id, time, value)).collect()
}

#[test]
fn rounds_of_series_are_read_as_points_in_their_order() {
    let heads = [2, 2, 4, 2, 0, 8, 63, 1, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
    let frame = columns(&[(8, bytes(8, heads))]);
    assert_eq!(
        points(&frame),
        [(7, 1_000, 0.02), (8, 1_000, 0.04), (9, 1_000, 1.0), (7, 1_010, 0.03), (8, 1_010, 0.04), (9, 1_010, 1.0)]
    );
    assert!(is_sound([number(1, 3), frame.clone(), frame]), "as often as one likes");
}

#[test]
fn times_are_none_or_one_or_one_a_round_or_one_a_point() {
    let times = |runs: Vec<u8>| {
        let heads = [2, 3, 0, 0, 0, 0, 0, 0];
        let frame = columns(&[(7, bytes(7, runs)), (8, bytes(8, heads)), (9, vec![])]);
        points(&frame).into_iter().map(|(_, time, _)| time).collect::<Vec<_>>()
    };
    assert_eq!(times(vec![]), [0; 6], "the time of receipt");
    assert_eq!(times(varints([zigzag(-5)])), [-5; 6]);
    assert_eq!(times(varints([zigzag(0)])), [1; 6], "a time that is told is never that of receipt");
    assert_eq!(times(varints([zigzag(i64::MIN), zigzag(i64::MAX), 0])), [i64::MIN, i64::MIN, i64::MIN, -1, -1, -1]);
    assert_eq!(times(varints([zigzag(9), zigzag(-4), 1, zigzag(3), 2])), [9, 5, 1, 0, -1, -2].map(not_receipt));
}

fn not_receipt(time: i64) -> i64 {
    if time == 0 { 1 } else { time }
}

#[test]
fn nothing_plain_stands_beside_dense_columns_but_the_first_id() {
    for change in [(1, vec![]), (1, bytes(1, [7, 8])), (2, fixed(2, 1)), (3, bytes(3, [2])), (4, bytes(4, [0; 8]))] {
        assert_eq!(why(std::slice::from_ref(&change)), Fault::DenseBesidePlain, "{change:?}");
    }
    assert_eq!(why(&[(1, vec![]), (5, vec![]), (6, vec![]), (7, vec![]), (8, vec![])]), Fault::DenseBesidePlain);
    assert_eq!(why(&[(5, vec![])]), Fault::DensePoints { points: 0 });
}

#[test]
fn bytes_of_plain_columns_that_are_no_whole_elements_do_not_pass_beside_dense_ones() {
    for change in [(1, bytes(1, [7, 0x80])), (3, bytes(3, [0x80])), (4, bytes(4, [0; 3]))] {
        assert_eq!(why(std::slice::from_ref(&change)), Fault::DenseBesidePlain, "{change:?}");
    }
    for empty in [bytes(1, []), bytes(3, []), bytes(4, [])] {
        assert!(is_sound([number(1, 3), columns(&[(4, empty)])]), "no elements are none");
    }
}

#[test]
fn columns_are_of_equal_length() {
    let unequal = |points, series, times| Fault::DenseUnequal { points, series, times };
    assert_eq!(why(&[(5, number(5, 7))]), unequal(7, 3, 2));
    assert_eq!(why(&[(5, number(5, 3))]), unequal(3, 3, 2));
    assert_eq!(why(&[(7, bytes(7, varints([0, 0, 1])))]), unequal(6, 3, 3));
    assert_eq!(why(&[(5, number(5, 2))]), unequal(2, 3, 2));
    assert_eq!(why(&[(6, bytes(6, varints([2, u64::MAX])))]), Fault::DenseRuns { points: 6 });
    assert_eq!(why(&[(7, bytes(7, varints([2, 0, u64::MAX - 1])))]), Fault::DenseRuns { points: 6 });
}

#[test]
fn runs_stay_in_their_range() {
    let id = |first, step| {
        let first = varints([first]);
        why(&[(1, bytes(1, first)), (6, bytes(6, varints([zigzag(step), 1])))])
    };
    assert_eq!(id(0, -1), Fault::SeriesIdOutOfRange);
    assert_eq!(id(u64::from(u32::MAX) - 1, 1), Fault::SeriesIdOutOfRange);
    assert_eq!(id(1, i64::MAX), Fault::SeriesIdOutOfRange);
    let time = |numbers: &[u64]| why(&[(7, bytes(7, varints(numbers.iter().copied())))]);
    assert_eq!(time(&[zigzag(i64::MAX), zigzag(1), 0]), Fault::TimestampOutOfRange);
    assert_eq!(time(&[zigzag(i64::MIN), zigzag(-1), 0]), Fault::TimestampOutOfRange);
    let steps = [0, zigzag(i64::MAX), 0, zigzag(1), 0];
    assert_eq!(
        fault([columns(&[(5, number(5, 3)), (6, vec![]), (7, bytes(7, varints(steps)))])]).fault,
        Fault::TimestampOutOfRange,
        "of a step"
    );
}

#[test]
fn heads_and_bits_are_exactly_what_the_values_need() {
    let truncated = Fault::Wire(WireFault::Truncated);
    let heads = |heads: &[u8]| why(&[(8, bytes(8, heads))]);
    for scale in [23, 31, 33, 62, 128 + 23, 128 + 62] {
        assert_eq!(heads(&[scale, 3, 0, 0, 0, 0, 0, 0]), Fault::DenseScale(scale));
    }
    assert_eq!(heads(&[0, 0]), Fault::DenseGroup);
    assert_eq!(heads(&[0, 4, 0, 0, 0, 0, 0, 0, 0, 0]), Fault::DenseGroup);
    assert_eq!(heads(&[0, 3, 65, 0, 0, 0, 0, 0]), Fault::DenseWidth(65));
    assert_eq!(heads(&[0, 3, 1, 0, 0, 0, 0]), truncated);
    assert_eq!(heads(&[63, 3, 0, 1, 2, 3, 4, 5, 6, 7]), truncated);
    assert_eq!(heads(&[0, 3, 5, 0, 0, 0, 0, 0]), truncated, "of ten bits eight are there");
    assert_eq!(heads(&[0, 3, 0, 0, 0, 0, 0, 0]), Fault::DenseBytesBehind, "bits that nobody needs");
    assert_eq!(heads(&[0, 3, 1, 0, 0, 0, 0, 0, 0]), Fault::DenseBytesBehind);
    assert_eq!(why(&[(8, vec![])]), truncated);
    assert_eq!(why(&[(9, vec![])]), truncated);
    assert_eq!(why(&[(9, bytes(9, [1, 0]))]), Fault::DenseBytesBehind);
}

#[test]
fn the_answer_names_the_sequence() {
    assert_eq!(fault([number(1, 42), columns(&[(5, vec![])])]), malformed(42, Fault::DensePoints { points: 0 }));
}

/// One series at one time, and the same value again and again.
fn flat(points: u64) -> Vec<u8> {
    let heads: &[u8] = if points == 1 { &[0, 1, 2] } else { &[0, 1, 0, 2] };
    message(6, [bytes(1, [7]), number(5, points), bytes(8, heads)])
}

#[test]
fn points_beyond_the_limit_are_counted_and_not_expanded() {
    let limits = Limits { max_batch_size: 1_000, ..Limits::default() };
    let mut scratch = DecodeScratch::default();
    let batch = decode(&flat(1_000), &limits, &mut scratch).map(|batch| (batch.points, batch.values().len()));
    assert_eq!(batch, Ok((1_000, 1_000)));
    let two = [flat(1), flat(1_000)].concat();
    let batch = decode(&two, &limits, &mut scratch).map(|batch| (batch.points, batch.values().len()));
    assert_eq!(batch, Ok((1_001, 1)));
    let mut scratch = DecodeScratch::default();
    let many = flat(DENSE_POINTS_MAX as u64);
    let batch = decode(&many, &limits, &mut scratch).map(|batch| (batch.points, batch.values().len()));
    assert_eq!(batch, Ok((DENSE_POINTS_MAX, 0)));
    assert_eq!(scratch.memory_bytes(), 0);
}

#[test]
fn no_batch_claims_more_points_than_any_collector_takes() {
    let max = DENSE_POINTS_MAX as u64;
    let too_many = Fault::DensePoints { points: DENSE_POINTS_MAX + 1 };
    assert_eq!(fault([flat(max + 1)]).fault, too_many);
    assert_eq!(fault([flat(max), flat(1)]).fault, too_many, "over all messages of the batch");
    assert_eq!(fault([flat(1), flat(max)]).fault, too_many, "with those that were read");
    assert_eq!(
        fault_of(&flat(u64::from(u32::MAX)), &Limits::default()).fault,
        Fault::DensePoints { points: u32::MAX as usize }
    );
}

/// Dense columns, some of them malformed: every scale and width, ids and times in runs of all kinds.
pub(super) fn dense_columns() -> Bytes {
    let run = (prop_oneof![9 => -3_i64..4, 1 => any::<i64>()], 0..3_u64);
    let runs = prop::collection::vec(run, 0..3);
    let first_time = prop_oneof![9 => 0..1_i64 << 61, 1 => any::<i64>()];
    let head = (any::<u8>(), 1..9_u64, prop_oneof![9 => 0..20_u8, 1 => 0..70_u8], any::<i64>(), 0..64_u32);
    let heads = prop::collection::vec(head, 6);
    // The version that the stream has, mostly.
    let references = prop_oneof![9 => Just(u64::from(VERSION)), 1 => any::<u64>()];
    let shape = (1..5_usize, any::<bool>(), 0..20_u8, prop_oneof![9 => Just(0), 1 => -1..2_i64]);
    (
        any::<u32>(),
        runs.clone(),
        (first_time, runs),
        heads,
        prop::collection::vec(any::<bool>(), 1..200),
        shape,
        references,
    )
        .prop_map(|(id, series, (time, times), heads, random, (rounds, with_times, scales, surplus), references)| {
            let numbers = |runs: &[(i64, u64)]| 1 + runs.iter().map(|&(_, further)| further + 1).sum::<u64>() as usize;
            let encoded =
                |runs: &[(i64, u64)]| varints(runs.iter().flat_map(|&(step, further)| [zigzag(step), further]));
            let series_count = numbers(&series);
            // Mostly as many rounds as there are times.
            let rounds = if with_times && scales > 2 { numbers(&times) } else { rounds };
            let (mut value_heads, mut left) = (Vec::new(), series_count);
            let (mut random, mut value_bits) = (random.into_iter().cycle(), Vec::new());
            for (scale, group, width, least, shift) in heads.into_iter().cycle() {
                let group = (group as usize).min(left);
                value_heads.push(if scale > 250 {
                    scale
                } else {
                    [scale % 23, 63, 64 + scale % 64, DISTANCE][usize::from(scale) % 4] | scale & KEPT
                });
                put_varint(&mut value_heads, group as u64);
                for place in 0..group {
                    if rounds > 1 {
                        value_heads.push(width);
                    }
                    let least = (least >> shift).wrapping_add(place as i64);
                    match scale % 4 {
                        1 if scale <= 250 => value_heads.extend(least.to_le_bytes()),
                        3 if scale <= 250 => put_distance(&mut value_bits, &mut random),
                        _ => put_varint(&mut value_heads, zigzag(least)),
                    }
                    if rounds > 1 {
                        value_bits.extend((0..usize::from(width) * rounds).map(|_| random.next() == Some(true)));
                    }
                }
                left -= group;
                if left == 0 {
                    break;
                }
            }
            let mut bits: Vec<u8> = value_bits
                .chunks(8)
                .map(|bits| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit)))
                .collect();
            bits.resize((bits.len() as i64 + surplus).max(0) as usize, 0x5a);
            let points = number(5, (series_count * rounds) as u64);
            let mut time_runs = Vec::new();
            if with_times {
                time_runs = [varints([zigzag(time)]), encoded(&times)].concat();
            }
            [
                bytes(1, varints([u64::from(id)])),
                points,
                bytes(6, encoded(&series)),
                bytes(7, time_runs),
                bytes(8, value_heads),
                bytes(9, bits),
                number(10, references),
            ]
            .concat()
        })
        .boxed()
}

/// A distance of no digits or of up to eight, at random.
fn put_distance(bits: &mut Vec<bool>, random: &mut impl Iterator<Item = bool>) {
    let mut next = || random.next().expect("an endless cycle");
    bits.push(next());
    if bits.last() == Some(&true) {
        let digits_less_one = [next(), next(), next()];
        bits.extend(digits_less_one);
        let digits = 1 + digits_less_one.iter().rev().fold(0, |number, &bit| number << 1 | usize::from(bit));
        bits.extend((0..digits * 4).map(|_| next()));
    }
}

/// Doubles as readings have them, and all that they could be besides.
pub(super) fn reading() -> impl Strategy<Value = f64> {
    let decimal = (any::<i32>(), 0..10_i32).prop_map(|(number, digits)| f64::from(number) / 10_f64.powi(digits));
    let binary = (any::<i64>(), 0..64_u32, -40..40_i32)
        .prop_map(|(number, shift, power)| (number >> shift) as f64 * 2_f64.powi(power));
    let odd = prop::sample::select(vec![
        0.0,
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        f64::MIN_POSITIVE,
        5e-324,
        f64::MAX,
        f64::MIN,
        1e22,
        1e23,
        9_007_199_254_740_992.0,
        9_007_199_254_740_993.0,
        4_503_599_627_370_497.0,
        9.223_372_036_854_776e18,
        0.1,
        0.3,
    ]);
    prop_oneof![4 => decimal, 4 => binary, 1 => odd, 1 => any::<u64>().prop_map(f64::from_bits)]
}

/// Batches of rounds, cut anywhere, with a point too many here and there.
fn rounds() -> impl Strategy<Value = (Vec<u32>, Vec<i64>, Vec<f64>)> {
    let values = prop::collection::vec(reading(), 1..7);
    let series = prop::collection::vec((values, 0..4_usize), 1..40);
    let time =
        prop_oneof![9 => 1_790_000_000_000_000_000..1_790_000_000_000_000_009_i64, 1 => 0..i64::MAX, 1 => Just(0)];
    let times = prop::collection::vec(time, 1..9);
    (series, times, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(series, times, cut, extra, by_point)| {
            let mut points = Vec::new();
            for (round, &time) in times.iter().enumerate() {
                for (id, (values, jitter)) in series.iter().enumerate() {
                    // Some series stay what they are, others go through their values.
                    let value = if *jitter == 0 { values[0] } else { values[round % values.len()] };
                    points.push((id as u32, time.saturating_add(if by_point { *jitter as i64 } else { 0 }), value));
                }
            }
            let start = cut.index(points.len());
            let extra = extra.index(points.len());
            points.insert(extra, points[start]);
            let points = &points[start..];
            (
                points.iter().map(|point| point.0).collect(),
                points.iter().map(|point| point.1).collect(),
                points.iter().map(|point| point.2).collect(),
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_dense_form_says_what_the_plain_one_says((index, times, values) in rounds()) {
        let series = (0..40).map(|place| OutgoingSeries {
            name: format!("m{place}").into(), tags: Vec::new(), metric_type: 2, unit: "".into(), delta: false,
        });
        let batch = OutgoingBatch::new(Vec::new(), series.collect(), index, times, values).expect("consistent");
        let read = [Form::Dense, Form::Columnar].map(|form| {
            let mut encoder = FrameEncoder::new(EncoderSettings { form, ..EncoderSettings::default() }).expect("memory");
            let mut frame = Vec::new();
            encoder.frame(Some(&batch), BatchName::default(), None, &mut frame).expect("small");
            points(&frame[4..]).into_iter().map(|(id, time, value)| (id, time, value.to_bits())).collect::<Vec<_>>()
        });
        prop_assert_eq!(&read[0], &read[1]);
    }

    #[test]
    fn a_number_stands_for_its_double_and_no_other(value in reading(), scale in 0_u8..128) {
        if let Some(scale) = Scale::parse(scale) {
            prop_assert_eq!(Scale::parse(scale.byte()), Some(scale));
            if let Some(number) = scale.number(value) {
                let mut heads = vec![scale.byte(), 1];
                if scale == Scale::Raw {
                    heads.extend(number.to_le_bytes());
                } else {
                    put_varint(&mut heads, zigzag(number));
                }
                let frame = message(6, [bytes(1, [0]), self::number(5, 1), bytes(8, heads)]);
                prop_assert_eq!(points(&frame)[0].2.to_bits(), value.to_bits());
            }
        }
    }
}
