//! The disk as the logs here see it: one file, and one folder. Tests put a failing and a crashing one in its place.
//!
//! * Files are 0600 and folders 0700 from the moment they exist; no symbolic link is followed.
//! * Nothing is on the disk before a `sync`: a file's content by its own, a name by its folder's.

use rustix::fs::{
    AtFlags, CWD, Dir, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat, renameat, stat, unlinkat,
};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

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

/// Writes everything.
///
/// # Errors
/// The kernel's reason; a part may have been written.
pub fn write_all<S: Storage + ?Sized>(storage: &mut S, bytes: &[u8], mut at: u64) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match storage.write_at(rest, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                rest = rest.get(n..).unwrap_or_default();
                at = at.saturating_add(n as u64);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Fills `into` from an offset as far as the file goes; says how far that was.
///
/// # Errors
/// The kernel's reason.
pub fn read_full<S: Storage + ?Sized>(storage: &S, into: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match storage.read_at(&mut into[filled..], at.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// How a file of a folder is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading; it must exist.
    Read,
    /// For writing; it must exist.
    Write,
    /// For writing; made if there is none.
    Make,
}

/// A folder of files, reached by their names only.
pub trait Folder {
    /// One open file.
    type File: Storage;
    /// Opens a file.
    ///
    /// # Errors
    /// The kernel's reason; so for every call here.
    fn open(&self, name: &str, access: Access) -> io::Result<Self::File>;
    /// The names in it, in no order.
    ///
    /// # Errors
    /// The kernel's reason.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Gives a file another name, in place of what had that name.
    ///
    /// # Errors
    /// The kernel's reason.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// The kernel's reason.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Returns when the names are on the disk.
    ///
    /// # Errors
    /// The kernel's reason.
    fn sync(&self) -> io::Result<()>;
    /// Takes the folder's lock for as long as this value lives; `false` if somebody else has it.
    ///
    /// # Errors
    /// The kernel's reason.
    fn lock(&self) -> io::Result<bool>;
    /// For messages: where a file of it lies.
    fn path(&self, name: &str) -> PathBuf;
}

/// A real file.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
}

impl FileStorage {
    /// Opens or creates (mode 0600) and locks the file; `None` if another process holds it.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn locked(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = File::from(openat(CWD, path, flags, FILE_MODE)?);
        Ok(lock(&file)?.then_some(Self { file }))
    }
}

fn lock(fd: impl AsFd) -> io::Result<bool> {
    match flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
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

/// A real folder.
#[derive(Debug)]
pub struct RealFolder {
    fd: OwnedFd,
    path: PathBuf,
}

impl RealFolder {
    /// Opens a folder, making it (mode 0700) if there is none.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn make(path: &Path) -> io::Result<Self> {
        match mkdirat(CWD, path, Mode::RWXU) {
            Ok(()) => crate::cell::sync_folder(path)?,
            Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        Self::existing(path)
    }

    /// Opens a folder that exists.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn existing(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self { fd: openat(CWD, path, flags, Mode::empty())?, path: path.to_owned() })
    }
}

impl Folder for RealFolder {
    type File = FileStorage;

    fn open(&self, name: &str, access: Access) -> io::Result<FileStorage> {
        let how = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR,
            Access::Make => OFlags::RDWR | OFlags::CREATE,
        };
        let fd = openat(&self.fd, name, how | OFlags::CLOEXEC | OFlags::NOFOLLOW, FILE_MODE)?;
        Ok(FileStorage { file: File::from(fd) })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            // A name that is no text is none of ours.
            if let Ok(name) = entry?.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.fd, from, &self.fd, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    fn lock(&self) -> io::Result<bool> {
        if !lock(&self.fd)? {
            return Ok(false);
        }
        // The folder may have been moved away while it was being locked: then this is not the one with that name.
        let (ours, named) = (fstat(&self.fd)?, stat(&self.path)?);
        if (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino) {
            return Err(io::Error::other("another folder has taken its name"));
        }
        Ok(true)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}
