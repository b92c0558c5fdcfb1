//! The kill latch: set by whoever may order a kill, lifted by an operator only.

use crate::limits::KILL_REASON_CHARS_MAX;
use crate::report::JobKind;
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

impl KillLatch {
    /// A latch that fits into any cell: of the operator's words the first [`KILL_REASON_CHARS_MAX`] characters are kept.
    #[must_use]
    pub fn new(since_wall_ms: u64, cause: KillCause, reason: Option<&str>, kind: JobKind) -> Self {
        let reason = reason.map(|words| words.chars().take(KILL_REASON_CHARS_MAX).collect());
        Self { since_wall_ms, cause, reason, kind }
    }
}
