use super::*;
use crate::columns::testing::{block_of, blocks, descriptor};
use crate::series::MetricType;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, StructArray};
use proptest::prelude::*;

fn assembled(blocks: &[PointBlock], unit: TimestampUnit) -> RecordBatch {
    let mut assembler = ArrowAssembler::new();
    for block in blocks {
        assembler.push(block).expect("the block is small");
    }
    assembler.finish(unit).expect("the columns fit together")
}

fn text(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
    let codes = batch.column_by_name(column)?.as_dictionary::<Int32Type>();
    let values = codes.values().as_string::<i32>();
    codes.is_valid(row).then(|| values.value(codes.keys().value(row) as usize).to_owned())
}

fn integer(batch: &RecordBatch, column: &str, row: usize) -> Option<i64> {
    Some(batch.column_by_name(column)?.as_primitive::<Int64Type>().value(row))
}

fn time_of(batch: &RecordBatch, column: &str, row: usize) -> Option<i64> {
    Some(batch.column_by_name(column)?.to_data().buffers()[0].typed_data::<i64>()[row])
}

fn other_tags(batch: &RecordBatch, row: usize) -> Vec<(String, String)> {
    let entries = batch.column_by_name("tags").expect("it is in the schema").as_map().value(row);
    let text = |column: usize, place: usize| entries.column(column).as_string::<i32>().value(place).to_owned();
    (0..entries.len()).map(|place| (text(0, place), text(1, place))).collect()
}

fn number(column: &StructArray, field: &str, row: usize) -> Option<f64> {
    let numbers = column.column_by_name(field)?.as_primitive::<Float64Type>();
    numbers.is_valid(row).then(|| numbers.value(row))
}

fn numbers(column: &StructArray, field: &str, row: usize) -> Vec<f64> {
    let list = column.column_by_name(field).expect("it is in the schema").as_list::<i32>();
    assert!(list.is_valid(row));
    list.value(row).as_primitive::<Float64Type>().values().to_vec()
}

fn distribution(batch: &RecordBatch, row: usize) -> Option<Distribution> {
    let [histograms, summaries] =
        ["histogram", "summary"].map(|name| batch.column_by_name(name).expect("it is in the schema").as_struct());
    let count = |column: &StructArray| column.column(0).as_primitive::<Int64Type>().value(row) as u64;
    assert!(histograms.is_null(row) || summaries.is_null(row));
    if histograms.is_valid(row) {
        let counts = histograms.column_by_name("counts").expect("it is in the schema").as_list::<i32>().value(row);
        return Some(Distribution::Histogram(crate::columns::Histogram {
            count: count(histograms),
            sum: number(histograms, "sum", row).expect("a sum is always there"),
            min: number(histograms, "min", row),
            max: number(histograms, "max", row),
            upper_bounds: numbers(histograms, "bounds", row),
            bucket_counts: counts.as_primitive::<Int64Type>().values().iter().map(|&count| count as u64).collect(),
        }));
    }
    summaries.is_valid(row).then(|| {
        let quantiles = numbers(summaries, "quantiles", row).into_iter().zip(numbers(summaries, "values", row));
        Distribution::Summary(crate::columns::Summary {
            count: count(summaries),
            sum: number(summaries, "sum", row).expect("a sum is always there"),
            quantiles: quantiles.map(|(quantile, value)| crate::columns::Quantile { quantile, value }).collect(),
        })
    })
}

fn check_row(batch: &RecordBatch, row: usize, block: &PointBlock, point: usize) -> Result<(), TestCaseError> {
    let descriptor = &block.descriptors[block.descriptor_index[point] as usize];
    let expected = [
        ("name", Some(descriptor.key.name())),
        ("type", Some(descriptor.metric_type.as_str())),
        ("unit", Some(&*descriptor.unit)),
        ("identity", Some(&*block.identity)),
    ];
    for (column, expected) in expected.into_iter().chain(STANDARD_TAGS.map(|tag| (tag, descriptor.key.tag(tag)))) {
        prop_assert_eq!(text(batch, column, row), expected.map(str::to_owned), "{}", column);
    }
    let others: Vec<_> = descriptor.key.tags().filter(|(key, _)| !STANDARD_TAGS.contains(key)).collect();
    let found = other_tags(batch, row);
    prop_assert_eq!(found.iter().map(|(key, value)| (&**key, &**value)).collect::<Vec<_>>(), others);

    let delta = batch.column_by_name("delta").expect("it is in the schema").as_boolean().value(row);
    prop_assert_eq!(delta, descriptor.delta);
    prop_assert_eq!(integer(batch, "epoch", row), Some(block.epoch as i64));
    prop_assert_eq!(integer(batch, "sequence", row), Some(block.sequence as i64));

    let expected = block.distributions.iter().find(|(place, _)| *place as usize == point).map(|(_, data)| data.clone());
    let values = batch.column_by_name("value").expect("it is in the schema").as_primitive::<Float64Type>();
    prop_assert_eq!(values.is_null(row), expected.is_some());
    if expected.is_none() {
        prop_assert_eq!(values.value(row).to_bits(), block.values[point].to_bits());
    }
    prop_assert_eq!(distribution(batch, row), expected);
    Ok(())
}

proptest! {
    #[test]
    fn rows_are_the_points_in_their_order(batches in prop::collection::vec(blocks(), 1..4), unit in prop::sample::select(vec![TimestampUnit::Microseconds, TimestampUnit::Nanoseconds])) {
        // One assembler for all: what lives on from batch to batch must not show.
        let mut assembler = ArrowAssembler::new();
        for blocks in &batches {
            for block in blocks {
                prop_assert_eq!(assembler.push(block), Ok(()));
            }
            let batch = assembler.finish(unit).map_err(|error| TestCaseError::fail(error.to_string()))?;
            for column in batch.columns() {
                prop_assert!(column.to_data().validate_full().is_ok());
            }
            prop_assert_eq!(batch.schema(), schema(unit));
            prop_assert_eq!(batch.num_rows(), blocks.iter().map(PointBlock::len).sum::<usize>());
            let points = blocks.iter().flat_map(|block| (0..block.len()).map(move |point| (block, point)));
            for (row, (block, point)) in points.enumerate() {
                check_row(&batch, row, block, point)?;
                let (timestamp, received) = (block.timestamps_unix_ns[point], block.received_unix_us);
                let (timestamp, received) = match unit {
                    TimestampUnit::Microseconds => (timestamp.div_euclid(1_000), received),
                    TimestampUnit::Nanoseconds => (timestamp, received * 1_000),
                };
                prop_assert_eq!(time_of(&batch, "timestamp", row), Some(timestamp));
                prop_assert_eq!(time_of(&batch, "received", row), Some(received));
            }
        }
    }
}

#[test]
fn times_are_rounded_down_to_microseconds() {
    let series = [descriptor("m", &[], MetricType::Gauge)];
    let mut block = block_of(&[series[0].clone(), series[0].clone(), series[0].clone(), series[0].clone()]);
    block.timestamps_unix_ns = vec![1_999, -1, i64::MIN, i64::MAX];
    let batch = assembled(std::slice::from_ref(&block), TimestampUnit::Microseconds);
    let times: Vec<_> = (0..4).map(|row| time_of(&batch, "timestamp", row).expect("it is in the schema")).collect();
    assert_eq!(times, [1, -1, i64::MIN.div_euclid(1_000), i64::MAX / 1_000]);
    let batch = assembled(&[block], TimestampUnit::Nanoseconds);
    assert_eq!(time_of(&batch, "timestamp", 2), Some(i64::MIN));
}

#[test]
fn the_schema_is_that_of_the_documentation() {
    let schema = schema(TimestampUnit::Microseconds);
    let documentation = include_str!("../../../../../docs/dataset.md");
    let table = documentation.split("## Columns").nth(1).and_then(|rest| rest.split("\n##").next());
    let documented: Vec<&str> = table
        .expect("docs/dataset.md has a section Columns")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), documented);
    assert_eq!(schema.metadata()["telemetry.schema_version"], SCHEMA_VERSION);
}

#[test]
fn no_column_is_unsigned() {
    let types: Vec<_> =
        schema(TimestampUnit::Nanoseconds).fields().iter().map(|field| field.data_type().to_string()).collect();
    assert!(types.iter().all(|name| !name.contains("UInt")), "{types:?}");
}

#[test]
fn no_points_make_an_empty_batch_with_every_column() {
    let batch = assembled(&[], TimestampUnit::Microseconds);
    assert_eq!((batch.num_rows(), batch.num_columns()), (0, 18));
}

#[test]
fn codes_live_on_until_their_texts_are_too_many() {
    let series: Vec<_> = (0..100).map(|i| descriptor(&format!("m{i}"), &[], MetricType::Gauge)).collect();
    let mut assembler = ArrowAssembler::new();
    let mut names = |series: &[Arc<Descriptor>]| {
        assembler.push(&block_of(series)).expect("the block is small");
        let batch = assembler.finish(TimestampUnit::Microseconds).expect("the columns fit together");
        assert_eq!(text(&batch, "name", 0).as_deref(), Some(series[0].key.name()));
        batch.column_by_name("name").expect("it is in the schema").as_dictionary::<Int32Type>().values().len()
    };
    assert_eq!(names(&series), 100);
    assert_eq!(names(&series[99..]), 100);
    let value = "v".repeat(1_000);
    let wordy = (0..KEPT_TEXT_BYTES_MAX / 1_000)
        .map(|i| descriptor("wordy", &[("k", &format!("{i}{value}"))], MetricType::Gauge));
    assert_eq!(names(&wordy.collect::<Vec<_>>()), 101);
    assert_eq!(names(&series[99..]), 1);
}

#[test]
fn text_beyond_the_reach_of_offsets_is_refused_and_the_rest_can_be_finished() {
    let value = "v".repeat(1_024);
    let keys: Vec<String> = (0..60).map(|i| format!("k{i}")).collect();
    let tags: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), value.as_str())).collect();
    let large = descriptor("m", &tags, MetricType::Gauge);
    let mut block = block_of(std::slice::from_ref(&large));
    let points = i32::MAX as usize / (60 * 1_024) + 1;
    block.descriptor_index = vec![0; points];
    block.timestamps_unix_ns = vec![0; points];
    block.values = vec![0.0; points];
    let small = block_of(&[large]);
    let mut assembler = ArrowAssembler::new();
    assembler.push(&small).expect("the block is small");
    let refused = assembler.push(&block);
    assert_eq!(refused, Err(TooLarge("tags")));
    assembler.push(&small).expect("the block is small");
    assert_eq!(assembler.finish(TimestampUnit::Microseconds).expect("the columns fit together").num_rows(), 2);
}
