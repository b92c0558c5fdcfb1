//! The status document of `engine status --json` (schema `holdfast.status.v1`): one authoritative statement of safety.

use crate::ids::Role;
use crate::registry::{LatchReason, ModeReason, Profile, TradingMode, VenueDeadMan};
use crate::report::{PositionView, Residue};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Name of the document's shape.
pub const STATUS_SCHEMA: &str = "holdfast.status.v1";

/// The document. Times are RFC 3339 strings, ages are milliseconds of the boot clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusDoc {
    /// Always [`STATUS_SCHEMA`].
    pub schema: String,
    /// A supervisor is running.
    pub running: bool,
    /// Its pid.
    pub pid: u32,
    /// When it started.
    pub started_at: String,
    /// Seconds since then, three decimals, host sleep included.
    pub uptime_s: Seconds,
    /// Release version.
    pub version: String,
    /// Build identity; workers of another build are refused.
    pub build_id: String,
    /// The home folder.
    pub home: String,
    /// What this home is for.
    pub profile: Profile,
    /// The present mode.
    pub trading_mode: TradingMode,
    /// Why it is restricted, most important first; empty only in Active.
    pub mode_reasons: Vec<ModeReason>,
    /// Whether the open-permission latch is closed.
    pub open_permission_blocked_latch: bool,
    /// Why it is.
    pub open_permission_reason_codes: Vec<LatchReason>,
    /// The open permit.
    pub permit: PermitStatus,
    /// The lifecycle phase.
    pub lifecycle: LifecycleStatus,
    /// Both dead-man switches.
    pub dead_man: DeadManStatus,
    /// What is at risk.
    pub exposure: ExposureStatus,
    /// The kill job.
    pub kill: KillStatus,
    /// Every worker of the tree, in start order.
    pub workers: Vec<WorkerStatus>,
    /// Where the API listens.
    pub api: ApiStatus,
    /// Where the venue listens: the paper venue's own address, or the real venue's.
    pub venue_url: String,
    /// The decision journal.
    pub journal: JournalStatus,
    /// The engine's decision journal.
    pub decisions: DecisionsStatus,
    /// Room on the home's disk.
    #[serde(default)]
    pub disk: DiskStatus,
    /// Why the engine's own gate refuses every opening, for as long as that stands; absent when nothing standing does.
    pub opening_blocked: Option<String>,
    /// When this document was made, RFC 3339.
    pub generated_at: String,
    /// The same instant on the boot clock, for age checks on this host, in nanoseconds.
    pub generated_boot_ns: u64,
    /// One line that says what a person should do next; empty when there is nothing to do.
    pub next_step: String,
}

/// Seconds with three decimals, printed as a JSON number. Not a quantity anyone computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds {
    /// The value in milliseconds.
    pub ms: u64,
}

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "an uptime for people, exact to the millisecond for 285,000 years"
        )]
        s.serialize_f64(self.ms as f64 / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an uptime for people; never negative"
        )]
        f64::deserialize(d).map(|s| Self { ms: (s * 1000.0 + 0.5) as u64 })
    }
}

/// The open permit in the status document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitStatus {
    /// The engine may open risk right now.
    pub live: bool,
    /// Fencing epoch.
    pub epoch: u64,
    /// Milliseconds until it lapses unless renewed; 0 when not live.
    pub deadline_in_ms: u64,
}

/// The lifecycle in the status document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleStatus {
    /// The phase's word.
    pub phase: String,
    /// When it ends, if it does.
    pub until: Option<String>,
    /// The run it belongs to.
    pub run_id: Option<String>,
}

/// Dead-man switches in the status document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadManStatus {
    /// The venue's own switch.
    pub venue: VenueDeadMan,
    /// When it fires unless renewed.
    pub venue_fires_at: Option<String>,
    /// The venue's words when it is not armed.
    pub venue_detail: String,
    /// When the operator must have checked in.
    pub operator_expires_at: Option<String>,
    /// Why deadman cannot write down what it begins, so that a successor may not know of it; absent while it can.
    #[serde(default)]
    pub unrecorded: Option<String>,
}

/// Exposure in the status document. What is not known is never shown as flat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExposureStatus {
    /// A fresh, complete read shows no position and no resting order.
    pub flat: bool,
    /// A fresh, complete read exists.
    pub known: bool,
    /// When the account was last read.
    pub as_of: Option<String>,
    /// Positions of that read.
    pub positions: Vec<PositionView>,
    /// Resting orders of that read.
    pub open_orders: u32,
    /// Account value of that read in USD.
    pub equity_usd: Option<String>,
}

/// The kill job in the status document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillStatus {
    /// The kill latch is set.
    pub active: bool,
    /// Since when.
    pub since: Option<String>,
    /// `none|fencing|cancelling|closing|flat|not_flat`; also shows a running flatten.
    pub state: String,
    /// What is still open.
    pub residue: Vec<Residue>,
    /// The operator's words.
    pub reason: Option<String>,
    /// Venue time of the read that proved flat.
    pub proof_at: Option<String>,
    /// What this start took over from the deadman before it, from which epoch and why.
    #[serde(default)]
    pub taken_over: Option<String>,
}

/// One worker in the status document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Which.
    pub role: Role,
    /// Its process, when there is one.
    pub pid: Option<u32>,
    /// `starting|ready|degraded|backoff|failed|stopping|exited`.
    pub state: String,
    /// Restarted so recently that Active is not possible yet.
    pub probation: bool,
    /// Deaths counted against its budget.
    pub restarts: u32,
    /// Age of the last beat in milliseconds.
    pub last_beat_ms: Option<u64>,
    /// When it entered this state.
    pub since: String,
    /// How it ended last.
    pub last_exit: Option<String>,
    /// Its build.
    pub version: String,
}

/// Where the API listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiStatus {
    /// Base URL; empty until the worker is ready.
    pub url: String,
    /// The page for people.
    pub cockpit: String,
}

/// The runtime bus in the status document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Durable events.
    pub events: u64,
    /// Checksum of the last of them; empty while there is none.
    pub head: String,
    /// What happens now, and what must not be forgotten, reaches the disk.
    pub durable: bool,
    /// Why not, for people; empty if it does.
    pub detail: String,
}

/// Room on the home's disk in the status document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Too little for the records of new risk: nothing opens, reducing goes on.
    pub short: bool,
    /// What is free, in MiB; absent while unknown.
    pub free_mib: Option<u64>,
}

/// The decision journal in the status document, as the engine last reported it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionsStatus {
    /// Entries written.
    pub entries: u64,
    /// Checksum of the last entry; empty while unknown.
    pub head: String,
    /// The last append reached the disk.
    pub durable: bool,
    /// Intents whose outcome is not known yet.
    pub unsettled: u32,
}
