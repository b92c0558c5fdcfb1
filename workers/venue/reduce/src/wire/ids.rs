//! Identifiers of the venue: who, which order, which market, which side.
//!
//! All of them print in the one form the venue hashes: lower-case hex with `0x`, integers without sign.

use super::hex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// Why an identifier was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// Not `0x` and 40 hexadecimal digits.
    #[error("not an address: 0x and 40 hexadecimal digits")]
    Address,
    /// Not `0x` and 32 hexadecimal digits.
    #[error("not a client order id: 0x and 32 hexadecimal digits")]
    Cloid,
    /// A dex name with characters the venue does not use, or too long.
    #[error("not the name of a dex")]
    Dex,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $bad:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Takes raw bytes.
            #[must_use]
            pub const fn new(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            #[must_use]
            pub const fn bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix("0x").and_then(|digits| hex::decode(digits.as_bytes())).map(Self).ok_or($bad)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", hex::encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// An account, agent, vault or sub-account: 20 bytes, printed in lower case.
    Address, 20, BadId::Address
);
hex_id!(
    /// Client order id: 16 bytes, chosen by us and written to disk before the order is sent; unique per order.
    Cloid, 16, BadId::Cloid
);

/// Venue order id. Exceeds 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Oid(pub u64);

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Index of an asset as actions name it. Differs between networks; see `read::Universe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AssetIndex(pub u32);

/// Which network a signature is for. A wrong one yields another signer address, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Real money.
    Mainnet,
    /// Test network, and the paper venue unless it is told otherwise.
    Testnet,
}

impl Network {
    /// The `source` letter of the signed struct.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::Mainnet => "a",
            Self::Testnet => "b",
        }
    }
}

/// Bid or ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Side {
    /// `B`: bid, buy.
    #[serde(rename = "B")]
    Buy,
    /// `A`: ask, sell.
    #[serde(rename = "A")]
    Sell,
}

impl Side {
    /// The side of a buy if `is_buy`.
    #[must_use]
    pub const fn of(is_buy: bool) -> Self {
        if is_buy { Self::Buy } else { Self::Sell }
    }

    /// Whether this is the buying side.
    #[must_use]
    pub const fn is_buy(self) -> bool {
        matches!(self, Self::Buy)
    }
}

/// Time in force of a limit order. The venue has no market order: use `Ioc` with a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Tif {
    /// Rests until filled or cancelled.
    Gtc,
    /// Fills what it can at once; the rest vanishes silently.
    Ioc,
    /// Post-only: cancelled if it would match.
    Alo,
}

/// One perpetual exchange of the venue; positions and open orders are per dex. `""` is the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Dex(String);

impl Dex {
    /// The first dex.
    #[must_use]
    pub const fn first() -> Self {
        Self(String::new())
    }

    /// The name sent to the venue.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Dex {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let legal = text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if legal { Ok(Self(text.to_owned())) } else { Err(BadId::Dex) }
    }
}

impl<'de> Deserialize<'de> for Dex {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Dex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(first)" } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_in_lower_case_and_refuse_other_shapes() {
        let mixed: Address = "0x14791697260E4c9A71f18484C9f997B308e59325".parse().unwrap();
        assert_eq!(mixed.to_string(), "0x14791697260e4c9a71f18484c9f997b308e59325");
        for bad in ["", "0x", "14791697260e4c9a71f18484c9f997b308e59325", "0x14791697260e4c9a71f18484c9f997b308e5932g"]
        {
            assert_eq!(bad.parse::<Address>(), Err(BadId::Address), "{bad:?}");
        }
        assert!("0x1".parse::<Cloid>().is_err());
        assert!("a b".parse::<Dex>().is_err());
    }
}
