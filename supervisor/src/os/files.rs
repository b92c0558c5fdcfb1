//! Files of `run/`: locks, and documents that are seen whole or not at all. All of them 0600.

use super::process::Identity;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Opens or makes a lock file, close-on-exec.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// MiB an ordinary user can still write on the disk that holds this path.
pub(crate) fn free_mib(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize) / (1024 * 1024))
}

/// Length of what names the holder of a lock: always the same, so that it is written again where no byte is free.
const NAME_BYTES: usize = 128;

/// Writes into a lock file who holds it, in place.
pub(crate) fn name_holder(lock: &File, holder: &Identity) -> io::Result<()> {
    let mut text = holder.to_text().into_bytes();
    // Lines after the third mean nothing.
    text.resize(text.len().max(NAME_BYTES), b'\n');
    lock.write_all_at(&text, 0)
}

/// Writes a whole file by rename. It is not synced: readers judge its age.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    std::fs::rename(&draft, path)
}
