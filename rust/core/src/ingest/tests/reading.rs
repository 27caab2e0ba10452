//! What consumers read: from where, of which series, and when they are told.

use super::*;
use crate::series::{CommonTags, KeyBuilder};

#[test]
fn what_is_committed_since_the_start_is_not_looked_for_on_disk() {
    let mut stand = Stand::new();
    for round in 1..=2 {
        let mut cursor = stand.ingest.cursor("test").expect("a cursor opens");
        stand.stream().ask(&batch(&["a"], &[1.0]), round);
        assert_eq!(cursor.lag_points(), 1, "exact, because it is in memory");
        let errno = rustix::io::Errno::IO;
        let fault = Fault { operation: Operation::Read, prefix: "segment-".into(), skip: 0, times: u64::MAX, errno };
        stand.storage.fail(fault);
        let blocks = cursor.read(10).expect("memory has it").expect("there is a block");
        stand.storage.heal();
        cursor.store(blocks.end).expect("the position is stored");
        drop(cursor);
        stand.restart();
    }
}

#[test]
fn a_block_from_disk_shares_the_series_of_the_registry() {
    let stand = Stand::with(|settings| settings.recent_bytes_max = 0);
    let mut cursor = stand.ingest.cursor("test").expect("a cursor opens");
    stand.stream().ask(&batch(&["a", "b"], &[1.0, 2.0]), 1);
    let blocks = cursor.read(10).expect("the journal reads").expect("there is a block");
    let mut keys = KeyBuilder::default();
    for (series, name) in blocks.blocks[0].descriptors.iter().zip(["a", "b"]) {
        let tags = [(&b"cpu"[..], &b"0"[..]), (b"node_id", b"node-1")];
        let key = keys.build(name.as_bytes(), &tags, &CommonTags::default()).expect("a valid key");
        let active = stand.ingest.registry.lookup(key).expect("it was admitted");
        assert!(Arc::ptr_eq(series, &active));
    }
}

#[test]
fn a_series_that_has_changed_since_is_read_as_it_was_written() {
    let stand = Stand::with(|settings| settings.recent_bytes_max = 0);
    let mut cursor = stand.ingest.cursor("test").expect("a cursor opens");
    stand.stream().ask(&batch(&["a"], &[1.0]), 1);
    let series = OutgoingSeries {
        name: "a".into(),
        tags: vec![("cpu".into(), "0".into())],
        metric_type: 2,
        unit: "s".into(),
        delta: false,
    };
    let changed = OutgoingBatch::new(Vec::new(), vec![series], vec![0], vec![NOW_NS], vec![2.0]);
    stand.stream().ask(&changed.expect("the batch is sound"), 2);
    let blocks = cursor.read(10).expect("the journal reads").expect("there are blocks");
    let units: Vec<_> = blocks.blocks.iter().map(|block| block.descriptors[0].unit.to_string()).collect();
    assert_eq!(units, ["1", "s"]);
}

#[test]
fn a_commit_wakes_only_who_wants_it_or_has_a_reply_due() {
    let woken = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&woken);
    let mut stand = Stand::new();
    stand.ingest.journal.close();
    let wake: Wake = Box::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    stand.ingest = Ingest::open(stand.storage.clone(), stand.settings.clone(), wake).expect("the journal opens");
    let cursor = stand.ingest.cursor("test").expect("a cursor opens");
    let place = cursor.place();
    // Its replies are told to a task, as those of the listener in the core are.
    let mut stream = stand.stream();
    let peer = Arc::new(Peer { identity: "node-1".into(), node: "node-1".into(), relay: false });
    stream.conversation = stand.ingest.conversation_of_task(peer, Arc::new(|| {}));
    let mut sequence = 0;
    let mut wakes_of_one = |stream: &mut Stream| {
        sequence += 1;
        let before = woken.load(Ordering::SeqCst);
        stream.ask(&batch(&["a"], &[1.0]), sequence);
        woken.load(Ordering::SeqCst) - before
    };
    assert_eq!(wakes_of_one(&mut stream), 1, "until it says what it wants, every commit wakes");
    place.want(4);
    let wakes: Vec<_> = (0..4).map(|_| wakes_of_one(&mut stream)).collect();
    assert_eq!(wakes, [0, 0, 1, 1], "one was there, so the third makes four of them");
    place.want(100);
    assert_eq!(wakes_of_one(&mut stream), 0);
    let mut other = stand.stream_of("node-2", false);
    assert_eq!(wakes_of_one(&mut other), 1, "its replies are told by the list");
}
