//! A SHA-256 value in its one written form: `sha256:` and 64 lower-case hex digits. Anything else does not parse.

use crate::hex;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checksum(pub [u8; 32]);

const SCHEME: &str = "sha256:";

impl Checksum {
    /// Reads the written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        hex::unhex(text.strip_prefix(SCHEME)?.as_bytes()).map(Self)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", hex::hex(&self.0))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChecksum;

impl fmt::Display for BadChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a checksum: sha256: and 64 lower-case hex digits")
    }
}

impl core::error::Error for BadChecksum {}

impl FromStr for Checksum {
    type Err = BadChecksum;
    fn from_str(text: &str) -> Result<Self, BadChecksum> {
        Self::parse(text).ok_or(BadChecksum)
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Digits;
        impl de::Visitor<'_> for Digits {
            type Value = Checksum;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("sha256: and 64 lower-case hex digits")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Checksum, E> {
                text.parse().map_err(E::custom)
            }
        }
        d.deserialize_str(Digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn one_written_form() {
        let mut bytes = [0xab; 32];
        bytes[0] = 0x01;
        let text = alloc::format!("sha256:01{}", "ab".repeat(31));
        assert_eq!(Checksum(bytes).to_string(), text);
        assert_eq!(text.parse(), Ok(Checksum(bytes)));
        assert_eq!(serde_json::to_string(&Checksum(bytes)).unwrap(), alloc::format!("\"{text}\""));
        for bad in [
            &text[1..],
            &text[7..],
            &text.to_uppercase(),
            &alloc::format!("{text}0"),
            "",
            &alloc::format!("sha256:{}", "zz".repeat(32)),
        ] {
            assert_eq!(bad.parse::<Checksum>(), Err(BadChecksum), "{bad}");
        }
    }
}
