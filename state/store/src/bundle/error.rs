//! Why a bundle was not made, not believed or not taken in.

use crate::CellError;
use crate::bus::BusError;
use crate::journal::JournalError;
use crate::ledger::LedgerError;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A failure around a bundle. Nothing that was there before was changed.
#[derive(Debug, Error)]
pub enum BundleError {
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
    /// There is something already.
    #[error("{} is not empty; it is left as it is", .path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// A bundle inside the home would be part of the next one.
    #[error("{} lies inside the home", .path.display())]
    Inside {
        /// The folder.
        path: PathBuf,
    },
    /// Something that must not leave the host.
    #[error("{}, line {line}: {what}", .path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// What it looks like; never the secret itself.
        what: &'static str,
    },
    /// Something in the bundle does not hold.
    #[error("{}{}: {why}", .path.display(), .at.map_or_else(String::new, |at| format!(", byte {at}")))]
    Bad {
        /// The first bad file.
        path: PathBuf,
        /// The first bad byte, as far as it can be told.
        at: Option<u64>,
        /// What does not hold.
        why: String,
    },
    /// A later version of this program made it.
    #[error("{}: made by a newer version ({found}, this one knows {known})", .path.display())]
    Newer {
        /// The manifest.
        path: PathBuf,
        /// Its schema.
        found: String,
        /// The one known here.
        known: &'static str,
    },
    /// A backup of an engine that may have gone on since.
    #[error("bundle {bundle} is a backup of an engine that may have gone on since")]
    Fork {
        /// Its id.
        bundle: String,
    },
    /// The state was not exported into this bundle.
    #[error("this state is exported to {standing}, not to {given}")]
    OtherBundle {
        /// What the mark says.
        standing: String,
        /// What was given.
        given: String,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A cell.
    #[error(transparent)]
    Cell(#[from] CellError),
    /// The runtime bus.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl BundleError {
    pub(super) fn io<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Self + 'a {
        move |source| Self::Io { path: path.to_owned(), what, source }
    }

    pub(super) fn bad(path: &Path, why: impl Into<String>) -> Self {
        Self::Bad { path: path.to_owned(), at: None, why: why.into() }
    }
}
