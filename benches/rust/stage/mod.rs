//! The stages of the data plane over a fixed corpus: `stages.rs` times them, `instructions.rs` counts their instructions.
//!
//! A stage is found in the file of its family. One that is added here is timed and counted from then on; its count needs
//! a baseline (`make baseline`).

mod destinations;
mod ingest;
mod journal;
mod wire;

use telemetry_core::wire::Form;

use crate::agent::Agent;

/// Points of a batch.
const POINTS: usize = 1_000;
/// Batches of the corpus. The first one defines the series and is never measured.
const FRAMES: usize = 64;
/// How batches are written on the wire; each has its own stages.
const FORMS: [(Form, &str); 3] = [(Form::Row, "row"), (Form::Columnar, "columnar"), (Form::Dense, "dense")];

/// What a batch of the corpus looks like.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Series that its points go round and round over.
    pub(crate) series: usize,
    /// What it is called.
    pub(crate) name: &'static str,
}

/// A batch of the reference data set holds ten readings of a hundred series; the harder one a reading of a thousand.
pub(crate) const SHAPES: [Shape; 2] = [
    Shape { series: 100, name: "10 readings of 100 series" },
    Shape { series: 1_000, name: "1 reading of 1,000 series" },
];

/// Something that the collector or an agent does with batches.
pub(crate) struct Stage {
    /// What it is called.
    pub(crate) name: String,
    /// Points that one step is about.
    pub(crate) points: usize,
    /// Makes it ready for its first step.
    pub(crate) prepare: Box<dyn Fn(Shape) -> Box<dyn Work>>,
}

impl Stage {
    fn new<W: Work + 'static>(name: impl Into<String>, batches: usize, prepare: impl Fn(Shape) -> W + 'static) -> Self {
        let prepare = move |shape| Box::new(prepare(shape)) as Box<dyn Work>;
        Self { name: name.into(), points: batches * POINTS, prepare: Box::new(prepare) }
    }
}

/// A stage at work.
pub(crate) trait Work {
    /// What is measured.
    fn step(&mut self);

    /// What makes ready for the next step, and is not measured.
    fn settle(&mut self) {}
}

/// All stages, in the order that a batch goes through them.
pub(crate) fn all() -> Vec<Stage> {
    [wire::stages(), ingest::stages(), journal::stages(), destinations::stages()].into_iter().flatten().collect()
}

fn frames(form: Form, shape: Shape) -> Vec<Vec<u8>> {
    let mut agent = Agent::new(form, "node-0001", shape.series, POINTS);
    (0..FRAMES).map(|_| agent.frame()).collect()
}
