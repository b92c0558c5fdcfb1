//! The daily loss limit and its durable baseline. Pure; the cell is written by the caller.
//!
//! * The baseline is the first equity read in a UTC day of the venue. It is on disk before it is relied on.
//! * A breach is latched. It survives restarts, crashes and midnight. Only the operator lifts it, by `engine resume`
//!   ([`Guard::acknowledge`]).
//! * Deposits and withdrawals move equity too: a withdrawal can look like a loss (and then only blocks opening).

use holdfast_core::ids::Epoch;
use holdfast_core::money::Usd;
use holdfast_core::report::{LossBreach, LossDay};
use serde::{Deserialize, Serialize};

const DAY_MS: u64 = 86_400_000;

/// What is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    day: Option<Day>,
    breach: Option<Breach>,
    /// How the venue numbered and rounded the strategy's coin when it was first traded.
    pub asset: Option<AssetRecord>,
}

/// The day's baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Day {
    /// Days since 1970-01-01 UTC.
    number: u64,
    /// Equity at its first reading.
    baseline_usd: Usd,
}

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breach {
    /// Days since 1970-01-01 UTC.
    pub day: u64,
    /// The baseline it was measured from.
    pub baseline_usd: Usd,
    /// The equity that reached it.
    pub equity_usd: Usd,
    /// Epoch it happened under.
    pub epoch: Epoch,
}

/// What the venue called a coin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssetRecord {
    /// Coin name.
    pub coin: String,
    /// Asset index.
    pub index: u32,
    /// Size decimals.
    pub sz_decimals: u32,
}

/// What a reading changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing to store.
    None,
    /// A new baseline: store before relying on it.
    Baseline,
    /// The limit was reached just now: store and report.
    Breached,
}

impl Guard {
    /// Takes one equity reading in.
    pub fn on_equity(&mut self, equity_usd: Usd, venue_ms: u64, limit: Usd, epoch: Epoch) -> Change {
        let today = venue_ms / DAY_MS;
        let day = match self.day {
            // A venue clock that goes back does not make a new day.
            Some(day) if today <= day.number || self.breach.is_some() => day,
            Some(_) | None => {
                self.day = Some(Day { number: today, baseline_usd: equity_usd });
                return Change::Baseline;
            }
        };
        if self.breach.is_some() {
            return Change::None;
        }
        // A difference that cannot be held is not a small one.
        let reached = day.baseline_usd.checked_sub(equity_usd).is_none_or(|loss| loss >= limit);
        if !reached {
            return Change::None;
        }
        self.breach = Some(Breach { day: today, baseline_usd: day.baseline_usd, equity_usd, epoch });
        Change::Breached
    }

    /// The operator has seen the breach and resumes; the next reading makes a new baseline.
    pub fn acknowledge(&mut self) {
        self.breach = None;
        self.day = None;
    }

    /// The latched breach.
    #[must_use]
    pub const fn breach(&self) -> Option<&Breach> {
        self.breach.as_ref()
    }

    /// The day and its breach, for the record that others keep of it; `None` before a day's first reading.
    #[must_use]
    pub fn told(&self) -> Option<LossDay> {
        let Day { number, baseline_usd } = self.day?;
        let breach = self.breach.map(|breach| LossBreach { equity_usd: breach.equity_usd, epoch: breach.epoch });
        Some(LossDay { utc_day: number, baseline_usd, breach })
    }

    /// Whether opening is allowed by this guard: there is a baseline and no breach.
    #[must_use]
    pub const fn permits(&self) -> bool {
        self.day.is_some() && self.breach.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(n: i32) -> Usd {
        n.to_string().parse().unwrap()
    }

    const LIMIT: u32 = 250;

    fn read(guard: &mut Guard, equity: i32, day: u64) -> Change {
        guard.on_equity(usd(equity), day * DAY_MS + 1, Usd::whole(LIMIT), Epoch(1))
    }

    #[test]
    fn the_first_reading_of_a_day_is_the_baseline_and_the_limit_is_inclusive() {
        let mut guard = Guard::default();
        assert!(!guard.permits(), "no baseline, no opening");
        for (equity, day, expect) in [
            (10_000, 5, Change::Baseline),
            (9_751, 5, Change::None),
            (9_700, 6, Change::Baseline),
            (9_600, 5, Change::None),
            (9_450, 6, Change::Breached),
            (9_000, 6, Change::None),
        ] {
            assert_eq!(read(&mut guard, equity, day), expect, "{equity} on day {day}");
        }
        assert!(!guard.permits());
    }

    #[test]
    fn a_breach_survives_recovery_midnight_and_restarts_until_the_operator_acts() {
        let mut guard = Guard::default();
        read(&mut guard, 1000, 5);
        assert_eq!(read(&mut guard, 700, 5), Change::Breached);
        assert_eq!(read(&mut guard, 2000, 5), Change::None);
        assert_eq!(read(&mut guard, 2000, 6), Change::None, "midnight does not forget");
        let stored = serde_json::to_vec(&guard).unwrap();
        let mut again: Guard = serde_json::from_slice(&stored).unwrap();
        assert_eq!(read(&mut again, 700, 7), Change::None, "nor does a restart");
        assert!(!again.permits());
        again.acknowledge();
        assert_eq!(read(&mut again, 700, 7), Change::Baseline);
        assert!(again.permits());
    }
}
