//! The mark: the price positions are valued at, which no single print and no empty book can move.
//!
//! It is the median of the last three samples, moved by at most one step per sample, and samples are at least one
//! interval apart. A print at an absurd price is one sample at most, so the median never reaches it; a real move
//! lasts, and the mark follows it within a few samples.

use super::number::{Fx, mul_div};

/// The mark of one coin.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    interval_ms: u64,
    step_bps: i64,
    recent: [Fx; 3],
    value: Fx,
    sampled_ms: Option<u64>,
}

impl Mark {
    /// A mark that samples no more often than `interval_ms` and moves at most `step_bps` each time.
    pub(super) const fn new(interval_ms: u64, step_bps: i64) -> Self {
        Self { interval_ms, step_bps, recent: [0; 3], value: 0, sampled_ms: None }
    }

    /// The mark, once there has been a sample.
    pub(super) const fn value(&self) -> Option<Fx> {
        if self.sampled_ms.is_some() { Some(self.value) } else { None }
    }

    /// Offers a price; answers the new mark if it moved. The first price is taken as it is.
    pub(super) fn offer(&mut self, at_ms: u64, px: Fx) -> Option<Fx> {
        match self.sampled_ms {
            None => {
                self.recent = [px; 3];
                self.value = px;
                self.sampled_ms = Some(at_ms);
                return Some(px);
            }
            Some(then) if at_ms < then.saturating_add(self.interval_ms) => return None,
            Some(_) => {}
        }
        self.sampled_ms = Some(at_ms);
        self.recent.rotate_left(1);
        self.recent[2] = px;
        let mut sorted = self.recent;
        sorted.sort_unstable();
        let reach = mul_div(self.value, self.step_bps, 10_000).max(1);
        let next = sorted[1].clamp(self.value - reach, self.value + reach);
        let moved = next != self.value;
        self.value = next;
        moved.then_some(next)
    }
}

/// The prints of one interval, reduced to the one price they are worth as a sample.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prints {
    first: Fx,
    low: Fx,
    high: Fx,
    last: Fx,
}

impl Prints {
    /// Adds one.
    pub(super) fn add(&mut self, px: Fx) {
        if self.first == 0 {
            *self = Self { first: px, low: px, high: px, last: px };
        } else {
            self.low = self.low.min(px);
            self.high = self.high.max(px);
            self.last = px;
        }
    }

    /// Range in basis points, and the sample; empties the set. Prints that span more than 5 % within one interval
    /// are a sweep of the book, not a valuation: then the price before the sweep counts.
    pub(super) fn take(&mut self) -> Option<(i64, Fx)> {
        let set = std::mem::take(self);
        if set.first == 0 {
            return None;
        }
        let range_bps = super::number::apart_bps(set.high, set.low);
        Some((range_bps, if range_bps > 500 { set.first } else { set.last }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_absurd_sample_never_counts_and_a_lasting_move_does() {
        let mut mark = Mark::new(1_000, 100);
        assert_eq!(mark.offer(0, 100_000), Some(100_000));
        assert_eq!(mark.offer(500, 50), None, "too soon to sample");
        assert_eq!(mark.offer(1_000, 50), None, "outvoted");
        for at in [2_000, 3_000, 4_000] {
            assert_eq!(mark.offer(at, 100_000), None);
        }
        assert_eq!(mark.offer(5_000, 90_000), None, "one sample is not a move");
        assert_eq!(mark.offer(6_000, 90_000), Some(99_000), "two are, one step of 1 % at a time");
    }
}
