//! What comes in: the market, the account and executions, as the sensor sees them.

use super::{SKEW_JUMP_MS, Seen, Shell};
use crate::loss::Change;
use crate::mind::{Surroundings, Wish};
use holdfast_core::registry::LatchReason;
use holdfast_core::report::{AccountView, LatchTrip};
use holdfast_core::time::Tick;
use holdfast_ipc::clock;
use holdfast_ipc::feed::{CycleAction, FillView, FromSensor, MarketView};
use holdfast_ipc::message::FromWorker;
use holdfast_store::journal::{Entry, FillRecord};
use std::rc::Rc;

impl Shell {
    pub(crate) fn on_feed(&mut self, message: FromSensor) {
        match message {
            FromSensor::Market(view) => self.on_market(view),
            FromSensor::Account(view) => self.on_account(*view),
            FromSensor::AccountUnknown { detail } => tracing::debug!(detail, "the account cannot be read"),
            FromSensor::Fill(fill) => self.on_fill(&fill),
        }
    }

    fn on_market(&mut self, view: MarketView) {
        let jumped = self.skew_ms.is_some_and(|was| was.abs_diff(view.skew_ms) > SKEW_JUMP_MS);
        if self.skew_ms.is_none() || jumped {
            self.skew_ms = Some(view.skew_ms);
        }
        if jumped {
            // An expiry computed with the old mapping could be late: no opening until the venue was asked again.
            tracing::warn!(skew_ms = view.skew_ms, "the venue's clock jumped");
            self.desk.venue_clock.set(None);
            self.clock_at = Tick(0);
        }
        self.mind_the_gap();
        let desk = Rc::clone(&self.desk);
        let seen = Seen { received: view.received, heard: clock::now() };
        let wish = {
            let memory = desk.scribe.memory();
            let around = Surroundings {
                now: seen.heard,
                permit: desk.permit_live(),
                journal_healthy: desk.scribe.healthy(),
                memory: &memory,
                idle: self.lanes.idle() && self.opening.is_none() && !self.draining && self.halted.is_none(),
            };
            self.mind.on_market(view, &around)
        };
        match wish {
            Some(Wish::Open(intent, draft)) => self.opening = Some((intent, draft, seen)),
            Some(Wish::Tell(draft, None)) => self.tell(draft, CycleAction::Hold {}, None),
            Some(Wish::Tell(draft, Some(reason))) => self.tell(draft, CycleAction::Rejected { reason }, None),
            None => {}
        }
    }

    /// A journal that was closed for a while lacks what happened meanwhile: books are compared before anything is opened.
    pub(super) fn mind_the_gap(&mut self) {
        let reopened = self.desk.scribe.reopened();
        if reopened != self.reopened {
            self.reopened = reopened;
            self.mind.void_reconciled();
            if self.owed.is_none() {
                self.owed = Some(None);
            }
        }
    }

    pub(super) fn on_account(&mut self, view: AccountView) {
        let (drifts, change) = self.mind.on_account(view);
        if change == Change::Breached {
            self.limit_told = false;
        }
        if !drifts.is_empty() {
            let shown: Vec<String> =
                drifts.iter().map(|d| format!("{}: expected {}, venue {}", d.coin, d.expected, d.found)).collect();
            let detail = format!("a position moved without an order of the engine ({})", shown.join("; "));
            tracing::warn!(detail, "incident");
            self.mind.void_reconciled();
            let reason = LatchReason::InventoryMismatchReconcileRequired;
            if !self.link.report(FromWorker::Trip(LatchTrip { reason, detail })) {
                // Reported, the supervisor asks for a comparison; unheard, we owe it to ourselves.
                self.owed = self.owed.or(Some(None));
            }
        }
    }

    fn on_fill(&mut self, fill: &FillView) {
        let known = self.desk.scribe.memory().knows_fill(&fill.coin, fill.venue_ms, fill.tid);
        if !known {
            self.desk.scribe.note(Entry::Fill(FillRecord {
                coin: fill.coin.clone(),
                venue_ms: fill.venue_ms,
                tid: fill.tid,
                oid: fill.oid,
                cloid: fill.cloid.clone(),
                is_buy: fill.is_buy,
                px: fill.px,
                size: fill.size,
                closed_pnl_usd: fill.closed_pnl_usd,
                fee_usd: fill.fee_usd,
            }));
        }
    }
}
