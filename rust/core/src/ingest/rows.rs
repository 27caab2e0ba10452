//! Judging points in row form, each of which names its series itself.
//!
//! Most rows came before in the same bytes, and the cache of rows knows their series. Where it rests, because there are
//! more series than it holds, the registry is asked for those of many rows at once.

use super::points::{Fault, PointJudge, Refusals, Work, invalid, over_limit};
use super::row_cache::Lookup;
use crate::columns::{BlockBuilder, Distribution, Histogram, Quantile, Summary};
use crate::series::{CardinalityLimit, CommonTags, Meta, RawTag, Registry, check_unit};
use crate::wire::decode::{Row, RowData};
use crate::wire::{DecodedBatch, Reason, validate};

/// Rows whose series are looked up at once.
const ROWS_TOGETHER: usize = 64;

/// What rows say besides their series, or why they are refused whatever that is.
type Judged<'b> = Result<(Meta<'b>, i64), (Reason, Fault)>;

impl PointJudge<'_> {
    /// Judges every row; those that pass are in `work.block` then, the others in the refusals.
    pub(super) fn judge_rows(
        &self,
        batch: &DecodedBatch<'_>,
        common: &CommonTags,
        work: &mut Work,
        registry: &Registry,
        refusals: &mut Refusals<impl FnMut(&str, CardinalityLimit)>,
    ) {
        if batch.rows().is_empty() {
            return;
        }
        work.rows.begin(common.given());
        let (mut tags, mut judged) = (Vec::with_capacity(8), Vec::new());
        for rows in batch.rows().chunks(ROWS_TOGETHER) {
            if work.rows.rests_for(rows.len()) {
                work.unadmitted.clear();
                judged.extend(rows.iter().map(|row| self.judge_unadmitted(batch, row, common, work, &mut tags)));
                self.admit_together(batch, rows, &mut judged, work, registry, refusals);
                continue;
            }
            for row in rows {
                if let Err((reason, fault)) = self.judge_row(batch, row, common, work, registry, &mut tags) {
                    refusals.add(reason, batch.text(row.name), fault);
                }
            }
        }
    }

    fn judge_row<'b>(
        &self,
        batch: &DecodedBatch<'b>,
        row: &Row,
        common: &CommonTags,
        work: &mut Work,
        registry: &Registry,
        tags: &mut Vec<RawTag<'b>>,
    ) -> Result<(), (Reason, Fault)> {
        let bytes = row.key_span.map(|span| batch.text(span));
        let seen = bytes.map_or(Lookup::Resting, |bytes| work.rows.find(bytes));
        let unknown = match seen {
            Lookup::Known(series) => {
                let (meta, timestamp) = self.judge_besides_key(batch, row)?;
                if series.meta() == meta && registry.touch(series, self.source) {
                    let index = work.block.descriptor(series);
                    push(batch, row, index, timestamp, &mut work.block);
                    return Ok(());
                }
                None
            }
            Lookup::Unknown(hash) => Some(hash),
            Lookup::Resting => None,
        };
        tags.clear();
        tags.extend(batch.tags(row).iter().map(|tag| (batch.text(tag.key), batch.text(tag.value))));
        let key = work.keys.build(batch.text(row.name), tags, common).map_err(invalid)?;
        let (meta, timestamp) = self.judge_besides_key(batch, row)?;
        let series = registry.admit(key, meta, self.source).map_err(over_limit)?;
        if let (Some(hash), Some(bytes)) = (unknown, bytes) {
            work.rows.keep(hash, bytes, &series);
        }
        let index = work.block.descriptor(&series);
        push(batch, row, index, timestamp, &mut work.block);
        Ok(())
    }

    /// Judges a row as far as that is possible without its series, and leaves the key of one that passes in
    /// `work.unadmitted`.
    fn judge_unadmitted<'b>(
        &self,
        batch: &DecodedBatch<'b>,
        row: &Row,
        common: &CommonTags,
        work: &mut Work,
        tags: &mut Vec<RawTag<'b>>,
    ) -> Judged<'b> {
        tags.clear();
        tags.extend(batch.tags(row).iter().map(|tag| (batch.text(tag.key), batch.text(tag.value))));
        let key = work.keys.build(batch.text(row.name), tags, common).map_err(invalid)?;
        let judged = self.judge_besides_key(batch, row)?;
        work.unadmitted.push(key);
        Ok(judged)
    }

    /// Admits the series of rows that are judged but for that, in their order.
    fn admit_together(
        &self,
        batch: &DecodedBatch<'_>,
        rows: &[Row],
        judged: &mut Vec<Judged<'_>>,
        work: &mut Work,
        registry: &Registry,
        refusals: &mut Refusals<impl FnMut(&str, CardinalityLimit)>,
    ) {
        let Work { unadmitted, found, block, .. } = work;
        registry.lookup_together(unadmitted.keys(), found);
        let mut found = unadmitted.keys().zip(found.drain(..));
        for (row, judged) in rows.iter().zip(judged.drain(..)) {
            let admitted = judged.and_then(|(meta, timestamp)| {
                let (key, series) = found.next().expect("each row that was not refused has left its key");
                let series = registry.admit_found(series, key, meta, self.source).map_err(over_limit)?;
                Ok((block.descriptor(&series), timestamp))
            });
            match admitted {
                Ok((index, timestamp)) => push(batch, row, index, timestamp, block),
                Err((reason, fault)) => refusals.add(reason, batch.text(row.name), fault),
            }
        }
    }

    /// Judges what a row says besides name and tags.
    #[inline]
    fn judge_besides_key<'b>(&self, batch: &DecodedBatch<'b>, row: &Row) -> Judged<'b> {
        let unit = check_unit(batch.text(row.unit)).map_err(invalid)?;
        let metric_type = validate::check_row(batch, row).map_err(|fault| (Reason::InvalidValue, fault.into()))?;
        let timestamp = self.timestamp(row.timestamp_unix_ns)?;
        Ok((Meta { metric_type, unit, delta: row.delta }, timestamp))
    }
}

/// Adds a row that was found valid to the block.
fn push(batch: &DecodedBatch<'_>, row: &Row, index: u32, timestamp_unix_ns: i64, block: &mut BlockBuilder) {
    let distribution = match row.data {
        RowData::None => return,
        RowData::Value(value) => return block.push(index, timestamp_unix_ns, value),
        RowData::Histogram(place) => {
            let sent = batch.histogram(place);
            Distribution::Histogram(Histogram {
                count: sent.count,
                sum: sent.sum,
                min: sent.min,
                max: sent.max,
                upper_bounds: sent.upper_bounds.to_vec(),
                bucket_counts: sent.bucket_counts.to_vec(),
            })
        }
        RowData::Summary(place) => {
            let sent = batch.summary(place);
            let quantiles = sent.quantiles.iter().map(|q| Quantile { quantile: q.quantile, value: q.value }).collect();
            Distribution::Summary(Summary { count: sent.count, sum: sent.sum, quantiles })
        }
    };
    block.push_distribution(index, timestamp_unix_ns, distribution);
}
