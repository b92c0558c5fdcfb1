//! What the judge must never forget: epoch, latches, job numbers, restart budgets. One document in one durable cell.

use crate::duty::Duty;
use crate::ids::{Epoch, JobId, Role};
use crate::kill::{KillCause, KillLatch};
use crate::limits::KILL_REASON_CHARS_MAX;
use crate::report::JobKind;
use crate::restart::Deaths;
use crate::time::Span;
use alloc::string::String;
use serde::{Deserialize, Serialize};

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
    /// A reduce job was ordered without a kill, or taken over, and is not proven yet.
    pub owed: Option<JobKind>,
    /// Emergency reduce-only was raised and its cooldown had not ended; a restart re-arms the full cooldown.
    pub emergency: bool,
    /// Records of the same thing disagreed at a start, in words: no opening until the operator resumes.
    #[serde(default)]
    pub disagreement: Option<String>,
    /// Since when the kill and the pause were in force that an operator lifted last: deadman, which may not have heard of
    /// it, may tell of them once more.
    #[serde(default)]
    pub lifted_wall_ms: [Option<u64>; 2],
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
            owed: None,
            emergency: false,
            disagreement: None,
            lifted_wall_ms: [None; 2],
            operator_expires_wall_ms: None,
            deaths: Default::default(),
            written_by: String::new(),
        }
    }

    /// The state of a home that was used before and whose latches are gone. Whatever had been promised, the strictest
    /// promise is assumed: killed, until an operator resumes. The epoch is larger than any that can have been used.
    #[must_use]
    pub fn lost(wall_ms: u64) -> Self {
        let reason = Some("the supervisor's durable state was lost");
        let kill = KillLatch::new(wall_ms, KillCause::LatchesLost, reason, JobKind::Flatten);
        Self { epoch: Epoch(wall_ms), kill: Some(kill), ..Self::fresh() }
    }

    /// Sets the kill latch. Nothing is weakened by a later kill: what was to be closed stays to be closed (the end of a mere
    /// cancel would settle the flatten that is owed, and let a stop go on that waits for it), the first instant stays, and
    /// a kill without words does not wipe out why the first was ordered.
    pub fn latch_kill(&mut self, kill: KillLatch) {
        let kind = kill.kind.stronger(self.to_reduce());
        self.kill = Some(match self.kill.take() {
            None => KillLatch { kind, ..kill },
            Some(old) => KillLatch {
                since_wall_ms: old.since_wall_ms,
                cause: if old.cause == KillCause::LatchesLost { old.cause } else { kill.cause },
                reason: kill.reason.or(old.reason),
                kind,
            },
        });
    }

    /// A reduce job is owed from here on; a stronger one that is owed already stays.
    pub fn owe(&mut self, kind: JobKind) {
        self.owed = Some(kind.stronger(self.owed));
    }

    /// Two records of the same thing disagree. The first words stay, as many as fit into any cell.
    pub fn disagree(&mut self, words: &str) {
        let told = self.disagreement.get_or_insert_with(String::new);
        if !told.is_empty() {
            told.push_str("; ");
        }
        told.push_str(words);
        *told = told.chars().take(KILL_REASON_CHARS_MAX).collect();
    }

    /// What is to be reached for everything that is latched or owed, if anything is.
    #[must_use]
    pub fn to_reduce(&self) -> Option<JobKind> {
        let killed = self.kill.as_ref().map(|kill| kill.kind);
        self.owed.map_or(killed, |owed| Some(owed.stronger(killed)))
    }

    /// An operator resumed: no kill, no pause, nothing owed.
    pub fn lift(&mut self) {
        let kill = self.kill.take().map(|kill| kill.since_wall_ms);
        self.lifted_wall_ms = [kill, self.paused_since_wall_ms.take()];
        self.owed = None;
        self.disagreement = None;
    }

    /// What of a duty is still owed: not the very kill or pause that an operator has lifted.
    #[must_use]
    pub fn still_owed(&self, duty: Duty) -> Duty {
        let [killed, paused] = self.lifted_wall_ms;
        Duty {
            job: duty.job,
            kill: duty.kill.filter(|kill| killed != Some(kill.since_wall_ms)),
            paused_since_wall_ms: duty.paused_since_wall_ms.filter(|since| paused != Some(*since)),
        }
    }

    /// Takes over what deadman took on. Taking it over twice changes nothing more.
    pub fn take_over(&mut self, duty: &Duty) {
        if let Some(job) = duty.job {
            self.owe(job);
        }
        if let Some(kill) = &duty.kill {
            self.latch_kill(kill.clone());
        }
        if let Some(since) = duty.paused_since_wall_ms {
            self.paused_since_wall_ms.get_or_insert(since);
        }
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
    fn what_deadman_took_on_is_taken_over_and_never_weakened() {
        use JobKind::{CancelAll, Flatten};
        let kill = |kind| KillLatch::new(7, KillCause::Operator, Some("door"), kind);
        let duty = |job, kill, paused_since_wall_ms| Duty { job, kill, paused_since_wall_ms };
        // What stood before: owed, killed; the duty; what is owed, killed and to be reached then.
        type Kind = Option<JobKind>;
        type Case = (&'static str, (Kind, Kind), Duty, (Kind, Kind, Kind));
        let cases: [Case; 8] = [
            ("nothing", (None, None), duty(None, None, None), (None, None, None)),
            ("a flatten", (None, None), duty(Some(Flatten), None, None), (Some(Flatten), None, Some(Flatten))),
            ("a cancel", (None, None), duty(Some(CancelAll), None, None), (Some(CancelAll), None, Some(CancelAll))),
            (
                "a cancel under a flatten",
                (Some(Flatten), None),
                duty(Some(CancelAll), None, None),
                (Some(Flatten), None, Some(Flatten)),
            ),
            (
                "a flatten under a cancelling kill",
                (None, Some(CancelAll)),
                duty(Some(Flatten), None, None),
                (Some(Flatten), Some(CancelAll), Some(Flatten)),
            ),
            (
                "a proven kill at the door",
                (None, None),
                duty(None, Some(kill(Flatten)), None),
                (None, Some(Flatten), Some(Flatten)),
            ),
            (
                "a cancelling kill at the door under a flatten",
                (Some(Flatten), None),
                duty(None, Some(kill(CancelAll)), None),
                (Some(Flatten), Some(Flatten), Some(Flatten)),
            ),
            ("what cannot be read", (None, None), Duty::unreadable(1), (Some(Flatten), Some(Flatten), Some(Flatten))),
        ];
        for (name, (owed, killed), duty, expect) in cases {
            let mut durable = Durable { owed, kill: killed.map(kill), ..Durable::fresh() };
            for _ in 0..2 {
                durable.take_over(&duty);
                let kill = durable.kill.as_ref().map(|kill| kill.kind);
                assert_eq!((durable.owed, kill, durable.to_reduce()), expect, "{name}");
            }
        }
        let mut durable = Durable::fresh();
        durable.take_over(&duty(None, None, Some(5)));
        durable.take_over(&duty(None, None, Some(9)));
        assert_eq!(durable.paused_since_wall_ms, Some(5));
        let endless = "\u{1}".repeat(100_000);
        let kill = KillLatch::new(0, KillCause::Operator, Some(&endless), Flatten);
        let mut durable = Durable { kill: Some(kill), ..Durable::lost(1) };
        durable.disagree(&endless);
        durable.disagree("more");
        let fits = serde_json::to_vec(&durable).unwrap().len() <= crate::slot::PAYLOAD_MAX;
        assert!(fits, "a kill with many words is written down all the same");
    }

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
