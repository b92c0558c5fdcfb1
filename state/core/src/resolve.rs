//! The trading mode from its inputs: a pure function, recomputed at every step, stored nowhere.
//!
//! INV-4: Active needs every worker running, every latch open and every input present and fresh. What is missing
//! restricts. The reasons are the registry's, in its order; the mode is the strictest tier that holds.

use crate::registry::{ModeReason, TradingMode};
use alloc::vec::Vec;

/// Everything the mode depends on, as facts of this instant. `true` is always the restricting answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The operator did not check in.
    pub operator_deadman_expired: bool,
    /// The kill latch is set.
    pub killed: bool,
    /// The latches of an earlier life are lost, and the kill assumed for it holds.
    pub latches_lost: bool,
    /// Sensor, engine or deadman spent its restart budget.
    pub critical_worker_failed: bool,
    /// Some worker is not running (down, starting, on probation, late).
    pub worker_not_running: bool,
    /// A peer broke the protocol within the last ten seconds.
    pub ipc_broken: bool,
    /// A flatten is under way, or the engine's own exits do not succeed.
    pub containment: bool,
    /// Emergency reduce-only holds.
    pub emergency: bool,
    /// The operator paused.
    pub paused: bool,
    /// Something must be reconciled first.
    pub latched: bool,
    /// A hard limit of the engine was reached.
    pub limit_hit: bool,
    /// The exposure limit or the margin is used up by what the engine does not manage.
    pub capital_used_up: bool,
    /// The decision journal or the runtime bus is unhealthy, or its health is unknown.
    pub journal_unavailable: bool,
    /// The runtime bus does not verify.
    pub evidence_broken: bool,
    /// Records of the same thing disagreed, and no operator has resumed since.
    pub records_disagree: bool,
    /// Market or account data are missing or stale.
    pub input_missing: bool,
    /// The tree is being stopped.
    pub stopping: bool,
}

/// The mode and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The mode.
    pub mode: TradingMode,
    /// Its reasons, most important first; empty exactly in Active.
    pub reasons: Vec<ModeReason>,
}

/// Computes the mode.
#[must_use]
pub fn resolve(inputs: &Inputs) -> Verdict {
    let degraded = inputs.worker_not_running
        || inputs.journal_unavailable
        || inputs.evidence_broken
        || inputs.ipc_broken
        || inputs.containment;
    let holding = |reason: &ModeReason| match reason {
        ModeReason::KillDeadmanExpired => inputs.operator_deadman_expired,
        ModeReason::KillRiskstateKill => inputs.killed,
        ModeReason::KillStateIntegrityBroken => inputs.latches_lost,
        ModeReason::KillWorkerRestartExhausted => inputs.critical_worker_failed,
        ModeReason::ReduceonlyWorkerDegraded => inputs.worker_not_running,
        ModeReason::ReduceonlyIpcBroken => inputs.ipc_broken,
        ModeReason::ReduceonlyContainmentActive => inputs.containment,
        ModeReason::ReduceonlyEmergencyReduceonlyActive => inputs.emergency,
        ModeReason::ReduceonlyOperatorPaused => inputs.paused,
        ModeReason::ReduceonlyOpenPermissionLatched => inputs.latched,
        ModeReason::ReduceonlyCortexForceReduceOnly => inputs.limit_hit,
        ModeReason::ReduceonlyIntentLedgerUnavailable => inputs.journal_unavailable,
        ModeReason::ReduceonlyEvidenceChainNotGreen => inputs.evidence_broken || inputs.records_disagree,
        ModeReason::ReduceonlyRiskstateDegraded => degraded,
        ModeReason::ReduceonlyMarginMmUtilHigh => inputs.capital_used_up,
        ModeReason::ReduceonlyInputMissingOrStale => inputs.input_missing,
        ModeReason::ReduceonlyShutdownDrain => inputs.stopping,
        // Producers of the status contract that do not exist in this build: nothing reports them, nothing clears them.
        ModeReason::KillWatchdogHeartbeatStale
        | ModeReason::KillMarginMmUtilCritical
        | ModeReason::KillRateLimitSessionTermination
        | ModeReason::KillDiskWatermarkKill
        | ModeReason::KillRegistryDrift
        | ModeReason::KillContainmentExhausted
        | ModeReason::KillCortexForceKill
        | ModeReason::ReduceonlyRiskstateMaintenance
        | ModeReason::ReduceonlyExposureHold
        | ModeReason::ReduceonlyBunkerModeActive
        | ModeReason::ReduceonlyF1CertInvalid
        | ModeReason::ReduceonlyFeeModelHardStale
        | ModeReason::ReduceonlyPolicyStale
        | ModeReason::ReduceonlyWatchdogUnconfirmed
        | ModeReason::ReduceonlyDiskKillUnconfirmed
        | ModeReason::ReduceonlySessionKillUnconfirmed
        | ModeReason::ReduceonlyDeadmanDisarmed
        | ModeReason::ReduceonlyLifecycleCooldown => false,
    };
    let all: Vec<ModeReason> = ModeReason::ALL.iter().copied().filter(holding).collect();
    let mode = all.iter().map(|r| r.tier()).max().unwrap_or(TradingMode::Active);
    let reasons = all.into_iter().filter(|r| r.tier() == mode).collect();
    Verdict { mode, reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(bits: u32) -> Inputs {
        let bit = |n: u32| bits >> n & 1 == 1;
        Inputs {
            operator_deadman_expired: bit(0),
            killed: bit(1),
            critical_worker_failed: bit(2),
            worker_not_running: bit(3),
            ipc_broken: bit(4),
            containment: bit(5),
            emergency: bit(6),
            paused: bit(7),
            latched: bit(8),
            limit_hit: bit(9),
            journal_unavailable: bit(10),
            input_missing: bit(11),
            stopping: bit(12),
            latches_lost: bit(13),
            capital_used_up: bit(14),
            evidence_broken: bit(15),
            records_disagree: bit(16),
        }
    }

    #[test]
    fn active_only_when_nothing_at_all_restricts() {
        for bits in 0..1 << 16 {
            let verdict = resolve(&inputs(bits));
            assert_eq!(verdict.mode == TradingMode::Active, bits == 0, "INV-4 broken by {bits:b}");
            assert_eq!(verdict.reasons.is_empty(), bits == 0, "{bits:b}");
            assert!(verdict.reasons.iter().all(|r| r.tier() == verdict.mode), "one tier only: {bits:b}");
            assert!(verdict.reasons.is_sorted(), "precedence: {bits:b}");
        }
    }

    #[test]
    fn one_more_restriction_never_relaxes() {
        for bits in 0..1_u32 << 16 {
            for extra in 0..16 {
                assert!(resolve(&inputs(bits | 1 << extra)).mode >= resolve(&inputs(bits)).mode);
            }
        }
    }
}
