//! The newest heartbeat of each worker, in memory only.

use std::collections::HashMap;
use std::sync::Arc;

use crate::limits::RUNNING_TASKS_MAX;

/// Workers whose heartbeat is kept; over it, those of unknown workers are ignored and counted.
const WORKERS_MAX: usize = 100_000;

/// A worker's state as it was reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// Name of the worker: the node of its identity, except where a relay speaks for it.
    pub worker_id: Arc<str>,
    /// 0 to 1 of all cores.
    pub cpu_usage: f64,
    /// 0 to 1 of physical memory.
    pub memory_usage: f64,
    /// 0 to 1 of the busiest device; negative without a device.
    pub gpu_usage: f64,
    /// What runs on it, the first [`RUNNING_TASKS_MAX`].
    pub running_tasks: Vec<RunningTask>,
    /// When it was taken, nanoseconds since 1970.
    pub timestamp_unix_ns: i64,
}

/// One task of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunningTask {
    /// Unique on its worker.
    pub task_id: String,
    /// Human-readable.
    pub name: String,
    /// As the worker calls it.
    pub status: String,
    /// When it started, nanoseconds since 1970.
    pub started_unix_ns: u64,
}

/// The newest heartbeat of each worker.
#[derive(Debug, Default)]
pub struct Heartbeats {
    newest: HashMap<Arc<str>, Heartbeat>,
    taken: u64,
    ignored: u64,
}

impl Heartbeats {
    /// Keeps a heartbeat unless a newer one of its worker is known. One with a number that is NaN or above 1 is ignored.
    pub fn take(&mut self, mut heartbeat: Heartbeat) {
        let usages = [heartbeat.cpu_usage, heartbeat.memory_usage, heartbeat.gpu_usage];
        let known = self.newest.contains_key(&heartbeat.worker_id);
        if usages.iter().any(|usage| usage.is_nan() || *usage > 1.0) || (!known && self.newest.len() >= WORKERS_MAX) {
            self.ignored += 1;
            return;
        }
        self.taken += 1;
        heartbeat.running_tasks.truncate(RUNNING_TASKS_MAX);
        match self.newest.get_mut(&heartbeat.worker_id) {
            Some(newest) if newest.timestamp_unix_ns > heartbeat.timestamp_unix_ns => {}
            Some(newest) => *newest = heartbeat,
            None => {
                self.newest.insert(Arc::clone(&heartbeat.worker_id), heartbeat);
            }
        }
    }

    /// The newest heartbeat of each worker.
    pub fn newest(&self) -> impl Iterator<Item = &Heartbeat> {
        self.newest.values()
    }

    /// Heartbeats taken and heartbeats ignored.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.taken, self.ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(cpu_usage: f64, timestamp_unix_ns: i64) -> Heartbeat {
        Heartbeat {
            worker_id: Arc::from("node-1"),
            cpu_usage,
            memory_usage: 0.5,
            gpu_usage: -1.0,
            running_tasks: vec![RunningTask::default(); RUNNING_TASKS_MAX + 1],
            timestamp_unix_ns,
        }
    }

    #[test]
    fn the_newest_timestamp_wins_whatever_the_order_of_arrival() {
        let mut heartbeats = Heartbeats::default();
        heartbeats.take(heartbeat(0.2, 2));
        heartbeats.take(heartbeat(0.1, 1));
        let newest = heartbeats.newest().next().expect("one worker is known");
        assert_eq!((newest.timestamp_unix_ns, newest.running_tasks.len()), (2, RUNNING_TASKS_MAX));
        assert_eq!(heartbeats.counts(), (2, 0));
    }

    #[test]
    fn a_number_above_one_or_not_a_number_is_ignored_and_counted() {
        let mut heartbeats = Heartbeats::default();
        heartbeats.take(heartbeat(1.5, 1));
        heartbeats.take(heartbeat(f64::NAN, 1));
        assert_eq!((heartbeats.newest().count(), heartbeats.counts()), (0, (0, 2)));
    }
}
