//! A small value that survives everything: two checked slots in a file of fixed size, rewritten in place.
//!
//! * A torn write leaves the slot that was last known to be on the disk untouched.
//! * The file is written in full once, at creation, so storing works on a full disk.
//! * A file that was written and does not verify is [`CellError::Damaged`]; nothing is defaulted or repaired.
//! * One writer: the open file is locked for as long as the cell lives.

use holdfast_core::slot::{self, CELL_BYTES, SlotError};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a cell could not be opened or written.
#[derive(Debug, Error)]
pub enum CellError {
    /// The kernel refused. After a failed store the previous value still stands on the disk.
    #[error("{}: cannot {what}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was asked.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Another process holds it.
    #[error("{}: held by another process; stop that one first", .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Something was written and nothing verifies.
    #[error("{}: damaged ({why}); restore it from a backup, or move it away: then the next start is killed until you resume", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// The value does not fit a slot.
    #[error("{}: the value is too large ({why})", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How it was found out.
        why: String,
    },
}

/// A durable value of one type in a file of its own.
#[derive(Debug)]
pub struct Cell<T> {
    file: File,
    path: PathBuf,
    /// Counter of the newest slot written.
    seq: u64,
    /// Counter of the newest slot known to be on the disk: the other slot is the one to overwrite.
    durable: u64,
    kind: PhantomData<fn(T) -> T>,
}

impl<T: Serialize + DeserializeOwned> Cell<T> {
    /// Opens the cell, creating it (mode 0600) if there is none. `None` only if nothing was ever stored.
    ///
    /// # Errors
    /// [`CellError`]; a damaged file is never replaced.
    pub fn open(path: &Path) -> Result<(Self, Option<T>), CellError> {
        let io = |what| move |source| CellError::Io { path: path.to_owned(), what, source };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = File::from(open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| io("open it")(e.into()))?);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(CellError::Busy { path: path.to_owned() }),
            Err(e) => return Err(io("lock it")(e.into())),
        }
        let bytes = read_whole(&file).map_err(io("read it"))?;
        let damaged = |why: String| CellError::Damaged { path: path.to_owned(), why };
        let found = slot::decode(&bytes).map_err(|e| damaged(e.to_string()))?;
        if bytes.len() != CELL_BYTES {
            if bytes.len() > CELL_BYTES || found.is_some() {
                return Err(damaged(format!("{} bytes instead of {CELL_BYTES}", bytes.len())));
            }
            // Creation was interrupted, or this is it.
            file.write_all_at(&vec![0; CELL_BYTES], 0).map_err(io("make room for it"))?;
            file.sync_all().map_err(io("sync it"))?;
            sync_folder(path).map_err(io("sync its folder"))?;
        }
        let seq = found.as_ref().map_or(0, |slot| slot.seq);
        let value = found
            .map(|slot| serde_json::from_slice(&slot.payload))
            .transpose()
            .map_err(|e| damaged(format!("it verifies but does not read: {e}")))?;
        Ok((Self { file, path: path.to_owned(), seq, durable: seq, kind: PhantomData }, value))
    }

    /// Reads the value beside whoever holds the cell; makes and changes nothing. `None` if there is none, or nothing was
    /// ever stored.
    ///
    /// # Errors
    /// [`CellError::Io`], [`CellError::Damaged`].
    pub fn peek(path: &Path) -> Result<Option<T>, CellError> {
        let io = |what| move |source| CellError::Io { path: path.to_owned(), what, source };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = match open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(e) => return Err(io("open it")(e.into())),
        };
        let bytes = read_whole(&file).map_err(io("read it"))?;
        let damaged = |why: String| CellError::Damaged { path: path.to_owned(), why };
        let Some(found) = slot::decode(&bytes).map_err(|e| damaged(e.to_string()))? else { return Ok(None) };
        serde_json::from_slice(&found.payload)
            .map(Some)
            .map_err(|e| damaged(format!("it verifies but does not read: {e}")))
    }

    /// Stores a value and waits until it is on the disk.
    ///
    /// # Errors
    /// [`CellError::Io`] or [`CellError::TooLarge`]; the value last stored still stands, and storing may be tried again.
    pub fn store(&mut self, value: &T) -> Result<(), CellError> {
        self.store_unsynced(value)?;
        self.file.sync_data().map_err(|source| self.io("sync it", source))?;
        self.durable = self.seq;
        Ok(())
    }

    /// Stores a value without waiting for the disk: survives the death of this process, not of the host.
    /// However often it is called, the value last stored with [`Cell::store`] stays whole in the other slot.
    ///
    /// # Errors
    /// As [`Cell::store`].
    pub fn store_unsynced(&mut self, value: &T) -> Result<(), CellError> {
        let too_large = |why: String| CellError::TooLarge { path: self.path.clone(), why };
        let payload = serde_json::to_vec(value).map_err(|e| too_large(e.to_string()))?;
        let mut next = self.seq.saturating_add(1);
        if slot::offset_of(next) == slot::offset_of(self.durable) {
            next = next.saturating_add(1);
        }
        let bytes = slot::encode(next, &payload).map_err(|e: SlotError| too_large(e.to_string()))?;
        self.file.write_all_at(&bytes, slot::offset_of(next)).map_err(|source| self.io("write it", source))?;
        self.seq = next;
        Ok(())
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn io(&self, what: &'static str, source: io::Error) -> CellError {
        CellError::Io { path: self.path.clone(), what, source }
    }
}

/// At most one byte more than a cell may have.
fn read_whole(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; CELL_BYTES + 1];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], u64::try_from(filled).unwrap_or(u64::MAX)) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Makes a new file's name durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn write(path: &Path, at: u64, bytes: &[u8]) {
        std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
    }

    #[test]
    fn keeps_the_last_value_over_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.cell");
        let (mut cell, none) = Cell::<Vec<u32>>::open(&path).unwrap();
        assert_eq!(none, None);
        for n in 0..7 {
            cell.store(&vec![n]).unwrap();
        }
        cell.store_unsynced(&vec![8]).unwrap();
        cell.store_unsynced(&vec![9]).unwrap();
        drop(cell);
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.len(), meta.permissions().mode() & 0o777), (CELL_BYTES as u64, 0o600));
        assert_eq!(Cell::<Vec<u32>>::open(&path).unwrap().1, Some(vec![9]));
    }

    #[test]
    fn a_second_writer_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.cell");
        let first = Cell::<u32>::open(&path).unwrap();
        assert!(matches!(Cell::<u32>::open(&path), Err(CellError::Busy { .. })));
        drop(first);
        assert!(Cell::<u32>::open(&path).is_ok());
    }

    #[test]
    fn unsynced_writes_never_touch_the_slot_that_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.cell");
        let (mut cell, _) = Cell::<u32>::open(&path).unwrap();
        cell.store(&1).unwrap();
        for n in 2..9 {
            cell.store_unsynced(&n).unwrap();
        }
        let other = slot::offset_of(cell.seq);
        drop(cell);
        // Power was lost and the unsynced slot is torn.
        write(&path, other + 24, b"torn");
        assert_eq!(Cell::<u32>::open(&path).unwrap().1, Some(1));
    }

    #[test]
    fn damage_is_an_error_that_names_the_file_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.cell");
        let (mut cell, _) = Cell::<u32>::open(&path).unwrap();
        cell.store(&1).unwrap();
        cell.store(&2).unwrap();
        drop(cell);
        write(&path, 20, b"?");
        write(&path, 8192 + 20, b"?");
        let before = std::fs::read(&path).unwrap();
        let error = Cell::<u32>::open(&path).unwrap_err();
        assert!(matches!(error, CellError::Damaged { .. }) && error.to_string().contains("x.cell"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn short_long_and_foreign_files_are_damage_but_an_interrupted_creation_is_not() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes, ok) in [
            ("empty", vec![], true),
            ("short-zeros", vec![0; 100], true),
            ("foreign", b"hello".to_vec(), false),
            ("long-zeros", vec![0; CELL_BYTES + 1], false),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(Cell::<u32>::open(&path).is_ok(), ok, "{name}");
        }
        let path = dir.path().join("other-type");
        Cell::<u32>::open(&path).unwrap().0.store(&7).unwrap();
        assert!(matches!(Cell::<String>::open(&path), Err(CellError::Damaged { .. })));
    }

    #[test]
    fn a_value_that_does_not_fit_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.cell");
        let (mut cell, _) = Cell::<String>::open(&path).unwrap();
        cell.store(&"small".to_owned()).unwrap();
        assert!(matches!(cell.store(&"x".repeat(9000)), Err(CellError::TooLarge { .. })));
        drop(cell);
        assert_eq!(Cell::<String>::open(&path).unwrap().1.as_deref(), Some("small"));
    }
}
