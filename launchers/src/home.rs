//! The home folder: which one, whether it is usable, and making it.
//!
//! Folders that hold secrets or sockets are 0700 from the first instant; nothing in a home is ever deleted here.

use crate::error::Trouble;
use holdfast_core::limits::{DISK_FREE_MIB, HOME_PATH_BYTES_MAX};
use holdfast_ipc::bootstrap::Home;
use std::env;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Space a first start needs on the home's disk, in MiB; any other is restricted while there is less.
pub(crate) const START_FREE_MIB: u64 = DISK_FREE_MIB;

/// The folder meant: `--home` or `ENGINE_HOME`, a service manager's state folder, or the user's.
pub(crate) fn resolve(given: Option<PathBuf>) -> Result<Home, Trouble> {
    let var = |name: &str| env::var_os(name).filter(|v| !v.is_empty());
    let path = match given {
        Some(path) => path,
        None => choose(var("STATE_DIRECTORY"), var("XDG_STATE_HOME"), var("HOME")).ok_or(Trouble::NoHome)?,
    };
    let absolute = std::path::absolute(&path).map_err(|source| Trouble::Home { what: "find", path, source })?;
    // A trailing `.` or doubled slashes must not make two names of one home.
    let clean: PathBuf = absolute.components().collect();
    let len = clean.as_os_str().as_bytes().len();
    if len > HOME_PATH_BYTES_MAX {
        return Err(Trouble::HomeTooLong { path: clean, len, max: HOME_PATH_BYTES_MAX });
    }
    Ok(Home::new(clean))
}

fn choose(service: Option<OsString>, state: Option<OsString>, user: Option<OsString>) -> Option<PathBuf> {
    // A unit with several state folders lists them with colons; the first is ours.
    let first = |list: OsString| {
        let bytes = list.as_bytes().split(|b| *b == b':').next().unwrap_or_default().to_vec();
        PathBuf::from(<OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes))
    };
    // The base-directory rules: a relative XDG path is to be ignored.
    let state = state.map(PathBuf::from).filter(|p| p.is_absolute()).map(|p| p.join("holdfast"));
    service.map(first).or(state).or_else(|| user.map(|u| PathBuf::from(u).join(".local/state/holdfast")))
}

/// Whether there is such a folder.
pub(crate) fn exists(home: &Home) -> Result<bool, Trouble> {
    match fs::metadata(home.root()) {
        Ok(meta) if meta.is_dir() => Ok(true),
        Ok(_) => {
            Err(Trouble::Home { what: "use", path: home.root().into(), source: io::ErrorKind::NotADirectory.into() })
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Trouble::Home { what: "read", path: home.root().into(), source }),
    }
}

/// Everything newly made by this process and its children is for its owner alone.
pub(crate) fn private_umask() {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
}

/// Makes the folder and its rooms, or checks those that are there.
pub(crate) fn prepare(home: &Home) -> Result<(), Trouble> {
    make(home.root())?;
    let meta = fs::metadata(home.root()).map_err(|source| fail("read", home.root(), source))?;
    owned(home.root(), &meta)?;
    if meta.mode() & 0o022 != 0 {
        // Others could swap files under us. The owner may tighten it without asking.
        fs::set_permissions(home.root(), Permissions::from_mode(meta.mode() & 0o7755))
            .map_err(|source| fail("protect", home.root(), source))?;
    }
    for (room, secret) in
        [(home.keys(), true), (home.run(), true), (home.data(), false), (home.venue(), false), (home.logs(), false)]
    {
        make(&room)?;
        let meta = fs::metadata(&room).map_err(|source| fail("read", &room, source))?;
        owned(&room, &meta)?;
        if secret && meta.mode() & 0o077 != 0 {
            return Err(Trouble::Exposed {
                path: room,
                why: format!("mode {:04o} lets others in; it must be 0700", meta.mode() & 0o7777),
                want: 0o700,
            });
        }
        nix::unistd::access(&room, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK)
            .map_err(|e| fail("write", &room, e.into()))?;
    }
    // A first start writes keys and books and has nothing to manage: it waits for room. A home that was used may hold
    // positions and latches: there a restricted tree is better than none.
    let free_mib = free_mib(home.root())?;
    if free_mib < START_FREE_MIB && !home.judge_cell().exists() {
        return Err(Trouble::DiskFull { path: home.root().into(), free_mib, need_mib: START_FREE_MIB });
    }
    Ok(())
}

/// MiB an ordinary user can still write on the disk that holds this path.
pub(crate) fn free_mib(path: &Path) -> Result<u64, Trouble> {
    let stat = nix::sys::statvfs::statvfs(path).map_err(|e| fail("measure", path, e.into()))?;
    #[expect(clippy::useless_conversion, reason = "these are narrower on macOS")]
    let (blocks, size) = (u64::from(stat.blocks_available()), u64::from(stat.fragment_size()));
    Ok(blocks.saturating_mul(size) / (1024 * 1024))
}

/// A key file must be its owner's alone; an absent one is fine here.
pub(crate) fn check_key(path: &Path) -> Result<(), Trouble> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(fail("read", path, source)),
    };
    if !meta.is_file() {
        return Err(Trouble::Exposed { path: path.into(), why: "it is not a plain file".into(), want: 0o600 });
    }
    owned(path, &meta)?;
    if meta.mode() & 0o177 != 0 {
        let why = format!("mode {:04o} lets others at a key; it must be 0600", meta.mode() & 0o7777);
        return Err(Trouble::Exposed { path: path.into(), why, want: 0o600 });
    }
    Ok(())
}

/// Ours, or the administrator's.
pub(crate) fn owned(path: &Path, meta: &fs::Metadata) -> Result<(), Trouble> {
    let own = nix::unistd::geteuid().as_raw();
    if meta.uid() == own || meta.uid() == 0 {
        return Ok(());
    }
    let why = format!("it belongs to user {}, not to user {own}", meta.uid());
    Err(Trouble::Exposed { path: path.into(), why, want: if meta.is_dir() { 0o700 } else { 0o600 } })
}

fn make(path: &Path) -> Result<(), Trouble> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| fail("make", path, source))
}

fn fail(what: &'static str, path: &Path, source: io::Error) -> Trouble {
    Trouble::Home { what, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_chosen_in_the_documented_order() {
        let os = |s: &str| Some(OsString::from(s));
        for (service, state, user, expect) in [
            (None, None, os("/home/u"), Some("/home/u/.local/state/holdfast")),
            (None, os("/state"), os("/home/u"), Some("/state/holdfast")),
            (None, os("relative"), os("/home/u"), Some("/home/u/.local/state/holdfast")),
            (os("/var/lib/hf:/var/lib/other"), os("/state"), os("/home/u"), Some("/var/lib/hf")),
            (None, None, None, None),
        ] {
            assert_eq!(choose(service, state, user), expect.map(PathBuf::from));
        }
    }

    #[test]
    fn a_home_that_leaves_no_room_for_sockets_is_refused() {
        let long = format!("/{}", "x".repeat(HOME_PATH_BYTES_MAX));
        assert!(
            matches!(resolve(Some(long.into())), Err(Trouble::HomeTooLong { len, .. }) if len == HOME_PATH_BYTES_MAX + 1)
        );
        let fits = format!("/{}", "x".repeat(HOME_PATH_BYTES_MAX - 1));
        assert!(resolve(Some(fits.into())).is_ok());
    }

    #[test]
    fn rooms_are_private_and_an_open_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        prepare(&home).unwrap();
        for room in [home.keys(), home.run(), home.logs()] {
            assert_eq!(fs::metadata(&room).unwrap().mode() & 0o777, 0o700, "{}", room.display());
        }
        fs::set_permissions(home.keys(), Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(prepare(&home), Err(Trouble::Exposed { want: 0o700, .. })));
    }
}
