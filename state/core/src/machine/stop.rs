//! Stopping: permit first (the mode does that), then engine, api, sensor, deadman, venue, each gone before the next.

use super::admit::{done, refuse};
use super::{Machine, Phase};
use crate::event::{Action, CommandId};
use crate::ids::Role;
use crate::limits::{STOP_JOB_PATIENCE, STOP_VIGIL};
use crate::registry::VenueDeadMan;
use crate::report::JobKind;
use crate::time::Tick;
use crate::worker;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

impl Machine {
    pub(super) fn order_stop(&mut self, id: Option<CommandId>, flatten: bool, wall_ms: u64, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Stopping | Phase::Finished => done(id, "already stopping", false, out),
            Phase::Starting | Phase::Running | Phase::StopAfterFlat if flatten => {
                self.durable.owe(JobKind::Flatten);
                self.durable.paused_since_wall_ms.get_or_insert(wall_ms);
                out.push(Action::Persist);
                self.order_owed(out);
                self.phase = Phase::StopAfterFlat;
                if let Some(id) = id {
                    self.waiting.push(id);
                }
            }
            Phase::Starting | Phase::Running | Phase::StopAfterFlat => {
                self.phase = Phase::Stopping;
                let text = self.left_behind();
                out.push(Action::Log { text: format!("stopping: {text}") });
                done(id, &format!("stopping; {text}"), true, out);
            }
        }
    }

    /// What is still open, and what watches it once this tree is gone.
    fn left_behind(&self) -> String {
        let Some(account) = self.account.as_ref().filter(|_| self.account_known) else {
            return "exposure is UNKNOWN: treat it as open; look at the venue".into();
        };
        if account.is_flat() {
            return "nothing is open".into();
        }
        let open: Vec<String> = account.positions.iter().map(|p| format!("{} {}", p.coin, p.size)).collect();
        let watch = match &self.dead_man {
            Some(report) if report.state == VenueDeadMan::Active => {
                "the venue's dead-man switch cancels resting orders; nobody closes positions"
            }
            Some(_) | None => "nothing watches it",
        };
        format!("STILL OPEN: {} ({} resting orders); {watch}", open.join(", "), account.orders.len())
    }

    pub(super) fn stop_after_verdict(&mut self, flat: bool, out: &mut Vec<Action>) {
        if self.phase != Phase::StopAfterFlat {
            return;
        }
        if flat {
            self.phase = Phase::Stopping;
        } else {
            self.phase = Phase::Running;
            let waiting = core::mem::take(&mut self.waiting);
            for id in waiting {
                refuse(Some(id), "not_flat", "not stopped: the account is not flat", "see `engine status`", out);
            }
        }
    }

    /// Whether deadman is still closing, or has proven flat so recently that a late fill may yet arrive. Bounded: a stop
    /// that waits for ever is a process that somebody kills.
    fn work_left(&self, now: Tick) -> bool {
        let since = self.stopping.unwrap_or(now);
        if self.drain.is_active() {
            return now.since(since) < STOP_JOB_PATIENCE;
        }
        self.proven.is_some_and(|proven| now.since(proven) < STOP_VIGIL)
    }

    /// Takes the next worker down once the one before it is gone.
    pub(super) fn take_down(&mut self, now: Tick, out: &mut Vec<Action>) {
        if self.phase != Phase::Stopping {
            return;
        }
        self.stopping.get_or_insert(now);
        for index in (0..self.slots.len()).rev() {
            let slot = &self.slots[index];
            let role = slot.role;
            if slot.state.is_down() {
                if slot.state != worker::State::Exited {
                    self.worker(now, role, worker::Event::Fence, out);
                }
                continue;
            }
            if role == Role::Deadman && self.work_left(now) {
                return;
            }
            let asked = matches!(slot.state, worker::State::Stopping { .. } | worker::State::Ending { .. });
            if !asked {
                self.worker(now, role, worker::Event::Stop, out);
            }
            return;
        }
        if self.drain.is_active() {
            out.push(Action::Log { text: "STOPPED WITH A REDUCE JOB UNFINISHED: the next start takes it up".into() });
        }
        self.phase = Phase::Finished;
        out.push(Action::Persist);
        out.push(Action::Finish);
    }
}
