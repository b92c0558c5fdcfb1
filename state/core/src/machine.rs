//! The judge: one state, one step function, the whole public surface of every decision of the supervisor.
//!
//! * INV-3: within one step the permit is revoked before anything is killed or spawned.
//! * INV-5: a set kill latch survives every event but a confirmed resume after a proven flat.
//! * INV-6: a reducing command is accepted in every state.

mod admit;
mod stop;
mod view;

pub use view::{View, WorkerView};

use crate::drain::{self, Drain};
use crate::durable::{Durable, KillCause, KillLatch};
use crate::event::{Action, CommandId, Event, Tell};
use crate::ids::{Generation, JobId, Role};
use crate::lease::{Lease, LeaseAction};
use crate::limits::{
    ACCOUNT_MAX_AGE, EMERGENCY_COOLDOWN, IPC_CLEAN, JOB_SILENCE, JOURNAL_MAX_AGE, MARKET_MAX_AGE, OWN_GAP, PROBATION,
    TICK,
};
use crate::registry::{LatchReason, Profile};
use crate::report::{
    AccountView, DeadManReport, JobKind, JobState, JournalHealth, LatchTrip, MarketHealth, MarketState, Standing,
    StandingCause,
};
use crate::resolve::{Inputs, Verdict, resolve};
use crate::restart;
use crate::time::{Span, Tick};
use crate::worker::{self, Now};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What a machine is made for.
#[derive(Clone, Debug)]
pub struct Tree {
    /// What this home is for.
    pub profile: Profile,
    /// Workers, in start order.
    pub roles: Vec<Role>,
    /// What to do with what is open when nobody is left to manage it.
    pub unattended: JobKind,
    /// How long the operator dead-man runs from each heartbeat; absent = off.
    pub operator_period: Option<Span>,
}

/// One worker as the judge knows it.
#[derive(Clone, Debug)]
struct Slot {
    role: Role,
    state: worker::State,
    generation: Generation,
    since: Tick,
    last_exit: Option<String>,
}

/// Where the tree is in its own life.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Bringing workers up one after the other.
    Starting,
    /// Every worker was started once.
    Running,
    /// A stop waits for a proven flat.
    StopAfterFlat,
    /// Taking workers down.
    Stopping,
    /// Nothing is left.
    Finished,
}

/// The judge.
#[derive(Clone, Debug)]
pub struct Machine {
    tree: Tree,
    durable: Durable,
    slots: Vec<Slot>,
    phase: Phase,
    stepped: Option<Tick>,
    watch: Tick,
    renewed: Option<Tick>,
    latch: Vec<LatchReason>,
    asked: u64,
    /// A clean answer came while its causes still stood: asked again once they are gone.
    premature: bool,
    reconcile_detail: String,
    /// A position moved without an order of ours: the latch stays closed at least until then.
    incident_until: Option<Tick>,
    /// The last such incident, shown until the operator checks in, resumes or restarts.
    incident: Option<String>,
    market: Option<(Tick, MarketHealth)>,
    account: Option<Box<AccountView>>,
    account_known: bool,
    journal: Option<(Tick, JournalHealth)>,
    dead_man: Option<DeadManReport>,
    limit_hit: Option<String>,
    /// Why the engine refuses every opening by itself.
    standing: Option<Standing>,
    /// A restart might forget a latch: the disk does not take it.
    unsaved: bool,
    emergency_until: Option<Tick>,
    ipc_broken_until: Option<Tick>,
    lease: Lease,
    drain: Drain,
    /// When deadman last spoke of an unfinished job it began by itself.
    own_job: Option<Tick>,
    /// When the present job was proven flat.
    proven: Option<Tick>,
    /// When the stop was ordered.
    stopping: Option<Tick>,
    waiting: Vec<CommandId>,
    verdict: Verdict,
}

impl Machine {
    /// The state after any start: the strictest one. Latched, reconcile required, no permit. `durable.epoch` is
    /// already the new epoch and already on disk.
    #[must_use]
    pub fn new(tree: Tree, durable: Durable) -> Self {
        let slots = tree
            .roles
            .iter()
            .map(|role| Slot {
                role: *role,
                state: worker::State::Exited,
                generation: Generation(0),
                since: Tick(0),
                last_exit: None,
            })
            .collect();
        let verdict =
            resolve(&Inputs { latched: true, worker_not_running: true, input_missing: true, ..Inputs::default() });
        Self {
            tree,
            durable,
            slots,
            phase: Phase::Starting,
            stepped: None,
            watch: Tick(0),
            renewed: None,
            latch: Vec::from([LatchReason::RestartReconcileRequired]),
            asked: 1,
            premature: false,
            reconcile_detail: String::new(),
            incident_until: None,
            incident: None,
            market: None,
            account: None,
            account_known: false,
            journal: None,
            dead_man: None,
            limit_hit: None,
            standing: None,
            unsaved: false,
            emergency_until: None,
            ipc_broken_until: None,
            lease: Lease::Revoked,
            drain: Drain::Idle,
            own_job: None,
            proven: None,
            stopping: None,
            waiting: Vec::new(),
            verdict,
        }
    }

    /// What must be on disk now.
    #[must_use]
    pub const fn durable(&self) -> &Durable {
        &self.durable
    }

    /// One step. Never blocks, never fails: refusing is an action.
    pub fn step(&mut self, now: Tick, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        let first = self.stepped.is_none();
        let gap = self.stepped.map_or(Span::ZERO, |last| now.since(last));
        self.stepped = Some(now);
        self.watch = self.watch.after(Span(gap.0.min(2 * TICK.0)));
        if first {
            self.begin(now, &mut out);
        }
        if gap > OWN_GAP {
            out.push(Action::Log { text: format!("the supervisor itself stood still for {} ms", gap.as_ms()) });
            self.trip(LatchReason::HostResumeReconcileRequired, &mut out);
        }
        self.take(now, event, &mut out);
        self.pass_time(now, &mut out);
        self.judge(now, out)
    }

    /// What the operator has seen need not be shown any longer.
    fn forget_incident(&mut self) {
        self.incident = None;
    }

    /// When the driver must wake up at the latest.
    #[must_use]
    pub fn next_deadline(&self, now: Tick) -> Tick {
        let ticked = self.renewed.map_or(now, |at| at.after(TICK));
        let workers = self.slots.iter().filter_map(|slot| slot.state.next_deadline());
        workers.chain(self.drain.next_deadline(now)).fold(ticked, Tick::min).max(now)
    }

    fn begin(&mut self, now: Tick, out: &mut Vec<Action>) {
        if self.durable.emergency {
            self.emergency_until = Some(now.after(EMERGENCY_COOLDOWN));
        }
        if let Some(kill) = self.durable.kill.clone() {
            self.order_job(kill.kind, out);
        } else if self.durable.flatten_pending {
            self.order_job(JobKind::Flatten, out);
        }
    }

    fn take(&mut self, now: Tick, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Wake => {}
            Event::Spawned { role, pid } => self.worker(now, role, worker::Event::Spawned { pid }, out),
            Event::Greeted { role } => self.worker(now, role, worker::Event::Greeted, out),
            Event::Ready { role } => self.ready(now, role, out),
            Event::Beat { role, progress } => self.worker(now, role, worker::Event::Beat { progress }, out),
            Event::Fault { role, detail } => {
                out.push(Action::Log { text: format!("{role} broke the protocol: {detail}") });
                self.ipc_broken_until = Some(now.after(IPC_CLEAN));
                self.worker(now, role, worker::Event::Fault, out);
            }
            Event::Exited { role, note, wall_ms, chance } => self.exited(now, role, note, (wall_ms, chance), out),
            Event::Market(health) => self.market = Some((now, health)),
            // A reading from the future is a fault of its reader: kept, it would stay fresh for ever.
            Event::Account(view) if view.read_at > now => self.account_known = false,
            Event::Account(view) => {
                if self.account.as_ref().is_none_or(|old| old.read_at <= view.read_at) {
                    self.account = Some(view);
                    self.account_known = true;
                }
            }
            Event::AccountUnknown => self.account_known = false,
            Event::Trip(LatchTrip { reason, detail }) => {
                out.push(Action::Log { text: format!("{reason}: {detail}") });
                if reason == LatchReason::InventoryMismatchReconcileRequired {
                    self.incident_until = Some(now.after(PROBATION));
                    self.incident = Some(detail);
                }
                self.trip(reason, out);
            }
            Event::Reconciled(report) if report.asked == self.asked => {
                self.reconcile_detail = report.detail;
                self.premature = report.clean && !self.causes_gone(now);
                if self.premature {
                    out.push(Action::Log { text: "reconciled too early: asked again once the cause is gone".into() });
                } else if report.clean {
                    self.latch.clear();
                }
            }
            // An answer to an older request says nothing about what was lost since.
            Event::Reconciled(_) => {}
            Event::Journal(health) => self.journal = Some((now, health)),
            Event::LimitHit { detail } => {
                out.push(Action::Log { text: format!("limit reached: {detail}") });
                self.limit_hit = Some(detail);
            }
            Event::Standing(standing) => {
                let words = standing.as_ref().map_or("nothing standing blocks opening", |found| &found.detail);
                out.push(Action::Log { text: format!("the engine's own gate: {words}") });
                self.standing = standing;
            }
            // Deadman works without an order of ours (nobody answered at our door, or we stood still): no opening meanwhile.
            Event::Job(progress) if progress.job == JobId::OWN => {
                self.own_job = (progress.state != JobState::Flat).then_some(now);
            }
            Event::Job(progress) => self.drain(now, drain::Event::Progress(progress), out),
            Event::DeadMan(report) => self.dead_man = Some(report),
            Event::OperatorExpired { wall_ms } => {
                self.kill(KillCause::OperatorDeadMan, JobKind::Flatten, None, wall_ms, out);
            }
            Event::Latches { on_disk } => self.unsaved = !on_disk,
            Event::EmergencyReduceOnly => {
                self.emergency_until = Some(now.after(EMERGENCY_COOLDOWN));
                self.durable.emergency = true;
                out.push(Action::Log { text: "emergency reduce-only was raised".into() });
                out.push(Action::Persist);
            }
            Event::Command { id, request, wall_ms } => self.command(now, id, request, wall_ms, out),
        }
    }

    /// Sends one event to a worker's machine and carries its answer over.
    fn worker(&mut self, now: Tick, role: Role, event: worker::Event, out: &mut Vec<Action>) {
        let clock = Now { tick: now, watch: self.watch };
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.role == role) else { return };
        let before = slot.state;
        let (state, action) = before.step(clock, event);
        slot.state = state;
        if before.as_str() != state.as_str() {
            slot.since = now;
            out.push(Action::Log { text: format!("{role}: {} to {}", before.as_str(), state.as_str()) });
        }
        match action {
            None => {}
            Some(worker::Action::Spawn) => {
                slot.generation = Generation(slot.generation.0.saturating_add(1));
                out.push(Action::Spawn { role, generation: slot.generation });
            }
            Some(worker::Action::Kill) => out.push(Action::Kill { role }),
            Some(worker::Action::AskDrain) => {
                if role == Role::Deadman {
                    out.push(Action::Tell { role, what: Tell::StandDown });
                }
                out.push(Action::Tell { role, what: Tell::Drain });
            }
        }
        if role == Role::Deadman && before.is_serving() && !state.is_serving() {
            self.drain(now, drain::Event::DeadmanGone, out);
        }
    }

    fn ready(&mut self, now: Tick, role: Role, out: &mut Vec<Action>) {
        let first = self.slot(role).is_some_and(|slot| slot.generation == Generation(1));
        let settled = if first { now } else { now.after(PROBATION) };
        self.worker(now, role, worker::Event::Ready { settled }, out);
        match role {
            Role::Engine => out.push(Action::Tell { role, what: Tell::Reconcile { asked: self.asked } }),
            Role::Deadman => {
                let expires_wall_ms = self.durable.operator_expires_wall_ms;
                out.push(Action::Tell { role, what: Tell::OperatorDeadline { expires_wall_ms } });
                self.drain(now, drain::Event::DeadmanServing, out);
            }
            Role::Sensor | Role::Api | Role::Venue => {}
        }
    }

    fn exited(&mut self, now: Tick, role: Role, note: String, (wall_ms, chance): (u64, u16), out: &mut Vec<Action>) {
        let intended = self.slot(role).is_some_and(|slot| {
            use worker::{State, Then};
            matches!(
                slot.state,
                State::Exited
                    | State::Stopping { then: Then::StayDown, .. }
                    | State::Ending { then: Then::StayDown, .. }
            )
        });
        out.push(Action::Log { text: format!("{role} ended: {note}") });
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.role == role) {
            slot.last_exit = Some(note);
        }
        if role == Role::Sensor {
            self.market = None;
        }
        if role == Role::Engine {
            self.journal = None;
        }
        if intended {
            self.worker(now, role, worker::Event::Gone { verdict: restart::Verdict::Now }, out);
        } else {
            self.trip(LatchReason::RestartReconcileRequired, out);
            let verdict = self.durable.deaths_of(role).record(role, wall_ms, chance);
            self.worker(now, role, worker::Event::Gone { verdict }, out);
            if role == Role::Engine && verdict == restart::Verdict::GiveUp {
                // Nobody manages what is open any more.
                self.durable.flatten_pending |= self.tree.unattended == JobKind::Flatten;
                self.order_job(self.tree.unattended, out);
            }
            out.push(Action::Persist);
        }
        if role == Role::Engine {
            self.drain(now, drain::Event::EngineGone, out);
        }
    }

    /// Whether venue, sensor and engine serve, what they show of market and account is fresh, and no unexplained movement
    /// is younger than a probation. Books that were compared before that say nothing about what happens until then.
    fn causes_gone(&self, now: Tick) -> bool {
        let needed = |slot: &&Slot| matches!(slot.role, Role::Venue | Role::Sensor | Role::Engine);
        let serve = self.slots.iter().filter(needed).all(|slot| slot.state.is_serving());
        let calm = self.incident_until.is_none_or(|until| now >= until);
        serve && calm && self.market_fresh(now) && self.account_fresh(now)
    }

    /// Closes the latch for one more reason and asks for a new reconciliation; answers to older requests are void.
    fn trip(&mut self, reason: LatchReason, out: &mut Vec<Action>) {
        if !self.latch.contains(&reason) {
            self.latch.push(reason);
            self.latch.sort_unstable();
        }
        self.ask_to_reconcile(out);
    }

    fn ask_to_reconcile(&mut self, out: &mut Vec<Action>) {
        self.premature = false;
        self.asked = self.asked.saturating_add(1);
        if self.slot(Role::Engine).is_some_and(|slot| slot.state.is_serving()) {
            out.push(Action::Tell { role: Role::Engine, what: Tell::Reconcile { asked: self.asked } });
        }
    }

    fn drain(&mut self, now: Tick, event: drain::Event, out: &mut Vec<Action>) {
        let (next, action) = core::mem::replace(&mut self.drain, Drain::Idle).step(now, event);
        self.drain = next;
        match action {
            None => {}
            Some(drain::Action::Tell { job, kind }) => {
                out.push(Action::Tell { role: Role::Deadman, what: Tell::Reduce { job, kind } });
            }
            Some(drain::Action::Progress(progress)) => self.tell_waiting(&progress, false, out),
            Some(drain::Action::Verdict(progress)) => {
                let flat = matches!(self.drain, Drain::Flat { .. });
                self.proven = flat.then_some(now);
                let text = format!("job {}: {} {}", progress.job.0, progress.state.as_str(), progress.detail);
                out.push(Action::Log { text });
                if flat && self.durable.flatten_pending {
                    self.durable.flatten_pending = false;
                    out.push(Action::Persist);
                }
                self.tell_waiting(&progress, true, out);
                self.stop_after_verdict(flat, out);
            }
        }
    }

    /// A new job, for deadman to carry out as soon as the engine is fenced (if it is a kill) and deadman serves.
    fn order_job(&mut self, kind: JobKind, out: &mut Vec<Action>) -> JobId {
        let job = JobId(self.durable.last_job.0.saturating_add(1));
        self.durable.last_job = job;
        let engine_lives = self.slot(Role::Engine).is_some_and(|slot| !slot.state.is_down());
        let fence = self.durable.kill.is_some() && engine_lives;
        let (next, _) = core::mem::replace(&mut self.drain, Drain::Idle)
            .step(self.stepped.unwrap_or(Tick(0)), drain::Event::Order { job, kind, fence });
        self.drain = next;
        out.push(Action::Log { text: format!("job {} ordered: {kind:?}", job.0) });
        job
    }

    fn kill(&mut self, cause: KillCause, kind: JobKind, reason: Option<String>, wall_ms: u64, out: &mut Vec<Action>) {
        let old = self.durable.kill.as_ref();
        let since_wall_ms = old.map_or(wall_ms, |old| old.since_wall_ms);
        // A second kill without words does not wipe out why the first was ordered.
        let reason = reason.or_else(|| old.and_then(|old| old.reason.clone()));
        // Nothing is weakened by a later kill: what was to be closed stays to be closed. The end of a mere cancel would
        // settle the flatten that is owed, and let a stop go on that waits for it.
        let owed = self.durable.flatten_pending || old.is_some_and(|old| old.kind == JobKind::Flatten);
        let kind = if owed { JobKind::Flatten } else { kind };
        let cause = old.map_or(cause, |old| if old.cause == KillCause::LatchesLost { old.cause } else { cause });
        self.durable.kill = Some(KillLatch { since_wall_ms, cause, reason, kind });
        out.push(Action::Persist);
        let now = self.stepped.unwrap_or(Tick(0));
        self.worker(now, Role::Engine, worker::Event::Fence, out);
        self.order_job(kind, out);
    }

    fn pass_time(&mut self, now: Tick, out: &mut Vec<Action>) {
        if self.emergency_until.is_some_and(|until| now >= until) {
            self.emergency_until = None;
            self.durable.emergency = false;
            out.push(Action::Persist);
        }
        if self.ipc_broken_until.is_some_and(|until| now >= until) {
            self.ipc_broken_until = None;
        }
        for role in self.tree.roles.clone() {
            self.worker(now, role, worker::Event::Time, out);
        }
        self.bring_up(now, out);
        self.take_down(now, out);
        if self.premature && self.causes_gone(now) {
            self.ask_to_reconcile(out);
        }
        let serving = self.slot(Role::Deadman).is_some_and(|slot| slot.state.is_serving());
        self.drain(now, drain::Event::Time { serving }, out);
    }

    /// Starts the next worker once every earlier one has been ready or has failed. A killed tree starts no engine.
    fn bring_up(&mut self, now: Tick, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Starting | Phase::Running | Phase::StopAfterFlat) {
            return;
        }
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let held = slot.role == Role::Engine && self.durable.kill.is_some();
            if held {
                continue;
            }
            if slot.state == worker::State::Exited {
                let role = slot.role;
                self.worker(now, role, worker::Event::Start, out);
                return;
            }
            let settling = matches!(slot.state, worker::State::Starting { .. } | worker::State::Greeted { .. });
            // Nobody can be told where a venue listens that is not up: whoever is started without it only dies and
            // spends its restart budget. The others may fail and be tried again while later ones come up.
            let trying_again = slot.role == Role::Venue
                && matches!(slot.state, worker::State::Ending { .. } | worker::State::Backoff { .. });
            if (settling || trying_again) && self.phase == Phase::Starting {
                return;
            }
        }
        if self.phase == Phase::Starting {
            self.phase = Phase::Running;
        }
    }

    /// Recomputes the mode; a revocation goes before everything else of this step.
    fn judge(&mut self, now: Tick, mut out: Vec<Action>) -> Vec<Action> {
        let verdict = resolve(&self.inputs(now));
        let renew = self.renewed.is_none_or(|at| now.since(at) >= TICK);
        if renew {
            self.renewed = Some(now);
        }
        let (lease, action) = self.lease.step(now, verdict.mode, renew);
        self.lease = lease;
        match action {
            None => {}
            Some(LeaseAction::Revoke) => out.insert(0, Action::Revoke),
            Some(LeaseAction::Grant { deadline }) => out.push(Action::Grant { deadline }),
        }
        if verdict != self.verdict {
            let words: Vec<&str> = verdict.reasons.iter().map(|reason| reason.as_str()).collect();
            out.push(Action::Log { text: format!("mode {} {}", verdict.mode, words.join(" ")) });
            self.verdict = verdict;
            out.push(Action::Publish);
        } else if renew {
            out.push(Action::Publish);
        }
        out
    }

    fn inputs(&self, now: Tick) -> Inputs {
        use worker::State;
        let cause = self.durable.kill.as_ref().map(|kill| kill.cause);
        let critical = |slot: &Slot| matches!(slot.role, Role::Sensor | Role::Engine | Role::Deadman);
        let journal_good =
            self.journal.as_ref().is_some_and(|(at, health)| now.since(*at) <= JOURNAL_MAX_AGE && health.healthy);
        let stands = |cause| self.standing.as_ref().is_some_and(|standing| standing.cause == cause);
        Inputs {
            operator_deadman_expired: cause == Some(KillCause::OperatorDeadMan),
            killed: cause == Some(KillCause::Operator),
            latches_lost: cause == Some(KillCause::LatchesLost),
            critical_worker_failed: self.slots.iter().any(|slot| critical(slot) && slot.state == State::Failed),
            worker_not_running: self.slots.iter().any(|slot| !slot.state.is_running(now)),
            ipc_broken: self.ipc_broken_until.is_some(),
            containment: self.drain.is_active()
                || self.own_job.is_some_and(|heard| now.since(heard) <= JOB_SILENCE)
                || stands(StandingCause::Exit),
            emergency: self.emergency_until.is_some(),
            paused: self.durable.paused_since_wall_ms.is_some(),
            latched: !self.latch.is_empty(),
            limit_hit: self.limit_hit.is_some(),
            capital_used_up: stands(StandingCause::Capital),
            journal_unavailable: !journal_good || self.unsaved,
            input_missing: !self.market_fresh(now) || !self.account_fresh(now),
            stopping: matches!(self.phase, Phase::StopAfterFlat | Phase::Stopping | Phase::Finished),
        }
    }

    fn market_fresh(&self, now: Tick) -> bool {
        self.market.as_ref().is_some_and(|(at, health)| {
            now.since(*at) <= MARKET_MAX_AGE
                && health.state == MarketState::Fresh
                && health.last_good.is_some_and(|good| good <= now && now.since(good) <= MARKET_MAX_AGE)
        })
    }

    fn account_fresh(&self, now: Tick) -> bool {
        self.account_known && self.account.as_ref().is_some_and(|account| now.since(account.read_at) <= ACCOUNT_MAX_AGE)
    }

    fn slot(&self, role: Role) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.role == role)
    }
}
