//! The one runtime of all connections of a process.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

/// An agent's share of work is small: one thread carries a thousand connections.
const THREADS: usize = 1;

/// Started with the first connection, never ended: its thread sleeps while there is none.
///
/// # Errors
/// The operating system's, when it starts no thread.
pub(super) fn handle() -> std::io::Result<Handle> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle().clone());
    }
    let runtime =
        Builder::new_multi_thread().worker_threads(THREADS).thread_name("quic-client").enable_all().build()?;
    // Two first connections at a time make two; the slower one's is ended, which has nothing to do yet.
    if let Err(spare) = RUNTIME.set(runtime) {
        spare.shutdown_background();
    }
    Ok(RUNTIME.get().expect("set just now").handle().clone())
}
