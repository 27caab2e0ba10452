//! Heartbeats as metrics: stored like anybody's points, in nobody's acknowledgement.

use super::*;
use crate::ingest::worker_points::{IDENTITY, WorkerState};

fn state(worker: &str, gpu_usage: f64, timestamp_unix_ns: i64) -> WorkerState {
    WorkerState {
        worker_id: worker.into(),
        node_id: format!("{worker}-node"),
        cpu_usage: 0.25,
        memory_usage: 0.5,
        gpu_usage,
        running_tasks: 3,
        timestamp_unix_ns,
    }
}

fn dropped(ingest: &Ingest) -> Vec<(&'static str, u64)> {
    ingest.counters().worker_points_dropped.lock().iter().map(|(&reason, &points)| (reason, points)).collect()
}

#[test]
fn states_are_stored_as_gauges_under_the_collectors_own_name_and_survive_a_crash() {
    let mut stand = Stand::new();
    stand.ingest.store_workers(&[state("a", 0.75, NOW_NS - 1), state("b", -1.0, NOW_NS - 1)], NOW_NS);
    assert!(stand.ingest.drain(Duration::from_secs(10)), "the commit comes");
    assert_eq!(stand.ingest.counters().worker_points_committed.load(Ordering::Relaxed), 7);
    assert_eq!(stand.ingest.counters().points_committed.load(Ordering::Relaxed), 0);
    assert_eq!(stand.ingest.counters().inflight_batches.load(Ordering::Relaxed), 0);
    assert!(stand.ingest.take_ready().is_empty(), "nobody waits for a reply");
    stand.restart();
    let mut cursor = stand.ingest.cursor("test").expect("a cursor opens");
    let blocks = cursor.read(100).expect("the journal reads").expect("a block is stored").blocks;
    let [block] = &blocks[..] else { panic!("one block, not {}", blocks.len()) };
    assert_eq!((&*block.identity, block.epoch, block.sequence), (IDENTITY, 0, 0));
    let mut found: Vec<_> = block
        .descriptor_index
        .iter()
        .zip(&block.values)
        .map(|(&place, &value)| {
            let descriptor = &block.descriptors[place as usize];
            assert_eq!(descriptor.meta().unit, "1");
            let tags: Vec<_> = descriptor.key.tags().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{} {} {value}", descriptor.key.name(), tags.join(","))
        })
        .collect();
    found.sort_unstable();
    let expected = [
        "worker.cpu.usage node_id=a-node,worker_id=a 0.25",
        "worker.cpu.usage node_id=b-node,worker_id=b 0.25",
        "worker.gpu.usage node_id=a-node,worker_id=a 0.75",
        "worker.memory.usage node_id=a-node,worker_id=a 0.5",
        "worker.memory.usage node_id=b-node,worker_id=b 0.5",
        "worker.running_tasks node_id=a-node,worker_id=a 3",
        "worker.running_tasks node_id=b-node,worker_id=b 3",
    ];
    assert_eq!(found, expected);
    assert!(block.timestamps_unix_ns.iter().all(|&timestamp| timestamp == NOW_NS - 1));
}

#[test]
fn what_may_not_come_in_is_counted_by_its_reason() {
    let stand = Stand::with(|settings| settings.limits.max_cardinality = 3);
    stand.ingest.store_workers(&[state("", 0.5, NOW_NS), state("old", -1.0, 1), state("a", 0.5, NOW_NS)], NOW_NS);
    assert_eq!(dropped(&stand.ingest), [("cardinality_limit", 1), ("invalid_tag", 4), ("invalid_timestamp", 3)]);
    assert!(stand.ingest.drain(Duration::from_secs(10)), "the commit comes");
    assert_eq!(stored_points(&stand.ingest), [(0, vec![0.25, 0.5, 0.5])]);
}

#[test]
fn while_nothing_is_taken_and_when_a_commit_fails_they_are_dropped_and_counted() {
    let stand = Stand::with(|settings| settings.limits.backpressure_threshold = 0);
    stand.ingest.store_workers(&[state("a", 0.5, NOW_NS)], NOW_NS);
    assert_eq!(dropped(&stand.ingest), [("batches_in_flight", 4)]);

    let stand = Stand::new();
    stand.storage.fail(Fault {
        operation: Operation::SyncData,
        prefix: "segment-".into(),
        skip: 0,
        times: 1,
        errno: rustix::io::Errno::IO,
    });
    stand.ingest.store_workers(&[state("a", 0.5, NOW_NS)], NOW_NS);
    assert!(stand.ingest.drain(Duration::from_secs(10)), "the commit is decided");
    assert_eq!(dropped(&stand.ingest), [("journal_failed", 4)]);
    assert_eq!(stand.ingest.counters().commits_failed.load(Ordering::Relaxed), 0, "no agent sends anything again");
    assert_eq!(stand.ingest.counters().inflight_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn a_closed_core_stores_nothing_more() {
    let stand = Stand::new();
    stand.ingest.close().expect("the checkpoint is written");
    stand.ingest.store_workers(&[state("a", -1.0, NOW_NS)], NOW_NS);
    assert_eq!(dropped(&stand.ingest), [("journal_failed", 3)]);
}
