//! The one loop: wait for an input or a deadline, step the judge, carry out what it asks.

mod birth;
mod inputs;
mod publish;
mod workers;

pub(crate) use birth::live;

use crate::Launch;
use crate::os::process::Process;
use crate::os::ticker::Ticker;
use crate::perform::aside::Aside;
use crate::perform::clerk::Clerk;
use crate::perform::journal::Journal;
use crate::perform::ledger::Bookkeeper;
use crate::perform::replies::{Replies, Safe};
use crate::source::Input;
use crate::source::files::Spare;
use crate::source::peers::{PeerId, Roll};
use crate::source::viewers::Published;
use bytes::Bytes;
use holdfast_core::command::{ControlReply, ControlRequest};
use holdfast_core::durable::Durable;
use holdfast_core::event::{Action, Event};
use holdfast_core::ids::{Epoch, Role};
use holdfast_core::limits::{DISK_FREE_MIB, STATUS_MAX_AGE, TICK};
use holdfast_core::machine::Machine;
use holdfast_core::permit::{Grant, PermitKey};
use holdfast_core::registry::{ModeReason, TradingMode};
use holdfast_core::report::BusHealth;
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::bootstrap::Token;
use holdfast_ipc::clock;
use holdfast_ipc::message::ToWorker;
use holdfast_ipc::permit::PermitWriter;
use holdfast_store::Keeper;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Inputs handled before the deadlines are looked at again.
const BATCH: usize = 64;
/// Workers answer each beat with one of theirs within this time. It is given to them before the loop looks again: one
/// waking of this process instead of one for each worker, and wakings are what an idle tree costs. A death in it is seen
/// that much later.
const GATHER: Duration = Duration::from_millis(1);
/// Files that are orders are looked for this often.
const LOOK_EVERY: Span = Span(2 * TICK.0);
/// Killed this long ago and still there: said loudly. Longer than a worker that is asked to stop may take.
const STUCK_AFTER: Span = Span::from_ms(3000);
/// Beats for each status document, as long as its first line does not change.
const DOCUMENT_EVERY: u64 = 2;
/// `run/status.json` is rewritten at least this often.
const FILE_EVERY: Span = Span::from_ms(1000);

/// The first line of a status document.
type Headline = (TradingMode, Vec<ModeReason>, &'static str);

const _: () =
    assert!(DOCUMENT_EVERY * TICK.0 * 2 < STATUS_MAX_AGE.0, "a document may be lost and the next still counts");

/// A connected worker.
struct Peer {
    id: PeerId,
    writer: mpsc::Sender<Bytes>,
}

struct Driver {
    launch: Launch,
    clerk: Clerk,
    aside: Rc<Aside>,
    /// Workers of whom it was said that they do not end.
    stuck: BTreeSet<Role>,
    /// What this start took over from the former deadman, for people.
    taken_over: Option<String>,
    machine: Machine,
    permit: PermitWriter,
    permit_key: PermitKey,
    keeper: Keeper<Durable>,
    journal: Journal,
    book: Bookkeeper,
    replies: Replies,
    orders_taken: u64,
    /// When files that are orders are looked for again.
    look_at: Tick,
    /// Orders that were left as files while nobody ran.
    waiting: Vec<ControlRequest>,
    roll: Rc<Roll>,
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
    /// Mode, reasons and job of the document made last.
    headline: Option<Headline>,
    beat_seq: u64,
    announced: bool,
    /// What the judge was told last of the disk under its latches.
    latches_told: bool,
    /// What it was told last of the runtime bus.
    bus_told: Option<BusHealth>,
    /// What the judge was told last of the ledger.
    ledger_told: bool,
    finished: bool,
}

impl Driver {
    async fn run(&mut self, queue: &mut mpsc::Receiver<Input>, ticker: &mut Ticker) -> std::io::Result<()> {
        self.mind_the_bus(clock::now());
        // Obeyed before any worker is born.
        for request in std::mem::take(&mut self.waiting) {
            self.ordered(request);
        }
        self.record();
        self.wake();
        while !self.finished {
            let now = clock::now();
            // Never asleep for longer than one tick, whatever the judge says.
            ticker.set(self.machine.next_deadline(now).min(now.after(TICK)))?;
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
                rung = ticker.rings() => {
                    rung?;
                    self.wake();
                    gather().await;
                }
            }
        }
        Ok(())
    }

    fn wake(&mut self) {
        let now = clock::now();
        let on_disk = self.keeper.healthy(now);
        if !on_disk {
            self.clerk.spare(Spare::of(self.machine.durable()));
        }
        if on_disk == self.latches_told {
            self.step(Event::Wake);
        } else {
            self.latches_told = on_disk;
            self.step(Event::Latches { on_disk });
        }
        self.mind_the_bus(now);
        let on_disk = self.book.on_disk(now, clock::wall_ms(), self.machine.durable());
        if on_disk != self.ledger_told {
            self.ledger_told = on_disk;
            self.step(Event::Ledger { on_disk });
        }
        // After the step, whose document the clerk writes in the same waking. One that was obeyed is gone as soon as what
        // it ordered is on disk.
        if now >= self.look_at || self.clerk.standing().is_some() {
            // Half a tick of grace: a timer that fires early must not cost a whole one.
            self.look_at = now.after(Span(LOOK_EVERY.0 - TICK.0 / 2));
            self.clerk.look(self.orders_taken, self.keeper.on_disk());
        }
    }

    fn mind_the_bus(&mut self, now: Tick) {
        self.journal.tend(now);
        let bus = match self.journal.health() {
            // What is about to be opened could not be recorded any more.
            BusHealth::Good if self.clerk.room().short => {
                BusHealth::Unavailable { why: format!("the disk is full: less than {DISK_FREE_MIB} MiB free") }
            }
            bus @ (BusHealth::Good | BusHealth::Unavailable { .. } | BusHealth::Refused { .. }) => bus,
        };
        if self.bus_told.as_ref() != Some(&bus) {
            self.bus_told = Some(bus.clone());
            self.step(Event::Bus(bus));
        }
        if let Some(head) = self.journal.witness(now) {
            self.tell(Role::Deadman, &ToWorker::Witness { head });
        }
        if self.journal.snapshot_due() {
            self.snapshot();
        }
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
            Action::Tell { role, what } => {
                if matches!(what, ToWorker::Acknowledge {}) {
                    self.book.lifted(clock::wall_ms());
                }
                self.tell(role, &what);
            }
            Action::Persist => {
                self.keeper.store(clock::now(), self.machine.durable().clone());
                self.record();
            }
            Action::Record(record) => self.journal.record(&record),
            Action::Reply { id, reply, last, after_persist } => {
                let after = after_persist.then(|| Safe {
                    latches: &self.keeper,
                    recorded: matches!(reply, ControlReply::Done { .. }).then(|| self.journal.pledge()).flatten(),
                });
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

    /// The ledger, after the cell.
    fn record(&mut self) {
        self.book.note(clock::now(), clock::wall_ms(), self.machine.durable());
    }

    fn grant(&mut self, deadline: Tick) {
        let Some(generation) = self.machine.generation(Role::Engine) else { return };
        let grant = Grant { epoch: self.epoch, generation, deadline };
        if let Err(error) = self.permit.grant(grant, &self.permit_key) {
            tracing::error!(%error, "the permit could not be written");
        }
    }
}

/// See [`GATHER`].
#[expect(clippy::disallowed_methods, reason = "this thread must not look at its sockets meanwhile; far below a tick")]
async fn gather() {
    // What was just said to the workers leaves first.
    tokio::task::yield_now().await;
    std::thread::sleep(GATHER);
}
