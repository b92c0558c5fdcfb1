//! What deadman took on and has not handed over: its own durable cell, read by the next supervisor.
//!
//! A job that was begun belongs to whoever comes next, at whatever instant its process was ended. So it is written down
//! before its first order leaves and taken back only with its proof; what cannot be read counts as a kill, with
//! its flatten begun.

use crate::kill::{KillCause, KillLatch};
use crate::report::JobKind;
use serde::{Deserialize, Serialize};

/// The record. The default owes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duty {
    /// A reduce job was begun, by whomever it was ordered, and is not proven.
    pub job: Option<JobKind>,
    /// A kill that no supervisor ordered: asked at deadman's own door, or because the operator did not check in. Owed to
    /// the supervisor's latch, whatever becomes of the job.
    pub kill: Option<KillLatch>,
    /// A flatten was asked at deadman's own door: new risk is to stay blocked since then (wall-clock milliseconds).
    pub paused_since_wall_ms: Option<u64>,
}

impl Duty {
    /// What to assume of a record that cannot be read: it may have held a kill, so it is one, until an operator resumes.
    #[must_use]
    pub fn unreadable(wall_ms: u64) -> Self {
        let reason = Some("deadman's record (data/deadman.cell) was lost: it may have held a kill");
        let kill = KillLatch::new(wall_ms, KillCause::LatchesLost, reason, JobKind::Flatten);
        Self { job: Some(JobKind::Flatten), kill: Some(kill), paused_since_wall_ms: None }
    }

    /// Whether a latch is owed that only a supervisor can hold.
    #[must_use]
    pub const fn owes_a_latch(&self) -> bool {
        self.kill.is_some() || self.paused_since_wall_ms.is_some()
    }
}
