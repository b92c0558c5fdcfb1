//! Legal prices and sizes of the venue, in scaled integers.
//!
//! A price is legal when it is whole, or has at most 5 significant figures and at most `6 - szDecimals` decimals; a
//! size when it has at most `szDecimals` decimals (venue page, section 2).

use super::number::{Fs, Fx, PX_ONE, SZ_ONE};

/// The grid of one coin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Decimals below which no price may go, as the smallest step.
    finest: Fx,
    /// The smallest size.
    lot: Fs,
}

impl Grid {
    /// For a coin with this many size decimals (more than 6 count as 6).
    pub(super) fn new(sz_decimals: u32) -> Self {
        let decimals = sz_decimals.min(6);
        Self { finest: PX_ONE / 10_i64.pow(6 - decimals), lot: SZ_ONE / 10_i64.pow(decimals) }
    }

    /// The step between legal prices at this price.
    pub(super) fn tick(self, px: Fx) -> Fx {
        let mut decade: Fx = 1;
        while decade <= px / 10 {
            decade *= 10;
        }
        (decade / 10_000).clamp(self.finest, PX_ONE)
    }

    /// The highest legal price at or below; zero if there is none.
    pub(super) fn floor(self, px: Fx) -> Fx {
        px - px % self.tick(px)
    }

    /// The lowest legal price at or above.
    pub(super) fn ceil(self, px: Fx) -> Fx {
        let below = self.floor(px);
        if below == px { px } else { below + self.tick(px) }
    }

    /// The nearest legal price, never zero.
    pub(super) fn nearest(self, px: Fx) -> Fx {
        let (below, above) = (self.floor(px), self.ceil(px));
        if below > 0 && px - below <= above - px { below } else { above }
    }

    /// The largest legal size at or below.
    pub(super) fn size(self, sz: Fs) -> Fs {
        sz - sz % self.lot
    }

    /// The same, but at least one lot.
    pub(super) fn size_or_lot(self, sz: Fs) -> Fs {
        self.size(sz).max(self.lot)
    }
}

#[cfg(test)]
mod tests {
    use super::super::number::{price, to_px};
    use super::*;

    #[test]
    fn legal_prices_follow_the_venue_table() {
        for (text, decimals, below, above) in [
            ("1234.5", 1, "1234.5", "1234.5"),
            ("1234.56", 1, "1234.5", "1234.6"),
            ("123456", 5, "123456", "123456"),
            ("12345.6", 0, "12345", "12346"),
            ("0.001234", 0, "0.001234", "0.001234"),
            ("0.0012345", 0, "0.001234", "0.001235"),
            ("0.01234", 2, "0.0123", "0.0124"),
            ("80459.5", 5, "80459", "80460"),
            ("99999.5", 5, "99999", "100000"),
            ("9.99999", 2, "9.9999", "10"),
        ] {
            let grid = Grid::new(decimals);
            let px = price(text).unwrap();
            assert_eq!(to_px(grid.floor(px)).unwrap().to_string(), below, "{text} down");
            assert_eq!(to_px(grid.ceil(px)).unwrap().to_string(), above, "{text} up");
        }
    }
}
