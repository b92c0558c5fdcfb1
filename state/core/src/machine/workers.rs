//! Workers as the judge sees them: one after the other into life, restarted by policy, never a second of a role.

use super::minutes::recorded;
use super::{Machine, Phase, Slot};
use crate::event::Action;
use crate::ids::{Generation, Role};
use crate::limits::PROBATION;
use crate::message::ToWorker;
use crate::record::{self, Record};
use crate::registry::LatchReason;
use crate::time::Tick;
use crate::worker::{self, Now};
use crate::{drain, restart};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

impl Machine {
    /// Sends one event to a worker's machine and carries its answer over.
    pub(super) fn worker(&mut self, now: Tick, role: Role, event: worker::Event, out: &mut Vec<Action>) {
        let clock = Now { tick: now, watch: self.watch };
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.role == role) else { return };
        let before = slot.state;
        let (state, action) = before.step(clock, event);
        slot.state = state;
        if action == Some(worker::Action::Spawn) {
            slot.generation = Generation(slot.generation.0.saturating_add(1));
        }
        if before.as_str() != state.as_str() {
            slot.since = now;
            let ended = matches!(event, worker::Event::Gone { .. });
            out.push(recorded(Record::WorkerState {
                role,
                generation: slot.generation,
                pid: state.pid(),
                before: before.as_str(),
                state: state.as_str(),
                exit: slot.last_exit.as_deref().filter(|_| ended).map(record::words),
            }));
            out.push(Action::Log { text: format!("{role}: {} to {}", before.as_str(), state.as_str()) });
        }
        match action {
            None => {}
            Some(worker::Action::Spawn) => out.push(Action::Spawn { role, generation: slot.generation }),
            Some(worker::Action::Kill) => out.push(Action::Kill { role }),
            Some(worker::Action::AskDrain) => {
                if role == Role::Deadman {
                    out.push(Action::Tell { role, what: ToWorker::StandDown {} });
                }
                out.push(Action::Tell { role, what: ToWorker::Drain {} });
            }
        }
        if role == Role::Deadman && before.is_serving() && !state.is_serving() {
            self.drain(now, drain::Event::DeadmanGone, out);
        }
    }

    pub(super) fn ready(&mut self, now: Tick, role: Role, out: &mut Vec<Action>) {
        let first = self.slot(role).is_some_and(|slot| slot.generation == Generation(1));
        let settled = if first { now } else { now.after(PROBATION) };
        self.worker(now, role, worker::Event::Ready { settled }, out);
        match role {
            Role::Engine => out.push(Action::Tell { role, what: ToWorker::Reconcile { asked: self.asked } }),
            Role::Deadman => {
                let expires_wall_ms = self.durable.operator_expires_wall_ms;
                out.push(Action::Tell { role, what: ToWorker::OperatorDeadline { expires_wall_ms } });
                self.drain(now, drain::Event::DeadmanServing, out);
            }
            Role::Sensor | Role::Api | Role::Venue => {}
        }
    }

    pub(super) fn exited(
        &mut self,
        now: Tick,
        role: Role,
        note: String,
        (wall_ms, chance): (u64, u16),
        out: &mut Vec<Action>,
    ) {
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
            // Its own gate went with it; the next one looks for itself.
            self.standing = None;
        }
        if intended {
            self.worker(now, role, worker::Event::Gone { verdict: restart::Verdict::Now }, out);
        } else {
            self.trip(LatchReason::RestartReconcileRequired, out);
            let verdict = self.durable.deaths_of(role).record(role, wall_ms, chance);
            self.worker(now, role, worker::Event::Gone { verdict }, out);
            if role == Role::Engine && verdict == restart::Verdict::GiveUp {
                // Nobody manages what is open any more.
                self.durable.owe(self.tree.unattended);
                self.order_owed(out);
            }
            out.push(Action::Persist);
        }
        if role == Role::Engine {
            self.drain(now, drain::Event::EngineGone, out);
        }
    }

    /// Starts the next worker once every earlier one has been ready or has failed. A killed tree starts no engine.
    pub(super) fn bring_up(&mut self, now: Tick, out: &mut Vec<Action>) {
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

    pub(super) fn slot(&self, role: Role) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.role == role)
    }
}
