//! Any bytes as a frame and as a stream of frames: decoding never panics, holds a bounded amount of memory, sees the same in
//! a fresh and in a used scratch, and a stream's frames do not depend on how it is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use telemetry_core::limits::Limits;
use telemetry_core::wire::validate::check_row;
use telemetry_core::wire::{
    AckReader, BatchAck, DecodeScratch, DecodedBatch, FrameReader, Reference, References, decode_with,
};

/// References of some version, which most series have.
struct Known;

impl References for Known {
    fn version(&self) -> u32 {
        1
    }

    fn reference(&self, id: u32) -> Option<Reference> {
        let scales = [0, 2, 22, 63, 64, 127];
        let number = i64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64);
        (id % 8 != 0).then_some(Reference { scale: scales[id as usize % scales.len()], number })
    }
}

/// Room that a scratch may take whatever the frame: see the decoder's header, and the smallest inflating buffer.
const FIXED_BYTES: usize = 64 * 1024;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, frame)) = data.split_first() else { return };
    // Small bounds, so that the fuzzer can reach beyond them.
    let limits = Limits { inflated_bytes_max: 64 * 1024, max_batch_size: 8, frame_bytes_max: 256, ..Limits::default() };
    let mut fresh = DecodeScratch::default();
    let first = seen(frame, &limits, &mut fresh);
    let bound = 2 * (limits.max_batch_size * 116 + 8 * frame.len().max(limits.inflated_bytes_max)) + FIXED_BYTES;
    assert!(fresh.memory_bytes() <= bound, "{} bytes for a frame of {}", fresh.memory_bytes(), frame.len());
    assert_eq!(first, seen(frame, &limits, &mut fresh), "a used scratch");

    let whole = frames(frame, frame.len().max(1), limits.frame_bytes_max);
    assert_eq!(whole, frames(frame, usize::from(cut).max(1), limits.frame_bytes_max), "another cut");

    _ = BatchAck::read(frame);
    _ = AckReader::default().feed(frame);
});

/// Everything that decoding tells, or what is wrong.
fn seen(frame: &[u8], limits: &Limits, scratch: &mut DecodeScratch) -> Result<Vec<String>, String> {
    let batch = decode_with(&Known, frame, limits, scratch).map_err(|malformed| format!("{malformed:?}"))?;
    assert!(batch.oldest_unacknowledged <= batch.sequence);
    assert!(batch.sequence > 0 || batch.epoch == 0);
    let points = batch.series_ids().len();
    assert_eq!((batch.timestamps_unix_ns().len(), batch.values().len()), (points, points));
    assert!(batch.rows().len() <= limits.max_batch_size);
    assert!(batch.points >= batch.rows().len() + points);
    Ok(texts(&batch))
}

fn texts(batch: &DecodedBatch<'_>) -> Vec<String> {
    let mut texts = vec![format!("{:?}", (batch.series_ids(), batch.timestamps_unix_ns(), batch.values()))];
    texts.push(format!("{:?}", (batch.references_unknown(), batch.references())));
    for tag in batch.common_tags() {
        texts.push(format!("{:?}", (batch.text(tag.key), batch.text(tag.value))));
    }
    for row in batch.rows() {
        texts.push(format!("{:?}", (batch.text(row.name), batch.text(row.unit), check_row(batch, row))));
        texts.push(format!("{:?}", (row.key_span.map(|span| batch.text(span)), row.timestamp_unix_ns)));
        for tag in batch.tags(row) {
            texts.push(format!("{:?}", (batch.text(tag.key), batch.text(tag.value))));
        }
    }
    for definition in batch.definitions() {
        texts.push(format!("{:?}", (definition.id, definition.name, definition.unit, definition.tags.collect::<Vec<_>>())));
    }
    for task in batch.running_tasks() {
        texts.push(format!("{:?}", (batch.text(task.task_id), batch.text(task.name), batch.text(task.status))));
    }
    texts
}

/// A stream's frames, received in pieces of `cut` bytes; the last entry tells how it ended.
fn frames(stream: &[u8], cut: usize, bytes_max: usize) -> Vec<Vec<u8>> {
    let mut reader = FrameReader::new(bytes_max);
    let mut frames = Vec::new();
    for mut piece in stream.chunks(cut) {
        loop {
            match reader.next(&mut piece) {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(fault) => {
                    frames.push(fault.to_string().into_bytes());
                    return frames;
                }
            }
        }
        assert!(reader.held_bytes() <= bytes_max + 4);
    }
    frames.push(vec![u8::from(reader.mid_frame())]);
    frames
}
