//! The audit: the whole log in one pass over its stored bytes, in memory that does not grow with it.

use super::anchor::{self, Anchor};
use super::chain::Code;
use super::error::{BusError, io_error};
use super::event::Sum;
use super::head::{self, HEAD, Head, Heads};
use super::key::{Key, KeyPlace};
use super::segments::{Position, Segments};
use super::snapshot::{self, SnapshotState, SnapshotVerdict};
use super::walk::{Finding, Seen, Walked, walk};
use crate::canon;
use crate::disk::{Access, Folder};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// Seconds by which the clock may go back between two events.
const CLOCK_TOLERANCE_S: f64 = 2.0;
/// Looks at what does not hold above the head of a log that may be open.
const LIVE_TRIES: u32 = 3;
/// Warnings that are kept in full.
const WARNINGS_MAX: usize = 16;

/// What is asked beside the chain.
#[derive(Clone, Debug, Default)]
pub struct Questions {
    /// Whether every line must be canonical, strictly read.
    pub deep: bool,
    /// What must be in the log.
    pub anchor: Option<Anchor>,
    /// What deadman saw last; it must be in the log too.
    pub witness: Option<Anchor>,
}

/// What the head proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadVerdict {
    /// It agrees, and the key signed it.
    OkSigned,
    /// It agrees, but nobody checked who wrote it: no key was at hand.
    Unsigned,
    /// There is none: a log of the reference, or one whose head was taken away.
    Absent,
    /// It disagrees.
    Disagrees,
}

impl fmt::Display for HeadVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OkSigned => "ok-signed",
            Self::Unsigned => "unsigned",
            Self::Absent => "absent",
            Self::Disagrees => "disagrees",
        })
    }
}

/// The result of an audit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Whether everything that was checked holds.
    pub ok: bool,
    /// Good events before the first bad one.
    pub events: u64,
    /// Checksum of the last of them.
    pub last_checksum: Option<String>,
    /// Which bus, by its head.
    pub bus_id: Option<String>,
    /// `ok`, or the code of the first rule that is broken.
    pub reason: String,
    /// Where, and what.
    pub finding: Option<Finding>,
    /// What is odd but breaks no rule; the first few.
    pub warnings: Vec<Finding>,
    /// How many of them there are.
    pub warnings_total: u64,
    /// The head.
    pub head: HeadVerdict,
    /// The snapshot.
    pub snapshot: SnapshotVerdict,
    /// Whether the anchor is in the log, if one was asked for.
    pub anchor: Option<bool>,
    /// Anchors kept beside the log that are in it.
    pub anchors: u64,
    /// Whether what deadman saw last is in the log, if it is known.
    pub witness: Option<bool>,
}

impl Report {
    /// What proves, kept elsewhere, how far this log goes; `None` for one that does not hold, is empty or has no head.
    #[must_use]
    pub fn anchor(&self) -> Option<Anchor> {
        let (bus_id, sum) = (self.bus_id.clone()?, Sum::parse(self.last_checksum.as_ref()?)?);
        self.ok.then_some(Anchor { bus_id, count: self.events, sum })
    }
}

/// Everything that an audit looks at beside the lines.
pub(super) struct Beside {
    pub(super) segments: Segments,
    pub(super) heads: Heads,
    has_head: bool,
    has_key: bool,
    pub(super) snapshot: SnapshotState,
    /// Anchors kept beside the log.
    kept: Vec<Anchor>,
    sought: Sought,
    time: f64,
    warnings: Vec<Finding>,
    warnings_total: u64,
}

/// Places of which the checksum is wanted.
#[derive(Default)]
struct Sought {
    /// Counts in order, and the checksum once it was passed.
    places: Vec<(u64, Option<Sum>)>,
    next: usize,
}

impl Sought {
    fn of(counts: impl Iterator<Item = u64>) -> Self {
        let mut places: Vec<_> = counts.map(|count| (count, None)).collect();
        places.sort_unstable_by_key(|place| place.0);
        places.dedup();
        Self { places, next: 0 }
    }

    /// An event passes; they come in order.
    fn pass(&mut self, index: u64, sum: Sum) {
        while let Some(place) = self.places.get_mut(self.next).filter(|place| place.0 <= index) {
            if place.0 == index {
                place.1 = Some(sum);
            }
            self.next += 1;
        }
    }

    fn at(&self, count: u64) -> Option<Sum> {
        let found = self.places.binary_search_by_key(&count, |place| place.0).ok()?;
        self.places.get(found)?.1
    }

    fn has(&self, anchor: &Anchor) -> bool {
        self.at(anchor.count) == Some(anchor.sum)
    }
}

/// Verifies the log of a folder. Without a key its head is never more than unsigned.
///
/// # Errors
/// [`BusError::Io`], [`BusError::Key`]: nothing could be told. What is wrong with the log is in the report.
pub fn verify<F: Folder, K: Folder>(
    folder: &F,
    keys: Option<&KeyPlace<K>>,
    questions: &Questions,
) -> Result<Report, BusError> {
    pass(folder, keys, questions, &mut |_| Ok(())).map(|(report, _)| report)
}

/// The same, showing each good line to somebody.
pub(super) fn pass<F: Folder, K: Folder>(
    folder: &F,
    keys: Option<&KeyPlace<K>>,
    questions: &Questions,
    show: &mut dyn FnMut(&Seen<'_>) -> io::Result<()>,
) -> Result<(Report, Beside), BusError> {
    let io = |e| io_error(folder.path(""), "read it", e);
    let mut beside = look(folder, keys)?;
    let snapshot = match &beside.snapshot {
        SnapshotState::Fits(snapshot) => Some(snapshot.at.count),
        SnapshotState::Absent | SnapshotState::Rebuild(_) => None,
    };
    let noted = questions.anchor.iter().chain(&questions.witness).chain(&beside.kept).map(|anchor| anchor.count);
    let head = beside.heads.newest.as_ref().map(|head| head.at.count);
    beside.sought = Sought::of(noted.chain(head).chain(snapshot));
    let mut from = Position::START;
    let mut tries = LIVE_TRIES;
    let walked = loop {
        let walked = stretch(folder, from, &mut beside, questions, show).map_err(io)?;
        let head = beside.heads.newest.as_ref();
        let live = head.is_some_and(|head| !head.clean && walked.end.count >= head.at.count);
        if walked.flaw.is_none() || !live || tries == 0 {
            break walked;
        }
        // Above the head a writer may be at work: what it was writing a moment ago is whole now, or the file was closed.
        (from, tries) = (walked.end, tries - 1);
        beside.segments = Segments::of(folder).map_err(io)?;
    };
    let report = report(&mut beside, &walked, questions);
    Ok((report, beside))
}

/// One walk as far as it goes.
fn stretch<F: Folder>(
    folder: &F,
    from: Position,
    beside: &mut Beside,
    questions: &Questions,
    show: &mut dyn FnMut(&Seen<'_>) -> io::Result<()>,
) -> io::Result<Walked> {
    let segments = beside.segments;
    walk(folder, &segments, from, &mut |seen| {
        if questions.deep
            && let Err(e) = canon::is_canonical(seen.line)
        {
            return Ok(Some(at(seen, Code::Form, e.byte, "the canonical form", e.what)));
        }
        beside.sought.pass(seen.good.index, seen.good.sum);
        let time = seen.good.as_of;
        if time < beside.time - CLOCK_TOLERANCE_S {
            beside.warnings_total = beside.warnings_total.saturating_add(1);
            if beside.warnings.len() < WARNINGS_MAX {
                let expected = format!("{} or later", beside.time);
                beside.warnings.push(at(seen, Code::Time, 0, &expected, &time.to_string()));
            }
        }
        beside.time = time;
        show(seen)?;
        Ok(None)
    })
}

fn at(seen: &Seen<'_>, code: Code, byte: usize, expected: &str, found: &str) -> Finding {
    let (file, byte) = (seen.file.to_owned(), seen.at.saturating_add(byte as u64));
    Finding { code, event: seen.good.index, file, byte, expected: expected.to_owned(), found: found.to_owned() }
}

fn look<F: Folder, K: Folder>(folder: &F, keys: Option<&KeyPlace<K>>) -> Result<Beside, BusError> {
    let io = |e| io_error(folder.path(""), "read it", e);
    let key = keys.map(Key::load).transpose()?.flatten();
    let file = match folder.open(HEAD, Access::Read) {
        Ok(file) => Some(file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(io(e)),
    };
    let heads = file.as_ref().map_or(Ok(Heads { newest: None, bad: 0 }), |file| head::read(file, key.as_ref()));
    let heads = heads.map_err(io)?;
    let bus_id = heads.newest.as_ref().map_or("", |head| &head.bus_id).to_owned();
    Ok(Beside {
        segments: Segments::of(folder).map_err(io)?,
        has_head: file.is_some(),
        has_key: key.is_some(),
        snapshot: snapshot::load(folder, &bus_id).map_err(io)?,
        heads,
        kept: anchor::kept(folder).map_err(io)?.anchors,
        sought: Sought::default(),
        time: f64::NEG_INFINITY,
        warnings: Vec::new(),
        warnings_total: 0,
    })
}

fn report(beside: &mut Beside, walked: &Walked, questions: &Questions) -> Report {
    let end = &walked.end;
    let head_finding = against_head(beside, end);
    let head = match (&head_finding, &beside.heads.newest) {
        (Some(_), _) => HeadVerdict::Disagrees,
        (None, None) => HeadVerdict::Absent,
        (None, Some(_)) if beside.has_key => HeadVerdict::OkSigned,
        (None, Some(_)) => HeadVerdict::Unsigned,
    };
    let missing = |code, file: &str, anchor: &Anchor| Finding {
        code,
        event: anchor.count,
        file: file.to_owned(),
        byte: 0,
        expected: anchor.to_string(),
        found: beside.sought.at(anchor.count).map_or_else(|| format!("{} events", end.count), |sum| sum.to_string()),
    };
    let bus_id = beside.heads.newest.as_ref().map(|head| head.bus_id.clone());
    let has = |anchor: &Anchor| bus_id.as_ref().is_none_or(|ours| *ours == anchor.bus_id) && beside.sought.has(anchor);
    let (anchor, witness) = (questions.anchor.as_ref().map(has), questions.witness.as_ref().map(has));
    let unwitnessed = questions.witness.as_ref().filter(|_| witness == Some(false));
    let unwitnessed = unwitnessed.map(|witness| missing(Code::Witness, "", witness));
    let lost = beside.kept.iter().find(|anchor| !has(anchor)).map(|lost| missing(Code::Anchor, anchor::ANCHORS, lost));
    let unanchored = questions.anchor.as_ref().filter(|_| anchor == Some(false));
    let unanchored = unanchored.map(|anchor| missing(Code::Anchor, "", anchor));
    let anchors = beside.kept.iter().filter(|anchor| has(anchor)).count() as u64;
    let cut = match &beside.snapshot {
        SnapshotState::Fits(snapshot) => snapshot::beyond(snapshot, end.count),
        SnapshotState::Absent | SnapshotState::Rebuild(_) => None,
    };
    let at_snapshot = match &beside.snapshot {
        SnapshotState::Fits(snapshot) => beside.sought.at(snapshot.at.count),
        SnapshotState::Absent | SnapshotState::Rebuild(_) => None,
    };
    let verdict = snapshot::verdict(&beside.snapshot, end.count, at_snapshot);
    let finding = walked.flaw.clone().or(head_finding).or(cut).or(unwitnessed).or(unanchored).or(lost);
    Report {
        ok: finding.is_none(),
        events: end.count,
        last_checksum: end.last.map(|sum| sum.to_string()),
        bus_id: bus_id.clone(),
        reason: finding.as_ref().map_or_else(|| "ok".to_owned(), Finding::reason),
        finding,
        warnings: std::mem::take(&mut beside.warnings),
        warnings_total: beside.warnings_total,
        head,
        snapshot: verdict,
        anchor,
        anchors,
        witness,
    }
}

/// What the head says against the lines. The log may be ahead of it, unless it was closed in order.
fn against_head(beside: &Beside, end: &Position) -> Option<Finding> {
    let finding = |expected: String, found: String| {
        Some(Finding { code: Code::Head, event: end.count, file: HEAD.to_owned(), byte: 0, expected, found })
    };
    let Heads { newest, bad } = &beside.heads;
    let Some(Head { at, clean, .. }) = newest else {
        let wanted = beside.has_head && *bad > 0 || beside.has_key;
        return if wanted { finding("a head that counts".to_owned(), "none".to_owned()) } else { None };
    };
    let there = if at.count == 0 { None } else { beside.sought.at(at.count) };
    if at.count > end.count || *clean && at.count != end.count {
        return finding(format!("{} events", at.count), format!("{} events", end.count));
    }
    if there != at.last {
        return finding(format!("{:?}", at.last), format!("{there:?}"));
    }
    if *bad > 0 {
        return finding("two slots that count".to_owned(), "one".to_owned());
    }
    None
}
