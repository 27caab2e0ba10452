//! The columns that only log records have.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, Int32Array};
use arrow_schema::ArrowError;

use super::Own;
use super::around::strings;
use super::lists::Maps;
use super::spans::{count, integers};
use super::text::{push_id, push_or_null, text, times};
use crate::columns::TimestampUnit;
use crate::signals::log_record::LogRecord;
use crate::wire::proto::WireFault;

#[derive(Debug, Default)]
pub(super) struct LogColumns {
    timestamps: Vec<i64>,
    observed: Vec<Option<i64>>,
    severity_numbers: Vec<Option<i32>>,
    severity_texts: StringBuilder,
    bodies: StringBuilder,
    event_names: StringBuilder,
    trace_ids: StringBuilder,
    span_ids: StringBuilder,
    attributes: Maps,
    flags: Vec<i64>,
    attributes_dropped: Vec<i64>,
    scratch: Vec<u8>,
}

impl Own for LogColumns {
    type Row<'a> = LogRecord<'a>;

    fn push(&mut self, record: &LogRecord<'_>, received_unix_us: i64) -> Result<(), WireFault> {
        let told = |unix_ns: u64| (unix_ns != 0).then_some(unix_ns as i64);
        let observed = told(record.observed_unix_ns);
        let timestamp = told(record.time_unix_ns).or(observed);
        self.timestamps.push(timestamp.unwrap_or(received_unix_us.saturating_mul(1_000)));
        self.observed.push(observed);
        self.severity_numbers.push((record.severity_number != 0).then_some(record.severity_number));
        push_or_null(&mut self.severity_texts, record.severity_text);
        let body = record.body.as_ref().map(|body| body.text(&mut self.scratch)).transpose()?.flatten();
        self.bodies.append_option(body.map(text));
        push_or_null(&mut self.event_names, record.event_name);
        push_id(&mut self.trace_ids, record.trace_id);
        push_id(&mut self.span_ids, record.span_id);
        self.attributes.push(&record.attributes, |_| false)?;
        self.flags.push(i64::from(record.flags));
        self.attributes_dropped.push(count(record.attributes_dropped));
        Ok(())
    }

    fn finish(self, unit: TimestampUnit) -> Result<Vec<ArrayRef>, ArrowError> {
        Ok(vec![
            times(self.timestamps.into_iter().map(Some), unit),
            times(self.observed.into_iter(), unit),
            Arc::new(Int32Array::from(self.severity_numbers)),
            strings(self.severity_texts),
            strings(self.bodies),
            strings(self.event_names),
            strings(self.trace_ids),
            strings(self.span_ids),
            self.attributes.finish()?,
            integers(self.flags),
            integers(self.attributes_dropped),
        ])
    }
}
