//! The operator dead-man: has the operator checked in? Pure; both clocks are passed in.
//!
//! The deadline is given in wall time and turned into an instant of the boot clock when it is first heard, so that a
//! wall clock stepped back does not extend it and one stepped forward does not shorten it. Sleep counts.

use holdfast_core::time::{Span, Tick};

/// The deadline and whether it was acted on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operator {
    deadline: Option<Deadline>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deadline {
    wall_ms: u64,
    at: Tick,
    acted: bool,
}

impl Operator {
    /// The supervisor named a deadline (or none). The same one again changes nothing.
    pub(crate) fn set(&mut self, now: Tick, wall_now_ms: u64, expires_wall_ms: Option<u64>) {
        let Some(wall_ms) = expires_wall_ms else {
            self.deadline = None;
            return;
        };
        if self.deadline.is_some_and(|known| known.wall_ms == wall_ms) {
            return;
        }
        let at = now.after(Span::from_ms(wall_ms.saturating_sub(wall_now_ms)));
        self.deadline = Some(Deadline { wall_ms, at, acted: false });
    }

    /// True once, when the deadline has passed.
    pub(crate) fn expired(&mut self, now: Tick) -> bool {
        match &mut self.deadline {
            Some(deadline) if !deadline.acted && now >= deadline.at => {
                deadline.acted = true;
                true
            }
            Some(_) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Tick {
        Tick(ms * 1_000_000)
    }

    #[test]
    fn fires_once_and_a_stepped_wall_clock_moves_nothing() {
        let mut operator = Operator::default();
        assert!(!operator.expired(ms(1)));
        operator.set(ms(0), 1_000_000, Some(1_005_000));
        // The wall clock went back an hour, then forward two; the supervisor repeats itself.
        operator.set(ms(2000), 0, Some(1_005_000));
        operator.set(ms(3000), 9_000_000, Some(1_005_000));
        assert!(!operator.expired(ms(4999)));
        assert!(operator.expired(ms(5000)));
        assert!(!operator.expired(ms(6000)), "once");
        operator.set(ms(7000), 1_007_000, Some(1_008_000));
        assert!(operator.expired(ms(8000)), "a new deadline counts anew");
        operator.set(ms(9000), 1_009_000, Some(1_008_500));
        assert!(operator.expired(ms(9000)), "already past when heard");
        operator.set(ms(9000), 1_009_000, Some(2_000_000));
        operator.set(ms(9500), 1_009_500, None);
        assert!(!operator.expired(ms(999_999_999)), "switched off");
    }
}
