//! The control plane: what the supervisor says to a worker, and what a worker says back.

use crate::bootstrap::Token;
use holdfast_core::ids::{Epoch, Generation, JobId, Role};
use holdfast_core::registry::TradingMode;
use holdfast_core::report::{
    AccountView, DeadManReport, JobKind, JobProgress, JournalHealth, LatchTrip, MarketHealth, ReconcileReport, Standing,
};
use holdfast_core::status::StatusDoc;
use holdfast_core::time::Tick;
use serde::{Deserialize, Serialize};

/// The first frame on a worker's connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// What the worker is.
    pub role: Role,
    /// Which start it is.
    pub generation: Generation,
    /// The epoch it was started under.
    pub epoch: Epoch,
    /// Its build.
    pub build_id: String,
    /// Its protocol version.
    pub protocol: u32,
    /// The one-time token from its standard input.
    pub token: Token,
    /// Boot-clock instant of its first instruction in `main`.
    pub born: Tick,
}

/// Supervisor to worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToWorker {
    /// The hello was accepted.
    Welcome {
        /// The epoch everything from now on belongs to.
        epoch: Epoch,
    },
    /// The supervisor is alive; sent at every step. The mode is for display: only the permit record permits.
    Beat {
        /// Counts up.
        seq: u64,
        /// When it was sent.
        sent: Tick,
        /// The present mode.
        mode: TradingMode,
    },
    /// Finish what must be finished and exit.
    Drain {},
    /// Engine: compare books with the venue and answer with this number.
    Reconcile {
        /// Number of the request.
        asked: u64,
    },
    /// Deadman: make the account flat (or cancel everything). A new job replaces an older one.
    Reduce {
        /// Number of the job.
        job: JobId,
        /// What to reach.
        kind: JobKind,
    },
    /// Deadman: when the operator must have checked in, as wall-clock milliseconds; absent = switch off.
    OperatorDeadline {
        /// The deadline.
        expires_wall_ms: Option<u64>,
    },
    /// Engine: the operator resumed; a reached limit starts anew from here.
    Acknowledge {},
    /// Api: the document to serve.
    Status {
        /// The document.
        doc: Box<StatusDoc>,
    },
    /// Deadman: a planned stop; losing the supervisor now is no emergency.
    StandDown {},
}

/// Worker to supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FromWorker {
    /// First frame.
    Hello(Hello),
    /// The worker is alive, and this much real work is done.
    Beat {
        /// Counts up.
        seq: u64,
        /// Counts real work; a beat without progress is a wedged worker.
        progress: u64,
        /// When it was sent.
        sent: Tick,
    },
    /// Set up and working. Venue and api say where they listen.
    Ready {
        /// Base URL.
        endpoint: Option<String>,
    },
    /// Sensor: may the market be believed.
    Market(MarketHealth),
    /// Sensor or deadman: the account as just read.
    Account(Box<AccountView>),
    /// Sensor: the account could not be read.
    AccountUnknown {
        /// One line for people.
        detail: String,
    },
    /// Sensor or engine: something was lost; books must be reconciled.
    Trip(LatchTrip),
    /// Engine: answer to [`ToWorker::Reconcile`].
    Reconciled(ReconcileReport),
    /// Engine: the decision journal.
    Journal(JournalHealth),
    /// Engine: a hard limit (such as the daily loss) blocks opening until the operator resumes.
    LimitHit {
        /// One line for people.
        detail: String,
    },
    /// Engine: why its own gate refuses every opening for now, or that nothing standing does.
    Standing(Option<Standing>),
    /// Deadman: progress of a reduce job.
    Job(JobProgress),
    /// Deadman: the venue's own switch.
    DeadMan(DeadManReport),
    /// Deadman: the operator did not check in; it has begun to make the account flat.
    OperatorExpired {},
    /// Api: somebody asked for emergency reduce-only.
    EmergencyReduceOnly {},
}
