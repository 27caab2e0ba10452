//! Ingest with the journal, beside the same frames without it.
//!
//! - `without`: blocks are built and then refused; no record is made, nothing is queued, written or synchronized.
//! - `memory`: everything but the disk: what is written and synchronized goes nowhere.
//! - `disk`: everything, with an fdatasync for each group.
//!
//! Streams keep their window full and are served round and round by one thread, as by the event loop of the collector,
//! or by two. Runs take turns, so that whatever else the machine does hits all alike.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use rustix::time::{ClockId, clock_gettime};
use telemetry_core::ingest::{Conversation, Ingest};
use telemetry_core::journal::{DiskStorage, MemoryStorage, Storage, StorageFile, StorageLock};
use telemetry_core::wire::Form;

use crate::agent::{Agent, NOW_NS};
use crate::{PATIENCE, ingest, peer};

const POINTS: usize = 1_000;
const SHAPES: [(usize, &str); 2] = [(100, "10 readings of 100 series"), (1_000, "1 reading of 1,000 series")];
const STREAMS: usize = 8;
const WINDOW: usize = 8;
const ROUNDS: usize = 9;
const FRAMES: usize = 1_000;

#[derive(Clone, Copy, PartialEq)]
enum Journal {
    Without,
    Memory,
    Disk,
}

const JOURNALS: [(Journal, &str); 3] =
    [(Journal::Without, "without"), (Journal::Memory, "memory"), (Journal::Disk, "disk")];

/// Nanoseconds a point.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

pub(crate) fn measure() {
    for (form, name) in [(Form::Row, "row"), (Form::Columnar, "columnar")] {
        for (series, shape) in SHAPES {
            let mut agent = Agent::new(form, "node-0001", series, POINTS);
            let frames: Vec<Vec<u8>> = (0..FRAMES).map(|_| agent.frame()).collect();
            for threads in [1, 2] {
                let mut costs = [const { Vec::new() }; JOURNALS.len()];
                for _ in 0..ROUNDS {
                    for (costs, (journal, _)) in costs.iter_mut().zip(JOURNALS) {
                        costs.push(run(journal, threads, &frames));
                    }
                }
                for (costs, (_, journal)) in costs.iter().zip(JOURNALS) {
                    let (wall, cpu) = (median(costs, |cost| cost.wall), median(costs, |cost| cost.cpu));
                    println!(
                        r#"{{"stage": "ingest, {name}, {shape}, {threads} threads, {journal}", "wall_ns": {wall:.2}, "cpu_ns": {cpu:.2}}}"#
                    );
                }
            }
        }
    }
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
    let mut all: Vec<f64> = costs.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Wakes threads when the committer has something to tell.
#[derive(Default)]
struct Bell {
    rung: Mutex<u64>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock() += 1;
        self.changed.notify_all();
    }

    fn wait_after(&self, heard: &mut u64) {
        let mut rung = self.rung.lock();
        while *rung == *heard {
            assert!(!self.changed.wait_for(&mut rung, PATIENCE).timed_out(), "a commit takes no minute");
        }
        *heard = *rung;
    }
}

fn run(journal: Journal, threads: usize, frames: &[Vec<u8>]) -> Cost {
    let scratch = tempfile::tempdir_in(".").expect("a directory to write to");
    let storage: Arc<dyn Storage> = match journal {
        Journal::Disk => Arc::new(DiskStorage::open(scratch.path().join("journal")).expect("a directory to write to")),
        _ => Arc::new(Nowhere(MemoryStorage::new())),
    };
    let bell = Arc::new(Bell::default());
    let ring = Arc::clone(&bell);
    let ingest = ingest(storage, move || ring.ring());
    let mut streams: Vec<_> = (0..STREAMS).map(|stream| Stream::new(&ingest, stream, &frames[0])).collect();
    if journal == Journal::Without {
        ingest.close().expect("nowhere takes everything");
    }
    let (begun, cpu_before) = (Instant::now(), cpu_ns());
    thread::scope(|scope| {
        for streams in streams.chunks_mut(STREAMS / threads) {
            let bell = &bell;
            scope.spawn(move || serve(streams, &frames[1..], bell));
        }
    });
    let points = (STREAMS * (frames.len() - 1) * POINTS) as f64;
    Cost { wall: begun.elapsed().as_nanos() as f64 / points, cpu: (cpu_ns() - cpu_before) / points }
}

/// Processor time of all threads.
fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

struct Stream {
    conversation: Conversation,
    sent: usize,
}

impl Stream {
    /// A stream whose series are known.
    fn new(ingest: &Arc<Ingest>, number: usize, first: &[u8]) -> Self {
        let mut conversation = ingest.conversation(peer(&format!("agent-{number}"), "node-0001"));
        conversation.receive(first, NOW_NS);
        assert!(ingest.drain(PATIENCE), "a commit takes no minute");
        conversation.take_replies(&mut Vec::new());
        assert_eq!(conversation.pending(), 0);
        Self { conversation, sent: 0 }
    }
}

fn serve(streams: &mut [Stream], frames: &[Vec<u8>], bell: &Bell) {
    let mut replies = Vec::new();
    let mut heard = 0;
    let mut open = streams.len();
    while open > 0 {
        let mut progress = false;
        for stream in streams.iter_mut() {
            stream.conversation.take_replies(&mut replies);
            progress |= !replies.is_empty();
            replies.clear();
            if stream.sent == frames.len() && stream.conversation.pending() == 0 {
                stream.sent += 1;
                open -= 1;
            } else if stream.sent < frames.len() && stream.conversation.pending() < WINDOW {
                stream.conversation.receive(&frames[stream.sent], NOW_NS);
                stream.sent += 1;
                progress = true;
            }
        }
        if !progress && open > 0 {
            bell.wait_after(&mut heard);
        }
    }
}

/// A storage that keeps names and forgets bytes.
struct Nowhere(MemoryStorage);

impl Storage for Nowhere {
    fn describe(&self, name: &str) -> String {
        self.0.describe(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StorageFile>> {
        self.0.create(name, 0)?;
        Ok(Arc::new(Forgetful(bytes)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.0.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn StorageLock>>> {
        self.0.lock(name)
    }
}

struct Forgetful(u64);

impl StorageFile for Forgetful {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0)
    }

    fn read_at(&self, buffer: &mut [u8], _: u64) -> io::Result<()> {
        buffer.fill(0);
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
