//! Records and checkpoints: what is written is read, and nothing else is.

use proptest::prelude::*;

use super::*;
use crate::ingest::ranges::RangeSet;
use crate::spool::checkpoint::Checkpoint;
use crate::spool::record::{self, Event, Head, RecordError, Recorder};

fn text() -> impl Strategy<Value = Box<str>> {
    "[a-zä ]{0,12}".prop_map(Into::into)
}

fn tags() -> impl Strategy<Value = Vec<(Box<str>, Box<str>)>> {
    prop::collection::vec((text(), text()), 0..4)
}

fn any_batch() -> impl Strategy<Value = OutgoingBatch> {
    let kind = prop_oneof![Just(0_u32), Just(1), Just(2), Just(5)];
    let series = (text(), tags(), kind, text(), any::<bool>())
        .prop_map(|(name, tags, metric_type, unit, delta)| OutgoingSeries { name, tags, metric_type, unit, delta });
    let point = (0..6_u32, prop_oneof![Just(0_i64), Just(1_700_000_000_000_000_000), 0..i64::MAX], any::<f64>());
    let rows = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9).prop_map(Into::into), 0..3);
    let columns = (prop::collection::vec(series, 6), prop::collection::vec(point, 0..60), tags(), rows);
    columns.prop_map(|(series, points, common, rows): (_, Vec<_>, _, _)| {
        let index = points.iter().map(|point| point.0).collect();
        let times = points.iter().map(|point| point.1).collect();
        let values = points.iter().map(|point| point.2).collect();
        OutgoingBatch::new(common, series, index, times, values).unwrap().with_rows(rows)
    })
}

fn bits(batch: &OutgoingBatch) -> Vec<u64> {
    batch.values().iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_comes_back_as_it_was(batch in any_batch(), epoch: u64, sequence: u64) {
        let mut recorder = Recorder::new().unwrap();
        let bytes = recorder.batch(epoch, sequence, &batch).to_vec();
        let (head, read) = record::batch(&bytes).unwrap();
        let points = batch.len() as u32;
        prop_assert_eq!(head, Head { epoch, sequence, event: Event::Batch { points } });
        prop_assert_eq!(record::head(&bytes).unwrap().0, head);
        prop_assert_eq!(read.common_tags(), batch.common_tags());
        prop_assert_eq!(read.series(), batch.series());
        prop_assert_eq!(read.series_index(), batch.series_index());
        prop_assert_eq!(read.timestamps_unix_ns(), batch.timestamps_unix_ns());
        prop_assert_eq!(bits(&read), bits(&batch));
        prop_assert_eq!(read.rows(), batch.rows());
        for length in 0..bytes.len() {
            prop_assert!(record::batch(&bytes[..length]).is_err(), "no part of a record is one");
        }
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes: Vec<u8>, kind in 1..4_u8) {
        let _ = record::batch(&bytes);
        let _ = Checkpoint::decode(&bytes);
        bytes.splice(0..0, [1, kind]);
        let _ = record::batch(&bytes);
        let _ = record::head(&bytes);
        let _ = Checkpoint::decode(&bytes[..1]);
    }

    #[test]
    fn a_checkpoint_comes_back_as_it_was(
        numbers: [u64; 3], texts in prop::array::uniform4("[a-z]{0,9}"), answered in prop::collection::vec(0..500_u64, 0..40)
    ) {
        let [machine_id, identity, node, former] = texts;
        let mut ranges = RangeSet::default();
        for sequence in answered {
            ranges.insert(sequence);
        }
        let mut drops = Drops::default();
        drops.add(DropReason::Damaged, numbers[0], numbers[1]);
        let checkpoint = Checkpoint {
            epoch: numbers[0],
            owner: Owner { machine_id, identity, node },
            former_nodes: vec![former],
            reserved: numbers[1],
            floor: numbers[2],
            answered: ranges,
            drops,
        };
        prop_assert_eq!(Checkpoint::decode(&checkpoint.encode()), Ok(checkpoint));
    }
}

#[test]
fn a_split_comes_back_and_other_versions_are_named() {
    let mut recorder = Recorder::new().unwrap();
    let mut bytes = recorder.split(7, 8, 9).to_vec();
    assert_eq!(record::head(&bytes).unwrap().0, Head { epoch: 7, sequence: 8, event: Event::Split { first: 9 } });
    bytes[0] = 2;
    assert_eq!(record::head(&bytes), Err(RecordError::UnknownVersion(2)));
    assert!(Checkpoint::decode(&[2]).unwrap_err().contains("version 2"));
}

#[test]
fn what_repeats_is_compressed() {
    let mut recorder = Recorder::new().unwrap();
    let bytes = recorder.batch(1, 1, &batch(0, 1_000)).len();
    assert!(bytes < 4_000, "{bytes} bytes for 1,000 points of one series");
}
