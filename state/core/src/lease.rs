//! The supervisor's side of the open permit: granted, renewed, revoked.
//!
//! The lease follows the mode and nothing else: Active grants, anything stricter revokes at once.

use crate::limits::PERMIT_LEASE;
use crate::registry::TradingMode;
use crate::time::Tick;

/// The lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Nobody may open risk.
    Revoked,
    /// The engine may, until the deadline.
    Granted {
        /// When it lapses by itself.
        deadline: Tick,
    },
}

/// What the driver must do to the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAction {
    /// Write a live record with this deadline.
    Grant {
        /// When it lapses.
        deadline: Tick,
    },
    /// Write the revoked record.
    Revoke,
}

impl Lease {
    /// One step: `renew` at each tick, otherwise only the mode's consequences.
    #[must_use]
    pub fn step(self, now: Tick, mode: TradingMode, renew: bool) -> (Self, Option<LeaseAction>) {
        match (self, mode) {
            (Self::Revoked, TradingMode::ReduceOnly | TradingMode::Kill) => (Self::Revoked, None),
            (Self::Granted { .. }, TradingMode::ReduceOnly | TradingMode::Kill) => {
                (Self::Revoked, Some(LeaseAction::Revoke))
            }
            (Self::Granted { deadline }, TradingMode::Active) if !renew && now < deadline => (self, None),
            (Self::Revoked | Self::Granted { .. }, TradingMode::Active) => {
                let deadline = now.after(PERMIT_LEASE);
                (Self::Granted { deadline }, Some(LeaseAction::Grant { deadline }))
            }
        }
    }

    /// When it lapses, while it is live.
    #[must_use]
    pub fn live_until(&self, now: Tick) -> Option<Tick> {
        match self {
            Self::Granted { deadline } if *deadline > now => Some(*deadline),
            Self::Granted { .. } | Self::Revoked => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    #[test]
    fn every_state_and_mode_is_in_the_reviewed_table() {
        let mut table = String::from("state | mode | renew | next | action\n");
        let now = Tick(5_000_000_000);
        for state in
            [Lease::Revoked, Lease::Granted { deadline: now.after(PERMIT_LEASE) }, Lease::Granted { deadline: now }]
        {
            for mode in TradingMode::ALL {
                for renew in [false, true] {
                    let (next, action) = state.step(now, *mode, renew);
                    table += &format!("{state:?} | {mode} | {renew} | {next:?} | {action:?}\n");
                }
            }
        }
        crate::golden::check("permit.txt", &table);
    }
}
