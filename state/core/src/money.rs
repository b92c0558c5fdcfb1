//! Money, prices and sizes: exact decimals behind newtypes that expose checked operations only.
//!
//! Parsing refuses what it cannot hold exactly (no rounding, no exponent, no float); on every wire they are strings.
//! Bare operators of the decimal type round or panic, so nobody outside this module names it for arithmetic on money.

use core::fmt;
use core::str::FromStr;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a number was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadNumber {
    /// Not a plain decimal, or more digits than can be held exactly.
    Unreadable,
    /// A negative value where the quantity has no sign.
    Negative,
    /// Zero where the quantity must be positive.
    Zero,
}

impl fmt::Display for BadNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "not an exact decimal number",
            Self::Negative => "must not be negative",
            Self::Zero => "must be greater than zero",
        })
    }
}

impl core::error::Error for BadNumber {}

fn exact(text: &str) -> Result<Decimal, BadNumber> {
    let plain = !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-')
        && text.bytes().any(|b| b.is_ascii_digit());
    if !plain {
        return Err(BadNumber::Unreadable);
    }
    Decimal::from_str_exact(text).map(|d| d.normalize()).map_err(|_| BadNumber::Unreadable)
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Decimal);

        impl $name {
            /// Takes a decimal if it is legal for this quantity.
            ///
            /// # Errors
            /// [`BadNumber`] when the sign or zero is not allowed here.
            pub fn new(value: Decimal) -> Result<Self, BadNumber> {
                let check: fn(&Decimal) -> Result<(), BadNumber> = $check;
                check(&value)?;
                Ok(Self(value.normalize()))
            }

            /// The exact value.
            #[must_use]
            pub const fn get(self) -> Decimal {
                self.0
            }

            /// Whether it is zero.
            #[must_use]
            pub fn is_zero(self) -> bool {
                self.0.is_zero()
            }

            /// The sum, if it can be held and is legal.
            #[must_use]
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).and_then(|v| Self::new(v).ok())
            }

            /// The difference, if it can be held and is legal.
            #[must_use]
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).and_then(|v| Self::new(v).ok())
            }
        }

        impl FromStr for $name {
            type Err = BadNumber;
            fn from_str(text: &str) -> Result<Self, BadNumber> {
                Self::new(exact(text)?)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a decimal number as a string")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                d.deserialize_str(Text)
            }
        }
    };
}

const fn any(_: &Decimal) -> Result<(), BadNumber> {
    Ok(())
}

fn not_negative(value: &Decimal) -> Result<(), BadNumber> {
    if value.is_sign_negative() && !value.is_zero() { Err(BadNumber::Negative) } else { Ok(()) }
}

fn positive(value: &Decimal) -> Result<(), BadNumber> {
    if value.is_zero() { Err(BadNumber::Zero) } else { not_negative(value) }
}

quantity!(
    /// An exact decimal whose unit the field says (BTC, BTC per EH and day, PH/s, …), with a sign.
    Amount,
    any
);
quantity!(
    /// A price in USD per coin; always above zero.
    Px, positive
);
quantity!(
    /// An order or fill size in coin; never negative.
    Sz, not_negative
);
quantity!(
    /// A signed position size in coin; negative is short.
    Szi, any
);
quantity!(
    /// An amount of USD; may be negative.
    Usd, any
);

impl Sz {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// Cuts off what a venue with this many size decimals cannot hold; never rounds up.
    #[must_use]
    pub fn floor_to(self, decimals: u32) -> Self {
        Self(self.0.round_dp_with_strategy(decimals, RoundingStrategy::ToZero).normalize())
    }

    /// Notional at this price.
    #[must_use]
    pub fn notional(self, px: Px) -> Option<Usd> {
        self.0.checked_mul(px.0).map(|v| Usd(v.normalize()))
    }

    /// As a signed size: positive for a buy, negative for a sell.
    #[must_use]
    pub fn signed(self, is_buy: bool) -> Szi {
        Szi(if is_buy || self.0.is_zero() { self.0 } else { -self.0 })
    }
}

impl Szi {
    /// No position.
    pub const FLAT: Self = Self(Decimal::ZERO);

    /// Size without the sign.
    #[must_use]
    pub fn abs(self) -> Sz {
        Sz(self.0.abs())
    }

    /// Whether the position is short.
    #[must_use]
    pub fn is_short(self) -> bool {
        self.0.is_sign_negative() && !self.0.is_zero()
    }

    /// Whether the position is long.
    #[must_use]
    pub fn is_long(self) -> bool {
        self.0.is_sign_positive() && !self.0.is_zero()
    }

    /// Whether moving from `self` to `after` can leave more risk: larger, or of the other sign.
    #[must_use]
    pub fn increases_to(self, after: Self) -> bool {
        let flips = (self.is_long() && after.is_short()) || (self.is_short() && after.is_long());
        flips || after.abs() > self.abs()
    }
}

impl Usd {
    /// No money.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// A whole number of USD.
    #[must_use]
    pub fn whole(amount: u32) -> Self {
        Self(Decimal::from(amount))
    }

    /// The amount without its sign.
    #[must_use]
    pub fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// How much coin this buys at `px`, if the division can be held.
    #[must_use]
    pub fn size_at(self, px: Px) -> Option<Sz> {
        self.0.checked_div(px.0).and_then(|v| Sz::new(v).ok())
    }
}

impl Px {
    /// The price moved by `bps` hundredths of a percent (negative = down). `None` if that is not a price.
    #[must_use]
    pub fn moved_bps(self, bps: i64) -> Option<Self> {
        let factor = Decimal::from(10_000_i64.checked_add(bps)?).checked_div(Decimal::from(10_000))?;
        self.0.checked_mul(factor).and_then(|v| Self::new(v).ok())
    }

    /// How far `self` is from `reference`, in hundredths of a percent, signed and rounded toward zero.
    #[must_use]
    pub fn bps_from(self, reference: Self) -> Option<i64> {
        let moved = self.0.checked_sub(reference.0)?.checked_mul(Decimal::from(10_000))?.checked_div(reference.0)?;
        i64::try_from(moved.trunc().mantissa()).ok()
    }

    /// The price half way between two others.
    #[must_use]
    pub fn mid(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0)?.checked_div(Decimal::TWO).and_then(|v| Self::new(v).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::string::ToString;

    #[test]
    fn refuses_what_it_cannot_hold_exactly() {
        for bad in
            ["", "-", ".", "1e5", "NaN", "inf", "+1", " 1", "1_000", "0.00000000000000000000000000001", "1..2", "--1"]
        {
            assert_eq!(bad.parse::<Usd>(), Err(BadNumber::Unreadable), "{bad:?}");
        }
        assert_eq!("0".parse::<Px>(), Err(BadNumber::Zero));
        assert_eq!("-1".parse::<Sz>(), Err(BadNumber::Negative));
        assert!(serde_json::from_str::<Usd>("1.5").is_err(), "a JSON number is a float");
    }

    #[test]
    fn prints_without_trailing_zeros() {
        assert_eq!("1.500".parse::<Usd>().map(|v| v.to_string()), Ok("1.5".to_string()));
        assert_eq!("-0.0".parse::<Szi>().map(|v| v.is_short()), Ok(false));
    }

    #[test]
    fn increase_is_arithmetic() -> Result<(), BadNumber> {
        let cases = [
            ("0", "1", true),
            ("1", "0.5", false),
            ("1", "0", false),
            ("1", "-0.1", true),
            ("-1", "-1.1", true),
            ("-1", "-1", false),
            ("-1", "0.5", true),
            ("0", "0", false),
        ];
        for (before, after, up) in cases {
            assert_eq!(before.parse::<Szi>()?.increases_to(after.parse()?), up, "{before} to {after}");
        }
        Ok(())
    }

    #[test]
    fn bps_are_signed_and_whole() -> Result<(), BadNumber> {
        let px = "100".parse::<Px>()?;
        assert_eq!(px.moved_bps(-250), Some("97.5".parse()?));
        assert_eq!(px.moved_bps(-10_000), None);
        assert_eq!("101.5".parse::<Px>()?.bps_from(px), Some(150));
        assert_eq!("99".parse::<Px>()?.bps_from(px), Some(-100));
        Ok(())
    }
}
