//! Why a supervisor cannot run, in words for the operator.

use holdfast_core::ids::Role;
use std::path::PathBuf;
use thiserror::Error;

/// A fatal failure before or during supervision. Every one of them leaves the permit revoked or lapsing.
#[derive(Debug, Error)]
pub enum SupervisorError {
    /// Another supervisor owns this home.
    #[error("another supervisor holds {}", .lock.display())]
    AlreadyRunning {
        /// The lock.
        lock: PathBuf,
    },
    /// The kernel refused something basic.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was asked.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// The durable state cannot be used.
    #[error("{0}")]
    Cell(#[from] holdfast_store::CellError),
    /// The ledger cannot be used. It is never replaced in silence: what it records of latches would be gone.
    #[error(
        "{0}; nothing was started, and what is open on the venue is watched only by its own dead-man switch; import the last \
         good bundle (`engine migrate import`, `engine backup restore`), or move the file away and start: then nothing \
         opens until `engine resume`"
    )]
    Ledger(#[from] holdfast_store::ledger::LedgerError),
    /// A socket cannot be opened.
    #[error("{0}")]
    Ipc(#[from] holdfast_ipc::IpcError),
    /// A worker of a former supervisor does not go away.
    #[error("a leftover {role} still holds {}; nothing was started; {who}", .lock.display())]
    Leftover {
        /// Which.
        role: Role,
        /// Its lock.
        lock: PathBuf,
        /// Who it is and what can be done about it.
        who: String,
    },
    /// A file could not be opened within a moment.
    #[error("the disk under {} does not answer; nothing was started, and it is tried again", .path.display())]
    Silent {
        /// What was to be opened.
        path: PathBuf,
    },
    /// No random numbers: no tokens, no permits.
    #[error("the kernel gives no random numbers: {0}")]
    Random(String),
}

impl SupervisorError {
    /// Names what was asked of which path.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
