//! Descriptors a child inherits on purpose.
//!
//! Everything else is close-on-exec. The flag is cleared only between here and the spawn that follows on the same
//! thread; no other thread of the supervisor starts processes. So spawning stays a `posix_spawn` without a fork.

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// A file that the next child gets under the same number.
pub(crate) struct Inherited(File);

impl Inherited {
    /// Makes the file survive the next exec.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let flags = fcntl_getfd(&file)?;
        fcntl_setfd(&file, flags - FdFlags::CLOEXEC)?;
        Ok(Self(file))
    }

    /// Its number, here and in the child.
    pub(crate) fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
