//! The one loop: wait for an input or a deadline, step the judge, carry out what it asks.

use crate::error::SupervisorError;
use crate::instance::Ownership;
use crate::os::process::Process;
use crate::perform::clerk::Clerk;
use crate::perform::persist::Persister;
use crate::perform::publish::{self, Facts};
use crate::perform::replies::Replies;
use crate::perform::spawn;
use crate::source::peers::{PeerId, Roll};
use crate::source::viewers::Published;
use crate::source::{self, Input, QUEUE, encode, signals};
use crate::{Launch, leftovers, os};
use bytes::Bytes;
use holdfast_core::command::{ControlReply, ControlRequest};
use holdfast_core::durable::Durable;
use holdfast_core::event::{Action, Event, Tell};
use holdfast_core::ids::{Epoch, Generation, Role};
use holdfast_core::limits::TICK;
use holdfast_core::machine::{Machine, Tree};
use holdfast_core::permit::{Grant, PermitKey};
use holdfast_core::registry::Profile;
use holdfast_core::report::JobKind;
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::bootstrap::{Bootstrap, Home, PROTOCOL, PermitHandover, Token};
use holdfast_ipc::clock;
use holdfast_ipc::listen::Door;
use holdfast_ipc::message::{FromWorker, ToWorker};
use holdfast_ipc::permit::PermitWriter;
use holdfast_ipc::settings::OnSupervisorLoss;
use holdfast_store::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Inputs handled before the deadlines are looked at again.
const BATCH: usize = 64;
/// `run/status.json` is rewritten at least this often.
const FILE_EVERY: Span = Span::from_ms(1000);

/// A connected worker.
struct Peer {
    id: PeerId,
    writer: mpsc::Sender<Bytes>,
}

struct Driver {
    launch: Launch,
    clerk: Clerk,
    machine: Machine,
    permit: PermitWriter,
    permit_key: PermitKey,
    persister: Persister,
    replies: Replies,
    orders_taken: u64,
    /// Orders that were left as files while nobody ran.
    waiting: Vec<ControlRequest>,
    roll: std::rc::Rc<Roll>,
    inputs: mpsc::Sender<Input>,
    published: Published,
    peers: BTreeMap<Role, Peer>,
    processes: BTreeMap<Role, Process>,
    urls: BTreeMap<Role, String>,
    feed_token: Token,
    epoch: Epoch,
    started: Tick,
    started_wall_ms: u64,
    file_written: Option<Tick>,
    file_essence: String,
    beat_seq: u64,
    announced: bool,
    /// What the judge was told last of the disk under its latches.
    latches_told: bool,
    finished: bool,
}

/// From the first instruction to the orderly end.
pub(crate) fn live(launch: Launch) -> Result<(), SupervisorError> {
    let ownership = Ownership::take(&launch.home)?;
    let (mut cell, durable) = Cell::<Durable>::open(&launch.home.judge_cell())?;
    let mut durable = durable.unwrap_or_else(|| first_or_lost(&launch.home));
    // The new epoch is on disk before anything acts under it.
    durable.epoch = durable.epoch.next();
    durable.configure_operator(operator_period(&launch), clock::wall_ms());
    durable.written_by = os::process::Identity::own().map_or_else(String::new, |own| own.to_text());
    cell.store(&durable)?;
    leftovers::clear(&launch.home)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SupervisorError::io("start an event loop in", launch.home.root()))?;
    let local = tokio::task::LocalSet::new();
    let home = launch.home.clone();
    let result = local.block_on(&runtime, async move {
        let (inputs, mut queue) = mpsc::channel(QUEUE);
        let ownership = Arc::new(ownership);
        let mut driver = Driver::new(launch, ownership.clone(), cell, durable, inputs)?;
        ownership.announce(&driver.launch.home)?;
        driver.run(&mut queue).await;
        let written = driver.persister.finish(Duration::from_secs(5)).await;
        driver.clerk.finish(Duration::from_secs(1)).await;
        tracing::info!(durable = written.ok, "the supervisor ends");
        ownership.withdraw(&driver.launch.home);
        Ok(())
    });
    for path in [home.control_sock(), home.status_sock(), home.worker_sock()] {
        let _ = std::fs::remove_file(path);
    }
    result
}

/// An empty cell in a home that has traded is a loss, not a beginning.
fn first_or_lost(home: &Home) -> Durable {
    let traces = [
        home.decisions(),
        home.engine_cell(),
        home.engine_nonce(),
        home.deadman_nonce(),
        home.venue().join("orders.jsonl"),
        home.venue().join("books.json"),
        home.venue().join("books.jsonl"),
    ];
    match traces.iter().find(|trace| trace.exists()) {
        None => Durable::fresh(),
        Some(trace) => {
            tracing::error!(trace = %trace.display(), "this home was used, but its latches are gone: starting killed");
            Durable::lost(clock::wall_ms())
        }
    }
}

impl Driver {
    fn new(
        launch: Launch,
        ownership: Arc<Ownership>,
        cell: Cell<Durable>,
        durable: Durable,
        inputs: mpsc::Sender<Input>,
    ) -> Result<Self, SupervisorError> {
        let home = &launch.home;
        let epoch = durable.epoch;
        let permit = PermitWriter::create(&home.run().join("permit"))
            .map_err(SupervisorError::io("make the permit record for", home.run()))?;
        let roll = std::rc::Rc::new(Roll::new(epoch, launch.build_id.clone()));
        source::peers::listen(Door::open(&home.worker_sock())?, roll.clone(), inputs.clone());
        source::operators::listen(Door::open(&home.control_sock())?, inputs.clone());
        let published = Published::default();
        source::viewers::listen(Door::open(&home.status_sock())?, published.clone());
        source::signals::listen(inputs.clone()).map_err(SupervisorError::io("listen to signals for", home.root()))?;
        let persister =
            Persister::start(cell).map_err(SupervisorError::io("start the writer of", home.judge_cell()))?;
        let (clerk, waiting) = Clerk::start(home.clone(), ownership, inputs.clone())
            .map_err(SupervisorError::io("start the writer of", home.status_json()))?;
        let roles = match launch.settings.profile {
            Profile::Paper => Role::ALL.to_vec(),
            Profile::Live | Profile::Monitor => Role::ALL.into_iter().filter(|role| *role != Role::Venue).collect(),
        };
        let unattended = match launch.settings.deadman.on_supervisor_loss {
            OnSupervisorLoss::Cancel => JobKind::CancelAll,
            OnSupervisorLoss::Flatten => JobKind::Flatten,
        };
        let operator_period = operator_period(&launch);
        let tree = Tree { profile: launch.settings.profile, roles, operator_period, unattended };
        tracing::info!(epoch = epoch.0, home = %home.root().display(), "the supervisor begins");
        Ok(Self {
            machine: Machine::new(tree, durable),
            permit,
            permit_key: PermitKey::new(os::random()?),
            persister,
            replies: Replies::default(),
            orders_taken: 0,
            waiting,
            roll,
            inputs,
            published,
            peers: BTreeMap::new(),
            processes: BTreeMap::new(),
            urls: BTreeMap::new(),
            feed_token: Token::new(os::random()?),
            epoch,
            started: clock::now(),
            started_wall_ms: clock::wall_ms(),
            file_written: None,
            file_essence: String::new(),
            beat_seq: 0,
            announced: false,
            latches_told: true,
            finished: false,
            clerk,
            launch,
        })
    }

    async fn run(&mut self, queue: &mut mpsc::Receiver<Input>) {
        // Obeyed before any worker is born.
        for request in std::mem::take(&mut self.waiting) {
            self.ordered(request);
        }
        self.wake();
        while !self.finished {
            let now = clock::now();
            let wait = now.until(self.machine.next_deadline(now)).0.min(TICK.0);
            // The runtime's own timer is coarse and does not count suspend: never sleep longer than one tick.
            let wake = tokio::time::sleep(Duration::from_nanos(wait));
            tokio::select! {
                biased;
                input = queue.recv() => {
                    if let Some(input) = input {
                        self.take(input);
                    }
                    for _ in 0..BATCH {
                        let Ok(input) = queue.try_recv() else { break };
                        self.take(input);
                    }
                    if clock::now() >= self.machine.next_deadline(now) {
                        self.wake();
                    }
                }
                () = wake => self.wake(),
            }
        }
    }

    fn wake(&mut self) {
        self.clerk.look(self.orders_taken, self.persister.on_disk());
        let on_disk = self.persister.healthy(clock::now());
        if on_disk == self.latches_told {
            self.step(Event::Wake);
        } else {
            self.latches_told = on_disk;
            self.step(Event::Latches { on_disk });
        }
    }

    /// An order that was left as a file.
    fn ordered(&mut self, request: ControlRequest) {
        tracing::warn!(?request, "an order was left as a file");
        self.orders_taken += 1;
        self.step(Event::Command { id: None, request, wall_ms: clock::wall_ms() });
    }

    /// Whether a file stands against this request; if so, it is refused here.
    fn stands_against(&self, request: &ControlRequest, replies: &mpsc::Sender<ControlReply>) -> bool {
        let (ControlRequest::Resume { .. }, Some(name)) = (request, self.clerk.standing()) else { return false };
        let reply = ControlReply::Refused {
            code: "order_file".to_owned(),
            message: format!("{name} is there and orders the opposite"),
            risk: "unchanged: what was blocked stays blocked".to_owned(),
            next: format!("remove {name} in the home folder, then resume"),
        };
        let _ = replies.try_send(reply);
        true
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Greeted { role, peer, born, writer } => {
                tracing::info!(%role, born_boot_ns = born.0, "worker said hello");
                self.peers.insert(role, Peer { id: peer, writer });
                self.step(Event::Greeted { role });
            }
            Input::Said { role, peer, message } => {
                if self.peers.get(&role).is_some_and(|known| known.id == peer) {
                    self.said(role, *message);
                }
            }
            Input::Lost { role, peer, detail } => {
                if self.peers.get(&role).is_some_and(|known| known.id == peer) {
                    self.peers.remove(&role);
                    self.lost(role, detail);
                }
            }
            Input::Gone { role, pid, note, seen } => {
                if self.processes.get(&role).is_some_and(|process| process.pid == pid) {
                    self.processes.remove(&role);
                    self.peers.remove(&role);
                    self.gone(role, note);
                    tracing::info!(
                        %role,
                        exit_seen_boot_ns = seen.0,
                        dealt_with_boot_ns = clock::now().0,
                        "a death was dealt with"
                    );
                }
            }
            Input::Asked { request, replies } if self.stands_against(&request, &replies) => {}
            Input::Asked { request, replies } => {
                let id = Some(self.replies.open(replies));
                if matches!(request, ControlRequest::Status {}) {
                    // Asked every second by whoever watches: no event.
                    tracing::debug!("an operator looks");
                } else {
                    tracing::info!(?request, "an operator asks");
                }
                self.step(Event::Command { id, request, wall_ms: clock::wall_ms() });
            }
            Input::Ordered(request) => self.ordered(request),
            Input::Signal(signals::Meaning::Stop) => {
                tracing::info!("SIGTERM or SIGINT: stopping in order");
                let request = ControlRequest::Stop { flatten: false };
                self.step(Event::Command { id: None, request, wall_ms: clock::wall_ms() });
            }
            Input::Signal(signals::Meaning::Kill) => {
                tracing::warn!("SIGUSR1: kill");
                let request = ControlRequest::Kill { flatten: true, reason: Some("SIGUSR1".to_owned()) };
                self.step(Event::Command { id: None, request, wall_ms: clock::wall_ms() });
            }
            Input::Signal(signals::Meaning::Report) => {
                self.file_written = None;
                self.publish();
                tracing::info!("SIGHUP: status written down; a changed configuration takes effect at `engine restart`");
            }
        }
    }

    /// A broken connection of a process that is about to be reported dead is not a fault; its exit says it all.
    fn lost(&mut self, role: Role, detail: String) {
        if self.processes.get(&role).is_some_and(|process| !process.ended()) {
            self.step(Event::Fault { role, detail });
        }
    }

    fn gone(&mut self, role: Role, note: String) {
        let chance = os::random().map_or(u16::MAX / 2, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        self.step(Event::Exited { role, note, wall_ms: clock::wall_ms(), chance });
    }

    fn said(&mut self, role: Role, message: FromWorker) {
        let event = match message {
            FromWorker::Hello(_) => Event::Fault { role, detail: "a second hello".to_owned() },
            FromWorker::Beat { progress, .. } => Event::Beat { role, progress },
            FromWorker::Ready { endpoint } => {
                if let Some(url) = endpoint {
                    self.urls.insert(role, url);
                }
                Event::Ready { role }
            }
            FromWorker::Market(health) => Event::Market(health),
            FromWorker::Account(view) => Event::Account(view),
            FromWorker::AccountUnknown { detail } => {
                tracing::warn!(detail, "the account could not be read");
                Event::AccountUnknown
            }
            FromWorker::Trip(trip) => Event::Trip(trip),
            FromWorker::Reconciled(report) => {
                tracing::info!(?report, "reconciliation");
                Event::Reconciled(report)
            }
            FromWorker::Journal(health) => Event::Journal(health),
            FromWorker::LimitHit { detail } => Event::LimitHit { detail },
            FromWorker::Standing(standing) => Event::Standing(standing),
            FromWorker::Job(progress) => Event::Job(progress),
            FromWorker::DeadMan(report) => Event::DeadMan(report),
            FromWorker::OperatorExpired {} => Event::OperatorExpired { wall_ms: clock::wall_ms() },
            FromWorker::EmergencyReduceOnly {} => Event::EmergencyReduceOnly,
        };
        self.step(event);
    }

    /// Steps the judge and carries out its actions; what they cause at once is stepped right after, in order.
    fn step(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let actions = self.machine.step(clock::now(), event);
            for action in actions {
                self.perform(action, &mut events);
            }
        }
    }

    fn perform(&mut self, action: Action, follow_up: &mut VecDeque<Event>) {
        match action {
            Action::Revoke => {
                if let Err(error) = self.permit.revoke() {
                    tracing::error!(%error, "the permit could not be revoked; it lapses by itself");
                }
                tracing::info!(revoked_boot_ns = clock::now().0, "permit revoked");
            }
            Action::Grant { deadline } => self.grant(deadline),
            Action::Spawn { role, generation } => follow_up.push_back(self.spawn(role, generation)),
            Action::Kill { role } => self.kill(role),
            Action::Tell { role, what } => self.tell(role, &message_of(what)),
            Action::Persist => self.persister.store(self.machine.durable().clone()),
            Action::Reply { id, reply, last, after_persist } => {
                let after = after_persist.then_some(&self.persister);
                self.replies.send(id, reply, last, after);
            }
            Action::ReplyStatus { id } => {
                let doc = Box::new(self.document());
                self.replies.send(id, ControlReply::Status { doc }, true, None);
            }
            Action::Publish => self.publish(),
            Action::Log { text } => tracing::info!("{text}"),
            Action::Finish => self.finished = true,
        }
    }

    fn grant(&mut self, deadline: Tick) {
        let Some(generation) = self.machine.generation(Role::Engine) else { return };
        let grant = Grant { epoch: self.epoch, generation, deadline };
        if let Err(error) = self.permit.grant(grant, &self.permit_key) {
            tracing::error!(%error, "the permit could not be written");
        }
    }

    fn spawn(&mut self, role: Role, generation: Generation) -> Event {
        match self.try_spawn(role, generation) {
            Ok(pid) => Event::Spawned { role, pid },
            Err(error) => {
                tracing::error!(%error, %role, "a worker could not be started");
                let note = format!("could not be started: {error}");
                Event::Exited { role, note, wall_ms: clock::wall_ms(), chance: u16::MAX / 2 }
            }
        }
    }

    fn try_spawn(&mut self, role: Role, generation: Generation) -> Result<u32, SupervisorError> {
        let home = &self.launch.home;
        let mut permit = None;
        let mut handover = None;
        if role == Role::Engine {
            // A key per generation: a former engine's copy of it verifies nothing any more.
            self.permit_key = PermitKey::new(os::random()?);
            permit = Some(self.permit.reader().map_err(SupervisorError::io("hand over the permit in", home.run()))?);
            handover = Some(PermitHandover { fd: -1, key: self.permit_key.clone() });
        }
        let boot = Bootstrap {
            role,
            generation,
            epoch: self.epoch,
            build_id: self.launch.build_id.clone(),
            protocol: PROTOCOL,
            token: Token::new(os::random()?),
            feed_token: self.feed_token.clone(),
            supervisor_pid: std::process::id(),
            socket: home.worker_sock(),
            home: home.root().to_owned(),
            settings: self.launch.settings.clone(),
            venue_url: self.venue_url().filter(|_| role != Role::Venue && role != Role::Api),
            venue_port: self.port_of(Role::Venue).filter(|_| role == Role::Venue),
            api_port: self.port_of(Role::Api).filter(|_| role == Role::Api),
            account: self.launch.account.clone(),
            permit: handover,
        };
        let made = spawn::spawn(home, boot, permit)?;
        let words = spawn::words_path(home, role);
        let pid = made.process.pid;
        self.processes.insert(role, made.process);
        self.roll.expect(made.expected);
        source::children::watch(role, made.child, pid, words, self.inputs.clone());
        tracing::info!(%role, pid, generation = generation.0, spawned_boot_ns = clock::now().0, "spawned");
        Ok(pid)
    }

    fn venue_url(&self) -> Option<String> {
        let live = self.launch.settings.live.as_ref().map(|live| live.base_url.clone());
        self.urls.get(&Role::Venue).cloned().or(live)
    }

    /// The port a role listened on before: its replacement takes the same one, so that nobody has to be told.
    fn port_of(&self, role: Role) -> Option<u16> {
        self.urls.get(&role)?.rsplit(':').next()?.parse().ok()
    }

    fn kill(&self, role: Role) {
        let Some(process) = self.processes.get(&role) else { return };
        let killed = process.kill();
        tracing::warn!(%role, pid = process.pid, ?killed, "SIGKILL");
    }

    fn tell(&mut self, role: Role, message: &ToWorker) {
        if let Some(body) = encode(message) {
            self.push(role, body);
        }
    }

    /// A worker that lets its queue fill up, or whose connection takes nothing any more, has lost what we say: it is
    /// dropped, never waited for, and replaced.
    fn push(&mut self, role: Role, body: Bytes) {
        let Some(peer) = self.peers.get(&role) else { return };
        if peer.writer.try_send(body).is_ok() {
            return;
        }
        let detail = "it does not read what it is told".to_owned();
        if self.inputs.try_send(Input::Lost { role, peer: peer.id, detail }).is_err() {
            // Unheard it falls silent, which is found out as well, only later.
            self.peers.remove(&role);
        }
    }

    fn document(&self) -> holdfast_core::status::StatusDoc {
        let now = clock::now();
        let facts = Facts {
            launch: &self.launch,
            pid: std::process::id(),
            started: self.started,
            started_wall_ms: self.started_wall_ms,
            api_url: self.urls.get(&Role::Api).map_or("", String::as_str),
            venue_url: self.venue_url().unwrap_or_default(),
            latches_on_disk: self.persister.healthy(now),
        };
        publish::document(&self.machine, &facts, now)
    }

    fn publish(&mut self) {
        let doc = self.document();
        let now = clock::now();
        self.beat_seq += 1;
        let beat = ToWorker::Beat { seq: self.beat_seq, sent: now, mode: doc.trading_mode };
        if let Some(body) = encode(&beat) {
            for role in Role::ALL {
                self.push(role, body.clone());
            }
        }
        self.notify_manager(&doc);
        let exposure = &doc.exposure;
        let sizes: Vec<_> = exposure.positions.iter().map(|p| (&p.coin, p.size)).collect();
        let essence = format!(
            "{} {:?} {} {} {} {sizes:?}",
            doc.trading_mode, doc.mode_reasons, doc.kill.state, exposure.known, exposure.open_orders
        );
        if let Ok(body) = serde_json::to_vec(&doc).map(Bytes::from) {
            let due = self.file_written.is_none_or(|at| now.since(at) >= FILE_EVERY);
            if due || essence != self.file_essence {
                self.clerk.publish(body.clone());
                self.file_written = Some(now);
                self.file_essence = essence;
            }
            *self.published.borrow_mut() = body;
        }
        self.tell(Role::Api, &ToWorker::Status { doc: Box::new(doc) });
    }

    /// Tells the service manager, if one asked to be told.
    fn notify_manager(&mut self, doc: &holdfast_core::status::StatusDoc) {
        use sd_notify::NotifyState;
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return;
        }
        let words = format!("{} {}", doc.trading_mode, doc.mode_reasons.first().map_or("", |reason| reason.as_str()));
        let mut states = vec![NotifyState::Status(&words)];
        if sd_notify::watchdog_enabled().is_some() {
            states.push(NotifyState::Watchdog);
        }
        if !self.announced && self.machine.view(clock::now()).up {
            self.announced = true;
            states.push(NotifyState::Ready);
        }
        if let Err(error) = sd_notify::notify(&states) {
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

/// How long the operator may be silent, if that is limited.
fn operator_period(launch: &Launch) -> Option<Span> {
    launch.settings.deadman.operator_hours.map(|hours| Span::from_ms(u64::from(hours).saturating_mul(3_600_000)))
}

fn message_of(what: Tell) -> ToWorker {
    match what {
        Tell::Drain => ToWorker::Drain {},
        Tell::StandDown => ToWorker::StandDown {},
        Tell::Reconcile { asked } => ToWorker::Reconcile { asked },
        Tell::Reduce { job, kind } => ToWorker::Reduce { job, kind },
        Tell::OperatorDeadline { expires_wall_ms } => ToWorker::OperatorDeadline { expires_wall_ms },
        Tell::Acknowledge => ToWorker::Acknowledge {},
    }
}
