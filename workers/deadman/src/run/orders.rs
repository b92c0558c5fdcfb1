//! What the supervisor says, taken in.

use super::Deadman;
use crate::watch::Sign;
use holdfast_core::registry::TradingMode;
use holdfast_core::time::Tick;
use holdfast_ipc::clock;
use holdfast_ipc::message::ToWorker;
use holdfast_kit::Order;

impl Deadman {
    pub(super) fn order(&mut self, now: Tick, order: Order) {
        match order {
            Order::SupervisorGone => {
                self.linked = false;
                tracing::error!("the supervisor's connection ended");
                self.supervisor_ended(now, Sign::LinkEnded);
            }
            Order::Beat(ToWorker::Beat { mode, .. }) | Order::Message(ToWorker::Beat { mode, .. }) => {
                self.watch.sign(now, Sign::Beat);
                self.ledger.beat(now, mode);
                if mode == TradingMode::Active
                    && let Some(ladder) = &mut self.ladder
                {
                    ladder.release();
                    if ladder.done() {
                        self.wake = None;
                    }
                }
            }
            Order::Beat(message) | Order::Message(message) => self.message(now, message),
        }
    }

    pub(super) fn message(&mut self, now: Tick, message: ToWorker) {
        match message {
            ToWorker::Reduce { job, kind } => self.reduce(now, job, kind),
            ToWorker::Known { orders } => self.known = orders,
            ToWorker::OperatorDeadline { expires_wall_ms } => {
                self.operator.set(now, clock::wall_ms(), expires_wall_ms);
            }
            ToWorker::Witness { head } => self.witness.saw(now, head),
            ToWorker::StandDown {} => self.watch.sign(now, Sign::StandDown),
            ToWorker::Drain {} => {
                self.watch.sign(now, Sign::StandDown);
                self.draining = true;
            }
            ToWorker::Welcome { .. }
            | ToWorker::Beat { .. }
            | ToWorker::Reconcile { .. }
            | ToWorker::Acknowledge {}
            | ToWorker::Status { .. } => {}
        }
    }
}
