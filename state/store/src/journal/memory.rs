//! What must be remembered of the journal: bounded, and the same whether entries were just written or read back.

use super::entry::{Entry, FillRecord, Intent};
use holdfast_core::checksum::Checksum;
use holdfast_core::money::Szi;
use holdfast_core::report::JournalHealth;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Idempotency keys and fill identities kept: far more than the orders of the longest bar of a day.
pub const KEYS_KEPT: usize = 4096;
/// Orders whose outcome may be unknown at once; at this many, nothing more is accepted.
pub const UNSETTLED_MAX: usize = 256;
/// Coins with an expected position.
const COINS_MAX: usize = 1024;

/// Remembers the newest of something.
#[derive(Clone, Debug, Default)]
struct Window<K> {
    order: VecDeque<K>,
    set: BTreeSet<K>,
}

impl<K: Ord + Clone> Window<K> {
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
#[derive(Clone, Debug, Default)]
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
}

impl Memory {
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

    /// Venue time of the newest execution written down; 0 if none.
    #[must_use]
    pub const fn last_fill_ms(&self) -> u64 {
        self.last_fill_ms
    }

    /// Venue time of the last comparison with the venue; 0 if none.
    #[must_use]
    pub const fn compared_ms(&self) -> u64 {
        self.compared_ms
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
            }
            Entry::Started { .. } | Entry::Repaired { .. } | Entry::Reopened { .. } => {}
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
