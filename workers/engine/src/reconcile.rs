//! Comparing our books with the venue, whose word counts.
//!
//! * An order without an outcome is settled by asking for it by its client order id. "Unknown" is an answer only after
//!   the order's expiry has passed by the venue's clock, with a margin.
//! * Opening orders of ours that still rest are cancelled. Everything else that differs is adopted and written down.
//! * Only a reading of every dex, with nothing unsettled and the comparison on the disk, is clean.

use crate::book::differences;
use crate::desk::Desk;
use holdfast_core::money::Szi;
use holdfast_core::report::AccountView;
use holdfast_core::time::Span;
use holdfast_ipc::clock;
use holdfast_store::journal::{Entry, FillRecord, HeldRecord, Intent, IntentKind};
use holdfast_venue_reduce::action::{CancelCloid, CancelOid};
use holdfast_venue_reduce::client::Venue;
use holdfast_venue_reduce::read::{AccountSnapshot, DexScope, Fill, OrderRef, OrderStatus};
use holdfast_venue_reduce::reduce::Timing;
use holdfast_venue_reduce::status::OrderState;
use holdfast_venue_reduce::wire::Cloid;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long after its expiry an order that the venue does not know is taken as never arrived, in milliseconds.
const NEVER_ARRIVED_MS: u64 = 2000;
/// Orders asked for in one round.
const ASK_MAX: usize = 8;
/// Executions written down in one attempt.
const FILLS_MAX: usize = 500;
/// Positions in one entry: a line is bounded.
const HELD_MAX: usize = 64;
/// Longest time for one attempt.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(8);
/// Longest time for one round of asking.
const SETTLE_DEADLINE: Duration = Duration::from_secs(4);
/// The list of markets is read again when older than this.
const UNIVERSE_MAX_AGE: Span = Span::from_ms(60_000);

/// What one attempt found.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Books agree, nothing is unsettled, and it is written down.
    pub clean: bool,
    /// What stands in the way, or what was found; for people.
    pub detail: String,
    /// The account as read, if it was.
    pub account: Option<AccountView>,
    /// Orders were settled: what they did is in readings from now on.
    pub settled: usize,
    /// [`Desk::sends`] before the first question: when it has moved since, the answer is void.
    pub sends: u64,
}

/// What an order's status says about an order whose outcome was not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The question is closed.
    Settled(String),
    /// Ask again later.
    Wait(String),
    /// It rests and must not: cancel it, then ask again.
    Cancel,
}

/// Judges one status. `venue_now_ms` must not run ahead of the venue.
#[must_use]
pub fn judge(status: &OrderStatus, intent: &Intent, venue_now_ms: u64) -> Verdict {
    match status {
        OrderStatus::UnknownOid {} => {
            let gone_at = intent.expires_after_ms.saturating_add(NEVER_ARRIVED_MS);
            if venue_now_ms > gone_at {
                Verdict::Settled("never arrived: unknown to the venue after its expiry".to_owned())
            } else {
                let left = gone_at.saturating_sub(venue_now_ms);
                Verdict::Wait(format!("the venue does not know it yet; its expiry counts in {left} ms"))
            }
        }
        OrderStatus::Order { order } => match (order.status.state, intent.kind) {
            (OrderState::Filled | OrderState::Cancelled | OrderState::Rejected, _) => {
                Verdict::Settled(format!("the venue says {}", order.status.text))
            }
            (OrderState::Live, IntentKind::Open) => Verdict::Cancel,
            (OrderState::Live, IntentKind::Close) => Verdict::Wait("a close is still working".to_owned()),
            (OrderState::Unknown, _) => {
                Verdict::Wait(format!("the venue's word {:?} is not known to this program", order.status.text))
            }
        },
    }
}

impl Desk {
    /// One round of asking for orders without an outcome. Returns how many were settled, and what stands in the way.
    pub async fn settle(&self) -> (usize, Vec<String>) {
        let waiting: Vec<Intent> = self.scribe.memory().unsettled().take(ASK_MAX).cloned().collect();
        let mut settled = 0;
        let mut left = Vec::new();
        let round = async {
            for intent in &waiting {
                match self.ask(intent).await {
                    Verdict::Settled(how) => {
                        let entry = Entry::Settled { cloid: intent.cloid.clone(), how: how.clone() };
                        match self.scribe.append(entry).await {
                            Ok(()) => {
                                settled += 1;
                                tracing::info!(cloid = intent.cloid, how, "settled by asking");
                            }
                            Err(error) => left.push(error.to_string()),
                        }
                    }
                    Verdict::Wait(why) => left.push(format!("order {}: {why}", intent.cloid)),
                    Verdict::Cancel => {
                        left.push(format!("order {} still rests: {}", intent.cloid, self.cancel_cloid(intent).await));
                    }
                }
            }
        };
        if tokio::time::timeout(SETTLE_DEADLINE, round).await.is_err() {
            left.push("the venue does not answer in time".to_owned());
        }
        (settled, left)
    }

    async fn ask(&self, intent: &Intent) -> Verdict {
        let Ok(cloid) = intent.cloid.parse::<Cloid>() else {
            return Verdict::Wait("its client order id cannot be read".to_owned());
        };
        // Without the venue's clock nothing can be said to have expired.
        let Some(venue_clock) = self.venue_clock.get() else {
            return Verdict::Wait("the venue's clock is not known".to_owned());
        };
        // Taken before the question: an answer about the past must not be judged by a later clock.
        let asked_ms = venue_clock.venue_ms(clock::now());
        match self.watch.order_status(OrderRef::Cloid(cloid)).await {
            Ok(status) => judge(&status, intent, asked_ms),
            Err(error) => Verdict::Wait(error.to_string()),
        }
    }

    async fn cancel_cloid(&self, intent: &Intent) -> String {
        let asset = self.asset.borrow().as_ref().filter(|a| a.coin == intent.coin).map(|a| a.index);
        let (Some(asset), Ok(cloid)) = (asset, intent.cloid.parse::<Cloid>()) else {
            return "its market is not known".to_owned();
        };
        let sent = self.reduce.cancel_by_cloid(&[CancelCloid { asset, cloid }], self.timing()).await;
        format!("cancelled, {:?}", sent.single())
    }

    fn timing(&self) -> Timing {
        let now_ms = self.venue_now_ms();
        Timing { now_ms, expires_after_ms: now_ms.saturating_add(5000) }
    }

    /// One bounded attempt to compare everything.
    pub async fn reconcile(&self) -> Compared {
        let sends = self.sends();
        let dirty = |detail: String| Compared { clean: false, detail, account: None, settled: 0, sends };
        match tokio::time::timeout(ATTEMPT_DEADLINE, self.compare(sends)).await {
            Ok(Ok(compared)) => compared,
            Ok(Err(why)) => dirty(why),
            Err(_) => dirty("the venue does not answer in time".to_owned()),
        }
    }

    async fn compare(&self, sends: u64) -> Result<Compared, String> {
        let text = |e: holdfast_venue_reduce::client::ReadError| e.to_string();
        self.sample_clock().await.map_err(text)?;
        // First what closing needs; it does not need a journal.
        self.learn_asset(&self.watch).await?;
        if !self.scribe.healthy() {
            return Err("the decision journal cannot be written".to_owned());
        }
        let (settled, left) = self.settle().await;
        if !left.is_empty() {
            return Ok(Compared { clean: false, detail: left.join("; "), account: None, settled, sends });
        }
        let more = self.scribe.memory().unsettled().count();
        if more > 0 {
            // A round asks for a bounded number.
            let detail = format!("{more} more orders without an outcome");
            return Ok(Compared { clean: false, detail, account: None, settled, sends });
        }
        let venue = &self.watch;
        let quota = venue.rate_limit().await.map_err(text)?;
        let foreign = self.look_back().await?;
        let snapshot = venue.account_snapshot(&DexScope::Every).await.map_err(text)?;
        let view = snapshot.view(Some(quota.left())).map_err(|why| why.to_string())?;
        if let Some(cancelled) = self.cancel_leftovers(&snapshot).await {
            return Ok(Compared { clean: false, detail: cancelled, account: Some(view), settled, sends });
        }
        if sends != self.sends() {
            // Not worth a line in the journal: what was read may be from before the close or from after it.
            return Err("a close was sent meanwhile; comparing again".to_owned());
        }
        let found: BTreeMap<String, Szi> =
            view.positions.iter().filter(|p| !p.size.is_zero()).map(|p| (p.coin.clone(), p.size)).collect();
        let mut changes: Vec<String> = differences(self.scribe.memory().expected(), &found)
            .into_iter()
            .take(HELD_MAX)
            .map(|d| format!("{}: journal {}, venue {}", d.coin, d.expected, d.found))
            .collect();
        if foreign > 0 {
            changes.push(format!("{foreign} executions of orders that are not ours"));
        }
        let changes = changes.join("; ");
        if !changes.is_empty() {
            tracing::warn!(changes, "books differed from the venue; the venue's word is adopted");
        }
        let held = found.into_iter().take(HELD_MAX).map(|(coin, size)| HeldRecord { coin, size }).collect();
        let entry = Entry::Reconciled { held, venue_ms: snapshot.venue_time_ms, changes: changes.clone() };
        self.scribe.append(entry).await.map_err(|e| e.to_string())?;
        let detail = if changes.is_empty() { "books agree".to_owned() } else { format!("adopted: {changes}") };
        Ok(Compared { clean: true, detail, account: Some(view), settled, sends })
    }

    pub(crate) async fn learn_asset(&self, venue: &Venue) -> Result<(), String> {
        let now = clock::now();
        if self.asset.borrow().is_some() && self.universe_read.get().is_some_and(|at| now.since(at) < UNIVERSE_MAX_AGE)
        {
            return Ok(());
        }
        let universe = venue.universe().await.map_err(|e| e.to_string())?;
        let asset = universe.asset(&self.coin).cloned();
        let missing = asset.is_none();
        *self.asset.borrow_mut() = asset;
        self.universe_read.set(Some(now));
        if missing { Err(format!("the venue does not list {}", self.coin)) } else { Ok(()) }
    }

    /// Writes down executions that may have gone by unheard. Returns how many are not ours.
    async fn look_back(&self) -> Result<usize, String> {
        let since = self.scribe.memory().unseen_from_ms();
        if since == 0 {
            return Ok(0);
        }
        let fills = self.watch.fills_since(since, None).await.map_err(|e| e.to_string())?;
        let (mut written, mut foreign) = (0, 0);
        for fill in &fills {
            let record = fill_record(fill);
            let (known, ours) = {
                let memory = self.scribe.memory();
                let ours = record.cloid.as_ref().is_some_and(|cloid| memory.knows_cloid(cloid));
                (memory.knows_fill(&record.coin, record.venue_ms, record.tid), ours)
            };
            if known {
                continue;
            }
            if written == FILLS_MAX {
                return Err(format!("more than {FILLS_MAX} executions to write down; comparing again"));
            }
            written += 1;
            foreign += usize::from(!ours);
            self.scribe.append(Entry::Fill(record)).await.map_err(|e| e.to_string())?;
        }
        Ok(foreign)
    }

    /// Cancels opening orders of ours that still rest.
    async fn cancel_leftovers(&self, snapshot: &AccountSnapshot) -> Option<String> {
        let leftovers: Vec<CancelOid> = {
            let (memory, asset) = (self.scribe.memory(), self.asset.borrow());
            let index = asset.as_ref().map(|a| (a.coin.clone(), a.index));
            let orders = snapshot.open_orders();
            let ours = orders.iter().map(|(_, order)| order).filter(|order| {
                !order.reduce_only && order.cloid.is_some_and(|cloid| memory.knows_cloid(&cloid.to_string()))
            });
            ours.filter_map(|order| {
                let (coin, asset) = index.as_ref()?;
                (order.coin == *coin).then_some(CancelOid { asset: *asset, oid: order.oid })
            })
            .collect()
        };
        if leftovers.is_empty() {
            return None;
        }
        let sent = self.reduce.cancel(&leftovers, self.timing()).await;
        let done = sent.outcomes.iter().filter(|o| o.is_accepted()).count();
        Some(format!("cancelled {done} of {} opening orders that still rested", leftovers.len()))
    }
}

fn fill_record(fill: &Fill) -> FillRecord {
    FillRecord {
        coin: fill.coin.clone(),
        venue_ms: fill.time,
        tid: fill.tid.unwrap_or(0),
        oid: fill.oid.0,
        cloid: fill.cloid.map(|cloid| cloid.to_string()),
        is_buy: fill.side.is_buy(),
        px: fill.px,
        size: fill.sz,
        closed_pnl_usd: fill.closed_pnl,
        fee_usd: fill.fee,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::ids::Epoch;

    fn intent(kind: IntentKind) -> Intent {
        Intent {
            key: "k".to_owned(),
            cloid: format!("0x{:032x}", 7),
            coin: "BTC".to_owned(),
            is_buy: true,
            size: "1".parse().unwrap(),
            px: "1".parse().unwrap(),
            kind,
            expires_after_ms: 10_000,
            epoch: Epoch(1),
            position_before: Szi::FLAT,
        }
    }

    fn status(word: &str) -> OrderStatus {
        let order = r#"{"coin":"BTC","side":"B","limitPx":"1","sz":"0","origSz":"1","oid":5,"timestamp":1}"#;
        let text = format!(r#"{{"status":"order","order":{{"order":{order},"status":"{word}","statusTimestamp":1}}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_an_answer_settles() {
        let settled = |v: &Verdict| matches!(v, Verdict::Settled(_));
        for word in ["filled", "canceled", "scheduledCancel", "iocCancelRejected", "perpMarginRejected"] {
            assert!(settled(&judge(&status(word), &intent(IntentKind::Open), 0)), "{word}");
        }
        assert_eq!(judge(&status("open"), &intent(IntentKind::Open), 99_999), Verdict::Cancel);
        assert!(matches!(judge(&status("open"), &intent(IntentKind::Close), 99_999), Verdict::Wait(_)));
        assert!(matches!(judge(&status("somethingNew"), &intent(IntentKind::Open), 99_999), Verdict::Wait(_)));
    }

    #[test]
    fn an_unknown_order_never_arrived_only_after_its_expiry_and_a_margin() {
        for (now, done) in [(0, false), (10_001, false), (12_000, false), (12_001, true)] {
            let verdict = judge(&OrderStatus::UnknownOid {}, &intent(IntentKind::Open), now);
            assert_eq!(matches!(verdict, Verdict::Settled(_)), done, "{now}");
        }
    }
}
