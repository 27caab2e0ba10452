//! Runs one stage for `benches/instructions.py`, which counts its instructions: `instructions STAGE`. Without a stage it
//! prints their names, one a line; with one the points that were counted.
//!
//! A program of the core instead of a bench, because benches are built with what only tests need, and CI builds this in
//! the same release profile as the extension.

use std::process::ExitCode;

mod agent;
mod stage;

use stage::{SHAPES, Shape, Stage, Work};

/// So many points that what happens once does not matter, and so few that all stages take seconds.
const POINTS_MIN: usize = 126_000;

fn main() -> ExitCode {
    let stages = || SHAPES.into_iter().flat_map(|shape| stage::all().into_iter().map(move |stage| (shape, stage)));
    let name = |shape: Shape, stage: &Stage| format!("{}, {}", stage.name, shape.name);
    let Some(wanted) = std::env::args().nth(1) else {
        stages().for_each(|(shape, stage)| println!("{}", name(shape, &stage)));
        return ExitCode::SUCCESS;
    };
    let Some((shape, stage)) = stages().find(|(shape, stage)| name(*shape, stage) == wanted) else {
        eprintln!("no stage is called {wanted:?}");
        return ExitCode::FAILURE;
    };
    let mut work = (stage.prepare)(shape);
    // Buffers grow once.
    work.step();
    work.settle();
    let mut points = 0;
    while points < POINTS_MIN {
        points += counted(&mut *work, stage.points);
        work.settle();
    }
    println!("{points}");
    ExitCode::SUCCESS
}

/// Callgrind counts what happens in here, by this name. The sum behind the step keeps it a call that returns here.
#[inline(never)]
fn counted(work: &mut dyn Work, points: usize) -> usize {
    work.step();
    std::hint::black_box(points)
}
