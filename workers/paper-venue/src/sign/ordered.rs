//! JSON that keeps the order of its keys, because the order is part of what is signed.

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde::{Deserialize, forward_to_deserialize_any};

/// Deepest nesting of an action; the real ones need six.
const MAX_DEPTH: usize = 16;

/// A JSON value without floats; maps keep the order of arrival and refuse a repeated key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered {
    /// `null`; legal JSON, never legal inside an action.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer of either sign; 64 bits.
    Int(i128),
    /// Text.
    Text(String),
    /// An array.
    List(Vec<Ordered>),
    /// An object.
    Map(Vec<(String, Ordered)>),
}

struct Depth(usize);

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Ordered;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Ordered, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Ordered;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON without floats, repeated keys or deep nesting")
    }
    fn visit_unit<E>(self) -> Result<Ordered, E> {
        Ok(Ordered::Null)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Ordered, E> {
        Ok(Ordered::Bool(v))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Ordered, E> {
        Ok(Ordered::Int(i128::from(v)))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Ordered, E> {
        Ok(Ordered::Int(i128::from(v)))
    }
    fn visit_str<E>(self, v: &str) -> Result<Ordered, E> {
        Ok(Ordered::Text(v.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Ordered, A::Error> {
        let depth = self.0.checked_add(1).filter(|d| *d <= MAX_DEPTH).ok_or_else(|| de::Error::custom("too deep"))?;
        let mut out = Vec::new();
        while let Some(value) = seq.next_element_seed(Depth(depth))? {
            out.push(value);
        }
        Ok(Ordered::List(out))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
        let depth = self.0.checked_add(1).filter(|d| *d <= MAX_DEPTH).ok_or_else(|| de::Error::custom("too deep"))?;
        let mut out: Vec<(String, Ordered)> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if out.iter().any(|(seen, _)| *seen == key) {
                return Err(de::Error::custom("repeated key"));
            }
            let value = map.next_value_seed(Depth(depth))?;
            out.push((key, value));
        }
        Ok(Ordered::Map(out))
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Depth(0).deserialize(d)
    }
}

impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => s.serialize_unit(),
            Self::Bool(v) => s.serialize_bool(*v),
            Self::Int(v) => match (u64::try_from(*v), i64::try_from(*v)) {
                (Ok(v), _) => s.serialize_u64(v),
                (Err(_), Ok(v)) => s.serialize_i64(v),
                (Err(_), Err(_)) => Err(serde::ser::Error::custom("integer beyond 64 bits")),
            },
            Self::Text(v) => s.serialize_str(v),
            Self::List(v) => {
                let mut seq = s.serialize_seq(Some(v.len()))?;
                for item in v {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
            Self::Map(v) => {
                let mut map = s.serialize_map(Some(v.len()))?;
                for (key, value) in v {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// Reads typed actions straight from what was hashed: there is no second parse that could see other bytes.
impl<'de> Deserializer<'de> for &'de Ordered {
    type Error = de::value::Error;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Ordered::Null => visitor.visit_unit(),
            Ordered::Bool(v) => visitor.visit_bool(*v),
            Ordered::Int(v) => match (u64::try_from(*v), i64::try_from(*v)) {
                (Ok(v), _) => visitor.visit_u64(v),
                (Err(_), Ok(v)) => visitor.visit_i64(v),
                (Err(_), Err(_)) => Err(de::Error::custom("integer beyond 64 bits")),
            },
            Ordered::Text(v) => visitor.visit_borrowed_str(v),
            Ordered::List(v) => visitor.visit_seq(de::value::SeqDeserializer::new(v.iter())),
            Ordered::Map(v) => {
                visitor.visit_map(de::value::MapDeserializer::new(v.iter().map(|(k, v)| (k.as_str(), v))))
            }
        }
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Ordered::Null => visitor.visit_none(),
            Ordered::Bool(_) | Ordered::Int(_) | Ordered::Text(_) | Ordered::List(_) | Ordered::Map(_) => {
                visitor.visit_some(self)
            }
        }
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self {
            Ordered::Text(v) => visitor.visit_enum(de::value::StrDeserializer::new(v)),
            Ordered::Map(v) => visitor.visit_enum(de::value::MapAccessDeserializer::new(
                de::value::MapDeserializer::new(v.iter().map(|(k, v)| (k.as_str(), v))),
            )),
            Ordered::Null | Ordered::Bool(_) | Ordered::Int(_) | Ordered::List(_) => {
                Err(de::Error::custom("expected one of several kinds"))
            }
        }
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> de::IntoDeserializer<'de, de::value::Error> for &'de Ordered {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}
