//! Why the ledger could not be opened, read or written, and what that leaves behind.

use rusqlite::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A failure of the ledger. Each names the file.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The kernel refused.
    #[error("{}: cannot {what}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was asked.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Another process writes it.
    #[error("{}: held by another process; stop that one first", .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A later version of this program wrote it. Nothing was changed.
    #[error("{}: written by a newer version (schema {found}, this one knows {known}); run that version, or import a bundle made by this one", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// SQLite finds it damaged. Nothing was changed.
    #[error("{}: damaged, SQLite says: {said}; keep the file as evidence and import the last good bundle", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's words, or what does not fit.
        said: String,
    },
    /// It is something else. Nothing was changed.
    #[error("{}: not a ledger ({why}); move it away", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How it was found out.
        why: String,
    },
    /// The write breaks a rule. Nothing of it was written.
    #[error("{}: refused: {why}", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The rule.
        why: String,
    },
    /// SQLite could not do it; nothing of it was written, and it may be tried again.
    #[error("{}: cannot {what}: {said}", .path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What was asked.
        what: &'static str,
        /// SQLite's words.
        said: String,
    },
    /// A write failed in a way that leaves the disk's content unknown; nothing more is written until it is opened anew.
    #[error("{}: closed after a failed write ({why}); mend the disk and restart", .path.display())]
    Latched {
        /// The file.
        path: PathBuf,
        /// The failure.
        why: String,
    },
    /// Too much waits for the disk already; this was not taken.
    #[error("{}: {waiting} writes wait already; this one was not taken", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// How many.
        waiting: usize,
    },
    /// Not on the disk in time; it may get there still.
    #[error("{}: not on the disk after {waited_ms} ms; it may get there still", .path.display())]
    Late {
        /// The file.
        path: PathBuf,
        /// How long it was waited.
        waited_ms: u64,
    },
    /// The writer has ended.
    #[error("{}: its writer has ended", .path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
}

/// What SQLite's refusal means.
pub(super) fn sqlite<'a>(path: &'a Path, what: &'static str) -> impl Fn(rusqlite::Error) -> LedgerError + 'a {
    move |error| {
        let path = path.to_owned();
        let said = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => LedgerError::Damaged { path, said },
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                LedgerError::Refused { path, why: said }
            }
            // After a failed write or sync nobody knows what the disk holds.
            Some(ErrorCode::SystemIoFailure) => LedgerError::Latched { path, why: said },
            _ => LedgerError::Failed { path, what, said },
        }
    }
}

impl LedgerError {
    /// Whether nothing may be written after this until the ledger is opened and examined again.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Latched { .. } | Self::Damaged { .. } => true,
            Self::Io { .. }
            | Self::Busy { .. }
            | Self::Newer { .. }
            | Self::Foreign { .. }
            | Self::Refused { .. }
            | Self::Failed { .. }
            | Self::Full { .. }
            | Self::Late { .. }
            | Self::Closed { .. } => false,
        }
    }
}
