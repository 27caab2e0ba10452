//! What decoding makes of sound frames: merging, surplus, places of keys, memory.

use super::{bytes, fixed, message, number, tag};
use crate::limits::{BUCKETS_MAX, Limits, QUANTILES_MAX, RUNNING_TASKS_MAX, TAGS_MAX};
use crate::wire::decode::{DecodeScratch, DecodedBatch, RECEIPT_TIME, RowData, decode};
use crate::wire::proto::zigzag;

/// Decodes a sound frame and looks at it.
fn read<T>(frame: &[u8], look: impl FnOnce(&DecodedBatch<'_>) -> T) -> T {
    look(&decode(frame, &Limits::default(), &mut DecodeScratch::default()).expect("sound"))
}

fn bits(value: f64) -> u64 {
    value.to_bits()
}

#[test]
fn the_last_scalar_wins_and_of_a_oneof_the_last_member() {
    let histogram = |count| message(7, [number(1, count), bytes(6, [1, 2])]);
    let cases: [(Vec<Vec<u8>>, RowData); 5] = [
        (vec![fixed(6, bits(1.0)), fixed(6, bits(2.0))], RowData::Value(2.0)),
        (vec![histogram(3), fixed(6, bits(2.0))], RowData::Value(2.0)),
        (vec![fixed(6, bits(2.0)), histogram(3)], RowData::Histogram(0)),
        (vec![histogram(3), bytes(8, [])], RowData::Summary(0)),
        (vec![], RowData::None),
    ];
    for (fields, expected) in cases {
        read(&bytes(4, fields.concat()), |batch| assert_eq!(batch.rows()[0].data, expected));
    }
    let frame = message(4, [bytes(1, "a"), bytes(1, "b"), number(3, 1), number(3, 2), number(9, 1), number(9, 0)]);
    read(&frame, |batch| {
        let row = batch.rows()[0];
        assert_eq!((batch.text(row.name), row.metric_type, row.delta), (&b"b"[..], 2, false));
    });
}

#[test]
fn occurrences_of_a_message_merge_and_begin_anew_after_another_member() {
    let first = message(7, [number(1, 3), fixed(5, bits(1.0)), number(6, 1)]);
    let second = message(7, [fixed(2, bits(9.0)), bytes(5, bits(2.0).to_le_bytes()), bytes(6, [2, 0])]);
    let summary = message(8, [number(1, 5), message(3, [fixed(1, bits(0.5))])]);
    read(&bytes(4, [first.clone(), second.clone()].concat()), |batch| {
        let histogram = batch.histogram(0);
        assert_eq!((histogram.count, histogram.sum), (3, 9.0));
        assert_eq!((histogram.upper_bounds, histogram.bucket_counts), (&[1.0, 2.0][..], &[1, 2, 0][..]));
    });
    read(&bytes(4, [first, summary.clone(), second, summary.clone(), summary].concat()), |batch| {
        assert_eq!(batch.rows()[0].data, RowData::Summary(0));
        assert_eq!((batch.summary(0).count, batch.summary(0).quantiles.len()), (5, 2));
    });
    let heartbeats = [
        message(7, [bytes(1, "w"), fixed(2, bits(0.5)), message(5, [bytes(1, "a")])]),
        message(7, [fixed(3, bits(0.25)), message(5, [bytes(1, "b")])]),
    ];
    read(&heartbeats.concat(), |batch| {
        let heartbeat = batch.heartbeat().expect("sent");
        assert_eq!((heartbeat.cpu_usage, heartbeat.memory_usage, batch.running_tasks().len()), (0.5, 0.25, 2));
    });
}

#[test]
fn a_known_number_with_another_wire_type_is_an_unknown_field() {
    let row = message(4, [number(1, 5), fixed(2, 5), bytes(3, "x"), number(5, 5), number(6, 5), bytes(9, "x")]);
    let frame = [bytes(1, "x"), number(2, 5), number(4, 5), row, fixed(6, 5), number(7, 5), bytes(9, "x")].concat();
    read(&frame, |batch| {
        assert_eq!((batch.sequence, batch.epoch, batch.oldest_unacknowledged, batch.points), (0, 0, 0, 1));
        let row = batch.rows()[0];
        assert_eq!((row.name.len, row.tags.len, row.metric_type, row.timestamp_unix_ns), (0, 0, 0, RECEIPT_TIME));
        assert_eq!((row.data, row.delta, batch.heartbeat()), (RowData::None, false, None));
    });
}

#[test]
fn invalid_utf8_is_for_the_point_to_answer_for() {
    let frame = [message(4, [bytes(1, [0xff, 0xfe]), message(2, [bytes(1, [0x80]), bytes(2, [0xc0])])])].concat();
    read(&frame, |batch| {
        let row = batch.rows()[0];
        assert_eq!(batch.text(row.name), [0xff, 0xfe]);
        assert_eq!(batch.text(batch.tags(&row)[0].value), [0xc0]);
    });
}

#[test]
fn numbers_of_32_bits_are_cut_to_them() {
    let frame = [message(5, [number(1, 1 << 32 | 7), number(4, 1 << 32 | 2), number(6, 1 << 40)])].concat();
    read(&frame, |batch| {
        let definition = batch.definitions().next().expect("sent");
        assert_eq!((definition.id, definition.metric_type, definition.delta), (7, 2, true));
    });
}

#[test]
fn a_key_span_is_one_name_and_all_tags_in_one_place() {
    let (name, a, b) = (bytes(1, "cpu"), tag(2, "a", "1"), tag(2, "b", &"2".repeat(200)));
    let other = number(3, 2);
    let span_of = |fields: &[&Vec<u8>]| {
        let fields = fields.iter().flat_map(|field| field.iter().copied()).collect::<Vec<_>>();
        read(&bytes(4, fields), |batch| batch.rows()[0].key_span.map(|span| batch.text(span).to_vec()))
    };
    assert_eq!(span_of(&[&name, &a, &b, &other]), Some([&name[..], &a, &b].concat()));
    assert_eq!(span_of(&[&other, &name, &b]), Some([&name[..], &b].concat()));
    assert_eq!(span_of(&[&name]), Some(name.clone()));
    for scattered in [&[&a, &name][..], &[&name, &a, &other, &b], &[&name, &name, &a], &[&name, &a, &name], &[&a], &[]]
    {
        assert_eq!(span_of(scattered), None, "{scattered:02x?}");
    }
}

#[test]
fn tags_of_every_shape_are_read() {
    let long = "v".repeat(300);
    let long_key = "k".repeat(130);
    let tags: [(&str, &str); 5] = [("a", "1"), ("", ""), ("b", &long), (&long_key, "2"), ("c", "é")];
    let plain = tags.map(|(key, value)| tag(2, key, value));
    let odd = [
        message(2, [bytes(2, "value first"), bytes(1, "k")]),
        message(2, [bytes(1, "old"), bytes(1, "new"), bytes(2, "v"), number(7, 7)]),
        bytes(2, []),
    ];
    read(&message(4, [bytes(1, "n"), plain.concat(), odd.concat(), plain.concat()]), |batch| {
        let row = batch.rows()[0];
        let read = batch.tags(&row).iter().map(|tag| (batch.text(tag.key), batch.text(tag.value)));
        let plain = tags.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
        let odd = [(&b"k"[..], &b"value first"[..]), (b"new", b"v"), (b"", b"")];
        assert_eq!(read.collect::<Vec<_>>(), plain.clone().chain(odd).chain(plain).collect::<Vec<_>>());
        assert!(row.key_span.is_some());
    });
}

#[test]
fn only_a_missing_time_is_the_time_of_receipt() {
    let points = |base, deltas: &[i64]| {
        let packed = deltas.iter().map(|&delta| zigzag(delta) as u8).collect::<Vec<_>>();
        message(6, [bytes(1, [1, 1]), fixed(2, base), bytes(3, packed), bytes(4, [0; 16])])
    };
    let timestamps = |frame: &[u8]| read(frame, |batch| batch.timestamps_unix_ns().to_vec());
    assert_eq!(timestamps(&points(0, &[])), [RECEIPT_TIME; 2]);
    assert_eq!(timestamps(&points(9, &[])), [9, 9]);
    assert_eq!(timestamps(&points(9, &[1, -3])), [10, 7]);
    assert_eq!(timestamps(&points(5, &[-5, 0])), [1, 1], "the beginning of 1970 stays there");
    assert_eq!(timestamps(&points(5, &[-5, -1])), [1, -1], "and the next point counts from where it was");
}

#[test]
fn lists_that_are_too_long_keep_enough_to_be_refused() {
    let metric = |tags: usize| {
        let tags = (0..tags).flat_map(|place| tag(2, &format!("k{place}"), "v")).collect::<Vec<_>>();
        message(4, [bytes(1, "n"), tags, tag(2, "node_id", "other")])
    };
    for tags in [TAGS_MAX, TAGS_MAX + 1, 1_000] {
        read(&metric(tags), |batch| {
            let kept = batch.tags(&batch.rows()[0]);
            assert!(kept.len() > TAGS_MAX && kept.len() <= TAGS_MAX + 2, "{}", kept.len());
            assert!(
                kept.iter().any(|tag| batch.text(tag.key) == b"node_id"),
                "the node is judged however long the list"
            );
        });
    }
    let common = [tag(3, "k", "v").repeat(1_000), tag(3, "node_id", "other")].concat();
    read(&common, |batch| assert_eq!(batch.common_tags().len(), TAGS_MAX + 2));
    let histogram = message(4, [message(7, [bytes(5, vec![0; 16_000]), bytes(6, vec![1; 5_000])])]);
    read(&histogram, |batch| {
        assert_eq!(batch.histogram(0).upper_bounds.len(), BUCKETS_MAX + 1);
        assert_eq!(batch.histogram(0).bucket_counts.len(), BUCKETS_MAX + 1);
    });
    read(&message(4, [bytes(8, bytes(3, []).repeat(500))]), |batch| {
        assert_eq!(batch.summary(0).quantiles.len(), QUANTILES_MAX + 1);
    });
    read(&bytes(7, bytes(5, []).repeat(2_000)), |batch| assert_eq!(batch.running_tasks().len(), RUNNING_TASKS_MAX));
}

#[test]
fn rows_beyond_the_limit_are_counted_and_not_kept() {
    let limits = Limits { max_batch_size: 3, ..Limits::default() };
    let row = message(4, [bytes(1, "n"), tag(2, "a", "b"), message(7, [bytes(6, [1])])]);
    let points = message(6, [bytes(1, [1; 5]), bytes(4, [0; 40])]);
    let frame = [row.repeat(10), points].concat();
    let mut scratch = DecodeScratch::default();
    let batch = decode(&frame, &limits, &mut scratch).expect("sound");
    assert_eq!((batch.points, batch.rows().len(), batch.series_ids().len()), (15, 3, 5));
    assert!(batch.rows().iter().all(|row| batch.tags(row).len() == 1), "those kept are whole");
}

#[test]
fn a_scratch_forgets_the_batch_before() {
    let mut scratch = DecodeScratch::default();
    let limits = Limits::default();
    let full = [
        tag(3, "a", "b"),
        message(4, [bytes(1, "n"), tag(2, "a", "b"), bytes(7, [])]),
        message(5, [number(1, 7)]),
        message(6, [bytes(1, [1]), bytes(4, [0; 8])]),
        message(7, [message(5, [])]),
    ];
    assert_eq!(decode(&full.concat(), &limits, &mut scratch).expect("sound").points, 2);
    let empty = decode(&[], &limits, &mut scratch).expect("sound");
    assert_eq!((empty.points, empty.rows().len(), empty.common_tags().len()), (0, 0, 0));
    assert_eq!((empty.definitions().len(), empty.series_ids().len(), empty.heartbeat()), (0, 0, None));
    assert_eq!((empty.timestamps_unix_ns(), empty.values(), empty.running_tasks()), (&[][..], &[][..], &[][..]));
}

/// The bound that the decoder's header promises, doubled for the room that a growing vector has to spare.
#[test]
fn memory_is_bounded_by_the_bytes_that_came() {
    let limits = Limits::default();
    let single = |content: Vec<u8>| content.repeat(1_000_000 / content.len());
    let rows = limits.max_batch_size;
    let inner = |field, content: Vec<u8>| bytes(field, content.repeat(1_000_000 / content.len()));
    let hostile = [
        ("common tags", single(bytes(3, []))),
        ("rows", single(bytes(4, []))),
        ("tags of one row", inner(4, bytes(2, []))),
        ("tags of many rows", single(bytes(4, bytes(2, []).repeat(65)))),
        ("definitions", single(bytes(5, []))),
        ("columns", single(bytes(6, []))),
        ("ids", bytes(6, bytes(1, vec![0; 1_000_000]))),
        ("deltas", bytes(6, bytes(3, vec![0; 1_000_000]))),
        ("points", message(6, [bytes(1, vec![0; 100_000]), bytes(3, vec![0; 100_000]), bytes(4, vec![0; 800_000])])),
        ("tasks", inner(7, bytes(5, []))),
        ("histograms", single(bytes(4, bytes(7, [])))),
        ("histograms and values by turns", inner(4, [bytes(7, []), fixed(6, 0)].concat())),
        ("buckets", single(bytes(4, bytes(7, bytes(6, [0; 1_025]))))),
        ("summaries", single(bytes(4, bytes(8, bytes(3, []).repeat(65))))),
    ];
    for (name, frame) in hostile {
        let mut scratch = DecodeScratch::default();
        _ = decode(&frame, &limits, &mut scratch);
        let bound = 2 * (rows * 80 + 8 * frame.len()) + 64 * 1024;
        assert!(scratch.memory_bytes() <= bound, "{name}: {} over {bound}", scratch.memory_bytes());
        decode(&[], &limits, &mut scratch).expect("sound");
        assert!(scratch.memory_bytes() <= 2 * 1024 * 1024, "{name}: {} retained", scratch.memory_bytes());
    }
}
