//! The kill and flatten job: fence the engine if it is a kill, hand the work to deadman, and keep at it until a proven
//! flat.
//!
//! The job outlives every process: a deadman that dies or falls silent gets it again from the start. A verdict is never
//! remembered as an answer: a new order is a new job.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what makes no sense in a state changes nothing, whatever states are added; such an arm never permits"
)]

use crate::ids::JobId;
use crate::limits::{FENCE_PATIENCE, JOB_SILENCE, TICK};
use crate::report::{JobKind, JobProgress, JobState, Residue};
use crate::time::Tick;
use alloc::vec::Vec;

/// Where the job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Nothing to do.
    Idle,
    /// SIGKILL was sent to the engine; waiting for its process to be gone.
    Fencing {
        /// The job.
        job: JobId,
        /// What it is to reach.
        kind: JobKind,
        /// Since when an engine is waited for; a repeated order does not wait anew.
        since: Tick,
    },
    /// To be handed to deadman as soon as it can take it.
    Ordered {
        /// The job.
        job: JobId,
        /// What it is to reach.
        kind: JobKind,
    },
    /// Deadman has it.
    Working {
        /// The job.
        job: JobId,
        /// What it is to reach.
        kind: JobKind,
        /// When deadman last spoke of it.
        heard: Tick,
        /// How far it is.
        state: JobState,
        /// What is left.
        residue: Vec<Residue>,
    },
    /// A fresh, complete venue read showed nothing open.
    Flat {
        /// The job.
        job: JobId,
        /// What it was to reach.
        kind: JobKind,
        /// Venue time of that read.
        proof_venue_ms: Option<u64>,
    },
}

/// What can happen to the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new job; `fence` when the engine's process must be gone first.
    Order {
        /// Its number.
        job: JobId,
        /// What it is to reach.
        kind: JobKind,
        /// Whether an engine process exists that must be ended first.
        fence: bool,
    },
    /// No engine process exists any more.
    EngineGone,
    /// Deadman can take orders.
    DeadmanServing,
    /// Deadman's process is gone.
    DeadmanGone,
    /// Deadman reports.
    Progress(JobProgress),
    /// The job is no longer wanted: the operator resumed.
    Release,
    /// Time passed; tells whether deadman can take orders now.
    Time {
        /// Deadman is serving.
        serving: bool,
    },
}

/// What a step asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand the job to deadman.
    Tell {
        /// The job.
        job: JobId,
        /// What it is to reach.
        kind: JobKind,
    },
    /// A verdict for those who wait.
    Verdict(JobProgress),
    /// Progress for those who wait.
    Progress(JobProgress),
}

impl Drain {
    /// The word in the status document.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Idle => "none",
            Self::Fencing { .. } | Self::Ordered { .. } => JobState::Fencing.as_str(),
            Self::Working { state, .. } => state.as_str(),
            Self::Flat { .. } => JobState::Flat.as_str(),
        }
    }

    /// What the present or last job was to reach.
    #[must_use]
    pub const fn kind(&self) -> Option<JobKind> {
        match self {
            Self::Idle => None,
            Self::Fencing { kind, .. }
            | Self::Ordered { kind, .. }
            | Self::Working { kind, .. }
            | Self::Flat { kind, .. } => Some(*kind),
        }
    }

    /// Whether work is left.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        match self {
            Self::Fencing { .. } | Self::Ordered { .. } | Self::Working { .. } => true,
            Self::Idle | Self::Flat { .. } => false,
        }
    }

    /// What is left, as last reported.
    #[must_use]
    pub fn residue(&self) -> &[Residue] {
        match self {
            Self::Working { residue, .. } => residue,
            Self::Idle | Self::Fencing { .. } | Self::Ordered { .. } | Self::Flat { .. } => &[],
        }
    }

    const fn pending(&self) -> Option<(JobId, JobKind)> {
        match self {
            Self::Fencing { job, kind, .. } | Self::Ordered { job, kind } | Self::Working { job, kind, .. } => {
                Some((*job, *kind))
            }
            Self::Idle | Self::Flat { .. } => None,
        }
    }

    /// One step. Never blocks, never fails.
    #[must_use]
    pub fn step(self, now: Tick, event: Event) -> (Self, Option<Action>) {
        match event {
            Event::Order { job, kind, fence: true } => {
                let since = if let Self::Fencing { since, .. } = self { since } else { now };
                (Self::Fencing { job, kind, since }, None)
            }
            Event::Order { job, kind, fence: false } => (Self::Ordered { job, kind }, None),
            Event::EngineGone => match self {
                Self::Fencing { job, kind, .. } => (Self::Ordered { job, kind }, None),
                other => (other, None),
            },
            Event::DeadmanServing | Event::Time { serving: true } => self.serving(now),
            Event::DeadmanGone => match self {
                Self::Working { job, kind, .. } => (Self::Ordered { job, kind }, None),
                other => (other, None),
            },
            Event::Progress(progress) => self.progress(now, progress),
            Event::Release => match self {
                Self::Flat { .. } => (Self::Idle, None),
                other => (other, None),
            },
            Event::Time { serving: false } => (self, None),
        }
    }

    fn serving(self, now: Tick) -> (Self, Option<Action>) {
        let silent = match &self {
            Self::Ordered { .. } => true,
            // A process with SIGKILL pending executes nothing more of its own, but a thread of it that sits in a stalled
            // disk keeps the kernel from reporting its end. What it sent has expired with its permit by now.
            Self::Fencing { since, .. } if now.since(*since) >= FENCE_PATIENCE => true,
            Self::Working { heard, .. } => now.since(*heard) > JOB_SILENCE,
            Self::Idle | Self::Fencing { .. } | Self::Flat { .. } => false,
        };
        match self.pending() {
            Some((job, kind)) if silent => {
                let state = JobState::Cancelling;
                (Self::Working { job, kind, heard: now, state, residue: Vec::new() }, Some(Action::Tell { job, kind }))
            }
            _ => (self, None),
        }
    }

    fn progress(self, now: Tick, progress: JobProgress) -> (Self, Option<Action>) {
        let (job, kind) = match self {
            Self::Working { job, kind, .. } if progress.job == job => (job, kind),
            // Something arrived after the proof (a late fill): deadman has taken the job up again.
            Self::Flat { job, kind, .. } if progress.job == job && progress.state != JobState::Flat => (job, kind),
            _ => return (self, None),
        };
        // A flat without the venue time of the read that proves it is not a proof.
        if progress.state == JobState::Flat && progress.proof_venue_ms.is_some() && progress.residue.is_empty() {
            let state = Self::Flat { job, kind, proof_venue_ms: progress.proof_venue_ms };
            return (state, Some(Action::Verdict(progress)));
        }
        let state = if progress.state == JobState::Flat { JobState::NotFlat } else { progress.state };
        let residue = progress.residue.clone();
        let next = Self::Working { job, kind, heard: now, state, residue };
        let progress = JobProgress { state, ..progress };
        let action = if state.is_verdict() { Action::Verdict(progress) } else { Action::Progress(progress) };
        (next, Some(action))
    }

    /// When time alone changes something.
    #[must_use]
    pub const fn next_deadline(&self, now: Tick) -> Option<Tick> {
        match self {
            Self::Ordered { .. } => Some(now.after(TICK)),
            Self::Working { heard, .. } => Some(heard.after(JOB_SILENCE)),
            Self::Idle | Self::Fencing { .. } | Self::Flat { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;

    fn report(job: u64, state: JobState, proof: Option<u64>) -> JobProgress {
        let residue = Vec::new();
        JobProgress { job: JobId(job), state, round: 1, residue, proof_venue_ms: proof, detail: String::new() }
    }

    #[test]
    fn every_state_and_event_is_in_the_reviewed_table() {
        let (job, kind, now) = (JobId(3), JobKind::Flatten, Tick(50_000_000_000));
        let state = JobState::Closing;
        let states = [
            ("idle", Drain::Idle),
            ("fencing", Drain::Fencing { job, kind, since: now }),
            ("fencing for long", Drain::Fencing { job, kind, since: Tick(0) }),
            ("ordered", Drain::Ordered { job, kind }),
            ("working", Drain::Working { job, kind, heard: now, state, residue: vec![] }),
            ("working, silent", Drain::Working { job, kind, heard: Tick(0), state, residue: vec![] }),
            ("flat", Drain::Flat { job, kind, proof_venue_ms: Some(1) }),
        ];
        let events = [
            ("order, engine lives", Event::Order { job: JobId(4), kind, fence: true }),
            ("order, no engine", Event::Order { job: JobId(4), kind, fence: false }),
            ("engine gone", Event::EngineGone),
            ("deadman serving", Event::DeadmanServing),
            ("deadman gone", Event::DeadmanGone),
            ("progress closing", Event::Progress(report(3, JobState::Closing, None))),
            ("progress of another job", Event::Progress(report(2, JobState::Flat, Some(9)))),
            ("flat with proof", Event::Progress(report(3, JobState::Flat, Some(9)))),
            ("flat without proof", Event::Progress(report(3, JobState::Flat, None))),
            ("not flat", Event::Progress(report(3, JobState::NotFlat, None))),
            ("release", Event::Release),
            ("time, deadman serving", Event::Time { serving: true }),
            ("time, deadman down", Event::Time { serving: false }),
        ];
        let mut table = String::from("state | event | next | action\n");
        for (name, state) in &states {
            for (event_name, event) in &events {
                let (next, action) = state.clone().step(now, event.clone());
                let action = match action {
                    None => String::from("-"),
                    Some(Action::Tell { job, .. }) => format!("tell deadman job {}", job.0),
                    Some(Action::Verdict(p)) => format!("verdict {}", p.state.as_str()),
                    Some(Action::Progress(p)) => format!("progress {}", p.state.as_str()),
                };
                table += &format!("{name} | {event_name} | {} | {action}\n", next.as_str());
            }
        }
        crate::golden::check("kill.txt", &table);
    }
}
