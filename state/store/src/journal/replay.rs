//! The whole journal read from its first entry: verified over all segments, and what it adds up to.
//!
//! * Works beside a writer, and in memory that does not grow with the journal.
//! * What a segment carries over must be exactly what the segments before it add up to.

use super::entry::{Entry, FillRecord, Intent, IntentKind, Recorded};
use super::open::{check_before, gone};
use super::rotate::next_name;
use super::walk::{Before, Walked, walk};
use super::{JournalError, Memory, place};
use crate::disk::{Access, Folder, RealFolder};
use crate::segments::{Census, active_name, closed_name};
use holdfast_core::checksum::Checksum;
use holdfast_core::money::{Sz, Szi, Usd};
use holdfast_core::registry::RejectReason;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Coins and refusals told apart; what is beyond is counted under `*`.
const KINDS_MAX: usize = 256;
/// How often a journal that changes while it is read is read again.
const TRIES: u32 = 5;

/// Intents by what they were for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Intents {
    /// May have added risk.
    pub open: u64,
    /// Could only reduce it.
    pub close: u64,
}

/// Answers by kind. An order can be counted twice: unknown at first, then answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    /// Executed, perhaps in part.
    pub filled: u64,
    /// Accepted without an execution.
    pub resting: u64,
    /// Refused by the venue.
    pub refused: u64,
    /// Never sent.
    pub not_sent: u64,
    /// Nobody knew.
    pub unknown: u64,
}

/// Executions in one coin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CoinFills {
    /// How many.
    pub count: u64,
    /// Bought, in coin.
    pub bought: Sz,
    /// Sold, in coin.
    pub sold: Sz,
    /// Realised profit in USD.
    pub closed_pnl_usd: Usd,
    /// Fees in USD.
    pub fees_usd: Usd,
}

/// What the journal adds up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// Files read.
    pub segments: u64,
    /// Entries that hold.
    pub entries: u64,
    /// Checksum of the last of them, which vouches for all.
    pub head: Option<Checksum>,
    /// Where an unfinished last line begins in the open segment: never acknowledged, cut by the next start.
    pub torn_at: Option<u64>,
    /// Orders that were meant.
    pub intents: Intents,
    /// What came back.
    pub outcomes: Outcomes,
    /// Unknown outcomes settled by asking.
    pub settled: u64,
    /// Orders without a final outcome.
    pub unsettled: Vec<Intent>,
    /// Decisions refused before they became orders, by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Orders refused by the venue, by its words.
    pub refused: BTreeMap<String, u64>,
    /// Executions by coin, each once.
    pub fills: BTreeMap<String, CoinFills>,
    /// Positions by the last comparison with the venue and the executions since; an absent coin is flat.
    pub positions: BTreeMap<String, Szi>,
    /// Idempotency keys that are remembered, oldest first: [`super::KEYS_KEPT`] at most.
    pub keys: Vec<String>,
}

/// What an audit of a journal found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Entries that hold.
    pub entries: u64,
    /// Checksum of the last of them.
    pub head: Option<Checksum>,
    /// Intents whose outcome is not known.
    pub unsettled: usize,
    /// Where an unfinished last line begins. The next opening cuts it and says so.
    pub torn_at: Option<u64>,
}

/// Replays the journal whose open segment has this path, beside its writer if there is one.
///
/// # Errors
/// [`JournalError::Io`], and [`JournalError::Broken`] with file and byte at the first entry that does not hold.
pub fn replay(path: &Path) -> Result<Replay, JournalError> {
    let (folder, stem) = place(path)?;
    let io = |source| JournalError::Io { path: path.to_owned(), what: "open the folder of", source };
    over(&RealFolder::existing(&folder).map_err(io)?, &stem)
}

/// Whether any segment is there of the journal whose open one has this path.
///
/// # Errors
/// [`JournalError::Io`].
pub fn exists(path: &Path) -> Result<bool, JournalError> {
    let (folder, stem) = place(path)?;
    let look = || match RealFolder::existing(&folder) {
        Ok(folder) => Census::of(&folder, &stem).map(|found| found.active || found.closed > 0),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    };
    look().map_err(|source| JournalError::Io { path: path.to_owned(), what: "look for", source })
}

/// Verifies the same.
///
/// # Errors
/// As [`replay`].
pub fn verify(path: &Path) -> Result<Audit, JournalError> {
    let Replay { entries, head, unsettled, torn_at, .. } = replay(path)?;
    Ok(Audit { entries, head, unsettled: unsettled.len(), torn_at })
}

/// Verifies what an opening does: the last segment, and that it continues the one before.
///
/// # Errors
/// As [`replay`].
pub fn last_segment(path: &Path) -> Result<Audit, JournalError> {
    let (folder, stem) = place(path)?;
    let io = |what| move |source| JournalError::Io { path: path.to_owned(), what, source };
    let folder = RealFolder::existing(&folder).map_err(io("open the folder of"))?;
    let census = || Census::of(&folder, &stem).map_err(io("list the folder of"));
    let mut tries = TRIES;
    loop {
        let found = census()?;
        let read = last(&folder, &stem, found);
        tries = tries.saturating_sub(1);
        // A segment was closed meanwhile, or the last line is just being written.
        let moved = read.is_err() && census()? != found;
        if tries == 0 || !(moved || matches!(&read, Ok(audit) if audit.torn_at.is_some())) {
            return read;
        }
    }
}

fn last<F: Folder>(folder: &F, stem: &str, census: Census) -> Result<Audit, JournalError> {
    if let Some(number) = census.missing {
        return Err(gone(folder, &closed_name(stem, number)));
    }
    // Between the two renames of a rotation the last segment has the next one's name.
    let name = if census.active { active_name(stem) } else { next_name(stem) };
    let path = folder.path(&name);
    let io = |source| JournalError::Io { path: path.clone(), what: "open it", source };
    let file = folder.open(&name, Access::Read).map_err(io)?;
    let before = if census.closed == 0 { Before::Nothing } else { Before::Unread };
    let (walked, torn) = walk(&file, &path, before, |_, _| Ok(()))?;
    check_before(folder, stem, census.closed, walked.continues.as_ref())?;
    let (entries, unsettled) = (walked.memory.entries(), walked.memory.unsettled().count());
    let head = (entries > 0).then_some(Checksum(walked.last));
    Ok(Audit { entries, head, unsettled, torn_at: torn.map(|_| walked.good) })
}

/// The same in any folder.
pub(super) fn over<F: Folder>(folder: &F, stem: &str) -> Result<Replay, JournalError> {
    let census = || {
        let io =
            |source| JournalError::Io { path: folder.path(&active_name(stem)), what: "list the folder of", source };
        Census::of(folder, stem).map_err(io)
    };
    let mut tries = TRIES;
    loop {
        let found = census()?;
        let read = all(folder, stem, found);
        tries = tries.saturating_sub(1);
        // A segment was closed meanwhile, or the last line is just being written.
        let moved = read.is_err() && census()? != found;
        if tries == 0 || !(moved || matches!(&read, Ok(replay) if replay.torn_at.is_some())) {
            return read;
        }
    }
}

fn all<F: Folder>(folder: &F, stem: &str, census: Census) -> Result<Replay, JournalError> {
    if let Some(number) = census.missing {
        return Err(gone(folder, &closed_name(stem, number)));
    }
    let mut tally = Tally::default();
    let mut walked = Walked::default();
    for number in 1..=census.closed {
        let (read, torn) = one(folder, &closed_name(stem, number), &walked, number, &mut tally)?;
        if torn.is_some() {
            let path = folder.path(&closed_name(stem, number));
            return Err(JournalError::Broken {
                path,
                at: read.good,
                why: "a closed segment with a torn line".to_owned(),
            });
        }
        walked = read;
    }
    let last = census.closed.saturating_add(1);
    let active = active_name(stem);
    let (walked, torn) = match one(folder, &active, &walked, last, &mut tally) {
        Err(JournalError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && census.closed > 0 => {
            // Between the two renames of a rotation; the next start gives it its name.
            match one(folder, &next_name(stem), &walked, last, &mut tally) {
                Err(JournalError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Err(gone(folder, &active));
                }
                read => read?,
            }
        }
        read => read?,
    };
    Ok(tally.close(last, &walked, torn.map(|_| walked.good)))
}

/// One segment, after those before it.
fn one<F: Folder>(
    folder: &F,
    name: &str,
    before: &Walked,
    number: u64,
    tally: &mut Tally,
) -> Result<(Walked, Option<Vec<u8>>), JournalError> {
    let path = folder.path(name);
    let file = folder.open(name, Access::Read).map_err(|source| JournalError::Io {
        path: path.clone(),
        what: "open it",
        source,
    })?;
    let before = if number == 1 { Before::Nothing } else { Before::Read(before, number - 1) };
    let (walked, torn) = walk(&file, &path, before, |entry, memory| tally.add(entry, memory))?;
    if number > 1 && walked.continues.is_none() {
        return Err(JournalError::Broken { path, at: 0, why: format!("it does not continue segment {}", number - 1) });
    }
    Ok((walked, torn))
}

/// Counts on the way.
#[derive(Debug, Default)]
struct Tally {
    intents: Intents,
    outcomes: Outcomes,
    settled: u64,
    rejected: BTreeMap<RejectReason, u64>,
    refused: BTreeMap<String, u64>,
    fills: BTreeMap<String, CoinFills>,
}

fn count(number: &mut u64) {
    *number = number.saturating_add(1);
}

/// The name under which something is counted.
fn place_of<V>(map: &BTreeMap<String, V>, name: &str) -> String {
    let known = map.len() < KINDS_MAX || map.contains_key(name);
    if known { name } else { "*" }.to_owned()
}

impl Tally {
    /// `memory` is that before the entry.
    fn add(&mut self, entry: &Entry, memory: &Memory) -> Result<(), String> {
        match entry {
            Entry::Intent(intent) => match intent.kind {
                IntentKind::Open => count(&mut self.intents.open),
                IntentKind::Close => count(&mut self.intents.close),
            },
            Entry::Outcome { outcome, .. } => match outcome {
                Recorded::Filled { .. } => count(&mut self.outcomes.filled),
                Recorded::Resting { .. } => count(&mut self.outcomes.resting),
                Recorded::Refused { text } => {
                    count(&mut self.outcomes.refused);
                    count(self.refused.entry(place_of(&self.refused, text)).or_default());
                }
                Recorded::NotSent { .. } => count(&mut self.outcomes.not_sent),
                Recorded::Unknown { .. } => count(&mut self.outcomes.unknown),
            },
            Entry::Settled { .. } => count(&mut self.settled),
            Entry::Rejected(rejection) => count(self.rejected.entry(rejection.reason).or_default()),
            Entry::Fill(fill) if !memory.knows_fill(&fill.coin, fill.venue_ms, fill.tid) => self.fill(fill)?,
            Entry::Fill(_)
            | Entry::Started { .. }
            | Entry::Reconciled { .. }
            | Entry::Repaired { .. }
            | Entry::Reopened { .. }
            | Entry::Continued(_) => {}
        }
        Ok(())
    }

    fn fill(&mut self, fill: &FillRecord) -> Result<(), String> {
        let none =
            CoinFills { count: 0, bought: Sz::ZERO, sold: Sz::ZERO, closed_pnl_usd: Usd::ZERO, fees_usd: Usd::ZERO };
        let coin = self.fills.entry(place_of(&self.fills, &fill.coin)).or_insert(none);
        let side = if fill.is_buy { &mut coin.bought } else { &mut coin.sold };
        let too_much = || format!("the executions in {} add up to more than a number holds", fill.coin);
        *side = side.checked_add(fill.size).ok_or_else(too_much)?;
        coin.closed_pnl_usd = coin.closed_pnl_usd.checked_add(fill.closed_pnl_usd).ok_or_else(too_much)?;
        coin.fees_usd = coin.fees_usd.checked_add(fill.fee_usd).ok_or_else(too_much)?;
        count(&mut coin.count);
        Ok(())
    }

    fn close(self, segments: u64, walked: &Walked, torn_at: Option<u64>) -> Replay {
        let Self { intents, outcomes, settled, rejected, refused, fills } = self;
        let memory = &walked.memory;
        Replay {
            segments,
            entries: memory.entries(),
            head: (memory.entries() > 0).then_some(Checksum(walked.last)),
            torn_at,
            intents,
            outcomes,
            settled,
            unsettled: memory.unsettled().cloned().collect(),
            rejected,
            refused,
            fills,
            positions: memory.expected().clone(),
            keys: memory.keys().cloned().collect(),
        }
    }
}
