//! The venue's books on disk: a snapshot (`books.json`) and what changed since (`books.jsonl`).
//!
//! A change is appended before anyone is answered, so that a killed process loses nothing it acknowledged. The last line
//! may be torn by the kill: it was never acknowledged and is cut off. Any other damage refuses to start: books that were
//! guessed at would be a false witness.

use crate::exchange::{Delta, Exchange};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The journal is folded into the snapshot at this size.
const COMPACT_AT: u64 = 1024 * 1024;

/// Why the books cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// The files cannot be reached.
    #[error("paper books at {path} cannot be opened: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files are damaged.
    #[error("paper books at {path} are corrupt ({detail}); move them away to start with empty books")]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

/// The open books.
#[derive(Debug)]
pub(crate) struct Store {
    snapshot: PathBuf,
    journal_path: PathBuf,
    journal: File,
    len: u64,
    behind: bool,
}

fn corrupt(path: &Path, detail: impl ToString) -> BooksError {
    BooksError::Corrupt { path: path.to_owned(), detail: detail.to_string() }
}

impl Store {
    /// Opens the books in `dir` and puts what they hold into `exchange`.
    ///
    /// # Errors
    /// [`BooksError`].
    pub(crate) fn open(dir: &Path, exchange: &mut Exchange) -> Result<Self, BooksError> {
        let (snapshot, journal_path) = (dir.join("books.json"), dir.join("books.jsonl"));
        let io_error = |path: &Path| {
            let path = path.to_owned();
            move |source| BooksError::Io { path, source }
        };
        let mut seq = None;
        match std::fs::read(&snapshot) {
            Ok(bytes) => {
                let delta: Delta = serde_json::from_slice(&bytes).map_err(|e| corrupt(&snapshot, e))?;
                seq = Some(delta.seq);
                exchange.restore(delta);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io_error(&snapshot)(e)),
        }
        let mut journal =
            OpenOptions::new().create(true).append(true).open(&journal_path).map_err(io_error(&journal_path))?;
        let bytes = std::fs::read(&journal_path).map_err(io_error(&journal_path))?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at.saturating_add(1));
        for (at, line) in bytes.get(..whole).unwrap_or_default().split(|b| *b == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let delta: Delta = serde_json::from_slice(line)
                .map_err(|e| corrupt(&journal_path, format!("line {}: {e}", at.saturating_add(1))))?;
            if let Some(seen) = seq
                && delta.seq > seen.saturating_add(1)
            {
                return Err(corrupt(&journal_path, format!("changes {} to {} are missing", seen + 1, delta.seq - 1)));
            }
            // A snapshot may already hold the first lines, when the kill fell between the two writes.
            if seq.is_none_or(|seen| delta.seq > seen) {
                seq = Some(delta.seq);
                exchange.restore(delta);
            }
        }
        let len = u64::try_from(whole).unwrap_or(u64::MAX);
        if whole < bytes.len() {
            journal.set_len(len).map_err(io_error(&journal_path))?;
        }
        journal.flush().map_err(io_error(&journal_path))?;
        Ok(Self { snapshot, journal_path, journal, len, behind: false })
    }

    fn append(&mut self, delta: &Delta) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(delta).map_err(io::Error::other)?;
        bytes.push(b'\n');
        if let Err(e) = self.journal.write_all(&bytes) {
            self.journal.set_len(self.len)?;
            return Err(e);
        }
        self.len = self.len.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Writes what changed. When that fails the books are behind, and the next success writes them whole.
    pub(crate) fn record(&mut self, delta: &Delta, exchange: &Exchange) {
        if self.behind || self.len > COMPACT_AT {
            self.compact(exchange);
        }
        // Compacting wrote this very change too; a second copy would only be skipped at the next start.
        else if let Err(e) = self.append(delta) {
            tracing::warn!(error = %e, path = %self.journal_path.display(), "paper books are behind");
            self.behind = true;
        }
    }

    /// Folds everything into a new snapshot.
    pub(crate) fn compact(&mut self, exchange: &Exchange) {
        let temporary = self.snapshot.with_extension("json.new");
        let written = serde_json::to_vec(&exchange.snapshot())
            .map_err(io::Error::other)
            .and_then(|bytes| std::fs::write(&temporary, bytes))
            .and_then(|()| std::fs::rename(&temporary, &self.snapshot))
            .and_then(|()| self.journal.set_len(0));
        match written {
            Ok(()) => {
                self.len = 0;
                self.behind = false;
            }
            Err(e) => {
                tracing::warn!(error = %e, path = %self.snapshot.display(), "paper books are behind");
                self.behind = true;
            }
        }
    }

    /// Whether everything acknowledged is on disk; while not, tries to get there again.
    pub(crate) fn ready(&mut self, exchange: &Exchange) -> bool {
        if self.behind {
            self.compact(exchange);
        }
        !self.behind
    }

    /// Whether the last write failed.
    #[must_use]
    pub(crate) const fn behind(&self) -> bool {
        self.behind
    }
}
