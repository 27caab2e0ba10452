//! Opening a journal of 1 GiB without a checkpoint, in a process of its own, with warm and with cold page cache.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::fs::{Advice, fadvise};
use telemetry_core::ingest::Conversation;
use telemetry_core::journal::DiskStorage;
use telemetry_core::wire::Form;

use crate::agent::{Agent, NOW_NS};
use crate::{PATIENCE, ingest, peer};

const JOURNAL_BYTES: u64 = 1024 * 1024 * 1024;
const ROUNDS: usize = 3;

struct Fleet {
    title: &'static str,
    nodes: usize,
    series_a_node: usize,
    points_a_batch: usize,
}

const FLEETS: [Fleet; 4] = [
    Fleet { title: "100 nodes of 1,000 series", nodes: 100, series_a_node: 1_000, points_a_batch: 1_000 },
    Fleet { title: "1,000 nodes of 100 series, 10 readings", nodes: 1_000, series_a_node: 100, points_a_batch: 1_000 },
    Fleet { title: "1,000 nodes of 100 series, 1 reading", nodes: 1_000, series_a_node: 100, points_a_batch: 100 },
    Fleet { title: "80 nodes of 1,300 series, cut anywhere", nodes: 80, series_a_node: 1_300, points_a_batch: 1_000 },
];

pub(crate) fn measure() {
    for fleet in &FLEETS {
        let scratch = tempfile::tempdir_in(".").expect("a directory to write to");
        let directory = scratch.path().join("journal");
        fill(&directory, fleet);
        for cold in [false, true] {
            for _ in 0..ROUNDS {
                if cold {
                    forget(&directory);
                }
                let program = std::env::current_exe().expect("this program has a path");
                let opened = Command::new(program).arg("open").arg(&directory).output().expect("it can be started");
                let printed = String::from_utf8_lossy(&opened.stdout);
                assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
                let (title, cache) = (fleet.title, if cold { "cold" } else { "warm" });
                println!(r#"{{"stage": "recovery, {title}, {cache}", {}}}"#, printed.trim());
            }
        }
    }
}

/// Opens a journal and prints what that took.
pub(crate) fn open(directory: &Path) {
    let before = resident_mb("VmHWM");
    let ingest = ingest(Arc::new(DiskStorage::open(directory).expect("the journal is there")), || {});
    let recovered = ingest.recovered();
    println!(
        r#""seconds": {:.3}, "records": {}, "points": {}, "series": {}, "peak_mb": {:.0}, "before_mb": {before:.0}"#,
        recovered.elapsed.as_secs_f64(),
        recovered.records,
        recovered.points,
        ingest.series().0,
        resident_mb("VmHWM"),
    );
    // Closing would write a checkpoint, and the next one would have nothing to replay.
    std::process::exit(0);
}

/// Takes batches of all nodes, one a node and second, until the journal is large enough. No checkpoint is written.
fn fill(directory: &Path, fleet: &Fleet) {
    let ingest = ingest(Arc::new(DiskStorage::open(directory).expect("a directory to write to")), || {});
    let mut agents: Vec<(Agent, Conversation)> = (0..fleet.nodes)
        .map(|number| {
            let node = format!("node-{number:04}");
            let conversation = ingest.conversation(peer(&format!("spiffe://fleet/{node}"), &node));
            (Agent::new(Form::Columnar, &node, fleet.series_a_node, fleet.points_a_batch), conversation)
        })
        .collect();
    let mut replies = Vec::new();
    for second in 0.. {
        for (agent, conversation) in &mut agents {
            conversation.receive(&agent.frame(), NOW_NS + second * 1_000_000_000);
        }
        assert!(ingest.drain(PATIENCE), "a commit takes no minute");
        for (_, conversation) in &mut agents {
            conversation.take_replies(&mut replies);
            replies.clear();
        }
        if ingest.journal().committed().get() >= JOURNAL_BYTES {
            break;
        }
    }
    ingest.journal().close();
}

/// Drops a directory's files from the page cache.
fn forget(directory: &Path) {
    for entry in fs::read_dir(directory).expect("the journal is there") {
        let file = File::open(entry.expect("the journal is there").path()).expect("our own file");
        file.sync_all().expect("a disk");
        fadvise(&file, 0, None, Advice::DontNeed).expect("a disk");
    }
}

fn resident_mb(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(key)).expect("Linux tells it");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("a number") / 1_000.0
}
