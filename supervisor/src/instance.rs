//! One supervisor per home: the lock decides, the pidfile tells people who holds it. The lock file tells it, too: it is
//! written in place, also on a disk without a free byte.

use crate::error::SupervisorError;
use crate::os::files::{name_holder, open_lock, replace_file};
use crate::os::process::Identity;
use holdfast_core::ids::Role;
use holdfast_core::status::StatusDoc;
use holdfast_ipc::bootstrap::Home;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Whether a supervisor owns this home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instance {
    /// Yes.
    Running {
        /// Its pid.
        pid: u32,
    },
    /// No.
    NotRunning {
        /// A pidfile of a dead one is still there.
        stale_pidfile: bool,
    },
    /// The pidfile and the process table disagree.
    Unknown {
        /// How.
        why: String,
    },
}

/// Looks, by lock and process start time, never by pid number alone. Changes nothing.
#[must_use]
pub fn probe(home: &Home) -> Instance {
    let text = std::fs::read_to_string(home.pidfile());
    let named = |text: &str| Identity::parse(text).filter(Identity::lives);
    let by_lock = || std::fs::read_to_string(home.supervisor_lock()).ok().as_deref().and_then(named);
    if let Some(process) = text.as_deref().ok().and_then(named).or_else(by_lock) {
        return Instance::Running { pid: process.pid };
    }
    match locked(&home.supervisor_lock()) {
        Ok(false) => Instance::NotRunning { stale_pidfile: text.is_ok() },
        Ok(true) => Instance::Unknown {
            why: "the supervisor lock is held, but the pidfile does not name a living holder".to_owned(),
        },
        Err(error) => Instance::Unknown { why: format!("the supervisor lock cannot be examined: {error}") },
    }
}

/// Workers of this home that live now, by what their role locks name. Takes no lock, so that a start that looks at the
/// same moment is not disturbed.
#[must_use]
pub fn survivors(home: &Home) -> Vec<(Role, u32)> {
    let living = |role: &Role| {
        let text = std::fs::read_to_string(home.role_lock(*role)).ok()?;
        let process = Identity::parse(&text).filter(Identity::lives)?;
        Some((*role, process.pid))
    };
    Role::ALL.iter().filter_map(living).collect()
}

/// Removes the pidfile of a dead supervisor, if no living one holds the lock.
///
/// # Errors
/// The kernel's reason.
pub fn clear_stale(home: &Home) -> io::Result<()> {
    match probe(home) {
        Instance::NotRunning { stale_pidfile: true } => std::fs::remove_file(home.pidfile()),
        Instance::NotRunning { stale_pidfile: false } | Instance::Running { .. } | Instance::Unknown { .. } => Ok(()),
    }
}

fn locked(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Sole ownership of a home, for as long as this value lives.
pub(crate) struct Ownership {
    lock: File,
}

/// Tries of the lock before giving up: somebody may be just looking at it.
const LOCK_TRIES: u32 = 20;

impl Ownership {
    /// Takes the home, or says that it is taken.
    pub(crate) fn take(home: &Home) -> Result<Self, SupervisorError> {
        let path = home.supervisor_lock();
        let lock = open_lock(&path).map_err(SupervisorError::io("open", &path))?;
        for attempt in 1..=LOCK_TRIES {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt == LOCK_TRIES => {
                    return Err(SupervisorError::AlreadyRunning { lock: path });
                }
                Err(TryLockError::WouldBlock) => {
                    // A pause without sleeping: wait for nothing on no descriptor.
                    let _ = nix::poll::poll(&mut [], 5_u8);
                }
                Err(TryLockError::Error(source)) => return Err(SupervisorError::Io { what: "lock", path, source }),
            }
        }
        Ok(Self { lock })
    }

    /// Says who holds it. A reader never sees half of it.
    pub(crate) fn announce(&self, home: &Home) -> Result<(), SupervisorError> {
        let path = home.pidfile();
        let fail = || SupervisorError::io("write", &path);
        let own = Identity::own().ok_or_else(|| fail()(io::Error::other("no start time in the process table")))?;
        // Who looks finds it by either.
        name_holder(&self.lock, &own).map_err(fail())?;
        replace_file(&path, own.to_text().as_bytes()).map_err(fail())
    }

    /// Whether the pidfile still names this process.
    pub(crate) fn announced(&self, home: &Home) -> bool {
        let named = std::fs::read_to_string(home.pidfile()).ok().and_then(|text| Identity::parse(&text));
        named.is_some_and(|process| process.pid == std::process::id())
    }

    /// Takes the announcement back. The last status stays for who asks later what was open, and says that nothing runs.
    pub(crate) fn withdraw(&self, home: &Home) {
        let _ = std::fs::remove_file(home.pidfile());
        if close_status(home).is_none() {
            let _ = std::fs::remove_file(home.status_json());
        }
    }
}

/// Rewrites the last status document as one of an engine that has ended.
fn close_status(home: &Home) -> Option<()> {
    let text = std::fs::read(home.status_json()).ok()?;
    let mut doc: StatusDoc = serde_json::from_slice(&text).ok()?;
    doc.running = false;
    doc.permit.live = false;
    doc.permit.deadline_in_ms = 0;
    let body = serde_json::to_vec(&doc).ok()?;
    replace_file(&home.status_json(), &body).ok()
}
