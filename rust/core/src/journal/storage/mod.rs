//! What the journal needs of a file system, as a trait, so that tests can be a disk that fails.

mod chance;
mod disk;
mod fault;
mod memory;

use std::io;
use std::sync::Arc;

pub use disk::DiskStorage;
pub use fault::{Fault, FaultStorage, Operation};
pub use memory::MemoryStorage;

/// The files of one directory.
///
/// Like POSIX, nothing is promised to survive a power loss before it was synchronized: a file's bytes by
/// [`StorageFile::sync_data`], its name, and that of a renamed or removed one, by [`Storage::sync_dir`].
pub trait Storage: Send + Sync + 'static {
    /// How messages call a file of this name.
    fn describe(&self, name: &str) -> String;
    /// The names of all files, in any order.
    ///
    /// # Errors
    /// What the operating system says.
    fn names(&self) -> io::Result<Vec<String>>;
    /// A new file of so many zero bytes that have their place on the disk; one of the same name is replaced.
    ///
    /// # Errors
    /// What the operating system says; `StorageFull` when there is no room, and then no file is left.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StorageFile>>;
    /// A file that exists, for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, or what the operating system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;
    /// Gives a file another name; one that had that name is gone.
    ///
    /// # Errors
    /// What the operating system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Deletes a file.
    ///
    /// # Errors
    /// What the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes every creation, renaming and removal so far survive a power loss.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_dir(&self) -> io::Result<()>;
    /// Takes the lock of this name until the answer is dropped; None when another process or journal holds it.
    ///
    /// # Errors
    /// What the operating system says.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn StorageLock>>>;
}

/// An open file. Reads and writes name their place, so that threads can share it.
pub trait StorageFile: Send + Sync + 'static {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills the whole buffer from this offset on.
    ///
    /// # Errors
    /// `UnexpectedEof` behind the end, or what the operating system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Says that all of it will be read soon, from beginning to end. Only speed depends on it.
    fn will_be_read(&self) {}
    /// Writes all bytes from this offset on.
    ///
    /// # Errors
    /// What the operating system says; how much was written is then unknown.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file to so many bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// Makes everything written so far survive a power loss (fdatasync).
    ///
    /// # Errors
    /// `NotFound` when the file was removed meanwhile, or what the operating system says. Nothing written since the last success may be relied on then, and a later
    /// success says nothing about it either.
    fn sync_data(&self) -> io::Result<()>;
}

/// Holds a lock; dropping it releases it.
pub trait StorageLock: Send + Sync + 'static {}
