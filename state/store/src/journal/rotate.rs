//! Closing a segment and beginning the next.
//!
//! The next segment is written and synced whole under a name of its own before any name moves: then the full one gets its
//! number, and the next one the open one's name. A crash in between leaves no open segment and the next one beside it,
//! which the opening puts in its place. Until the first name moves a failure costs nothing but a longer segment.

use super::entry::{ClosedSegment, Entry};
use super::{Journal, JournalError, line};
use crate::disk::{Access, Folder, Storage, write_all};
use crate::segments::{active_name, closed_name};
use holdfast_core::checksum::Checksum;
use std::io;

/// The next segment while it is written.
pub(super) fn next_name(stem: &str) -> String {
    format!("{stem}.next")
}

impl<F: Folder> Journal<F> {
    /// Closes the open segment if it is long enough and begins the next. Returns whether it did.
    ///
    /// # Errors
    /// [`JournalError`]. Unless the journal is latched by it, entries are accepted as before, and it is tried again when
    /// the segment has grown by a sixteenth.
    pub fn rotate(&mut self, at_ms: u64) -> Result<bool, JournalError> {
        self.usable()?;
        if self.good < self.due {
            return Ok(false);
        }
        let number = self.closed.saturating_add(1);
        let closed = ClosedSegment { number, bytes: self.good, head: Checksum(self.last) };
        let entry = Entry::Continued(Box::new(self.memory.carry(closed)));
        let (file, bytes, sum) = self.write_next(at_ms, &entry).inspect_err(|_| {
            self.due = self.good.saturating_add((self.segment_bytes / 16).max(1));
        })?;
        let (active, next) = (active_name(&self.stem), next_name(&self.stem));
        let moved = self
            .folder
            .rename(&active, &closed_name(&self.stem, number))
            .and_then(|()| self.folder.rename(&next, &active))
            .and_then(|()| self.folder.sync());
        if let Err(source) = moved {
            // Which names the disk holds now is not known; an opening finds out.
            self.latched = Some(format!("cannot begin a new segment: {source}"));
            return Err(self.io("begin a new segment after", source));
        }
        (self.active, self.closed, self.good, self.last) = (file, number, bytes, sum);
        self.due = self.segment_bytes;
        self.memory.apply(&entry);
        Ok(true)
    }

    /// The next segment on the disk under its own name, its length, and the checksum of its only line.
    fn write_next(&self, at_ms: u64, entry: &Entry) -> Result<(F::File, u64, [u8; 32]), JournalError> {
        let seq = self.memory.entries().saturating_add(1);
        let (bytes, sum) = line::encode(seq, at_ms, &self.last, entry)
            .map_err(|why| JournalError::Refused { path: self.path.clone(), why })?;
        let write = || -> io::Result<F::File> {
            let mut file = self.folder.open(&next_name(&self.stem), Access::Make)?;
            // An attempt before this one may have left something.
            file.truncate(0)?;
            write_all(&mut file, &bytes, 0)?;
            file.sync()?;
            Ok(file)
        };
        let file = write().map_err(|source| self.io("write the segment after", source))?;
        Ok((file, bytes.len() as u64, sum))
    }

    fn io(&self, what: &'static str, source: io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), what, source }
    }
}
