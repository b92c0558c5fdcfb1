//! The permit record in shared memory: a sealed memfd, or a 0400 file where memfd is missing.
//!
//! The supervisor writes; the engine holds a read-only descriptor and reads the present, never a message.

use crate::clock;
use holdfast_core::permit::{Grant, NoPermit, PermitKey, PermitSource, RECORD_BYTES, encode, revoked};
use holdfast_core::time::Tick;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

/// The supervisor's side.
pub struct PermitWriter {
    file: File,
}

impl PermitWriter {
    /// Makes a fresh, revoked record. `fallback` is used where the kernel has no memfd.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn create(fallback: &Path) -> io::Result<Self> {
        let file = memfd().or_else(|_| plain(fallback))?;
        file.write_all_at(&revoked(), 0)?;
        Ok(Self { file })
    }

    /// A descriptor for the engine that cannot write.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn reader(&self) -> io::Result<File> {
        let fd = self.file.as_raw_fd();
        File::open(format!("/proc/self/fd/{fd}")).or_else(|_| File::open(format!("/dev/fd/{fd}")))
    }

    /// Grants until the deadline. One write of one record.
    ///
    /// # Errors
    /// The kernel's reason; the old record may still stand, so the caller lets it lapse.
    pub fn grant(&self, grant: Grant, key: &PermitKey) -> io::Result<()> {
        self.file.write_all_at(&encode(grant, key), 0)
    }

    /// Takes the permit back. A shared-memory write does not fail; if it does, the lease lapses by itself.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn revoke(&self) -> io::Result<()> {
        self.file.write_all_at(&revoked(), 0)
    }
}

#[cfg(target_os = "linux")]
fn memfd() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, ftruncate, memfd_create};
    let fd = memfd_create("holdfast-permit", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&fd, RECORD_BYTES as u64)?;
    fchmod(&fd, Mode::RUSR)?;
    fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(File::from(fd))
}

#[cfg(not(target_os = "linux"))]
fn memfd() -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

fn plain(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    file.set_len(RECORD_BYTES as u64)?;
    file.set_permissions(Permissions::from_mode(0o400))?;
    Ok(file)
}

/// The engine's side.
pub struct PermitReader {
    file: File,
}

impl PermitReader {
    /// Opens the inherited descriptor by number.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn inherited(fd: i32) -> io::Result<Self> {
        let file = File::open(format!("/proc/self/fd/{fd}")).or_else(|_| File::open(format!("/dev/fd/{fd}")))?;
        Ok(Self { file })
    }

    /// Wraps a descriptor.
    #[must_use]
    pub fn over(fd: OwnedFd) -> Self {
        Self { file: File::from(fd) }
    }
}

impl PermitSource for PermitReader {
    fn record(&self) -> Result<[u8; RECORD_BYTES], NoPermit> {
        let mut record = [0; RECORD_BYTES];
        self.file.read_exact_at(&mut record, 0).map_err(|_| NoPermit::Absent)?;
        Ok(record)
    }

    fn now(&self) -> Tick {
        clock::now()
    }
}
