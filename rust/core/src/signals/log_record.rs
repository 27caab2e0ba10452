//! A log record, as it stands in a request.

use super::attributes::{self, Attribute, bytes};
use super::judge::{Checker, Fault, Row};
use crate::wire::Reason;
use crate::wire::proto::{FIXED32, FIXED64, LENGTH, Reader, VARINT, WireFault, key};

/// A `LogRecord`.
#[derive(Debug, Default)]
pub(super) struct LogRecord<'a> {
    pub(super) time_unix_ns: u64,
    pub(super) observed_unix_ns: u64,
    /// An open enumeration: 0 is unspecified, 1 to 24 are known, and others are kept as they came.
    pub(super) severity_number: i32,
    pub(super) severity_text: &'a [u8],
    /// Its body, as the value of an attribute without a name.
    pub(super) body: Option<Attribute<'a>>,
    pub(super) attributes: Vec<Attribute<'a>>,
    pub(super) attributes_dropped: u64,
    pub(super) flags: u32,
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    pub(super) event_name: &'a [u8],
}

impl<'a> Row<'a> for LogRecord<'a> {
    fn read(&mut self, mut reader: Reader<'a>) -> Result<(), WireFault> {
        const TIME: u32 = key(1, FIXED64);
        const SEVERITY_NUMBER: u32 = key(2, VARINT);
        const SEVERITY_TEXT: u32 = key(3, LENGTH);
        const BODY: u32 = key(5, LENGTH);
        const ATTRIBUTES: u32 = key(6, LENGTH);
        const ATTRIBUTES_DROPPED: u32 = key(7, VARINT);
        const FLAGS: u32 = key(8, FIXED32);
        const TRACE_ID: u32 = key(9, LENGTH);
        const SPAN_ID: u32 = key(10, LENGTH);
        const OBSERVED: u32 = key(11, FIXED64);
        const EVENT_NAME: u32 = key(12, LENGTH);

        let mut attributes = std::mem::take(&mut self.attributes);
        attributes.clear();
        *self = Self { attributes, ..Self::default() };
        while let Some(field) = reader.key()? {
            match field {
                TIME => self.time_unix_ns = reader.fixed64()?,
                SEVERITY_NUMBER => self.severity_number = reader.varint()? as i32,
                SEVERITY_TEXT => self.severity_text = bytes(&mut reader)?,
                BODY => self.body = Some(Attribute { key: &[], value: Some(reader.message()?) }),
                ATTRIBUTES => attributes::push(&mut self.attributes, 0, reader.message()?)?,
                ATTRIBUTES_DROPPED => self.attributes_dropped = reader.varint()?,
                FLAGS => self.flags = reader.fixed32()?,
                TRACE_ID => self.trace_id = bytes(&mut reader)?,
                SPAN_ID => self.span_id = bytes(&mut reader)?,
                OBSERVED => self.observed_unix_ns = reader.fixed64()?,
                EVENT_NAME => self.event_name = bytes(&mut reader)?,
                _ => reader.skip(field)?,
            }
        }
        Ok(())
    }

    fn check(&self, checker: &mut Checker) -> Result<(), Fault> {
        checker.length(self.trace_id, 16, "its trace_id is neither empty nor 16 bytes")?;
        checker.length(self.span_id, 8, "its span_id is neither empty nor 8 bytes")?;
        checker.time(self.time_unix_ns)?;
        checker.time(self.observed_unix_ns)?;
        checker.text(self.severity_text, Reason::InvalidValue, "its severity_text is not UTF-8")?;
        checker.text(self.event_name, Reason::InvalidName, "its event_name is not UTF-8")?;
        if let Some(body) = &self.body {
            checker.value(body, Reason::InvalidValue, "its body is not UTF-8, or nested deeper than 16")?;
        }
        checker.attributes(&self.attributes)
    }

    fn name(&self) -> &[u8] {
        self.event_name
    }
}
