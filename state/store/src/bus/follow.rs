//! Reading along: a mirror gets every event once, in order, as the bytes that were stored, never one that is not durable.
//!
//! * A reader goes as far as the head says: what it gets cannot be lost any more.
//! * It may lag, stop and begin anywhere; the writer does not know of it.

use super::chain::{Chain, Code};
use super::error::{BusError, io_error};
use super::head::{self, HEAD, Head};
use super::lines::{Lines, Next};
use super::segments::Segments;
use super::walk::Finding;
use crate::disk::{Access, Folder};
use std::io;
use std::sync::Arc;

/// Events and bytes handed over at once.
const BATCH_BYTES: usize = 256 * 1024;
/// Looks at a folder that is being rotated under the reader's eyes.
const TRIES: usize = 4;

/// Somewhere else that keeps the events too.
pub trait Mirror {
    /// Index of the last event it has; 0 if none.
    ///
    /// # Errors
    /// Its own reason; the bus does not care.
    fn high_water(&mut self) -> io::Result<u64>;
    /// Takes whole lines, newlines included, of events without gaps from `first_index` on.
    ///
    /// # Errors
    /// Its own reason; the same lines come again.
    fn apply(&mut self, first_index: u64, raw_lines: &[u8]) -> io::Result<()>;
}

/// Some events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Index of the first.
    pub first_index: u64,
    /// Index of the last.
    pub last_index: u64,
    /// Their lines, newlines included.
    pub raw_lines: Vec<u8>,
}

/// A place in the log from which somebody reads on.
#[derive(Debug)]
pub struct Follower<F> {
    folder: Arc<F>,
    segment: u64,
    offset: u64,
    chain: Chain,
    /// Index of the next event.
    next: u64,
}

impl<F: Folder> Follower<F> {
    /// Will read from the event with this index on, which may not exist yet.
    ///
    /// # Errors
    /// [`BusError::Io`]; [`BusError::Corrupt`] if the events before do not hold.
    pub fn from(folder: Arc<F>, index: u64) -> Result<Self, BusError> {
        let mut follower = Self { folder, segment: 1, offset: 0, chain: Chain::START, next: 1 };
        follower.seek(index.max(1))?;
        Ok(follower)
    }

    /// Which bus this is; `None` while it has no head, which is before its first event.
    ///
    /// # Errors
    /// [`BusError::Io`].
    pub fn bus_id(&self) -> Result<Option<String>, BusError> {
        Ok(self.head()?.map(|head| head.bus_id))
    }

    /// Index of the next event.
    #[must_use]
    pub const fn next_index(&self) -> u64 {
        self.next
    }

    /// Goes to an event: the segment is found by its first line, the place in it by reading it.
    fn seek(&mut self, index: u64) -> Result<(), BusError> {
        let segments = self.segments()?;
        for number in (2..=segments.last()).rev() {
            let Some(file) = segments.open(&*self.folder, number).map_err(|e| self.io(e))? else { continue };
            let mut chain = Chain::MIDDLE;
            let first = match Lines::of(&file, 0, u64::MAX).next().map_err(|e| self.io(e))? {
                Next::Line(_, line) => chain.take(line).ok().map(|good| good.index),
                Next::Rest(..) | Next::End => None,
            };
            if let Some(first) = first.filter(|first| *first <= index) {
                (self.segment, self.offset, self.chain, self.next) = (number, 0, Chain::MIDDLE, first);
                break;
            }
        }
        while self.next < index {
            let most = index - self.next;
            match self.read(most)? {
                Some(_) => {}
                // It does not exist yet: reading goes on from what comes next.
                None => break,
            }
        }
        Ok(())
    }

    /// The next durable events, if there are any.
    ///
    /// # Errors
    /// [`BusError::Io`]; [`BusError::Corrupt`] for a line that does not hold.
    pub fn poll(&mut self) -> Result<Option<Batch>, BusError> {
        self.read(u64::MAX)
    }

    fn read(&mut self, most: u64) -> Result<Option<Batch>, BusError> {
        let durable = self.durable()?;
        let last = durable.min(self.next.saturating_sub(1).saturating_add(most));
        for _ in 0..TRIES {
            if self.next > last {
                return Ok(None);
            }
            let segments = self.segments()?;
            let file = segments.open(&*self.folder, self.segment).map_err(|e| self.io(e))?;
            // Between the two looks the segment may have been closed, and another one have taken its name.
            if self.segments()? != segments {
                continue;
            }
            let Some(file) = file else { return Ok(None) };
            let name = segments.name(self.segment);
            let batch = self.lines(&file, &name, last)?;
            if batch.is_some() {
                return Ok(batch);
            }
            if self.segment > segments.closed {
                return Ok(None);
            }
            (self.segment, self.offset) = (self.segment + 1, 0);
        }
        Ok(None)
    }

    /// Lines of one file from here on.
    fn lines(&mut self, file: &F::File, name: &str, last: u64) -> Result<Option<Batch>, BusError> {
        let (first_index, mut raw_lines) = (self.next, Vec::new());
        let mut lines = Lines::of(file, self.offset, u64::MAX);
        while self.next <= last && raw_lines.len() < BATCH_BYTES {
            let next = lines.next().map_err(|e| io_error(self.folder.path(name), "read it", e))?;
            let Next::Line(at, line) = next else { break };
            match self.chain.take(line) {
                Ok(good) if good.index == self.next => {
                    raw_lines.extend_from_slice(line);
                    raw_lines.push(b'\n');
                    self.next = self.next.saturating_add(1);
                    self.offset = at.saturating_add(line.len() as u64 + 1);
                }
                Ok(good) => {
                    return Err(self.corrupt(name, at, Code::Index, &self.next.to_string(), &good.index.to_string()));
                }
                Err(flaw) => {
                    let byte = at.saturating_add(flaw.byte as u64);
                    return Err(self.corrupt(name, byte, flaw.code, &flaw.expected, &flaw.found));
                }
            }
        }
        let batch = Batch { first_index, last_index: self.next.saturating_sub(1), raw_lines };
        Ok((!batch.raw_lines.is_empty()).then_some(batch))
    }

    /// Index of the last event that a head covers.
    fn durable(&self) -> Result<u64, BusError> {
        Ok(self.head()?.map_or(0, |head| head.at.count))
    }

    fn head(&self) -> Result<Option<Head>, BusError> {
        match self.folder.open(HEAD, Access::Read) {
            Ok(file) => head::unsigned(&file).map_err(|e| self.io(e)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.io(e)),
        }
    }

    fn segments(&self) -> Result<Segments, BusError> {
        Segments::of(&*self.folder).map_err(|e| self.io(e))
    }

    fn io(&self, e: io::Error) -> BusError {
        io_error(self.folder.path(""), "read it", e)
    }

    fn corrupt(&self, file: &str, byte: u64, code: Code, expected: &str, found: &str) -> BusError {
        let (file, expected, found) = (file.to_owned(), expected.to_owned(), found.to_owned());
        let finding = Box::new(Finding { code, event: self.next, file, byte, expected, found });
        BusError::Corrupt { path: self.folder.path(""), finding }
    }

    /// Brings a mirror up to what is durable now. Gives the index it then has.
    ///
    /// # Errors
    /// As [`Follower::poll`]; what the mirror says, as [`BusError::Io`].
    pub fn feed(&mut self, mirror: &mut dyn Mirror) -> Result<u64, BusError> {
        let told = |e| io_error("the mirror".into(), "bring it up to date", e);
        let mut has = mirror.high_water().map_err(told)?;
        if self.next != has.saturating_add(1) {
            *self = Self::from(Arc::clone(&self.folder), has.saturating_add(1))?;
        }
        while self.next == has.saturating_add(1) {
            let Some(batch) = self.poll()? else { break };
            mirror.apply(batch.first_index, &batch.raw_lines).map_err(told)?;
            has = batch.last_index;
        }
        Ok(has)
    }
}
