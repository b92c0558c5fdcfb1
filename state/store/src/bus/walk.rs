//! A walk over all segments from a place on, as far as the chain holds.

use super::chain::{Chain, Code, Flaw, Good};
use super::event::LINE_BYTES_MAX;
use super::lines::{Lines, Next};
use super::segments::{Position, Segments};
use crate::disk::{Folder, Storage};
use serde::Serialize;
use std::fmt;
use std::io;

/// What is wrong, where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub code: Code,
    /// Place of the event in the log, from 1.
    pub event: u64,
    /// The file.
    pub file: String,
    /// Offset in the file.
    pub byte: u64,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl Finding {
    /// The reason code as it is told: `checksum@7`, `torn_tail`.
    #[must_use]
    pub fn reason(&self) -> String {
        match self.code {
            Code::TornTail | Code::Segment | Code::Head | Code::Anchor | Code::Witness => self.code.to_string(),
            Code::Unparseable
            | Code::Schema
            | Code::Index
            | Code::Id
            | Code::Chain
            | Code::Checksum
            | Code::Field
            | Code::Form
            | Code::Time => format!("{}@{}", self.code, self.event),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, byte, event, expected, found, .. } = self;
        write!(f, "{}: {file}, byte {byte}, event {event}: expected {expected}, found {found}", self.reason())
    }
}

impl Serialize for Finding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'f> {
            reason: String,
            event: u64,
            file: &'f str,
            byte: u64,
            expected: &'f str,
            found: &'f str,
        }
        let Self { event, file, byte, expected, found, .. } = self;
        Shape { reason: self.reason(), event: *event, file, byte: *byte, expected, found }.serialize(serializer)
    }
}

/// One line on the way.
#[derive(Debug)]
pub(super) struct Seen<'l> {
    pub(super) good: Good<'l>,
    /// Without its newline.
    pub(super) line: &'l [u8],
    pub(super) file: &'l str,
    pub(super) at: u64,
}

/// How far the chain holds.
#[derive(Debug)]
pub(super) struct Walked {
    /// Behind the last good event.
    pub(super) end: Position,
    /// Why it does not go on.
    pub(super) flaw: Option<Finding>,
}

/// Walks from a place whose count and checksum are known. A visitor may stop the walk with a finding.
pub(super) fn walk<F: Folder>(
    folder: &F,
    segments: &Segments,
    from: Position,
    visit: &mut dyn FnMut(&Seen<'_>) -> io::Result<Option<Finding>>,
) -> io::Result<Walked> {
    let chain = Chain::after(from.count, from.last);
    walk_chain(folder, segments, (from.segment, from.offset), chain, visit)
}

/// The same with any state of the chain at the beginning.
pub(super) fn walk_chain<F: Folder>(
    folder: &F,
    segments: &Segments,
    (mut segment, mut offset): (u64, u64),
    mut chain: Chain,
    visit: &mut dyn FnMut(&Seen<'_>) -> io::Result<Option<Finding>>,
) -> io::Result<Walked> {
    loop {
        let name = segments.name(segment);
        let Some(file) = segments.open(folder, segment)? else {
            let end = Position { segment, offset: 0, count: chain.count.unwrap_or(0), last: chain.last };
            // Nothing yet, or a rotation that was interrupted, is no flaw; a hole is.
            let hole = segments.missing.is_some_and(|missing| missing == segment) || segment < segments.last();
            let flaw = hole
                .then(|| finding(&name, 0, end.count + 1, whole_flaw(Code::Segment, "the segment", "no such file")));
            return Ok(Walked { end, flaw });
        };
        let mut lines = Lines::of(&file, offset, u64::MAX);
        loop {
            let before = chain;
            let (at, flaw) = match lines.next()? {
                Next::Line(at, line) => match chain.take(line) {
                    Ok(good) => {
                        let seen = Seen { good, line, file: &name, at };
                        let Some(found) = visit(&seen)? else { continue };
                        // The visitor's word is about this line: the good part ends before it.
                        let count = good.index.saturating_sub(1);
                        let end = Position { segment, offset: at, count, last: before.last };
                        return Ok(Walked { end, flaw: Some(found) });
                    }
                    Err(flaw) => (at, flaw),
                },
                Next::Rest(at, rest) if rest.len() > LINE_BYTES_MAX => {
                    let expected = format!("a line of at most {LINE_BYTES_MAX} bytes");
                    (at, whole_flaw(Code::Unparseable, &expected, "a longer one"))
                }
                Next::Rest(at, rest) => {
                    let found = format!("{} bytes without one", rest.len());
                    (at, whole_flaw(Code::TornTail, "a line with its newline", &found))
                }
                Next::End => break,
            };
            let end = Position { segment, offset: at, count: chain.count.unwrap_or(0), last: chain.last };
            return Ok(Walked { end, flaw: Some(finding(&name, at, end.count + 1, flaw)) });
        }
        offset = lines.at();
        if segment >= segments.last() {
            let end = Position { segment, offset, count: chain.count.unwrap_or(0), last: chain.last };
            return Ok(Walked { end, flaw: None });
        }
        (segment, offset) = (segment + 1, 0);
    }
}

fn whole_flaw(code: Code, expected: &str, found: &str) -> Flaw {
    Flaw { code, byte: 0, expected: expected.to_owned(), found: found.to_owned() }
}

fn finding(file: &str, at: u64, event: u64, flaw: Flaw) -> Finding {
    let Flaw { code, byte, expected, found } = flaw;
    Finding { code, event, file: file.to_owned(), byte: at.saturating_add(byte as u64), expected, found }
}

/// The first whole line at or after an offset: where a walk may begin in the middle.
pub(super) fn line_start<S: Storage>(file: &S, near: u64) -> io::Result<u64> {
    if near == 0 {
        return Ok(0);
    }
    let mut lines = Lines::of(file, near - 1, u64::MAX);
    match lines.next()? {
        Next::Line(..) => Ok(lines.at()),
        Next::Rest(at, _) => Ok(at),
        Next::End => Ok(near),
    }
}
