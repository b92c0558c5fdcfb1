//! The files of one log: `events.NNNNNN.jsonl` for the closed ones, `events.jsonl` for the open one.

use super::event::Sum;
use crate::disk::{Access, Folder};
use crate::segments::{self, Census};
use std::io;

/// The open segment.
pub const ACTIVE: &str = "events.jsonl";

const STEM: &str = "events";

/// Name of a closed segment.
pub(super) fn closed_name(number: u64) -> String {
    segments::closed_name(STEM, number)
}

/// A place between two events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Segment, counted from 1.
    pub segment: u64,
    /// Byte in it at which the next event begins.
    pub offset: u64,
    /// Events before.
    pub count: u64,
    /// Checksum of the event before.
    pub last: Option<Sum>,
}

impl Position {
    /// Before the first event.
    pub const START: Self = Self { segment: 1, offset: 0, count: 0, last: None };
}

/// Which segments there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segments {
    /// Closed ones are numbered 1 to this.
    pub(super) closed: u64,
    /// Whether there is an open one.
    pub(super) active: bool,
    /// The first number that is missing below a closed one.
    pub(super) missing: Option<u64>,
}

impl Segments {
    /// Looks.
    pub(super) fn of<F: Folder>(folder: &F) -> io::Result<Self> {
        let Census { closed, active, missing } = Census::of(folder, STEM)?;
        Ok(Self { closed, active, missing })
    }

    /// Number of the last segment: the open one, or the last closed one when a rotation was interrupted.
    pub(super) fn last(&self) -> u64 {
        if self.active { self.closed + 1 } else { self.closed.max(1) }
    }

    /// Whether there is nothing at all.
    pub(super) fn none(&self) -> bool {
        !self.active && self.closed == 0
    }

    /// The file of a segment.
    pub(super) fn name(&self, number: u64) -> String {
        if number <= self.closed { closed_name(number) } else { ACTIVE.to_owned() }
    }

    /// Opens a segment for reading; `None` if it does not exist.
    pub(super) fn open<F: Folder>(&self, folder: &F, number: u64) -> io::Result<Option<F::File>> {
        match folder.open(&self.name(number), Access::Read) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}
