//! Checkpoints: what survives in them, and none may miss a name that was answered.

use std::sync::mpsc;
use std::thread;

use super::*;

/// Waits for what another thread does and tells nobody of.
fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "it happens within 10 s");
        thread::yield_now();
    }
}

#[test]
fn a_checkpoint_between_a_commit_and_its_name_stands_before_both() {
    let mut stand = Stand::new();
    // The committer stops where it has told of the first batch, until it is let go on.
    let (go_on, gate) = mpsc::channel::<()>();
    let (stopped, at_gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let wake: Wake = Box::new(move || {
        if stopped.send(()).is_ok() {
            // The other end is gone once the test needs no gate any more.
            let _ = gate.lock().recv();
        }
    });
    stand.ingest.journal.close();
    stand.ingest = Ingest::open(stand.storage.clone(), stand.settings.clone(), wake).expect("the journal opens");
    let mut stream = stand.stream();
    stream.send(&batch(&["a"], &[1.0]), 1);
    at_gate.recv().expect("the first batch is committed");
    stream.send(&batch(&["a"], &[2.0]), 2);
    let told_of = stand.ingest.shared.applied();
    let names = stand.ingest.shared.names.lock();
    drop(at_gate);
    go_on.send(()).expect("the committer waits");
    until(|| stand.ingest.journal.committed() > told_of);
    assert_eq!(stand.ingest.shared.applied(), told_of, "names have not heard of the second batch");
    let checkpointing = {
        let ingest = Arc::clone(&stand.ingest);
        thread::spawn(move || ingest.checkpoint())
    };
    until(|| stand.ingest.checkpointed.try_lock().is_none());
    drop(names);
    checkpointing.join().expect("it does not panic").expect("the checkpoint is written");
    drop(go_on);
    assert!(stand.ingest.drain(Duration::from_secs(10)));
    assert_eq!(stand.ingest.shared.applied(), stand.ingest.journal.committed());
    drop(stream);
    stand.restart();
    let mut stream = stand.stream();
    for sequence in [1, 2] {
        assert_eq!(stream.ask(&batch(&["a"], &[1.0]), sequence).outcome, Answer::Duplicate);
    }
}

#[test]
fn names_and_series_survive_in_the_checkpoint_when_their_segments_are_gone() {
    let mut stand = Stand::new();
    let values: Vec<f64> = (0..1_000).map(f64::from).collect();
    let mut cursor = stand.ingest.cursor("parquet").expect("a cursor opens");
    let mut stream = stand.stream();
    for sequence in 1..=40 {
        assert_eq!(stream.ask(&batch(&["a", "b"], &values), sequence).outcome, Answer::Stored);
        while let Some(blocks) = cursor.read(10_000).expect("the journal reads") {
            cursor.store(blocks.end).expect("the position is stored");
        }
        stand.ingest.maintain((NOW_NS / 1_000_000_000) as u64).expect("maintenance succeeds");
    }
    assert!(stand.ingest.journal().oldest() > Position::new(0), "segments were deleted");
    drop((stream, cursor));
    stand.restart();
    assert_eq!(stand.ingest.series().0, 2);
    let mut stream = stand.stream();
    for sequence in [1, 20, 40] {
        assert_eq!(stream.ask(&batch(&["a"], &[1.0]), sequence).outcome, Answer::Duplicate);
    }
    assert_eq!(stream.ask(&batch(&["a"], &[1.0]), 41).outcome, Answer::Stored);
}
