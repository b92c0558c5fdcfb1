//! The control plane: a worker's hello and what it says; what the supervisor says is the core's [`ToWorker`].

use crate::bootstrap::Token;
use holdfast_core::duty::Duty;
use holdfast_core::ids::{Epoch, Generation, Role};
pub use holdfast_core::message::ToWorker;
use holdfast_core::report::{
    AccountView, DeadManReport, JobProgress, JournalHealth, LatchTrip, LossDay, MarketHealth, ReconcileReport, Standing,
};
use holdfast_core::time::Tick;
use holdfast_core::trade::Trade;
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
    /// Engine: something of its trading to be recorded.
    Record(Box<Trade>),
    /// Engine: the day's loss baseline, as its own cell has it.
    Baseline(LossDay),
    /// Deadman: progress of a reduce job.
    Job(JobProgress),
    /// Deadman: the venue's own switch.
    DeadMan(DeadManReport),
    /// Deadman: it took on what no supervisor ordered (the operator did not check in, or asked at deadman's own door).
    Duty(Box<Duty>),
    /// Deadman: why it cannot write down what it begins, or that it can. It works on either way.
    Unrecorded(Option<String>),
    /// Api: somebody asked for emergency reduce-only.
    EmergencyReduceOnly {},
}
