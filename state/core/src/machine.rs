//! The judge: one state, one step function, the whole public surface of every decision of the supervisor.
//!
//! * INV-3: within one step the permit is revoked before anything is killed or spawned.
//! * INV-5: a set kill latch survives every event but a confirmed resume after a proven flat.
//! * INV-6: a reducing command is accepted in every state.

mod admit;
mod books;
mod jobs;
mod minutes;
mod stop;
mod view;
mod workers;

pub use view::{View, WorkerView};

use minutes::{Minutes, drift, recorded};

use crate::drain::{self, Drain};
use crate::durable::Durable;
use crate::duty::Duty;
use crate::event::{Action, CommandId, Event};
use crate::ids::{Generation, JobId, Role};
use crate::kill::KillCause;
use crate::lease::{Lease, LeaseAction};
use crate::limits::{EMERGENCY_COOLDOWN, IPC_CLEAN, JOB_SILENCE, JOURNAL_MAX_AGE, OWN_GAP, PROBATION, TICK};
use crate::record::Record;
use crate::registry::{LatchReason, Profile, TradingMode};
use crate::report::{
    AccountView, BusHealth, DeadManReport, JobKind, JobState, JournalHealth, LatchTrip, MarketHealth, Standing,
    StandingCause,
};
use crate::resolve::{Inputs, Verdict, resolve};
use crate::time::{Span, Tick};
use crate::worker;
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
    /// Why deadman cannot write down what it begins.
    unrecorded: Option<String>,
    /// Whether what happens is written down.
    bus: BusHealth,
    /// What was last written down.
    minutes: Minutes,
    /// The ledger does not take what is recorded in it.
    unledgered: bool,
    emergency_until: Option<Tick>,
    ipc_broken_until: Option<Tick>,
    lease: Lease,
    drain: Drain,
    /// When deadman last spoke of an unfinished job it began by itself.
    own_job: Option<Tick>,
    /// When the present job was proven flat.
    proven: Option<Tick>,
    /// When a job was ordered last because something was open again under a kill.
    again: Option<Tick>,
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
            unrecorded: None,
            bus: BusHealth::Unavailable { why: "not opened yet".into() },
            minutes: Minutes::default(),
            unledgered: false,
            emergency_until: None,
            ipc_broken_until: None,
            lease: Lease::Revoked,
            drain: Drain::Idle,
            own_job: None,
            proven: None,
            again: None,
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
        if let Some(words) = &self.durable.disagreement {
            out.push(Action::Log { text: format!("records disagreed, the stricter holds: {words}") });
        }
        if self.durable.to_reduce().is_some() {
            out.push(Action::Log { text: "an earlier tree left a kill or an unproven job: taken up".into() });
            self.order_owed(out);
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
                    out.push(drift(None, &detail));
                    self.incident_until = Some(now.after(PROBATION));
                    self.incident = Some(detail);
                }
                self.trip(reason, out);
            }
            Event::Reconciled(report) if report.asked == self.asked => {
                self.note_comparison(&report, out);
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
                self.note_reduction(&progress, None, out);
            }
            Event::Job(progress) => self.drain(now, drain::Event::Progress(progress), out),
            Event::DeadMan(report) => self.dead_man = Some(report),
            Event::Duty(duty) => {
                let duty = self.durable.still_owed(*duty);
                if duty == Duty::default() {
                    out.push(Action::Log {
                        text: "deadman told of what an operator has lifted: not held again".into(),
                    });
                } else {
                    self.take_over(&duty, out);
                }
            }
            Event::Unrecorded(trouble) => self.unrecorded = trouble,
            Event::Latches { on_disk } => self.unsaved = !on_disk,
            Event::Bus(health) => self.bus = health,
            Event::Ledger { on_disk } => self.unledgered = !on_disk,
            Event::Disagreement { detail } => {
                out.push(Action::Log { text: format!("records disagree: {detail}") });
                self.durable.disagree(&detail);
                out.push(Action::Persist);
            }
            Event::EmergencyReduceOnly => {
                self.emergency_until = Some(now.after(EMERGENCY_COOLDOWN));
                self.durable.emergency = true;
                out.push(Action::Log { text: "emergency reduce-only was raised".into() });
                out.push(Action::Persist);
            }
            Event::Command { id, request, caller, wall_ms } => self.command(now, id, request, caller, wall_ms, out),
        }
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
        self.close_again(now, out);
        let serving = self.slot(Role::Deadman).is_some_and(|slot| slot.state.is_serving());
        self.drain(now, drain::Event::Time { serving }, out);
    }

    /// Recomputes the mode; a revocation goes before everything else of this step.
    fn judge(&mut self, now: Tick, mut out: Vec<Action>) -> Vec<Action> {
        let verdict = resolve(&self.inputs(now));
        self.note_changes(&mut out);
        if verdict.mode == TradingMode::Active {
            self.forget_proof(now);
        }
        let renew = self.renewed.is_none_or(|at| now.since(at) >= TICK);
        if renew {
            self.renewed = Some(now);
        }
        let (lease, action) = self.lease.step(now, verdict.mode, renew);
        self.note_permit(now, action, &mut out);
        self.lease = lease;
        match action {
            None => {}
            Some(LeaseAction::Revoke) => out.insert(0, Action::Revoke),
            Some(LeaseAction::Grant { deadline }) => out.push(Action::Grant { deadline }),
        }
        if verdict != self.verdict {
            let words: Vec<&str> = verdict.reasons.iter().map(|reason| reason.as_str()).collect();
            out.push(Action::Log { text: format!("mode {} {}", verdict.mode, words.join(" ")) });
            let (before, mode) = (self.verdict.mode, verdict.mode);
            out.push(recorded(Record::StatusMode { before, mode, reasons: verdict.reasons.clone() }));
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
            journal_unavailable: !journal_good
                || self.unsaved
                || self.unledgered
                || self.unrecorded.is_some()
                || matches!(self.bus, BusHealth::Unavailable { .. }),
            evidence_broken: matches!(self.bus, BusHealth::Refused { .. }),
            records_disagree: self.durable.disagreement.is_some(),
            input_missing: !self.market_fresh(now) || !self.account_fresh(now),
            stopping: matches!(self.phase, Phase::StopAfterFlat | Phase::Stopping | Phase::Finished),
        }
    }
}
