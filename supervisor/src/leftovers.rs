//! Workers of a former supervisor are found by their role locks and ended before anything is spawned (INV-7).

use crate::error::SupervisorError;
use crate::os::files::{name_holder, open_lock};
use crate::os::process::{Identity, end, holders, stuck};
use holdfast_core::ids::Role;
use holdfast_ipc::bootstrap::Home;
use std::fs::{File, TryLockError};
use std::io::Read;
use std::time::Duration;

/// How long one leftover may take to be gone after SIGKILL.
const GONE_WITHIN: Duration = Duration::from_secs(2);
/// Rounds of looking for holders before giving up.
const ROUNDS: u32 = 3;

/// The lock of a role that nobody holds: held from here on by this descriptor and whoever inherits it.
pub(crate) struct RoleLock(File);

impl RoleLock {
    /// Takes the role, ending whoever still holds it.
    pub(crate) fn take(home: &Home, role: Role) -> Result<Self, SupervisorError> {
        let path = home.role_lock(role);
        let fail = |what: &'static str| SupervisorError::io(what, &path);
        let mut who = String::new();
        for _ in 0..ROUNDS {
            let file = open_lock(&path).map_err(fail("open"))?;
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => who = end_holders(&path, file, role),
                Err(TryLockError::Error(e)) => return Err(fail("lock")(e)),
            }
        }
        Err(SupervisorError::Leftover { role, lock: path, who })
    }

    /// Writes down which process holds it, for the next supervisor.
    pub(crate) fn name(&self, pid: u32) {
        let Some(process) = Identity::of(pid) else { return };
        // Best effort: without it a successor looks through the process table.
        let _ = name_holder(&self.0, &process);
    }

    /// A second handle on the same lock.
    pub(crate) fn share(&self) -> std::io::Result<File> {
        self.0.try_clone()
    }
}

/// Ends whoever holds the role. Says who did not end, and what to do about it.
fn end_holders(path: &std::path::Path, mut file: File, role: Role) -> String {
    let mut text = String::new();
    let _ = Read::by_ref(&mut file).take(256).read_to_string(&mut text);
    drop(file);
    let named = Identity::parse(&text);
    // Also of one that seems dead: a thread of it that waits for a disk keeps the lock.
    let mut who = named.as_ref().map_or_else(|| "it left no name".to_owned(), |process| stuck(role, process.pid));
    let holders = match named.filter(Identity::lives) {
        Some(process) => vec![process],
        None => {
            let others = holders(path).into_iter().filter(|pid| *pid != std::process::id());
            others.filter_map(Identity::of).collect()
        }
    };
    for process in holders {
        tracing::warn!(%role, pid = process.pid, "ending a leftover worker");
        if !end(&process, GONE_WITHIN) {
            who = stuck(role, process.pid);
            tracing::error!("{who}");
        }
    }
    who
}

/// Ends every leftover of every role, in the order that lowers risk first.
pub(crate) fn clear(home: &Home) -> Result<(), SupervisorError> {
    for role in [Role::Engine, Role::Api, Role::Sensor, Role::Deadman, Role::Venue] {
        drop(RoleLock::take(home, role)?);
    }
    Ok(())
}
