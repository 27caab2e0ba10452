//! Rows are judged by the same rules whether each is looked for by its bytes or many are looked up at once.

use proptest::prelude::*;

use super::*;

/// Series, unit, time and value of a point.
type Sent = (u8, bool, bool, bool);

/// A batch of series that are valid, too many, or have no valid name; some with another unit than before.
fn batch_of(points: &[Sent]) -> OutgoingBatch {
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "", "a\n"];
    let series = points.iter().map(|&(name, seconds, ..)| OutgoingSeries {
        name: NAMES[usize::from(name)].into(),
        tags: vec![("cpu".into(), "0".into())],
        metric_type: 2,
        unit: if seconds { "s" } else { "1" }.into(),
        delta: false,
    });
    let times = points.iter().map(|&(_, _, recent, _)| if recent { NOW_NS } else { 1 });
    let values =
        points.iter().zip(0_u16..).map(|(&(.., sound), place)| if sound { f64::from(place) } else { f64::NAN });
    let index = (0..points.len() as u32).collect();
    OutgoingBatch::new(Vec::new(), series.collect(), index, times.collect(), values.collect())
        .expect("the columns are equal")
}

fn mostly(yes: bool) -> impl Strategy<Value = bool> {
    prop_oneof![9 => Just(yes), 1 => Just(!yes)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_are_judged_alike_while_their_cache_rests(
        batches in prop::collection::vec(
            prop::collection::vec((0_u8..6, mostly(false), mostly(true), mostly(true)), 1..150),
            1..4,
        ),
    ) {
        let judged = [false, true].map(|resting| {
            let stand = Stand::with(|settings| settings.limits.max_cardinality = 3);
            let mut stream = stand.stream_in(Form::Row, "node-1", false);
            let answers: Vec<BatchAck> = batches
                .iter()
                .zip(1..)
                .map(|(points, sequence)| {
                    let mut scratch = stand.ingest.scratches.take();
                    scratch.work.rows.set_resting(resting);
                    stand.ingest.scratches.put(scratch);
                    stream.ask(&batch_of(points), sequence)
                })
                .collect();
            let mut cursor = stand.ingest.cursor("test").expect("a cursor opens");
            cursor.seek(Position::new(0));
            let mut blocks = Vec::new();
            while let Some(read) = cursor.read(10_000).expect("the journal reads") {
                blocks.extend(read.blocks.iter().map(|block| {
                    let series: Vec<_> =
                        block.descriptor_index.iter().map(|&index| (*block.descriptors[index as usize]).clone()).collect();
                    (series, block.timestamps_unix_ns.clone(), block.values.clone())
                }));
            }
            (answers, blocks, stand.ingest.series())
        });
        prop_assert_eq!(&judged[0], &judged[1]);
    }
}
