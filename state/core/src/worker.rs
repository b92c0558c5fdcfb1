//! One worker's life: what state it is in, and what each event makes of it.
//!
//! Degrade early, kill late: lateness is judged on the boot clock, but a worker is killed for silence only by the watch
//! clock, which stands still while the supervisor itself did not run. Every pair of state and event is printed to
//! `fixtures/machine/worker.txt`.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what makes no sense in a state changes nothing, whatever states are added; such an arm never permits"
)]

use crate::limits::{
    BEAT_LATE, HELLO_DEADLINE, PROBATION, PROGRESS_HUNG, PROGRESS_LATE, START_DEADLINE, STOP_GRACE, WORKER_HUNG,
};
use crate::restart::Verdict;
use crate::time::Tick;

/// The boot clock, and the watch clock that skips the supervisor's own stalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Boot clock.
    pub tick: Tick,
    /// Watch clock: the same units, but own stalls are not counted.
    pub watch: Tick,
}

/// Signs of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Last beat, boot clock.
    pub beat: Tick,
    /// Last beat, watch clock.
    pub beat_watch: Tick,
    /// Last value of the progress counter.
    pub progress: u64,
    /// When it last moved, boot clock.
    pub moved: Tick,
    /// When it last moved, watch clock.
    pub moved_watch: Tick,
}

impl Pulse {
    const fn first(now: Now) -> Self {
        Self { beat: now.tick, beat_watch: now.watch, progress: 0, moved: now.tick, moved_watch: now.watch }
    }

    const fn beat(self, now: Now, progress: u64) -> Self {
        let (moved, moved_watch) =
            if progress == self.progress { (self.moved, self.moved_watch) } else { (now.tick, now.watch) };
        Self { beat: now.tick, beat_watch: now.watch, progress, moved, moved_watch }
    }

    fn late(self, now: Now) -> bool {
        now.tick.since(self.beat) > BEAT_LATE || now.tick.since(self.moved) > PROGRESS_LATE
    }

    fn hung(self, now: Now) -> bool {
        now.watch.since(self.beat_watch) > WORKER_HUNG || now.watch.since(self.moved_watch) > PROGRESS_HUNG
    }
}

/// What happens once a process that is being ended is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The restart policy decides.
    Restart,
    /// It stays down until started by intent.
    StayDown,
}

/// Where a worker is in its life. A variant holds exactly what that state needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not running, by intent or not yet started.
    Exited,
    /// Spawn was ordered; no hello yet.
    Starting {
        /// Its process, once the spawn went through.
        pid: Option<u32>,
        /// Must have said hello by then.
        hello_by: Tick,
    },
    /// Authenticated; still setting up.
    Greeted {
        /// Its process.
        pid: u32,
        /// Must be ready by then.
        ready_by: Tick,
        /// Signs of life.
        pulse: Pulse,
    },
    /// Working. Counts as running once probation is over.
    Ready {
        /// Its process.
        pid: u32,
        /// Signs of life.
        pulse: Pulse,
        /// End of probation.
        settled: Tick,
    },
    /// Late: new risk is blocked, the worker lives on.
    Degraded {
        /// Its process.
        pid: u32,
        /// Signs of life.
        pulse: Pulse,
    },
    /// Asked to drain.
    Stopping {
        /// Its process.
        pid: u32,
        /// SIGKILL then.
        kill_at: Tick,
        /// What follows.
        then: Then,
    },
    /// SIGKILL was sent; waiting for the kernel to say it is gone.
    Ending {
        /// Its process.
        pid: u32,
        /// What follows.
        then: Then,
    },
    /// Waiting to be started again.
    Backoff {
        /// Until then.
        until: Tick,
    },
    /// Restart budget spent: stays down, loudly.
    Failed,
}

/// What can happen to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Run it.
    Start,
    /// The process exists.
    Spawned {
        /// Its pid.
        pid: u32,
    },
    /// It authenticated.
    Greeted,
    /// It is set up; probation ends then.
    Ready {
        /// End of probation.
        settled: Tick,
    },
    /// A beat.
    Beat {
        /// Its progress counter.
        progress: u64,
    },
    /// It broke the protocol or its connection.
    Fault,
    /// The process is gone, or could not be made; the restart policy has decided.
    Gone {
        /// Its decision.
        verdict: Verdict,
    },
    /// Ask it to finish and stay down.
    Stop,
    /// End it now and keep it down.
    Fence,
    /// Time passed.
    Time,
}

/// What a step asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the process.
    Spawn,
    /// SIGKILL it.
    Kill,
    /// Ask it to drain.
    AskDrain,
}

impl State {
    /// The word in the status document.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Starting { .. } | Self::Greeted { .. } => "starting",
            Self::Ready { .. } => "ready",
            Self::Degraded { .. } => "degraded",
            Self::Stopping { .. } | Self::Ending { .. } => "stopping",
            Self::Backoff { .. } => "backoff",
            Self::Failed => "failed",
        }
    }

    /// Its process, if it has one.
    #[must_use]
    pub const fn pid(&self) -> Option<u32> {
        match self {
            Self::Starting { pid, .. } => *pid,
            Self::Greeted { pid, .. }
            | Self::Ready { pid, .. }
            | Self::Degraded { pid, .. }
            | Self::Stopping { pid, .. }
            | Self::Ending { pid, .. } => Some(*pid),
            Self::Exited | Self::Backoff { .. } | Self::Failed => None,
        }
    }

    /// Its signs of life, if it is connected.
    #[must_use]
    pub const fn pulse(&self) -> Option<Pulse> {
        match self {
            Self::Greeted { pulse, .. } | Self::Ready { pulse, .. } | Self::Degraded { pulse, .. } => Some(*pulse),
            Self::Exited
            | Self::Starting { .. }
            | Self::Stopping { .. }
            | Self::Ending { .. }
            | Self::Backoff { .. }
            | Self::Failed => None,
        }
    }

    /// Ready, and past probation: the only state in which new risk is possible.
    #[must_use]
    pub fn is_running(&self, now: Tick) -> bool {
        matches!(self, Self::Ready { settled, .. } if now >= *settled)
    }

    /// Can be spoken to and does its work, probation or not.
    #[must_use]
    pub const fn is_serving(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Degraded { .. })
    }

    /// Whether no process of it exists.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        matches!(self, Self::Exited | Self::Backoff { .. } | Self::Failed)
    }

    /// When time alone changes this state, if it does.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        match self {
            Self::Starting { hello_by, .. } => Some(*hello_by),
            Self::Greeted { ready_by, .. } => Some(*ready_by),
            Self::Ready { pulse, .. } => {
                Some(pulse.beat.after(BEAT_LATE).min(pulse.moved.after(PROGRESS_LATE)).after(crate::time::Span(1)))
            }
            Self::Stopping { kill_at, .. } => Some(*kill_at),
            Self::Backoff { until } => Some(*until),
            Self::Degraded { .. } | Self::Exited | Self::Ending { .. } | Self::Failed => None,
        }
    }

    /// One step. Never blocks, never fails; what makes no sense in a state changes nothing.
    #[must_use]
    pub fn step(self, now: Now, event: Event) -> (Self, Option<Action>) {
        match event {
            Event::Start => self.start(now),
            Event::Spawned { pid } => self.spawned(pid),
            Event::Greeted => self.greeted(now),
            Event::Ready { settled } => self.ready(settled),
            Event::Beat { progress } => self.beat(now, progress),
            Event::Fault => self.end(Then::Restart),
            Event::Gone { verdict } => self.gone(now, verdict),
            Event::Stop => self.stop(now),
            Event::Fence => self.end(Then::StayDown),
            Event::Time => self.time(now),
        }
    }

    const fn spawn(now: Now) -> (Self, Option<Action>) {
        (Self::Starting { pid: None, hello_by: now.tick.after(HELLO_DEADLINE) }, Some(Action::Spawn))
    }

    const fn start(self, now: Now) -> (Self, Option<Action>) {
        if self.is_down() { Self::spawn(now) } else { (self, None) }
    }

    const fn spawned(self, pid: u32) -> (Self, Option<Action>) {
        match self {
            Self::Starting { pid: None, hello_by } => (Self::Starting { pid: Some(pid), hello_by }, None),
            _ => (self, None),
        }
    }

    const fn greeted(self, now: Now) -> (Self, Option<Action>) {
        match self {
            Self::Starting { pid: Some(pid), .. } => {
                let ready_by = now.tick.after(START_DEADLINE);
                (Self::Greeted { pid, ready_by, pulse: Pulse::first(now) }, None)
            }
            _ => (self, None),
        }
    }

    const fn ready(self, settled: Tick) -> (Self, Option<Action>) {
        match self {
            Self::Greeted { pid, pulse, .. } => (Self::Ready { pid, pulse, settled }, None),
            _ => (self, None),
        }
    }

    fn beat(self, now: Now, progress: u64) -> (Self, Option<Action>) {
        let state = match self {
            Self::Greeted { pid, ready_by, pulse } => Self::Greeted { pid, ready_by, pulse: pulse.beat(now, progress) },
            Self::Ready { pid, pulse, settled } => Self::late_or_ready(now, pid, pulse.beat(now, progress), settled),
            Self::Degraded { pid, pulse } => {
                Self::late_or_ready(now, pid, pulse.beat(now, progress), now.tick.after(PROBATION))
            }
            other => other,
        };
        (state, None)
    }

    fn late_or_ready(now: Now, pid: u32, pulse: Pulse, settled: Tick) -> Self {
        if pulse.late(now) { Self::Degraded { pid, pulse } } else { Self::Ready { pid, pulse, settled } }
    }

    const fn end(self, then: Then) -> (Self, Option<Action>) {
        match self {
            Self::Starting { pid: Some(pid), .. }
            | Self::Greeted { pid, .. }
            | Self::Ready { pid, .. }
            | Self::Degraded { pid, .. } => (Self::Ending { pid, then }, Some(Action::Kill)),
            Self::Stopping { pid, then: old, .. } | Self::Ending { pid, then: old } => {
                // Staying down is never turned back into a restart here.
                let then = match (old, then) {
                    (Then::Restart, Then::Restart) => Then::Restart,
                    (Then::StayDown, _) | (_, Then::StayDown) => Then::StayDown,
                };
                (Self::Ending { pid, then }, Some(Action::Kill))
            }
            Self::Backoff { .. } | Self::Starting { pid: None, .. } => match then {
                Then::StayDown => (Self::Exited, None),
                Then::Restart => (self, None),
            },
            Self::Exited | Self::Failed => (self, None),
        }
    }

    fn gone(self, now: Now, verdict: Verdict) -> (Self, Option<Action>) {
        let stays_down = matches!(
            self,
            Self::Exited | Self::Stopping { then: Then::StayDown, .. } | Self::Ending { then: Then::StayDown, .. }
        );
        match verdict {
            _ if stays_down => (Self::Exited, None),
            _ if self == Self::Failed => (Self::Failed, None),
            Verdict::Now => Self::spawn(now),
            Verdict::After(span) => (Self::Backoff { until: now.tick.after(span) }, None),
            Verdict::GiveUp => (Self::Failed, None),
        }
    }

    const fn stop(self, now: Now) -> (Self, Option<Action>) {
        match self {
            Self::Greeted { pid, .. } | Self::Ready { pid, .. } | Self::Degraded { pid, .. } => {
                let kill_at = now.tick.after(STOP_GRACE);
                (Self::Stopping { pid, kill_at, then: Then::StayDown }, Some(Action::AskDrain))
            }
            Self::Stopping { pid, kill_at, .. } => (Self::Stopping { pid, kill_at, then: Then::StayDown }, None),
            Self::Ending { pid, .. } => (Self::Ending { pid, then: Then::StayDown }, None),
            // Nobody to ask: not connected yet, or not running.
            Self::Starting { .. } | Self::Backoff { .. } | Self::Exited | Self::Failed => self.end(Then::StayDown),
        }
    }

    fn time(self, now: Now) -> (Self, Option<Action>) {
        match self {
            Self::Starting { pid: Some(_), hello_by } if now.tick > hello_by => self.end(Then::Restart),
            Self::Greeted { ready_by, pulse, .. } if now.tick > ready_by || pulse.hung(now) => self.end(Then::Restart),
            Self::Ready { pulse, .. } | Self::Degraded { pulse, .. } if pulse.hung(now) => self.end(Then::Restart),
            Self::Ready { pid, pulse, .. } if pulse.late(now) => (Self::Degraded { pid, pulse }, None),
            Self::Stopping { pid, kill_at, then } if now.tick > kill_at => {
                (Self::Ending { pid, then }, Some(Action::Kill))
            }
            Self::Backoff { until } if now.tick >= until => Self::spawn(now),
            other => (other, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;
    use alloc::format;
    use alloc::string::String;
    extern crate std;

    const T0: Tick = Tick(100_000_000_000);

    fn at(ms: u64) -> Now {
        let tick = T0.after(Span::from_ms(ms));
        Now { tick, watch: tick }
    }

    fn states() -> [(&'static str, State); 10] {
        let pulse = Pulse::first(at(0));
        [
            ("exited", State::Exited),
            ("starting (no pid)", State::Starting { pid: None, hello_by: at(5000).tick }),
            ("starting", State::Starting { pid: Some(7), hello_by: at(5000).tick }),
            ("greeted", State::Greeted { pid: 7, ready_by: at(10_000).tick, pulse }),
            ("ready", State::Ready { pid: 7, pulse, settled: at(0).tick }),
            ("degraded", State::Degraded { pid: 7, pulse }),
            ("stopping", State::Stopping { pid: 7, kill_at: at(2000).tick, then: Then::StayDown }),
            ("ending", State::Ending { pid: 7, then: Then::Restart }),
            ("backoff", State::Backoff { until: at(1000).tick }),
            ("failed", State::Failed),
        ]
    }

    fn events() -> [(&'static str, u64, Event); 16] {
        [
            ("start", 100, Event::Start),
            ("spawned", 100, Event::Spawned { pid: 9 }),
            ("greeted", 100, Event::Greeted),
            ("ready", 100, Event::Ready { settled: at(10_100).tick }),
            ("beat", 100, Event::Beat { progress: 1 }),
            ("beat, no progress for 6 s", 6000, Event::Beat { progress: 0 }),
            ("fault", 100, Event::Fault),
            ("gone, restart now", 100, Event::Gone { verdict: Verdict::Now }),
            ("gone, back off", 100, Event::Gone { verdict: Verdict::After(Span::from_ms(250)) }),
            ("gone, give up", 100, Event::Gone { verdict: Verdict::GiveUp }),
            ("stop", 100, Event::Stop),
            ("fence", 100, Event::Fence),
            ("time +0.5 s", 500, Event::Time),
            ("time +0.8 s", 800, Event::Time),
            ("time +2.1 s", 2100, Event::Time),
            ("time +12 s", 12_000, Event::Time),
        ]
    }

    #[test]
    fn every_state_and_event_is_in_the_reviewed_table() {
        let mut table = String::from("state | event | next | action\n");
        for (name, state) in states() {
            for (event_name, ms, event) in events() {
                let (next, action) = state.step(at(ms), event);
                let action = action.map_or_else(|| "-".into(), |a| format!("{a:?}"));
                let then = match next {
                    State::Stopping { then, .. } | State::Ending { then, .. } => format!(" then {then:?}"),
                    _ => String::new(),
                };
                table += &format!("{name} | {event_name} | {}{then} | {action}\n", next.as_str());
            }
        }
        crate::golden::check("worker.txt", &table);
    }

    #[test]
    fn silence_while_the_supervisor_itself_slept_degrades_but_does_not_kill() {
        let ready = State::Ready { pid: 7, pulse: Pulse::first(at(0)), settled: at(0).tick };
        let slept = Now { tick: at(60_000).tick, watch: at(250).watch };
        let (state, action) = ready.step(slept, Event::Time);
        assert_eq!((state.as_str(), action), ("degraded", None));
        let (state, _) = state.step(slept, Event::Beat { progress: 1 });
        assert_eq!(state.as_str(), "ready");
        assert!(!state.is_running(slept.tick), "probation first");
    }

    #[test]
    fn a_fenced_worker_is_never_restarted() {
        for (name, state) in states() {
            let (fenced, _) = state.step(at(1), Event::Fence);
            for verdict in [Verdict::Now, Verdict::After(Span::from_ms(1)), Verdict::GiveUp] {
                let (after, action) = fenced.step(at(2), Event::Gone { verdict });
                assert!(action.is_none() && after.is_down(), "{name}: {after:?}");
            }
            let (faulted, _) = fenced.step(at(2), Event::Fault);
            let (after, action) = faulted.step(at(3), Event::Gone { verdict: Verdict::Now });
            assert!(action.is_none() && after.is_down(), "{name}: a fault does not undo the fence");
        }
    }

    #[test]
    fn spawn_only_from_down_or_gone() {
        for (name, state) in states() {
            for (event_name, ms, event) in events() {
                let (_, action) = state.step(at(ms), event);
                let may = state.is_down() || matches!(event, Event::Gone { .. });
                assert!(action != Some(Action::Spawn) || may, "INV-7 broken by {name} × {event_name}");
            }
        }
    }
}
