//! The decision journal: what the engine meant to do, written down before it does it.
//!
//! * An entry is one JSON line with its number, the checksum of the line before and its own; an append returns after
//!   the line is on the disk.
//! * A failed write or sync is final for this opening: the line is cut off again, the journal is latched unhealthy and
//!   every further append is refused. A sync that is tried again may claim success over lost data.
//! * A torn last line was never acknowledged: it is cut and the cut is recorded. Anything else that does not verify
//!   refuses the opening; nothing is guessed.
//! * Memory is bounded however long the file grows.

mod entry;
mod line;
mod memory;
mod walk;

pub use crate::disk::{FileStorage, Storage};
pub use entry::{Entry, FillRecord, HeldRecord, Intent, IntentKind, Recorded};
pub use memory::{KEYS_KEPT, Memory, UNSETTLED_MAX};
pub use walk::{Walked, walk};

use crate::cell::sync_folder;
use crate::disk::write_all;
use crate::hex::hex;
use holdfast_core::checksum::Checksum;
use holdfast_core::report::JournalHealth;
use line::Line;
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Longest line, newline included, in bytes.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

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

/// The open journal.
#[derive(Debug)]
pub struct Journal<S = FileStorage> {
    storage: S,
    path: PathBuf,
    memory: Memory,
    /// Bytes known to be good; everything beyond was never acknowledged.
    good: u64,
    last: [u8; 32],
    latched: Option<String>,
}

impl Journal {
    /// Opens, locks, verifies and, if the last line is torn, repairs the journal; creates it (mode 0600) if absent.
    /// `at_ms` (wall clock, for people) stamps a repair.
    ///
    /// # Errors
    /// [`JournalError`]; the file is left as it is.
    pub fn open(path: &Path, at_ms: u64) -> Result<Self, JournalError> {
        let io = |what| move |source| JournalError::Io { path: path.to_owned(), what, source };
        let storage = FileStorage::locked(path).map_err(io("open and lock it"))?;
        let storage = storage.ok_or_else(|| JournalError::Busy { path: path.to_owned() })?;
        sync_folder(path).map_err(io("sync its folder"))?;
        Self::over(storage, path, at_ms)
    }
}

impl<S: Storage> Journal<S> {
    /// The same over any storage.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn over(storage: S, path: &Path, at_ms: u64) -> Result<Self, JournalError> {
        let mut journal =
            Self { storage, path: path.to_owned(), memory: Memory::default(), good: 0, last: [0; 32], latched: None };
        journal.recover(at_ms)?;
        Ok(journal)
    }

    /// Verifies everything again from the storage and, if it holds, accepts entries again.
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
        if let Some(why) = &self.latched {
            return Err(JournalError::Latched { path: self.path.clone(), why: why.clone() });
        }
        let refused = |why: String| JournalError::Refused { path: self.path.clone(), why };
        self.memory.admits(entry).map_err(refused)?;
        let seq = self.memory.entries().saturating_add(1);
        let (bytes, sum) = line::encode(seq, at_ms, &self.last, entry).map_err(refused)?;
        let io = |what| move |e| (what, e);
        let written = write_all(&mut self.storage, &bytes, self.good)
            .map_err(io("write it"))
            .and_then(|()| self.storage.sync().map_err(io("sync it")));
        if let Err((what, source)) = written {
            // What the disk holds now is not known. The cut is the best that can be done; opening verifies it.
            let cut = self.storage.truncate(self.good);
            let cut = cut.map_or_else(|e| format!("; cutting back failed too: {e}"), |()| String::new());
            self.latched = Some(format!("cannot {what}: {source}{cut}"));
            return Err(JournalError::Io { path: self.path.clone(), what, source });
        }
        self.good = self.good.saturating_add(bytes.len() as u64);
        self.last = sum;
        self.memory.apply(entry);
        Ok(seq)
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

    fn broken(&self, at: u64, why: impl Into<String>) -> JournalError {
        JournalError::Broken { path: self.path.clone(), at, why: why.into() }
    }

    fn recover(&mut self, at_ms: u64) -> Result<(), JournalError> {
        let path = self.path.clone();
        let io = |what| move |source| JournalError::Io { path, what, source };
        self.storage.forget_cache();
        let size = self.storage.size().map_err(io("measure it"))?;
        let (mut memory, mut last, mut at) = (Memory::default(), [0; 32], 0_u64);
        let mut window = Vec::new();
        while at < size {
            let (line, whole) = self.line_at(at, size, &mut window)?;
            let ends = at.saturating_add(line.len() as u64) >= size;
            // A JSON line holds no NUL; a disk that lost power leaves them where a sector was never written.
            if ends && (!whole || line.contains(&0)) {
                return self.repair(memory, last, at, line, at_ms);
            }
            if !whole {
                return Err(self.broken(at, format!("no end of line within {LINE_BYTES_MAX} bytes")));
            }
            let Line { seq, prev, sum, entry } = line::decode(line).map_err(|why| self.broken(at, why))?;
            if prev != last || seq != memory.entries().saturating_add(1) {
                return Err(self.broken(at, format!("entry {seq} does not follow the line before it")));
            }
            memory.apply(&entry);
            last = sum;
            at = at.saturating_add(line.len() as u64);
        }
        (self.memory, self.last, self.good) = (memory, last, at);
        Ok(())
    }

    /// The bytes from `at` up to and including the end of the line, and whether that end was found.
    fn line_at<'w>(&self, at: u64, size: u64, window: &'w mut Vec<u8>) -> Result<(&'w [u8], bool), JournalError> {
        let io = |source| JournalError::Io { path: self.path.clone(), what: "read it", source };
        let most = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX).min(LINE_BYTES_MAX);
        window.resize(most, 0);
        let mut filled = 0;
        while filled < most {
            let from = at.saturating_add(filled as u64);
            // Lines are a few hundred bytes: most of the time the first kilobyte is enough.
            let until = most.min(filled + 1024);
            match self.storage.read_at(&mut window[filled..until], from) {
                Ok(0) => return Err(io(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => {
                    let found = window[filled..filled + n].iter().position(|b| *b == b'\n');
                    if let Some(end) = found {
                        return Ok((&window[..=filled + end], true));
                    }
                    filled += n;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(io(e)),
            }
        }
        Ok((&window[..], false))
    }

    fn repair(&mut self, memory: Memory, last: [u8; 32], at: u64, torn: &[u8], at_ms: u64) -> Result<(), JournalError> {
        let entry =
            Entry::Repaired { cut_bytes: torn.len() as u64, cut_at: at, cut_sha256: hex(&Sha256::digest(torn).into()) };
        let io = |what, source| JournalError::Io { path: self.path.clone(), what, source };
        self.storage.truncate(at).map_err(|e| io("cut its torn last line", e))?;
        self.storage.sync().map_err(|e| io("sync it", e))?;
        (self.memory, self.last, self.good) = (memory, last, at);
        let latched = self.latched.take();
        let written = self.append(at_ms, &entry);
        if self.latched.is_none() {
            self.latched = latched;
        }
        written.map(|_| ())
    }
}

#[cfg(test)]
mod tests;
