//! Operator commands. A reducing one is accepted in every state (INV-6); the one that could let risk rise has friction.

use super::minutes::recorded;
use super::{Machine, Phase};
use crate::command::{ControlReply, ControlRequest};
use crate::drain::{self, Drain};
use crate::event::{Action, CommandId};
use crate::ids::Role;
use crate::kill::{KillCause, KillLatch};
use crate::message::ToWorker;
use crate::record::{Caller, Outcome, Record, words};
use crate::registry::{LatchReason, ModeReason};
use crate::report::{JobKind, JobProgress};
use crate::time::Tick;
use crate::worker::State;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Operators that may wait for one verdict at once; a further one is told to look at the status.
const WAITING_MAX: usize = 64;

impl Machine {
    pub(super) fn command(
        &mut self,
        now: Tick,
        id: Option<CommandId>,
        request: ControlRequest,
        caller: Caller,
        wall_ms: u64,
        out: &mut Vec<Action>,
    ) {
        let reason = match &request {
            ControlRequest::Status {} => {
                out.extend(id.map(|id| Action::ReplyStatus { id }));
                return;
            }
            ControlRequest::Kill { reason, .. } => reason.as_deref().map(words),
            ControlRequest::Flatten {}
            | ControlRequest::Pause {}
            | ControlRequest::Resume { .. }
            | ControlRequest::Heartbeat {}
            | ControlRequest::Stop { .. } => None,
        };
        let (command, class) = (request.word(), request.class());
        let mut answers = Vec::new();
        let (outcome, code) = self.obey(now, id, request, wall_ms, &mut answers);
        // Before its answers: those that promise durability wait for what was recorded until then.
        out.push(recorded(Record::OperatorCommand { command, class, caller, outcome, code, reason }));
        out.append(&mut answers);
    }

    fn obey(
        &mut self,
        now: Tick,
        id: Option<CommandId>,
        request: ControlRequest,
        wall_ms: u64,
        out: &mut Vec<Action>,
    ) -> (Outcome, Option<&'static str>) {
        match request {
            ControlRequest::Status {} => {}
            ControlRequest::Kill { flatten, reason } => {
                let kind = if flatten { JobKind::Flatten } else { JobKind::CancelAll };
                self.kill(KillLatch::new(wall_ms, KillCause::Operator, reason.as_deref(), kind), out);
                self.wait(id, out);
            }
            ControlRequest::Flatten {} => {
                self.durable.owe(JobKind::Flatten);
                self.durable.paused_since_wall_ms.get_or_insert(wall_ms);
                out.push(Action::Persist);
                self.order_owed(out);
                self.wait(id, out);
            }
            ControlRequest::Pause {} => {
                self.durable.paused_since_wall_ms.get_or_insert(wall_ms);
                out.push(Action::Persist);
                done(id, "paused: no new risk; open positions stay managed", true, out);
            }
            ControlRequest::Resume { confirm } => return self.resume(now, id, confirm.as_deref(), wall_ms, out),
            ControlRequest::Heartbeat {} => self.heartbeat(id, wall_ms, out),
            ControlRequest::Stop { flatten } => self.order_stop(id, flatten, wall_ms, out),
        }
        (Outcome::Accepted, None)
    }

    fn wait(&mut self, id: Option<CommandId>, out: &mut Vec<Action>) {
        let Some(id) = id else { return };
        if self.waiting.len() >= WAITING_MAX {
            done(Some(id), "accepted; too many are waiting already: watch `engine status`", false, out);
        } else {
            self.waiting.push(id);
        }
    }

    pub(super) fn tell_waiting(&mut self, progress: &JobProgress, verdict: bool, out: &mut Vec<Action>) {
        for id in &self.waiting {
            let reply = ControlReply::Progress(progress.clone());
            // Whoever reads a verdict goes away: what a restart could forget must be said before.
            out.push(Action::Reply { id: *id, reply, last: verdict, after_persist: verdict });
        }
        if verdict {
            self.waiting.clear();
        }
    }

    fn heartbeat(&mut self, id: Option<CommandId>, wall_ms: u64, out: &mut Vec<Action>) {
        self.forget_incident();
        let Some(period) = self.tree.operator_period else {
            done(id, "noted; the operator dead-man is off (deadman.operator_hours is not set)", false, out);
            return;
        };
        let expires = wall_ms.saturating_add(period.as_ms());
        self.durable.operator_expires_wall_ms = Some(expires);
        out.push(Action::Persist);
        let what = ToWorker::OperatorDeadline { expires_wall_ms: Some(expires) };
        out.push(Action::Tell { role: Role::Deadman, what });
        done(id, "checked in; the operator dead-man starts anew", true, out);
    }

    /// The phrase that lifts what an operator can lift right now. Reasons that come and go by themselves are left out, or
    /// the phrase would change between being read and being typed.
    fn phrase(&self) -> String {
        let cause = self.durable.kill.as_ref().map(|kill| kill.cause);
        let liftable = [
            (cause == Some(KillCause::OperatorDeadMan), ModeReason::KillDeadmanExpired),
            (cause == Some(KillCause::Operator), ModeReason::KillRiskstateKill),
            (cause == Some(KillCause::LatchesLost), ModeReason::KillStateIntegrityBroken),
            (self.durable.paused_since_wall_ms.is_some(), ModeReason::ReduceonlyOperatorPaused),
            (self.limit_hit.is_some(), ModeReason::ReduceonlyCortexForceReduceOnly),
            (self.durable.disagreement.is_some(), ModeReason::ReduceonlyEvidenceChainNotGreen),
        ];
        let words: Vec<&str> =
            liftable.into_iter().filter(|(in_force, _)| *in_force).map(|(_, reason)| reason.as_str()).collect();
        format!("resume {} {}", self.tree.profile, words.join(" "))
    }

    fn resume(
        &mut self,
        now: Tick,
        id: Option<CommandId>,
        confirm: Option<&str>,
        wall_ms: u64,
        out: &mut Vec<Action>,
    ) -> (Outcome, Option<&'static str>) {
        let stopped = self.durable.kill.is_some()
            || self.durable.paused_since_wall_ms.is_some()
            || self.durable.disagreement.is_some()
            || self.limit_hit.is_some();
        if !stopped {
            let message = format!(
                "nothing to resume: no pause, kill, limit or disagreement is in force; mode {}",
                self.verdict.mode
            );
            done(id, &message, false, out);
            return (Outcome::Accepted, Some("nothing_to_resume"));
        }
        if let Some((code, message, next)) = self.objection(now) {
            refuse(id, code, &message, next, out);
            return (Outcome::Refused, Some(code));
        }
        let phrase = self.phrase();
        if confirm != Some(phrase.as_str()) {
            let allows = format!(
                "the engine may open positions again in the {} profile, within its limits, once books are reconciled",
                self.tree.profile
            );
            if let Some(id) = id {
                let reply = ControlReply::ResumeOffer { phrase, allows };
                out.push(Action::Reply { id, reply, last: true, after_persist: false });
            }
            return (Outcome::Offered, confirm.map(|_| "wrong_phrase"));
        }
        let was_killed = self.durable.kill.is_some();
        self.durable.lift();
        self.forget_incident();
        if self.limit_hit.take().is_some() {
            out.push(Action::Tell { role: Role::Engine, what: ToWorker::Acknowledge {} });
        }
        if self.tree.operator_period.is_some() && was_killed {
            self.heartbeat(None, wall_ms, out);
        }
        self.drain(now, drain::Event::Release, out);
        self.trip(LatchReason::RestartReconcileRequired, out);
        out.push(Action::Log { text: "the operator resumed".into() });
        out.push(Action::Persist);
        done(id, "resumed: opening is possible again after a clean reconciliation", true, out);
        (Outcome::Accepted, None)
    }

    /// What stands against a resume, if anything: code, message, what to do next.
    fn objection(&self, now: Tick) -> Option<(&'static str, String, &'static str)> {
        if self.phase != Phase::Running {
            return Some(("not_running", "the tree is starting or stopping".into(), "wait for it, then try again"));
        }
        if self.drain.is_active() {
            let message = format!("a reduce job is not finished: {}", self.drain.as_str());
            return Some(("job_running", message, "wait for its verdict, or order `engine flatten` again"));
        }
        if self.durable.kill.is_some() && !matches!(self.drain, Drain::Flat { .. }) {
            return Some(("not_proven_flat", "the kill has no proof of flat yet".into(), "run `engine kill` again"));
        }
        if self.durable.kill.is_some() && self.contradicted(now) {
            let message = "something is open since the proof of flat".into();
            return Some(("not_proven_flat", message, "wait: it is being closed; or run `engine kill` again"));
        }
        if let Some(slot) = self.slots.iter().find(|slot| slot.state == State::Failed) {
            let message = format!("{} spent its restart budget", slot.role);
            return Some(("worker_failed", message, "mend the cause (`engine logs`), then `engine restart`"));
        }
        if self.durable.kill.is_none() && !self.latch.is_empty() {
            let codes: Vec<&str> = self.latch.iter().map(|reason| reason.as_str()).collect();
            let message = format!("books are not reconciled yet: {}", codes.join(" "));
            return Some(("not_reconciled", message, "wait for the reconciliation, or look at `engine logs engine`"));
        }
        None
    }
}

pub(super) fn done(id: Option<CommandId>, message: &str, after_persist: bool, out: &mut Vec<Action>) {
    if let Some(id) = id {
        let reply = ControlReply::Done { message: message.into() };
        out.push(Action::Reply { id, reply, last: true, after_persist });
    }
}

pub(super) fn refuse(id: Option<CommandId>, code: &str, message: &str, next: &str, out: &mut Vec<Action>) {
    if let Some(id) = id {
        let reply = ControlReply::Refused {
            code: code.into(),
            message: message.into(),
            risk: "unchanged: what was blocked stays blocked".into(),
            next: next.into(),
        };
        out.push(Action::Reply { id, reply, last: true, after_persist: false });
    }
}
