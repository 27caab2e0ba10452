//! What the registry of series costs from ten thousand series to ten million: `cargo bench -p telemetry-core --bench
//! registry`; `-- 1000000` stops there, and takes a tenth of the memory.
//!
//! Prints one JSON object a line. Nanoseconds are processor time of the measuring threads, bytes are resident memory. Keys
//! are those of the reference data set: five tags, about a hundred bytes. They are made outside what is timed.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use telemetry_core::series::{
    CommonTags, Descriptor, KeyBuilder, Meta, MetricType, RawDefinition, RawTag, Registry, SeriesKey, Source,
    StreamDictionary,
};

#[path = "cpu.rs"]
mod cpu;

use cpu::cpu_ns;

const SIZES: [usize; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
const META: Meta<'static> = Meta { metric_type: MetricType::Gauge, unit: "1", delta: false };
const BATCH: usize = 1_000;
/// Rows whose series are looked up together.
const TOGETHER: usize = 64;
/// Series of one node.
const NODE: usize = 100;
/// Series of one stream.
const STREAM: usize = 1_000;
/// Series that streams know, at most: what they remember is not the registry's memory.
const STREAMS_MAX: usize = 1_000;
const LOOKUPS: usize = 1_000_000;
/// Admissions between two looks at the clock.
const STEP: usize = 10;
/// What is looked at for memory: also where tables have just doubled.
const LANDMARK: usize = 100_000;

fn main() {
    let largest = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(usize::MAX);
    for threads in [1, 2] {
        let fleet = Fleet { registry: Registry::new(usize::MAX), threads };
        let mut known = 0;
        for size in SIZES.into_iter().filter(|size| *size <= largest) {
            fleet.grow(known, size);
            known = size;
            for order in [Order::Nodes, Order::Random] {
                for together in [false, true] {
                    fleet.look_up(size, order, together);
                    fleet.resolve(size, order, together);
                }
            }
        }
    }
}

struct Fleet {
    registry: Registry,
    threads: usize,
}

/// What one thread did.
#[derive(Default)]
struct Spent {
    cpu_ns: f64,
    longest_ns: f64,
}

impl Fleet {
    /// Admits new series until there are `to`.
    fn grow(&self, from: usize, to: usize) {
        let next = AtomicUsize::new(from);
        let (before, highest, key_bytes) = (resident_bytes(), AtomicUsize::new(0), AtomicUsize::new(0));
        let spent = self.run(|_| {
            let (mut keys, mut spent) = (Keys::default(), Spent::default());
            loop {
                let first = next.fetch_add(BATCH, Relaxed);
                if first >= to {
                    return spent;
                }
                let batch: Vec<SeriesKey> = (first..first + BATCH).map(|number| keys.key(number)).collect();
                let bytes: usize = batch.iter().map(|key| key.as_bytes().len()).sum();
                let so_far = key_bytes.fetch_add(bytes, Relaxed) + bytes;
                for step in batch.chunks(STEP) {
                    let begun = cpu_ns();
                    for key in step {
                        self.registry.admit(key.borrowed(), META, at(0)).expect("there is room");
                    }
                    let took = (cpu_ns() - begun) as f64;
                    spent.cpu_ns += took;
                    spent.longest_ns = spent.longest_ns.max(took);
                }
                if first.is_multiple_of(LANDMARK) && first - from >= (to - from) / 2 {
                    let each = (resident_bytes() - before - so_far as f64) / (first + BATCH - from) as f64;
                    highest.fetch_max((each * 10.0) as usize, Relaxed);
                }
            }
        });
        let added = (to - from) as f64;
        let longest_ms = spent.iter().map(|spent| spent.longest_ns).fold(0.0, f64::max) / 1e6;
        let key = key_bytes.load(Relaxed) as f64 / added;
        self.print("admit a new series, to", to, sum(&spent) / added);
        println!(r#"{{"stage": "longest {STEP} admissions in a row, to {to}", "ms": {longest_ms:.3}}}"#);
        println!(
            r#"{{"stage": "memory of a series beside its key, from {from} to {to}", "bytes": {:.1}, "highest": {:.1}, "key": {key:.1}}}"#,
            (resident_bytes() - before) / added - key,
            highest.load(Relaxed) as f64 / 10.0
        );
    }

    /// Looks for known series by their keys: those of a batch together, as points of rows do, or each by itself.
    fn look_up(&self, size: usize, order: Order, together: bool) {
        let spent = self.run(|thread| {
            let (mut keys, mut random, mut spent) = (Keys::default(), Random(thread as u64 + 1), Spent::default());
            let mut found = Vec::new();
            for round in 0..LOOKUPS / BATCH {
                let numbers = order.series(size, BATCH, &mut random);
                let batch: Vec<SeriesKey> = numbers.into_iter().map(|number| keys.key(number)).collect();
                let source = at(round);
                let begun = cpu_ns();
                for keys in batch.chunks(TOGETHER) {
                    if together {
                        self.registry.lookup_together(keys.iter().map(SeriesKey::borrowed), &mut found);
                    } else {
                        found.resize(keys.len(), None);
                    }
                    for (key, series) in keys.iter().zip(found.drain(..)) {
                        self.registry.admit_found(series, key.borrowed(), META, source).expect("it is known");
                    }
                }
                spent.cpu_ns += (cpu_ns() - begun) as f64;
            }
            spent
        });
        let what = format!("look up a known series by its key, {}, {}, of", way(together), order.name());
        self.print(&what, size, sum(&spent) / (LOOKUPS * self.threads) as f64);
    }

    /// Resolves the series of streams, one stream after the other, as batches of columns come in: those of a batch
    /// together, or each by itself.
    fn resolve(&self, size: usize, order: Order, together: bool) {
        let streams = (size / STREAM).min(STREAMS_MAX);
        let before = resident_bytes();
        let share = streams / self.threads;
        let bytes = AtomicUsize::new(0);
        let spent = self.run(|thread| {
            let (mut builder, mut spent) = (KeyBuilder::default(), Spent::default());
            let mut random = Random(thread as u64 + 1);
            let mut common = CommonTags::default();
            common.update(&[], b"node");
            let mut open: Vec<(StreamDictionary, Vec<Arc<Descriptor>>)> = (0..share)
                .map(|_| stream_of(&order.series(size, STREAM, &mut random), &common, &mut builder, &self.registry))
                .collect();
            if thread == 0 {
                bytes.store((resident_bytes() - before).max(0.0) as usize, Relaxed);
            }
            let rounds = (LOOKUPS / STREAM / share).max(1);
            for round in 0..rounds {
                let source = at(round + 1);
                for (dictionary, series) in &mut open {
                    let begun = cpu_ns();
                    if together {
                        self.registry.approach(series);
                    }
                    dictionary.begin();
                    for id in 0..STREAM as u32 {
                        let place = dictionary.place(id).expect("it is defined");
                        let series = dictionary.resolve(place, &common, &mut builder, &self.registry, source);
                        std::hint::black_box(series.expect("it is known"));
                    }
                    spent.cpu_ns += (cpu_ns() - begun) as f64;
                }
            }
            spent.cpu_ns /= (rounds * share * STREAM) as f64;
            spent
        });
        let what = format!("resolve a known series of a stream, {}, {}, of", way(together), order.name());
        self.print(&what, size, sum(&spent) / self.threads as f64);
        if self.threads == 1 && !together {
            let each = bytes.load(Relaxed) as f64 / (streams * STREAM) as f64 - size_of::<usize>() as f64;
            println!(r#"{{"stage": "memory of a stream's definition, {streams} streams", "bytes": {each:.1}}}"#);
        }
    }

    fn run(&self, work: impl Fn(usize) -> Spent + Sync) -> Vec<Spent> {
        let work = &work;
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|thread| scope.spawn(move || work(thread))).collect();
            threads.into_iter().map(|thread| thread.join().expect("nothing in it panics")).collect()
        })
    }

    fn print(&self, what: &str, size: usize, ns: f64) {
        println!(r#"{{"stage": "{what} {size}, {} threads", "ns": {ns:.1}}}"#, self.threads);
    }
}

/// A batch's source. Time goes on from one to the next, so each has to note when its series were seen.
fn at(batch: usize) -> Source<'static> {
    Source { identity: "bench", series_max: usize::MAX, now_secs: 1 + batch as u64 }
}

fn way(together: bool) -> &'static str {
    if together { "together" } else { "one by one" }
}

/// In which order a batch names its series.
#[derive(Clone, Copy)]
enum Order {
    /// All of a node's, then another's.
    Nodes,
    /// None.
    Random,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Nodes => "node by node",
            Self::Random => "in no order",
        }
    }

    /// The numbers of `count` of `size` series.
    fn series(self, size: usize, count: usize, random: &mut Random) -> Vec<usize> {
        match self {
            Self::Nodes => (0..count / NODE)
                .map(|_| random.below(size / NODE) * NODE)
                .flat_map(|first| first..first + NODE)
                .collect(),
            Self::Random => (0..count).map(|_| random.below(size)).collect(),
        }
    }
}

fn sum(spent: &[Spent]) -> f64 {
    spent.iter().map(|spent| spent.cpu_ns).sum()
}

/// Makes keys by number: a hundred devices on each node.
#[derive(Default)]
struct Keys {
    builder: KeyBuilder,
    common: Option<CommonTags>,
}

impl Keys {
    fn key(&mut self, number: usize) -> SeriesKey {
        let common = self.common.get_or_insert_with(|| {
            let mut common = CommonTags::default();
            common.update(&[], b"node");
            common
        });
        let (node, device) = names(number);
        self.builder.build(b"system.cpu.usage", &tags(&node, &device), common).expect("it is valid").to_key()
    }
}

/// A stream that has resolved all its series, and these.
fn stream_of(
    series: &[usize],
    common: &CommonTags,
    builder: &mut KeyBuilder,
    registry: &Registry,
) -> (StreamDictionary, Vec<Arc<Descriptor>>) {
    let mut dictionary = StreamDictionary::new(b"node");
    let mut resolved = Vec::new();
    dictionary.begin();
    for (id, &number) in (0_u32..).zip(series) {
        let (node, device) = names(number);
        let tags = tags(&node, &device);
        let raw = RawDefinition {
            name: b"system.cpu.usage",
            tags: &tags,
            crowd: None,
            type_number: 2,
            unit: b"1",
            delta: false,
        };
        dictionary.define(id, raw).expect("there is room");
        let place = dictionary.place(id).expect("it is defined");
        resolved.push(Arc::clone(dictionary.resolve(place, common, builder, registry, at(0)).expect("it is known")));
    }
    (dictionary, resolved)
}

/// The node and the device of a series.
fn names(number: usize) -> (String, String) {
    (format!("node-{:05}", number / NODE), format!("device-{}", number % NODE))
}

fn tags<'a>(node: &'a str, device: &'a str) -> [RawTag<'a>; 5] {
    [
        (b"device", device.as_bytes()),
        (b"node_id", node.as_bytes()),
        (b"region", b"eu-central"),
        (b"service", b"training"),
        (b"zone", b"eu-central-1"),
    ]
}

/// Numbers that look random: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16) as usize % bound
    }
}

fn resident_bytes() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4_096.0
}
