//! What is recorded of the tree's life: a closed list of event types, each with its own payload.
//!
//! * Transitions only, never ticks: what changes nothing is not written down twice.
//! * Sizes and money are texts with the exact decimal. No secret and no configured value can be named here.
//! * Words that come from outside are cut: a record always fits a line of the log.

use crate::checksum::Checksum;
use crate::command::Class;
use crate::ids::{Epoch, Generation, JobId, Role};
use crate::registry::{ModeReason, Profile, TradingMode};
use crate::report::{JobKind, JobProgress, JobState, Residue};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Serialize;

/// Characters kept of words for people.
const WORDS_MAX: usize = 500;
/// Entries kept of a list of what is left.
const RESIDUE_MAX: usize = 64;

/// How an order of the operator's came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// The control socket.
    Control,
    /// A signal.
    Signal,
    /// A file in `run/`.
    File,
}

/// Who ordered something, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Caller {
    /// The way in.
    pub door: Door,
    /// The user at the other end, by the kernel's word; absent where nobody is at the other end.
    pub uid: Option<u32>,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// In force.
    Accepted,
    /// It was shown what would be allowed, and the phrase for it.
    Offered,
    /// Not done.
    Refused,
}

/// Something that holds new risk back for as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// The kill latch.
    Kill,
    /// The operator's pause.
    Pause,
    /// A reduce job that is owed and not proven.
    OwedJob,
    /// Books must be reconciled first.
    OpenPermission,
    /// The emergency cooldown.
    Emergency,
    /// A hard limit of the engine.
    Limit,
    /// A standing cause in the engine's own gate.
    EngineGate,
    /// The decision journal.
    DecisionJournal,
    /// The disk under the latches.
    Latches,
    /// The runtime bus itself.
    Bus,
}

/// Something that happened. Each variant is one event type; its fields are the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Record {
    /// `operator.command`: every control, refused ones too.
    OperatorCommand {
        /// The command's word.
        command: &'static str,
        /// What it can do to risk.
        class: Class,
        /// Who, and how.
        #[serde(flatten)]
        caller: Caller,
        /// What became of it.
        outcome: Outcome,
        /// Why it was refused: a stable word.
        code: Option<&'static str>,
        /// The operator's words.
        reason: Option<String>,
    },
    /// `worker.state`: a worker is in another state.
    WorkerState {
        /// Which.
        role: Role,
        /// Which start of it.
        generation: Generation,
        /// Its process, while it has one.
        pid: Option<u32>,
        /// The state it left.
        before: &'static str,
        /// The state it is in.
        state: &'static str,
        /// How it ended, if this is its end.
        exit: Option<String>,
    },
    /// `supervisor.epoch`: a supervisor began.
    SupervisorEpoch {
        /// Its fencing number.
        epoch: Epoch,
        /// The one before; zero in a new home.
        previous_epoch: Epoch,
        /// Time since the last event before this start; absent when there was none.
        gap_ms: Option<u64>,
        /// Whether the last writer ended in order.
        clean_end: bool,
        /// What the home is for.
        profile: Profile,
        /// Its process.
        pid: u32,
        /// Release and build.
        build: String,
    },
    /// `config.loaded`: what the tree runs with, as a hash only.
    ConfigLoaded {
        /// Checksum of the effective configuration's canonical text.
        checksum: Checksum,
    },
    /// `permit.granted`: opening became possible.
    PermitGranted {
        /// Fencing number.
        epoch: Epoch,
        /// The engine's start it is for.
        generation: Generation,
    },
    /// `permit.revoked`: it was taken back.
    PermitRevoked {
        /// Fencing number.
        epoch: Epoch,
        /// The engine's start it was for.
        generation: Generation,
    },
    /// `permit.expired`: it lapsed because nobody renewed it.
    PermitExpired {
        /// Fencing number.
        epoch: Epoch,
        /// The engine's start it was for.
        generation: Generation,
    },
    /// `status.mode`: another mode, or other reasons for it.
    StatusMode {
        /// The mode before.
        before: TradingMode,
        /// The mode.
        mode: TradingMode,
        /// Its reasons.
        reasons: Vec<ModeReason>,
    },
    /// `lifecycle.transition`: the tree's own life.
    LifecycleTransition {
        /// The phase before.
        before: &'static str,
        /// The phase.
        phase: &'static str,
    },
    /// `breaker.opened`: something holds new risk back, or does so for other causes.
    BreakerOpened {
        /// What.
        breaker: Breaker,
        /// Why: registry words where there are any, else one line.
        causes: Vec<String>,
    },
    /// `breaker.closed`: it does not any more.
    BreakerClosed {
        /// What.
        breaker: Breaker,
    },
    /// `reduce.attempt`: a step of a reduce job.
    ReduceAttempt {
        /// Which job; 0 is deadman's own.
        job: JobId,
        /// What it is to reach; absent for deadman's own.
        kind: Option<JobKind>,
        /// How far it is; absent when it was just handed out.
        state: Option<JobState>,
        /// Round of the ladder.
        round: u32,
        /// What is left, the first of it.
        residue: Vec<Residue>,
        /// How much is left.
        residue_total: usize,
        /// For people.
        detail: String,
    },
    /// `reduce.confirmed`: a fresh, complete read proved it.
    ReduceConfirmed {
        /// Which job; 0 is deadman's own.
        job: JobId,
        /// What it was to reach; absent for deadman's own.
        kind: Option<JobKind>,
        /// Round of the ladder.
        round: u32,
        /// Venue time of that read, milliseconds since the epoch.
        proof_venue_ms: Option<u64>,
        /// For people.
        detail: String,
    },
    /// `reconciliation.drift`: books and venue differ, or could not be compared.
    ReconciliationDrift {
        /// Request that was answered; absent when nobody asked.
        asked: Option<u64>,
        /// For people.
        detail: String,
    },
    /// `reconciliation.clean`: books and venue agree.
    ReconciliationClean {
        /// Request that was answered.
        asked: u64,
        /// For people.
        detail: String,
    },
    /// `heartbeat.expired`: the operator did not check in.
    HeartbeatExpired {
        /// The deadline that passed, wall-clock milliseconds; absent when it is not known here.
        deadline_wall_ms: Option<u64>,
    },
}

/// A payload as it is written: the fields, and the schema of the type.
#[derive(Debug, Serialize)]
pub struct Payload<'r> {
    schema_version: String,
    #[serde(flatten)]
    record: &'r Record,
}

impl Record {
    /// The event type.
    #[must_use]
    pub const fn event_type(&self) -> &'static str {
        match self {
            Self::OperatorCommand { .. } => "operator.command",
            Self::WorkerState { .. } => "worker.state",
            Self::SupervisorEpoch { .. } => "supervisor.epoch",
            Self::ConfigLoaded { .. } => "config.loaded",
            Self::PermitGranted { .. } => "permit.granted",
            Self::PermitRevoked { .. } => "permit.revoked",
            Self::PermitExpired { .. } => "permit.expired",
            Self::StatusMode { .. } => "status.mode",
            Self::LifecycleTransition { .. } => "lifecycle.transition",
            Self::BreakerOpened { .. } => "breaker.opened",
            Self::BreakerClosed { .. } => "breaker.closed",
            Self::ReduceAttempt { .. } => "reduce.attempt",
            Self::ReduceConfirmed { .. } => "reduce.confirmed",
            Self::ReconciliationDrift { .. } => "reconciliation.drift",
            Self::ReconciliationClean { .. } => "reconciliation.clean",
            Self::HeartbeatExpired { .. } => "heartbeat.expired",
        }
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> Payload<'_> {
        Payload { schema_version: format!("holdfast.{}.v1", self.event_type()), record: self }
    }

    /// A step of a reduce job, or its proof.
    #[must_use]
    pub fn reduction(progress: &JobProgress, kind: Option<JobKind>) -> Self {
        let JobProgress { job, state, round, residue, proof_venue_ms, detail } = progress;
        let (job, round, detail) = (*job, *round, words(detail));
        if *state == JobState::Flat {
            return Self::ReduceConfirmed { job, kind, round, proof_venue_ms: *proof_venue_ms, detail };
        }
        let (state, residue_total) = (Some(*state), residue.len());
        let residue = residue.iter().take(RESIDUE_MAX).cloned().collect();
        Self::ReduceAttempt { job, kind, state, round, residue, residue_total, detail }
    }

    /// A reduce job was handed to deadman.
    #[must_use]
    pub const fn handed_out(job: JobId, kind: JobKind) -> Self {
        Self::ReduceAttempt {
            job,
            kind: Some(kind),
            state: None,
            round: 0,
            residue: Vec::new(),
            residue_total: 0,
            detail: String::new(),
        }
    }
}

/// Words for people, cut to what a record holds.
#[must_use]
pub fn words(text: &str) -> String {
    text.chars().take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_payload_names_its_schema_beside_its_fields_and_every_text_is_cut() {
        let caller = Caller { door: Door::Control, uid: Some(1000) };
        let record = Record::OperatorCommand {
            command: "kill",
            class: Class::Reduce,
            caller,
            outcome: Outcome::Accepted,
            code: None,
            reason: Some(words(&"ä".repeat(10_000))),
        };
        let json = serde_json::to_value(record.payload()).unwrap();
        assert_eq!(json["schema_version"], "holdfast.operator.command.v1");
        assert_eq!((&json["class"], &json["door"], &json["uid"]), (&"reduce".into(), &"control".into(), &1000.into()));
        assert_eq!(json["reason"].as_str().unwrap().chars().count(), WORDS_MAX);
        let residue = Residue { dex: String::new(), coin: "BTC".into(), size: "-0.5".parse().unwrap(), orders: 1 };
        let progress = JobProgress {
            job: JobId(7),
            state: JobState::NotFlat,
            round: 3,
            residue: vec![residue; 100],
            proof_venue_ms: None,
            detail: "x".repeat(10_000),
        };
        let json = serde_json::to_value(Record::reduction(&progress, None).payload()).unwrap();
        assert_eq!(json["schema_version"], "holdfast.reduce.attempt.v1");
        assert_eq!((json["residue"].as_array().unwrap().len(), &json["residue_total"]), (64, &100.into()));
        assert_eq!(json["residue"][0]["size"], "-0.5", "exact decimals as texts");
    }
}
