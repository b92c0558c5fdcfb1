//! The decision journal: what the engine meant to do, written down before it does it.
//!
//! * An entry is one JSON line with its number, the checksum of the line before and its own; an append returns after
//!   the line is on the disk.
//! * A failed write or sync is final for this opening: the line is cut off again, the journal is latched unhealthy and
//!   every further append is refused. A sync that is tried again may claim success over lost data.
//! * A torn last line was never acknowledged: it is cut and the cut is recorded. Anything else that does not verify
//!   refuses the opening; nothing is guessed.
//! * A segment that is long enough is closed for ever and the next begins with what all before it add up to: an opening
//!   reads one segment and looks at the end of the one before it, however long the journal is. The chain goes on over
//!   segments; a replay reads them all.
//! * Memory is bounded however long the journal grows.

mod entry;
mod line;
mod memory;
mod open;
mod replay;
mod rotate;
mod walk;

pub use entry::{Carried, ClosedSegment, Entry, FillRecord, HeldRecord, Intent, IntentKind, Recorded, Rejection};
pub use memory::{KEYS_KEPT, Memory, UNSETTLED_MAX};
pub use replay::{Audit, CoinFills, Intents, Outcomes, Replay, exists, last_segment, replay, verify};

use crate::disk::{Folder, RealFolder, Storage, write_all};
use holdfast_core::checksum::Checksum;
use holdfast_core::report::JournalHealth;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Longest line, newline included, in bytes.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// Longest first line of a segment, newline included, in bytes: what is carried over is bounded far below.
const CARRIED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A segment is closed when it is this long, in bytes.
pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// Why the journal could not be opened or written.
#[derive(Debug, Error)]
pub enum JournalError {
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
    /// Another process holds it.
    #[error("{}: held by another process; stop that one first", .path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A line that must verify does not.
    #[error("{}: byte {at}: {why}; keep the file as evidence, restore it or move it away while flat", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where the line begins.
        at: u64,
        /// What does not fit.
        why: String,
    },
    /// An earlier write failed; nothing more is accepted until the journal is opened and verified again.
    #[error("{}: closed after a failed write ({why}); mend the disk and restart", .path.display())]
    Latched {
        /// The file.
        path: PathBuf,
        /// The failure.
        why: String,
    },
    /// The entry is refused before anything is written.
    #[error("{}: entry refused: {why}", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The open journal. It holds the lock of its folder.
#[derive(Debug)]
pub struct Journal<F: Folder = RealFolder> {
    folder: F,
    stem: String,
    /// Where the open segment lies, for messages.
    path: PathBuf,
    active: F::File,
    memory: Memory,
    /// Closed segments before this one.
    closed: u64,
    /// Bytes of the open segment known to be good; everything beyond was never acknowledged.
    good: u64,
    last: [u8; 32],
    latched: Option<String>,
    segment_bytes: u64,
    /// The open segment is closed when it is this long: later than `segment_bytes` after a failure to.
    due: u64,
}

/// The folder of a journal and the stem of its files, from the path of the open segment.
fn place(path: &Path) -> Result<(PathBuf, String), JournalError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let stem = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".jsonl"));
    let bad = || JournalError::Io {
        path: path.to_owned(),
        what: "take it for a journal: its name must end with .jsonl",
        source: io::ErrorKind::InvalidInput.into(),
    };
    Ok((folder.to_owned(), stem.ok_or_else(bad)?.to_owned()))
}

impl Journal {
    /// Opens, locks, verifies and, if the last line is torn, repairs the journal; creates it (mode 0600) if absent.
    /// `path` is that of the open segment; `segment_bytes` how long one may grow; `at_ms` (wall clock, for people) stamps
    /// a repair.
    ///
    /// # Errors
    /// [`JournalError`]; the files are left as they are.
    pub fn open(path: &Path, segment_bytes: u64, at_ms: u64) -> Result<Self, JournalError> {
        let (folder, stem) = place(path)?;
        let io = |what| move |source| JournalError::Io { path: path.to_owned(), what, source };
        let folder = RealFolder::existing(&folder).map_err(io("open the folder of"))?;
        Self::over(folder, &stem, segment_bytes, at_ms)
    }
}

impl<F: Folder> Journal<F> {
    /// Verifies everything again from the disk and, if it holds, accepts entries again.
    ///
    /// # Errors
    /// As [`Journal::open`]; the journal stays latched.
    pub fn reopen(&mut self, at_ms: u64) -> Result<(), JournalError> {
        let why = self.latched.get_or_insert_with(|| "reopening".to_owned()).clone();
        self.recover(at_ms)?;
        self.latched = None;
        self.append(at_ms, &Entry::Reopened { why }).map(|_| ())
    }

    /// Writes one entry and waits until it is on the disk. Returns its number.
    ///
    /// # Errors
    /// [`JournalError::Refused`] leaves the journal as it was; any other error latches it.
    pub fn append(&mut self, at_ms: u64, entry: &Entry) -> Result<u64, JournalError> {
        self.usable()?;
        let refused = |why: String| JournalError::Refused { path: self.path.clone(), why };
        self.memory.admits(entry).map_err(refused)?;
        let seq = self.memory.entries().saturating_add(1);
        let (bytes, sum) = line::encode(seq, at_ms, &self.last, entry).map_err(refused)?;
        let io = |what| move |e| (what, e);
        let written = write_all(&mut self.active, &bytes, self.good)
            .map_err(io("write it"))
            .and_then(|()| self.active.sync().map_err(io("sync it")));
        if let Err((what, source)) = written {
            // What the disk holds now is not known. The cut is the best that can be done; opening verifies it.
            let cut = self.active.truncate(self.good);
            let cut = cut.map_or_else(|e| format!("; cutting back failed too: {e}"), |()| String::new());
            self.latched = Some(format!("cannot {what}: {source}{cut}"));
            return Err(JournalError::Io { path: self.path.clone(), what, source });
        }
        self.good = self.good.saturating_add(bytes.len() as u64);
        self.last = sum;
        self.memory.apply(entry);
        Ok(seq)
    }

    fn usable(&self) -> Result<(), JournalError> {
        match &self.latched {
            None => Ok(()),
            Some(why) => Err(JournalError::Latched { path: self.path.clone(), why: why.clone() }),
        }
    }

    /// What the entries so far amount to.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// For the supervisor.
    #[must_use]
    pub fn health(&self) -> JournalHealth {
        self.memory.health(self.latched.is_none(), self.head())
    }

    /// Checksum of the last entry, which vouches for every entry before it; `None` while there is none.
    #[must_use]
    pub fn head(&self) -> Option<Checksum> {
        (self.memory.entries() > 0).then_some(Checksum(self.last))
    }
}

#[cfg(test)]
mod tests;
