//! What a listener does not read stays with the agent: QUIC's flow control holds it there.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Sender;

use super::*;

const POINTS: usize = 30_000;
const BATCHES: usize = 8;

/// A committer that stops where it has told of a commit, which the first of the two hears, until both are dropped.
fn gated() -> (Receiver<()>, Sender<()>, Wake) {
    let (stopped, at_gate) = channel();
    let (go_on, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let wake: Wake = Box::new(move || {
        if stopped.send(()).is_ok() {
            // The other end is gone once the test needs no gate any more.
            let _ = gate.lock().recv();
        }
    });
    (at_gate, go_on, wake)
}

fn until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "it never comes true");
        std::thread::yield_now();
    }
}

#[test]
fn a_stream_that_waits_for_a_commit_is_not_read_on_while_no_more_may_be_in_flight() {
    let frame_bytes_max = 300 * 1024;
    let limits =
        Limits { frame_bytes_max, inflight_bytes_max: 600 * 1024, max_batch_size: POINTS, ..Limits::default() };
    let (at_gate, go_on, wake) = gated();
    let site = Site::with(limits.clone(), wake);
    // Somebody reads, and has not said what he waits for: each commit is told.
    let _reader = site.ingest.cursor("reader").expect("a cursor");
    // Dropped before the site, whose committer would stand at the gate for ever if an assertion fails.
    let (at_gate, go_on) = (at_gate, go_on);
    let agents = Agents::of(&site);
    let mut agent = agents.connect();
    assert_eq!(agents.ask(&mut agent), Ok(Outcome::Stored));
    at_gate.recv_timeout(PATIENCE).expect("the first batch is committed, and the committer stands");

    let frame_bytes = (0..BATCHES).map(|_| agent.send(POINTS)).max().expect("some");
    assert!((200_000..=frame_bytes_max).contains(&frame_bytes), "{frame_bytes} bytes");
    let counters = site.ingest.counters();
    let read = || site.server.counters().stream_bytes_received.load(Relaxed);
    // A stream's window is 1 MiB beyond what was read: more than half of it all has to stay where it is.
    until(|| counters.inflight_batches.load(Relaxed) > 0 && agent.connection.queued_bytes() <= 4 * frame_bytes);
    // Somebody else is let in meanwhile, which takes longer than reading what is there would.
    let mut other = agents.connect();
    let is_established = |event: &crate::quic::client::Event| matches!(event.what, What::Established(_));
    until(|| agents.client.take_events().iter().any(is_established));
    other.send(1);
    until(|| site.server.connections() == 2 && counters.inflight_batches.load(Relaxed) > 1);
    assert!(read() < 3 * frame_bytes as u64, "{} of {} bytes were read", read(), BATCHES * frame_bytes);
    assert!(agent.connection.queued_bytes() > frame_bytes, "flow control holds the rest back");
    let in_flight = counters.inflight_bytes.load(Relaxed) + counters.held_bytes.load(Relaxed);
    assert!(in_flight <= limits.inflight_bytes_max as u64, "{in_flight} bytes");

    drop((at_gate, go_on));
    until(|| counters.points_committed.load(Relaxed) == (BATCHES * POINTS + 2) as u64);
    assert_eq!(counters.inflight_bytes.load(Relaxed) + counters.held_bytes.load(Relaxed), 0);
    let mut stored = 0;
    let mut acks = AckReader::default();
    until(|| {
        for event in agents.client.take_events() {
            if let What::Received(_, data) = event.what
                && event.connection == agent.connection.number()
            {
                let outcomes = acks.feed(&data).expect("replies");
                assert!(outcomes.iter().all(|ack| ack.outcome == Outcome::Stored), "nothing was put off: {outcomes:?}");
                stored += outcomes.len();
            }
        }
        stored == BATCHES
    });
}
