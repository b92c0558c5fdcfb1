//! The wire form of a number: at most 8 decimals, no trailing zeros, no exponent, zero is `0`.
//!
//! The string that is signed must be the string that is sent, so both are made here.

use holdfast_core::money::{Px, Sz};
use rust_decimal::{Decimal, RoundingStrategy};

/// Why a number has no wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWire {
    /// Rounding to 8 decimals would change the value.
    #[error("more than 8 decimals")]
    TooPrecise,
    /// Not a number that can be held.
    #[error("not a number that can be held exactly")]
    Unreadable,
}

const DECIMALS: u32 = 8;

/// The wire form. Refuses when rounding to 8 decimals changes the value by 1e-12 or more, as the official client does.
///
/// # Errors
/// [`BadWire::TooPrecise`].
pub fn wire_number(value: Decimal) -> Result<String, BadWire> {
    let rounded = value.round_dp_with_strategy(DECIMALS, RoundingStrategy::MidpointAwayFromZero);
    let moved = value.checked_sub(rounded).ok_or(BadWire::Unreadable)?.abs();
    if moved >= Decimal::new(1, 12) {
        return Err(BadWire::TooPrecise);
    }
    if rounded.is_zero() {
        return Ok("0".to_owned());
    }
    Ok(rounded.normalize().to_string())
}

/// The wire form of a price.
///
/// # Errors
/// [`BadWire::TooPrecise`].
pub fn wire_px(px: Px) -> Result<String, BadWire> {
    wire_number(px.get())
}

/// The wire form of a size.
///
/// # Errors
/// [`BadWire::TooPrecise`].
pub fn wire_sz(sz: Sz) -> Result<String, BadWire> {
    wire_number(sz.get())
}

/// Reads a number as people and Python print it: digits, a point, perhaps an exponent. Digits beyond the 28th decimal
/// are dropped: they are far below what [`wire_number`] looks at.
///
/// # Errors
/// [`BadWire::Unreadable`].
pub fn parse_plain(text: &str) -> Result<Decimal, BadWire> {
    let bad = BadWire::Unreadable;
    if text.len() > 64 {
        return Err(bad);
    }
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (number, exponent) = match rest.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().map_err(|_| bad)?),
        None => (rest, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad);
    }
    let point = i64::try_from(whole.len()).map_err(|_| bad)?.saturating_add(i64::from(exponent));
    if point > 40 {
        return Err(bad);
    }
    let text = plain_digits(&digits, point).ok_or(bad)?;
    let value = Decimal::from_str_exact(&text).map_err(|_| bad)?;
    Ok(if negative && !value.is_zero() { -value } else { value })
}

/// Writes `digits` with the point after `point` of them, at most 20 decimals kept.
fn plain_digits(digits: &str, point: i64) -> Option<String> {
    let mut text = String::new();
    let at = usize::try_from(point.max(0)).ok()?;
    let padded = format!("{digits:0<at$}");
    let (whole, fraction) = padded.split_at(at);
    text.push_str(if whole.is_empty() { "0" } else { whole });
    let zeros = usize::try_from(point.saturating_neg().clamp(0, 64)).ok()?;
    let fraction: String = "0".repeat(zeros).chars().chain(fraction.chars()).take(20).collect();
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_spellings() {
        for (text, expect) in [
            ("1e-08", Ok("0.00000001")),
            ("1e-30", Ok("0")),
            ("-0.0", Ok("0")),
            ("-1.50", Ok("-1.5")),
            ("1E3", Ok("1000")),
            ("12.5e1", Ok("125")),
            ("1e-09", Err(BadWire::TooPrecise)),
            ("nan", Err(BadWire::Unreadable)),
            ("", Err(BadWire::Unreadable)),
            ("1e400", Err(BadWire::Unreadable)),
            ("--1", Err(BadWire::Unreadable)),
        ] {
            let wire = parse_plain(text).and_then(wire_number);
            assert_eq!(wire.as_deref().map_err(|e| *e), expect, "{text}");
        }
    }
}
