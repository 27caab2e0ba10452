//! Any bytes, in every form.

use proptest::prelude::*;

use super::exposition::{Syntax, Target};
use super::*;
use crate::wire::{DecodeScratch, decode};

fn forms() -> [Form; 6] {
    [
        Form::Otlp(otlp::Ignored::new(["process."])),
        Form::OtlpJson(otlp::Ignored::default()),
        Form::Influx(Precision::NANOSECONDS, Renames::new([("host", "node_id")])),
        Form::Prometheus(Renames::default()),
        Form::Exposition(Syntax::Text, Target::default()),
        Form::Exposition(Syntax::OpenMetrics, Target::default()),
    ]
}

/// What is translated is batches within the limits, with as many points as are told.
fn check(form: &Form, encoding: Encoding, body: &[u8]) {
    let limits = Limits { max_batch_size: 4, frame_bytes_max: 1 << 20, inflated_bytes_max: 4_096, ..Limits::default() };
    let Ok(translated) = translate(form, encoding, body, &limits) else { return };
    let mut scratch = DecodeScratch::default();
    let mut points = 0;
    for frame in &translated.frames {
        let batch = decode(frame, &limits, &mut scratch).expect("a batch");
        assert!((1..=4).contains(&batch.points), "{} points", batch.points);
        points += batch.points as u64;
    }
    assert_eq!(points, translated.points);
}

/// Bytes that are often nearly a message: fields of low numbers, short lengths, nested.
fn nearly_protobuf() -> impl Strategy<Value = Vec<u8>> {
    let scalar = prop_oneof![
        (1..16_u8, 0..128_u8).prop_map(|(field, value)| vec![field << 3, value]),
        (1..16_u8, any::<[u8; 8]>()).prop_map(|(field, value)| [vec![field << 3 | 1], value.to_vec()].concat()),
        (1..16_u8, prop::collection::vec(any::<u8>(), 0..6)).prop_map(|(field, value)| [
            vec![field << 3 | 2, value.len() as u8],
            value
        ]
        .concat()),
    ];
    let message = scalar.prop_recursive(6, 64, 6, |inner| {
        (1..12_u8, prop::collection::vec(inner, 0..6)).prop_map(|(field, fields)| {
            let mut contents = fields.concat();
            contents.truncate(127);
            [vec![field << 3 | 2, contents.len() as u8], contents].concat()
        })
    });
    prop::collection::vec(message, 0..6).prop_map(|fields| fields.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_become_batches(body in prop::collection::vec(any::<u8>(), 0..300), form in 0..6_usize) {
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd, Encoding::Snappy] {
            check(&forms()[form], encoding, &body);
        }
    }

    #[test]
    fn whatever_is_nearly_a_message_too(body in nearly_protobuf()) {
        for form in [&forms()[0], &forms()[3]] {
            check(form, Encoding::Identity, &body);
        }
    }
}
