//! Reduce jobs: whatever is latched or owed is one job of deadman's, until its proof.

use super::Machine;
use super::minutes::recorded;
use crate::drain::{self, Drain};
use crate::duty::Duty;
use crate::event::Action;
use crate::ids::{JobId, Role};
use crate::kill::KillLatch;
use crate::limits::{JOB_SILENCE, KNOWN_ORDERS_MAX, PROBATION};
use crate::message::ToWorker;
use crate::record::Record;
use crate::report::JobKind;
use crate::time::Tick;
use crate::worker;
use alloc::format;
use alloc::vec::Vec;

impl Machine {
    pub(super) fn drain(&mut self, now: Tick, event: drain::Event, out: &mut Vec<Action>) {
        let (next, action) = core::mem::replace(&mut self.drain, Drain::Idle).step(now, event);
        self.drain = next;
        match action {
            None => {}
            Some(drain::Action::Tell { job, kind }) => {
                out.push(recorded(Record::handed_out(job, kind)));
                let orders = self.account.iter().flat_map(|account| &account.orders).take(KNOWN_ORDERS_MAX).cloned();
                let orders: Vec<_> = orders.collect();
                if !orders.is_empty() {
                    out.push(Action::Tell { role: Role::Deadman, what: ToWorker::Known { orders } });
                }
                out.push(Action::Tell { role: Role::Deadman, what: ToWorker::Reduce { job, kind } });
            }
            Some(drain::Action::Progress(progress)) => {
                self.note_reduction(&progress, self.drain.kind(), out);
                self.tell_waiting(&progress, false, out);
            }
            Some(drain::Action::Verdict(progress)) => {
                let flat = matches!(self.drain, Drain::Flat { .. });
                self.note_reduction(&progress, self.drain.kind(), out);
                self.proven = flat.then_some(now);
                let text = format!("job {}: {} {}", progress.job.0, progress.state.as_str(), progress.detail);
                out.push(Action::Log { text });
                if flat && self.durable.owed.take().is_some() {
                    out.push(Action::Persist);
                }
                self.tell_waiting(&progress, true, out);
                self.stop_after_verdict(flat, out);
            }
        }
    }

    /// A new job for all that is latched or owed, for deadman to carry out as soon as the engine is fenced (if it is a kill)
    /// and deadman serves.
    pub(super) fn order_owed(&mut self, out: &mut Vec<Action>) {
        let Some(kind) = self.durable.to_reduce() else { return };
        let job = JobId(self.durable.last_job.0.saturating_add(1));
        self.durable.last_job = job;
        let engine_lives = self.slot(Role::Engine).is_some_and(|slot| !slot.state.is_down());
        let fence = self.durable.kill.is_some() && engine_lives;
        let (next, _) = core::mem::replace(&mut self.drain, Drain::Idle)
            .step(self.stepped.unwrap_or(Tick(0)), drain::Event::Order { job, kind, fence });
        self.drain = next;
        out.push(Action::Log { text: format!("job {} ordered: {kind:?}", job.0) });
    }

    /// A fresh reading, begun after the proof, shows something that the last job was to remove.
    pub(super) fn contradicted(&self, now: Tick) -> bool {
        let (Drain::Flat { kind, .. }, Some(account)) = (&self.drain, &self.account) else { return false };
        let later = self.proven.is_some_and(|proven| account.read_at > proven);
        let open = match kind {
            JobKind::Flatten => !account.is_flat(),
            JobKind::CancelAll => !account.orders.is_empty(),
        };
        later && open && self.account_fresh(now)
    }

    /// Under a kill a proof is no end: what is open again (a late fill, somebody else's order) is a new job, at most one
    /// in [`JOB_SILENCE`].
    pub(super) fn close_again(&mut self, now: Tick, out: &mut Vec<Action>) {
        let due = self.again.is_none_or(|last| now.since(last) >= JOB_SILENCE);
        if due && self.durable.to_reduce().is_some() && self.contradicted(now) {
            self.again = Some(now);
            out.push(Action::Log { text: "something is open since the proof of flat".into() });
            self.order_owed(out);
        }
    }

    /// Where opening is possible again, an old proof says nothing about now.
    pub(super) fn forget_proof(&mut self, now: Tick) {
        if matches!(self.drain, Drain::Flat { .. }) && self.proven.is_some_and(|at| now.since(at) >= PROBATION) {
            self.drain = Drain::Idle;
        }
    }

    pub(super) fn kill(&mut self, kill: KillLatch, out: &mut Vec<Action>) {
        self.take_over(&Duty { kill: Some(kill), ..Duty::default() }, out);
    }

    /// Holds what somebody else took on, from here on as if it had been ordered here.
    pub(super) fn take_over(&mut self, duty: &Duty, out: &mut Vec<Action>) {
        self.durable.take_over(duty);
        out.push(Action::Persist);
        if duty.kill.is_some() {
            let now = self.stepped.unwrap_or(Tick(0));
            self.worker(now, Role::Engine, worker::Event::Fence, out);
        }
        self.order_owed(out);
    }
}
