//! What the judge shows: the only source of the status document.

use super::{Machine, Phase, Slot};
use crate::ids::{Epoch, Role};
use crate::kill::KillLatch;
use crate::limits::ACCOUNT_MAX_AGE;
use crate::registry::{LatchReason, ModeReason, Profile, TradingMode};
use crate::report::{AccountView, BusHealth, DeadManReport, JobKind, JournalHealth, Residue};
use crate::time::{Span, Tick};
use crate::worker::State;

/// Everything the status document is made of, at one instant.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What this home is for.
    pub profile: Profile,
    /// The mode.
    pub mode: TradingMode,
    /// Its reasons.
    pub reasons: &'a [ModeReason],
    /// Why the open-permission latch is closed; empty = open.
    pub latch: &'a [LatchReason],
    /// What the last reconciliation said.
    pub reconcile_detail: &'a str,
    /// Fencing epoch.
    pub epoch: Epoch,
    /// How long the permit still lives; absent = no permit.
    pub permit_for: Option<Span>,
    /// The account, if it was ever read.
    pub account: Option<&'a AccountView>,
    /// The account reading is complete and fresh.
    pub account_known: bool,
    /// The venue's dead-man switch, if it was established.
    pub dead_man: Option<&'a DeadManReport>,
    /// The operator's check-in deadline.
    pub operator_expires_wall_ms: Option<u64>,
    /// The kill latch.
    pub kill: Option<&'a KillLatch>,
    /// Word of the job's state.
    pub job_state: &'static str,
    /// A fresh reading shows something that the proof of the last job had not.
    pub contradicted: bool,
    /// What the job could not remove yet.
    pub residue: &'a [Residue],
    /// Venue time of the proof of flat.
    pub proof_venue_ms: Option<u64>,
    /// The journal as last reported.
    pub journal: Option<JournalHealth>,
    /// What the present or last job was to reach.
    pub job_kind: Option<JobKind>,
    /// A position moved without an order of ours.
    pub incident: Option<&'a str>,
    /// Whether what happens is written down.
    pub bus: &'a BusHealth,
    /// Why deadman cannot write down what it begins.
    pub unrecorded: Option<&'a str>,
    /// A reached limit.
    pub limit_hit: Option<&'a str>,
    /// Records of the same thing disagreed.
    pub disagreement: Option<&'a str>,
    /// Why the engine's own gate refuses every opening.
    pub standing: Option<&'a str>,
    /// Every worker of the tree has been ready, or cannot be.
    pub up: bool,
}

/// One worker at one instant.
#[derive(Clone, Copy, Debug)]
pub struct WorkerView<'a> {
    /// Which.
    pub role: Role,
    /// Its state.
    pub state: State,
    /// In that state since.
    pub since: Tick,
    /// Deaths that count.
    pub restarts: u32,
    /// How it ended last.
    pub last_exit: Option<&'a str>,
    /// Ready but on probation.
    pub probation: bool,
}

impl Machine {
    /// The state of everything, now.
    #[must_use]
    pub fn view(&self, now: Tick) -> View<'_> {
        let fresh = |account: &&AccountView| now.since(account.read_at) <= ACCOUNT_MAX_AGE;
        let account = self.account.as_deref();
        View {
            profile: self.tree.profile,
            mode: self.verdict.mode,
            reasons: &self.verdict.reasons,
            latch: &self.latch,
            reconcile_detail: &self.reconcile_detail,
            epoch: self.durable.epoch,
            permit_for: self.lease.live_until(now).map(|deadline| now.until(deadline)),
            account,
            account_known: self.account_known && account.as_ref().is_some_and(fresh),
            dead_man: self.dead_man.as_ref(),
            operator_expires_wall_ms: self.durable.operator_expires_wall_ms,
            kill: self.durable.kill.as_ref(),
            job_state: self.drain.as_str(),
            contradicted: self.contradicted(now),
            residue: self.drain.residue(),
            proof_venue_ms: match &self.drain {
                crate::drain::Drain::Flat { proof_venue_ms, .. } => *proof_venue_ms,
                crate::drain::Drain::Idle
                | crate::drain::Drain::Fencing { .. }
                | crate::drain::Drain::Ordered { .. }
                | crate::drain::Drain::Working { .. } => None,
            },
            journal: self.journal.map(|(_, health)| health),
            job_kind: self.drain.kind(),
            incident: self.incident.as_deref(),
            bus: &self.bus,
            unrecorded: self.unrecorded.as_deref(),
            limit_hit: self.limit_hit.as_deref(),
            disagreement: self.durable.disagreement.as_deref(),
            standing: self.standing.as_ref().map(|standing| standing.detail.as_str()),
            up: self.phase == Phase::Running && self.slots.iter().all(|slot| self.is_up(slot)),
        }
    }

    /// Every worker, in start order.
    pub fn workers(&self, now: Tick) -> impl Iterator<Item = WorkerView<'_>> {
        self.slots.iter().map(move |slot| WorkerView {
            role: slot.role,
            state: slot.state,
            since: slot.since,
            restarts: self.durable.deaths[slot.role.index()].count(),
            last_exit: slot.last_exit.as_deref(),
            probation: matches!(slot.state, State::Ready { .. }) && !slot.state.is_running(now),
        })
    }

    /// Whether the permit may be renewed for this role's present process.
    #[must_use]
    pub fn generation(&self, role: Role) -> Option<crate::ids::Generation> {
        self.slot(role).map(|slot| slot.generation)
    }

    fn is_up(&self, slot: &Slot) -> bool {
        let held = slot.role == Role::Engine && self.durable.kill.is_some();
        let word: &str = slot.state.as_str();
        held || matches!(word, "ready" | "degraded")
    }
}
