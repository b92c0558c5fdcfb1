//! What goes out: health, limits, and the story of each bar.

use super::{HEALTH_EVERY, Shell};
use crate::loss::Guard;
use crate::mind::Draft;
use holdfast_core::registry::RejectReason;
use holdfast_core::time::Tick;
use holdfast_ipc::feed::{CycleAction, FromEngine};
use holdfast_ipc::message::FromWorker;

impl Shell {
    /// Reports what is due. Called at every turn of the loop.
    pub(crate) fn report(&mut self, now: Tick) {
        self.mind_the_gap();
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

    pub(super) fn tell(&self, draft: Draft, action: CycleAction) {
        let Draft { bar, close, signal_bps, detail } = draft;
        let coin = self.desk.coin.clone();
        let rejected = match &action {
            CycleAction::Rejected { reason } => Some(*reason),
            CycleAction::Hold {} | CycleAction::Open { .. } | CycleAction::Close { .. } => None,
        };
        if let Some(reason) = rejected.filter(|r| *r != RejectReason::PermitMissingOrExpired) {
            tracing::info!(%reason, detail, "opening refused");
        }
        if let Some(publisher) = &self.publisher {
            publisher.publish(&FromEngine::Cycle { coin, bar, close, signal_bps, action, detail }, Some("cycle"));
        }
    }
}
