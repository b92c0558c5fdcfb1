//! What the supervisor is told beside the job: readiness, the account as just read, the venue's own switch.

use super::{Deadman, WARM_EVERY};
use holdfast_core::limits::VENUE_DEADMAN_AHEAD;
use holdfast_core::time::Tick;
use holdfast_ipc::clock;
use holdfast_ipc::message::FromWorker;
use std::rc::Rc;

impl Deadman {
    pub(super) fn report_account(&self) {
        if let Some(view) = self.desk.account().as_ref().and_then(|account| account.view(None).ok()) {
            let _ = self.ctx.report(FromWorker::Account(Box::new(view)));
        }
    }

    pub(super) fn say_ready(&mut self) {
        if !self.ready {
            self.ready = true;
            self.report_switch(clock::now(), true);
            let _ = self.ctx.report(FromWorker::Ready { endpoint: None });
        }
    }

    pub(super) fn keep_armed(&mut self, now: Tick) {
        // A job that sees nothing can cancel nothing: then the venue's own switch is the one thing that still cancels, and
        // a renewal would put it off.
        let busy =
            self.ladder.as_ref().is_some_and(|ladder| ladder.quota_spent() || ladder.blind()) || self.blind.acted();
        if !self.draining && !busy && self.arming.is_none() && self.switch.due(now) {
            self.switch.sent(now);
            let desk = Rc::clone(&self.desk);
            self.arming = Some(Box::pin(async move {
                let (fires, outcome) = desk.arm(Some(VENUE_DEADMAN_AHEAD)).await;
                (now, fires, outcome)
            }));
        }
        self.report_switch(now, false);
    }

    /// Not while anything is out: a ladder at work keeps its connections warm itself.
    pub(super) fn keep_warm(&mut self, now: Tick) {
        let idle = self.ready && !self.draining && self.errand.is_none() && self.warming.is_none();
        if idle && now >= self.warm_due {
            self.warm_due = now.after(WARM_EVERY);
            let desk = Rc::clone(&self.desk);
            self.warming = Some(Box::pin(async move { desk.keep_warm().await }));
        }
    }

    pub(super) fn report_switch(&mut self, now: Tick, anyway: bool) {
        let report = self.switch.report(now);
        if anyway || self.reported.as_ref() != Some(&report) {
            let _ = self.ctx.report(FromWorker::DeadMan(report.clone()));
            self.reported = Some(report);
        }
    }
}
