//! What remembering stored batches costs: memory an agent at rest, and nanoseconds a batch.
//!
//! `cargo bench -p telemetry-core --bench names` prints one JSON object a line, as the stages do.

use std::alloc::System;
use std::hint::black_box;
use std::time::Instant;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use telemetry_core::ingest::names::{Names, Verdict};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const AGENTS_FEW: usize = 1_000;
const BATCHES: u64 = 1_000_000;
const ROUNDS: usize = 9;

fn main() {
    // The table of identities doubles at seven eighths of a power of two: 917,504 is the last before.
    for agents in [100_000, 917_504, 917_505, 1_000_000] {
        let memory = Region::new(ALLOCATOR);
        let identities: Vec<String> = (0..agents).map(identity).collect();
        let texts = held(&memory);
        let mut names = Names::<u32>::default();
        for identity in &identities {
            (1..4).for_each(|sequence| store(&mut names, identity, sequence));
        }
        let bytes = (held(&memory) - texts) / agents as f64;
        println!(
            r#"{{"stage": "names, {agents} agents at rest", "bytes": {bytes:.1}, "text": {}}}"#,
            identities[0].len()
        );
        drop(names);
    }
    for (agents, pipeline) in [(1, 1), (1, 8), (AGENTS_FEW, 1), (AGENTS_FEW, 8)] {
        let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| cycle(agents, pipeline)).collect();
        rounds.sort_by(f64::total_cmp);
        let (median, min, max) = (rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
        let stage = format!("names, {agents} agents, {pipeline} batches on the way");
        println!(r#"{{"stage": "{stage}", "ns": {median:.1}, "min": {min:.1}, "max": {max:.1}}}"#);
    }
}

fn identity(agent: usize) -> String {
    format!("spiffe://fleet/node-{agent:07}")
}

fn held(memory: &Region<'_, System>) -> f64 {
    let change = memory.change();
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}

/// What a batch asks of the names: judged when it has come, judged again under the lock and reserved, then committed.
fn store(names: &mut Names<u32>, identity: &str, sequence: u64) {
    receive(names, identity, sequence);
    names.committed(identity, 7, sequence);
}

fn receive(names: &mut Names<u32>, identity: &str, sequence: u64) {
    assert_eq!(names.judge(identity, 7, sequence, sequence.saturating_sub(8)), Verdict::New);
    assert_eq!(names.judge(identity, 7, sequence, 0), Verdict::New);
    names.reserve(identity, 7, sequence, 1);
}

/// Nanoseconds a batch when agents take turns and each has so many on the way.
fn cycle(agents: usize, pipeline: u64) -> f64 {
    let identities: Vec<String> = (0..agents).map(identity).collect();
    let mut names = Names::<u32>::default();
    let begun = Instant::now();
    for round in 0..BATCHES / pipeline / agents as u64 {
        let sequences = round * pipeline + 1..(round + 1) * pipeline + 1;
        for identity in &identities {
            sequences.clone().for_each(|sequence| receive(&mut names, identity, sequence));
        }
        for identity in &identities {
            sequences.clone().for_each(|sequence| names.committed(identity, 7, sequence));
        }
    }
    black_box(&names);
    begun.elapsed().as_nanos() as f64 / BATCHES as f64
}
