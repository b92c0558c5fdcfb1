//! A book rebuilt from differences, after Binance's rules: buffer until a snapshot, start with the update that spans
//! it, then require an unbroken chain. A gap empties the book until the next snapshot: a book with a hole in its
//! history is not shown as if it were whole.

use std::collections::{BTreeMap, VecDeque};

use super::depth::Rung;
use super::number::{Fs, Fx};

/// Updates kept while there is no snapshot; older ones cannot matter for a snapshot that comes later than this.
const WAITING_MAX: usize = 4_096;

/// One difference: every price with its new size, zero meaning gone.
#[derive(Clone, Debug)]
pub(super) struct Update {
    /// First and last update id inside.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Last id of the update before, where the feed says so (futures).
    pub(super) previous: Option<u64>,
    pub(super) bids: Vec<Rung>,
    pub(super) asks: Vec<Rung>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    /// No snapshot yet, or a gap since.
    Waiting,
    /// A snapshot of this id, no update applied yet.
    Snapshot(u64),
    /// The last update applied.
    Live(u64),
}

/// What an input did to the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing to show.
    None,
    /// The book is whole and may have changed.
    Whole,
    /// The chain broke: there is no book.
    Lost,
}

/// One coin's book.
#[derive(Clone, Debug)]
pub(super) struct FeedBook {
    bids: BTreeMap<Fx, Fs>,
    asks: BTreeMap<Fx, Fs>,
    sync: Sync,
    waiting: VecDeque<Update>,
}

impl FeedBook {
    pub(super) const fn new() -> Self {
        Self { bids: BTreeMap::new(), asks: BTreeMap::new(), sync: Sync::Waiting, waiting: VecDeque::new() }
    }

    /// How far the updates seen so far are from a snapshot's id; for feeds whose snapshots do not name their symbol.
    pub(super) fn distance(&self, id: u64) -> u64 {
        let last = self.waiting.back().map(|u| u.last).or(match self.sync {
            Sync::Live(last) | Sync::Snapshot(last) => Some(last),
            Sync::Waiting => None,
        });
        last.map_or(u64::MAX, |last| last.abs_diff(id))
    }

    /// A whole book as of update `id`.
    pub(super) fn snapshot(&mut self, id: u64, bids: &[Rung], asks: &[Rung]) -> Change {
        self.bids = bids.iter().filter(|r| r.1 > 0).map(|r| (r.0, r.1)).collect();
        self.asks = asks.iter().filter(|r| r.1 > 0).map(|r| (r.0, r.1)).collect();
        self.sync = Sync::Snapshot(id);
        let mut change = Change::Whole;
        for update in std::mem::take(&mut self.waiting) {
            change = match self.update(update) {
                Change::None => change,
                whole_or_lost @ (Change::Whole | Change::Lost) => whole_or_lost,
            };
        }
        change
    }

    /// The next difference.
    pub(super) fn update(&mut self, update: Update) -> Change {
        let follows = match self.sync {
            Sync::Waiting => {
                if self.waiting.len() == WAITING_MAX {
                    self.waiting.pop_front();
                }
                self.waiting.push_back(update);
                return Change::None;
            }
            Sync::Snapshot(id) if update.last < id => return Change::None,
            // Futures start with the update that spans the snapshot; spot may start right after it.
            Sync::Snapshot(id) => update.first <= id.saturating_add(1),
            Sync::Live(last) if update.last <= last => return Change::None,
            Sync::Live(last) => update.previous.map_or(update.first == last.saturating_add(1), |p| p == last),
        };
        if !follows {
            self.bids.clear();
            self.asks.clear();
            self.sync = Sync::Waiting;
            self.waiting.push_back(update);
            return Change::Lost;
        }
        for (side, levels) in [(&mut self.bids, &update.bids), (&mut self.asks, &update.asks)] {
            for (px, sz, _) in levels {
                if *sz == 0 {
                    side.remove(px);
                } else {
                    side.insert(*px, *sz);
                }
            }
        }
        self.sync = Sync::Live(update.last);
        Change::Whole
    }

    /// The best `depth` levels of each side; `None` while the book is crossed (between two parts of one change).
    pub(super) fn top(&self, depth: usize) -> Option<(Vec<Rung>, Vec<Rung>)> {
        let crossed = self.bids.last_key_value().zip(self.asks.first_key_value()).is_some_and(|(b, a)| b.0 >= a.0);
        let bids = self.bids.iter().rev().take(depth).map(|(px, sz)| (*px, *sz, 1)).collect();
        let asks = self.asks.iter().take(depth).map(|(px, sz)| (*px, *sz, 1)).collect();
        (!crossed).then_some((bids, asks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(first: u64, last: u64, previous: u64, bid: (Fx, Fs)) -> Update {
        Update { first, last, previous: Some(previous), bids: vec![(bid.0, bid.1, 1)], asks: vec![] }
    }

    #[test]
    fn buffers_spans_chains_and_loses() {
        let mut book = FeedBook::new();
        assert_eq!(book.update(update(1, 5, 0, (90, 1))), Change::None);
        assert_eq!(book.update(update(6, 12, 5, (91, 2))), Change::None);
        assert_eq!(book.snapshot(10, &[(89, 7, 1)], &[(100, 1, 1)]), Change::Whole);
        assert_eq!(book.top(5), Some((vec![(91, 2, 1), (89, 7, 1)], vec![(100, 1, 1)])), "the stale update is skipped");
        assert_eq!(book.update(update(13, 14, 12, (91, 0))), Change::Whole);
        assert_eq!(book.top(1), Some((vec![(89, 7, 1)], vec![(100, 1, 1)])));
        assert_eq!(book.update(update(13, 14, 12, (91, 5))), Change::None, "a repeat is not a gap");
        assert_eq!(book.update(update(20, 21, 19, (91, 5))), Change::Lost);
        assert_eq!(book.top(1), Some((vec![], vec![])));
        assert_eq!(book.update(update(22, 23, 21, (92, 5))), Change::None, "nothing until a snapshot");
        assert_eq!(book.snapshot(21, &[(80, 1, 1)], &[(100, 1, 1)]), Change::Whole);
        assert_eq!(book.top(1), Some((vec![(92, 5, 1)], vec![(100, 1, 1)])));
    }
}
