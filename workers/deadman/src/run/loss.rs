//! Without a supervisor: the policy, the report for whoever looks later, and leaving.

use super::{Deadman, FAREWELL, OWN_JOB, VENUE_GONE};
use crate::ladder::{Event, Ladder, Next};
use crate::record::{self, Record};
use crate::watch::Sign;
use holdfast_core::registry::Profile;
use holdfast_core::report::JobKind;
use holdfast_core::time::Tick;
use holdfast_ipc::settings::OnSupervisorLoss;
use std::rc::Rc;
use tokio::sync::oneshot;

impl Deadman {
    /// If it was acted upon while it was only silent, that may be long ago: an end calls for a new look.
    pub(super) fn supervisor_ended(&mut self, now: Tick, sign: Sign) {
        if !self.watch.ended() && self.unproven().is_none() {
            self.loss_acted = false;
        }
        self.watch.sign(now, sign);
    }

    pub(super) fn supervisor_lost(&mut self, now: Tick) {
        if self.loss_acted {
            return;
        }
        self.loss_acted = true;
        let kind = match self.ctx.boot.settings.deadman.on_supervisor_loss {
            OnSupervisorLoss::Cancel => JobKind::CancelAll,
            OnSupervisorLoss::Flatten => JobKind::Flatten,
        };
        tracing::error!(?kind, "no supervisor and no successor within the grace time: acting");
        match self.unproven().map(Ladder::kind) {
            // A flatten that is under way is all that is asked for, and more than a cancel.
            Some(JobKind::Flatten) => {}
            Some(JobKind::CancelAll) | None => self.begin(now, OWN_JOB, kind, None),
        }
    }

    pub(super) fn venue_went_with_the_tree(&self, now: Tick) -> bool {
        self.ctx.boot.settings.profile == Profile::Paper
            && self.desk.unreachable_since().is_some_and(|since| now.since(since) >= VENUE_GONE)
            && record::paper_venue_is_gone(&self.ctx.home)
    }

    /// The report, waited for a moment: nobody will write it after us.
    pub(super) async fn last_words(&self, note: &str) {
        tracing::warn!(note, "leaving");
        let _ = tokio::time::timeout(FAREWELL, self.write_record(note)).await;
    }

    pub(super) fn write_record(&self, note: &str) -> oneshot::Receiver<()> {
        let boot = &self.ctx.boot;
        let policy = match boot.settings.deadman.on_supervisor_loss {
            OnSupervisorLoss::Cancel => "cancel",
            OnSupervisorLoss::Flatten => "flatten",
        };
        let record = Record {
            schema: "holdfast.deadman-report.v1",
            at: record::now(),
            supervisor_pid: boot.supervisor_pid,
            epoch: boot.epoch.0,
            policy: policy.to_owned(),
            progress: self.said.as_ref().map(|(progress, _)| progress.clone()),
            note: note.to_owned(),
        };
        record::write(&self.ctx.home, record)
    }

    /// A clean stop: clears the venue's switch only when a fresh read shows the account flat; otherwise it stays armed.
    pub(super) async fn farewell(&mut self) {
        // Whatever is out must not arm it again after it was cleared.
        self.arming = None;
        let desk = Rc::clone(&self.desk);
        let clear = async move {
            if let Event::Read(Ok(reading)) = desk.perform(Next::Read).await
                && reading.held.is_empty()
                && reading.live.is_empty()
            {
                let (_, outcome) = desk.arm(None).await;
                tracing::info!(?outcome, "flat: the venue's dead-man switch is cleared");
            } else {
                tracing::warn!("not proven flat: the venue's dead-man switch stays as it is");
            }
        };
        let _ = tokio::time::timeout(FAREWELL, clear).await;
        self.report_account();
    }
}
