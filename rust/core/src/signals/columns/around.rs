//! The columns of what rows stand in: receipt, resource, scope and identity.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::StringBuilder;
use arrow_schema::ArrowError;

use super::lists::{Maps, texts};
use super::text::{push_or_null, times};
use crate::columns::TimestampUnit;
use crate::signals::judge::NODE_ID;
use crate::signals::record::Head;
use crate::signals::walk::{Resource, Scope};
use crate::translate::otlp::STANDARD_TAGS;
use crate::wire::proto::WireFault;

/// The columns, and what the next row gets.
#[derive(Debug, Default)]
pub(super) struct Around {
    received_unix_us: Vec<i64>,
    tags: [StringBuilder; STANDARD_TAGS.len()],
    scope_names: StringBuilder,
    scope_versions: StringBuilder,
    scope_attributes: Maps,
    resources: Maps,
    identities: StringBuilder,
    next: Next,
}

#[derive(Debug, Default)]
struct Next {
    received_unix_us: i64,
    identity: Box<str>,
    node: Box<str>,
    tags: [Vec<u8>; STANDARD_TAGS.len()],
    resource: Vec<(String, Option<String>)>,
    scope_name: Vec<u8>,
    scope_version: Vec<u8>,
    scope: Vec<(String, Option<String>)>,
}

fn has_a_column(key: &[u8]) -> bool {
    STANDARD_TAGS.iter().any(|(attribute, _)| *attribute == key)
}

impl Around {
    /// The rows that follow are of this request.
    pub(super) fn begin(&mut self, head: &Head) {
        self.next.received_unix_us = head.received_unix_us;
        self.next.identity.clone_from(&head.identity);
        self.next.node.clone_from(&head.node);
    }

    pub(super) fn resource(&mut self, resource: &Resource<'_>) -> Result<(), WireFault> {
        let mut scratch = Vec::new();
        for ((named, _), tag) in STANDARD_TAGS.iter().zip(&mut self.next.tags) {
            tag.clear();
            if let Some(attribute) = resource.attributes.iter().find(|attribute| attribute.key == *named) {
                tag.extend_from_slice(attribute.text(&mut scratch)?.unwrap_or_default());
            }
        }
        let node = &mut self.next.tags[NODE_ID];
        if node.is_empty() {
            node.extend_from_slice(self.next.node.as_bytes());
        }
        self.next.resource = texts(&resource.attributes, has_a_column)?;
        Ok(())
    }

    pub(super) fn scope(&mut self, scope: &Scope<'_>) -> Result<(), WireFault> {
        self.next.scope_name = scope.name.to_vec();
        self.next.scope_version = scope.version.to_vec();
        self.next.scope = texts(&scope.attributes, |_| false)?;
        Ok(())
    }

    /// Adds a row.
    pub(super) fn push(&mut self) {
        let next = &self.next;
        self.received_unix_us.push(next.received_unix_us);
        for (column, tag) in self.tags.iter_mut().zip(&next.tags) {
            push_or_null(column, tag);
        }
        push_or_null(&mut self.scope_names, &next.scope_name);
        push_or_null(&mut self.scope_versions, &next.scope_version);
        self.scope_attributes.push_texts(&next.scope);
        self.resources.push_texts(&next.resource);
        self.identities.append_value(&next.identity);
    }

    /// All columns, with the rows' own in their place.
    pub(super) fn finish(self, unit: TimestampUnit, own: Vec<ArrayRef>) -> Result<Vec<ArrayRef>, ArrowError> {
        let received_unix_ns = self.received_unix_us.into_iter().map(|us| Some(us.saturating_mul(1_000)));
        let mut columns = vec![times(received_unix_ns, unit)];
        columns.extend(own);
        columns.extend(self.tags.map(strings));
        columns.extend([
            strings(self.scope_names),
            strings(self.scope_versions),
            self.scope_attributes.finish()?,
            self.resources.finish()?,
            strings(self.identities),
        ]);
        Ok(columns)
    }
}

pub(super) fn strings(mut column: StringBuilder) -> ArrayRef {
    Arc::new(column.finish())
}
