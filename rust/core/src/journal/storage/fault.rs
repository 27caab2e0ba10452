//! A disk that fails, fills, tears and forgets.
//!
//! Between the journal and another storage it plays the kernel's page cache: what was written reaches the storage below
//! when it is synchronized, and not before. So a power loss is what the name says, also over a real directory, where a
//! killed process takes the cache with it.
//!
//! - Unsynchronized writes survive a power loss sector by sector, at random; unsynchronized names survive up to a
//!   random one, in the order in which they were changed (as a journalling file system keeps them).
//! - After a failed synchronization the bytes stay readable and count as clean, as with Linux: they are gone after a
//!   power loss, however often synchronization succeeds later, unless they are written again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;

use super::chance::Chance;
use super::{Storage, StorageFile, StorageLock};

const SECTOR_BYTES: usize = 512;
/// Files whose name is not synchronized are called so in the storage below.
const HIDDEN: &str = ".unsynchronized-";

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Creating and preallocating a file.
    Create,
    /// Reading from a file.
    Read,
    /// Writing to a file. A part of it may have been written.
    Write,
    /// Synchronizing a file.
    SyncData,
    /// Renaming a file.
    Rename,
    /// Deleting a file.
    Remove,
    /// Synchronizing the directory.
    SyncDir,
}

/// Failures to come.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What fails.
    pub operation: Operation,
    /// Only on files whose name begins so (for a renaming, the new name).
    pub prefix: Cow<'static, str>,
    /// So many go well first.
    pub skip: u64,
    /// Then so many fail.
    pub times: u64,
    /// With this error.
    pub errno: Errno,
}

/// A storage with a page cache in front that can be told to fail.
pub struct FaultStorage {
    inner: Arc<dyn Storage>,
    disk: Arc<Mutex<Disk>>,
}

struct Disk {
    files: BTreeMap<String, Arc<Mutex<Cached>>>,
    /// Unsynchronized changes of names, oldest first.
    changes: Vec<Change>,
    faults: Vec<Fault>,
    /// Bytes of files that no read gets, whatever is asked for around them.
    unreadable: Vec<(String, Range<u64>)>,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    bytes_max: Option<u64>,
    hidden: u64,
    random: Chance,
}

enum Change {
    Create { hidden: String, name: String },
    Rename { from: String, to: String },
    Remove { name: String, file: Arc<Mutex<Cached>> },
}

struct Cached {
    inner: Arc<dyn StorageFile>,
    name: String,
    bytes: u64,
    /// Unsynchronized, oldest first.
    writes: Vec<(u64, Vec<u8>)>,
    /// All bytes as readers see them, once some of them are neither below nor unsynchronized.
    image: Option<Vec<u8>>,
    /// Opened before a crash: the process that had it is gone.
    stale: bool,
}

impl FaultStorage {
    /// A page cache over what a storage holds. The seed decides what a power loss leaves.
    ///
    /// # Errors
    /// What the storage below says.
    pub fn new(inner: Arc<dyn Storage>, seed: u64) -> io::Result<Self> {
        let mut disk = Disk {
            files: BTreeMap::new(),
            changes: Vec::new(),
            faults: Vec::new(),
            unreadable: Vec::new(),
            operations: 0,
            crash_at: None,
            crashed: false,
            bytes_max: None,
            hidden: 0,
            random: Chance::new(seed),
        };
        disk.load(&*inner)?;
        Ok(Self { inner, disk: Arc::new(Mutex::new(disk)) })
    }

    /// Adds failures to come.
    pub fn fail(&self, fault: Fault) {
        self.disk.lock().faults.push(fault);
    }

    /// From now on every read of these bytes of a file fails, like that of a sector that is worn out.
    pub fn wear_out(&self, name: &str, bytes: Range<u64>) {
        self.disk.lock().unreadable.push((name.to_owned(), bytes));
    }

    /// Forgets the failures that have not happened yet.
    pub fn heal(&self) {
        self.disk.lock().faults.clear();
    }

    /// Operations that change something, so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.disk.lock().operations
    }

    /// After so many more operations that change something, the next one and everything else fails.
    pub fn crash_after(&self, operations: u64) {
        let mut disk = self.disk.lock();
        disk.crash_at = Some(disk.operations + operations);
    }

    /// Whether it has: everything fails until `kill` or `power_loss`.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.disk.lock().crashed
    }

    /// Bytes that all files together may have; None lifts the bound.
    pub fn limit(&self, bytes_max: Option<u64>) {
        self.disk.lock().bytes_max = bytes_max;
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.disk.lock().used()
    }

    /// The process is gone, the machine lives: everything written stays readable. Files opened before are dead.
    pub fn kill(&self) {
        let mut disk = self.disk.lock();
        for file in disk.files.values_mut() {
            let survivor = {
                let mut old = file.lock();
                old.stale = true;
                Cached {
                    inner: old.inner.clone(),
                    name: old.name.clone(),
                    bytes: old.bytes,
                    writes: std::mem::take(&mut old.writes),
                    image: old.image.take(),
                    stale: false,
                }
            };
            *file = Arc::new(Mutex::new(survivor));
        }
        disk.revive();
    }

    /// The machine is gone: of what was not synchronized, chance decides. Files opened before are dead.
    ///
    /// # Errors
    /// What the storage below says.
    pub fn power_loss(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let disk = &mut *disk;
        let kept = disk.random.below(disk.changes.len() as u64 + 1) as usize;
        let mut removed = Vec::new();
        for (index, change) in std::mem::take(&mut disk.changes).into_iter().enumerate() {
            if let Change::Remove { file, .. } = &change {
                removed.push(file.clone());
            }
            match change {
                change if index < kept => change.apply(&*self.inner)?,
                Change::Create { hidden, .. } => self.inner.remove(&hidden)?,
                Change::Rename { .. } | Change::Remove { .. } => {}
            }
        }
        for file in removed.iter().chain(disk.files.values()) {
            let mut file = file.lock();
            file.stale = true;
            for (offset, bytes) in std::mem::take(&mut file.writes) {
                let whole = disk.random.below(3);
                for (sector, part) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    if whole == 0 || (whole == 1 && disk.random.below(2) == 0) {
                        file.inner.write_at(part, offset + (sector * SECTOR_BYTES) as u64)?;
                    }
                }
            }
        }
        disk.load(&*self.inner)?;
        disk.revive();
        Ok(())
    }
}

impl Disk {
    fn load(&mut self, inner: &dyn Storage) -> io::Result<()> {
        self.files.clear();
        for name in inner.names()? {
            if name.starts_with(HIDDEN) {
                inner.remove(&name)?;
                continue;
            }
            let file = inner.open(&name)?;
            let bytes = file.bytes()?;
            self.files.insert(name.clone(), Cached::new(file, &name, bytes));
        }
        Ok(())
    }

    fn revive(&mut self) {
        self.crashed = false;
        self.crash_at = None;
    }

    fn used(&self) -> u64 {
        self.files.values().map(|file| file.lock().bytes).sum()
    }

    fn room(&self, more: u64) -> io::Result<()> {
        match self.bytes_max {
            Some(max) if self.used() + more > max => Err(Errno::NOSPC.into()),
            _ => Ok(()),
        }
    }

    /// Counts an operation and says how it is to end: `Some` fails after doing what is in its nature.
    fn judge(&mut self, operation: Operation, name: &str) -> Option<io::Error> {
        if self.crashed {
            return Some(crash());
        }
        if operation != Operation::Read {
            if self.crash_at == Some(self.operations) {
                self.crashed = true;
            }
            self.operations += 1;
            if self.crashed {
                return Some(crash());
            }
        }
        let hit =
            |fault: &&mut Fault| fault.operation == operation && name.starts_with(&*fault.prefix) && fault.times > 0;
        let fault = self.faults.iter_mut().find(hit)?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        Some(fault.errno.into())
    }
}

fn crash() -> io::Error {
    io::Error::other("the storage has crashed")
}

impl Change {
    fn apply(self, inner: &dyn Storage) -> io::Result<()> {
        match self {
            Self::Create { hidden, name } => inner.rename(&hidden, &name),
            Self::Rename { from, to } => inner.rename(&from, &to),
            Self::Remove { name, .. } => inner.remove(&name),
        }
    }
}

impl Cached {
    fn new(inner: Arc<dyn StorageFile>, name: &str, bytes: u64) -> Arc<Mutex<Self>> {
        let name = name.to_owned();
        Arc::new(Mutex::new(Self { inner, name, bytes, writes: Vec::new(), image: None, stale: false }))
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        if end > self.bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(image) = &self.image {
            buffer.copy_from_slice(&image[offset as usize..end as usize]);
            return Ok(());
        }
        let below = self.inner.bytes()?.clamp(offset, end);
        let (stored, unwritten) = buffer.split_at_mut((below - offset) as usize);
        self.inner.read_at(stored, offset)?;
        unwritten.fill(0);
        for (at, bytes) in &self.writes {
            let (from, to) = ((*at).max(offset), (at + bytes.len() as u64).min(end));
            if from < to {
                let source = &bytes[(from - at) as usize..(to - at) as usize];
                buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], offset: u64) {
        let end = offset + bytes.len() as u64;
        self.bytes = self.bytes.max(end);
        if let Some(image) = &mut self.image {
            image.resize(self.bytes as usize, 0);
            image[offset as usize..end as usize].copy_from_slice(bytes);
        }
        self.writes.push((offset, bytes.to_vec()));
    }

    /// Every unsynchronized write is clean now and will never reach the storage below.
    fn lose(&mut self) -> io::Result<()> {
        if self.image.is_none() {
            let mut image = vec![0; self.bytes as usize];
            self.read(&mut image, 0)?;
            self.image = Some(image);
        }
        self.writes.clear();
        Ok(())
    }
}

impl Storage for FaultStorage {
    fn describe(&self, name: &str) -> String {
        self.inner.describe(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let disk = self.disk.lock();
        if disk.crashed { Err(crash()) } else { Ok(disk.files.keys().cloned().collect()) }
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = self.disk.lock();
        if let Some(error) = disk.judge(Operation::Create, name) {
            return Err(error);
        }
        disk.room(bytes)?;
        disk.hidden += 1;
        let hidden = format!("{HIDDEN}{}", disk.hidden);
        let file = Cached::new(self.inner.create(&hidden, bytes)?, name, bytes);
        disk.files.insert(name.to_owned(), file.clone());
        disk.changes.push(Change::Create { hidden, name: name.to_owned() });
        Ok(Arc::new(FaultFile { file, disk: self.disk.clone() }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let disk = self.disk.lock();
        if disk.crashed {
            return Err(crash());
        }
        let file = disk.files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultFile { file, disk: self.disk.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if let Some(error) = disk.judge(Operation::Rename, to) {
            return Err(error);
        }
        let file = disk.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        to.clone_into(&mut file.lock().name);
        disk.files.insert(to.to_owned(), file);
        disk.changes.push(Change::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if let Some(error) = disk.judge(Operation::Remove, name) {
            return Err(error);
        }
        let file = disk.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        disk.changes.push(Change::Remove { name: name.to_owned(), file });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if let Some(error) = disk.judge(Operation::SyncDir, "") {
            return Err(error);
        }
        std::mem::take(&mut disk.changes).into_iter().try_for_each(|change| change.apply(&*self.inner))?;
        self.inner.sync_dir()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn StorageLock>>> {
        self.inner.lock(name)
    }
}

struct FaultFile {
    file: Arc<Mutex<Cached>>,
    disk: Arc<Mutex<Disk>>,
}

impl FaultFile {
    fn begin(&self, operation: Operation) -> (MutexGuard<'_, Disk>, MutexGuard<'_, Cached>, Option<io::Error>) {
        let mut disk = self.disk.lock();
        let file = self.file.lock();
        let error = if file.stale { Some(crash()) } else { disk.judge(operation, &file.name) };
        (disk, file, error)
    }
}

impl StorageFile for FaultFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.lock().bytes)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (disk, file, error) = self.begin(Operation::Read);
        let end = offset + buffer.len() as u64;
        let worn = |(name, bytes): &(String, Range<u64>)| *name == file.name && bytes.start < end && offset < bytes.end;
        if disk.unreadable.iter().any(worn) {
            return Err(Errno::IO.into());
        }
        error.map_or_else(|| file.read(buffer, offset), Err)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut disk, mut file, error) = self.begin(Operation::Write);
        if let Some(error) = error {
            if !file.stale {
                let part = disk.random.below(bytes.len() as u64 + 1) as usize;
                file.write(&bytes[..part], offset);
            }
            return Err(error);
        }
        let more = (offset + bytes.len() as u64).saturating_sub(file.bytes);
        if more > 0 && disk.bytes_max.is_some() {
            // Measuring looks at every file, this one too.
            drop(file);
            disk.room(more)?;
            self.file.lock().write(bytes, offset);
            return Ok(());
        }
        file.write(bytes, offset);
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let (_disk, mut file, error) = self.begin(Operation::Write);
        if let Some(error) = error {
            return Err(error);
        }
        if bytes > file.bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file is only ever cut"));
        }
        file.inner.truncate(bytes)?;
        file.bytes = bytes;
        if let Some(image) = &mut file.image {
            image.truncate(bytes as usize);
        }
        for (at, written) in &mut file.writes {
            written.truncate(bytes.saturating_sub(*at) as usize);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let (_disk, mut file, error) = self.begin(Operation::SyncData);
        if let Some(error) = error {
            if !file.stale {
                file.lose()?;
            }
            return Err(error);
        }
        let file = &mut *file;
        for (offset, bytes) in file.writes.drain(..) {
            file.inner.write_at(&bytes, offset)?;
        }
        file.inner.sync_data()
    }
}
