//! What the supervisor is told to record: each decision whole, once its executions are known, and each of them once.
//!
//! Pure: the clock is passed in, and what is to be told is taken out. Everything here is bounded; what does not fit is
//! counted, and the decision journal has it all the same.

use crate::desk::words;
use holdfast_core::money::{Px, Sz, Usd};
use holdfast_core::record;
use holdfast_core::registry::RejectReason;
use holdfast_core::time::{Span, Tick};
use holdfast_core::trade::{Cycle, CycleHealth, Ending, Fill, LiveIntent, LiveOutcome, Trade};
use holdfast_ipc::settings::Settings;
use holdfast_store::journal::{Entry, FillRecord, Intent, IntentKind, Recorded};
use std::collections::VecDeque;

/// How long a decision waits for the executions that its answer spoke of, and an execution for its decision.
const FILLS_WITHIN: Span = Span::from_ms(1000);
/// The same refusal again within this time is only counted.
const REPEAT_WITHIN: Span = Span::from_ms(60_000);
/// How often cycles that only held are summed up.
const HEALTH_EVERY: Span = Span::from_ms(60_000);
/// Things that may wait to be told.
const WAITING_MAX: usize = 256;

/// What became of a decision.
pub(crate) enum Decided {
    /// An order left.
    Sent {
        /// Which.
        cloid: String,
        /// Its size.
        size: Sz,
        /// Its limit.
        px: Px,
        /// Executed, by its answer.
        executed: Sz,
    },
    /// None did.
    Rejected(RejectReason),
}

/// One decision.
pub(crate) struct Decision {
    pub(crate) coin: String,
    pub(crate) is_buy: bool,
    pub(crate) reduce_only: bool,
    /// The price it was decided on.
    pub(crate) close: Px,
    pub(crate) signal_bps: i64,
    pub(crate) detail: String,
    pub(crate) end: Decided,
}

/// A decision whose executions are not all known.
struct Open {
    cycle: Cycle,
    /// Executed by the answer, and not seen yet.
    missing: Sz,
    until: Tick,
}

/// See the module.
pub(crate) struct Minutes {
    order_usd: Usd,
    order_limit_usd: Usd,
    exposure_limit_usd: Usd,
    health: CycleHealth,
    health_at: Tick,
    /// What changed since the health was told.
    counted: bool,
    refused: Option<(RejectReason, bool, Tick)>,
    open: VecDeque<Open>,
    early: VecDeque<(Fill, Tick)>,
    told: VecDeque<Trade>,
    lost: u64,
}

impl Minutes {
    pub(crate) fn new(settings: &Settings, recovered: u64, now: Tick) -> Self {
        Self {
            order_usd: settings.strategy.order_usd,
            order_limit_usd: settings.limits.order_usd,
            exposure_limit_usd: settings.limits.exposure_usd,
            health: CycleHealth { recovered, ..CycleHealth::default() },
            health_at: now,
            counted: false,
            refused: None,
            open: VecDeque::new(),
            early: VecDeque::new(),
            told: VecDeque::new(),
            lost: 0,
        }
    }

    /// What is held, and whether it and the market are fresh; as of now.
    pub(crate) fn see(&mut self, health: impl FnOnce(&mut CycleHealth)) {
        health(&mut self.health);
    }

    /// A cycle that only held.
    pub(crate) const fn held(&mut self) {
        self.health.held = self.health.held.saturating_add(1);
        self.counted = true;
    }

    /// A cycle in which something was decided.
    pub(crate) fn decided(&mut self, decision: Decision, now: Tick, wall_ms: u64) {
        let Decision { coin, is_buy, reduce_only, close, signal_bps, detail, end } = decision;
        self.health.decisions = self.health.decisions.saturating_add(1);
        let (cloid, rejected, size, px, missing) = match end {
            Decided::Sent { cloid, size, px, executed } => (Some(cloid), None, size, px, executed),
            Decided::Rejected(reason) => {
                self.health.rejections = self.health.rejections.saturating_add(1);
                let same = |(r, b, at): &(RejectReason, bool, Tick)| {
                    (*r, *b) == (reason, is_buy) && now.since(*at) < REPEAT_WITHIN
                };
                if self.refused.as_ref().is_some_and(same) {
                    self.health.repeated = self.health.repeated.saturating_add(1);
                    self.counted = true;
                    return;
                }
                self.refused = Some((reason, is_buy, now));
                (None, Some(reason), self.order_usd.size_at(close).unwrap_or(Sz::ZERO), close, Sz::ZERO)
            }
        };
        if rejected.is_none() {
            self.refused = None;
        }
        self.health.last_id = wall_ms.max(self.health.last_id.saturating_add(1));
        let cycle = Cycle {
            id: self.health.last_id,
            coin,
            is_buy,
            size,
            px,
            reduce_only,
            signal_bps,
            cloid,
            rejected,
            detail: record::words(&detail),
            order_limit_usd: self.order_limit_usd,
            exposure_limit_usd: self.exposure_limit_usd,
            fills: Vec::new(),
            after: CycleHealth::default(),
        };
        let mut open = Open { cycle, missing, until: now.after(FILLS_WITHIN) };
        let early = std::mem::take(&mut self.early);
        for (fill, until) in early {
            if let Some(fill) = open.take(fill) {
                self.early.push_back((fill, until));
            }
        }
        if self.open.len() >= WAITING_MAX {
            self.close_oldest();
        }
        self.open.push_back(open);
        self.settle(now);
    }

    /// Something went into the decision journal.
    pub(crate) fn on_entry(&mut self, entry: Entry, now: Tick) {
        match entry {
            Entry::Intent(intent) => self.tell(Trade::Intent(live_intent(intent))),
            Entry::Outcome { cloid, outcome } => self.tell(Trade::Outcome(live_outcome(cloid, &outcome))),
            Entry::Settled { cloid, how } => {
                let detail = record::words(&how);
                let outcome = LiveOutcome { cloid, outcome: Ending::Settled, oid: None, size: None, detail };
                self.tell(Trade::Outcome(outcome));
            }
            Entry::Fill(fill) => self.on_fill(fill, now),
            // A rejection is told with its decision; the others are the journal's own affairs.
            Entry::Rejected(_)
            | Entry::Continued(_)
            | Entry::Started { .. }
            | Entry::Reconciled { .. }
            | Entry::Repaired { .. }
            | Entry::Reopened { .. } => {}
        }
    }

    fn on_fill(&mut self, fill: FillRecord, now: Tick) {
        self.health.fills = self.health.fills.saturating_add(1);
        self.counted = true;
        let fill = Fill {
            coin: fill.coin,
            is_buy: fill.is_buy,
            size: fill.size,
            px: fill.px,
            fee_usd: Some(fill.fee_usd),
            closed_pnl_usd: Some(fill.closed_pnl_usd),
            at_ms: fill.venue_ms,
            tid: Some(fill.tid),
            cloid: fill.cloid,
        };
        let mut left = Some(fill);
        for open in &mut self.open {
            left = left.and_then(|fill| open.take(fill));
        }
        match left {
            // An order of somebody else's has no decision here.
            Some(fill) if fill.cloid.is_none() || self.early.len() >= WAITING_MAX => self.tell(Trade::Fill(fill)),
            Some(fill) => self.early.push_back((fill, now.after(FILLS_WITHIN))),
            None => self.settle(now),
        }
    }

    /// Tells what waited long enough, and now and then where the cycles stand.
    pub(crate) fn due(&mut self, now: Tick) {
        while let Some((fill, _)) = self.early.pop_front_if(|(_, until)| now >= *until) {
            self.tell(Trade::Fill(fill));
        }
        self.settle(now);
        if self.counted && now.since(self.health_at) >= HEALTH_EVERY {
            (self.health_at, self.counted) = (now, false);
            self.tell(Trade::Health(self.health.clone()));
        }
    }

    /// Everything that is still open, because the engine ends.
    pub(crate) fn finish(&mut self) {
        while !self.open.is_empty() {
            self.close_oldest();
        }
        while let Some((fill, _)) = self.early.pop_front() {
            self.tell(Trade::Fill(fill));
        }
    }

    /// Tells decisions in their order, each as soon as it is complete or has waited long enough.
    fn settle(&mut self, now: Tick) {
        while self.open.front().is_some_and(|open| open.missing.is_zero() || now >= open.until) {
            self.close_oldest();
        }
    }

    fn close_oldest(&mut self) {
        let Some(Open { mut cycle, missing, .. }) = self.open.pop_front() else { return };
        if !missing.is_zero() {
            // The answer told of it and the feed did not, or not yet: then it comes again, with its trade id.
            cycle.fills.push(Fill {
                coin: cycle.coin.clone(),
                is_buy: cycle.is_buy,
                size: missing,
                px: cycle.px,
                fee_usd: None,
                closed_pnl_usd: None,
                at_ms: cycle.id,
                tid: None,
                cloid: cycle.cloid.clone(),
            });
        }
        cycle.after = CycleHealth { last_id: cycle.id, ..self.health.clone() };
        // A position that was just opened has no entry price of the venue's yet.
        let entry = cycle.fills.first().map_or(cycle.px, |fill| fill.px);
        for held in &mut cycle.after.positions {
            if held.coin == cycle.coin {
                held.entry_px.get_or_insert(entry);
            }
        }
        self.tell(Trade::Cycle(cycle));
    }

    fn tell(&mut self, trade: Trade) {
        if self.told.len() < WAITING_MAX {
            self.told.push_back(trade);
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Hands over what is to be told, as long as it is taken.
    pub(crate) fn hand_over(&mut self, mut take: impl FnMut(Trade) -> bool) {
        while let Some(next) = self.told.front() {
            if !take(next.clone()) {
                return;
            }
            self.told.pop_front();
        }
        if self.lost > 0 {
            tracing::error!(lost = self.lost, "too much waited for the supervisor: it is in the decision journal only");
            self.lost = 0;
        }
    }
}

impl Open {
    /// Takes an execution of its order; gives any other back.
    fn take(&mut self, fill: Fill) -> Option<Fill> {
        if self.cycle.cloid.is_none() || self.cycle.cloid != fill.cloid {
            return Some(fill);
        }
        self.missing = self.missing.checked_sub(fill.size).unwrap_or(Sz::ZERO);
        self.cycle.fills.push(fill);
        None
    }
}

fn live_intent(intent: Intent) -> LiveIntent {
    LiveIntent {
        key: intent.key,
        cloid: intent.cloid,
        coin: intent.coin,
        is_buy: intent.is_buy,
        size: intent.size,
        px: intent.px,
        reduce_only: intent.kind == IntentKind::Close,
        expires_after_ms: intent.expires_after_ms,
        epoch: intent.epoch,
        position_before: intent.position_before,
    }
}

fn live_outcome(cloid: String, recorded: &Recorded) -> LiveOutcome {
    let (outcome, oid, size) = match recorded {
        Recorded::Filled { oid, size } => (Ending::Filled, Some(*oid), Some(*size)),
        Recorded::Resting { oid } => (Ending::Resting, Some(*oid), None),
        Recorded::Refused { .. } => (Ending::Refused, None, Some(Sz::ZERO)),
        Recorded::NotSent { .. } => (Ending::NotSent, None, Some(Sz::ZERO)),
        Recorded::Unknown { .. } => (Ending::Unknown, None, None),
    };
    LiveOutcome { cloid, outcome, oid, size, detail: record::words(&words(recorded)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick(ms * 1_000_000)
    }

    fn minutes() -> Minutes {
        Minutes::new(&Settings::default(), 0, at(0))
    }

    fn decision(end: Decided) -> Decision {
        let (coin, detail) = ("BTC".to_owned(), String::new());
        Decision { coin, is_buy: true, reduce_only: false, close: px(), signal_bps: 5, detail, end }
    }

    fn px() -> Px {
        "100".parse().unwrap()
    }

    fn sent(cloid: &str, executed: &str) -> Decision {
        let (cloid, executed) = (cloid.to_owned(), executed.parse().unwrap());
        decision(Decided::Sent { cloid, size: "2".parse().unwrap(), px: px(), executed })
    }

    fn fill(cloid: Option<&str>, tid: u64, size: &str) -> Entry {
        Entry::Fill(FillRecord {
            coin: "BTC".to_owned(),
            venue_ms: 1,
            tid,
            oid: 1,
            cloid: cloid.map(str::to_owned),
            is_buy: true,
            px: px(),
            size: size.parse().unwrap(),
            closed_pnl_usd: Usd::ZERO,
            fee_usd: Usd::ZERO,
        })
    }

    /// What was told: cycles as `id: size of each fill`, other things by their name.
    fn told(minutes: &mut Minutes) -> Vec<String> {
        let mut all = Vec::new();
        minutes.hand_over(|trade| {
            all.push(match trade {
                Trade::Cycle(cycle) => {
                    let fills: Vec<String> =
                        cycle.fills.iter().map(|f| format!("{}#{:?}", f.size, f.tid.unwrap_or(0))).collect();
                    format!("{}: {}", cycle.id, fills.join(" "))
                }
                Trade::Fill(fill) => format!("fill {}", fill.size),
                Trade::Health(health) => format!("held {} repeated {}", health.held, health.repeated),
                Trade::Intent(_) | Trade::Outcome(_) => "order".to_owned(),
            });
            true
        });
        all
    }

    #[test]
    fn a_decision_is_told_with_its_executions_whichever_comes_first_and_each_of_them_once() {
        let mut minutes = minutes();
        minutes.decided(sent("a", "2"), at(0), 1000);
        minutes.on_entry(fill(Some("a"), 1, "0.5"), at(1));
        assert!(told(&mut minutes).is_empty(), "more is to come");
        minutes.on_entry(fill(Some("a"), 2, "1.5"), at(2));
        assert_eq!(told(&mut minutes), ["1000: 0.5#1 1.5#2"]);
        minutes.on_entry(fill(Some("b"), 3, "2"), at(3));
        minutes.decided(sent("b", "2"), at(4), 900);
        assert_eq!(told(&mut minutes), ["1001: 2#3"], "numbers grow whatever the clock does");
        minutes.decided(sent("c", "1"), at(5), 2000);
        minutes.due(at(1004));
        assert!(told(&mut minutes).is_empty());
        minutes.due(at(1005));
        assert_eq!(told(&mut minutes), ["2000: 1#0"], "told without the feed");
        minutes.on_entry(fill(None, 4, "7"), at(2000));
        minutes.on_entry(fill(Some("z"), 5, "8"), at(2000));
        assert_eq!(told(&mut minutes), ["fill 7"]);
        minutes.due(at(3000));
        assert_eq!(told(&mut minutes), ["fill 8"], "a late one of an order told before");
    }

    #[test]
    fn holds_and_repeated_refusals_are_counted_and_summed_up_once_a_minute() {
        let mut minutes = minutes();
        for n in 0..30 {
            minutes.held();
            minutes.decided(decision(Decided::Rejected(RejectReason::PermitMissingOrExpired)), at(n), 1 + n);
            minutes.due(at(n));
        }
        assert_eq!(told(&mut minutes), ["1: "]);
        minutes.due(at(60_000));
        assert_eq!(told(&mut minutes), ["held 30 repeated 29"]);
        minutes.due(at(200_000));
        assert!(told(&mut minutes).is_empty(), "nothing happened");
        minutes.decided(decision(Decided::Rejected(RejectReason::PermitMissingOrExpired)), at(200_001), 9);
        assert_eq!(told(&mut minutes), ["9: "]);
    }

    #[test]
    fn what_nobody_takes_is_bounded() {
        let mut minutes = minutes();
        for n in 0..1000 {
            minutes.decided(sent(&n.to_string(), "1"), at(n), n);
            minutes.on_entry(fill(Some("nobody"), n, "1"), at(n));
        }
        minutes.finish();
        assert!(minutes.open.is_empty() && minutes.early.is_empty() && minutes.told.len() == WAITING_MAX);
        assert!(minutes.lost > 0);
        minutes.hand_over(|_| false);
        assert_eq!(minutes.told.len(), WAITING_MAX, "kept until it is taken");
    }
}
