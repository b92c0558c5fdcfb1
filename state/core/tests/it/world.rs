//! A tree of perfect workers in fixed time, driven by the real judge; faults are what a test adds.

use holdfast_core::command::{ControlReply, ControlRequest};
use holdfast_core::durable::Durable;
use holdfast_core::event::{Action, CommandId, Event};
use holdfast_core::ids::{Epoch, Role};
use holdfast_core::limits::TICK;
use holdfast_core::machine::{Machine, Tree};
use holdfast_core::message::ToWorker;
use holdfast_core::money::Usd;
use holdfast_core::record::{Caller, Door, Record};
use holdfast_core::registry::{Profile, TradingMode};
use holdfast_core::report::{
    AccountView, BusHealth, JobKind, JobProgress, JobState, JournalHealth, MarketHealth, MarketState, ReconcileReport,
};
use holdfast_core::time::{Span, Tick};
use std::collections::{BTreeMap, BTreeSet};

/// What the outside world looks like to the judge.
pub(crate) struct World {
    pub(crate) machine: Machine,
    pub(crate) now: Tick,
    /// Roles with a process, and its pid.
    pub(crate) alive: BTreeMap<Role, u32>,
    /// Roles that beat and answer.
    pub(crate) mute: BTreeSet<Role>,
    /// Roles whose process takes a SIGKILL and is not reported gone (a thread sits in a stalled disk).
    pub(crate) stuck: BTreeSet<Role>,
    pub(crate) permit_until: Option<Tick>,
    pub(crate) replies: Vec<(CommandId, ControlReply)>,
    pub(crate) log: Vec<Action>,
    pub(crate) flat: bool,
    pub(crate) finished: bool,
    progress: u64,
    next_pid: u32,
    next_id: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut durable = Durable::fresh();
        durable.epoch = Epoch(1);
        Self::with(durable)
    }

    pub(crate) fn with(durable: Durable) -> Self {
        let tree = Tree {
            profile: Profile::Paper,
            roles: Role::ALL.to_vec(),
            operator_period: None,
            unattended: JobKind::Flatten,
        };
        let mut world = Self {
            machine: Machine::new(tree, durable),
            now: Tick(1_000_000_000_000),
            alive: BTreeMap::new(),
            mute: BTreeSet::new(),
            stuck: BTreeSet::new(),
            permit_until: None,
            replies: Vec::new(),
            log: Vec::new(),
            flat: true,
            finished: false,
            progress: 0,
            next_pid: 100,
            next_id: 0,
        };
        world.event(Event::Bus(BusHealth::Good));
        world
    }

    /// Steps once and plays the driver and the workers.
    pub(crate) fn event(&mut self, event: Event) {
        let actions = self.machine.step(self.now, event);
        self.check_order(&actions);
        for action in actions {
            self.log.push(action.clone());
            self.perform(action);
        }
        self.check_permit();
    }

    /// INV-3: whatever a step does, revoking comes first.
    fn check_order(&self, actions: &[Action]) {
        let revoke = actions.iter().position(|action| *action == Action::Revoke);
        assert!(revoke.is_none_or(|at| at == 0), "INV-3: {actions:?}");
        let ends = actions.iter().any(|a| matches!(a, Action::Spawn { .. } | Action::Kill { .. }));
        if ends {
            let live = self.permit_until.is_some_and(|until| until > self.now);
            let grants = actions.iter().any(|action| matches!(action, Action::Grant { .. }));
            assert!(!live || revoke == Some(0), "INV-3: a permit lives on through {actions:?}");
            assert!(!grants, "no grant in a step that spawns or kills: {actions:?}");
        }
    }

    fn check_permit(&self) {
        let live = self.permit_until.is_some_and(|until| until > self.now);
        let mode = self.machine.view(self.now).mode;
        assert!(!live || mode == TradingMode::Active, "INV-4: a live permit in {mode}");
        assert!(
            mode != TradingMode::Active || self.machine.durable().kill.is_none(),
            "INV-5: Active under a kill latch"
        );
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Revoke => self.permit_until = None,
            Action::Grant { deadline } => self.permit_until = Some(deadline),
            Action::Spawn { role, .. } => {
                assert!(!self.alive.contains_key(&role), "INV-7: a second {role}");
                self.next_pid += 1;
                self.alive.insert(role, self.next_pid);
                self.mute.remove(&role);
                self.event(Event::Spawned { role, pid: self.next_pid });
            }
            Action::Kill { role } if self.stuck.contains(&role) => {
                self.mute.insert(role);
            }
            Action::Kill { role } => self.die(role, "SIGKILL"),
            Action::Tell { role, what } => self.told(role, what),
            Action::Reply { id, reply, .. } => self.replies.push((id, reply)),
            Action::Finish => self.finished = true,
            Action::Persist | Action::Record(_) | Action::ReplyStatus { .. } | Action::Publish | Action::Log { .. } => {
            }
        }
    }

    /// The process of this role is gone.
    pub(crate) fn die(&mut self, role: Role, note: &str) {
        if self.alive.remove(&role).is_some() {
            let wall_ms = self.now.0 / 1_000_000;
            self.event(Event::Exited { role, note: note.to_owned(), wall_ms, chance: 30_000 });
        }
    }

    fn told(&mut self, role: Role, what: ToWorker) {
        if !self.alive.contains_key(&role) || self.mute.contains(&role) {
            return;
        }
        match what {
            ToWorker::Drain {} => self.die(role, "exit code 0"),
            ToWorker::Reconcile { asked } => {
                self.event(Event::Reconciled(ReconcileReport { asked, clean: true, detail: String::new() }));
            }
            ToWorker::Reduce { job, .. } => {
                let state = if self.flat { JobState::Flat } else { JobState::NotFlat };
                let proof_venue_ms = self.flat.then_some(1);
                self.event(Event::Job(JobProgress {
                    job,
                    state,
                    round: 1,
                    residue: Vec::new(),
                    proof_venue_ms,
                    detail: String::new(),
                }));
            }
            ToWorker::StandDown {}
            | ToWorker::Known { .. }
            | ToWorker::OperatorDeadline { .. }
            | ToWorker::Acknowledge {} => {}
            ToWorker::Welcome { .. } | ToWorker::Beat { .. } | ToWorker::Status { .. } | ToWorker::Witness { .. } => {
                panic!("the driver's to say: {what:?}")
            }
        }
    }

    /// Lets time pass in ticks while every worker that is not mute lives its life.
    pub(crate) fn run(&mut self, span: Span) {
        let end = self.now.after(span);
        while self.now < end && !self.finished {
            self.now = self.now.after(TICK);
            self.progress += 1;
            self.event(Event::Wake);
            for role in Role::ALL {
                if self.alive.contains_key(&role) && !self.mute.contains(&role) {
                    self.live(role);
                }
            }
        }
    }

    fn live(&mut self, role: Role) {
        let state =
            self.machine.workers(self.now).find(|w| w.role == role).map(|w| (w.state.as_str(), w.state.pulse()));
        if matches!(state, Some(("starting", None))) {
            self.event(Event::Greeted { role });
            self.event(Event::Ready { role });
        }
        self.event(Event::Beat { role, progress: self.progress });
        match role {
            Role::Sensor => {
                let last_good = Some(self.now);
                self.event(Event::Market(MarketHealth { state: MarketState::Fresh, last_good, skew_ms: 0 }));
                self.event(Event::Account(Box::new(AccountView {
                    read_at: self.now,
                    venue_ms: 1,
                    equity_usd: Usd::whole(1000),
                    margin_used_usd: Usd::ZERO,
                    positions: Vec::new(),
                    orders: Vec::new(),
                    requests_left: None,
                })));
            }
            Role::Engine => {
                self.event(Event::Journal(JournalHealth { healthy: true, entries: 1, unsettled: 0, head: None }));
            }
            Role::Venue | Role::Deadman | Role::Api => {}
        }
    }

    pub(crate) fn command(&mut self, request: ControlRequest) -> CommandId {
        self.next_id += 1;
        let id = CommandId(self.next_id);
        let wall_ms = self.now.0 / 1_000_000;
        let caller = Caller { door: Door::Control, uid: Some(1000) };
        self.event(Event::Command { id: Some(id), request, caller, wall_ms });
        id
    }

    pub(crate) fn reply(&self, id: CommandId) -> Option<&ControlReply> {
        self.replies.iter().rev().find(|(to, _)| *to == id).map(|(_, reply)| reply)
    }

    /// What was written down, in order.
    pub(crate) fn records(&self) -> Vec<&Record> {
        self.log
            .iter()
            .filter_map(|action| if let Action::Record(record) = action { Some(&**record) } else { None })
            .collect()
    }

    pub(crate) fn mode(&self) -> TradingMode {
        self.machine.view(self.now).mode
    }

    pub(crate) fn reasons(&self) -> Vec<&'static str> {
        self.machine.view(self.now).reasons.iter().map(|reason| reason.as_str()).collect()
    }

    /// Brings the tree to Active.
    pub(crate) fn active() -> Self {
        let mut world = Self::new();
        world.run(Span::from_ms(5000));
        assert_eq!(world.mode(), TradingMode::Active, "{:?}", world.reasons());
        world
    }
}
