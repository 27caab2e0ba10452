//! What a service sends comes out as it would at a collector, and nothing else does.

use super::*;
use crate::wire::{BatchName, Compression, EncoderSettings, Form, FrameEncoder, OutgoingHistogram};

const NOW: i64 = 1_800_000_000_000_000_000;

fn tag(key: &str, value: &str) -> OutgoingTag {
    (key.into(), value.into())
}

fn series(name: &str, tags: Vec<OutgoingTag>, delta: bool) -> OutgoingSeries {
    OutgoingSeries { name: name.into(), tags, metric_type: 1, unit: "1".into(), delta }
}

fn histogram(name: &str, timestamp_unix_ns: i64) -> Box<[u8]> {
    let series = series(name, vec![tag("method", "GET")], true);
    let (upper_bounds, bucket_counts) = (vec![0.1, 1.0], vec![3, 0, 2]);
    OutgoingHistogram {
        series,
        timestamp_unix_ns,
        sum: 4.5,
        min: Some(0.0),
        max: Some(2.0),
        upper_bounds,
        bucket_counts,
    }
    .row()
    .unwrap()
}

fn batch(common: Vec<OutgoingTag>) -> OutgoingBatch {
    let several = vec![series("a.b", vec![tag("x", "1")], true), series("a.c", Vec::new(), false)];
    OutgoingBatch::new(common, several, vec![0, 1, 0], vec![5, 0, 7], vec![1.0, 2.0, 3.0])
        .unwrap()
        .with_rows(vec![histogram("t", 0), histogram("u", 9)])
}

fn frame(batch: &OutgoingBatch, form: Form) -> Vec<u8> {
    let mut encoder = FrameEncoder::new(EncoderSettings { form, ..EncoderSettings::default() }).unwrap();
    let mut out = Vec::new();
    let name = BatchName { sequence: 4, epoch: 9, oldest_unacknowledged: 2 };
    encoder.frame(Some(batch), name, None, &mut out).unwrap();
    out.split_off(4)
}

fn relay(points_max: usize) -> Relay {
    let tags = vec![tag("node_id", "n1"), tag("zone", "z1")];
    Relay::new(tags, "n1", Limits { max_batch_size: points_max, ..Limits::default() })
}

fn reasons(relayed: &Relayed) -> Vec<(Reason, u32)> {
    relayed.rejections.iter().map(|one| (one.reason, one.points)).collect()
}

#[test]
fn points_come_out_under_the_tags_of_service_and_agent() {
    let relayed = relay(10).take(&frame(&batch(vec![tag("service", "s"), tag("zone", "z2")]), Form::Row), NOW);
    assert_eq!((relayed.sequence, relayed.epoch, relayed.oldest_unacknowledged), (4, 9, 2));
    assert!(relayed.rejections.is_empty(), "{relayed:?}");
    let out = relayed.batch.unwrap();
    assert_eq!(out.common_tags(), [tag("service", "s"), tag("zone", "z2"), tag("node_id", "n1")]);
    assert_eq!(out.series(), batch(Vec::new()).series());
    assert_eq!(out.series_index(), [0, 1, 0]);
    assert_eq!(out.timestamps_unix_ns(), [5, NOW, 7], "a point without a time is of now");
    assert_eq!(out.values(), [1.0, 2.0, 3.0]);
    let again = relay(10).take(&frame(&out, Form::Row), 0).batch.unwrap();
    assert_eq!(again.rows(), out.rows(), "what was stamped stays so");
    assert_eq!(out.rows()[1], histogram("u", 9));
}

#[test]
fn halves_hold_what_the_whole_held() {
    let whole = batch(Vec::new());
    let (first, second) = whole.split().unwrap();
    assert_eq!((first.len(), first.values().len(), first.rows().len()), (2, 2, 0));
    assert_eq!((second.len(), second.values().len(), second.rows().len()), (3, 1, 2));
    let (plain, rows) = second.split().unwrap();
    assert_eq!(
        (plain.values(), plain.rows().len(), rows.values().len(), rows.rows()),
        (&[3.0][..], 0, 0, whole.rows())
    );
    assert_eq!(rows.clone().with_rows(vec![histogram("v", 1)]).len(), 3);
}

#[test]
fn a_bad_point_is_refused_alone_and_by_its_reason() {
    let several =
        vec![series("", Vec::new(), false), series("b", vec![tag("", "1")], false), series("c", vec![], false)];
    let bad = OutgoingBatch::new(vec![], several, vec![0, 1, 2, 2], vec![0; 4], vec![1.0, 1.0, f64::NAN, 7.0]).unwrap();
    let relayed = relay(10).take(&frame(&bad, Form::Row), NOW);
    let expected = [(Reason::InvalidName, 1), (Reason::InvalidTag, 1), (Reason::InvalidValue, 1)];
    assert_eq!(reasons(&relayed), expected);
    assert_eq!(relayed.batch.unwrap().values(), [7.0]);
}

#[test]
fn a_batch_that_is_not_the_agents_to_send_is_refused_whole() {
    let other = batch(vec![tag("node_id", "n2")]);
    let relayed = relay(10).take(&frame(&other, Form::Row), NOW);
    assert_eq!(reasons(&relayed), [(Reason::IdentityMismatch, 5)]);
    assert!(relayed.batch.is_none());
    let relayed = relay(4).take(&frame(&batch(Vec::new()), Form::Row), NOW);
    assert_eq!(reasons(&relayed), [(Reason::BatchTooLarge, 5)]);
    for form in [Form::Columnar, Form::Dense] {
        let relayed = relay(10).take(&frame(&batch(Vec::new()), form), NOW);
        assert_eq!((relayed.sequence, reasons(&relayed)), (4, vec![(Reason::Malformed, 0)]));
    }
    let undefined = [8, 4, 17, 9, 0, 0, 0, 0, 0, 0, 0, 50, 13, 10, 1, 1, 34, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    let relayed = relay(10).take(&undefined, NOW);
    assert_eq!((relayed.epoch, reasons(&relayed)), (9, vec![(Reason::UnknownSeries, 1)]), "a question has its name");
    let mut question = Vec::new();
    crate::wire::question(BatchName { sequence: 4, epoch: 9, oldest_unacknowledged: 2 }, &mut question).unwrap();
    let relayed = relay(10).take(&question[4..], NOW);
    assert_eq!((relayed.sequence, relayed.withdraw, reasons(&relayed)), (4, true, vec![(Reason::Withdrawn, 1)]));
    let relayed = relay(10).take(&[0xff], NOW);
    assert_eq!(reasons(&relayed), [(Reason::Malformed, 0)]);
}

#[test]
fn rows_stand_beside_columns_in_every_form() {
    for form in [Form::Row, Form::Columnar, Form::Dense] {
        let settings = EncoderSettings { form, compression: Compression::Zstd, ..EncoderSettings::default() };
        let mut encoder = FrameEncoder::new(settings).unwrap();
        for sequence in 1..3 {
            let mut out = Vec::new();
            let name = BatchName { sequence, epoch: 9, oldest_unacknowledged: 1 };
            encoder.frame(Some(&batch(vec![tag("zone", "z2")])), name, None, &mut out).unwrap();
            let mut scratch = DecodeScratch::default();
            let decoded = decode(&out[4..], &Limits::default(), &mut scratch).unwrap();
            assert_eq!(decoded.points, 5);
            assert_eq!(raw(&decoded, decoded.common_tags()), [(&b"zone"[..], &b"z2"[..])], "rows have no others");
            let distributions = decoded.rows().iter().filter(|row| matches!(row.data, RowData::Histogram(_)));
            let names: Vec<_> = distributions.map(|row| decoded.text(row.name)).collect();
            assert_eq!(names, [b"t", b"u"]);
            let sent = decoded.histogram(0);
            assert_eq!((sent.count, sent.sum, sent.min, sent.max), (5, 4.5, Some(0.0), Some(2.0)));
            assert_eq!((sent.upper_bounds, sent.bucket_counts), (&[0.1, 1.0][..], &[3, 0, 2][..]));
        }
    }
}
