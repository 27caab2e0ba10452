//! Every rule whose breach makes a whole frame malformed, each with a frame that just keeps it.

use super::{bytes, fault, fixed, is_sound, malformed, message, number};
use crate::wire::decode::Fault;
use crate::wire::proto::{WireFault, put_varint, zigzag};

const SEQUENCE: u64 = 42;

fn sequence() -> Vec<u8> {
    number(1, SEQUENCE)
}

fn packed(numbers: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for &number in numbers {
        put_varint(&mut out, number);
    }
    out
}

/// `PointColumns` with these columns, packed.
fn points(ids: &[u64], base: u64, deltas: &[i64], values: usize) -> Vec<u8> {
    let deltas = deltas.iter().map(|&delta| zigzag(delta)).collect::<Vec<_>>();
    message(6, [bytes(1, packed(ids)), fixed(2, base), bytes(3, packed(&deltas)), bytes(4, vec![0; values * 8])])
}

#[test]
fn bytes_that_are_no_protobuf_are_malformed_wherever_they_stand() {
    let truncated = malformed(SEQUENCE, Fault::Wire(WireFault::Truncated));
    let invalid = malformed(SEQUENCE, Fault::Wire(WireFault::InvalidKey));
    for field in [3, 4, 5, 6, 7, 8] {
        assert_eq!(fault([sequence(), bytes(field, [0x0a, 2, 1])]), truncated, "in field {field}");
        assert_eq!(fault([sequence(), bytes(field, [0x00])]), invalid, "in field {field}");
    }
    // One level deeper: tags of metrics and definitions, histograms, summaries and their quantiles, running tasks.
    for (field, inner) in [(4, 2), (5, 3), (4, 7), (4, 8), (7, 5)] {
        assert_eq!(fault([sequence(), message(field, [bytes(inner, [0x0c])])]), invalid, "in {field}.{inner}");
    }
    assert_eq!(fault([sequence(), message(4, [message(8, [bytes(3, [0x09, 1])])])]), truncated);
}

#[test]
fn packed_numbers_end_with_their_field() {
    let truncated = malformed(SEQUENCE, Fault::Wire(WireFault::Truncated));
    let id_goes_on = message(6, [bytes(1, [0x80])]);
    let delta_goes_on = message(6, [bytes(1, [1]), bytes(3, [1, 0x80]), bytes(4, [0; 8])]);
    let value_is_short = message(6, [bytes(1, [1]), bytes(4, [0; 15])]);
    let bound_is_short = message(4, [message(7, [bytes(5, [0; 7])])]);
    let count_goes_on = message(4, [message(7, [bytes(6, [0x80])])]);
    for frame in [id_goes_on, delta_goes_on, value_is_short, bound_is_short, count_goes_on] {
        assert_eq!(fault([sequence(), frame.clone()]), truncated, "{frame:02x?}");
    }
}

#[test]
fn the_answer_names_the_sequence_that_was_read_before_the_fault() {
    assert_eq!(fault([sequence(), bytes(4, [0x0c])]).sequence, SEQUENCE);
    assert_eq!(fault([bytes(4, [0x0c]), sequence()]).sequence, 0);
    assert_eq!(fault([sequence(), number(1, 43), bytes(4, [0x0c])]).sequence, 43, "the last one wins");
    assert_eq!(fault([fixed(2, 7)]).sequence, 0);
    assert_eq!(fault([bytes(8, []), sequence()]).sequence, SEQUENCE, "the body is inflated when all was read");
}

#[test]
fn columns_have_one_element_a_point() {
    let unequal =
        |series_ids, timestamps, values| malformed(0, Fault::UnequalColumns { series_ids, timestamps, values });
    assert_eq!(fault([points(&[1, 2], 5, &[], 1)]), unequal(2, 2, 1));
    assert_eq!(fault([points(&[1], 5, &[], 2)]), unequal(1, 1, 2));
    assert_eq!(fault([points(&[1, 2], 5, &[1], 2)]), unequal(2, 1, 2));
    assert_eq!(fault([points(&[1], 5, &[1, 2], 1)]), unequal(1, 2, 1));
    assert_eq!(fault([points(&[], 5, &[1], 0)]), unequal(0, 1, 0));
    assert_eq!(
        fault([points(&[1], 5, &[], 2), points(&[1, 2], 5, &[], 1)]),
        unequal(1, 1, 2),
        "each message by itself"
    );
    assert!(is_sound([points(&[1, 2], 5, &[1, 1], 2)]));
    assert!(is_sound([points(&[], 0, &[], 0)]));
}

#[test]
fn timestamps_are_signed_64_bit_numbers() {
    let out_of_range = malformed(0, Fault::TimestampOutOfRange);
    let max = i64::MAX as u64;
    assert_eq!(fault([message(4, [fixed(5, max + 1)])]), out_of_range, "of a row");
    assert_eq!(fault([points(&[1], max + 1, &[], 1)]), out_of_range, "of a base");
    assert_eq!(fault([points(&[1], max + 1, &[-1], 1)]), out_of_range, "of a base, although the point would be");
    assert_eq!(fault([points(&[1, 1], max, &[0, 1], 2)]), out_of_range, "above");
    assert_eq!(fault([points(&[1, 1], 0, &[i64::MIN, -1], 2)]), out_of_range, "below");
    assert_eq!(fault([message(7, [fixed(6, max + 1)])]), out_of_range, "of a heartbeat");
    assert_eq!(fault([message(7, [message(5, [fixed(4, max + 1)])])]), out_of_range, "of a task");
    assert!(is_sound([
        message(4, [fixed(5, max)]),
        points(&[1, 1], max, &[0, -1], 2),
        points(&[1], 0, &[i64::MIN], 1)
    ]));
    assert!(is_sound([message(4, [fixed(5, max + 1), fixed(5, 1)])]), "the last one wins");
    assert!(is_sound([message(7, [fixed(6, max + 1)]), message(7, [fixed(6, 1)])]), "also of merged messages");
}

#[test]
fn names_are_in_range() {
    let max = i64::MAX as u64;
    assert_eq!(fault([number(1, max + 1)]), malformed(max + 1, Fault::SequenceOutOfRange));
    assert_eq!(fault([number(1, u64::MAX), fixed(2, 1)]), malformed(u64::MAX, Fault::SequenceOutOfRange));
    assert_eq!(fault([fixed(2, 1)]), malformed(0, Fault::EpochWithoutSequence));
    assert_eq!(fault([number(1, 5), fixed(2, 1), number(9, 6)]), malformed(5, Fault::OldestAboveSequence));
    assert_eq!(fault([number(9, 1)]), malformed(0, Fault::OldestAboveSequence));
    assert!(is_sound([number(1, max), fixed(2, u64::MAX), number(9, max)]));
    assert!(is_sound([number(1, 5), fixed(2, 0), number(9, 5)]), "a sequence without an epoch is no fault");
}
