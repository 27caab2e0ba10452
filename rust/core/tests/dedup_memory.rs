//! Remembering which batches are stored takes less than 100 bytes an agent at rest, its name included.

use std::alloc::System;
use std::fmt::Write as _;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use telemetry_core::ingest::names::Names;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The last one is the most that fits before the table of identities doubles, and one more: just doubled.
const AGENTS: [u64; 4] = [100_000, 114_688, 114_689, 120_000];

#[test]
fn an_agent_at_rest_takes_less_than_100_bytes_with_its_name() {
    let memory = Region::new(ALLOCATOR);
    let mut names = Names::<u32>::default();
    let mut identity = String::new();
    let mut known = 0;
    for agents in AGENTS {
        for agent in known..agents {
            identity.clear();
            write!(identity, "spiffe://fleet/node-{agent:07}").expect("a string takes all");
            for sequence in 1..4 {
                names.judge(&identity, 7, sequence, sequence);
                names.reserve(&identity, 7, sequence, 1);
            }
            (1..4).for_each(|sequence| names.committed(&identity, 7, sequence));
        }
        known = agents;
        let change = memory.change();
        let bytes = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
        let each = bytes / agents as f64;
        println!("{agents} agents: {each:.1} bytes each, of which {} are the name", identity.len());
        assert!(each < 100.0, "{agents} agents take {each} bytes each");
    }
}
