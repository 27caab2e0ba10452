//! What batches are judged by. It is replaced whole while batches come in, so none is judged by half of the old rules
//! and half of the new ones.

use std::sync::Arc;

use parking_lot::RwLock;

use super::IngestSettings;
use crate::limits::Limits;

/// The rules that an operator may change while it runs.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Bounds of outside data.
    pub limits: Limits,
    /// A batch may speak only for its certificate's node, relays excepted.
    pub bind_node_id: bool,
}

impl From<&IngestSettings> for Policy {
    fn from(settings: &IngestSettings) -> Self {
        Self { limits: settings.limits.clone(), bind_node_id: settings.bind_node_id }
    }
}

/// The policy in force. Whoever judges takes it once for all the frames that came together.
pub(super) struct CurrentPolicy(RwLock<Arc<Policy>>);

impl CurrentPolicy {
    pub(super) fn new(policy: Policy) -> Self {
        Self(RwLock::new(Arc::new(policy)))
    }

    pub(super) fn get(&self) -> Arc<Policy> {
        Arc::clone(&self.0.read())
    }

    pub(super) fn replace(&self, policy: Policy) {
        *self.0.write() = Arc::new(policy);
    }
}
