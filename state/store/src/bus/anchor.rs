//! Places in the log that were noted beside it or elsewhere: a log that is put back to an older state no longer has them.
//!
//! * An anchor is one line: which bus, how many events, the checksum of the last.
//! * [`ANCHORS`] keeps one for each UTC day and each orderly end. It lies beside the log, so that it shows a log that was
//!   put back without it; a copy of its newest line, kept elsewhere, shows a folder that was put back whole.
//! * The witness is a cell outside the folder, written by deadman: the newest head that it was told.

use super::error::BusError;
use super::event::Sum;
use crate::Cell;
use crate::disk::{Access, Folder, Storage, read_full, write_all};
use holdfast_core::report::BusHead;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::Path;

/// The file of anchors in the bus's folder.
pub const ANCHORS: &str = "anchors.jsonl";
/// Most of it that is read, from its end: centuries of days.
const BYTES_MAX: u64 = 8 << 20;
const ANCHOR_WORD: &str = "holdfast-anchor";

/// A place in the log that was noted elsewhere: proof that the log still contains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Which bus.
    pub bus_id: String,
    /// Events up to it.
    pub count: u64,
    /// Checksum of the last of them.
    pub sum: Sum,
}

impl fmt::Display for Anchor {
    /// One line to keep.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ANCHOR_WORD} {} {} {}", self.bus_id, self.count, self.sum)
    }
}

impl Anchor {
    /// Reads the line back.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (word, bus_id, count, sum) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let anchor = Self { bus_id: bus_id.to_owned(), count: count.parse().ok()?, sum: Sum::parse(sum)? };
        (word == ANCHOR_WORD && words.next().is_none() && anchor.count > 0).then_some(anchor)
    }

    /// As deadman is told it.
    #[must_use]
    pub fn head(&self) -> BusHead {
        BusHead { bus_id: self.bus_id.clone(), events: self.count, checksum: self.sum.to_string() }
    }

    fn of(head: BusHead) -> Option<Self> {
        let sum = Sum::parse(&head.checksum)?;
        (head.events > 0).then_some(Self { bus_id: head.bus_id, count: head.events, sum })
    }
}

/// What deadman saw last of the bus; `None` if it never saw anything.
///
/// # Errors
/// [`BusError::Witness`]: there is something, and it cannot be read.
pub fn witness(cell: &Path) -> Result<Option<Anchor>, BusError> {
    let unreadable = |why: String| BusError::Witness { path: cell.to_owned(), why };
    let Some(head) = Cell::<BusHead>::peek(cell).map_err(|e| unreadable(e.to_string()))? else { return Ok(None) };
    Anchor::of(head).map(Some).ok_or_else(|| unreadable("it names no event".to_owned()))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    anchor: String,
    /// Seconds since 1970.
    as_of: f64,
}

/// What the file of anchors holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// Oldest first.
    pub anchors: Vec<Anchor>,
    /// When the last was written, seconds since 1970.
    pub last_as_of: Option<f64>,
    /// Lines that are no anchors: a write that was cut, or somebody's edit.
    pub odd: u64,
}

/// Reads the anchors kept beside a log.
///
/// # Errors
/// The kernel's reason.
pub fn kept<F: Folder>(folder: &F) -> io::Result<Kept> {
    let file = match folder.open(ANCHORS, Access::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(e) => return Err(e),
    };
    let size = file.size()?;
    let from = size.saturating_sub(BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(size - from).unwrap_or(0)];
    let got = read_full(&file, &mut bytes, from)?;
    bytes.truncate(got);
    let mut lines = bytes.split(|byte| *byte == b'\n');
    if from > 0 {
        // Begun in the middle.
        lines.next();
    }
    let mut kept = Kept::default();
    for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
        let read = serde_json::from_slice::<Line>(line).ok();
        match read.and_then(|line| Some((Anchor::parse(&line.anchor)?, line.as_of))) {
            Some((anchor, as_of)) => {
                kept.anchors.push(anchor);
                kept.last_as_of = Some(as_of);
            }
            None => kept.odd = kept.odd.saturating_add(1),
        }
    }
    Ok(kept)
}

/// Adds an anchor to the file, synced.
///
/// # Errors
/// The kernel's reason; a part of the line may be there, and is skipped by every reader.
pub fn keep<F: Folder>(folder: &F, anchor: &Anchor, as_of: f64) -> io::Result<()> {
    let mut file = folder.open(ANCHORS, Access::Make)?;
    let size = file.size()?;
    let mut last = [b'\n'];
    if size > 0 {
        read_full(&file, &mut last, size - 1)?;
    }
    let mut text = if last == *b"\n" { Vec::new() } else { vec![b'\n'] };
    text.extend(serde_json::to_vec(&Line { anchor: anchor.to_string(), as_of }).map_err(io::Error::other)?);
    text.push(b'\n');
    write_all(&mut file, &text, size)?;
    file.sync()?;
    folder.sync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Sim;

    fn anchor(count: u64) -> Anchor {
        Anchor { bus_id: "b".repeat(32), count, sum: Sum([7; 32]) }
    }

    #[test]
    fn anchors_come_back_in_order_and_a_cut_write_costs_only_its_own_line() {
        let disk = Sim::default();
        assert_eq!(kept(&disk).unwrap(), Kept::default());
        keep(&disk, &anchor(3), 1.5).unwrap();
        let whole = disk.bytes(ANCHORS);
        disk.put(ANCHORS, &[&whole[..], &whole[..20]].concat());
        keep(&disk, &anchor(9), 2.5).unwrap();
        assert_eq!(kept(&disk).unwrap(), Kept { anchors: vec![anchor(3), anchor(9)], last_as_of: Some(2.5), odd: 1 });
    }

    #[test]
    fn a_witness_that_is_not_there_says_nothing_and_one_that_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("witness.cell");
        assert_eq!(witness(&path).unwrap(), None);
        assert!(!path.exists(), "looking leaves nothing");
        let (mut cell, _) = Cell::<BusHead>::open(&path).unwrap();
        assert_eq!(witness(&path).unwrap(), None, "made, and nothing told yet");
        cell.store(&anchor(5).head()).unwrap();
        // Its writer holds it meanwhile.
        assert_eq!(witness(&path).unwrap(), Some(anchor(5)));
        cell.store(&BusHead { checksum: "?".to_owned(), ..anchor(5).head() }).unwrap();
        assert!(matches!(witness(&path), Err(BusError::Witness { .. })));
        std::fs::write(&path, b"what is this").unwrap();
        assert!(matches!(witness(&path), Err(BusError::Witness { .. })));
    }
}
