//! Whom to tell that a conversation's replies became due: it travels with each batch to its commit.

use std::sync::Arc;

/// Called on the committer's thread, and perhaps more than once for one reply. It must not block.
pub type WakeTask = Arc<dyn Fn() + Send + Sync>;

/// Who serves a conversation.
#[derive(Clone)]
pub(super) enum ReplyTo {
    /// An event loop, which asks for the ids of all that are due at once.
    List(u64),
    /// A task of its own, which is woken directly.
    Task(WakeTask),
    /// Nobody waits: a record of the collector's own.
    Nobody,
}

impl ReplyTo {
    /// Tells a task, or puts the id on the list.
    pub(super) fn tell(&self, list: &mut Vec<u64>) {
        match self {
            Self::List(id) => list.push(*id),
            Self::Task(wake) => wake(),
            Self::Nobody => {}
        }
    }

    /// Whether both lead to the same conversation.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(id), Self::List(of)) => id == of,
            (Self::Task(wake), Self::Task(of)) => Arc::ptr_eq(wake, of),
            (Self::Nobody, Self::Nobody) => true,
            _ => false,
        }
    }
}
