//! What durability costs on this machine's disk: the journal beside a run without it, and opening a journal of 1 GiB.
//!
//! `cargo bench -p telemetry-core --bench durability -- cost` or `-- recovery`; both without a word. Prints one JSON
//! object a line; `python -m benches reliability` shows them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use telemetry_core::ingest::{Ingest, IngestSettings, Peer};
use telemetry_core::journal::{JournalSettings, Storage};
use telemetry_core::limits::Limits;

mod agent;
mod cost;
mod recovery;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    // Cargo passes flags of its own, such as --bench.
    let words: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["open", directory] => recovery::open(Path::new(directory)),
        ["cost"] => cost::measure(),
        ["recovery"] => recovery::measure(),
        _ => {
            cost::measure();
            recovery::measure();
        }
    }
}

fn ingest(storage: Arc<dyn Storage>, wake: impl Fn() + Send + Sync + 'static) -> Arc<Ingest> {
    let settings = IngestSettings {
        limits: Limits { max_cardinality: 1_000_000, ..Limits::default() },
        bind_node_id: true,
        recent_bytes_max: 64 * 1024 * 1024,
        journal: JournalSettings::default(),
    };
    Ingest::open(storage, settings, Box::new(wake)).expect("the disk of a benchmark must not fail")
}

fn peer(identity: &str, node: &str) -> Arc<Peer> {
    Arc::new(Peer { identity: identity.into(), node: node.into(), relay: false })
}
