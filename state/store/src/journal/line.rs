//! One line: canonical bytes, and a checksum over the bytes as they stand with the checksum member cut out.

use super::LINE_BYTES_MAX;
use super::entry::Entry;
use crate::hex::{hex, unhex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const SUM_OPENS: &[u8] = b",\"sum\":\"";
const SUM_CLOSES: &[u8] = b"\"}\n";
const TAIL: usize = SUM_OPENS.len() + 64 + SUM_CLOSES.len();

#[derive(Serialize)]
struct Body<'a> {
    seq: u64,
    prev: String,
    at_ms: u64,
    entry: &'a Entry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parsed {
    seq: u64,
    prev: String,
    #[serde(rename = "at_ms")]
    _at_ms: u64,
    entry: Entry,
}

/// A verified line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) seq: u64,
    pub(super) prev: [u8; 32],
    pub(super) sum: [u8; 32],
    pub(super) entry: Entry,
}

/// The bytes of a line, newline included, and its checksum.
pub(super) fn encode(seq: u64, at_ms: u64, prev: &[u8; 32], entry: &Entry) -> Result<(Vec<u8>, [u8; 32]), String> {
    let mut bytes = serde_json::to_vec(&Body { seq, prev: hex(prev), at_ms, entry }).map_err(|e| e.to_string())?;
    if bytes.len() + TAIL > LINE_BYTES_MAX {
        return Err(format!("{} bytes is longer than a line may be", bytes.len()));
    }
    let sum: [u8; 32] = Sha256::digest(&bytes).into();
    // The closing brace moves behind the checksum.
    bytes.pop();
    bytes.extend_from_slice(SUM_OPENS);
    bytes.extend_from_slice(hex(&sum).as_bytes());
    bytes.extend_from_slice(SUM_CLOSES);
    Ok((bytes, sum))
}

/// Verifies and reads a line, newline included.
pub(super) fn decode(line: &[u8]) -> Result<Line, String> {
    let cut = line.len().checked_sub(TAIL).ok_or("too short for an entry")?;
    let (head, tail) = line.split_at(cut);
    let digits = tail
        .strip_prefix(SUM_OPENS)
        .and_then(|rest| rest.strip_suffix(SUM_CLOSES))
        .and_then(unhex)
        .ok_or("no checksum where it must be")?;
    let mut body = head.to_vec();
    body.push(b'}');
    let sum: [u8; 32] = Sha256::digest(&body).into();
    if sum != digits {
        return Err("the checksum does not match".to_owned());
    }
    let parsed: Parsed = serde_json::from_slice(&body).map_err(|e| format!("not an entry: {e}"))?;
    let prev = unhex(parsed.prev.as_bytes()).ok_or("the link to the line before is not a checksum")?;
    Ok(Line { seq: parsed.seq, prev, sum, entry: parsed.entry })
}
