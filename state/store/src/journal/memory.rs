//! What must be remembered of the journal: bounded, and the same whether entries were just written or read back.

use super::entry::{Carried, ClosedSegment, Entry, FillRecord, HeldRecord, Intent};
use holdfast_core::checksum::Checksum;
use holdfast_core::money::Szi;
use holdfast_core::report::JournalHealth;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Idempotency keys and fill identities kept, over segments too. The oldest are forgotten, which is safe: the key of an
/// opening names the bar it was decided on, a bar is decided on once and only while it is the newest, and the venue
/// refuses an order after its expiry of about a second. At one order a second these are an hour.
pub const KEYS_KEPT: usize = 4096;
/// Orders whose outcome may be unknown at once; at this many, nothing more is accepted.
pub const UNSETTLED_MAX: usize = 256;
/// How far before the newest execution executions are asked for again, in milliseconds of venue time: longer than any
/// worker stays unreplaced.
const LOOK_AGAIN_MS: u64 = 60_000;
/// Coins with an expected position.
const COINS_MAX: usize = 1024;

/// Remembers the newest of something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Window<K> {
    order: VecDeque<K>,
    set: BTreeSet<K>,
}

impl<K: Ord + Clone> FromIterator<K> for Window<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let mut window = Self { order: VecDeque::new(), set: BTreeSet::new() };
        keys.into_iter().for_each(|key| window.insert(key));
        window
    }
}

impl<K: Ord + Clone> Window<K> {
    fn list(&self) -> Vec<K> {
        self.order.iter().cloned().collect()
    }

    fn insert(&mut self, key: K) {
        if !self.set.insert(key.clone()) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > KEYS_KEPT
            && let Some(old) = self.order.pop_front()
        {
            self.set.remove(&old);
        }
    }
}

/// The state that the entries add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    entries: u64,
    unsettled: BTreeMap<String, Intent>,
    keys: Window<String>,
    cloids: Window<String>,
    fills: Window<(String, u64, u64)>,
    last_fill_ms: u64,
    expected: BTreeMap<String, Szi>,
    /// Venue time of the last full comparison: older fills are already in it.
    compared_ms: u64,
    /// Executions after this venue time may be missing: nobody listened for a while.
    gap_ms: Option<u64>,
}

impl Memory {
    /// What a new segment begins with.
    #[must_use]
    pub(super) fn carry(&self, closed: ClosedSegment) -> Carried {
        let held = |(coin, size): (&String, &Szi)| HeldRecord { coin: coin.clone(), size: *size };
        Carried {
            closed,
            entries: self.entries,
            unsettled: self.unsettled.values().cloned().collect(),
            keys: self.keys.list(),
            cloids: self.cloids.list(),
            fills: self.fills.list(),
            last_fill_ms: self.last_fill_ms,
            expected: self.expected.iter().map(held).collect(),
            compared_ms: self.compared_ms,
            gap_ms: self.gap_ms,
        }
    }

    /// What was carried over: the memory as it was before the entry that carries it.
    #[must_use]
    pub(super) fn carried(carried: &Carried) -> Self {
        Self {
            entries: carried.entries,
            unsettled: carried.unsettled.iter().map(|intent| (intent.cloid.clone(), intent.clone())).collect(),
            keys: carried.keys.iter().cloned().collect(),
            cloids: carried.cloids.iter().cloned().collect(),
            fills: carried.fills.iter().cloned().collect(),
            last_fill_ms: carried.last_fill_ms,
            expected: carried.expected.iter().map(|held| (held.coin.clone(), held.size)).collect(),
            compared_ms: carried.compared_ms,
            gap_ms: carried.gap_ms,
        }
    }

    /// Idempotency keys that are remembered, oldest first.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.keys.order.iter()
    }

    /// Entries so far.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Orders without a final outcome, by client order id.
    pub fn unsettled(&self) -> impl Iterator<Item = &Intent> {
        self.unsettled.values()
    }

    /// Whether this decision was already written down.
    #[must_use]
    pub fn knows_key(&self, key: &str) -> bool {
        self.keys.set.contains(key)
    }

    /// Whether an order with this client order id is ours.
    #[must_use]
    pub fn knows_cloid(&self, cloid: &str) -> bool {
        self.cloids.set.contains(cloid)
    }

    /// Whether this execution was already written down.
    #[must_use]
    pub fn knows_fill(&self, coin: &str, venue_ms: u64, tid: u64) -> bool {
        self.fills.set.contains(&(coin.to_owned(), venue_ms, tid))
    }

    /// Venue time from which on executions may be missing here, to be asked for; 0 if there never was a comparison.
    #[must_use]
    pub fn unseen_from_ms(&self) -> u64 {
        // Whoever tells of executions may have been replaced a moment ago: some that are known are asked for again.
        self.gap_ms.unwrap_or(self.compared_ms.max(self.last_fill_ms)).saturating_sub(LOOK_AGAIN_MS)
    }

    /// Positions by the last comparison and the executions since; an absent coin is flat.
    #[must_use]
    pub const fn expected(&self) -> &BTreeMap<String, Szi> {
        &self.expected
    }

    /// For the supervisor. `head` is the checksum of the last entry.
    #[must_use]
    pub fn health(&self, healthy: bool, head: Option<Checksum>) -> JournalHealth {
        let unsettled = u32::try_from(self.unsettled.len()).unwrap_or(u32::MAX);
        JournalHealth { healthy, entries: self.entries, unsettled, head }
    }

    /// Whether the entry may be written: a key or client order id is never used twice.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn admits(&self, entry: &Entry) -> Result<(), String> {
        if let Entry::Intent(intent) = entry {
            if self.knows_key(&intent.key) || self.knows_cloid(&intent.cloid) {
                return Err(format!("intent {} was written before", intent.key));
            }
            if self.unsettled.len() >= UNSETTLED_MAX {
                return Err("too many orders without an outcome".to_owned());
            }
        }
        Ok(())
    }

    /// Takes an entry in.
    pub fn apply(&mut self, entry: &Entry) {
        self.entries = self.entries.saturating_add(1);
        match entry {
            Entry::Intent(intent) => {
                self.keys.insert(intent.key.clone());
                self.cloids.insert(intent.cloid.clone());
                self.unsettled.insert(intent.cloid.clone(), intent.clone());
            }
            Entry::Outcome { cloid, outcome } => {
                if outcome.is_final() {
                    self.unsettled.remove(cloid);
                }
            }
            Entry::Settled { cloid, .. } => {
                self.unsettled.remove(cloid);
            }
            Entry::Fill(fill) => self.fill(fill),
            Entry::Reconciled { held, venue_ms, .. } => {
                self.expected = held.iter().filter(|h| !h.size.is_zero()).map(|h| (h.coin.clone(), h.size)).collect();
                self.compared_ms = *venue_ms;
                self.gap_ms = None;
            }
            // What was executed since the newest known one may have gone by unheard or unwritten.
            Entry::Started { .. } | Entry::Reopened { .. } => {
                let since = if self.last_fill_ms > 0 { self.last_fill_ms } else { self.compared_ms };
                self.gap_ms = Some(self.gap_ms.map_or(since, |gap| gap.min(since)));
            }
            Entry::Continued(carried) => {
                let entries = self.entries;
                *self = Self { entries, ..Self::carried(carried) };
            }
            Entry::Rejected(_) | Entry::Repaired { .. } => {}
        }
    }

    fn fill(&mut self, fill: &FillRecord) {
        if self.knows_fill(&fill.coin, fill.venue_ms, fill.tid) {
            return;
        }
        self.fills.insert((fill.coin.clone(), fill.venue_ms, fill.tid));
        self.last_fill_ms = self.last_fill_ms.max(fill.venue_ms);
        if fill.venue_ms <= self.compared_ms {
            return;
        }
        let before = self.expected.get(&fill.coin).copied().unwrap_or(Szi::FLAT);
        // A sum that cannot be held is not guessed; the next comparison sets it right.
        if let Some(after) = before.checked_add(fill.size.signed(fill.is_buy)) {
            if after.is_zero() {
                self.expected.remove(&fill.coin);
            } else if self.expected.len() < COINS_MAX || self.expected.contains_key(&fill.coin) {
                self.expected.insert(fill.coin.clone(), after);
            }
        }
    }
}
