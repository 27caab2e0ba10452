//! Figures of the journal on this machine's disk: `cargo bench -p telemetry-core --bench journal [-- DIRECTORY]`.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use telemetry_core::journal::{
    Appended, CommitSink, DiskStorage, Journal, JournalSettings, Outcome, Position, Record, Replay, Storage as _,
};

const PATIENCE: Duration = Duration::from_secs(60);
const RUN: Duration = Duration::from_secs(2);

struct Nobody;

impl CommitSink<()> for Nobody {
    fn committed(&self, _: Vec<Appended<()>>) {}
    fn failed(&self, _: Vec<()>) {
        panic!("the disk of a benchmark must not fail");
    }
}

#[derive(Default)]
struct Count {
    records: u64,
    bytes: u64,
}

impl Replay for Count {
    fn checkpoint(&mut self, _: Position, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), String> {
        self.records += 1;
        self.bytes += record.payload.len() as u64;
        Ok(())
    }
}

fn main() {
    // Cargo passes flags of its own, such as --bench.
    let directory = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let scratch = tempfile::tempdir_in(directory.unwrap_or_else(|| ".".to_owned())).expect("a directory to write to");
    let at = |name: &str| Arc::new(DiskStorage::open(scratch.path().join(name)).expect("a directory to write to"));

    println!("{:<44} {:>12} {:>10} {:>10} {:>10}", "", "MB/s", "p50 us", "p99 us", "max us");
    fdatasync(&at("fdatasync"));
    appenders("one appender, 256 bytes", &at("small"), 1, 256);
    appenders("one appender, 64 KiB", &at("one"), 1, 65_536);
    appenders("32 appenders, 64 KiB", &at("many"), 32, 65_536);
    recovery(&at("many"));
}

/// The floor: one preallocated file, one small write and fdatasync at a time.
fn fdatasync(storage: &DiskStorage) {
    let file = storage.create("file", 64 * 1024 * 1024).expect("room");
    file.sync_data().expect("a disk");
    let begun = Instant::now();
    let mut micros = Vec::new();
    while begun.elapsed() < RUN {
        let each = Instant::now();
        file.write_at(&[7; 256], micros.len() as u64 * 256).expect("a disk");
        file.sync_data().expect("a disk");
        micros.push(each.elapsed().as_micros() as u64);
    }
    print("write and fdatasync alone, 256 bytes", micros.len() as u64 * 256, begun.elapsed(), micros);
}

fn appenders(title: &str, storage: &Arc<DiskStorage>, threads: usize, bytes: usize) {
    let journal = Arc::new(open(storage, &mut Count::default()));
    let begun = Instant::now();
    let appender = || {
        let journal = journal.clone();
        thread::spawn(move || {
            let payload = vec![7; bytes];
            let mut micros = Vec::new();
            while begun.elapsed() < RUN {
                let each = Instant::now();
                let ticket = journal.append(&payload, ()).expect("room");
                assert_eq!(ticket.wait(PATIENCE), Outcome::Committed);
                micros.push(each.elapsed().as_micros() as u64);
            }
            micros
        })
    };
    let appenders: Vec<_> = (0..threads).map(|_| appender()).collect();
    let micros: Vec<_> = appenders.into_iter().flat_map(|thread| thread.join().expect("an appender")).collect();
    print(title, micros.len() as u64 * bytes as u64, begun.elapsed(), micros);
    let stats = journal.stats();
    println!(
        "    {} records in {} groups, {} us a synchronization, {} segments",
        stats.records_committed,
        stats.syncs,
        stats.sync_micros_total / stats.syncs.max(1),
        stats.segments
    );
}

fn recovery(storage: &Arc<DiskStorage>) {
    let mut count = Count::default();
    let begun = Instant::now();
    open(storage, &mut count);
    let (megabytes, seconds) = (count.bytes as f64 / 1e6, begun.elapsed().as_secs_f64());
    println!("recovery of {megabytes:.0} MB: {seconds:.2} s, {:.0} MB/s", megabytes / seconds);
}

fn open(storage: &Arc<DiskStorage>, replay: &mut Count) -> Journal<()> {
    Journal::open(storage.clone(), JournalSettings::default(), Arc::new(Nobody), replay).expect("a journal").0
}

fn print(title: &str, bytes: u64, elapsed: Duration, mut micros: Vec<u64>) {
    micros.sort_unstable();
    let rate = bytes as f64 / 1e6 / elapsed.as_secs_f64();
    let at = |percent: usize| micros[(micros.len() * percent / 100).min(micros.len() - 1)];
    println!("{title:<44} {rate:>12.1} {:>10} {:>10} {:>10}", at(50), at(99), at(100));
}
