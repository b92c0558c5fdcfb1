//! `engine probe sign|wire`: one JSON value in, one out; touches no state and sends nothing.
//!
//! The action is arbitrary JSON whose key order is kept: it is what is hashed. Floats and nulls have no place in a
//! signed action and are refused, as are duplicate keys.

use crate::sign::{AgentKey, Context, SignError, action_hash, digest, hex32, message_pack};
use crate::wire::{Address, BadWire, Network, PriceRule, hex_encode, parse_plain, wire_number};
use holdfast_core::money::{Px, Sz};
use rust_decimal::Decimal;
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Why a probe line has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The line is not what the probe expects.
    #[error("line is not understood: {0}")]
    Line(#[from] serde_json::Error),
    /// The environment does not mark the keys as test keys.
    #[error("keys on the command line are refused unless ENGINE_PROBE_TEST_KEY=1 marks them as test keys")]
    NotATestKey,
    /// The key is not one.
    #[error("key is refused: {0}")]
    Key(#[from] crate::sign::KeyError),
    /// It could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// An action as given: order of keys kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignAsk {
    action: Node,
    nonce: u64,
    vault: Option<Address>,
    expires_after: Option<u64>,
    is_mainnet: bool,
    key: secrecy::SecretString,
}

#[derive(Serialize)]
struct SignAnswer {
    msgpack_hex: String,
    action_hash: String,
    r: String,
    s: String,
    v: u8,
    address: Address,
}

/// Answers one `sign` line. `test_keys` = the environment marks keys as test keys.
///
/// # Errors
/// [`ProbeError`].
pub fn sign(line: &str, test_keys: bool) -> Result<String, ProbeError> {
    if !test_keys {
        return Err(ProbeError::NotATestKey);
    }
    let ask: SignAsk = serde_json::from_str(line)?;
    let key = AgentKey::from_hex(secrecy::ExposeSecret::expose_secret(&ask.key).as_bytes())?;
    let network = if ask.is_mainnet { Network::Mainnet } else { Network::Testnet };
    let context = Context { network, nonce: ask.nonce, vault: ask.vault, expires_after: ask.expires_after };
    let packed = message_pack(&ask.action)?;
    let hash = action_hash(&packed, &context);
    let signature = key.sign_digest(&digest(network, &hash))?;
    Ok(serde_json::to_string(&SignAnswer {
        msgpack_hex: hex_encode(&packed),
        action_hash: hex32(&hash),
        r: hex32(&signature.r),
        s: hex32(&signature.s),
        v: signature.v,
        address: key.address(),
    })?)
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireKind {
    Size,
    Price,
    Raw,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Json(serde_json::Number),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireAsk {
    value: Number,
    sz_decimals: Option<u32>,
    kind: WireKind,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum WireAnswer {
    Wire(String),
    Error(String),
}

/// Answers one `wire` line: `{"wire": …}`, or `{"error": …}` for a number that must not be sent.
///
/// # Errors
/// [`ProbeError::Line`] when the line itself is not understood.
pub fn wire(line: &str) -> Result<String, ProbeError> {
    let ask: WireAsk = serde_json::from_str(line)?;
    let text = match &ask.value {
        Number::Text(text) => text.clone(),
        Number::Json(number) => number.to_string(),
    };
    let answer = match parse_plain(&text).and_then(|value| Ok((wire_number(value)?, value))) {
        Err(error) => WireAnswer::Error(error.to_string()),
        Ok((wire, _)) => match refusal(&ask, &wire) {
            Ok(None) => WireAnswer::Wire(wire),
            Ok(Some(why)) => WireAnswer::Error(why.to_owned()),
            Err(error) => WireAnswer::Error(error.to_string()),
        },
    };
    Ok(serde_json::to_string(&answer)?)
}

/// Why the venue would refuse this price or size, judged on the string that would be sent.
fn refusal(ask: &WireAsk, wire: &str) -> Result<Option<&'static str>, BadWire> {
    let value: Decimal = parse_plain(wire)?;
    let rule = match ask.sz_decimals {
        None => None,
        Some(decimals) => match PriceRule::perp(decimals) {
            None => return Ok(Some("size decimals out of range")),
            some @ Some(_) => some,
        },
    };
    Ok(match ask.kind {
        WireKind::Raw => None,
        WireKind::Price => match Px::new(value) {
            Err(_) => Some("a price is above zero"),
            Ok(px) if rule.is_some_and(|rule| !rule.is_legal(px)) => Some("not a legal price"),
            Ok(_) => None,
        },
        WireKind::Size => match Sz::new(value) {
            Err(_) => Some("a size is not negative"),
            Ok(sz) if rule.is_some_and(|rule| !rule.is_legal_size(sz)) => Some("not a legal size"),
            Ok(_) => None,
        },
    })
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => s.serialize_bool(*value),
            Self::Unsigned(value) => s.serialize_u64(*value),
            Self::Signed(value) => s.serialize_i64(*value),
            Self::Text(value) => s.serialize_str(value),
            Self::List(items) => {
                let mut list = s.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Map(entries) => {
                let mut map = s.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Node;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, an integer, a string, a list or an object")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Bool(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Unsigned(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(u64::try_from(value).map_or(Node::Signed(value), Node::Unsigned))
            }
            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Node::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries: Vec<(String, Node)> = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Node>()? {
                    if entries.iter().any(|(known, _)| *known == key) {
                        return Err(de::Error::custom(format_args!("key {key:?} is given twice")));
                    }
                    entries.push((key, value));
                }
                Ok(Node::Map(entries))
            }
        }
        d.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests;
