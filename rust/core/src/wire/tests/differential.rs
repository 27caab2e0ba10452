//! The decoder against another implementation of protobuf (prost): batches whose fields come in any order, split, merged,
//! packed or not, between unknown fields. Both must see the same batch, and both must see what is wrong with it.

use std::io::Write;

use proptest::prelude::*;
use prost::Message as _;

use super::dense::dense_columns;
use super::dense_reference::{self, DenseFields, Said, triple};
use super::{bytes, fixed, number};
use crate::limits::Limits;
use crate::wire::decode::{DecodeScratch, DecodedBatch, RowData, decode, decode_with};
use crate::wire::dense::DENSE_POINTS_MAX;
use crate::wire::proto::{key, put_varint, zigzag};

/// The schema as prost sees it, with the contract's names. Strings are bytes, because invalid UTF-8 is for points to answer for.
#[allow(clippy::struct_field_names)]
mod schema {
    /// Declares messages in the order of their fields.
    macro_rules! messages {
        ($($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {$(
            #[derive(Clone, PartialEq, prost::Message)]
            pub(super) struct $name { $($(#[$attribute])* pub(super) $field: $type,)* }
        )*};
    }

    messages! {
        MetricBatch {
            #[prost(uint64, tag = "1")] sequence: u64,
            #[prost(fixed64, tag = "2")] epoch: u64,
            #[prost(message, repeated, tag = "3")] common_tags: Vec<Tag>,
            #[prost(message, repeated, tag = "4")] metrics: Vec<Metric>,
            #[prost(message, repeated, tag = "5")] series: Vec<SeriesDefinition>,
            #[prost(message, repeated, tag = "6")] points: Vec<PointColumns>,
            #[prost(message, optional, tag = "7")] heartbeat: Option<Heartbeat>,
            #[prost(uint64, tag = "9")] oldest_unacknowledged: u64,
        }
        Tag {
            #[prost(bytes = "vec", tag = "1")] key: Vec<u8>,
            #[prost(bytes = "vec", tag = "2")] value: Vec<u8>,
        }
        Metric {
            #[prost(bytes = "vec", tag = "1")] name: Vec<u8>,
            #[prost(message, repeated, tag = "2")] tags: Vec<Tag>,
            #[prost(int32, tag = "3")] metric_type: i32,
            #[prost(bytes = "vec", tag = "4")] unit: Vec<u8>,
            #[prost(fixed64, tag = "5")] timestamp_unix_ns: u64,
            #[prost(oneof = "super::Data", tags = "6, 7, 8")] data: Option<super::Data>,
            #[prost(bool, tag = "9")] delta: bool,
        }
        Histogram {
            #[prost(uint64, tag = "1")] count: u64,
            #[prost(double, tag = "2")] sum: f64,
            #[prost(double, optional, tag = "3")] min: Option<f64>,
            #[prost(double, optional, tag = "4")] max: Option<f64>,
            #[prost(double, repeated, tag = "5")] upper_bounds: Vec<f64>,
            #[prost(uint64, repeated, tag = "6")] bucket_counts: Vec<u64>,
        }
        Summary {
            #[prost(uint64, tag = "1")] count: u64,
            #[prost(double, tag = "2")] sum: f64,
            #[prost(message, repeated, tag = "3")] quantiles: Vec<Quantile>,
        }
        Quantile {
            #[prost(double, tag = "1")] quantile: f64,
            #[prost(double, tag = "2")] value: f64,
        }
        SeriesDefinition {
            #[prost(uint32, tag = "1")] id: u32,
            #[prost(bytes = "vec", tag = "2")] name: Vec<u8>,
            #[prost(message, repeated, tag = "3")] tags: Vec<Tag>,
            #[prost(int32, tag = "4")] metric_type: i32,
            #[prost(bytes = "vec", tag = "5")] unit: Vec<u8>,
            #[prost(bool, tag = "6")] delta: bool,
        }
        PointColumns {
            #[prost(uint32, repeated, tag = "1")] series_ids: Vec<u32>,
            #[prost(fixed64, tag = "2")] base_timestamp_unix_ns: u64,
            #[prost(sint64, repeated, tag = "3")] timestamp_deltas_ns: Vec<i64>,
            #[prost(double, repeated, tag = "4")] values: Vec<f64>,
            #[prost(uint32, tag = "5")] dense_points: u32,
            #[prost(bytes = "vec", tag = "6")] series_runs: Vec<u8>,
            #[prost(bytes = "vec", tag = "7")] time_runs: Vec<u8>,
            #[prost(bytes = "vec", tag = "8")] value_heads: Vec<u8>,
            #[prost(bytes = "vec", tag = "9")] value_bits: Vec<u8>,
            #[prost(uint32, tag = "10")] references: u32,
        }
        Heartbeat {
            #[prost(bytes = "vec", tag = "1")] worker_id: Vec<u8>,
            #[prost(double, tag = "2")] cpu_usage: f64,
            #[prost(double, tag = "3")] memory_usage: f64,
            #[prost(double, tag = "4")] gpu_usage: f64,
            #[prost(message, repeated, tag = "5")] running_tasks: Vec<RunningTask>,
            #[prost(fixed64, tag = "6")] timestamp_unix_ns: u64,
        }
        RunningTask {
            #[prost(bytes = "vec", tag = "1")] task_id: Vec<u8>,
            #[prost(bytes = "vec", tag = "2")] name: Vec<u8>,
            #[prost(bytes = "vec", tag = "3")] status: Vec<u8>,
            #[prost(fixed64, tag = "4")] started_unix_ns: u64,
        }
    }
}

use schema::{
    Heartbeat, Histogram, Metric, MetricBatch, PointColumns, Quantile, RunningTask, SeriesDefinition, Summary, Tag,
};

#[derive(Clone, PartialEq, prost::Oneof)]
enum Data {
    #[prost(double, tag = "6")]
    Value(f64),
    #[prost(message, tag = "7")]
    Histogram(Histogram),
    #[prost(message, tag = "8")]
    Summary(Summary),
}

/// What the contract makes of a batch's columns. `None` when it is malformed.
fn judge(batch: &MetricBatch) -> Option<Said> {
    let in_range = |timestamp: u64| i64::try_from(timestamp).is_ok();
    let heartbeat = batch.heartbeat.iter();
    let times =
        heartbeat.flat_map(|it| it.running_tasks.iter().map(|task| task.started_unix_ns).chain([it.timestamp_unix_ns]));
    let sound = batch.sequence < 1 << 63
        && (batch.sequence > 0 || batch.epoch == 0)
        && batch.oldest_unacknowledged <= batch.sequence
        && batch.metrics.iter().all(|metric| in_range(metric.timestamp_unix_ns))
        && times.into_iter().all(in_range);
    if !sound {
        return None;
    }
    let mut said = Said::default();
    let mut dense_points = 0;
    for columns in &batch.points {
        if let Some(fields) = dense_fields(columns) {
            dense_points += fields.points as usize;
            if dense_points > DENSE_POINTS_MAX || !is_alone(columns) {
                return None;
            }
            said.add(dense_reference::said_by(&fields)?);
            continue;
        }
        let (ids, deltas) = (&columns.series_ids, &columns.timestamp_deltas_ns);
        let equal = columns.values.len() == ids.len() && (deltas.is_empty() || deltas.len() == ids.len());
        if !equal || !in_range(columns.base_timestamp_unix_ns) {
            return None;
        }
        let mut timestamp = i128::from(columns.base_timestamp_unix_ns);
        for (place, &id) in ids.iter().enumerate() {
            timestamp += deltas.get(place).map_or(0, |&delta| i128::from(delta));
            let mut whole = i64::try_from(timestamp).ok()?;
            if whole == 0 && !deltas.is_empty() {
                whole = 1;
            }
            said.points.push((id, whole, columns.values[place].to_bits()));
        }
    }
    Some(said)
}

/// The fields of the dense form, where any of them is set.
fn dense_fields(columns: &PointColumns) -> Option<DenseFields<'_>> {
    let PointColumns { series_ids, dense_points, series_runs, time_runs, value_heads, value_bits, .. } = columns;
    let references = columns.references;
    let is_dense =
        *dense_points != 0 || [series_runs, time_runs, value_heads, value_bits].iter().any(|it| !it.is_empty());
    let (ids, points) = (series_ids.as_slice(), *dense_points);
    is_dense.then_some(DenseFields { ids, points, series_runs, time_runs, value_heads, value_bits, references })
}

/// Nothing of the plain form stands beside it but the ids.
fn is_alone(columns: &PointColumns) -> bool {
    columns.base_timestamp_unix_ns == 0 && columns.timestamp_deltas_ns.is_empty() && columns.values.is_empty()
}

/// A decoded batch, put back into the other implementation's messages, without its columns.
fn as_message(batch: &DecodedBatch<'_>) -> MetricBatch {
    let text = |span| batch.text(span).to_vec();
    let tags = |spans: &[crate::wire::decode::TagSpans]| {
        spans.iter().map(|tag| Tag { key: text(tag.key), value: text(tag.value) }).collect::<Vec<_>>()
    };
    let data = |data| match data {
        RowData::None => None,
        RowData::Value(value) => Some(Data::Value(value)),
        RowData::Histogram(place) => {
            let it = batch.histogram(place);
            let (upper_bounds, bucket_counts) = (it.upper_bounds.to_vec(), it.bucket_counts.to_vec());
            let (count, sum, min, max) = (it.count, it.sum, it.min, it.max);
            Some(Data::Histogram(Histogram { count, sum, min, max, upper_bounds, bucket_counts }))
        }
        RowData::Summary(place) => {
            let it = batch.summary(place);
            let quantiles = it.quantiles.iter().map(|row| Quantile { quantile: row.quantile, value: row.value });
            Some(Data::Summary(Summary { count: it.count, sum: it.sum, quantiles: quantiles.collect() }))
        }
    };
    let metrics = batch.rows().iter().map(|row| Metric {
        name: text(row.name),
        tags: tags(batch.tags(row)),
        metric_type: row.metric_type as i32,
        unit: text(row.unit),
        timestamp_unix_ns: row.timestamp_unix_ns as u64,
        data: data(row.data),
        delta: row.delta,
    });
    let series = batch.definitions().map(|it| SeriesDefinition {
        id: it.id,
        name: it.name.to_vec(),
        tags: it.tags.map(|(key, value)| Tag { key: key.to_vec(), value: value.to_vec() }).collect(),
        metric_type: it.metric_type as i32,
        unit: it.unit.to_vec(),
        delta: it.delta,
    });
    let running_tasks = batch.running_tasks().iter().map(|task| RunningTask {
        task_id: text(task.task_id),
        name: text(task.name),
        status: text(task.status),
        started_unix_ns: task.started_unix_ns as u64,
    });
    let running_tasks = running_tasks.collect::<Vec<_>>();
    MetricBatch {
        sequence: batch.sequence,
        epoch: batch.epoch,
        common_tags: tags(batch.common_tags()),
        metrics: metrics.collect(),
        series: series.collect(),
        points: Vec::new(),
        heartbeat: batch.heartbeat().map(|it| Heartbeat {
            worker_id: text(it.worker_id),
            cpu_usage: it.cpu_usage,
            memory_usage: it.memory_usage,
            gpu_usage: it.gpu_usage,
            running_tasks,
            timestamp_unix_ns: it.timestamp_unix_ns as u64,
        }),
        oldest_unacknowledged: batch.oldest_unacknowledged,
    }
}

/// Both decoders on the same message; `frame` is that message, or holds it compressed.
fn compare(message: &[u8], frame: &[u8]) -> Result<(), TestCaseError> {
    // So that all points are read, however many a damaged batch has.
    let limits = Limits { max_batch_size: DENSE_POINTS_MAX, ..Limits::default() };
    let Ok(mut theirs) = MetricBatch::decode(message) else {
        // prost is stricter than protobuf itself in places; where it refuses, decoding must merely survive.
        _ = decode(frame, &limits, &mut DecodeScratch::default());
        return Ok(());
    };
    let mut scratch = DecodeScratch::default();
    let ours = decode_with(&dense_reference::Fixed, frame, &limits, &mut scratch);
    let Some(said) = judge(&theirs) else {
        prop_assert!(ours.is_err(), "malformed, but taken");
        return Ok(());
    };
    let ours = ours.map_err(|malformed| TestCaseError::fail(format!("{malformed:?}")))?;
    let columns = ours.series_ids().iter().zip(ours.timestamps_unix_ns()).zip(ours.values());
    let columns = columns.map(|((&id, &timestamp), value)| (id, timestamp, value.to_bits()));
    let columns = columns.collect::<Vec<_>>();
    prop_assert_eq!((columns.len(), ours.references_unknown()), (said.points.len(), said.unknown));
    if !said.unknown {
        prop_assert_eq!(columns, said.points);
        prop_assert_eq!(ours.references().iter().map(triple).collect::<Vec<_>>(), said.kept);
    }
    prop_assert_eq!(ours.points, ours.series_ids().len() + theirs.metrics.len());
    theirs.points.clear();
    // As bytes, because NaN is not equal to itself.
    prop_assert_eq!(as_message(&ours).encode_to_vec(), theirs.encode_to_vec());
    Ok(())
}

pub(super) type Bytes = BoxedStrategy<Vec<u8>>;

/// Up to `max` of these fields, one after the other.
fn fields(field: impl Strategy<Value = Vec<u8>> + 'static, max: usize) -> Bytes {
    prop::collection::vec(field, 0..=max).prop_map(|fields| fields.concat()).boxed()
}

fn within(field: u32, content: Bytes) -> Bytes {
    content.prop_map(move |content| bytes(field, content)).boxed()
}

/// Numbers of every length, small ones more often than their share.
fn any_number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

fn varint(field: u32) -> Bytes {
    any_number().prop_map(move |value| number(field, value)).boxed()
}

fn double(field: u32) -> Bytes {
    any::<u64>().prop_map(move |bits| fixed(field, bits)).boxed()
}

fn time(field: u32) -> Bytes {
    prop_oneof![20 => 0..1_u64 << 63, 1 => any::<u64>()].prop_map(move |value| fixed(field, value)).boxed()
}

fn text(field: u32) -> Bytes {
    prop_oneof![
        9 => "[a-z.]{0,9}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
    .prop_map(move |text| bytes(field, text))
    .boxed()
}

/// Fields that no message knows, a group among them.
fn unknown() -> Bytes {
    let group = |inner: Vec<u8>| {
        let mut out = Vec::new();
        put_varint(&mut out, u64::from(key(14, 3)));
        out.extend(inner);
        put_varint(&mut out, u64::from(key(14, 4)));
        out
    };
    let fixed32 = Just(vec![key(13, 5) as u8, 1, 2, 3, 4]);
    prop_oneof![varint(15), double(12), text(11), fixed32, fields(varint(10), 2).prop_map(group)].boxed()
}

fn tag(field: u32) -> Bytes {
    let plain = ("[a-z]{1,9}", "[a-z0-9]{1,9}").prop_map(|(key, value)| [bytes(1, key), bytes(2, value)].concat());
    within(
        field,
        prop_oneof![3 => plain, 1 => fields(prop_oneof![4 => text(1), 4 => text(2), 1 => unknown()], 4)].boxed(),
    )
}

fn packed_doubles(field: u32) -> Bytes {
    prop::collection::vec(any::<[u8; 8]>(), 0..4).prop_map(move |values| bytes(field, values.concat())).boxed()
}

fn packed_varints(field: u32) -> Bytes {
    prop::collection::vec(any_number(), 0..4)
        .prop_map(move |numbers| {
            let mut packed = Vec::new();
            for number in numbers {
                put_varint(&mut packed, number);
            }
            bytes(field, packed)
        })
        .boxed()
}

fn histogram() -> Bytes {
    let field = prop_oneof![
        varint(1),
        double(2),
        double(3),
        double(4),
        double(5),
        packed_doubles(5),
        varint(6),
        packed_varints(6),
        unknown()
    ];
    within(7, fields(field, 6))
}

fn summary() -> Bytes {
    let quantile = within(3, fields(prop_oneof![double(1), double(2), unknown()], 3));
    within(8, fields(prop_oneof![varint(1), double(2), quantile, unknown()], 5))
}

fn metric() -> Bytes {
    let usual = (text(1), fields(tag(2), 5), varint(3), text(4), time(5), double(6))
        .prop_map(|(name, tags, kind, unit, time, value)| [name, tags, kind, unit, time, value].concat());
    let field = prop_oneof![
        text(1),
        tag(2),
        varint(3),
        text(4),
        time(5),
        double(6),
        histogram(),
        summary(),
        varint(9),
        unknown()
    ];
    within(4, prop_oneof![usual, fields(field, 8)].boxed())
}

fn definition() -> Bytes {
    within(5, fields(prop_oneof![varint(1), text(2), tag(3), varint(4), text(5), varint(6), unknown()], 8))
}

/// One column in its order, in packed and single pieces.
fn pieces(field: u32, elements: Vec<Vec<u8>>, wire_type: u32, cuts: &[bool]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut gathered = Vec::new();
    for (element, cut) in elements.into_iter().zip(cuts.iter().cycle()) {
        gathered.extend(element.clone());
        if *cut {
            out.extend(bytes(field, &gathered));
            gathered.clear();
        } else if gathered.len() == element.len() {
            put_varint(&mut out, u64::from(key(field, wire_type)));
            out.append(&mut gathered);
        }
    }
    out.extend(bytes(field, gathered));
    out
}

fn points() -> Bytes {
    let as_varint = |number| {
        let mut out = Vec::new();
        put_varint(&mut out, number);
        out
    };
    let delta = prop_oneof![9 => -1_000_i64..1_000, 1 => any::<i64>()];
    let point = (any::<u32>(), delta, any::<[u8; 8]>());
    let shape = (any::<bool>(), prop::collection::vec(any::<bool>(), 1..5), 0..30_usize, any::<[u8; 3]>());
    let content = (prop::collection::vec(point, 0..8), fields(time(2), 2), shape).prop_map(
        move |(points, base, (with_deltas, cuts, unequal, order))| {
            let mut ids = points.iter().map(|&(id, ..)| as_varint(u64::from(id))).collect::<Vec<_>>();
            let mut deltas = points.iter().map(|&(_, delta, _)| as_varint(zigzag(delta))).collect::<Vec<_>>();
            let mut values = points.iter().map(|&(.., value)| value.to_vec()).collect::<Vec<_>>();
            if !with_deltas {
                deltas.clear();
            }
            match unequal {
                0 => _ = ids.pop(),
                1 => _ = deltas.pop(),
                2 => _ = values.pop(),
                _ => {}
            }
            let mut columns = [
                (order[0], pieces(1, ids, 0, &cuts)),
                (order[1], pieces(3, deltas, 0, &cuts)),
                (order[2], pieces(4, values, 1, &cuts)),
            ];
            columns.sort_by_key(|column| column.0);
            [&base, &columns[0].1, &columns[1].1, &columns[2].1].map(Vec::as_slice).concat()
        },
    );
    within(6, content.boxed())
}

fn heartbeat() -> Bytes {
    let task = within(5, fields(prop_oneof![text(1), text(2), text(3), time(4), unknown()], 5));
    within(7, fields(prop_oneof![text(1), double(2), double(3), double(4), task, time(6), unknown()], 7))
}

/// A batch's contents.
fn contents() -> Bytes {
    fields(
        prop_oneof![1 => tag(3), 3 => metric(), 1 => definition(), 3 => points(), 3 => within(6, dense_columns()), 1 => heartbeat(), 1 => unknown()],
        8,
    )
}

/// A batch's name, mostly one that the contract allows.
fn name() -> Bytes {
    let allowed = (1..1_u64 << 63, any::<u64>())
        .prop_map(|(sequence, epoch)| [number(1, sequence), fixed(2, epoch), number(9, sequence / 2)].concat());
    prop_oneof![9 => allowed, 1 => fields(prop_oneof![varint(1), double(2), varint(9)], 4)].boxed()
}

fn compress(algorithm: u8, contents: &[u8]) -> Vec<u8> {
    let body = if algorithm == 1 {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(contents).expect("memory");
        encoder.finish().expect("memory")
    } else {
        zstd::bulk::compress(contents, 1).expect("memory")
    };
    bytes(8, [number(1, u64::from(algorithm)), number(2, contents.len() as u64), bytes(3, body)].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn both_see_the_same_batch(name in name(), contents in contents(), algorithm in 0_u8..3) {
        let message = [name.clone(), contents.clone()].concat();
        if algorithm == 0 {
            compare(&message, &message)?;
        } else {
            compare(&message, &[name, compress(algorithm, &contents)].concat())?;
        }
    }

    #[test]
    fn both_see_the_same_damage(
        name in name(),
        contents in contents(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut message = [name, contents].concat();
        for (place, byte) in damage {
            if !message.is_empty() {
                let place = place.index(message.len());
                message[place] = byte;
            }
        }
        if cut.index(4) == 0 {
            message.truncate(cut.index(message.len() + 1));
        }
        // A compressed body that damage made up is another matter.
        prop_assume!(MetricBatchWithBody::decode(&message[..]).is_ok_and(|it| it.compressed.is_none()));
        compare(&message, &message)?;
    }
}

/// Tells whether a message has a compressed body.
#[derive(Clone, PartialEq, prost::Message)]
struct MetricBatchWithBody {
    #[prost(bytes = "vec", optional, tag = "8")]
    compressed: Option<Vec<u8>>,
}
