//! What a point of a known series costs, from frame to admitted block, by how many series there are: `cargo bench -p
//! telemetry-core --bench fleet`; `-- 1000000` stops at a million series and takes a tenth of the memory.
//!
//! Nodes of a hundred series send in turn, each on a stream of its own, in dense columns with references, a second apart.
//! So a node's turn comes when the cache of the processor has long held other things, if there are many: what differs
//! between ten thousand series and ten million is memory. Prints one JSON object a line; nanoseconds are processor time of
//! the receiving thread. As in `stages.rs` the journal is closed once the series are known.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use telemetry_core::ingest::{Conversation, Ingest, IngestSettings, Peer};
use telemetry_core::journal::{JournalSettings, MemoryStorage};
use telemetry_core::limits::Limits;
use telemetry_core::wire::Form;

#[path = "agent.rs"]
mod agent;
#[path = "cpu.rs"]
mod cpu;

use agent::{Agent, NOW_NS};
use cpu::cpu_ns;

const SIZES: [usize; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
/// Series of one node.
const NODE: usize = 100;
/// Readings of a batch.
const READINGS: [usize; 2] = [1, 10];
/// Points that are measured at each size, at least, and at least two batches of each node behind one that warms up.
const POINTS: usize = 2_000_000;
/// Nodes that are measured at once.
const TOGETHER: usize = 20;
const SECOND_NS: i64 = 1_000_000_000;
const PATIENCE: Duration = Duration::from_secs(600);

fn main() {
    let largest = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(usize::MAX);
    for readings in READINGS {
        for size in SIZES.into_iter().filter(|size| *size <= largest) {
            let ns = measure(size / NODE, readings);
            let what = format!("a point of one of {size} series, {readings} of a series in a batch");
            println!(r#"{{"stage": "{what}", "ns": {ns:.2}}}"#);
        }
    }
}

struct Node {
    conversation: Conversation,
    frames: Vec<Vec<u8>>,
}

/// Processor time a point of so many nodes.
fn measure(nodes: usize, readings: usize) -> f64 {
    let limits = Limits { max_cardinality: usize::MAX, ..Limits::default() };
    let settings =
        IngestSettings { limits, bind_node_id: true, recent_bytes_max: 1 << 20, journal: JournalSettings::default() };
    let ingest =
        Ingest::open(Arc::new(MemoryStorage::new()), settings, Box::new(|| {})).expect("memory can be written");
    let mut replies = Vec::new();
    let turns = 1 + (POINTS / (nodes * NODE * readings)).max(2);
    let mut fleet: Vec<_> = (0..nodes).map(|number| Node::that_is_known(&ingest, number, readings, turns)).collect();
    ingest.close().expect("memory can be written");
    let (mut spent, mut points) = (0.0, 0);
    for turn in 0..turns {
        let now_ns = NOW_NS + (turn + 1) as i64 * SECOND_NS;
        for nodes in fleet.chunks_mut(TOGETHER) {
            // From the network they come as bytes that have just been copied.
            let frames: Vec<_> = nodes.iter().map(|node| node.frames[turn].clone()).collect();
            let begun = cpu_ns();
            for (node, frame) in nodes.iter_mut().zip(&frames) {
                node.conversation.receive(frame, now_ns);
            }
            if turn > 0 {
                spent += (cpu_ns() - begun) as f64;
            }
            points += nodes.len() * NODE * readings;
            for node in nodes {
                node.conversation.take_replies(&mut replies);
                replies.clear();
            }
        }
    }
    let received = ingest.counters().points_received.load(Relaxed);
    assert_eq!(received as usize, points + nodes * NODE * readings, "each batch was understood");
    spent * turns as f64 / (turns - 1) as f64 / points as f64
}

impl Node {
    /// Makes its frames, and sends the first, which defines its series.
    fn that_is_known(ingest: &Arc<Ingest>, number: usize, readings: usize, turns: usize) -> Self {
        let name = format!("node-{number:05}");
        let mut agent = Agent::new(Form::Dense, &name, NODE, NODE * readings);
        let peer = Peer { identity: name.as_str().into(), node: name.as_str().into(), relay: false };
        let mut conversation = ingest.conversation(Arc::new(peer));
        conversation.receive(&agent.frame(), NOW_NS);
        assert!(ingest.drain(PATIENCE), "memory commits at once");
        conversation.take_replies(&mut Vec::new());
        Self { conversation, frames: (0..turns).map(|_| agent.frame()).collect() }
    }
}
