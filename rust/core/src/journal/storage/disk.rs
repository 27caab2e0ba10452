//! A directory of the local file system.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};
use rustix::io::Errno;

use super::{Storage, StorageFile, StorageLock};

/// Others have no business in what nodes measure.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// Written at a time where the file system cannot preallocate.
const ZEROS_BYTES: usize = 1024 * 1024;

/// The real storage. Files are readable for their owner alone.
#[derive(Debug)]
pub struct DiskStorage {
    path: PathBuf,
    read_only: bool,
}

impl DiskStorage {
    /// Opens a directory; one that does not exist is created for its owner alone, with its parents.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&path)?;
            // New parents have names too, and those must survive as long as what is stored below them.
            path.ancestors().skip(1).filter(|parent| parent.is_dir()).try_for_each(sync_directory)?;
        }
        File::open(&path)?;
        Ok(Self { path, read_only: false })
    }

    /// Opens a directory that exists, to be read only: whatever would change it fails.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn read_only(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        File::open(&path)?;
        Ok(Self { path, read_only: true })
    }

    fn writable(&self) -> io::Result<()> {
        if self.read_only { Err(Errno::ROFS.into()) } else { Ok(()) }
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path) {
        // A parent that we may pass through and not list was there before.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        opened => opened?.sync_all(),
    }
}

impl Storage for DiskStorage {
    fn describe(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.path.read_dir()? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn StorageFile>> {
        self.writable()?;
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(FILE_MODE).open(&path)?;
        if let Err(error) = allocate(&file, bytes) {
            // A file without its room is of no use. Why there is none matters more than whether this succeeds.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        Ok(Arc::new(DiskFile { file }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = OpenOptions::new().read(true).write(!self.read_only).open(self.path.join(name))?;
        Ok(Arc::new(DiskFile { file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.writable()?;
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.writable()?;
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        // By its name: somebody may have made it anew.
        File::open(&self.path)?.sync_all()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn StorageLock>>> {
        self.writable()?;
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(DiskLock { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let zeros = vec![0; ZEROS_BYTES];
            let mut at = 0;
            while at < bytes {
                let chunk = (bytes - at).min(ZEROS_BYTES as u64);
                file.write_all_at(&zeros[..chunk as usize], at)?;
                at += chunk;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

struct DiskFile {
    file: File,
}

impl StorageFile for DiskFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn will_be_read(&self) {
        // A file system that takes no advice reads when it is asked to.
        let _ = fadvise(&self.file, 0, None, Advice::WillNeed);
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        // Whoever removes a journal in use leaves open files that take everything, and that no restart finds.
        if self.file.metadata()?.nlink() == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the file was removed by somebody else"));
        }
        Ok(())
    }
}

struct DiskLock {
    _file: File,
}

impl StorageLock for DiskLock {}
