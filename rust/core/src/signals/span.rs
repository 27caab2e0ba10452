//! A span, as it stands in a request.

use std::ops::Range;

use super::attributes::{self, Attribute, bytes};
use super::judge::{Checker, Fault, PARTS_MAX, Row};
use crate::wire::Reason;
use crate::wire::proto::{FIXED32, FIXED64, LENGTH, Reader, VARINT, WireFault, key};

/// A `Span`. Lists keep one element more than they may have, which tells that they are too long.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "the field's own term: it is never called anything else")]
pub(super) struct Span<'a> {
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    pub(super) trace_state: &'a [u8],
    pub(super) parent_span_id: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) kind: u64,
    pub(super) start_unix_ns: u64,
    pub(super) end_unix_ns: u64,
    pub(super) attributes: Vec<Attribute<'a>>,
    pub(super) attributes_dropped: u64,
    pub(super) events: Vec<Event<'a>>,
    pub(super) events_dropped: u64,
    pub(super) links: Vec<Link<'a>>,
    pub(super) links_dropped: u64,
    pub(super) status_code: u64,
    pub(super) status_message: &'a [u8],
    pub(super) flags: u32,
    /// The attributes of events and links.
    nested: Vec<Attribute<'a>>,
}

/// A moment within a span.
#[derive(Debug, Default)]
pub(super) struct Event<'a> {
    pub(super) time_unix_ns: u64,
    pub(super) name: &'a [u8],
    pub(super) attributes_dropped: u64,
    attributes: Range<usize>,
}

/// Another span that one has to do with.
#[derive(Debug, Default)]
pub(super) struct Link<'a> {
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    pub(super) trace_state: &'a [u8],
    pub(super) attributes_dropped: u64,
    pub(super) flags: u32,
    attributes: Range<usize>,
}

impl<'a> Span<'a> {
    pub(super) fn attributes_of(&self, event: &Event<'a>) -> &[Attribute<'a>] {
        &self.nested[event.attributes.clone()]
    }

    pub(super) fn attributes_of_link(&self, link: &Link<'a>) -> &[Attribute<'a>] {
        &self.nested[link.attributes.clone()]
    }

    fn status(&mut self, mut reader: Reader<'a>) -> Result<(), WireFault> {
        const MESSAGE: u32 = key(2, LENGTH);
        const CODE: u32 = key(3, VARINT);

        while let Some(field) = reader.key()? {
            match field {
                MESSAGE => self.status_message = bytes(&mut reader)?,
                CODE => self.status_code = reader.varint()?,
                _ => reader.skip(field)?,
            }
        }
        Ok(())
    }

    fn event(&mut self, mut reader: Reader<'a>) -> Result<(), WireFault> {
        const TIME: u32 = key(1, FIXED64);
        const NAME: u32 = key(2, LENGTH);
        const ATTRIBUTES: u32 = key(3, LENGTH);
        const DROPPED: u32 = key(4, VARINT);

        let from = self.nested.len();
        let mut event = Event::default();
        while let Some(field) = reader.key()? {
            match field {
                TIME => event.time_unix_ns = reader.fixed64()?,
                NAME => event.name = bytes(&mut reader)?,
                ATTRIBUTES => attributes::push(&mut self.nested, from, reader.message()?)?,
                DROPPED => event.attributes_dropped = reader.varint()?,
                _ => reader.skip(field)?,
            }
        }
        event.attributes = from..self.nested.len();
        if self.events.len() <= PARTS_MAX {
            self.events.push(event);
        } else {
            self.nested.truncate(from);
        }
        Ok(())
    }

    fn link(&mut self, mut reader: Reader<'a>) -> Result<(), WireFault> {
        const TRACE_ID: u32 = key(1, LENGTH);
        const SPAN_ID: u32 = key(2, LENGTH);
        const TRACE_STATE: u32 = key(3, LENGTH);
        const ATTRIBUTES: u32 = key(4, LENGTH);
        const DROPPED: u32 = key(5, VARINT);
        const FLAGS: u32 = key(6, FIXED32);

        let from = self.nested.len();
        let mut link = Link::default();
        while let Some(field) = reader.key()? {
            match field {
                TRACE_ID => link.trace_id = bytes(&mut reader)?,
                SPAN_ID => link.span_id = bytes(&mut reader)?,
                TRACE_STATE => link.trace_state = bytes(&mut reader)?,
                ATTRIBUTES => attributes::push(&mut self.nested, from, reader.message()?)?,
                DROPPED => link.attributes_dropped = reader.varint()?,
                FLAGS => link.flags = reader.fixed32()?,
                _ => reader.skip(field)?,
            }
        }
        link.attributes = from..self.nested.len();
        if self.links.len() <= PARTS_MAX {
            self.links.push(link);
        } else {
            self.nested.truncate(from);
        }
        Ok(())
    }

    /// Nothing, with the lists' memory.
    fn clear(&mut self) {
        let Self { mut attributes, mut events, mut links, mut nested, .. } = std::mem::take(self);
        attributes.clear();
        events.clear();
        links.clear();
        nested.clear();
        *self = Self { attributes, events, links, nested, ..Self::default() };
    }
}

impl<'a> Row<'a> for Span<'a> {
    fn read(&mut self, mut reader: Reader<'a>) -> Result<(), WireFault> {
        const TRACE_ID: u32 = key(1, LENGTH);
        const SPAN_ID: u32 = key(2, LENGTH);
        const TRACE_STATE: u32 = key(3, LENGTH);
        const PARENT_SPAN_ID: u32 = key(4, LENGTH);
        const NAME: u32 = key(5, LENGTH);
        const KIND: u32 = key(6, VARINT);
        const START: u32 = key(7, FIXED64);
        const END: u32 = key(8, FIXED64);
        const ATTRIBUTES: u32 = key(9, LENGTH);
        const ATTRIBUTES_DROPPED: u32 = key(10, VARINT);
        const EVENTS: u32 = key(11, LENGTH);
        const EVENTS_DROPPED: u32 = key(12, VARINT);
        const LINKS: u32 = key(13, LENGTH);
        const LINKS_DROPPED: u32 = key(14, VARINT);
        const STATUS: u32 = key(15, LENGTH);
        const FLAGS: u32 = key(16, FIXED32);

        self.clear();
        while let Some(field) = reader.key()? {
            match field {
                TRACE_ID => self.trace_id = bytes(&mut reader)?,
                SPAN_ID => self.span_id = bytes(&mut reader)?,
                TRACE_STATE => self.trace_state = bytes(&mut reader)?,
                PARENT_SPAN_ID => self.parent_span_id = bytes(&mut reader)?,
                NAME => self.name = bytes(&mut reader)?,
                KIND => self.kind = reader.varint()?,
                START => self.start_unix_ns = reader.fixed64()?,
                END => self.end_unix_ns = reader.fixed64()?,
                ATTRIBUTES => attributes::push(&mut self.attributes, 0, reader.message()?)?,
                ATTRIBUTES_DROPPED => self.attributes_dropped = reader.varint()?,
                EVENTS => self.event(reader.message()?)?,
                EVENTS_DROPPED => self.events_dropped = reader.varint()?,
                LINKS => self.link(reader.message()?)?,
                LINKS_DROPPED => self.links_dropped = reader.varint()?,
                STATUS => self.status(reader.message()?)?,
                FLAGS => self.flags = reader.fixed32()?,
                _ => reader.skip(field)?,
            }
        }
        Ok(())
    }

    fn check(&self, checker: &mut Checker) -> Result<(), Fault> {
        checker.id(self.trace_id, 16, "its trace_id is not 16 bytes, or all are zero")?;
        checker.id(self.span_id, 8, "its span_id is not 8 bytes, or all are zero")?;
        checker.length(self.parent_span_id, 8, "its parent_span_id is neither empty nor 8 bytes")?;
        checker.text(self.name, Reason::InvalidName, "its name is not UTF-8")?;
        checker.text(self.trace_state, Reason::InvalidValue, "its trace_state is not UTF-8")?;
        checker.text(self.status_message, Reason::InvalidValue, "its status' message is not UTF-8")?;
        checker.time(self.start_unix_ns)?;
        checker.time(self.end_unix_ns)?;
        checker.attributes(&self.attributes)?;
        checker.parts(self.events.len(), "it has more than 1,024 events")?;
        checker.parts(self.links.len(), "it has more than 1,024 links")?;
        for event in &self.events {
            checker.time(event.time_unix_ns)?;
            checker.text(event.name, Reason::InvalidName, "the name of an event is not UTF-8")?;
            checker.attributes(self.attributes_of(event))?;
        }
        for link in &self.links {
            // A link that leads nowhere is no reason to lose its span.
            checker.length(link.trace_id, 16, "the trace_id of a link is neither empty nor 16 bytes")?;
            checker.length(link.span_id, 8, "the span_id of a link is neither empty nor 8 bytes")?;
            checker.text(link.trace_state, Reason::InvalidValue, "the trace_state of a link is not UTF-8")?;
            checker.attributes(self.attributes_of_link(link))?;
        }
        Ok(())
    }

    fn name(&self) -> &[u8] {
        self.name
    }
}
