//! An event before it has a place in the chain, and the one way its line is built.

use crate::canon::{self, CanonError};
use crate::hex;
pub use holdfast_core::checksum::Checksum as Sum;
use serde::Serialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The only schema of an event's envelope there is.
pub const EVENT_SCHEMA: &str = "zero.runtime.event.v1";
/// Longest line, newline included, in bytes.
pub const LINE_BYTES_MAX: usize = 128 * 1024;
/// Longest event type and trace id, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// What an event is to the writer when room or time is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Restricts, or records that something was restricted or repaired: goes first, and may use the reserve.
    Safety,
    /// Must be on the disk, and in a synced head, before it is acted on.
    Order,
    /// Everything else.
    Routine,
}

impl Priority {
    /// By event type. What is not known here is routine: it can never use the reserve up.
    #[must_use]
    pub fn of(event_type: &str) -> Self {
        match event_type {
            "operator.command"
            | "permit.revoked"
            | "permit.expired"
            | "heartbeat.expired"
            | "breaker.opened"
            | "reduce.attempt"
            | "reduce.confirmed"
            | "lifecycle.transition"
            | "status.mode"
            | "supervisor.epoch"
            | "bus.recovered" => Self::Safety,
            "live.intent" | "permit.granted" | "permit.renewed" => Self::Order,
            _ => Self::Routine,
        }
    }
}

/// Why an event was refused before anything was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EventError {
    /// The payload has no canonical form.
    #[error("the payload has no canonical form: {0}")]
    Form(#[from] CanonError),
    /// The payload is not an object.
    #[error("the payload is not an object")]
    NoObject,
    /// The event type or trace id is empty, too long or not printable ASCII.
    #[error("{0:?} is no event type or trace id: 1 to {NAME_BYTES_MAX} printable ASCII characters")]
    Name(String),
    /// The line would be too long.
    #[error("{0} bytes of payload are more than a line may have")]
    TooLong(usize),
}

/// An event without a place yet.
#[derive(Clone, Debug)]
pub struct NewEvent {
    event_type: String,
    as_of: String,
    payload: Vec<u8>,
    trace: Vec<u8>,
    routine: bool,
}

impl NewEvent {
    /// Of a type, at a wall time in seconds since 1970, with an object as payload.
    ///
    /// # Errors
    /// [`EventError`]
    pub fn new<T: Serialize + ?Sized>(event_type: &str, as_of: f64, payload: &T) -> Result<Self, EventError> {
        let payload = canon::encode(payload)?;
        if payload.first() != Some(&b'{') {
            return Err(EventError::NoObject);
        }
        // The envelope needs some hundred bytes beside its names.
        if payload.len() > LINE_BYTES_MAX - 1024 {
            return Err(EventError::TooLong(payload.len()));
        }
        let event_type = named(event_type)?.to_owned();
        Ok(Self { event_type, as_of: canon::number(as_of)?, payload, trace: Vec::new(), routine: false })
    }

    /// With a trace id; an empty one is none.
    ///
    /// # Errors
    /// [`EventError::Name`]
    pub fn traced(mut self, trace_id: &str) -> Result<Self, EventError> {
        self.trace = if trace_id.is_empty() { Vec::new() } else { canon::encode(named(trace_id)?)? };
        Ok(self)
    }

    /// Routine, whatever its type: what anybody may cause as often as they like must not take the room of what restricts.
    #[must_use]
    pub fn routine(self) -> Self {
        Self { routine: true, ..self }
    }

    /// Its type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// What it is to the writer.
    #[must_use]
    pub fn priority(&self) -> Priority {
        if self.routine { Priority::Routine } else { Priority::of(&self.event_type) }
    }

    /// Bytes its line has at most.
    pub(super) fn line_bytes(&self) -> usize {
        self.payload.len() + self.trace.len() + self.event_type.len() + 400
    }

    pub(super) fn as_of(&self) -> f64 {
        self.as_of.parse().unwrap_or(0.0)
    }
}

fn named(name: &str) -> Result<&str, EventError> {
    let printable = name.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !printable {
        return Err(EventError::Name(name.chars().take(NAME_BYTES_MAX).collect()));
    }
    Ok(name)
}

/// The checksum member, whose digits are not known yet.
const SUM_OPENS: &[u8] = b"\"checksum\":\"sha256:";
const SUM_CLOSES: &[u8] = b"\",";
/// Bytes of that member.
pub(super) const SUM_BYTES: usize = SUM_OPENS.len() + 64 + SUM_CLOSES.len();

/// Appends the line of an event at its place in the chain, newline included, and gives its checksum.
pub(super) fn line(out: &mut Vec<u8>, index: u64, previous: Option<&Sum>, event: &NewEvent) -> Sum {
    let start = out.len();
    out.extend_from_slice(b"{\"as_of\":");
    out.extend_from_slice(event.as_of.as_bytes());
    out.push(b',');
    let sum_at = out.len();
    out.extend_from_slice(SUM_OPENS);
    let digits_at = out.len();
    out.extend_from_slice(&[b'0'; 64]);
    out.extend_from_slice(SUM_CLOSES);
    let rest_at = out.len();
    out.extend_from_slice(
        format!("\"event_id\":\"evt-{index:012}\",\"event_index\":{index},\"event_type\":\"").as_bytes(),
    );
    out.extend_from_slice(event.event_type.as_bytes());
    out.extend_from_slice(b"\",\"payload\":");
    out.extend_from_slice(&event.payload);
    match previous {
        Some(sum) => {
            out.extend_from_slice(b",\"previous_checksum\":\"sha256:");
            out.extend_from_slice(&hex::digits(&sum.0));
            out.push(b'"');
        }
        None => out.extend_from_slice(b",\"previous_checksum\":null"),
    }
    out.extend_from_slice(b",\"schema_version\":\"");
    out.extend_from_slice(EVENT_SCHEMA.as_bytes());
    out.push(b'"');
    if !event.trace.is_empty() {
        out.extend_from_slice(b",\"trace_id\":");
        out.extend_from_slice(&event.trace);
    }
    out.push(b'}');
    let sum = spliced(&out[start..sum_at], &out[rest_at..]);
    out[digits_at..digits_at + 64].copy_from_slice(&hex::digits(&sum.0));
    out.push(b'\n');
    sum
}

/// The checksum of a line given as what stands before and after its checksum member.
pub(super) fn spliced(before: &[u8], after: &[u8]) -> Sum {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(after);
    Sum(hash.finalize().into())
}

/// The id of the event with this index.
pub(super) fn id(index: u64) -> String {
    format!("evt-{index:012}")
}
