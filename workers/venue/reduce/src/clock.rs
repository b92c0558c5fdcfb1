//! From the host's boot clock to the venue's wall clock, erring on the early side.
//!
//! A permit's deadline is a boot-clock instant; the venue expires orders by its own clock. The mapping here is never
//! later than the truth, so that the venue refuses an order no later than the permit would.

use holdfast_core::time::{Span, Tick};

/// Where the boot clock is read: a function handed in by the process (tests hand in their own).
pub type ClockFn = fn() -> Tick;

/// One comparison of the two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VenueClock {
    offset_ms: i64,
    uncertainty: Span,
    sampled: Tick,
}

impl VenueClock {
    /// Compares: the venue said `venue_ms` somewhere between `sent` and `received`. It is taken to have said it as late
    /// as possible, which makes every mapped instant early by at most the round trip.
    #[must_use]
    pub fn sample(venue_ms: u64, sent: Tick, received: Tick) -> Option<Self> {
        let venue = i64::try_from(venue_ms).ok()?;
        let host = i64::try_from(received.0 / 1_000_000).ok()?;
        let offset_ms = venue.checked_sub(host)?.checked_sub(1)?;
        Some(Self { offset_ms, uncertainty: received.since(sent), sampled: received })
    }

    /// A clock with a known offset, for tests and replays.
    #[must_use]
    pub const fn fixed(offset_ms: i64) -> Self {
        Self { offset_ms, uncertainty: Span::ZERO, sampled: Tick(0) }
    }

    /// Venue time of a boot-clock instant in ms since the epoch; early by at most [`VenueClock::uncertainty`] and 2 ms.
    #[must_use]
    pub fn venue_ms(&self, at: Tick) -> u64 {
        let host = i64::try_from(at.0 / 1_000_000).unwrap_or(i64::MAX);
        u64::try_from(host.saturating_add(self.offset_ms)).unwrap_or(0)
    }

    /// Round trip of the sample: how much too early a mapped instant can be.
    #[must_use]
    pub const fn uncertainty(&self) -> Span {
        self.uncertainty
    }

    /// When the sample was taken; clocks drift, so take a new one every minute.
    #[must_use]
    pub const fn sampled(&self) -> Tick {
        self.sampled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_instant_is_never_late() {
        let (sent, received) = (Tick(1_000_000_000), Tick(1_200_000_000));
        let clock = VenueClock::sample(1_790_000_000_000, sent, received).unwrap();
        // Whenever in the round trip the venue answered, the true venue time of `t` is at least what we map it to.
        for answered in [sent, Tick(1_100_000_000), received] {
            let t = Tick(5_000_000_000);
            let truth = 1_790_000_000_000 + t.since(answered).as_ms();
            assert!(clock.venue_ms(t) <= truth);
            assert!(clock.venue_ms(t) + clock.uncertainty().as_ms() + 2 >= truth);
        }
        assert_eq!(VenueClock::fixed(-10).venue_ms(Tick(0)), 0);
    }
}
