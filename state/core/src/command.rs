//! The operator's door `run/control.sock`: one request, a stream of replies, closed.
//!
//! Each request has a class. Reducing ones are never refused for a reason of state.

use crate::report::JobProgress;
use crate::status::StatusDoc;
use alloc::boxed::Box;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// What a request can do to risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Looks.
    Read,
    /// Can only lower risk.
    Reduce,
    /// Could let risk rise: asks for friction.
    Increase,
}

/// Operator to supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ControlRequest {
    /// The status document, made now.
    Status {},
    /// Latch, fence the engine, make the account flat (or only cancel).
    Kill {
        /// Close positions too.
        flatten: bool,
        /// The operator's words.
        reason: Option<String>,
    },
    /// Cancel and close everything; the engine lives; new risk stays blocked until resumed.
    Flatten {},
    /// No new risk.
    Pause {},
    /// Lift pause and kill. Without the exact phrase it only shows what would be allowed.
    Resume {
        /// The typed phrase.
        confirm: Option<String>,
    },
    /// The operator is here.
    Heartbeat {},
    /// End the tree.
    Stop {
        /// Make the account flat first.
        flatten: bool,
    },
}

impl ControlRequest {
    /// What it can do to risk.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Status {} | Self::Heartbeat {} => Class::Read,
            Self::Kill { .. } | Self::Flatten {} | Self::Pause {} | Self::Stop { .. } => Class::Reduce,
            Self::Resume { .. } => Class::Increase,
        }
    }

    /// The command's word, without its arguments.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Status {} => "status",
            Self::Kill { flatten: true, .. } => "kill",
            Self::Kill { flatten: false, .. } => "kill_no_flatten",
            Self::Flatten {} => "flatten",
            Self::Pause {} => "pause",
            Self::Resume { .. } => "resume",
            Self::Heartbeat {} => "heartbeat",
            Self::Stop { flatten: true } => "stop_flatten",
            Self::Stop { flatten: false } => "stop",
        }
    }
}

/// Supervisor to operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ControlReply {
    /// The document asked for.
    Status {
        /// The document.
        doc: Box<StatusDoc>,
    },
    /// Done; `message` says what is true now.
    Done {
        /// One line for people.
        message: String,
    },
    /// What the next reply, the last one, does not promise: a latch that is in force is not on the disk.
    Unsaved {
        /// One line for people.
        message: String,
    },
    /// A reduce job moved on. The last one is a verdict.
    Progress(JobProgress),
    /// What `resume` would allow, and the phrase it wants.
    ResumeOffer {
        /// Type this.
        phrase: String,
        /// What will be allowed then.
        allows: String,
    },
    /// Not done.
    Refused {
        /// Stable word.
        code: String,
        /// What happened.
        message: String,
        /// What it means for risk.
        risk: String,
        /// What to do next.
        next: String,
    },
}
