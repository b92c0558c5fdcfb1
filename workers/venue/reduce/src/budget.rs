//! Request weight per minute, with a reserve that only exits may use.
//!
//! The venue counts weight per IP address; each process is given its share. Opening stops first, reading next, and a
//! reduction is never refused here: whether it is throttled is the venue's word, not ours.

use holdfast_core::time::{Span, Tick};
use std::sync::{Mutex, PoisonError};

/// Weight per minute the venue grants one IP address, over all processes on it.
pub const WEIGHT_PER_MINUTE: u32 = 1200;
/// Weight of the light reads: a book, mid prices, positions, an order's status, the clock.
pub const LIGHT: u32 = 2;
/// Weight of most reads.
pub const COMMON: u32 = 20;
/// Weight of asking what an address is.
pub const ROLE: u32 = 60;

/// What one process may use of the venue's weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Weight per minute.
    pub per_minute: u32,
    /// How much of that is kept for exits.
    pub exit_reserve: u32,
}

/// The sensor watches and never exits.
pub const SENSOR: Share = Share { per_minute: 650, exit_reserve: 0 };
/// The engine compares, opens and closes.
pub const ENGINE: Share = Share { per_minute: 240, exit_reserve: 50 };
/// Deadman only reduces; nothing of its share is for anything else.
pub const DEADMAN: Share = Share { per_minute: 310, exit_reserve: 310 };
/// The paper venue is ours and takes what we ask.
pub const PAPER: Share = Share { per_minute: 100_000, exit_reserve: 0 };
/// A tool that has the address to itself.
pub const ALONE: Share = Share { per_minute: WEIGHT_PER_MINUTE, exit_reserve: WEIGHT_PER_MINUTE / 4 };

/// Weight of one complete reading of the account: the dexes, and orders and positions of each.
#[must_use]
pub const fn account_read(dexes: u32) -> u32 {
    COMMON.saturating_add(dexes.saturating_mul(COMMON + LIGHT))
}

/// Weight of a round of deadman's ladder that needs every rung: a reading at its begin, one after the cancels, one after
/// each of four closes and one more as proof; two batches of cancels and four of closes.
#[must_use]
pub const fn ladder_round(dexes: u32) -> u32 {
    account_read(dexes).saturating_mul(7).saturating_add(6)
}

/// Weight of one attempt of the engine to close: orders, positions, a book, the order.
pub const ONE_CLOSE: u32 = COMMON + LIGHT + LIGHT + 1;

const _: () = assert!(
    SENSOR.per_minute + ENGINE.per_minute + DEADMAN.per_minute <= WEIGHT_PER_MINUTE,
    "what every process may use at once is within what the address is granted"
);
const _: () = assert!(DEADMAN.per_minute >= ladder_round(1), "deadman gets through a whole round on its own share");
const _: () = assert!(
    DEADMAN.per_minute + ENGINE.per_minute >= ladder_round(2),
    "with a second dex in use it draws on the engine's, which was ended before a ladder begins"
);
const _: () = assert!(ENGINE.exit_reserve < ENGINE.per_minute, "the reserve for exits is a part of the engine's share");
const _: () = assert!(ENGINE.exit_reserve / 2 >= ONE_CLOSE, "what even watching may not touch is enough to close once");

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// May add risk: refused inside the exit reserve.
    Open,
    /// Watching: refused inside the half of the reserve that is kept for closing.
    Observe,
    /// Reducing, and the reads a reduction needs: counted, never refused.
    Reduce,
}

/// The share of this process is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request budget is spent: {used} of {limit} in the last minute")]
pub struct OverBudget {
    /// Weight used in the last minute.
    pub used: u32,
    /// What this purpose may use.
    pub limit: u32,
}

const SLOTS: usize = 60;
const SLOT: Span = Span::from_ms(1000);

#[derive(Debug)]
struct Window {
    second: u64,
    used: [u32; SLOTS],
}

/// A sliding minute of request weight.
#[derive(Debug)]
pub struct Budget {
    share: Share,
    window: Mutex<Window>,
}

impl Budget {
    /// Nothing of this share is used yet.
    #[must_use]
    pub const fn new(share: Share) -> Self {
        Self { share, window: Mutex::new(Window { second: 0, used: [0; SLOTS] }) }
    }

    /// Books `weight`, or says that this purpose must wait.
    ///
    /// # Errors
    /// [`OverBudget`]; never for [`Purpose::Reduce`].
    pub fn take(&self, now: Tick, weight: u32, purpose: Purpose) -> Result<(), OverBudget> {
        let Share { per_minute, exit_reserve } = self.share;
        let limit = match purpose {
            Purpose::Open => per_minute.saturating_sub(exit_reserve),
            Purpose::Observe => per_minute.saturating_sub(exit_reserve / 2),
            Purpose::Reduce => u32::MAX,
        };
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.advance(now);
        let used = window.sum();
        if used.saturating_add(weight) > limit {
            return Err(OverBudget { used, limit });
        }
        window.add(weight);
        Ok(())
    }

    /// Books weight the venue charges after the fact (per item returned). Cannot be refused.
    pub fn charge(&self, now: Tick, weight: u32) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.advance(now);
        window.add(weight);
    }

    /// Weight used in the last minute.
    #[must_use]
    pub fn used(&self, now: Tick) -> u32 {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.advance(now);
        window.sum()
    }
}

impl Window {
    fn advance(&mut self, now: Tick) {
        let second = now.0 / SLOT.0;
        let passed = second.saturating_sub(self.second).min(SLOTS as u64);
        for step in 1..=passed {
            let slot = usize::try_from(second.saturating_sub(passed).saturating_add(step) % SLOTS as u64).unwrap_or(0);
            self.used[slot] = 0;
        }
        self.second = self.second.max(second);
    }

    fn add(&mut self, weight: u32) {
        let slot = usize::try_from(self.second % SLOTS as u64).unwrap_or(0);
        self.used[slot] = self.used[slot].saturating_add(weight);
    }

    fn sum(&self) -> u32 {
        self.used.iter().fold(0, |sum, slot| sum.saturating_add(*slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick(seconds * 1_000_000_000)
    }

    #[test]
    fn opens_stop_at_the_reserve_and_reductions_never() {
        let budget = Budget::new(Share { per_minute: 100, exit_reserve: 40 });
        assert_eq!(budget.take(at(100), 60, Purpose::Open), Ok(()));
        assert_eq!(budget.take(at(101), 1, Purpose::Open), Err(OverBudget { used: 60, limit: 60 }));
        assert_eq!(budget.take(at(101), 20, Purpose::Observe), Ok(()));
        assert!(budget.take(at(101), 1, Purpose::Observe).is_err());
        assert_eq!(budget.take(at(101), 500, Purpose::Reduce), Ok(()));
        assert_eq!(budget.used(at(159)), 580);
    }

    /// The table, by the venue's rules: what each process does in its busiest minute fits into its share.
    #[test]
    fn shares_hold_what_each_process_must_do() {
        let used = |share: Share, purpose, weights: &[u32]| {
            let budget = Budget::new(share);
            weights.iter().all(|weight| budget.take(at(100), *weight, purpose).is_ok())
        };
        // Clock, quota, fills and account, twice; the markets once; the clock again and the order path kept warm.
        let compare = LIGHT + COMMON + COMMON + account_read(1);
        let start = [compare, COMMON + COMMON, compare, LIGHT, LIGHT];
        assert!(used(ENGINE, Purpose::Observe, &start), "a start of the engine does not wait for the next minute");
        assert!(!used(ENGINE, Purpose::Open, &[ENGINE.per_minute - ENGINE.exit_reserve, 1]));
        assert!(!used(ENGINE, Purpose::Observe, &[ENGINE.per_minute - ONE_CLOSE, 1]));
        assert_eq!([ladder_round(1), ladder_round(2)], [300, 454]);
        assert_eq!(SENSOR.per_minute + ENGINE.per_minute + DEADMAN.per_minute, WEIGHT_PER_MINUTE, "nothing lies idle");
    }

    #[test]
    fn what_is_a_minute_old_is_forgotten_and_time_may_jump() {
        let budget = Budget::new(Share { per_minute: 100, exit_reserve: 0 });
        assert_eq!(budget.take(at(10), 100, Purpose::Open), Ok(()));
        assert!(budget.take(at(69), 1, Purpose::Open).is_err());
        assert_eq!(budget.take(at(70), 100, Purpose::Open), Ok(()));
        assert_eq!(budget.used(at(1_000_000)), 0);
    }
}
