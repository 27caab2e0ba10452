//! Reads the `Heartbeat` of a batch.

use super::fault::Fault;
use crate::limits::RUNNING_TASKS_MAX;
use crate::wire::proto::{FIXED64, LENGTH, Reader, Span, key};

/// The state of the worker beside the agent, as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Heartbeat {
    /// Which worker.
    pub worker_id: Span,
    /// 0 to 1 of all cores.
    pub cpu_usage: f64,
    /// 0 to 1 of physical memory.
    pub memory_usage: f64,
    /// 0 to 1 of the busiest device; negative: no device.
    pub gpu_usage: f64,
    /// Nanoseconds since 1970, or [`super::RECEIPT_TIME`].
    pub timestamp_unix_ns: i64,
}

/// A task that the worker runs, as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RunningTask {
    /// Which task.
    pub task_id: Span,
    /// What it is called.
    pub name: Span,
    /// How it is.
    pub status: Span,
    /// Nanoseconds since 1970, 0 when unknown.
    pub started_unix_ns: i64,
}

/// Reads a heartbeat and merges it into the one that the batch has already, if any. Its timestamp is judged when the last
/// has been read: until then it may be negative, which stands for one outside signed 64 bits.
pub(super) fn read(
    mut reader: Reader<'_>,
    merged: &mut Option<Heartbeat>,
    running_tasks: &mut Vec<RunningTask>,
) -> Result<(), Fault> {
    const WORKER_ID: u32 = key(1, LENGTH);
    const CPU_USAGE: u32 = key(2, FIXED64);
    const MEMORY_USAGE: u32 = key(3, FIXED64);
    const GPU_USAGE: u32 = key(4, FIXED64);
    const RUNNING_TASKS: u32 = key(5, LENGTH);
    const TIMESTAMP: u32 = key(6, FIXED64);

    let heartbeat = merged.get_or_insert_default();
    while let Some(key) = reader.key()? {
        match key {
            WORKER_ID => heartbeat.worker_id = reader.span()?,
            CPU_USAGE => heartbeat.cpu_usage = reader.double()?,
            MEMORY_USAGE => heartbeat.memory_usage = reader.double()?,
            GPU_USAGE => heartbeat.gpu_usage = reader.double()?,
            RUNNING_TASKS => {
                let task = read_task(reader.message()?)?;
                if running_tasks.len() < RUNNING_TASKS_MAX {
                    running_tasks.push(task);
                }
            }
            TIMESTAMP => heartbeat.timestamp_unix_ns = reader.fixed64()? as i64,
            _ => reader.skip(key)?,
        }
    }
    Ok(())
}

fn read_task(mut reader: Reader<'_>) -> Result<RunningTask, Fault> {
    const TASK_ID: u32 = key(1, LENGTH);
    const NAME: u32 = key(2, LENGTH);
    const STATUS: u32 = key(3, LENGTH);
    const STARTED: u32 = key(4, FIXED64);

    let mut task = RunningTask::default();
    let mut started = 0;
    while let Some(key) = reader.key()? {
        match key {
            TASK_ID => task.task_id = reader.span()?,
            NAME => task.name = reader.span()?,
            STATUS => task.status = reader.span()?,
            STARTED => started = reader.fixed64()?,
            _ => reader.skip(key)?,
        }
    }
    task.started_unix_ns = i64::try_from(started).map_err(|_| Fault::TimestampOutOfRange)?;
    Ok(task)
}
