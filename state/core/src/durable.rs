//! What the judge must never forget: epoch, latches, job numbers, restart budgets. One document in one durable cell.

use crate::ids::{Epoch, JobId, Role};
use crate::report::JobKind;
use crate::restart::Deaths;
use crate::time::Span;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// Why the kill latch is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KillCause {
    /// The operator ordered it: by command, by `run/KILL` or by SIGUSR1.
    Operator,
    /// The operator did not check in.
    OperatorDeadMan,
    /// What was written down before is gone: nobody knows what had been promised.
    LatchesLost,
}

/// The kill latch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillLatch {
    /// When it was set, wall-clock milliseconds.
    pub since_wall_ms: u64,
    /// By whom.
    pub cause: KillCause,
    /// The operator's words.
    pub reason: Option<String>,
    /// Whether positions are closed too.
    pub kind: JobKind,
}

/// Everything of the supervisor that survives a restart of anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durable {
    /// Last epoch handed out.
    pub epoch: Epoch,
    /// Last job number handed out.
    pub last_job: JobId,
    /// The kill latch.
    pub kill: Option<KillLatch>,
    /// The operator paused new risk, since then (wall-clock milliseconds).
    pub paused_since_wall_ms: Option<u64>,
    /// A flatten was ordered and is not proven yet.
    pub flatten_pending: bool,
    /// Emergency reduce-only was raised and its cooldown had not ended; a restart re-arms the full cooldown.
    pub emergency: bool,
    /// When the operator must have checked in, wall-clock milliseconds.
    pub operator_expires_wall_ms: Option<u64>,
    /// Deaths per role, indexed by [`Role::index`].
    pub deaths: [Deaths; 5],
    /// Pid, start time and boot id of the supervisor that wrote this, for people.
    pub written_by: String,
}

impl Durable {
    /// The state of a home that was never used.
    #[must_use]
    pub fn fresh() -> Self {
        Self {
            epoch: Epoch(0),
            last_job: JobId(0),
            kill: None,
            paused_since_wall_ms: None,
            flatten_pending: false,
            emergency: false,
            operator_expires_wall_ms: None,
            deaths: Default::default(),
            written_by: String::new(),
        }
    }

    /// The state of a home that was used before and whose latches are gone. Whatever had been promised, the strictest
    /// promise is assumed: killed, until an operator resumes. The epoch is larger than any that can have been used.
    #[must_use]
    pub fn lost(wall_ms: u64) -> Self {
        let reason = Some(String::from("the supervisor's durable state was lost"));
        let kill = KillLatch { since_wall_ms: wall_ms, cause: KillCause::LatchesLost, reason, kind: JobKind::Flatten };
        Self { epoch: Epoch(wall_ms), kill: Some(kill), ..Self::fresh() }
    }

    /// Brings the operator's deadline into line with the configuration, once at each start: switched off it is gone,
    /// switched on it runs from now. One that runs already goes on: a restart is no check-in.
    pub fn configure_operator(&mut self, period: Option<Span>, wall_ms: u64) {
        self.operator_expires_wall_ms = period.map(|period| {
            let longest = wall_ms.saturating_add(period.as_ms());
            // A clock that was ahead when it was written, or a period made shorter, does not put it off.
            self.operator_expires_wall_ms.map_or(longest, |expires| expires.min(longest))
        });
    }

    /// The deaths of one role.
    pub const fn deaths_of(&mut self, role: Role) -> &mut Deaths {
        match role {
            Role::Venue => &mut self.deaths[0],
            Role::Deadman => &mut self.deaths[1],
            Role::Sensor => &mut self.deaths[2],
            Role::Api => &mut self.deaths[3],
            Role::Engine => &mut self.deaths[4],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_deadline_follows_the_configuration_and_no_restart_puts_it_off() {
        let hour = Span::from_ms(3_600_000);
        let cases = [
            ("first switched on: it runs from now", None, Some(hour), Some(3_601_000)),
            ("a restart is no check-in", Some(5000), Some(hour), Some(5000)),
            ("one that passed while nothing ran stays passed", Some(10), Some(hour), Some(10)),
            ("never further away than the period", Some(999_999_999), Some(hour), Some(3_601_000)),
            ("switched off", Some(5000), None, None),
        ];
        for (name, stored, period, expect) in cases {
            let mut durable = Durable::fresh();
            durable.operator_expires_wall_ms = stored;
            durable.configure_operator(period, 1000);
            assert_eq!(durable.operator_expires_wall_ms, expect, "{name}");
        }
    }
}
