//! Reading one segment from its first line as far as it holds, in memory that does not grow with it.

use super::entry::{Carried, ClosedSegment, Entry};
use super::line::{self, Line};
use super::{CARRIED_BYTES_MAX, JournalError, LINE_BYTES_MAX, Memory};
use crate::disk::Storage;
use holdfast_core::checksum::Checksum;
use std::io;
use std::path::Path;

/// How far the journal holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Walked {
    pub(super) memory: Memory,
    pub(super) last: [u8; 32],
    /// Bytes of this segment that hold.
    pub(super) good: u64,
    /// The segment that this one says it continues.
    pub(super) continues: Option<ClosedSegment>,
}

impl Walked {
    /// What the next segment must say of this one, if it is closed here under this number.
    pub(super) const fn closed(&self, number: u64) -> ClosedSegment {
        ClosedSegment { number, bytes: self.good, head: Checksum(self.last) }
    }
}

/// What the first line of a segment is held against.
#[derive(Clone, Copy, Debug)]
pub(super) enum Before<'w> {
    /// There is nothing before it.
    Nothing,
    /// What is before it was not read: its own word counts.
    Unread,
    /// The segment with this number, and all before it, were read just now.
    Read(&'w Walked, u64),
}

impl Before<'_> {
    /// What the lines of a segment that begins with `first` start from.
    fn start(self, first: &Line) -> Result<Walked, String> {
        let Entry::Continued(carried) = &first.entry else {
            return match self {
                Self::Nothing | Self::Unread => Ok(Walked::default()),
                Self::Read(_, number) => Err(format!("it does not continue segment {number}")),
            };
        };
        let Carried { closed, entries, .. } = &**carried;
        match self {
            Self::Nothing => Err(format!("it continues segment {}, which is not there", closed.number)),
            Self::Read(walked, number) if *closed != walked.closed(number) => {
                Err(format!("it does not continue segment {number} as that one is"))
            }
            Self::Read(walked, number) if Memory::carried(carried) != walked.memory => {
                Err(format!("what it carries over is not what the segments up to {number} add up to"))
            }
            Self::Unread if first.prev != closed.head.0 || first.seq != entries.saturating_add(1) => {
                Err("it does not follow what it says it continues".to_owned())
            }
            Self::Unread | Self::Read(..) => {
                let memory = Memory::carried(carried);
                Ok(Walked { memory, last: closed.head.0, good: 0, continues: Some(closed.clone()) })
            }
        }
    }
}

/// Every line, shown to `visit` before it is taken in; beside it the bytes of a torn last one.
pub(super) fn walk<S: Storage>(
    storage: &S,
    path: &Path,
    before: Before<'_>,
    mut visit: impl FnMut(&Entry, &Memory) -> Result<(), String>,
) -> Result<(Walked, Option<Vec<u8>>), JournalError> {
    let broken = |at, why: String| JournalError::Broken { path: path.to_owned(), at, why };
    let io = |what| move |source| JournalError::Io { path: path.to_owned(), what, source };
    let size = storage.size().map_err(io("measure it"))?;
    let mut walked = Walked::default();
    let mut window = Vec::new();
    while walked.good < size {
        let at = walked.good;
        let longest = if at == 0 { CARRIED_BYTES_MAX } else { LINE_BYTES_MAX };
        let (line, whole) = line_at(storage, at, size, longest, &mut window).map_err(io("read it"))?;
        let ends = at.saturating_add(line.len() as u64) >= size;
        // A JSON line holds no NUL; a disk that lost power leaves them where a sector was never written. What is longer
        // than an append was on the disk before its file had this name.
        if ends && line.len() <= LINE_BYTES_MAX && (!whole || line.contains(&0)) {
            return Ok((walked, Some(line.to_vec())));
        }
        if !whole {
            return Err(broken(at, format!("no end of line within {longest} bytes")));
        }
        let line_bytes = line.len() as u64;
        let line = line::decode(line).map_err(|why| broken(at, why))?;
        if at == 0 {
            walked = before.start(&line).map_err(|why| broken(at, why))?;
        } else if matches!(line.entry, Entry::Continued(_)) {
            return Err(broken(at, "only a segment's first entry can continue another".to_owned()));
        }
        let Line { seq, prev, sum, entry } = line;
        if prev != walked.last || seq != walked.memory.entries().saturating_add(1) {
            return Err(broken(at, format!("entry {seq} does not follow the line before it")));
        }
        visit(&entry, &walked.memory).map_err(|why| broken(at, why))?;
        walked.memory.apply(&entry);
        (walked.last, walked.good) = (sum, at.saturating_add(line_bytes));
    }
    Ok((walked, None))
}

/// The bytes from `at` up to and including the end of the line, and whether that end was found.
fn line_at<'w, S: Storage>(
    storage: &S,
    at: u64,
    size: u64,
    longest: usize,
    window: &'w mut Vec<u8>,
) -> io::Result<(&'w [u8], bool)> {
    let most = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX).min(longest);
    let mut filled = 0;
    while filled < most {
        let from = at.saturating_add(filled as u64);
        // Lines are a few hundred bytes: most of the time the first kilobyte is enough.
        let until = most.min(filled.saturating_mul(2).max(1024));
        if window.len() < until {
            window.resize(until, 0);
        }
        match storage.read_at(&mut window[filled..until], from) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                let found = memchr::memchr(b'\n', &window[filled..filled + n]);
                if let Some(end) = found {
                    return Ok((&window[..=filled + end], true));
                }
                filled += n;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok((&window[..filled], false))
}
