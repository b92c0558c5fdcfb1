//! A disk that fills up under a trading tree.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A small disk that goes away with the test.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts one over a folder; `None` (loudly) where this user may not.
    pub(crate) fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        let ran = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        match ran {
            Ok(ran) if ran.status.success() => Some(Self(at.to_owned())),
            other => {
                eprintln!("SKIPPED: a small disk cannot be mounted here ({other:?})");
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
