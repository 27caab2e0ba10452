//! Requests as one Arrow record batch, in the columns of docs/signals.md.

mod around;
mod lists;
mod logs;
mod schema;
mod spans;
mod text;

use std::marker::PhantomData;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::ArrowError;

use self::around::Around;
use self::logs::LogColumns;
pub use self::schema::schema;
use self::spans::SpanColumns;
use super::Signal;
use super::judge::Row;
use super::log_record::LogRecord;
use super::record::{Head, Places};
use super::span::Span;
use super::walk::{Resource, Scope, Visit, walk};
use crate::columns::TimestampUnit;
use crate::wire::proto::{Reader, WireFault};

/// The columns in the making.
pub(super) struct Columns(Of);

enum Of {
    Traces(Around, SpanColumns),
    Logs(Around, LogColumns),
}

/// The columns of what only rows of one kind have.
trait Own {
    type Row<'a>: Row<'a>;
    fn push(&mut self, row: &Self::Row<'_>, received_unix_us: i64) -> Result<(), WireFault>;
    fn finish(self, unit: TimestampUnit) -> Result<Vec<ArrayRef>, ArrowError>;
}

impl Columns {
    pub(super) fn new(signal: Signal) -> Self {
        Self(match signal {
            Signal::Traces => Of::Traces(Around::default(), SpanColumns::default()),
            Signal::Logs => Of::Logs(Around::default(), LogColumns::default()),
        })
    }

    /// Adds the rows of a request that were not refused.
    pub(super) fn push(&mut self, head: &Head, request: &[u8]) -> Result<(), ArrowError> {
        // It was walked to its end before it was journalled.
        let pushed = match &mut self.0 {
            Of::Traces(around, own) => push::<SpanColumns>(around, own, Span::default(), head, request),
            Of::Logs(around, own) => push::<LogColumns>(around, own, LogRecord::default(), head, request),
        };
        pushed.map_err(|fault| ArrowError::ParseError(format!("a request that was journalled cannot be read: {fault}")))
    }

    pub(super) fn finish(self, unit: TimestampUnit) -> Result<RecordBatch, ArrowError> {
        let (signal, around, own) = match self.0 {
            Of::Traces(around, own) => (Signal::Traces, around, own.finish(unit)?),
            Of::Logs(around, own) => (Signal::Logs, around, own.finish(unit)?),
        };
        RecordBatch::try_new(schema(signal, unit), around.finish(unit, own)?)
    }
}

fn push<'a, O: Own>(
    around: &mut Around,
    own: &mut O,
    row: O::Row<'a>,
    head: &Head,
    request: &'a [u8],
) -> Result<(), WireFault> {
    around.begin(head);
    let (refused, received_unix_us) = (&head.refused, head.received_unix_us);
    let mut pushing =
        Pushing { around, own, row, refused, received_unix_us, place: 0, refused_at: 0, body: PhantomData };
    walk(request, &mut pushing)
}

struct Pushing<'a, 'c, O: Own> {
    around: &'c mut Around,
    own: &'c mut O,
    row: O::Row<'a>,
    refused: &'c Places,
    received_unix_us: i64,
    place: u32,
    refused_at: usize,
    body: PhantomData<&'a ()>,
}

impl<'a, O: Own> Visit<'a> for Pushing<'a, '_, O> {
    fn resource(&mut self, resource: &Resource<'a>) -> Result<(), WireFault> {
        self.around.resource(resource)
    }

    fn scope(&mut self, scope: &Scope<'a>) -> Result<(), WireFault> {
        self.around.scope(scope)
    }

    fn row(&mut self, row: Reader<'a>) -> Result<(), WireFault> {
        let is_refused = self.refused.has(self.place, &mut self.refused_at);
        self.place += 1;
        if is_refused {
            return Ok(());
        }
        self.row.read(row)?;
        self.own.push(&self.row, self.received_unix_us)?;
        self.around.push();
        Ok(())
    }
}
