//! Walks a request down to its rows. Both services' requests are built alike: resources have scopes, scopes have rows.

use super::attributes::{self, Attribute, bytes};
use crate::wire::proto::{LENGTH, Reader, WireFault, key};

/// What produced rows.
#[derive(Debug, Default)]
pub(super) struct Resource<'a> {
    pub(super) attributes: Vec<Attribute<'a>>,
    /// Of its message.
    pub(super) bytes: usize,
}

/// The library within it.
#[derive(Debug, Default)]
pub(super) struct Scope<'a> {
    pub(super) name: &'a [u8],
    pub(super) version: &'a [u8],
    pub(super) attributes: Vec<Attribute<'a>>,
    /// Of its message.
    pub(super) bytes: usize,
}

/// Who is shown what a request holds, in its order.
pub(super) trait Visit<'a> {
    /// The rows that follow are of this resource, and of no scope yet.
    fn resource(&mut self, resource: &Resource<'a>) -> Result<(), WireFault>;
    /// And of this scope.
    fn scope(&mut self, scope: &Scope<'a>) -> Result<(), WireFault>;
    /// A `Span` or `LogRecord`.
    fn row(&mut self, row: Reader<'a>) -> Result<(), WireFault>;
}

const FIRST: u32 = key(1, LENGTH);
const SECOND: u32 = key(2, LENGTH);

/// Shows all of a request. What surrounds rows may stand behind them and is looked for first.
pub(super) fn walk<'a>(body: &'a [u8], visit: &mut impl Visit<'a>) -> Result<(), WireFault> {
    let mut request = Reader::new(body);
    let (mut resource, mut scope) = (Resource::default(), Scope::default());
    each(&mut request, FIRST, |of_resource| {
        resource.attributes.clear();
        resource.bytes = 0;
        each(&mut { of_resource }, FIRST, |message| take_resource(message, &mut resource))?;
        visit.resource(&resource)?;
        each(&mut { of_resource }, SECOND, |of_scope| {
            scope.attributes.clear();
            (scope.name, scope.version, scope.bytes) = (&[], &[], 0);
            each(&mut { of_scope }, FIRST, |message| take_scope(message, &mut scope))?;
            visit.scope(&scope)?;
            each(&mut { of_scope }, SECOND, |row| visit.row(row))
        })
    })
}

/// Calls for each message in a field, and passes over what else there is.
fn each<'a>(
    reader: &mut Reader<'a>,
    wanted: u32,
    mut take: impl FnMut(Reader<'a>) -> Result<(), WireFault>,
) -> Result<(), WireFault> {
    while let Some(field) = reader.key()? {
        if field == wanted {
            take(reader.message()?)?;
        } else {
            reader.skip(field)?;
        }
    }
    Ok(())
}

fn take_resource<'a>(mut reader: Reader<'a>, resource: &mut Resource<'a>) -> Result<(), WireFault> {
    resource.bytes += reader.rest().len();
    each(&mut reader, FIRST, |attribute| attributes::push(&mut resource.attributes, 0, attribute))
}

fn take_scope<'a>(mut reader: Reader<'a>, scope: &mut Scope<'a>) -> Result<(), WireFault> {
    const ATTRIBUTES: u32 = key(3, LENGTH);

    scope.bytes += reader.rest().len();
    while let Some(field) = reader.key()? {
        match field {
            FIRST => scope.name = bytes(&mut reader)?,
            SECOND => scope.version = bytes(&mut reader)?,
            ATTRIBUTES => attributes::push(&mut scope.attributes, 0, reader.message()?)?,
            _ => reader.skip(field)?,
        }
    }
    Ok(())
}
