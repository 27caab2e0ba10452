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
pub(super) struct Columns {
    around: Around,
    own: Of,
}

enum Of {
    Traces(Box<SpanColumns>),
    Logs(Box<LogColumns>),
}

/// The columns of what only rows of one kind have.
trait Own {
    type Row<'a>: Row<'a>;
    fn push(&mut self, row: &Self::Row<'_>, received_unix_us: i64) -> Result<(), WireFault>;
    fn finish(self, unit: TimestampUnit) -> Result<Vec<ArrayRef>, ArrowError>;
}

impl Columns {
    pub(super) fn new(signal: Signal) -> Self {
        let own = match signal {
            Signal::Traces => Of::Traces(Box::default()),
            Signal::Logs => Of::Logs(Box::default()),
        };
        Self { around: Around::default(), own }
    }

    /// Adds the rows of a request that were not refused.
    pub(super) fn push(&mut self, head: &Head, request: &[u8]) -> Result<(), ArrowError> {
        let around = &mut self.around;
        let pushed = match &mut self.own {
            Of::Traces(own) => push::<SpanColumns>(around, own, Span::default(), head, request),
            Of::Logs(own) => push::<LogColumns>(around, own, LogRecord::default(), head, request),
        };
        // It was walked to its end before it was journalled.
        pushed.map_err(|fault| ArrowError::ParseError(format!("a request that was journalled cannot be read: {fault}")))
    }

    pub(super) fn finish(self, unit: TimestampUnit) -> Result<RecordBatch, ArrowError> {
        let (signal, own) = match self.own {
            Of::Traces(own) => (Signal::Traces, own.finish(unit)?),
            Of::Logs(own) => (Signal::Logs, own.finish(unit)?),
        };
        RecordBatch::try_new(schema(signal, unit), self.around.finish(unit, own)?)
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
