use std::hint::black_box;
use std::time::Instant;
use telemetry_core::limits::Limits;
use telemetry_core::wire::*;
fn main() {
    let series: Vec<OutgoingSeries> = (0..1000)
        .map(|i| OutgoingSeries {
            name: format!("system.cpu.usage.{}", i % 50).into(),
            tags: [
                ("core", i.to_string()),
                ("state", "user".into()),
                ("host", "node-0001.example".into()),
                ("rack", "r12".into()),
                ("os", "linux".into()),
            ]
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect(),
            metric_type: 2,
            unit: "1".into(),
            delta: false,
        })
        .collect();
    for (form, compression) in [
        (Form::Row, Compression::None),
        (Form::Columnar, Compression::None),
        (Form::Row, Compression::Zstd),
        (Form::Row, Compression::Gzip),
    ] {
        for jitter in [0, 1_234_567] {
            let index: Vec<u32> = (0..1000).collect();
            let ts: Vec<i64> = (0..1000).map(|i| 1_790_000_000_000_000_000 + i * jitter).collect();
            let values: Vec<f64> = (0..1000).map(|i| i as f64 * 0.5).collect();
            let batch =
                OutgoingBatch::new(vec![("node_id".into(), "n".into())], series.clone(), index, ts, values).unwrap();
            let mut enc = FrameEncoder::new(EncoderSettings { form, compression, ..Default::default() }).unwrap();
            let mut frame = vec![];
            for _ in 0..2 {
                frame.clear();
                enc.frame(
                    Some(&batch),
                    BatchName { sequence: 1, epoch: 1, oldest_unacknowledged: 1 },
                    None,
                    &mut frame,
                )
                .unwrap();
            }
            let mut scratch = DecodeScratch::default();
            let limits = Limits::default();
            let mut best = f64::MAX;
            for _ in 0..20 {
                let t = Instant::now();
                for _ in 0..200 {
                    black_box(decode(black_box(&frame[4..]), &limits, &mut scratch).unwrap().points);
                }
                best = best.min(t.elapsed().as_nanos() as f64 / 200_000.0);
            }
            let t = Instant::now();
            for _ in 0..200 {
                frame.clear();
                enc.frame(
                    Some(&batch),
                    BatchName { sequence: 1, epoch: 1, oldest_unacknowledged: 1 },
                    None,
                    &mut frame,
                )
                .unwrap();
            }
            println!(
                "{form:?} {compression:?} jitter {jitter}: {} bytes, decode {best:.1} ns/point, encode {:.0} ns/point",
                frame.len(),
                t.elapsed().as_nanos() as f64 / 200_000.0
            );
        }
    }
}
