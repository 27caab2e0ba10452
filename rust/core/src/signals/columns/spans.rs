//! The columns that only spans have.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, Int64Array};
use arrow_schema::ArrowError;

use super::Own;
use super::around::strings;
use super::lists::{Ends, Maps};
use super::schema;
use super::text::{push_id, push_or_null, text, times};
use crate::columns::TimestampUnit;
use crate::signals::span::{Event, Link, Span};
use crate::wire::proto::WireFault;

const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const STATUS_CODES: [&str; 3] = ["unset", "ok", "error"];

#[derive(Debug, Default)]
pub(super) struct SpanColumns {
    trace_ids: StringBuilder,
    span_ids: StringBuilder,
    parent_span_ids: StringBuilder,
    trace_states: StringBuilder,
    names: StringBuilder,
    kinds: StringBuilder,
    starts: Vec<i64>,
    durations: Vec<Option<i64>>,
    status_codes: StringBuilder,
    status_messages: StringBuilder,
    attributes: Maps,
    events: Events,
    links: Links,
    flags: Vec<i64>,
    attributes_dropped: Vec<i64>,
    events_dropped: Vec<i64>,
    links_dropped: Vec<i64>,
}

#[derive(Debug, Default)]
struct Events {
    ends: Ends,
    times: Vec<i64>,
    names: StringBuilder,
    attributes: Maps,
    attributes_dropped: Vec<i64>,
}

#[derive(Debug, Default)]
struct Links {
    ends: Ends,
    trace_ids: StringBuilder,
    span_ids: StringBuilder,
    trace_states: StringBuilder,
    attributes: Maps,
    attributes_dropped: Vec<i64>,
    flags: Vec<i64>,
}

/// The word for an enum's number, or the number where there is none.
fn push_word(column: &mut StringBuilder, words: &[&str], number: u64) {
    match words.get(number as usize) {
        Some(word) => column.append_value(word),
        None => column.append_value(number.to_string()),
    }
}

impl Own for SpanColumns {
    type Row<'a> = Span<'a>;

    fn push(&mut self, span: &Span<'_>, _received_unix_us: i64) -> Result<(), WireFault> {
        push_id(&mut self.trace_ids, span.trace_id);
        push_id(&mut self.span_ids, span.span_id);
        push_id(&mut self.parent_span_ids, span.parent_span_id);
        push_or_null(&mut self.trace_states, span.trace_state);
        self.names.append_value(text(span.name));
        push_word(&mut self.kinds, &KINDS, span.kind);
        let start = span.start_unix_ns as i64;
        self.starts.push(start);
        // A clock that was set back gives less than nothing, which is for the reader to judge.
        self.durations.push((span.end_unix_ns != 0).then(|| span.end_unix_ns as i64 - start));
        push_word(&mut self.status_codes, &STATUS_CODES, span.status_code);
        push_or_null(&mut self.status_messages, span.status_message);
        self.attributes.push(&span.attributes, |_| false)?;
        for event in &span.events {
            self.events.push(span, event)?;
        }
        self.events.ends.push(self.events.times.len());
        for link in &span.links {
            self.links.push(span, link)?;
        }
        self.links.ends.push(self.links.flags.len());
        self.flags.push(i64::from(span.flags));
        self.attributes_dropped.push(count(span.attributes_dropped));
        self.events_dropped.push(count(span.events_dropped));
        self.links_dropped.push(count(span.links_dropped));
        Ok(())
    }

    fn finish(self, unit: TimestampUnit) -> Result<Vec<ArrayRef>, ArrowError> {
        Ok(vec![
            strings(self.trace_ids),
            strings(self.span_ids),
            strings(self.parent_span_ids),
            strings(self.trace_states),
            strings(self.names),
            strings(self.kinds),
            times(self.starts.into_iter().map(Some), unit),
            Arc::new(Int64Array::from(self.durations)),
            strings(self.status_codes),
            strings(self.status_messages),
            self.attributes.finish()?,
            self.events.finish(unit)?,
            self.links.finish()?,
            integers(self.flags),
            integers(self.attributes_dropped),
            integers(self.events_dropped),
            integers(self.links_dropped),
        ])
    }
}

impl Events {
    fn push<'a>(&mut self, span: &Span<'a>, event: &Event<'a>) -> Result<(), WireFault> {
        self.times.push(event.time_unix_ns as i64);
        self.names.append_value(text(event.name));
        self.attributes.push(span.attributes_of(event), |_| false)?;
        self.attributes_dropped.push(count(event.attributes_dropped));
        Ok(())
    }

    fn finish(self, unit: TimestampUnit) -> Result<ArrayRef, ArrowError> {
        let elements = vec![
            times(self.times.into_iter().map(Some), unit),
            strings(self.names),
            self.attributes.finish()?,
            integers(self.attributes_dropped),
        ];
        self.ends.lists(schema::event_fields(unit), elements)
    }
}

impl Links {
    fn push<'a>(&mut self, span: &Span<'a>, link: &Link<'a>) -> Result<(), WireFault> {
        push_id(&mut self.trace_ids, link.trace_id);
        push_id(&mut self.span_ids, link.span_id);
        push_or_null(&mut self.trace_states, link.trace_state);
        self.attributes.push(span.attributes_of_link(link), |_| false)?;
        self.attributes_dropped.push(count(link.attributes_dropped));
        self.flags.push(i64::from(link.flags));
        Ok(())
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        let elements = vec![
            strings(self.trace_ids),
            strings(self.span_ids),
            strings(self.trace_states),
            self.attributes.finish()?,
            integers(self.attributes_dropped),
            integers(self.flags),
        ];
        self.ends.lists(schema::link_fields(), elements)
    }
}

/// A `uint32`, of which protobuf's decoders take the low 32 bits.
pub(super) fn count(number: u64) -> i64 {
    i64::from(number as u32)
}

pub(super) fn integers(values: Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}
