//! The one runtime of all connections of a process.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

/// An agent's share of work is small: one thread carries a thousand connections.
const THREADS: usize = 1;

/// A process's runtime; behind it that of a child, which inherits this one without its thread.
struct Started {
    process: u32,
    runtime: Runtime,
    after_fork: OnceLock<Box<Started>>,
}

/// Started with the first connection, never ended: its thread sleeps while there is none.
///
/// # Errors
/// The operating system's, when it starts no thread.
pub(super) fn handle() -> std::io::Result<Handle> {
    static FIRST: OnceLock<Box<Started>> = OnceLock::new();
    let process = std::process::id();
    // As long as the line of forks that led here.
    let mut place = &FIRST;
    loop {
        match place.get() {
            Some(started) if started.process == process => return Ok(started.runtime.handle().clone()),
            Some(inherited) => place = &inherited.after_fork,
            None => {
                let runtime = Builder::new_multi_thread()
                    .worker_threads(THREADS)
                    .thread_name("quic-client")
                    .enable_all()
                    .build()?;
                // Two first connections at a time make two; the slower one's is ended, which has nothing to do yet.
                if let Err(spare) = place.set(Box::new(Started { process, runtime, after_fork: OnceLock::new() })) {
                    spare.runtime.shutdown_background();
                }
            }
        }
    }
}
