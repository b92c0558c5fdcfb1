//! Which executions are new. The venue says some of them twice, and all of them again after every reconnect.

use holdfast_core::money::Usd;
use holdfast_ipc::feed::FillView;
use holdfast_venue_reduce::read::Fill;
use holdfast_venue_reduce::socket::UserFills;
use std::collections::{BTreeSet, VecDeque};

/// Fills remembered.
const KNOWN_MAX: usize = 4096;
/// Most fills taken from one history: more would fill the queues of those who follow. The account reading is the truth.
const HISTORY_MAX: usize = 32;

type Key = (u64, u64, String);

/// Memory of fills.
#[derive(Debug, Default)]
pub(crate) struct Fills {
    known: BTreeSet<Key>,
    order: VecDeque<Key>,
    seeded: bool,
}

fn view(fill: &Fill, tid: u64) -> FillView {
    // A fee in another token is not a number of USD.
    let in_usd = fill.fee_token.as_deref().is_none_or(|token| token == "USDC");
    FillView {
        coin: fill.coin.clone(),
        venue_ms: fill.time,
        is_buy: fill.side.is_buy(),
        px: fill.px,
        size: fill.sz,
        closed_pnl_usd: fill.closed_pnl,
        fee_usd: if in_usd { fill.fee } else { Usd::ZERO },
        oid: fill.oid.0,
        tid,
        cloid: fill.cloid.map(|cloid| cloid.to_string()),
    }
}

impl Fills {
    fn remember(&mut self, fill: &Fill, tid: u64) -> bool {
        let key = (tid, fill.time, fill.coin.clone());
        if !self.known.insert(key.clone()) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > KNOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// The fills of a message that were not known, oldest first. The very first history is only remembered: it tells
    /// of a time before this worker.
    pub(crate) fn take(&mut self, batch: &UserFills) -> Vec<FillView> {
        let mut sorted: Vec<&Fill> = batch.fills.iter().collect();
        sorted.sort_by_key(|fill| (fill.time, fill.tid));
        // Old recordings lack the id; what cannot be told apart cannot be announced once.
        let mut fresh = Vec::new();
        for fill in sorted {
            if let Some(tid) = fill.tid
                && self.remember(fill, tid)
            {
                fresh.push(view(fill, tid));
            }
        }
        if batch.is_snapshot {
            if !self.seeded {
                fresh.clear();
            }
            self.seeded = true;
            let surplus = fresh.len().saturating_sub(HISTORY_MAX);
            fresh.drain(..surplus);
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_venue_reduce::socket::{WireMessage, parse_message};

    fn batch(snapshot: bool, tids: &[u64]) -> UserFills {
        let fills: Vec<String> = tids
            .iter()
            .map(|tid| {
                format!(
                    r#"{{"coin":"BTC","px":"1","sz":"1","side":"B","time":{tid},"startPosition":"0","dir":"x","closedPnl":"0","hash":"0x","oid":1,"crossed":true,"fee":"0.1","feeToken":"USDC","tid":{tid}}}"#
                )
            })
            .collect();
        let text = format!(
            r#"{{"channel":"userFills","data":{{"isSnapshot":{snapshot},"user":"0x1719884eb866cb12b2287399b15f7db5e7d775ea","fills":[{}]}}}}"#,
            fills.join(",")
        );
        let message = parse_message(text.as_bytes()).unwrap();
        let WireMessage::UserFills(batch) = message else { panic!("{message:?}") };
        batch
    }

    fn tids(fresh: &[FillView]) -> Vec<u64> {
        fresh.iter().map(|fill| fill.tid).collect()
    }

    #[test]
    fn each_fill_is_announced_once() {
        let mut fills = Fills::default();
        assert_eq!(tids(&fills.take(&batch(true, &[3, 2, 1]))), [0; 0], "before our time");
        assert_eq!(tids(&fills.take(&batch(false, &[5, 4, 4]))), [4, 5], "oldest first");
        assert_eq!(tids(&fills.take(&batch(false, &[5]))), [0; 0]);
        assert_eq!(tids(&fills.take(&batch(true, &[7, 6, 5, 4, 3]))), [6, 7], "missed while away");
        let many: Vec<u64> = (100..200).collect();
        assert_eq!(tids(&fills.take(&batch(true, &many))), (168..200).collect::<Vec<_>>(), "bounded");
    }

    #[test]
    fn memory_is_bounded() {
        let mut fills = Fills::default();
        for start in 0..10 {
            let tids: Vec<u64> = (start * 1000..(start + 1) * 1000).collect();
            fills.take(&batch(false, &tids));
        }
        assert_eq!((fills.known.len(), fills.order.len()), (KNOWN_MAX, KNOWN_MAX));
    }
}
