//! Frames: made by an agent, read by the collector.

use std::hint::black_box;

use telemetry_core::limits::Limits;
use telemetry_core::wire::{DecodeScratch, Form, decode};

use super::{FORMS, FRAMES, POINTS, Shape, Stage, Work, frames};
use crate::agent::Agent;

pub(super) fn stages() -> Vec<Stage> {
    let of_form = |(form, name)| {
        [
            Stage::new(format!("{name}: encode"), 1, move |shape| Encoding::new(form, shape)),
            Stage::new(format!("{name}: decode"), FRAMES - 1, move |shape| Decoding::new(form, shape)),
        ]
    };
    FORMS.into_iter().flat_map(of_form).collect()
}

struct Encoding(Agent);

impl Encoding {
    fn new(form: Form, shape: Shape) -> Self {
        Self(Agent::new(form, "node-0001", shape.series, POINTS))
    }
}

impl Work for Encoding {
    fn step(&mut self) {
        black_box(self.0.frame());
    }
}

struct Decoding {
    frames: Vec<Vec<u8>>,
    limits: Limits,
    scratch: DecodeScratch,
}

impl Decoding {
    fn new(form: Form, shape: Shape) -> Self {
        Self { frames: frames(form, shape), limits: Limits::default(), scratch: DecodeScratch::default() }
    }
}

impl Work for Decoding {
    fn step(&mut self) {
        for frame in &self.frames[1..] {
            black_box(decode(&frame[4..], &self.limits, &mut self.scratch).expect("the frame is a batch").points);
        }
    }
}
