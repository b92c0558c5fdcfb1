//! What the journal needs of a file, so that tests can make it fail.

use super::JournalError;
use crate::cell::sync_folder;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A growing file with explicit offsets.
pub trait Storage {
    /// Its length in bytes.
    ///
    /// # Errors
    /// The kernel's reason; so for every call here.
    fn size(&self) -> io::Result<u64>;
    /// Reads some bytes from an offset.
    ///
    /// # Errors
    /// The kernel's reason.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes some bytes at an offset; may write fewer than given.
    ///
    /// # Errors
    /// The kernel's reason.
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<usize>;
    /// Returns when what was written is on the disk.
    ///
    /// # Errors
    /// The kernel's reason; then nothing is known about what was written.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file.
    ///
    /// # Errors
    /// The kernel's reason.
    fn truncate(&mut self, size: u64) -> io::Result<()>;
    /// Asks that the next reads come from the disk: the page cache still shows what a failed sync lost.
    fn forget_cache(&self) {}
}

/// The real file, locked for as long as it is open.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
}

impl FileStorage {
    /// Opens or creates (mode 0600) and locks the file.
    ///
    /// # Errors
    /// [`JournalError::Io`], [`JournalError::Busy`].
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let io = |what| move |source| JournalError::Io { path: path.to_owned(), what, source };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = File::from(open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| io("open it")(e.into()))?);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(JournalError::Busy { path: path.to_owned() }),
            Err(e) => return Err(io("lock it")(e.into())),
        }
        sync_folder(path).map_err(io("sync its folder"))?;
        Ok(Self { file })
    }
}

impl Storage for FileStorage {
    fn size(&self) -> io::Result<u64> {
        self.file.metadata().map(|meta| meta.len())
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(into, at)
    }

    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<usize> {
        self.file.write_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    #[cfg(target_os = "linux")]
    fn forget_cache(&self) {
        // Advice: a kernel that ignores it leaves us where every other program is.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }
}
