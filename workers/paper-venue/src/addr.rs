//! Addresses and client order ids: fixed-size bytes, written in lower-case hex.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadHex;
            fn from_str(text: &str) -> Result<Self, BadHex> {
                let digits = text.strip_prefix("0x").ok_or(BadHex($what))?;
                if digits.len() != $len * 2 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(BadHex($what));
                }
                let mut out = [0_u8; $len];
                for (slot, pair) in out.iter_mut().zip(digits.as_bytes().chunks(2)) {
                    let pair = std::str::from_utf8(pair).map_err(|_| BadHex($what))?;
                    *slot = u8::from_str_radix(pair, 16).map_err(|_| BadHex($what))?;
                }
                Ok(Self(out))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

/// Text that is not the hex form asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {0}")]
pub struct BadHex(&'static str);

hex_bytes!(
    /// A 20-byte account or agent address.
    Addr, 20, "a 20-byte hex address"
);
hex_bytes!(
    /// A 16-byte client order id.
    Cloid, 16, "a 16-byte hex client order id"
);
