//! What can be written into the ledger: a closed list, each with the row it becomes.
//!
//! Instants are milliseconds since 1970 UTC, money is exact decimals, documents are JSON text.

use holdfast_core::conflict::{Latch, LatchRow};
use holdfast_core::ids::{Epoch, Role};
use holdfast_core::money::{Amount, Usd};
use serde::{Deserialize, Serialize};

/// Defines an enum of words: in the ledger, in JSON and in the schema's check constraints they are spelled the same.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$item])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every word.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// As it is spelled everywhere.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The one spelled so.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }
    };
}

words! {
    /// The phase of the lifecycle, derived from the deadlines, the runs and the positions.
    Phase {
        /// Nothing runs and nothing waits.
        Idle = "idle",
        /// A watch is open.
        Watching = "watching",
        /// After a watch.
        Cooldown = "cooldown",
        /// After a watch without a sample.
        ErrorBackoff = "error_backoff",
        /// A recorded position whose maturity lies ahead.
        ExposureActive = "manual_exposure_active",
        /// A recorded position that is to be looked at.
        ExposureReview = "manual_exposure_review",
    }
}

words! {
    /// How a watch stands or ended.
    RunStatus {
        /// It is open.
        Running = "running",
        /// No failure.
        Completed = "completed",
        /// Some failures, every cycle tried.
        Partial = "partial",
        /// Ended by failures in a row, with a sample.
        PartialFailed = "partial_failed",
        /// No sample.
        Failed = "failed",
        /// Stopped in order.
        Interrupted = "interrupted",
        /// Its owner died.
        Recovered = "recovered_after_crash",
        /// Made from old samples.
        Retroactive = "retroactive",
    }
}

words! {
    /// One of the five knobs.
    Knob {
        /// Depth target, PH/s.
        DepthTarget = "depth_target_ph",
        /// Overpay cushion, BTC per EH and day.
        OverpayCushion = "overpay_cushion",
        /// Canary spend, BTC.
        CanarySpend = "canary_spend_btc",
        /// Duration, minutes.
        Duration = "duration_minutes",
        /// Timing window, UTC.
        TimingWindow = "timing_window",
    }
}

words! {
    /// What a proposal says to do.
    ProposalAction {
        /// Nothing.
        Observe = "observe",
        /// A tiny order, by hand.
        ManualCanary = "manual_canary",
        /// An order, by hand.
        ManualBid = "manual_bid",
    }
}

words! {
    /// Where numbers come from.
    Basis {
        /// A sensor read them.
        Live = "live",
        /// A person typed them.
        ManualImport = "manual_import",
    }
}

/// The day's baseline of the loss limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossBaseline {
    /// Days since 1970-01-01 UTC.
    pub utc_day: u64,
    /// Equity at the day's first reading.
    pub baseline_usd: Usd,
    /// When it was recorded.
    pub recorded_ms: u64,
    /// The limit was reached.
    pub breach: Option<LossBreach>,
}

/// A loss limit that was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossBreach {
    /// The equity that reached it.
    pub equity_usd: Usd,
    /// Epoch it happened under.
    pub epoch: Epoch,
    /// When the operator lifted it.
    pub lifted_ms: Option<u64>,
}

/// A position a person opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionOpened {
    /// When.
    pub opened_ms: u64,
    /// Where.
    pub venue: String,
    /// What.
    pub description: String,
    /// When it is expected to be over; absent = unknown.
    pub expected_maturity_ms: Option<u64>,
    /// A JSON object.
    pub payload_json: String,
}

/// The deadlines of the lifecycle, each a fact of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Derived; for readers.
    pub phase: Phase,
    /// Derived; for readers.
    pub next_action_ms: Option<u64>,
    /// End of the cooldown, absolute.
    pub cooldown_until_ms: Option<u64>,
    /// End of the backoff, absolute.
    pub backoff_until_ms: Option<u64>,
    /// The newest run.
    pub last_run_id: Option<String>,
    /// For people.
    pub message: String,
    /// When this was written.
    pub updated_ms: u64,
    /// By whom: pid and boot id.
    pub updated_by: String,
}

/// A lifecycle event; number and chain are the ledger's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at_ms: u64,
    /// Its name.
    pub event_type: String,
    /// A JSON object.
    pub payload_json: String,
}

/// A watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub run_id: String,
    /// When it began.
    pub started_ms: u64,
    /// When it ended; absent while it runs.
    pub ended_ms: Option<u64>,
    /// How it stands.
    pub status: RunStatus,
    /// Cycles planned.
    pub planned_cycles: u32,
    /// Seconds between two cycles.
    pub interval_s: u32,
    /// Cycles that gave a sample.
    pub good_cycles: u32,
    /// Cycles that failed.
    pub failed_cycles: u32,
    /// The last failure.
    pub last_error: Option<String>,
    /// What is being tried.
    pub hypothesis: String,
    /// The knob vector, JSON.
    pub knobs_json: String,
    /// SHA-256 of the effective configuration.
    pub config_sha256: [u8; 32],
    /// The report's file.
    pub report: Option<String>,
}

/// Any sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Of which run.
    pub run_id: Option<String>,
    /// Of what.
    pub kind: String,
    /// When.
    pub wall_ms: u64,
    /// What was seen, JSON.
    pub payload_json: String,
}

/// One knob changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatchetStep {
    /// When.
    pub at_ms: u64,
    /// Which.
    pub knob: Knob,
    /// From.
    pub old_value: String,
    /// To.
    pub new_value: String,
    /// Why.
    pub hypothesis: String,
    /// Run ids, a JSON array.
    pub evidence_json: String,
    /// SHA-256 of the configuration before.
    pub config_before: [u8; 32],
    /// And after.
    pub config_after: [u8; 32],
}

/// What the pool said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OceanSnapshot {
    /// When.
    pub at_ms: u64,
    /// EH/s.
    pub pool_hashrate_eh_s: Amount,
    /// Difficulty, trillions.
    pub network_difficulty_t: Amount,
    /// Trillions.
    pub share_log_window_t: Option<Amount>,
    /// Hours.
    pub avg_block_time_hours: Option<Amount>,
    /// Where it was read.
    pub source: String,
}

/// What the hashpower market said. Prices in BTC per EH and day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketSnapshot {
    /// When.
    pub at_ms: u64,
    /// Best price.
    pub best_price: Option<Amount>,
    /// Best bid.
    pub best_bid: Option<Amount>,
    /// Best ask.
    pub best_ask: Option<Amount>,
    /// Price at which the target fills.
    pub fillable_price: Option<Amount>,
    /// The target, PH/s.
    pub fillable_target_ph: Option<Amount>,
    /// What is there for it, PH/s.
    pub fillable_available_ph: Option<Amount>,
    /// Suggested bid.
    pub suggested_bid: Option<Amount>,
    /// Suggested overpay.
    pub suggested_overpay: Option<Amount>,
    /// Last price.
    pub last_price: Option<Amount>,
    /// EH/s.
    pub total_hashrate_eh_s: Option<Amount>,
    /// EH/s.
    pub available_hashrate_eh_s: Option<Amount>,
    /// The market's own word.
    pub status: Option<String>,
    /// Where it was read.
    pub source: String,
    /// By whom.
    pub basis: Basis,
}

/// A snapshot that a proposal was computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Snapshot {
    /// By its number.
    Id(i64),
    /// The one written earlier in the same transaction.
    JustWritten,
}

/// What the pricing proposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// When.
    pub at_ms: u64,
    /// In which run.
    pub run_id: Option<String>,
    /// In which cycle.
    pub cycle: Option<u32>,
    /// From which pool snapshot.
    pub ocean: Option<Snapshot>,
    /// From which market snapshot.
    pub market: Option<Snapshot>,
    /// What to do.
    pub action: ProposalAction,
    /// Why.
    pub reason: String,
    /// BTC per EH and day.
    pub price: Option<Amount>,
    /// BTC.
    pub spend_btc: Option<Amount>,
    /// Minutes.
    pub duration_minutes: Option<u32>,
    /// BTC per EH and day.
    pub breakeven: Option<Amount>,
    /// BTC.
    pub expected_reward_btc: Option<Amount>,
    /// BTC.
    pub expected_net_btc: Option<Amount>,
    /// No unit.
    pub score: Option<Amount>,
    /// For people.
    pub maturity_note: String,
    /// By whom the inputs were read.
    pub basis: Basis,
}

/// One thing to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// How a latch stands now.
    Latch(Latch, LatchRow),
    /// A day's baseline, with its breach if there is one.
    LossBaseline(LossBaseline),
    /// The deaths of a role that still count, wall-clock milliseconds; replaces what was recorded.
    Deaths(Role, Vec<u64>),
    /// A person opened a position; its number is the receipt.
    PositionOpened(PositionOpened),
    /// A position is over. Refused for one that is unknown or closed.
    PositionClosed {
        /// Which.
        id: i64,
        /// When.
        closed_ms: u64,
    },
    /// The deadlines of the lifecycle.
    Lifecycle(Lifecycle),
    /// Something happened.
    Event(Event),
    /// A watch opens. Refused while another is open.
    RunOpened(Run),
    /// A watch as it is now; a closed one does not change.
    RunUpdated(Run),
    /// A sample.
    Sample(Sample),
    /// A knob changed.
    RatchetStep(RatchetStep),
    /// The pool's numbers.
    Ocean(OceanSnapshot),
    /// The market's numbers.
    Market(MarketSnapshot),
    /// A proposal.
    Proposal(Proposal),
    /// The state was exported into this bundle, or (`None`) reopened here.
    Exported {
        /// The bundle.
        bundle: Option<String>,
        /// When.
        at_ms: u64,
    },
}
