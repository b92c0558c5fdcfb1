//! Decimal arithmetic that is total: every input is bounded where it enters, so the clamps below are never reached.
//!
//! Prices stay below 10^9, sizes and positions below 10^10, each with at most 8 decimals; a product therefore stays far
//! inside the 28 digits of the type and a clamp would show as an absurd equity rather than as a panic.

use holdfast_core::money::{Px, Sz, Szi, Usd};
use rust_decimal::Decimal;

/// Largest price taken from a client.
pub(crate) const MAX_PX: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);
/// Largest size taken from a client, and largest position.
pub(crate) const MAX_SZ: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);

/// Sum.
pub(crate) fn add(a: Decimal, b: Decimal) -> Decimal {
    a.checked_add(b).unwrap_or(Decimal::MAX)
}

/// Difference.
pub(crate) fn sub(a: Decimal, b: Decimal) -> Decimal {
    a.checked_sub(b).unwrap_or(Decimal::MIN)
}

/// Product.
pub(crate) fn mul(a: Decimal, b: Decimal) -> Decimal {
    a.checked_mul(b).unwrap_or(Decimal::MAX)
}

/// Quotient; zero when the divisor is zero.
pub(crate) fn div(a: Decimal, b: Decimal) -> Decimal {
    a.checked_div(b).unwrap_or(Decimal::ZERO)
}

/// As a size; what is not positive is none at all.
pub(crate) fn sz(v: Decimal) -> Sz {
    Sz::new(v).unwrap_or(Sz::ZERO)
}

/// As a signed size.
pub(crate) fn szi(v: Decimal) -> Szi {
    Szi::new(v).unwrap_or(Szi::FLAT)
}

/// As dollars, in whole millionths.
pub(crate) fn usd6(v: Decimal) -> Usd {
    Usd::new(v.round_dp(6)).unwrap_or(Usd::ZERO)
}

/// As dollars.
pub(crate) fn usd(v: Decimal) -> Usd {
    Usd::new(v).unwrap_or(Usd::ZERO)
}

/// Whether the venue would take this price for a coin with `sz_decimals`.
pub(crate) fn legal_px(px: Px, sz_decimals: u32) -> bool {
    let v = px.get().normalize();
    if v > MAX_PX {
        return false;
    }
    if v.scale() == 0 {
        return true;
    }
    let figures = v.mantissa().unsigned_abs().checked_ilog10().map_or(1, |d| d.saturating_add(1));
    figures <= 5 && v.scale() <= 6_u32.saturating_sub(sz_decimals)
}

/// The nearest legal price at or below `v` (above when `up`).
pub(crate) fn to_tick(v: Decimal, sz_decimals: u32, up: bool) -> Option<Px> {
    use rust_decimal::RoundingStrategy::{AwayFromZero, ToZero};
    let strategy = if up { AwayFromZero } else { ToZero };
    let decimals = 6_u32.saturating_sub(sz_decimals);
    let rounded = v.round_sf_with_strategy(5, strategy)?.round_dp_with_strategy(decimals, strategy);
    let whole = v.round_dp_with_strategy(0, strategy);
    // From 10^5 on, integers are finer than five figures.
    let best = if v >= Decimal::from(100_000) { whole } else { rounded };
    Px::new(best.normalize()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_prices_follow_the_table() {
        for (px, decimals, legal) in [
            ("1234.5", 1, true),
            ("1234.56", 1, false),
            ("123456", 5, true),
            ("12345.6", 0, false),
            ("0.001234", 0, true),
            ("0.0012345", 0, false),
            ("0.01234", 2, false),
            ("80459.5", 5, false),
        ] {
            assert_eq!(legal_px(px.parse().unwrap(), decimals), legal, "{px} {decimals}");
        }
    }

    #[test]
    fn rounding_lands_on_a_legal_price_inside_the_bound() {
        for (v, decimals) in [("80459.5", 5), ("123456.7", 3), ("0.0012345", 0), ("3999.9876", 4)] {
            let v: Decimal = v.parse().unwrap();
            let (down, up) = (to_tick(v, decimals, false).unwrap(), to_tick(v, decimals, true).unwrap());
            assert!(legal_px(down, decimals) && legal_px(up, decimals) && down.get() <= v && up.get() >= v);
        }
    }
}
