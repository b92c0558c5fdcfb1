//! Legal prices and sizes, and rounding that never leaves the bound it was given.

use super::Side;
use holdfast_core::money::{Px, Sz};
use rust_decimal::{Decimal, RoundingStrategy};

/// Significant figures of a price that is not an integer.
const FIGURES: i64 = 5;
/// Decimals of a perpetual's price, before size decimals are taken off.
const PERP_DECIMALS: u32 = 6;

/// Precision of one perpetual: sizes have at most `sz_decimals` decimals; a price is an integer, or has at most 5
/// significant figures and at most `6 - sz_decimals` decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PriceRule {
    sz_decimals: u32,
}

impl PriceRule {
    /// The rule of a perpetual. `None` when the venue names more size decimals than prices can have.
    #[must_use]
    pub const fn perp(sz_decimals: u32) -> Option<Self> {
        if sz_decimals <= PERP_DECIMALS { Some(Self { sz_decimals }) } else { None }
    }

    /// Decimals of a size.
    #[must_use]
    pub const fn sz_decimals(self) -> u32 {
        self.sz_decimals
    }

    /// Whether the venue takes this price.
    #[must_use]
    pub fn is_legal(self, px: Px) -> bool {
        let px = px.get().normalize();
        px.scale() == 0 || px.scale() <= self.decimals_at(px)
    }

    /// Whether the venue takes this size: above zero and not finer than the rule.
    #[must_use]
    pub fn is_legal_size(self, sz: Sz) -> bool {
        !sz.is_zero() && sz.get().normalize().scale() <= self.sz_decimals
    }

    /// The nearest legal price inside the bound: a buy limit goes down, a sell limit up. `None` if there is none above zero.
    #[must_use]
    pub fn round_inside(self, bound: Px, side: Side) -> Option<Px> {
        let strategy = match side {
            Side::Buy => RoundingStrategy::ToZero,
            Side::Sell => RoundingStrategy::AwayFromZero,
        };
        let px = bound.get().normalize();
        Px::new(px.round_dp_with_strategy(self.decimals_at(px), strategy)).ok()
    }

    /// Limit of an immediate order: `reference` moved by `bps` against us, rounded inside. `None` if that is no price.
    #[must_use]
    pub fn bounded(self, reference: Px, bps: u32, side: Side) -> Option<Px> {
        let bps = i64::from(bps);
        let moved = reference.moved_bps(if side.is_buy() { bps } else { bps.checked_neg()? })?;
        self.round_inside(moved, side)
    }

    /// Decimals a price of this magnitude may have.
    fn decimals_at(self, px: Decimal) -> u32 {
        let digits = i64::from(px.mantissa().unsigned_abs().checked_ilog10().unwrap_or(0));
        let magnitude = digits.saturating_sub(i64::from(px.scale()));
        let by_figures = (FIGURES - 1).saturating_sub(magnitude).max(0);
        let by_decimals = PERP_DECIMALS.saturating_sub(self.sz_decimals);
        u32::try_from(by_figures).unwrap_or(by_decimals).min(by_decimals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn px(text: &str) -> Px {
        text.parse().unwrap()
    }

    #[test]
    fn legality_table_of_the_spec() {
        for (price, decimals, legal) in [
            ("1234.5", 1, true),
            ("1234.56", 1, false),
            ("123456", 0, true),
            ("123456", 6, true),
            ("12345.6", 0, false),
            ("0.001234", 0, true),
            ("0.0012345", 0, false),
            ("0.01234", 2, false),
            ("80459.5", 5, false),
        ] {
            assert_eq!(PriceRule::perp(decimals).unwrap().is_legal(px(price)), legal, "{price} at {decimals}");
        }
        assert_eq!(PriceRule::perp(7), None);
    }

    #[test]
    fn rounding_never_leaves_the_bound_and_is_legal() {
        for (bound, decimals) in
            [("80459.5", 5), ("0.20149", 0), ("103.35835", 2), ("9.999951", 0), ("99999.9", 5), ("0.0000019", 0)]
        {
            let rule = PriceRule::perp(decimals).unwrap();
            for side in [Side::Buy, Side::Sell] {
                let Some(limit) = rule.round_inside(px(bound), side) else { continue };
                assert!(rule.is_legal(limit), "{bound} {side:?} {limit}");
                assert!(if side.is_buy() { limit <= px(bound) } else { limit >= px(bound) }, "{bound} {side:?}");
            }
        }
        assert_eq!(PriceRule::perp(0).unwrap().round_inside(px("0.0000001"), Side::Buy), None);
    }

    #[test]
    fn sizes() {
        let rule = PriceRule::perp(2).unwrap();
        for (size, legal) in [("0.01", true), ("0.001", false), ("0", false), ("5", true)] {
            assert_eq!(rule.is_legal_size(size.parse().unwrap()), legal, "{size}");
        }
    }
}
