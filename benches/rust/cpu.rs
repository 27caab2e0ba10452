//! The clock of the benches that count processor time.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of processor time of this thread: what else the machine does is not counted.
pub(crate) fn cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
