//! Files that are there whole or not at all.

use super::checkpoints::CHECKPOINT_BYTES_MAX;
use super::error::JournalError;
use super::names;
use super::storage::Storage;

/// Writes a file aside and gives it its name when its bytes are stable; the name is stable on return.
pub(crate) fn publish(storage: &dyn Storage, name: &str, bytes: &[u8]) -> Result<(), JournalError> {
    let aside = names::unfinished(name);
    let written = write(storage, &aside, bytes).and_then(|()| {
        storage.rename(&aside, name).map_err(JournalError::io("rename", storage.describe(&aside)))?;
        storage.sync_dir().map_err(JournalError::io("synchronize the directory of", storage.describe(name)))
    });
    if written.is_err() {
        // What is left of it only takes room. When even that fails, the next start removes it.
        let _ = storage.remove(&aside);
    }
    written
}

fn write(storage: &dyn Storage, name: &str, bytes: &[u8]) -> Result<(), JournalError> {
    let path = || storage.describe(name);
    let file = storage.create(name, bytes.len() as u64).map_err(JournalError::io("create", path()))?;
    file.write_at(bytes, 0).map_err(JournalError::io("write", path()))?;
    file.sync_data().map_err(JournalError::io("synchronize", path()))
}

/// A file's bytes. Of one that is larger than anything `publish` is given, the beginning: it is not one of ours.
pub(crate) fn read(storage: &dyn Storage, name: &str) -> Result<Vec<u8>, JournalError> {
    let path = || storage.describe(name);
    let file = storage.open(name).map_err(JournalError::io("open", path()))?;
    let length = file.bytes().map_err(JournalError::io("measure", path()))?;
    let mut bytes = vec![0; length.min(2 * CHECKPOINT_BYTES_MAX as u64) as usize];
    file.read_at(&mut bytes, 0).map_err(JournalError::io("read", path()))?;
    Ok(bytes)
}
