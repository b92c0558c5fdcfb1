//! What comes in, as events for the judge. Only the connection and the process that are known for a role speak for it.

use super::{Driver, Peer};
use crate::os;
use crate::source::{Input, signals};
use holdfast_core::command::{Class, ControlReply, ControlRequest};
use holdfast_core::event::{CommandId, Event};
use holdfast_core::ids::Role;
use holdfast_core::record::{Caller, Door, Outcome, Record};
use holdfast_ipc::clock;
use holdfast_ipc::message::FromWorker;
use tokio::sync::mpsc;

impl Driver {
    pub(super) fn take(&mut self, input: Input) {
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
            Input::Asked { request, uid, replies } if self.stands_against(&request, uid, &replies) => {}
            Input::Asked { request, uid, replies } => {
                let id = Some(self.replies.open(replies));
                if matches!(request, ControlRequest::Status {}) {
                    // Asked every second by whoever watches: no event.
                    tracing::debug!("an operator looks");
                } else {
                    tracing::info!(?request, asked_boot_ns = clock::now().0, "an operator asks");
                }
                self.command(id, request, Caller { door: Door::Control, uid: Some(uid) });
            }
            Input::Refused { command, class, uid, code } => self.refused(command, class, uid, code),
            Input::Ordered(request) => self.ordered(request),
            Input::Signal(signals::Meaning::Stop) => {
                tracing::info!("SIGTERM or SIGINT: stopping in order");
                let request = ControlRequest::Stop { flatten: false };
                self.command(None, request, Caller { door: Door::Signal, uid: None });
            }
            Input::Signal(signals::Meaning::Kill) => {
                tracing::warn!("SIGUSR1: kill");
                let request = ControlRequest::Kill { flatten: true, reason: Some("SIGUSR1".to_owned()) };
                self.command(None, request, Caller { door: Door::Signal, uid: None });
            }
            Input::Signal(signals::Meaning::Report) => {
                self.file_written = None;
                self.publish();
                tracing::info!("SIGHUP: status written down; a changed configuration takes effect at `engine restart`");
            }
        }
    }

    /// An order that was left as a file.
    pub(super) fn ordered(&mut self, request: ControlRequest) {
        tracing::warn!(?request, "an order was left as a file");
        self.orders_taken += 1;
        self.command(None, request, Caller { door: Door::File, uid: None });
    }

    fn command(&mut self, id: Option<CommandId>, request: ControlRequest, caller: Caller) {
        self.step(Event::Command { id, request, caller, wall_ms: clock::wall_ms() });
    }

    /// A command that was refused before the judge saw it is written down all the same.
    fn refused(&mut self, command: &'static str, class: Class, uid: u32, code: &'static str) {
        let caller = Caller { door: Door::Control, uid: Some(uid) };
        let (outcome, code) = (Outcome::Refused, Some(code));
        self.journal.record(&Record::OperatorCommand { command, class, caller, outcome, code, reason: None });
    }

    /// Whether a file stands against this request; if so, it is refused here.
    fn stands_against(&mut self, request: &ControlRequest, uid: u32, replies: &mpsc::Sender<ControlReply>) -> bool {
        let (ControlRequest::Resume { .. }, Some(name)) = (request, self.clerk.standing()) else { return false };
        self.refused(request.word(), request.class(), uid, "order_file");
        let next = if self.latches_told {
            format!("remove {name} in the home folder, then resume")
        } else {
            "the disk under data/ does not take the latches: mend it; the file goes by itself then".to_owned()
        };
        let reply = ControlReply::Refused {
            code: "order_file".to_owned(),
            message: format!("{name} is there and orders the opposite"),
            risk: "unchanged: what was blocked stays blocked".to_owned(),
            next,
        };
        let _ = replies.try_send(reply);
        true
    }

    /// A broken connection of a process that is about to be reported dead is not a fault; its exit says it all.
    pub(super) fn lost(&mut self, role: Role, detail: String) {
        if self.processes.get(&role).is_some_and(|process| !process.ended()) {
            self.step(Event::Fault { role, detail });
        }
    }

    pub(super) fn gone(&mut self, role: Role, note: String) {
        let chance = os::random().map_or(u16::MAX / 2, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        self.step(Event::Exited { role, note, wall_ms: clock::wall_ms(), chance });
    }

    pub(super) fn said(&mut self, role: Role, message: FromWorker) {
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
            FromWorker::Record(trade) => {
                self.journal.trade(&trade, self.launch.settings.profile);
                return;
            }
            FromWorker::Baseline(day) => {
                let conflict = self.book.baseline(clock::wall_ms(), &day);
                self.record();
                let Some(detail) = conflict else { return };
                Event::Disagreement { detail }
            }
            FromWorker::Job(progress) => Event::Job(progress),
            FromWorker::DeadMan(report) => Event::DeadMan(report),
            FromWorker::Duty(duty) => {
                tracing::warn!(?duty, "deadman took on what no supervisor ordered");
                Event::Duty(duty)
            }
            FromWorker::Unrecorded(trouble) => {
                if let Some(why) = &trouble {
                    tracing::error!(why, "deadman cannot write down what it begins; it works on without");
                }
                Event::Unrecorded(trouble)
            }
            FromWorker::EmergencyReduceOnly {} => Event::EmergencyReduceOnly,
        };
        self.step(event);
    }
}
