//! What the judge has written down: each change once, found by comparing what stands now with what stood before.

use super::{Machine, Phase};
use crate::event::Action;
use crate::ids::{Generation, Role};
use crate::kill::{KillCause, KillLatch};
use crate::lease::{Lease, LeaseAction};
use crate::record::{Breaker, Record, words};
use crate::registry::LatchReason;
use crate::report::{BusHealth, JobKind, JobProgress, ReconcileReport, Standing};
use crate::time::Tick;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// What was last written down.
#[derive(Clone, Debug, Default)]
pub(super) struct Minutes {
    standing: Standings,
    phase: Option<&'static str>,
    /// The engine's start that the permit was last granted to.
    granted: Generation,
    reduction: Option<JobProgress>,
    drift: Option<String>,
}

/// Everything that holds new risk back, as far as it is a state and not a reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Standings {
    kill: Option<KillLatch>,
    paused: bool,
    owed: Option<JobKind>,
    latch: Vec<LatchReason>,
    emergency: bool,
    limit: Option<String>,
    gate: Option<Standing>,
    journal_failed: bool,
    unsaved: bool,
    bus: Option<String>,
}

pub(super) fn recorded(record: Record) -> Action {
    Action::Record(Box::new(record))
}

/// Books and venue differ, or could not be compared.
pub(super) fn drift(asked: Option<u64>, detail: &str) -> Action {
    recorded(Record::ReconciliationDrift { asked, detail: words(detail) })
}

/// Says that a breaker opened, closed, or is open for other causes; nothing if it is as it was.
fn edge<T: PartialEq>(breaker: Breaker, before: &T, now: &T, causes: Option<Vec<String>>, out: &mut Vec<Action>) {
    if before != now {
        out.push(recorded(match causes {
            Some(causes) => Record::BreakerOpened { breaker, causes },
            None => Record::BreakerClosed { breaker },
        }));
    }
}

impl Machine {
    /// Breakers and the tree's own phase.
    pub(super) fn note_changes(&mut self, out: &mut Vec<Action>) {
        self.note_phase(out);
        let now = self.standings();
        let before = core::mem::replace(&mut self.minutes.standing, now.clone());
        if before == now {
            return;
        }
        let one = |text: &str| Vec::from([words(text)]);
        let fact = |holds: bool, text: &str| holds.then(|| one(text));
        let expired = |kill: &Option<KillLatch>| kill.as_ref().is_some_and(|k| k.cause == KillCause::OperatorDeadMan);
        if expired(&now.kill) && !expired(&before.kill) {
            let deadline_wall_ms = self.durable.operator_expires_wall_ms;
            out.push(recorded(Record::HeartbeatExpired { deadline_wall_ms }));
        }
        let kill = now.kill.as_ref().map(|kill| {
            let mut causes = one(cause_word(kill.cause));
            causes.extend(kill.reason.as_deref().map(words));
            causes
        });
        edge(Breaker::Kill, &before.kill, &now.kill, kill, out);
        edge(Breaker::Pause, &before.paused, &now.paused, fact(now.paused, "operator"), out);
        let owed = now.owed.map(|kind| one(if kind == JobKind::Flatten { "flatten" } else { "cancel_all" }));
        edge(Breaker::OwedJob, &before.owed, &now.owed, owed, out);
        let latch = now.latch.iter().map(ToString::to_string).collect();
        edge(Breaker::OpenPermission, &before.latch, &now.latch, (!now.latch.is_empty()).then_some(latch), out);
        edge(Breaker::Emergency, &before.emergency, &now.emergency, fact(now.emergency, "raised"), out);
        edge(Breaker::Limit, &before.limit, &now.limit, now.limit.as_deref().map(one), out);
        let gate = now.gate.as_ref().map(|standing| one(&standing.detail));
        edge(Breaker::EngineGate, &before.gate, &now.gate, gate, out);
        let failed = fact(now.journal_failed, "the last entry did not reach the disk");
        edge(Breaker::DecisionJournal, &before.journal_failed, &now.journal_failed, failed, out);
        let unsaved = fact(now.unsaved, "the disk does not take them");
        edge(Breaker::Latches, &before.unsaved, &now.unsaved, unsaved, out);
        edge(Breaker::Bus, &before.bus, &now.bus, now.bus.as_deref().map(one), out);
    }

    fn standings(&self) -> Standings {
        Standings {
            kill: self.durable.kill.clone(),
            paused: self.durable.paused_since_wall_ms.is_some(),
            owed: self.durable.owed,
            latch: self.latch.clone(),
            emergency: self.emergency_until.is_some(),
            limit: self.limit_hit.clone(),
            gate: self.standing.clone(),
            journal_failed: self.journal.as_ref().is_some_and(|(_, health)| !health.healthy),
            unsaved: self.unsaved,
            bus: match &self.bus {
                BusHealth::Good => None,
                BusHealth::Unavailable { why } | BusHealth::Refused { why } => Some(why.clone()),
            },
        }
    }

    fn note_phase(&mut self, out: &mut Vec<Action>) {
        let phase = match self.phase {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::StopAfterFlat => "stop_after_flat",
            Phase::Stopping => "stopping",
            Phase::Finished => "finished",
        };
        let before = self.minutes.phase.replace(phase).unwrap_or("none");
        if before != phase {
            out.push(recorded(Record::LifecycleTransition { before, phase }));
        }
    }

    /// The permit's edges; its renewals are no events.
    pub(super) fn note_permit(&mut self, now: Tick, action: Option<LeaseAction>, out: &mut Vec<Action>) {
        let epoch = self.durable.epoch;
        let lapsed = matches!(self.lease, Lease::Granted { deadline } if deadline <= now) && action.is_some();
        let generation = self.minutes.granted;
        match action {
            _ if lapsed => out.push(recorded(Record::PermitExpired { epoch, generation })),
            Some(LeaseAction::Revoke) => out.push(recorded(Record::PermitRevoked { epoch, generation })),
            Some(LeaseAction::Grant { .. }) | None => {}
        }
        let anew = lapsed || self.lease == Lease::Revoked;
        if anew && matches!(action, Some(LeaseAction::Grant { .. })) {
            let generation = self.generation(Role::Engine).unwrap_or(generation);
            self.minutes.granted = generation;
            out.push(recorded(Record::PermitGranted { epoch, generation }));
        }
    }

    /// A step of a reduce job, unless it is the step that was written down last.
    pub(super) fn note_reduction(&mut self, progress: &JobProgress, kind: Option<JobKind>, out: &mut Vec<Action>) {
        let same = self.minutes.reduction.as_ref().is_some_and(|last| {
            (last.job, last.state, last.round) == (progress.job, progress.state, progress.round)
                && last.residue == progress.residue
        });
        if !same {
            self.minutes.reduction = Some(progress.clone());
            out.push(recorded(Record::reduction(progress, kind)));
        }
    }

    /// What a comparison of books said; the same difference again is no event.
    pub(super) fn note_comparison(&mut self, report: &ReconcileReport, out: &mut Vec<Action>) {
        if report.clean {
            self.minutes.drift = None;
            let detail = words(&report.detail);
            out.push(recorded(Record::ReconciliationClean { asked: report.asked, detail }));
        } else if self.minutes.drift.as_ref() != Some(&report.detail) {
            self.minutes.drift = Some(report.detail.clone());
            out.push(drift(Some(report.asked), &report.detail));
        }
    }
}

const fn cause_word(cause: KillCause) -> &'static str {
    match cause {
        KillCause::Operator => "operator",
        KillCause::OperatorDeadMan => "operator_dead_man",
        KillCause::LatchesLost => "latches_lost",
    }
}
