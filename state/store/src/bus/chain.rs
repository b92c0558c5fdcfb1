//! Whether a line is the next of its chain, and if not, what exactly is wrong with it.
//!
//! The quick way hashes the stored bytes with the checksum member cut out and compares. A line that does not pass it is
//! read slowly, only to name the first rule that it breaks; no line passes by the slow way.

use super::envelope::{Envelope, is_id};
use super::event::{EVENT_SCHEMA, SUM_BYTES, Sum, id, spliced};
use crate::{canon, hex};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt;

/// The rule that a line breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Not one JSON object, strictly read.
    Unparseable,
    /// A schema this version does not know.
    Schema,
    /// Another index than its place.
    Index,
    /// Another id than its index.
    Id,
    /// Does not name the checksum of the event before.
    Chain,
    /// Its own checksum is not that of its bytes.
    Checksum,
    /// A member that an event does not have.
    Field,
    /// The right content in another spelling.
    Form,
    /// Time goes back by more than clocks may.
    Time,
    /// The file does not end with a newline.
    TornTail,
    /// A closed segment is missing.
    Segment,
    /// The head record says otherwise.
    Head,
    /// The anchor kept elsewhere is not in the log.
    Anchor,
    /// What deadman saw last is not in the log: it was cut or put back, whatever its own head says.
    Witness,
}

impl Code {
    /// The reason code on the wire, without its event.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unparseable => "unparseable",
            Self::Schema => "schema",
            Self::Index => "index",
            Self::Id => "id",
            Self::Chain => "chain",
            Self::Checksum => "checksum",
            Self::Field => "field",
            Self::Form => "form",
            Self::Time => "time",
            Self::TornTail => "torn_tail",
            Self::Segment => "segment",
            Self::Head => "head",
            Self::Anchor => "anchor",
            Self::Witness => "witness",
        }
    }
}

/// A line that does not belong, seen from the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) code: Code,
    /// Offset in the line.
    pub(super) byte: usize,
    pub(super) expected: String,
    pub(super) found: String,
}

/// What was seen of a good line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Good<'l> {
    pub(super) index: u64,
    pub(super) sum: Sum,
    pub(super) event_type: &'l [u8],
    pub(super) as_of: f64,
}

/// Where a chain stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    /// Events before; `None` when it begins in the middle and takes the first line's word for it.
    pub(super) count: Option<u64>,
    pub(super) last: Option<Sum>,
    /// The same as digits.
    digits: [u8; 64],
}

impl Chain {
    pub(super) const START: Self = Self { count: Some(0), last: None, digits: [b'0'; 64] };
    pub(super) const MIDDLE: Self = Self { count: None, ..Self::START };

    /// After so many events, the last of which has this checksum.
    pub(super) fn after(count: u64, last: Option<Sum>) -> Self {
        Self { count: Some(count), last, digits: last.map_or([b'0'; 64], |sum| hex::digits(&sum.0)) }
    }

    /// Takes the next line, without its newline.
    pub(super) fn take<'l>(&mut self, line: &'l [u8]) -> Result<Good<'l>, Flaw> {
        let quick = Envelope::of(line).and_then(|envelope| self.quick(line, &envelope));
        let Some((good, digits)) = quick else {
            let place = self.count.map_or_else(|| index_of(line).unwrap_or(1), |count| count.saturating_add(1));
            return Err(self.classify(line, place));
        };
        *self = Self { count: Some(good.index), last: Some(good.sum), digits };
        Ok(good)
    }

    fn quick<'l>(&self, line: &'l [u8], envelope: &Envelope<'l>) -> Option<(Good<'l>, [u8; 64])> {
        let index = envelope.index;
        let linked = match (self.count, &self.last, envelope.previous) {
            (None, _, digits) => digits.is_some() == (index > 1),
            (Some(count), Some(_), Some(digits)) => index == count.checked_add(1)? && digits == self.digits,
            (Some(count), None, None) => count == 0 && index == 1,
            (Some(_), _, _) => false,
        };
        if !linked || !is_id(envelope.id, index) {
            return None;
        }
        let sum = spliced(line.get(..envelope.sum_at)?, line.get(envelope.sum_at + SUM_BYTES..)?);
        let digits = hex::digits(&sum.0);
        let good = Good { index, sum, event_type: envelope.event_type, as_of: envelope.as_of };
        (envelope.sum == digits).then_some((good, digits))
    }

    /// The first rule, in the order of the contract, that a line at this place breaks.
    fn classify(&self, line: &[u8], place: u64) -> Flaw {
        let flaw = |code, key: &str, expected: String, found: String| {
            let byte = memchr::memmem::find(line, format!("\"{key}\":").as_bytes());
            Flaw { code, byte: byte.unwrap_or(0), expected, found: shortened(&found) }
        };
        let object = match canon::parse(line) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return flaw(Code::Unparseable, "", "one JSON object".into(), "another JSON value".into()),
            Err(e) => {
                let byte = e.column().saturating_sub(1).min(line.len());
                let expected = "one JSON object".to_owned();
                return Flaw { code: Code::Unparseable, byte, expected, found: shortened(&e.to_string()) };
            }
        };
        let shown = |key: &str| object.get(key).map_or_else(|| "nothing".to_owned(), Value::to_string);
        let is = |key: &str, value: Value| object.get(key) == Some(&value);
        if !is("schema_version", EVENT_SCHEMA.into()) {
            return flaw(Code::Schema, "schema_version", EVENT_SCHEMA.into(), shown("schema_version"));
        }
        if !is("event_index", place.into()) {
            return flaw(Code::Index, "event_index", place.to_string(), shown("event_index"));
        }
        if !is("event_id", id(place).into()) {
            return flaw(Code::Id, "event_id", id(place), shown("event_id"));
        }
        let previous = self.last.map_or(Value::Null, |sum| sum.to_string().into());
        let linked = if self.count.is_some() {
            is("previous_checksum", previous.clone())
        } else {
            object.get("previous_checksum").is_some_and(|found| found.is_null() == (place == 1))
        };
        if !linked {
            return flaw(Code::Chain, "previous_checksum", previous.to_string(), shown("previous_checksum"));
        }
        let sums = sums(line, &object);
        if !sums.iter().any(|sum| is("checksum", sum.to_string().into())) {
            let expected = sums.first().map(Sum::to_string).unwrap_or_default();
            return flaw(Code::Checksum, "checksum", expected, shown("checksum"));
        }
        if let Some(key) = object.keys().find(|key| !MEMBERS.contains(&key.as_str())) {
            return flaw(Code::Field, key, "no such member".into(), key.clone());
        }
        if let Some((key, expected)) = mistyped(&object) {
            return flaw(Code::Field, key, expected.into(), shown(key));
        }
        let form = canon::is_canonical(line).err();
        let byte = form.map_or(0, |e| e.byte);
        let found = form.map_or("another spelling", |e| e.what).to_owned();
        Flaw { code: Code::Form, byte, expected: "the canonical form".into(), found }
    }
}

const MEMBERS: &[&str] = &[
    "as_of",
    "checksum",
    "event_id",
    "event_index",
    "event_type",
    "payload",
    "previous_checksum",
    "schema_version",
    "trace_id",
];

/// A known member of the wrong kind.
fn mistyped(object: &Map<String, Value>) -> Option<(&'static str, &'static str)> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if !object.get("as_of").is_some_and(Value::is_f64) {
        return Some(("as_of", "a float"));
    }
    if !text("event_type") {
        return Some(("event_type", "a text"));
    }
    if !object.get("payload").is_some_and(Value::is_object) {
        return Some(("payload", "an object"));
    }
    (object.contains_key("trace_id") && !text("trace_id")).then_some(("trace_id", "a text, or no such member"))
}

/// The checksums that a line may rightly carry: over its stored bytes, and over what it means.
fn sums(line: &[u8], object: &Map<String, Value>) -> Vec<Sum> {
    let stored = memchr::memmem::find(line, b"\"checksum\":\"").and_then(|at| {
        let after = line.get(at + SUM_BYTES..)?;
        Some(spliced(line.get(..at)?, after))
    });
    let mut core = object.clone();
    core.remove("checksum");
    let meant = canon::encode(&core).ok().map(|text| Sum(Sha256::digest(text).into()));
    stored.into_iter().chain(meant).collect()
}

/// The index a line claims, for a chain that begins with it.
fn index_of(line: &[u8]) -> Option<u64> {
    canon::parse(line).ok()?.get("event_index")?.as_u64()
}

/// Text out of a file, for a message.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(120).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
