//! What goes out: health, limits, and the story of each bar.

use super::{HEALTH_EVERY, Shell};
use crate::gate::touch;
use crate::loss::Guard;
use crate::mind::Draft;
use crate::minutes::{Decided, Decision};
use holdfast_core::money::{Px, Sz, Usd};
use holdfast_core::registry::RejectReason;
use holdfast_core::report::PositionView;
use holdfast_core::time::Tick;
use holdfast_core::trade::Held;
use holdfast_ipc::clock;
use holdfast_ipc::feed::{CycleAction, FromEngine};
use holdfast_ipc::message::FromWorker;
use holdfast_store::journal::{Entry, Rejection};

/// Positions told beside a decision.
const POSITIONS_MAX: usize = 64;

/// An order that left, as its decision tells of it.
pub(super) struct Sent {
    pub(super) cloid: String,
    pub(super) px: Px,
    /// By its answer.
    pub(super) executed: Sz,
}

impl Shell {
    /// Reports what is due. Called at every turn of the loop.
    pub(crate) fn report(&mut self, now: Tick) {
        self.mind_the_gap();
        self.take_minutes(now);
        let health = self.desk.scribe.health();
        let changed = self.health.is_none_or(|old| old.healthy != health.healthy || old.unsettled != health.unsettled);
        if (changed || now.since(self.health_at) >= HEALTH_EVERY) && self.link.report(FromWorker::Journal(health)) {
            (self.health, self.health_at) = (Some(health), now);
        }
        if !self.limit_told
            && let Some(detail) = self.limit()
        {
            self.limit_told = self.link.report(FromWorker::LimitHit { detail });
        }
        // Only what is on our own disk is told: nobody is to remember more than we do.
        let day = self.mind.guard().filter(|_| !self.mind.guard_unstored()).and_then(Guard::told);
        if let Some(day) = day
            && self.baseline_told != Some(day)
            && self.link.report(FromWorker::Baseline(day))
        {
            self.baseline_told = Some(day);
        }
        let standing = self.mind.standing(now);
        if self.teller.due(standing.as_ref(), now) && self.link.report(FromWorker::Standing(standing.clone())) {
            self.teller.said(standing, now);
        }
    }

    fn limit(&self) -> Option<String> {
        if let Some(error) = &self.guard_error {
            return Some(format!("the loss baseline cannot be known: {error}"));
        }
        if let Some(words) = &self.halted {
            return Some(format!("key or network is misconfigured, the venue says: {words}"));
        }
        let breach = self.mind.guard()?.breach()?;
        Some(format!(
            "daily loss limit reached: equity {} from a baseline of {} USD",
            breach.equity_usd, breach.baseline_usd
        ))
    }

    pub(super) fn tell(&mut self, draft: Draft, action: CycleAction, sent: Option<Sent>) {
        self.record(&draft, &action, sent);
        let Draft { bar, close, signal_bps, detail, .. } = draft;
        let coin = self.desk.coin.clone();
        let rejected = match &action {
            CycleAction::Rejected { reason } => Some(*reason),
            CycleAction::Hold {} | CycleAction::Open { .. } | CycleAction::Close { .. } => None,
        };
        if let Some(reason) = rejected.filter(|r| *r != RejectReason::PermitMissingOrExpired) {
            tracing::info!(%reason, detail, "opening refused");
        }
        if let Some(reason) = rejected {
            // One for each decision of a bar. Nothing waits for it, and a journal that takes nothing is told of elsewhere.
            let rejection = Rejection {
                epoch: self.desk.epoch,
                coin: coin.clone(),
                bar,
                px: close,
                reason,
                detail: detail.clone(),
            };
            self.desk.scribe.note(Entry::Rejected(rejection));
        }
        if let Some(publisher) = &self.publisher {
            publisher.publish(&FromEngine::Cycle { coin, bar, close, signal_bps, action, detail }, Some("cycle"));
        }
    }

    /// Has it recorded for good, with what came of it.
    fn record(&mut self, draft: &Draft, action: &CycleAction, sent: Option<Sent>) {
        let order = |size: Sz, sent: Option<Sent>| {
            sent.map(|Sent { cloid, px, executed }| Decided::Sent { cloid, size, px, executed })
        };
        let (reduce_only, end) = match action {
            CycleAction::Hold {} => (false, None),
            CycleAction::Open { size, .. } => (false, order(*size, sent)),
            CycleAction::Close { size, .. } => (true, order(*size, sent)),
            CycleAction::Rejected { reason } => (false, Some(Decided::Rejected(*reason))),
        };
        let (Some(end), Some(is_buy)) = (end, draft.is_buy) else {
            self.minutes.held();
            return;
        };
        let decision = Decision {
            coin: self.desk.coin.clone(),
            is_buy,
            reduce_only,
            close: draft.close,
            signal_bps: draft.signal_bps,
            detail: draft.detail.clone(),
            end,
        };
        self.look(clock::now());
        self.minutes.decided(decision, clock::now(), clock::wall_ms());
    }

    /// What the record says of the engine's state beside a decision.
    fn look(&mut self, now: Tick) {
        let account = self.mind.book.last();
        let read = account.map_or(&[][..], |view| &view.positions);
        let held = |p: &PositionView| {
            // In the coin that is traded here an answer tells of executions before any reading does.
            let size = self.mind.book.position(&p.coin).filter(|_| p.coin == self.desk.coin).unwrap_or(p.size);
            let same = size == p.size;
            let notional_usd = p.mark_px.filter(|_| !same).and_then(|px| size.abs().notional(px));
            let notional_usd = notional_usd.unwrap_or(p.notional_usd);
            Held { coin: p.coin.clone(), size, entry_px: p.entry_px, notional_usd }
        };
        let mut positions: Vec<Held> =
            read.iter().map(held).filter(|p| !p.size.is_zero()).take(POSITIONS_MAX).collect();
        let coin = &self.desk.coin;
        if let Some(size) = self.mind.book.position(coin).filter(|size| !size.is_zero())
            && !positions.iter().any(|held| held.coin == *coin)
        {
            let mid = touch(self.mind.market(), now).and_then(|(bid, ask)| bid.mid(ask));
            let notional_usd = mid.and_then(|px| size.abs().notional(px)).unwrap_or(Usd::ZERO);
            positions.push(Held { coin: coin.clone(), size, entry_px: None, notional_usd });
        }
        let stale = self.mind.book.fresh(now).is_none() || touch(self.mind.market(), now).is_none();
        let durable = self.desk.scribe.healthy();
        self.minutes.see(|health| (health.positions, health.stale, health.durable) = (positions, stale, durable));
    }

    /// Tells the supervisor what is to be recorded.
    fn take_minutes(&mut self, now: Tick) {
        for entry in self.desk.scribe.echo() {
            self.minutes.on_entry(entry, now);
        }
        self.look(now);
        self.minutes.due(now);
        let link = &self.link;
        self.minutes.hand_over(|trade| link.report(FromWorker::Record(Box::new(trade))));
    }

    /// The same at the end: what still waits for its executions is told without them.
    pub(crate) fn conclude(&mut self) {
        self.minutes.finish();
        self.take_minutes(clock::now());
    }
}
