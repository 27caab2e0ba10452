//! Prometheus' remote write, version 1: a `WriteRequest`.
//!
//! A sample becomes a point: the label `__name__` is its name, the others are its tags. Which type a series has is told
//! seldom and elsewhere, so it is read from its name: what Prometheus' conventions call a total, count, sum or bucket is a
//! counter, the rest are gauges. A value that is not a number says that there is none, as when a target is gone; one that
//! is infinite has no place in a point. Both are left out and counted: refusing one such sample would make the whole request an
//! error to its sender.

use super::{Batches, Kind, Renames, RequestFault};
use crate::series::MetricType;
use crate::wire::proto::{FIXED64, LENGTH, Reader, Span, VARINT, WireFault, key};

const NAME_LABEL: &[u8] = b"__name__";
const COUNTER_ENDINGS: [&[u8]; 4] = [b"_total", b"_count", b"_sum", b"_bucket"];

/// Writes the samples of a request.
///
/// # Errors
/// [`RequestFault::Wire`] when the body is no such request.
pub fn translate(body: &[u8], renames: &Renames, batches: &mut Batches) -> Result<(), RequestFault> {
    request(Reader::new(body), renames, batches)
        .map_err(|fault| RequestFault::Wire { what: "a Prometheus WriteRequest", fault })
}

fn request(mut request: Reader<'_>, renames: &Renames, batches: &mut Batches) -> Result<(), WireFault> {
    const TIMESERIES: u32 = key(1, LENGTH);

    let mut labels = Vec::new();
    while let Some(field) = request.key()? {
        match field {
            TIMESERIES => series(request.message()?, renames, batches, &mut labels)?,
            _ => request.skip(field)?,
        }
    }
    Ok(())
}

/// Walked twice: labels that stand behind samples are theirs, too.
fn series(
    series: Reader<'_>,
    renames: &Renames,
    batches: &mut Batches,
    labels: &mut Vec<(Span, Span)>,
) -> Result<(), WireFault> {
    const LABELS: u32 = key(1, LENGTH);
    const SAMPLES: u32 = key(2, LENGTH);
    const EXEMPLARS: u32 = key(3, LENGTH);
    const HISTOGRAMS: u32 = key(4, LENGTH);

    let body = series.body();
    labels.clear();
    let mut name = &[][..];
    let mut first = series;
    while let Some(field) = first.key()? {
        if field != LABELS {
            first.skip(field)?;
            continue;
        }
        let (label, value) = label(first.message()?)?;
        if label.of(body) == NAME_LABEL {
            name = value.of(body);
        } else {
            labels.push((label, value));
        }
    }
    batches.series(name);
    for (label, value) in &*labels {
        renames.tag(label.of(body), value.of(body), batches);
    }
    let is_counter = COUNTER_ENDINGS.iter().any(|ending| name.ends_with(ending));
    let metric_type = if is_counter { MetricType::Counter } else { MetricType::Gauge };
    let kind = Kind { metric_type, unit: &[], delta: false };
    let mut second = series;
    while let Some(field) = second.key()? {
        match field {
            SAMPLES => {
                let (value, timestamp_ms) = sample(second.message()?)?;
                if value.is_finite() {
                    // A time before 1970 would be read as the time of receipt or far ahead; the first instant is refused.
                    let timestamp_unix_ns = u64::try_from(timestamp_ms).unwrap_or(0).saturating_mul(1_000_000).max(1);
                    batches.value(kind, timestamp_unix_ns.min(i64::MAX as u64), value);
                } else {
                    batches.left().points_without_value += 1;
                }
            }
            EXEMPLARS => {
                batches.left().exemplars += 1;
                second.span()?;
            }
            HISTOGRAMS => {
                batches.left().native_histograms += 1;
                second.span()?;
            }
            _ => second.skip(field)?,
        }
    }
    Ok(())
}

fn label(mut label: Reader<'_>) -> Result<(Span, Span), WireFault> {
    const NAME: u32 = key(1, LENGTH);
    const VALUE: u32 = key(2, LENGTH);

    let (mut name, mut value) = (Span::default(), Span::default());
    while let Some(field) = label.key()? {
        match field {
            NAME => name = label.span()?,
            VALUE => value = label.span()?,
            _ => label.skip(field)?,
        }
    }
    Ok((name, value))
}

fn sample(mut sample: Reader<'_>) -> Result<(f64, i64), WireFault> {
    const VALUE: u32 = key(1, FIXED64);
    const TIMESTAMP: u32 = key(2, VARINT);

    let (mut value, mut timestamp_ms) = (0.0, 0);
    while let Some(field) = sample.key()? {
        match field {
            VALUE => value = sample.double()?,
            TIMESTAMP => timestamp_ms = sample.varint()? as i64,
            _ => sample.skip(field)?,
        }
    }
    Ok((value, timestamp_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::translate::{BatchesMax, Left, Translated};
    use crate::wire::decode::RowData;
    use crate::wire::proto::{put_bytes, put_fixed64, put_number};
    use crate::wire::{DecodeScratch, decode};

    fn timeseries(labels: &[(&str, &str)], samples: &[(f64, i64)], others: &[u32]) -> Vec<u8> {
        let mut series = Vec::new();
        for &(value, timestamp_ms) in samples {
            let mut sample = Vec::new();
            put_fixed64(&mut sample, 1, value.to_bits());
            put_number(&mut sample, 2, timestamp_ms as u64);
            put_bytes(&mut series, 2, &sample);
        }
        for (name, value) in labels {
            let mut label = Vec::new();
            put_bytes(&mut label, 1, name.as_bytes());
            put_bytes(&mut label, 2, value.as_bytes());
            put_bytes(&mut series, 1, &label);
        }
        for &field in others {
            put_bytes(&mut series, field, b"");
        }
        let mut request = Vec::new();
        put_bytes(&mut request, 1, &series);
        request
    }

    fn translated(request: &[u8]) -> Translated {
        let mut batches = Batches::new(BatchesMax { points: 1_000, frame_bytes: 1 << 20, request_bytes: 1 << 24 });
        translate(request, &Renames::new([("instance", "node_id")]), &mut batches).expect("a request");
        batches.finish().expect("small enough")
    }

    #[test]
    fn samples_become_points_of_the_series_that_the_labels_name() {
        let mut request = timeseries(
            &[("__name__", "http_requests_total"), ("instance", "n1"), ("job", "")],
            &[(1.0, 5), (2.5, 6)],
            &[],
        );
        request.extend(timeseries(&[("__name__", "up"), ("job", "a")], &[(3.0, -1)], &[]));
        let translated = translated(&request);
        let mut scratch = DecodeScratch::default();
        let batch = decode(&translated.frames[0], &Limits::default(), &mut scratch).expect("a batch");
        let rows: Vec<_> = batch
            .rows()
            .iter()
            .map(|row| {
                let RowData::Value(value) = row.data else { panic!("{row:?}") };
                let tags: Vec<_> =
                    batch.tags(row).iter().map(|tag| (batch.text(tag.key), batch.text(tag.value))).collect();
                (batch.text(row.name), tags, row.metric_type, row.timestamp_unix_ns, value)
            })
            .collect();
        let node = vec![(&b"node_id"[..], &b"n1"[..])];
        assert_eq!(
            rows,
            [
                (&b"http_requests_total"[..], node.clone(), 1, 5_000_000, 1.0),
                (b"http_requests_total", node, 1, 6_000_000, 2.5),
                (b"up", vec![(b"job", b"a")], 2, 1, 3.0),
            ]
        );
    }

    #[test]
    fn what_has_no_place_is_counted() {
        let stale = f64::from_bits(0x7ff0_0000_0000_0002);
        let translated = translated(&timeseries(
            &[("__name__", "up")],
            &[(stale, 1), (f64::INFINITY, 2), (f64::NEG_INFINITY, 3)],
            &[3, 4, 4],
        ));
        let left = Left { exemplars: 1, points_without_value: 3, native_histograms: 2, ..Left::default() };
        assert_eq!((translated.points, translated.left), (0, left));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let mut batches = Batches::new(BatchesMax { points: 1, frame_bytes: 1, request_bytes: 1 << 20 });
        let fault = translate(b"\x0a\x05abc", &Renames::default(), &mut batches).expect_err("cut short");
        assert!(fault.to_string().starts_with("not a Prometheus WriteRequest"), "{fault}");
    }
}
