//! The registry: trading modes, and every reason that restricts them, with the words people and scripts read.
//!
//! This file is the only source of these names; their order is their precedence. Unknown words do not parse.

use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! registry {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $code:literal : $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = $text] $variant,)+
        }

        impl $name {
            /// Every value, in order of precedence.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name on every wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What it says to a person.
            #[must_use]
            pub const fn display_text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value with this name, if there is one.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Word;
                impl de::Visitor<'_> for Word {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a word of ", stringify!($name)))
                    }
                    fn visit_str<E: de::Error>(self, word: &str) -> Result<$name, E> {
                        $name::parse(word).ok_or_else(|| E::custom(concat!("unknown word of ", stringify!($name))))
                    }
                }
                d.deserialize_str(Word)
            }
        }
    };
}

registry! {
    /// Whether the engine may add risk. Recomputed at every step, never stored; a larger value is stricter.
    TradingMode {
        Active = "Active": "The engine may open and close.",
        ReduceOnly = "ReduceOnly": "No new risk; closing and cancelling go on.",
        Kill = "Kill": "Stopped; only containment of what is still open.",
    }
}

registry! {
    /// Which risk axis a mode reason belongs to.
    Axis {
        Capital = "Capital": "Money and limits.",
        Market = "Market": "The market and the way to it.",
        System = "System": "Our own parts.",
    }
}

registry! {
    /// Why the mode is restricted: the Kill tier first, then the ReduceOnly tier.
    ModeReason {
        KillDeadmanExpired = "KILL_DEADMAN_EXPIRED": "Dead-man deadline passed without a heartbeat.",
        KillWatchdogHeartbeatStale = "KILL_WATCHDOG_HEARTBEAT_STALE": "Heartbeat and engine loop are both silent.",
        KillRiskstateKill = "KILL_RISKSTATE_KILL": "Emergency stop was ordered (risk state is Kill).",
        KillMarginMmUtilCritical = "KILL_MARGIN_MM_UTIL_CRITICAL": "Capital limit almost exhausted.",
        KillRateLimitSessionTermination = "KILL_RATE_LIMIT_SESSION_TERMINATION": "Venue terminated the session repeatedly.",
        KillDiskWatermarkKill = "KILL_DISK_WATERMARK_KILL": "Disk is full; records are not safe.",
        KillRegistryDrift = "KILL_REGISTRY_DRIFT": "Unknown reason token or changed registry.",
        KillStateIntegrityBroken = "KILL_STATE_INTEGRITY_BROKEN": "Journal or state checksum does not verify.",
        KillWorkerRestartExhausted = "KILL_WORKER_RESTART_EXHAUSTED": "A critical worker keeps crashing; restarts used up.",
        KillContainmentExhausted = "KILL_CONTAINMENT_EXHAUSTED": "Automatic close attempts used up; exposure remains.",
        KillCortexForceKill = "KILL_CORTEX_FORCE_KILL": "A safety override forced a full stop.",
        ReduceonlyRiskstateMaintenance = "REDUCEONLY_RISKSTATE_MAINTENANCE": "Venue maintenance window; no new risk.",
        ReduceonlyWorkerDegraded = "REDUCEONLY_WORKER_DEGRADED": "A worker is down, hung or restarting.",
        ReduceonlyIpcBroken = "REDUCEONLY_IPC_BROKEN": "A worker link is broken or speaks another protocol.",
        ReduceonlyContainmentActive = "REDUCEONLY_CONTAINMENT_ACTIVE": "Closing a partly filled position; no new risk.",
        ReduceonlyEmergencyReduceonlyActive = "REDUCEONLY_EMERGENCY_REDUCEONLY_ACTIVE": "Emergency reduce-only cooldown is running.",
        ReduceonlyOperatorPaused = "REDUCEONLY_OPERATOR_PAUSED": "Operator paused new risk.",
        ReduceonlyExposureHold = "REDUCEONLY_EXPOSURE_HOLD": "Manual exposure is open; engine holds.",
        ReduceonlyOpenPermissionLatched = "REDUCEONLY_OPEN_PERMISSION_LATCHED": "New risk is latched off until books are reconciled.",
        ReduceonlyBunkerModeActive = "REDUCEONLY_BUNKER_MODE_ACTIVE": "Network to the venue is unreliable.",
        ReduceonlyF1CertInvalid = "REDUCEONLY_F1_CERT_INVALID": "Release certificate is missing, old or for another build.",
        ReduceonlyEvidenceChainNotGreen = "REDUCEONLY_EVIDENCE_CHAIN_NOT_GREEN": "Evidence chain is not green.",
        ReduceonlyCortexForceReduceOnly = "REDUCEONLY_CORTEX_FORCE_REDUCE_ONLY": "A safety override blocks new risk.",
        ReduceonlyFeeModelHardStale = "REDUCEONLY_FEE_MODEL_HARD_STALE": "Fee and price table is too old.",
        ReduceonlyIntentLedgerUnavailable = "REDUCEONLY_INTENT_LEDGER_UNAVAILABLE": "Intent journal cannot accept records.",
        ReduceonlyRiskstateDegraded = "REDUCEONLY_RISKSTATE_DEGRADED": "System health is degraded.",
        ReduceonlyPolicyStale = "REDUCEONLY_POLICY_STALE": "Policy is too old to act on.",
        ReduceonlyMarginMmUtilHigh = "REDUCEONLY_MARGIN_MM_UTIL_HIGH": "Capital limit use is high.",
        ReduceonlyInputMissingOrStale = "REDUCEONLY_INPUT_MISSING_OR_STALE": "A required safety input is missing or stale.",
        ReduceonlyWatchdogUnconfirmed = "REDUCEONLY_WATCHDOG_UNCONFIRMED": "Only one of heartbeat and engine loop is silent.",
        ReduceonlyDiskKillUnconfirmed = "REDUCEONLY_DISK_KILL_UNCONFIRMED": "Only one disk reading says full.",
        ReduceonlySessionKillUnconfirmed = "REDUCEONLY_SESSION_KILL_UNCONFIRMED": "Venue session ended once; not yet confirmed.",
        ReduceonlyDeadmanDisarmed = "REDUCEONLY_DEADMAN_DISARMED": "Dead-man switch is off in LIVE.",
        ReduceonlyLifecycleCooldown = "REDUCEONLY_LIFECYCLE_COOLDOWN": "Cooldown after the last stage is running.",
        ReduceonlyShutdownDrain = "REDUCEONLY_SHUTDOWN_DRAIN": "Shutting down; only closing actions.",
    }
}

impl ModeReason {
    /// The mode this reason forces.
    #[must_use]
    pub const fn tier(self) -> TradingMode {
        match self {
            Self::KillDeadmanExpired
            | Self::KillWatchdogHeartbeatStale
            | Self::KillRiskstateKill
            | Self::KillMarginMmUtilCritical
            | Self::KillRateLimitSessionTermination
            | Self::KillDiskWatermarkKill
            | Self::KillRegistryDrift
            | Self::KillStateIntegrityBroken
            | Self::KillWorkerRestartExhausted
            | Self::KillContainmentExhausted
            | Self::KillCortexForceKill => TradingMode::Kill,
            Self::ReduceonlyRiskstateMaintenance
            | Self::ReduceonlyWorkerDegraded
            | Self::ReduceonlyIpcBroken
            | Self::ReduceonlyContainmentActive
            | Self::ReduceonlyEmergencyReduceonlyActive
            | Self::ReduceonlyOperatorPaused
            | Self::ReduceonlyExposureHold
            | Self::ReduceonlyOpenPermissionLatched
            | Self::ReduceonlyBunkerModeActive
            | Self::ReduceonlyF1CertInvalid
            | Self::ReduceonlyEvidenceChainNotGreen
            | Self::ReduceonlyCortexForceReduceOnly
            | Self::ReduceonlyFeeModelHardStale
            | Self::ReduceonlyIntentLedgerUnavailable
            | Self::ReduceonlyRiskstateDegraded
            | Self::ReduceonlyPolicyStale
            | Self::ReduceonlyMarginMmUtilHigh
            | Self::ReduceonlyInputMissingOrStale
            | Self::ReduceonlyWatchdogUnconfirmed
            | Self::ReduceonlyDiskKillUnconfirmed
            | Self::ReduceonlySessionKillUnconfirmed
            | Self::ReduceonlyDeadmanDisarmed
            | Self::ReduceonlyLifecycleCooldown
            | Self::ReduceonlyShutdownDrain => TradingMode::ReduceOnly,
        }
    }

    /// The axis it is charged to.
    #[must_use]
    pub const fn axis(self) -> Axis {
        match self {
            Self::KillRiskstateKill
            | Self::KillMarginMmUtilCritical
            | Self::KillCortexForceKill
            | Self::ReduceonlyMarginMmUtilHigh => Axis::Capital,
            Self::ReduceonlyBunkerModeActive => Axis::Market,
            Self::KillDeadmanExpired
            | Self::KillWatchdogHeartbeatStale
            | Self::KillRateLimitSessionTermination
            | Self::KillDiskWatermarkKill
            | Self::KillRegistryDrift
            | Self::KillStateIntegrityBroken
            | Self::KillWorkerRestartExhausted
            | Self::KillContainmentExhausted
            | Self::ReduceonlyRiskstateMaintenance
            | Self::ReduceonlyWorkerDegraded
            | Self::ReduceonlyIpcBroken
            | Self::ReduceonlyContainmentActive
            | Self::ReduceonlyEmergencyReduceonlyActive
            | Self::ReduceonlyOperatorPaused
            | Self::ReduceonlyExposureHold
            | Self::ReduceonlyOpenPermissionLatched
            | Self::ReduceonlyF1CertInvalid
            | Self::ReduceonlyEvidenceChainNotGreen
            | Self::ReduceonlyCortexForceReduceOnly
            | Self::ReduceonlyFeeModelHardStale
            | Self::ReduceonlyIntentLedgerUnavailable
            | Self::ReduceonlyRiskstateDegraded
            | Self::ReduceonlyPolicyStale
            | Self::ReduceonlyInputMissingOrStale
            | Self::ReduceonlyWatchdogUnconfirmed
            | Self::ReduceonlyDiskKillUnconfirmed
            | Self::ReduceonlySessionKillUnconfirmed
            | Self::ReduceonlyDeadmanDisarmed
            | Self::ReduceonlyLifecycleCooldown
            | Self::ReduceonlyShutdownDrain => Axis::System,
        }
    }
}

registry! {
    /// What must be reconciled before the open-permission latch lets go.
    LatchReason {
        RestartReconcileRequired = "RESTART_RECONCILE_REQUIRED": "Restarted; books must be reconciled first.",
        WsBookGapReconcileRequired = "WS_BOOK_GAP_RECONCILE_REQUIRED": "Order-book feed lost updates.",
        WsTradesGapReconcileRequired = "WS_TRADES_GAP_RECONCILE_REQUIRED": "Trade feed lost updates.",
        WsDataStaleReconcileRequired = "WS_DATA_STALE_RECONCILE_REQUIRED": "Market data went silent.",
        InventoryMismatchReconcileRequired = "INVENTORY_MISMATCH_RECONCILE_REQUIRED": "Own books and venue positions differ.",
        SessionTerminationReconcileRequired = "SESSION_TERMINATION_RECONCILE_REQUIRED": "Venue ended the session.",
        IpcEventGapReconcileRequired = "IPC_EVENT_GAP_RECONCILE_REQUIRED": "Order events were lost between processes.",
        HostResumeReconcileRequired = "HOST_RESUME_RECONCILE_REQUIRED": "Host slept or stalled; books must be reconciled.",
    }
}

registry! {
    /// Why an intent was refused before it was sent. Every refusal names one.
    RejectReason {
        TooSmallAfterQuantization = "TooSmallAfterQuantization": "The size is below what the venue takes after rounding down.",
        InstrumentMetadataMissing = "InstrumentMetadataMissing": "Tick or size rules of the coin are unknown.",
        ChurnBreakerActive = "ChurnBreakerActive": "Too many orders in the last minute.",
        LiquidityGateNoL2 = "LiquidityGateNoL2": "No trustworthy order book.",
        EmergencyCloseNoPrice = "EmergencyCloseNoPrice": "No price to close at.",
        ExpectedSlippageTooHigh = "ExpectedSlippageTooHigh": "The book is too thin for this size.",
        NetEdgeTooLow = "NetEdgeTooLow": "The signal does not pay its costs.",
        NetEdgeInputMissing = "NetEdgeInputMissing": "An input of the signal is missing.",
        FeeCacheStale = "FeeCacheStale": "The fee table is too old.",
        RecordedBeforeDispatchFailed = "RecordedBeforeDispatchFailed": "The intent could not be written to the journal.",
        InventorySkew = "InventorySkew": "The position is already skewed this way.",
        InventorySkewDeltaLimitMissing = "InventorySkewDeltaLimitMissing": "A position limit is missing.",
        PendingExposureBudgetExceeded = "PendingExposureBudgetExceeded": "Orders in flight would exceed the exposure limit.",
        GlobalExposureBudgetExceeded = "GlobalExposureBudgetExceeded": "The exposure limit would be exceeded.",
        ContractsAmountMismatch = "ContractsAmountMismatch": "Sizes do not agree.",
        MarginHeadroomRejectOpens = "MarginHeadroomRejectOpens": "Not enough margin headroom, or the daily loss limit is reached.",
        OrderTypeMarketForbidden = "OrderTypeMarketForbidden": "Market orders are not used.",
        OrderTypeStopForbidden = "OrderTypeStopForbidden": "Stop orders are not used here.",
        LinkedOrderTypeForbidden = "LinkedOrderTypeForbidden": "Linked orders are not used.",
        PostOnlyWouldCross = "PostOnlyWouldCross": "A post-only order would trade at once.",
        RiskIncreasingCancelReplaceForbidden = "RiskIncreasingCancelReplaceForbidden": "This cancel would increase risk.",
        RateLimitBrownout = "RateLimitBrownout": "The request reserve for exits would be touched.",
        InstrumentExpiredOrDelisted = "InstrumentExpiredOrDelisted": "The coin is delisted.",
        FeedbackLoopGuardActive = "FeedbackLoopGuardActive": "An outcome is still unknown.",
        LabelTooLong = "LabelTooLong": "The order label is too long.",
        TradingModeForbidsIntent = "TradingModeForbidsIntent": "The trading mode forbids this.",
        OpenPermissionLatched = "OpenPermissionLatched": "Books must be reconciled first.",
        PermitMissingOrExpired = "PermitMissingOrExpired": "No live permit.",
        DuplicateIntentId = "DuplicateIntentId": "This intent was sent before.",
        MonitorOnlyBuild = "MonitorOnlyBuild": "This build cannot send orders.",
    }
}

registry! {
    /// Wire view of a worker in the status contract: only `Running` is healthy.
    WorkerWire {
        Starting = "Starting": "Started, not ready.",
        Probation = "Probation": "Restarted, not yet stable.",
        Running = "Running": "Ready and beating.",
        Hung = "Hung": "Silent.",
        Backoff = "Backoff": "Waiting to be restarted.",
        Stopped = "Stopped": "Not running by intent.",
        Exhausted = "Exhausted": "Restart budget spent.",
    }
}

registry! {
    /// State of the venue's own dead-man switch.
    VenueDeadMan {
        Active = "ACTIVE": "Armed: the venue cancels by itself if we fall silent.",
        Ineligible = "INELIGIBLE": "The venue refuses to arm it for this account.",
        Unknown = "UNKNOWN": "Not confirmed; count on nothing.",
    }
}

registry! {
    /// What this home is for.
    Profile {
        Paper = "paper": "Loopback venue, no money.",
        Monitor = "monitor": "Watches a hashpower market; cannot trade.",
        Live = "live": "Real venue, real money.",
    }
}
