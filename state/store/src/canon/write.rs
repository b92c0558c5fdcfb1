//! Any serialisable value as canonical bytes, in one pass: an object's members are put in order when it closes.

use super::{DEPTH_MAX, float};
use serde::ser::{self, Serialize};
use std::cmp::Ordering;
use std::fmt::Display;
use std::io::Write;
use std::ops::Range;
use thiserror::Error;

/// Why a value has no canonical text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CanonError {
    /// A NaN or an infinity.
    #[error("a number that is not finite has no canonical form")]
    NotANumber,
    /// A key that is no text.
    #[error("a key must be text")]
    Key,
    /// The same key twice in one object.
    #[error("the key {0:?} stands twice in one object")]
    Duplicate(String),
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX}")]
    Depth,
    /// The value's own refusal to be serialised.
    #[error("{0}")]
    Value(String),
}

impl ser::Error for CanonError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Value(message.to_string())
    }
}

/// The canonical text of a value, without a newline. Integers of every width a Rust type has keep all digits.
///
/// # Errors
/// [`CanonError`]
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonError> {
    let mut writer = Writer { out: Vec::with_capacity(256), depth: 0 };
    value.serialize(&mut writer)?;
    Ok(writer.out)
}

/// Appends a string in quotes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\r' => out.extend_from_slice(b"\\r"),
            ' '..='~' => out.push(u8::try_from(c).unwrap_or(b'?')),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    // Writing to a vector cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push(b'"');
}

struct Writer {
    out: Vec<u8>,
    depth: usize,
}

impl Writer {
    fn plain(&mut self, value: impl Display) -> Result<(), CanonError> {
        // Writing to a vector cannot fail.
        let _ = write!(self.out, "{value}");
        Ok(())
    }

    fn deeper(&mut self) -> Result<(), CanonError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(CanonError::Depth) } else { Ok(()) }
    }
}

/// An open array.
struct List<'w> {
    writer: &'w mut Writer,
    first: bool,
    /// An enum variant's object around it.
    wrapped: bool,
}

/// An open object.
struct Object<'w> {
    writer: &'w mut Writer,
    start: usize,
    members: Vec<(String, Range<usize>)>,
    key: Option<String>,
    wrapped: bool,
}

impl List<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonError> {
        if !self.first {
            self.writer.out.push(b',');
        }
        self.first = false;
        value.serialize(&mut *self.writer)
    }

    fn close(self) -> Result<(), CanonError> {
        self.writer.out.push(b']');
        if self.wrapped {
            self.writer.out.push(b'}');
            self.writer.depth -= 1;
        }
        self.writer.depth -= 1;
        Ok(())
    }
}

impl Object<'_> {
    fn member<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), CanonError> {
        if !self.members.is_empty() {
            self.writer.out.push(b',');
        }
        let from = self.writer.out.len();
        string(&mut self.writer.out, &key);
        self.writer.out.push(b':');
        value.serialize(&mut *self.writer)?;
        let until = self.writer.out.len();
        self.members.push((key, from..until));
        Ok(())
    }

    fn close(mut self) -> Result<(), CanonError> {
        let ordered = self.members.windows(2).all(|pair| match pair {
            [a, b] => a.0 < b.0,
            _ => true,
        });
        if !ordered {
            // Byte order of UTF-8 is code point order.
            self.members.sort_by(|a, b| a.0.cmp(&b.0));
            for pair in self.members.windows(2) {
                if let [a, b] = pair
                    && a.0.cmp(&b.0) == Ordering::Equal
                {
                    return Err(CanonError::Duplicate(a.0.clone()));
                }
            }
            let written = self.writer.out.split_off(self.start);
            for (n, (_, span)) in self.members.iter().enumerate() {
                if n > 0 {
                    self.writer.out.push(b',');
                }
                let span = span.start - self.start..span.end - self.start;
                self.writer.out.extend_from_slice(written.get(span).unwrap_or_default());
            }
        }
        self.writer.out.push(b'}');
        if self.wrapped {
            self.writer.out.push(b'}');
            self.writer.depth -= 1;
        }
        self.writer.depth -= 1;
        Ok(())
    }
}

impl<'w> ser::Serializer for &'w mut Writer {
    type Ok = ();
    type Error = CanonError;
    type SerializeSeq = List<'w>;
    type SerializeTuple = List<'w>;
    type SerializeTupleStruct = List<'w>;
    type SerializeTupleVariant = List<'w>;
    type SerializeMap = Object<'w>;
    type SerializeStruct = Object<'w>;
    type SerializeStructVariant = Object<'w>;

    fn serialize_bool(self, v: bool) -> Result<(), CanonError> {
        self.plain(v)
    }
    fn serialize_i8(self, v: i8) -> Result<(), CanonError> {
        self.plain(v)
    }
    fn serialize_i16(self, v: i16) -> Result<(), CanonError> {
        self.plain(v)
    }
    fn serialize_i32(self, v: i32) -> Result<(), CanonError> {
        self.plain(v)
    }
    fn serialize_i64(self, v: i64) -> Result<(), CanonError> {
        self.plain(v)
    }
    fn serialize_i128(self, v: i128) -> Result<(), CanonError> {
        self.plain(v)
    }
    fn serialize_u8(self, v: u8) -> Result<(), CanonError> {
        self.plain(v)
    }
    fn serialize_u16(self, v: u16) -> Result<(), CanonError> {
        self.plain(v)
    }
    fn serialize_u32(self, v: u32) -> Result<(), CanonError> {
        self.plain(v)
    }
    fn serialize_u64(self, v: u64) -> Result<(), CanonError> {
        self.plain(v)
    }
    fn serialize_u128(self, v: u128) -> Result<(), CanonError> {
        self.plain(v)
    }
    fn serialize_f32(self, v: f32) -> Result<(), CanonError> {
        self.serialize_f64(f64::from(v))
    }
    fn serialize_f64(self, v: f64) -> Result<(), CanonError> {
        float::write(&mut self.out, v).map_err(|_| CanonError::NotANumber)
    }
    fn serialize_char(self, v: char) -> Result<(), CanonError> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }
    fn serialize_str(self, v: &str) -> Result<(), CanonError> {
        string(&mut self.out, v);
        Ok(())
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<(), CanonError> {
        v.serialize(self)
    }
    fn serialize_none(self) -> Result<(), CanonError> {
        self.serialize_unit()
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CanonError> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), CanonError> {
        self.plain("null")
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CanonError> {
        self.serialize_unit()
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), CanonError> {
        self.serialize_str(variant)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), CanonError> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CanonError> {
        let mut object = self.serialize_map(Some(1))?;
        object.member(variant.to_owned(), value)?;
        object.close()
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<List<'w>, CanonError> {
        self.deeper()?;
        self.out.push(b'[');
        Ok(List { writer: self, first: true, wrapped: false })
    }
    fn serialize_tuple(self, _: usize) -> Result<List<'w>, CanonError> {
        self.serialize_seq(None)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List<'w>, CanonError> {
        self.serialize_seq(None)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<List<'w>, CanonError> {
        wrap(self, variant)?;
        Ok(List { wrapped: true, ..self.serialize_seq(None)? })
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Object<'w>, CanonError> {
        self.deeper()?;
        self.out.push(b'{');
        let start = self.out.len();
        Ok(Object { writer: self, start, members: Vec::new(), key: None, wrapped: false })
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Object<'w>, CanonError> {
        self.serialize_map(None)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Object<'w>, CanonError> {
        wrap(self, variant)?;
        Ok(Object { wrapped: true, ..self.serialize_map(None)? })
    }
}

/// Opens the object that names an enum variant.
fn wrap(writer: &mut Writer, variant: &str) -> Result<(), CanonError> {
    writer.deeper()?;
    writer.out.push(b'{');
    string(&mut writer.out, variant);
    writer.out.push(b':');
    Ok(())
}

macro_rules! list {
    ($($of:ident $method:ident),*) => {$(
        impl ser::$of for List<'_> {
            type Ok = ();
            type Error = CanonError;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonError> {
                self.item(value)
            }
            fn end(self) -> Result<(), CanonError> {
                self.close()
            }
        }
    )*};
}
list!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

macro_rules! object {
    ($($of:ident),*) => {$(
        impl ser::$of for Object<'_> {
            type Ok = ();
            type Error = CanonError;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), CanonError> {
                self.member(key.to_owned(), value)
            }
            fn end(self) -> Result<(), CanonError> {
                self.close()
            }
        }
    )*};
}
object!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Object<'_> {
    type Ok = ();
    type Error = CanonError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CanonError> {
        // A key is whatever serialises as text; it is read back from the text that it gives.
        let text = encode(key)?;
        self.key = Some(serde_json::from_slice(&text).map_err(|_| CanonError::Key)?);
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonError> {
        let key = self.key.take().ok_or(CanonError::Key)?;
        self.member(key, value)
    }
    fn end(self) -> Result<(), CanonError> {
        self.close()
    }
}
