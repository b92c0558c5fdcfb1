//! Request weight per minute, with a reserve that only exits may use.
//!
//! The venue counts weight per IP address; each process is given its share. Opening stops first, reading next, and a
//! reduction is never refused here: whether it is throttled is the venue's word, not ours.

use holdfast_core::time::{Span, Tick};
use std::sync::{Mutex, PoisonError};

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
    cap: u32,
    reserve: u32,
    window: Mutex<Window>,
}

impl Budget {
    /// `cap` weight per minute, of which `reserve` is kept for exits.
    #[must_use]
    pub const fn new(cap: u32, reserve: u32) -> Self {
        Self { cap, reserve, window: Mutex::new(Window { second: 0, used: [0; SLOTS] }) }
    }

    /// Books `weight`, or says that this purpose must wait.
    ///
    /// # Errors
    /// [`OverBudget`]; never for [`Purpose::Reduce`].
    pub fn take(&self, now: Tick, weight: u32, purpose: Purpose) -> Result<(), OverBudget> {
        let limit = match purpose {
            Purpose::Open => self.cap.saturating_sub(self.reserve),
            Purpose::Observe => self.cap.saturating_sub(self.reserve / 2),
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
        let budget = Budget::new(100, 40);
        assert_eq!(budget.take(at(100), 60, Purpose::Open), Ok(()));
        assert_eq!(budget.take(at(101), 1, Purpose::Open), Err(OverBudget { used: 60, limit: 60 }));
        assert_eq!(budget.take(at(101), 20, Purpose::Observe), Ok(()));
        assert!(budget.take(at(101), 1, Purpose::Observe).is_err());
        assert_eq!(budget.take(at(101), 500, Purpose::Reduce), Ok(()));
        assert_eq!(budget.used(at(159)), 580);
    }

    #[test]
    fn what_is_a_minute_old_is_forgotten_and_time_may_jump() {
        let budget = Budget::new(100, 0);
        assert_eq!(budget.take(at(10), 100, Purpose::Open), Ok(()));
        assert!(budget.take(at(69), 1, Purpose::Open).is_err());
        assert_eq!(budget.take(at(70), 100, Purpose::Open), Ok(()));
        assert_eq!(budget.used(at(1_000_000)), 0);
    }
}
