//! Closes that are on their way: a process that ends waits a moment for them, or collectors would hear nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

#[derive(Debug, Default)]
pub(super) struct Departures {
    under_way: Mutex<usize>,
    gone: Condvar,
}

/// One close; dropped when it was sent, or when there is nothing to be closed any more.
#[derive(Debug)]
pub(super) struct Departure(Arc<Departures>);

impl Departures {
    pub(super) fn begin(self: &Arc<Self>) -> Departure {
        *self.under_way.lock() += 1;
        Departure(Arc::clone(self))
    }

    /// Whether all are gone within the time.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut under_way = self.under_way.lock();
        while *under_way > 0 {
            if self.gone.wait_until(&mut under_way, until).timed_out() {
                return *under_way == 0;
            }
        }
        true
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        let mut under_way = self.0.under_way.lock();
        *under_way -= 1;
        self.0.gone.notify_all();
    }
}
