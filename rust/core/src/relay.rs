//! From a batch that a service hands to its node's agent to one that the agent sends on.
//!
//! The service writes the row form of the wire. Plain points become columns, which take a fraction of the bytes on their
//! way and in the spool; distributions stay the messages that they are. Points are judged as a collector judges them, but
//! for what only it can know (their time, cardinality, the catalogue), so that the service hears of its mistakes.

use std::collections::HashMap;

use crate::limits::Limits;
use crate::series::{CommonTags, InvalidSeries, KeyBuilder, NodeClaim, RawTag, Rule, check_unit};
use crate::wire::decode::{RECEIPT_TIME, Row, RowData};
use crate::wire::proto::{LENGTH, Reader, Span, WireFault, key, put_fixed64};
use crate::wire::{
    DecodeScratch, DecodedBatch, Malformed, OutgoingBatch, OutgoingSeries, OutgoingTag, Reason, Rejection, decode,
    validate,
};

/// An example in a rejection is cut to this many bytes.
const EXAMPLE_BYTES_MAX: usize = 256;

/// Takes over batches for one agent.
#[derive(Debug)]
pub struct Relay {
    /// Tags of every point that does not bring its own under their keys.
    tags: Vec<OutgoingTag>,
    node: Box<str>,
    limits: Limits,
    scratch: DecodeScratch,
    keys: KeyBuilder,
    common: CommonTags,
}

/// What a frame was.
#[derive(Clone, Debug)]
pub struct Relayed {
    /// As the service named it.
    pub sequence: u64,
    /// As the service named it.
    pub epoch: u64,
    /// Every lower sequence of the epoch is settled.
    pub oldest_unacknowledged: u64,
    /// Not a batch, but the question whether it was taken; if it was not, it must not be any more.
    pub withdraw: bool,
    /// Points that are to be sent on; None when there are none.
    pub batch: Option<OutgoingBatch>,
    /// What was refused, one a reason.
    pub rejections: Vec<Rejection>,
}

impl Relay {
    /// A relay of `node`, which gives the points `tags` where they have none of those keys.
    #[must_use]
    pub fn new(tags: Vec<OutgoingTag>, node: &str, limits: Limits) -> Self {
        Self {
            tags,
            node: node.into(),
            limits,
            scratch: DecodeScratch::default(),
            keys: KeyBuilder::default(),
            common: CommonTags::default(),
        }
    }

    /// Reads one frame, without its prefix. Points without a time were measured now.
    #[must_use]
    pub fn take(&mut self, frame: &[u8], now_unix_ns: i64) -> Relayed {
        let Self { tags, node, limits, scratch, keys, common } = self;
        let decoded = match decode(frame, limits, scratch) {
            Ok(decoded) => decoded,
            Err(Malformed { sequence, fault }) => return Relayed::malformed(sequence, fault.to_string()),
        };
        let whole = |reason, example| Relayed {
            rejections: vec![Rejection { reason, points: decoded.points as u32, example }],
            ..Relayed::named(&decoded)
        };
        if decoded.withdraw && decoded.epoch != 0 {
            let question = whole(Reason::Withdrawn, "a question".to_owned());
            return Relayed { withdraw: true, ..question };
        }
        let rows_only = || "an agent takes the row form only".to_owned();
        if decoded.definitions().len() > 0 {
            return Relayed::malformed(decoded.sequence, rows_only());
        }
        // Nothing is ever defined here. It is also how clients of before `withdraw` ask whether a name was taken.
        if !decoded.series_ids().is_empty() || decoded.points_unread() > 0 {
            return whole(Reason::UnknownSeries, rows_only());
        }
        if decoded.points > limits.max_batch_size {
            let example = format!("{} points; at most {} in a batch", decoded.points, limits.max_batch_size);
            return whole(Reason::BatchTooLarge, example);
        }
        let merged = merged(&decoded, tags);
        common.update(&merged, node.as_bytes());
        let claim = common.claim();
        let own = |row: &Row| raw(&decoded, decoded.tags(row));
        if decoded.rows().iter().any(|row| NodeClaim::of(&own(row), node.as_bytes()).or(claim) == NodeClaim::Other)
            || (decoded.rows().is_empty() && claim == NodeClaim::Other)
        {
            return whole(Reason::IdentityMismatch, format!("this is the agent of node {node}"));
        }
        let mut gathered = Gathered::default();
        let mut rejections = Vec::new();
        for (row, message) in decoded.rows().iter().zip(messages(decoded.body)) {
            if let Err((reason, fault)) = gathered.add(&decoded, row, message, now_unix_ns, keys, common) {
                refuse(&mut rejections, reason, decoded.text(row.name), &fault);
            }
        }
        let batch = gathered.batch(&merged);
        Relayed { batch, rejections, ..Relayed::named(&decoded) }
    }
}

impl Relayed {
    fn named(decoded: &DecodedBatch<'_>) -> Self {
        let DecodedBatch { sequence, epoch, oldest_unacknowledged, .. } = *decoded;
        Self { sequence, epoch, oldest_unacknowledged, withdraw: false, batch: None, rejections: Vec::new() }
    }

    fn malformed(sequence: u64, example: String) -> Self {
        let rejections = vec![Rejection { reason: Reason::Malformed, points: 0, example }];
        Self { sequence, epoch: 0, oldest_unacknowledged: 0, withdraw: false, batch: None, rejections }
    }
}

/// Points that passed.
#[derive(Default)]
struct Gathered {
    places: HashMap<Box<[u8]>, u32>,
    series: Vec<OutgoingSeries>,
    index: Vec<u32>,
    timestamps_unix_ns: Vec<i64>,
    values: Vec<f64>,
    rows: Vec<Box<[u8]>>,
}

impl Gathered {
    fn add(
        &mut self,
        decoded: &DecodedBatch<'_>,
        row: &Row,
        message: &[u8],
        now_unix_ns: i64,
        keys: &mut KeyBuilder,
        common: &CommonTags,
    ) -> Result<(), (Reason, String)> {
        let own = raw(decoded, decoded.tags(row));
        keys.build(decoded.text(row.name), &own, common).map_err(invalid)?;
        let unit = check_unit(decoded.text(row.unit)).map_err(invalid)?;
        validate::check_row(decoded, row).map_err(|fault| (Reason::InvalidValue, fault.to_string()))?;
        let timed = row.timestamp_unix_ns != RECEIPT_TIME;
        let timestamp = if timed { row.timestamp_unix_ns } else { now_unix_ns };
        let RowData::Value(value) = row.data else {
            let mut message = message.to_vec();
            if !timed {
                put_fixed64(&mut message, 5, timestamp as u64);
            }
            self.rows.push(message.into());
            return Ok(());
        };
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default().into(); // judged above
        let series = OutgoingSeries {
            name: text(decoded.text(row.name)),
            tags: own.iter().map(|(key, value)| (text(key), text(value))).collect(),
            metric_type: row.metric_type,
            unit: unit.into(),
            delta: row.delta,
        };
        let mut described = Vec::new();
        series.put_metric(&mut described);
        let next = self.series.len() as u32;
        let place = *self.places.entry(described.into()).or_insert(next);
        if place == next {
            self.series.push(series);
        }
        self.index.push(place);
        self.timestamps_unix_ns.push(timestamp);
        self.values.push(value);
        Ok(())
    }

    /// None when nothing passed, or the clock stands before 1970.
    fn batch(self, common: &[RawTag<'_>]) -> Option<OutgoingBatch> {
        if self.index.is_empty() && self.rows.is_empty() {
            return None;
        }
        let text = |bytes: &[u8]| Box::from(std::str::from_utf8(bytes).unwrap_or_default());
        let common = common.iter().map(|(key, value)| (text(key), text(value))).collect();
        let columns = OutgoingBatch::new(common, self.series, self.index, self.timestamps_unix_ns, self.values);
        Some(columns.ok()?.with_rows(self.rows))
    }
}

/// The batch's common tags over the relay's own.
fn merged<'a>(decoded: &DecodedBatch<'a>, tags: &'a [OutgoingTag]) -> Vec<RawTag<'a>> {
    let mut merged = raw(decoded, decoded.common_tags());
    let sent = merged.len();
    for (key, value) in tags {
        if merged[..sent].iter().all(|(taken, _)| *taken != key.as_bytes()) {
            merged.push((key.as_bytes(), value.as_bytes()));
        }
    }
    merged
}

fn raw<'a>(decoded: &DecodedBatch<'a>, tags: &[crate::wire::decode::TagSpans]) -> Vec<RawTag<'a>> {
    tags.iter().map(|tag| (decoded.text(tag.key), decoded.text(tag.value))).collect()
}

/// The bodies of a batch's `Metric` messages.
fn messages(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    const METRICS: u32 = key(4, LENGTH);
    let mut reader = Reader::new(body);
    std::iter::from_fn(move || {
        let mut next = || -> Result<Option<Span>, WireFault> {
            while let Some(key) = reader.key()? {
                if key == METRICS {
                    return reader.span().map(Some);
                }
                reader.skip(key)?;
            }
            Ok(None)
        };
        next().ok().flatten().map(|span| span.of(body))
    })
}

fn invalid(fault: InvalidSeries) -> (Reason, String) {
    let reason = match fault.rule() {
        Rule::Name => Reason::InvalidName,
        Rule::Tag => Reason::InvalidTag,
        Rule::Value => Reason::InvalidValue,
    };
    (reason, fault.to_string())
}

fn refuse(rejections: &mut Vec<Rejection>, reason: Reason, name: &[u8], fault: &str) {
    if let Some(rejection) = rejections.iter_mut().find(|rejection| rejection.reason == reason) {
        rejection.points += 1;
        return;
    }
    let mut example = format!("{}: {fault}", String::from_utf8_lossy(&name[..name.len().min(EXAMPLE_BYTES_MAX)]));
    example.retain(|character| !character.is_control());
    rejections.push(Rejection { reason, points: 1, example });
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
