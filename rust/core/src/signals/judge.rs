//! Which rows of a request are taken. Each is judged by itself; bytes that are no such request refuse it whole.

use std::marker::PhantomData;

use super::attributes::Attribute;
use super::log_record::LogRecord;
use super::span::Span;
use super::walk::{Resource, Scope, Visit, walk};
use super::{Signal, record::Places};
use crate::translate::otlp::{STANDARD_TAGS, value};
use crate::wire::proto::{Reader, WireFault};
use crate::wire::{Reason, Rejection};

/// Attributes of one list.
pub const ATTRIBUTES_MAX: usize = 256;
/// Events of a span, and its links.
pub const PARTS_MAX: usize = 1_024;
/// Bytes of a request's rows, counting what surrounds a row as often as it will be stored: with each.
pub const REPEATED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a row takes in columns that says nothing itself: of those there could be millions in a few bytes.
const ROW_BYTES: usize = 256;
/// Of a refused row's name, so much is told.
const NAME_BYTES_TOLD: usize = 100;

/// A `Span` or a `LogRecord`.
pub(super) trait Row<'a>: Default {
    /// Takes the place of the row before.
    fn read(&mut self, reader: Reader<'a>) -> Result<(), WireFault>;
    /// Whether it may be stored.
    fn check(&self, checker: &mut Checker) -> Result<(), Fault>;
    /// What it is called, for whoever is told that it was refused.
    fn name(&self) -> &[u8];
}

/// Why a row is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nor is anything else of its request.
    Wire(WireFault),
    /// It alone.
    Refused(Reason, &'static str),
}

impl From<WireFault> for Fault {
    fn from(fault: WireFault) -> Self {
        Self::Wire(fault)
    }
}

/// What becomes of a request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Judged {
    /// Rows that are taken.
    pub(super) rows: u64,
    /// Their bytes, with what surrounds them.
    pub(super) repeated_bytes: usize,
    /// Rows that are not, by their place among all.
    pub(super) refused: Places,
    /// Why, one a reason.
    pub(super) rejections: Vec<Rejection>,
}

/// Judges a request. `bound_to`: the one node that its rows may be of.
pub(super) fn judge(signal: Signal, body: &[u8], bound_to: Option<&str>) -> Result<Judged, WireFault> {
    match signal {
        Signal::Traces => Judge::<Span<'_>>::of(body, bound_to),
        Signal::Logs => Judge::<LogRecord<'_>>::of(body, bound_to),
    }
}

struct Judge<'a, 'n, R> {
    bound_to: Option<&'n str>,
    row: R,
    checker: Checker,
    place: u32,
    resource_bytes: usize,
    /// Of resource and scope.
    surrounding_bytes: usize,
    /// What is wrong with the resource, and thereby with all of its rows.
    resource_fault: Option<(Reason, &'static str)>,
    scope_fault: Option<(Reason, &'static str)>,
    judged: Judged,
    body: PhantomData<&'a ()>,
}

impl<'a, 'n, R: Row<'a>> Judge<'a, 'n, R> {
    fn of(body: &'a [u8], bound_to: Option<&'n str>) -> Result<Judged, WireFault> {
        let mut judge = Self {
            bound_to,
            row: R::default(),
            checker: Checker::default(),
            place: 0,
            resource_bytes: 0,
            surrounding_bytes: 0,
            resource_fault: None,
            scope_fault: None,
            judged: Judged::default(),
            body: PhantomData,
        };
        walk(body, &mut judge)?;
        Ok(judge.judged)
    }

    fn of_another_node(&mut self, attributes: &[Attribute<'a>]) -> Result<bool, WireFault> {
        let Some(bound_to) = self.bound_to else { return Ok(false) };
        let (named, _) = STANDARD_TAGS[NODE_ID];
        let Some(node) = attributes.iter().find(|attribute| attribute.key == named) else { return Ok(false) };
        let text = node.text(&mut self.checker.scratch)?;
        Ok(text.is_some_and(|node| !node.is_empty() && node != bound_to.as_bytes()))
    }

    fn refuse(&mut self, reason: Reason, why: &str) {
        self.judged.refused.push(self.place);
        if let Some(known) = self.judged.rejections.iter_mut().find(|known| known.reason == reason) {
            known.points += 1;
            return;
        }
        let name = self.row.name();
        let name = String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES_TOLD)]);
        let example = if name.is_empty() { why.to_owned() } else { format!("{name}: {why}") };
        self.judged.rejections.push(Rejection { reason, points: 1, example });
    }
}

/// The place of `host.name` among the attributes that have a tag of another name here.
pub(super) const NODE_ID: usize = 2;

impl<'a, R: Row<'a>> Visit<'a> for Judge<'a, '_, R> {
    fn resource(&mut self, resource: &Resource<'a>) -> Result<(), WireFault> {
        self.resource_bytes = resource.bytes;
        self.resource_fault = refusal(self.checker.attributes(&resource.attributes))?;
        if self.resource_fault.is_none() && self.of_another_node(&resource.attributes)? {
            self.resource_fault = Some((Reason::IdentityMismatch, "its certificate names another node than host.name"));
        }
        Ok(())
    }

    fn scope(&mut self, scope: &Scope<'a>) -> Result<(), WireFault> {
        self.surrounding_bytes = self.resource_bytes + scope.bytes;
        let checker = &mut self.checker;
        // First, for bytes that are no request refuse it whole, whatever else is wrong.
        let attributes_fault = refusal(checker.attributes(&scope.attributes))?;
        let verdict = checker
            .text(scope.name, Reason::InvalidName, "its scope's name is not UTF-8")
            .and_then(|()| checker.text(scope.version, Reason::InvalidValue, "its scope's version is not UTF-8"));
        self.scope_fault = refusal(verdict)?.or(attributes_fault);
        Ok(())
    }

    fn row(&mut self, row: Reader<'a>) -> Result<(), WireFault> {
        let bytes = ROW_BYTES + row.rest().len() + self.surrounding_bytes;
        self.row.read(row)?;
        let fault = refusal(self.row.check(&mut self.checker))?.or(self.resource_fault).or(self.scope_fault);
        let repeated = self.judged.repeated_bytes + bytes;
        match fault {
            Some((reason, why)) => self.refuse(reason, why),
            None if repeated > REPEATED_BYTES_MAX => {
                self.refuse(Reason::BatchTooLarge, "with its resource repeated for each, the request is over 64 MiB");
            }
            None => {
                self.judged.rows += 1;
                self.judged.repeated_bytes = repeated;
            }
        }
        self.place += 1;
        Ok(())
    }
}

fn refusal(checked: Result<(), Fault>) -> Result<Option<(Reason, &'static str)>, WireFault> {
    match checked {
        Ok(()) => Ok(None),
        Err(Fault::Refused(reason, why)) => Ok(Some((reason, why))),
        Err(Fault::Wire(fault)) => Err(fault),
    }
}

/// The rules that parts of rows are judged by.
#[derive(Debug, Default)]
pub(super) struct Checker {
    scratch: Vec<u8>,
}

/// What is not as it must be.
fn demand(holds: bool, reason: Reason, why: &'static str) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::Refused(reason, why)) }
}

#[expect(clippy::unused_self, reason = "rules are asked for in one way, whether or not they need the scratch")]
impl Checker {
    /// An id that must be there.
    pub(super) fn id(&self, id: &[u8], bytes: usize, why: &'static str) -> Result<(), Fault> {
        demand(id.len() == bytes && id.iter().any(|byte| *byte != 0), Reason::InvalidValue, why)
    }

    /// An id that may be missing.
    pub(super) fn length(&self, id: &[u8], bytes: usize, why: &'static str) -> Result<(), Fault> {
        demand(id.is_empty() || id.len() == bytes, Reason::InvalidValue, why)
    }

    pub(super) fn text(&self, text: &[u8], reason: Reason, why: &'static str) -> Result<(), Fault> {
        demand(std::str::from_utf8(text).is_ok(), reason, why)
    }

    pub(super) fn time(&self, unix_ns: u64) -> Result<(), Fault> {
        let why = "a time is after the year 2262, beyond 63 bits of nanoseconds";
        demand(i64::try_from(unix_ns).is_ok(), Reason::InvalidTimestamp, why)
    }

    pub(super) fn parts(&self, count: usize, why: &'static str) -> Result<(), Fault> {
        demand(count <= PARTS_MAX, Reason::InvalidValue, why)
    }

    /// Looks at all of them: whoever reads what surrounds rows reads on behind the first that is refused.
    pub(super) fn attributes(&mut self, attributes: &[Attribute<'_>]) -> Result<(), Fault> {
        let mut verdict =
            demand(attributes.len() <= ATTRIBUTES_MAX, Reason::InvalidTag, "a list of attributes has more than 256");
        for attribute in attributes {
            let key = self.text(attribute.key, Reason::InvalidTag, "an attribute's key is not UTF-8");
            let value =
                self.value(attribute, Reason::InvalidTag, "an attribute is not UTF-8, or nested deeper than 16");
            if let Err(Fault::Wire(_)) = value {
                return value;
            }
            verdict = verdict.and(key).and(value);
        }
        verdict
    }

    pub(super) fn value(&mut self, of: &Attribute<'_>, reason: Reason, why: &'static str) -> Result<(), Fault> {
        let Some(reader) = of.value else { return Ok(()) };
        if let Some(text) = value::plain(reader) {
            return self.text(text, reason, why);
        }
        self.scratch.clear();
        let whole = value::write(reader, &mut self.scratch, usize::MAX)?;
        demand(whole && std::str::from_utf8(&self.scratch).is_ok(), reason, why)
    }
}
