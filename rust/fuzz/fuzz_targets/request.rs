//! Any bytes as a request of another protocol: translating never panics, and what it writes is batches within the limits,
//! with as many points as it tells.

#![no_main]

use libfuzzer_sys::fuzz_target;
use telemetry_core::limits::Limits;
use telemetry_core::translate::exposition::{Syntax, Target};
use telemetry_core::translate::influx::Precision;
use telemetry_core::translate::otlp::Ignored;
use telemetry_core::translate::{Encoding, Form, Renames, translate};
use telemetry_core::wire::{DecodeScratch, decode};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, body)) = data.split_first() else { return };
    let form = match choice % 6 {
        0 => Form::Otlp(Ignored::new(["process."])),
        1 => Form::OtlpJson(Ignored::default()),
        2 => Form::Influx(Precision::NANOSECONDS, Renames::new([("host", "node_id")])),
        3 => Form::Exposition(Syntax::Text, Target::new([("job", "node")])),
        4 => Form::Exposition(Syntax::OpenMetrics, Target::new([("job", "node")])),
        _ => Form::Prometheus(Renames::default()),
    };
    let encoding = match choice / 6 {
        1 => Encoding::Gzip,
        2 => Encoding::Deflate,
        3 => Encoding::Zstd,
        4 => Encoding::Snappy,
        _ => Encoding::Identity,
    };
    // Small bounds, so that the fuzzer can reach beyond them.
    let limits = Limits { max_batch_size: 4, inflated_bytes_max: 4_096, inflight_bytes_max: 1 << 20, ..Limits::default() };
    let Ok(translated) = translate(&form, encoding, body, &limits) else { return };
    let mut scratch = DecodeScratch::default();
    let mut points = 0;
    for frame in &translated.frames {
        let batch = decode(frame, &limits, &mut scratch).expect("a batch");
        assert!((1..=4).contains(&batch.points));
        points += batch.points as u64;
    }
    assert_eq!(points, translated.points);
});
