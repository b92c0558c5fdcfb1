//! Bars of fixed length in venue time, built from believable prices only. Pure.
//!
//! A bar closes when a price of a later bar arrives, so a silent market closes nothing. Prices that go back in time are
//! not believed. Bars that are missing in between are counted, and whoever uses the bars decides what that voids.

use holdfast_core::money::Px;

/// A closed bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Venue time divided by the bar length: the same bar has the same number after a restart.
    pub number: u64,
    /// Last price in it.
    pub close: Px,
    /// Bars without any price between this one and the one closed before it.
    pub missing: u64,
}

/// The bar being built.
#[derive(Clone, Copy, Debug)]
struct Open {
    number: u64,
    last: Px,
}

/// Builds the bars of one coin.
#[derive(Clone, Debug)]
pub struct Bars {
    bar_ms: u64,
    open: Option<Open>,
    closed: Option<u64>,
}

impl Bars {
    /// Bars of this many milliseconds; zero is read as one.
    #[must_use]
    pub fn new(bar_ms: u64) -> Self {
        Self { bar_ms: bar_ms.max(1), open: None, closed: None }
    }

    /// Venue time at which a bar begins, in milliseconds.
    #[must_use]
    pub const fn begins_ms(&self, number: u64) -> u64 {
        number.saturating_mul(self.bar_ms)
    }

    /// Number of the bar that a venue time in milliseconds lies in.
    #[must_use]
    pub const fn number_at(&self, venue_ms: u64) -> u64 {
        venue_ms / self.bar_ms
    }

    /// Takes one believable price; returns the bar it closes, if it does.
    pub fn push(&mut self, venue_ms: u64, px: Px) -> Option<Bar> {
        let number = self.number_at(venue_ms);
        match self.open {
            Some(open) if number < open.number => None,
            Some(open) if number == open.number => {
                self.open = Some(Open { number, last: px });
                None
            }
            Some(open) => {
                self.open = Some(Open { number, last: px });
                let missing = self.closed.map_or(0, |last| open.number.saturating_sub(last).saturating_sub(1));
                self.closed = Some(open.number);
                Some(Bar { number: open.number, close: open.last, missing })
            }
            None => {
                self.open = Some(Open { number, last: px });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn px(n: u32) -> Px {
        n.to_string().parse().unwrap()
    }

    #[test]
    fn a_bar_closes_with_its_last_price_when_a_later_one_begins() {
        let mut bars = Bars::new(1000);
        let rows = [
            (10_000, 1, None),
            (10_500, 2, None),
            (10_999, 3, None),
            (11_000, 4, Some((10, 3, 0))),
            (10_500, 9, None),
            (11_900, 5, None),
            (15_100, 6, Some((11, 5, 0))),
            (16_000, 7, Some((15, 6, 3))),
        ];
        for (at, price, expect) in rows {
            let closed = bars.push(at, px(price));
            assert_eq!(closed.map(|b| (b.number, b.close, b.missing)), expect.map(|(n, c, m)| (n, px(c), m)), "{at}");
        }
        assert_eq!(bars.begins_ms(15), 15_000);
    }
}
