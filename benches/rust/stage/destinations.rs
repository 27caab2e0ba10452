//! Blocks into what destinations take.

use std::hint::black_box;
use std::sync::Arc;

use telemetry_core::columns::{ArrowAssembler, PointBlock, TimestampUnit};
use telemetry_core::line_protocol::LineEncoder;

use super::ingest::blocks;
use super::{FRAMES, Stage, Work};

/// Bytes that a request to a database is meant to have.
const LINES_BYTES: usize = 1 << 20;

pub(super) fn stages() -> Vec<Stage> {
    vec![
        Stage::new("Arrow", FRAMES, |shape| Assembling(blocks(shape))),
        Stage::new("line protocol", FRAMES, |shape| Writing(blocks(shape))),
    ]
}

struct Assembling(Vec<Arc<PointBlock>>);

impl Work for Assembling {
    fn step(&mut self) {
        let mut assembler = ArrowAssembler::new();
        for block in &self.0 {
            assembler.push(block).expect("the columns fit");
        }
        black_box(assembler.finish(TimestampUnit::Microseconds).expect("the columns are sound").num_rows());
    }
}

struct Writing(Vec<Arc<PointBlock>>);

impl Work for Writing {
    fn step(&mut self) {
        let mut encoder = LineEncoder::new(LINES_BYTES);
        for block in &self.0 {
            encoder.push(block);
        }
        black_box(encoder.finish().lines);
    }
}
