//! What each stage of the data plane costs: `cargo bench -p telemetry-core --bench stages -- "columnar: decode"`.
//!
//! Time is that of the measuring thread's processor: what else the machine does disturbs it least, and commits, which are
//! another thread's, are not counted.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput};

mod agent;
mod cpu;
mod stage;

use cpu::cpu_ns;
use stage::SHAPES;

fn main() {
    let settings = Criterion::default().with_measurement(ProcessorTime(WallTime));
    let times = settings.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2)).sample_size(30);
    let mut criterion = times.configure_from_args();
    for shape in SHAPES {
        let mut group = criterion.benchmark_group(shape.name);
        for stage in stage::all() {
            group.throughput(Throughput::Elements(stage.points as u64));
            let mut work = None;
            group.bench_function(&stage.name, |bencher| {
                let work = work.get_or_insert_with(|| (stage.prepare)(shape));
                bencher.iter_custom(|steps| {
                    let mut took = 0;
                    for _ in 0..steps {
                        let start = cpu_ns();
                        work.step();
                        took += cpu_ns() - start;
                        work.settle();
                    }
                    took
                });
            });
        }
        group.finish();
    }
    criterion.final_summary();
}

/// Shown as wall time is.
struct ProcessorTime(WallTime);

impl Measurement for ProcessorTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        cpu_ns()
    }

    fn end(&self, start: u64) -> u64 {
        cpu_ns() - start
    }

    fn add(&self, one: &u64, other: &u64) -> u64 {
        one + other
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}
