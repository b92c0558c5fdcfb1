//! Opening the journal for writing: one segment is read, the end of the one before it is looked at, and what a crash may
//! have left is told from damage.
//!
//! A crash leaves a torn last line, or the moment between two renames of a rotation. Anything else refuses.

use super::entry::{ClosedSegment, Entry};
use super::line::ending;
use super::rotate::next_name;
use super::walk::{Before, Walked, walk};
use super::{Journal, JournalError, Memory};
use crate::disk::{Access, Folder, Storage, read_full};
use crate::hex::hex;
use crate::segments::{Census, active_name, closed_name};
use sha2::{Digest, Sha256};
use std::io;

impl<F: Folder> Journal<F> {
    /// The same as [`Journal::open`] in any folder.
    pub(super) fn over(folder: F, stem: &str, segment_bytes: u64, at_ms: u64) -> Result<Self, JournalError> {
        let path = folder.path(&active_name(stem));
        let io = |what| {
            let path = path.clone();
            move |source| JournalError::Io { path, what, source }
        };
        if !folder.lock().map_err(io("lock the folder of"))? {
            return Err(JournalError::Busy { path });
        }
        let (active, closed) = look(&folder, stem)?;
        let mut journal = Self {
            folder,
            stem: stem.to_owned(),
            path,
            active,
            memory: Memory::default(),
            closed,
            good: 0,
            last: [0; 32],
            latched: None,
            segment_bytes,
            due: segment_bytes,
        };
        journal.read(at_ms)?;
        Ok(journal)
    }

    /// Everything again from the disk.
    pub(super) fn recover(&mut self, at_ms: u64) -> Result<(), JournalError> {
        (self.active, self.closed) = look(&self.folder, &self.stem)?;
        self.due = self.segment_bytes;
        self.read(at_ms)
    }

    fn read(&mut self, at_ms: u64) -> Result<(), JournalError> {
        self.active.forget_cache();
        let before = if self.closed == 0 { Before::Nothing } else { Before::Unread };
        let (walked, torn) = walk(&self.active, &self.path, before, |_, _| Ok(()))?;
        check_before(&self.folder, &self.stem, self.closed, walked.continues.as_ref())?;
        match torn {
            Some(torn) => self.repair(walked, &torn, at_ms),
            None => {
                self.take(walked);
                Ok(())
            }
        }
    }

    fn take(&mut self, walked: Walked) {
        (self.memory, self.last, self.good) = (walked.memory, walked.last, walked.good);
    }

    fn repair(&mut self, walked: Walked, torn: &[u8], at_ms: u64) -> Result<(), JournalError> {
        let at = walked.good;
        let entry =
            Entry::Repaired { cut_bytes: torn.len() as u64, cut_at: at, cut_sha256: hex(&Sha256::digest(torn).into()) };
        let io = |what, source| JournalError::Io { path: self.path.clone(), what, source };
        self.active.truncate(at).map_err(|e| io("cut its torn last line", e))?;
        self.active.sync().map_err(|e| io("sync it", e))?;
        self.take(walked);
        let latched = self.latched.take();
        let written = self.append(at_ms, &entry);
        if self.latched.is_none() {
            self.latched = latched;
        }
        written.map(|_| ())
    }
}

/// The open segment, made or put in its place if a crash left none, and how many closed ones there are.
fn look<F: Folder>(folder: &F, stem: &str) -> Result<(F::File, u64), JournalError> {
    let active = active_name(stem);
    let io = |what| {
        let path = folder.path(&active);
        move |source| JournalError::Io { path, what, source }
    };
    folder.sync().map_err(io("sync the folder of"))?;
    let census = Census::of(folder, stem).map_err(io("list the folder of"))?;
    if let Some(number) = census.missing {
        return Err(gone(folder, &closed_name(stem, number)));
    }
    if !census.active && census.closed > 0 {
        finish_rotation(folder, stem, census.closed)?;
    }
    let file = folder.open(&active, Access::Make).map_err(io("open it"))?;
    if !census.active {
        folder.sync().map_err(io("sync the folder of"))?;
    }
    Ok((file, census.closed))
}

/// Gives the next segment the open one's name: the program ended between closing a segment and this.
fn finish_rotation<F: Folder>(folder: &F, stem: &str, closed: u64) -> Result<(), JournalError> {
    let (next, active) = (next_name(stem), active_name(stem));
    let path = folder.path(&next);
    let file = match folder.open(&next, Access::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(gone(folder, &active)),
        Err(source) => return Err(JournalError::Io { path, what: "open it", source }),
    };
    let (walked, torn) = walk(&file, &path, Before::Unread, |_, _| Ok(()))?;
    if torn.is_some() {
        // It was synced whole before the other name was given away.
        return Err(JournalError::Broken {
            path,
            at: walked.good,
            why: "a segment that was never finished".to_owned(),
        });
    }
    check_before(folder, stem, closed, walked.continues.as_ref())?;
    folder.rename(&next, &active).map_err(|source| JournalError::Io { path, what: "make it the open segment", source })
}

/// Whether the last closed segment is there, as long as it was and with the last line it had.
pub(super) fn check_before<F: Folder>(
    folder: &F,
    stem: &str,
    closed: u64,
    continues: Option<&ClosedSegment>,
) -> Result<(), JournalError> {
    if closed == 0 {
        return Ok(());
    }
    let name = closed_name(stem, closed);
    let broken = |name: &str, at, why: String| JournalError::Broken { path: folder.path(name), at, why };
    let Some(named) = continues.filter(|named| named.number == closed) else {
        return Err(broken(&active_name(stem), 0, format!("it does not continue {name}")));
    };
    let look = || -> io::Result<(u64, Vec<u8>)> {
        let file = folder.open(&name, Access::Read)?;
        let mut end = vec![0; ending(&named.head.0).len()];
        let size = file.size()?;
        let from = size.saturating_sub(end.len() as u64);
        let got = read_full(&file, &mut end, from)?;
        end.truncate(got);
        Ok((size, end))
    };
    let (size, end) =
        look().map_err(|source| JournalError::Io { path: folder.path(&name), what: "read it", source })?;
    if size != named.bytes {
        return Err(broken(
            &name,
            size.min(named.bytes),
            format!("{size} bytes, and it was closed with {}", named.bytes),
        ));
    }
    if end != ending(&named.head.0) {
        return Err(broken(
            &name,
            size.saturating_sub(end.len() as u64),
            "not the last line it was closed with".to_owned(),
        ));
    }
    Ok(())
}

pub(super) fn gone<F: Folder>(folder: &F, name: &str) -> JournalError {
    JournalError::Broken { path: folder.path(name), at: 0, why: "this segment is missing".to_owned() }
}
