//! The open log and its one way to grow: one write, one sync, then the head.
//!
//! * Bytes are acknowledged only when their sync has returned. A sync that fails is final for this opening.
//! * The file is padded ahead with spaces to the next edge, a blank tail to any reader of lines: an append then changes no
//!   file size, and costs the disk less.
//! * A disk that is full is no failure of the disk: the write is cut back, the reserve is released, and from then on only
//!   events that restrict are written. A segment that cannot be begun for lack of room is not begun: the open one grows on.

use super::anchor::Anchor;
use super::error::{BusError, io_error};
use super::event::{self, EventError, NewEvent, Priority, Sum};
use super::head::HeadFile;
use super::key::KeyPlace;
use super::segments::{ACTIVE, Position, closed_name};
use crate::disk::{Access, Folder, Storage, write_all};
use serde_json::json;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Events in one commit at most.
pub const BATCH_EVENTS_MAX: usize = 256;
/// Bytes in one commit, about.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Events after which a head is synced.
const HEAD_EVENTS: u64 = 256;
/// Events that restrict and could not be written are remembered up to this many.
pub(super) const UNWRITTEN_MAX: usize = 256;
/// The file that is given up when the disk is full.
pub(super) const RESERVE: &str = "reserve";
/// The next open segment while it is being made, empty. One that a crash leaves is used by the next rotation.
const NEXT: &str = "events.next";

/// What the caller chooses.
#[derive(Clone, Debug)]
pub struct Options {
    /// Random bytes, used only when the bus is made: its name and first key come from them.
    pub seed: [u8; 32],
    /// A segment is closed when it is this long.
    pub segment_bytes: u64,
    /// Disk space kept for events that restrict.
    pub reserve_bytes: u64,
    /// The open segment is padded to multiples of this; 1 for no padding.
    pub pad_bytes: u64,
    /// Every so many events one is an anchor.
    pub anchor_every: u64,
    /// What deadman saw last of this bus: one that does not contain it was cut or put back, and does not open.
    pub witness: Option<Anchor>,
}

impl Options {
    /// With 64 MiB segments, 1 MiB reserve, padding by 256 KiB and an anchor every 1000 events.
    #[must_use]
    pub const fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            segment_bytes: 64 << 20,
            reserve_bytes: 1 << 20,
            pad_bytes: 256 << 10,
            anchor_every: 1000,
            witness: None,
        }
    }
}

/// Whether and what the log still takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Good,
    Full,
    Latched(String),
}

/// Where events came to stand. Durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Index of the last of them.
    pub last: u64,
    /// Its checksum.
    pub sum: Option<Sum>,
}

/// The log of a writer.
#[derive(Debug)]
pub(super) struct Log<F: Folder> {
    pub(super) folder: Arc<F>,
    pub(super) keys: Arc<KeyPlace<F>>,
    pub(super) options: Options,
    pub(super) active: F::File,
    pub(super) at: Position,
    /// Length of the open segment with its padding.
    pub(super) size: u64,
    /// Something that is no padding stands behind `at`: it must be overwritten whole.
    pub(super) damaged_tail: bool,
    pub(super) head: HeadFile<F::File>,
    /// Whether this epoch's key has taken the place of the one before.
    pub(super) key_kept: bool,
    /// Events whose head is not synced.
    pub(super) head_debt: u64,
    pub(super) state: State,
    pub(super) unwritten: VecDeque<NewEvent>,
    /// Events that restrict for which there was no room even there.
    pub(super) forgotten: u64,
    pub(super) buffer: Vec<u8>,
}

impl<F: Folder> Log<F> {
    /// Writes events and waits for the disk.
    pub(super) fn append(&mut self, events: &[NewEvent]) -> Result<Committed, BusError> {
        let all_safe = events.iter().all(|event| event.priority() == Priority::Safety);
        match &self.state {
            State::Latched(why) => return Err(BusError::Latched { why: why.clone() }),
            State::Full if !all_safe => return Err(BusError::Full),
            State::Full | State::Good => {}
        }
        self.keep_key();
        if let State::Latched(why) = &self.state {
            return Err(BusError::Latched { why: why.clone() });
        }
        match self.roll() {
            // What restricts goes into the segment that is open.
            Err(BusError::Full) if all_safe => {}
            rolled => rolled?,
        }
        let after = self.stage(events)?;
        self.commit(after, all_safe)?;
        self.tell_head(after, events);
        Ok(Committed { last: after.count, sum: after.last })
    }

    /// Puts the lines into the buffer, with what the log itself must say; gives the place after them.
    fn stage(&mut self, events: &[NewEvent]) -> Result<Position, EventError> {
        self.buffer.clear();
        let mut after = self.at;
        let mut put = |buffer: &mut Vec<u8>, event: &NewEvent| {
            let index = after.count.saturating_add(1);
            let sum = event::line(buffer, index, after.last.as_ref(), event);
            after = Position { count: index, last: Some(sum), ..after };
            after
        };
        let as_of = events.first().map_or(0.0, NewEvent::as_of);
        let mut now = self.at;
        if now.segment > 1 && now.offset == 0 {
            let payload = json!({
                "schema_version": "holdfast.bus.rotated.v1", "previous_file": closed_name(now.segment - 1),
                "events": now.count, "last_checksum": now.last.map(|sum| sum.to_string()),
            });
            now = put(&mut self.buffer, &NewEvent::new("bus.rotated", as_of, &payload)?);
        }
        for event in events {
            if now.count.saturating_add(1).is_multiple_of(self.options.anchor_every.max(2)) {
                let payload = json!({
                    "schema_version": "holdfast.anchor.v1", "bus_id": self.head.head.bus_id,
                    "count": now.count, "checksum": now.last.map(|sum| sum.to_string()),
                });
                put(&mut self.buffer, &NewEvent::new("anchor", event.as_of(), &payload)?);
            }
            now = put(&mut self.buffer, event);
        }
        Ok(Position { offset: self.at.offset.saturating_add(self.buffer.len() as u64), ..now })
    }

    /// One write and one sync of the buffer, trying again with less only where the disk had no room.
    fn commit(&mut self, after: Position, may_use_reserve: bool) -> Result<(), BusError> {
        let mut tried = self.put(self.state == State::Good);
        if no_room(&tried) && self.state == State::Good {
            tried = self.cut_back().and_then(|()| self.put(false));
        }
        if no_room(&tried) {
            self.state = State::Full;
            tried = self.cut_back();
            if tried.is_ok() && !may_use_reserve {
                return Err(BusError::Full);
            }
            tried = tried.and_then(|()| self.release()).and_then(|()| self.put(false));
        }
        tried.map_err(|failed| {
            // What the disk holds now is not known; what was never acknowledged is taken away as well as can be.
            let _ = self.active.truncate(self.at.offset);
            self.latch(failed)
        })?;
        self.at = after;
        Ok(())
    }

    fn put(&mut self, pad: bool) -> Result<(), Failed> {
        let bytes = self.buffer.len();
        let end = self.at.offset.saturating_add(bytes as u64);
        let until = if self.damaged_tail {
            end.max(self.size).saturating_add(1).next_multiple_of(self.options.pad_bytes.max(1))
        } else if pad && end > self.size {
            end.next_multiple_of(self.options.pad_bytes.max(1))
        } else {
            end
        };
        let blank = usize::try_from(until - end).unwrap_or(0);
        if blank > 0 {
            self.buffer.resize(bytes + blank - 1, b' ');
            self.buffer.push(b'\n');
        }
        let written = write_all(&mut self.active, &self.buffer, self.at.offset);
        self.buffer.truncate(bytes);
        written.map_err(|e| Failed::Write("write it", e))?;
        self.active.sync().map_err(|e| Failed::Sync("sync it", e))?;
        self.size = self.size.max(until);
        self.damaged_tail = false;
        Ok(())
    }

    /// Takes away what a failed write may have left, and takes a new descriptor.
    fn cut_back(&mut self) -> Result<(), Failed> {
        self.active.truncate(self.at.offset).map_err(|e| Failed::Sync("cut it back", e))?;
        (self.size, self.damaged_tail) = (self.at.offset, false);
        self.active = self.folder.open(ACTIVE, Access::Write).map_err(|e| Failed::Sync("open it again", e))?;
        Ok(())
    }

    fn release(&mut self) -> Result<(), Failed> {
        match self.folder.remove(RESERVE) {
            Ok(()) => self.folder.sync().map_err(|e| Failed::Sync("release the reserve", e)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Failed::Sync("release the reserve", e)),
        }
    }

    /// Writes the head after a commit. Its failure takes nothing back: the log may be ahead.
    fn tell_head(&mut self, after: Position, events: &[NewEvent]) {
        self.head_debt = self.head_debt.saturating_add(events.len() as u64);
        let urgent = events.iter().any(|event| event.priority() != Priority::Routine);
        let told = self.head.write(after, false);
        let told = if urgent || self.head_debt >= HEAD_EVENTS { told.and_then(|()| self.sync_head()) } else { told };
        if let Err(e) = told {
            self.latch_head(e);
        }
    }

    fn latch_head(&mut self, e: io::Error) {
        self.state = State::Latched(format!("cannot write the head: {e}"));
    }

    fn sync_head(&mut self) -> io::Result<()> {
        self.head.file.sync()?;
        self.head_debt = 0;
        Ok(())
    }

    /// Puts this epoch's key in the place of the one before, once. From then on nobody can sign an older head.
    pub(super) fn keep_key(&mut self) {
        if self.key_kept || matches!(self.state, State::Latched(_)) {
            return;
        }
        match self.head.key.store(&self.keys) {
            Ok(()) => self.key_kept = true,
            Err(e) => self.state = State::Latched(e.to_string()),
        }
    }

    /// Syncs a head that waits for it; to be called about once a second.
    pub(super) fn settle(&mut self) {
        if self.head_debt > 0
            && !matches!(self.state, State::Latched(_))
            && let Err(e) = self.sync_head()
        {
            self.latch_head(e);
        }
    }

    /// Begins a new segment if the open one is long enough. Without room for it nothing is changed but the state.
    pub(super) fn roll(&mut self) -> Result<(), BusError> {
        if self.at.offset < self.options.segment_bytes || self.state != State::Good {
            return Ok(());
        }
        let begun = self.rotate();
        if no_room(&begun) {
            self.state = State::Full;
            return Err(BusError::Full);
        }
        begun.map_err(|failed| self.latch(failed))
    }

    /// Closes the open segment and begins the next, whose first event says so. The file of the next is made first, and
    /// takes its name last: as long as there may be no room, the open segment is the open one.
    fn rotate(&mut self) -> Result<(), Failed> {
        let write = |what| move |e| Failed::Write(what, e);
        let sync = |what| move |e| Failed::Sync(what, e);
        let mut next = self.folder.open(NEXT, Access::Make).map_err(write("begin a segment"))?;
        next.truncate(0).map_err(write("begin a segment"))?;
        self.active.truncate(self.at.offset).map_err(write("cut its padding"))?;
        (self.size, self.damaged_tail) = (self.at.offset, false);
        self.active.sync().map_err(sync("sync it"))?;
        self.folder.rename(ACTIVE, &closed_name(self.at.segment)).map_err(write("close the segment"))?;
        self.folder.rename(NEXT, ACTIVE).map_err(sync("begin a segment"))?;
        self.folder.sync().map_err(sync("sync the folder"))?;
        self.active = next;
        self.at = Position { segment: self.at.segment.saturating_add(1), offset: 0, ..self.at };
        self.size = 0;
        Ok(())
    }

    /// An empty open segment with this number.
    pub(super) fn begin_segment(&mut self, number: u64) -> io::Result<()> {
        self.active = self.folder.open(ACTIVE, Access::Make)?;
        self.folder.sync()?;
        self.at = Position { segment: number, offset: 0, ..self.at };
        (self.size, self.damaged_tail) = (0, false);
        Ok(())
    }

    fn latch(&mut self, failed: Failed) -> BusError {
        let (Failed::Write(what, source) | Failed::Sync(what, source)) = failed;
        let path = self.folder.path(ACTIVE);
        self.state = State::Latched(format!("cannot {what} ({}): {source}", path.display()));
        io_error(path, what, source)
    }

    /// Keeps events that restrict until they can be written.
    pub(super) fn remember(&mut self, events: Vec<NewEvent>) {
        for event in events.into_iter().filter(|event| event.priority() == Priority::Safety) {
            if self.unwritten.len() < UNWRITTEN_MAX {
                self.unwritten.push_back(event);
            } else {
                self.forgotten = self.forgotten.saturating_add(1);
            }
        }
    }

    /// Lays the reserve by, if it is not there. A disk without room for it is found out by the next append.
    pub(super) fn lay_by(&self) -> io::Result<()> {
        let wanted = self.options.reserve_bytes;
        let mut file = self.folder.open(RESERVE, Access::Make)?;
        if file.size()? == wanted {
            return Ok(());
        }
        // Written, not only allocated: a disk that gives space out on demand has then given it.
        let block = vec![0xa5; usize::try_from(wanted).unwrap_or(0)];
        write_all(&mut file, &block, 0)?;
        file.truncate(wanted)?;
        file.sync()?;
        self.folder.sync()
    }

    /// Ends in order: no padding, and a head that allows nothing behind it.
    pub(super) fn close(&mut self) {
        self.keep_key();
        if self.state != State::Good {
            return;
        }
        let closed = self.active.truncate(self.at.offset).and_then(|()| self.active.sync());
        let closed = closed.and_then(|()| self.head.write(self.at, true)).and_then(|()| self.sync_head());
        if let Err(e) = closed {
            self.latch_head(e);
        }
    }
}

/// What failed for lack of room may be tried elsewhere; a sync that failed, or what leaves the files unknown, may not.
#[derive(Debug)]
enum Failed {
    Write(&'static str, io::Error),
    Sync(&'static str, io::Error),
}

fn no_room(tried: &Result<(), Failed>) -> bool {
    let full = |e: &io::Error| {
        matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero)
    };
    matches!(tried, Err(Failed::Write(_, e)) if full(e))
}
