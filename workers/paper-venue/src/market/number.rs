//! Numbers of market files as scaled integers: exact, bounded, never floats.
//!
//! Prices are counted in 1e-10 USD and sizes in 1e-8 coin, both in an `i64`. A price may be written with an exponent
//! (spreadsheets and data frames do so for small ones); digits beyond the scale are rounded to nearest, because a
//! market's price is rounded to the venue's legal grid anyway.

use holdfast_core::money::{Px, Sz};
use rust_decimal::Decimal;

/// A price in 1e-10 USD.
pub(super) type Fx = i64;
/// A size in 1e-8 coin.
pub(super) type Fs = i64;

pub(super) const PX_SCALE: u32 = 10;
pub(super) const SZ_SCALE: u32 = 8;
/// One USD as a price.
pub(super) const PX_ONE: Fx = 10_000_000_000;
/// One coin as a size.
pub(super) const SZ_ONE: Fs = 100_000_000;
/// The highest price that is taken: 100 million USD. Leaves headroom for every sum made of prices.
pub(super) const PX_MAX: Fx = 100_000_000 * PX_ONE;
/// The largest size that is taken: ten thousand million coins.
pub(super) const SZ_MAX: Fs = 10_000_000_000 * SZ_ONE;

/// What a price must be, for error texts.
pub(super) const WANT_PRICE: &str = "a price above zero, as a plain decimal";
/// What a size must be, for error texts.
pub(super) const WANT_SIZE: &str = "a size that is not negative, as a plain decimal";

/// `text` times ten to the `scale`, rounded to nearest; `None` for anything that is not a finite decimal that fits.
pub(super) fn scaled(text: &str, scale: u32) -> Option<i128> {
    let text = text.trim();
    if text.is_empty() || text.len() > 64 {
        return None;
    }
    let (body, exponent) = match text.split_once(['e', 'E']) {
        Some((body, exp)) => (body, exp.parse::<i32>().ok().filter(|e| (-40..=40).contains(e))?),
        None => (text, 0),
    };
    let (negative, body) = match body.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, body.strip_prefix('+').unwrap_or(body)),
    };
    let mut mantissa: i128 = 0;
    let mut digits = 0_u32;
    let mut decimals: i32 = 0;
    let mut point = false;
    for byte in body.bytes() {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                // Beyond 30 digits the rest cannot change a value at our scale; whole digits still count.
                if mantissa < 10_i128.pow(30) {
                    mantissa = mantissa * 10 + i128::from(byte - b'0');
                    decimals += i32::from(point);
                } else if !point {
                    return None;
                }
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    if digits == 0 {
        return None;
    }
    let shift = i32::try_from(scale).ok()? - decimals + exponent;
    let value = if shift >= 0 {
        mantissa.checked_mul(10_i128.checked_pow(shift.unsigned_abs())?)?
    } else {
        match 10_i128.checked_pow(shift.unsigned_abs()) {
            Some(by) => (mantissa + by / 2) / by,
            None => 0,
        }
    };
    Some(if negative { -value } else { value })
}

/// A price above zero.
pub(super) fn price(text: &str) -> Option<Fx> {
    let value = scaled(text, PX_SCALE)?;
    Fx::try_from(value).ok().filter(|v| *v > 0 && *v <= PX_MAX)
}

/// A size, zero allowed.
pub(super) fn size(text: &str) -> Option<Fs> {
    let value = scaled(text, SZ_SCALE)?;
    Fs::try_from(value).ok().filter(|v| *v >= 0 && *v <= SZ_MAX)
}

/// The price as the money type; `None` for what is not above zero.
pub(super) fn to_px(value: Fx) -> Option<Px> {
    Decimal::try_from_i128_with_scale(i128::from(value), PX_SCALE).ok().and_then(|d| Px::new(d).ok())
}

/// The size as the money type.
pub(super) fn to_sz(value: Fs) -> Sz {
    Decimal::try_from_i128_with_scale(i128::from(value.max(0)), SZ_SCALE)
        .ok()
        .and_then(|d| Sz::new(d).ok())
        .unwrap_or(Sz::ZERO)
}

/// `a * b / c` without overflow on the way, clamped to the range of a price; `c` of zero counts as one.
pub(super) fn mul_div(a: i64, b: i64, c: i64) -> i64 {
    let wide = i128::from(a) * i128::from(b) / i128::from(if c == 0 { 1 } else { c });
    i64::try_from(wide).unwrap_or(if wide < 0 { -PX_MAX } else { PX_MAX })
}

/// How far `a` is from `b` in basis points of `b`, without sign.
pub(super) fn apart_bps(a: Fx, b: Fx) -> i64 {
    mul_div((a - b).abs(), 10_000, b.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_decimals_exactly_and_refuses_the_rest() {
        for (text, want) in [
            ("1", Some(PX_ONE)),
            ("41723.0", Some(41_723 * PX_ONE)),
            ("0.001", Some(10_000_000)),
            ("1.6e-06", Some(16_000)),
            ("4.2E+4", Some(42_000 * PX_ONE)),
            (".5", Some(PX_ONE / 2)),
            ("41723.000000000000001", Some(41_723 * PX_ONE)),
            ("0", None),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("1,000", None),
            ("1e999", None),
            ("1e30", None),
            ("0.00000000000001", None),
        ] {
            assert_eq!(price(text), want, "{text:?}");
        }
        assert_eq!(size("0"), Some(0));
        assert_eq!(size("-0.1"), None);
        assert_eq!(to_px(price("61800.10").unwrap_or(0)).map(|p| p.to_string()), Some("61800.1".into()));
    }
}
