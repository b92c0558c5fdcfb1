//! Files in and out of a bundle: private, synced, never through a link, never outside.

use super::error::BundleError;
use crate::hex::hex;
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Deepest folder that is followed.
const DEPTH_MAX: usize = 16;

/// A path inside a bundle: relative, plain names only, and none of what never travels.
pub(super) fn safe(path: &str) -> Option<PathBuf> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let path = Path::new(path);
    let first = path.components().next()?;
    let kept_home = first == Component::Normal("keys".as_ref()) || first == Component::Normal("run".as_ref());
    // `a//b` and `a/./b` are spelled otherwise than their parts.
    let spelled = path.components().collect::<PathBuf>().as_os_str() == path.as_os_str();
    (path.components().all(plain) && !kept_home && spelled).then(|| path.to_owned())
}

/// Opens a plain file for reading; a link is refused.
pub(super) fn open(path: &Path) -> Result<File, BundleError> {
    let meta = fs::symlink_metadata(path).map_err(BundleError::io("look at it", path))?;
    if !meta.is_file() {
        return Err(BundleError::bad(path, "it is not a plain file"));
    }
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    options.open(path).map_err(BundleError::io("open it", path))
}

/// Every plain file below a folder, by path; a link or anything else is refused. An absent folder has none.
pub(super) fn below(folder: &Path) -> Result<Vec<PathBuf>, BundleError> {
    let mut found = Vec::new();
    list(folder, 0, &mut found)?;
    found.sort();
    Ok(found)
}

fn list(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), BundleError> {
    let fail = BundleError::io("list it", folder);
    if depth > DEPTH_MAX {
        return Err(BundleError::bad(folder, "folders are nested too deeply"));
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if depth == 0 && e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(fail(e)),
    };
    for entry in entries {
        let entry = entry.map_err(&fail)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(&fail)?);
        if kind.is_dir() {
            list(&path, depth + 1, found)?;
        } else if kind.is_file() {
            found.push(path);
        } else {
            return Err(BundleError::bad(&path, "it is neither a file nor a folder"));
        }
    }
    Ok(())
}

/// A folder with its parents, for the owner alone.
pub(super) fn make_folder(path: &Path) -> Result<(), BundleError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(BundleError::io("make it", path))
}

/// Whether a folder may be filled: absent, or empty.
pub(super) fn vacant(path: &Path) -> Result<(), BundleError> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(BundleError::io("look at it", path)(e)),
        Ok(meta) if !meta.is_dir() => return Err(BundleError::Occupied { path: path.to_owned() }),
        Ok(_) => {}
    }
    let mut entries = fs::read_dir(path).map_err(BundleError::io("list it", path))?;
    if entries.next().is_some() { Err(BundleError::Occupied { path: path.to_owned() }) } else { Ok(()) }
}

/// Writes a new file, 0600, synced.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), BundleError> {
    let fail = BundleError::io("write it", path);
    let mut file = create(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)
}

fn create(path: &Path) -> Result<File, BundleError> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(BundleError::io("make it", path))
}

/// Copies `length` bytes (all for `None`) into a new file and syncs it. Gives what was copied: size and SHA-256.
pub(super) fn copy(from: &Path, to: &Path, length: Option<u64>) -> Result<(u64, String), BundleError> {
    let (fail_from, fail_to) = (BundleError::io("read it", from), BundleError::io("write it", to));
    let mut source = open(from)?.take(length.unwrap_or(u64::MAX));
    let mut target = create(to)?;
    let (mut hash, mut size, mut block) = (Sha256::new(), 0_u64, vec![0; 256 * 1024]);
    loop {
        let read = match source.read(&mut block) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(fail_from(e)),
        };
        let part = block.get(..read).unwrap_or_default();
        target.write_all(part).map_err(&fail_to)?;
        hash.update(part);
        size = size.saturating_add(read as u64);
    }
    target.sync_all().map_err(&fail_to)?;
    Ok((size, hex(&hash.finalize().into())))
}

/// Size and SHA-256 of a file.
pub(super) fn measure(path: &Path) -> Result<(u64, String), BundleError> {
    let mut file = open(path)?;
    let (mut hash, mut size, mut block) = (Sha256::new(), 0_u64, vec![0; 256 * 1024]);
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok((size, hex(&hash.finalize().into()))),
            Ok(read) => {
                hash.update(block.get(..read).unwrap_or_default());
                size = size.saturating_add(read as u64);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(BundleError::io("read it", path)(e)),
        }
    }
}

/// Bytes up to and including the last end of line, found from the end.
pub(super) fn whole_lines(path: &Path) -> Result<u64, BundleError> {
    use std::os::unix::fs::FileExt;
    let fail = BundleError::io("read it", path);
    let file = open(path)?;
    let mut end = file.metadata().map_err(&fail)?.len();
    let mut block = vec![0; 64 * 1024];
    while end > 0 {
        let from = end.saturating_sub(block.len() as u64);
        let part = usize::try_from(end - from).unwrap_or(0);
        let Some(part) = block.get_mut(..part) else { break };
        file.read_exact_at(part, from).map_err(&fail)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from.saturating_add(at as u64).saturating_add(1));
        }
        end = from;
    }
    Ok(0)
}

/// Reads a document of bounded size.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    let file = open(path)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(BundleError::io("read it", path))?;
    if bytes.len() as u64 > most {
        return Err(BundleError::bad(path, format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// When a file was changed last, milliseconds since 1970 UTC.
pub(super) fn modified_ms(path: &Path) -> u64 {
    let time = fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Sets that time.
pub(super) fn set_modified(path: &Path, ms: u64) -> Result<(), BundleError> {
    let fail = BundleError::io("set its time", path);
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(SystemTime::UNIX_EPOCH);
    OpenOptions::new().write(true).open(path).and_then(|file| file.set_modified(time)).map_err(fail)
}

/// A folder that is being filled beside the place it is to take; gone again unless it gets there.
pub(super) struct Draft {
    path: PathBuf,
    target: PathBuf,
    kept: bool,
}

impl Draft {
    pub(super) fn beside(target: &Path) -> Result<Self, BundleError> {
        vacant(target)?;
        let named = || BundleError::bad(target, "it has no name");
        let (name, parent) = (target.file_name().ok_or_else(named)?, target.parent().ok_or_else(named)?);
        make_folder(parent)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".part-{}", std::process::id()));
        let path = parent.join(hidden);
        DirBuilder::new().mode(0o700).create(&path).map_err(BundleError::io("make it", &path))?;
        Ok(Self { path, target: target.to_owned(), kept: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes every name in it durable and moves it to its place.
    pub(super) fn publish(mut self) -> Result<(), BundleError> {
        sync_folders(&self.path)?;
        vacant(&self.target)?;
        // Renaming over an empty folder replaces it.
        fs::rename(&self.path, &self.target).map_err(BundleError::io("move it to its place", &self.target))?;
        self.kept = true;
        crate::cell::sync_folder(&self.target).map_err(BundleError::io("sync the folder of it", &self.target))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn sync_folders(folder: &Path) -> Result<(), BundleError> {
    let fail = BundleError::io("sync it", folder);
    for entry in fs::read_dir(folder).map_err(&fail)? {
        let entry = entry.map_err(&fail)?;
        if entry.file_type().map_err(&fail)?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)
}
