//! The open-permission latch, and what opens it: books compared with the venue after every cause is gone.

use super::{Machine, Slot};
use crate::event::Action;
use crate::ids::Role;
use crate::limits::{ACCOUNT_MAX_AGE, MARKET_MAX_AGE};
use crate::message::ToWorker;
use crate::registry::LatchReason;
use crate::report::MarketState;
use crate::time::Tick;
use alloc::vec::Vec;

impl Machine {
    pub(super) fn market_fresh(&self, now: Tick) -> bool {
        self.market.as_ref().is_some_and(|(at, health)| {
            now.since(*at) <= MARKET_MAX_AGE
                && health.state == MarketState::Fresh
                && health.last_good.is_some_and(|good| good <= now && now.since(good) <= MARKET_MAX_AGE)
        })
    }

    pub(super) fn account_fresh(&self, now: Tick) -> bool {
        self.account_known && self.account.as_ref().is_some_and(|account| now.since(account.read_at) <= ACCOUNT_MAX_AGE)
    }

    /// Whether venue, sensor and engine serve, what they show of market and account is fresh, and no unexplained movement
    /// is younger than a probation. Books that were compared before that say nothing about what happens until then.
    pub(super) fn causes_gone(&self, now: Tick) -> bool {
        let needed = |slot: &&Slot| matches!(slot.role, Role::Venue | Role::Sensor | Role::Engine);
        let serve = self.slots.iter().filter(needed).all(|slot| slot.state.is_serving());
        let calm = self.incident_until.is_none_or(|until| now >= until);
        serve && calm && self.market_fresh(now) && self.account_fresh(now)
    }

    /// Closes the latch for one more reason and asks for a new reconciliation; answers to older requests are void.
    pub(super) fn trip(&mut self, reason: LatchReason, out: &mut Vec<Action>) {
        if !self.latch.contains(&reason) {
            self.latch.push(reason);
            self.latch.sort_unstable();
        }
        self.ask_to_reconcile(out);
    }

    pub(super) fn ask_to_reconcile(&mut self, out: &mut Vec<Action>) {
        self.premature = false;
        self.asked = self.asked.saturating_add(1);
        if self.slot(Role::Engine).is_some_and(|slot| slot.state.is_serving()) {
            out.push(Action::Tell { role: Role::Engine, what: ToWorker::Reconcile { asked: self.asked } });
        }
    }

    /// What the operator has seen need not be shown any longer.
    pub(super) fn forget_incident(&mut self) {
        self.incident = None;
    }
}
