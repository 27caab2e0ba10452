//! What a point costs between the wire and its destinations: `cargo bench -p telemetry-core --bench columns`.
//!
//! 1,000 series of one node with five tags, three of them common to the batch; each batch has one point a series.
#![allow(missing_docs, reason = "the macros of the harness make public items")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use telemetry_core::columns::{
    ArrowAssembler, BatchHeader, BlockBuilder, BlockDecoder, BlockEncoder, PointBlock, TimestampUnit,
};
use telemetry_core::line_protocol::LineEncoder;
use telemetry_core::series::{
    CommonTags, KeyBuilder, Meta, MetricType, RawDefinition, RawTag, Registry, Source, StreamDictionary,
};

const SERIES: usize = 1_000;
const META: Meta<'static> = Meta { metric_type: MetricType::Gauge, unit: "By", delta: false };
const SOURCE: Source<'static> = Source { identity: "bench", series_max: usize::MAX, now_secs: 1 };

struct Series {
    name: String,
    device: String,
    mode: &'static str,
}

impl Series {
    fn all() -> Vec<Self> {
        let names = ["cpu_seconds", "memory_bytes", "disk_io_ops", "net_rx_bytes", "http_requests"];
        let modes = ["user", "system", "idle", "iowait"];
        let one = |i: usize| Self {
            name: format!("node_{}_{}_total", names[i % 5], i % 20),
            device: format!("dev{i}"),
            mode: modes[i % 4],
        };
        (0..SERIES).map(one).collect()
    }

    /// Own tags, as an agent sends them.
    fn tags(&self) -> [RawTag<'_>; 2] {
        [(b"device", self.device.as_bytes()), (b"mode", self.mode.as_bytes())]
    }

    /// All five as own tags, in no order.
    fn all_tags(&self) -> [RawTag<'_>; 5] {
        let [device, mode] = self.tags();
        [(b"node_id", b"node-0001.dc1.example"), device, mode, (b"region", b"eu-west-1"), (b"service", b"svc-17")]
    }
}

fn common() -> CommonTags {
    let mut common = CommonTags::default();
    common.update(&[(b"region", b"eu-west-1"), (b"service", b"svc-17")], b"node-0001.dc1.example");
    common
}

fn header() -> BatchHeader {
    BatchHeader {
        identity: "spiffe://example.org/node-0001.dc1.example".into(),
        epoch: 1,
        sequence: 1,
        oldest_unacknowledged: 1,
        received_unix_us: 1_700_000_000_000_000,
    }
}

fn block(registry: &Registry) -> PointBlock {
    let (mut keys, mut builder, common) = (KeyBuilder::default(), BlockBuilder::default(), common());
    for (point, series) in (0_u32..).zip(&Series::all()) {
        let key = keys.build(series.name.as_bytes(), &series.tags(), &common).expect("valid");
        let series = registry.admit(key, META, SOURCE).expect("there is room");
        let index = builder.descriptor(&series);
        let jitter = i64::from(point * 7 % 3) * 1_000_000;
        builder.push(index, 1_700_000_000_000_000_000 + jitter, f64::from(point * 7_919 % 100_000) / 100.0);
    }
    builder.finish(header())
}

fn admission(criterion: &mut Criterion) {
    let series = Series::all();
    let mut group = criterion.benchmark_group("admission");
    group.throughput(Throughput::Elements(SERIES as u64));
    let (mut keys, registry, common) = (KeyBuilder::default(), Registry::new(1_000_000), common());
    let tags: Vec<_> = series.iter().map(|one| (one.name.as_bytes(), one.tags(), one.all_tags())).collect();
    let mut none = CommonTags::default();
    none.update(&[], b"node-0001.dc1.example");
    group.bench_function("row: key of five own tags", |bencher| {
        bencher.iter(|| {
            for (name, _, own) in &tags {
                black_box(keys.build(name, own, &none).expect("valid"));
            }
        });
    });
    group.bench_function("row: key of two own and three common tags, admit", |bencher| {
        bencher.iter(|| {
            for (name, own, _) in &tags {
                let key = keys.build(name, own, &common).expect("valid");
                black_box(registry.admit(key, META, SOURCE).expect("there is room"));
            }
        });
    });
    group.bench_function("row: key of five own tags, admit", |bencher| {
        bencher.iter(|| {
            for (name, _, own) in &tags {
                let key = keys.build(name, own, &none).expect("valid");
                black_box(registry.admit(key, META, SOURCE).expect("there is room"));
            }
        });
    });
    let mut dictionary = StreamDictionary::new(b"node-0001.dc1.example");
    for (id, (name, own, _)) in (0..).zip(&tags) {
        let definition = RawDefinition { name, tags: own, crowd: None, type_number: 2, unit: b"By", delta: false };
        dictionary.define(id, definition).expect("there is room");
    }
    let mut builder = BlockBuilder::default();
    group.bench_function("columns: resolve, build the block", |bencher| {
        bencher.iter(|| {
            dictionary.begin();
            for id in 0..SERIES as u32 {
                let place = dictionary.place(id).expect("it is defined");
                let index = if let Some(index) = dictionary.index(place) {
                    index
                } else {
                    let resolved = dictionary.resolve(place, &common, &mut keys, &registry, SOURCE).expect("valid");
                    let index = builder.descriptor(resolved);
                    dictionary.set_index(place, index);
                    index
                };
                builder.push(index, 1_700_000_000_000_000_000, 1.5);
            }
            black_box(builder.finish(header()))
        });
    });
    group.finish();
}

fn journal(criterion: &mut Criterion) {
    let registry = Registry::new(1_000_000);
    let block = block(&registry);
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(SERIES as u64));
    let mut bytes = Vec::new();
    let mut warm = BlockEncoder::new().expect("there is memory");
    warm.encode(&block, &mut bytes).expect("the block is small");
    println!("journal: {:.1} bytes a point", bytes.len() as f64 / SERIES as f64);
    group.bench_function("encode, series known", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            warm.encode(&block, &mut bytes).expect("the block is small");
        });
    });
    group.bench_function("encode, series new", |bencher| {
        let renew = || {
            let mut block = block.clone();
            block.descriptors = block.descriptors.iter().map(|descriptor| Arc::new((**descriptor).clone())).collect();
            block
        };
        bencher.iter_batched(
            renew,
            |block| {
                bytes.clear();
                warm.encode(&block, &mut bytes).expect("the block is small");
                block
            },
            BatchSize::SmallInput,
        );
    });
    let mut decoder = BlockDecoder::new().expect("there is memory");
    let record = {
        let mut record = Vec::new();
        warm.encode(&block, &mut record).expect("the block is small");
        record
    };
    group.bench_function("decode, series known", |bencher| bencher.iter(|| decoder.decode(&record).expect("valid")));
    group.finish();
}

fn destinations(criterion: &mut Criterion) {
    let registry = Registry::new(1_000_000);
    let block = block(&registry);
    let mut group = criterion.benchmark_group("destinations");
    group.throughput(Throughput::Elements(10 * SERIES as u64));
    let mut assembler = ArrowAssembler::new();
    group.bench_function("arrow, ten blocks", |bencher| {
        bencher.iter(|| {
            for _ in 0..10 {
                assembler.push(&block).expect("the block is small");
            }
            assembler.finish(TimestampUnit::Microseconds).expect("the columns fit together")
        });
    });
    group.bench_function("arrow, ten blocks, a new assembler", |bencher| {
        bencher.iter(|| {
            let mut assembler = ArrowAssembler::new();
            for _ in 0..10 {
                assembler.push(&block).expect("the block is small");
            }
            assembler.finish(TimestampUnit::Microseconds).expect("the columns fit together")
        });
    });
    group.bench_function("line protocol, ten blocks", |bencher| {
        bencher.iter(|| {
            let mut encoder = LineEncoder::new(1 << 20);
            for _ in 0..10 {
                encoder.push(&block);
            }
            encoder.finish()
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(std::time::Duration::from_secs(2)).sample_size(30);
    targets = admission, journal, destinations
}
criterion_main!(benches);
