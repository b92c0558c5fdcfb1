//! From a path to a tape: reads within bounds, unpacks gzip, and recognises the content by looking at it. The name
//! of a file is never believed.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::Fault;
use super::tape::Tape;
use super::{csv, json, lines};

/// Largest file that is read.
const FILE_MAX_MIB: u64 = 64;
/// Largest content after unpacking.
const INFLATED_MAX_MIB: u64 = 256;
const MIB: u64 = 1 << 20;

/// Reads and understands one file.
pub(super) fn file(path: &Path) -> Result<Tape, Fault> {
    let bytes = read(path)?;
    understand(bytes)
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let unreadable = |error: std::io::Error| Fault::Unreadable { detail: error.to_string() };
    // Asked before opening: opening a pipe would wait for a writer for ever.
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if !meta.is_file() {
        let detail = if meta.is_dir() { "it is a directory" } else { "it is not an ordinary file" };
        return Err(Fault::Unreadable { detail: detail.to_string() });
    }
    let bytes = bounded(File::open(path).map_err(unreadable)?, FILE_MAX_MIB, false).map_err(|error| match error {
        Short::Io(error) => unreadable(error),
        Short::Long(fault) => fault,
    })?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    bounded(flate2::read::MultiGzDecoder::new(bytes.as_slice()), INFLATED_MAX_MIB, true).map_err(|error| match error {
        Short::Io(error) => Fault::Damaged { detail: format!("gzip: {error}") },
        Short::Long(fault) => fault,
    })
}

enum Short {
    Io(std::io::Error),
    Long(Fault),
}

fn bounded(from: impl Read, limit_mib: u64, inflated: bool) -> Result<Vec<u8>, Short> {
    let mut bytes = Vec::new();
    from.take(limit_mib * MIB + 1).read_to_end(&mut bytes).map_err(Short::Io)?;
    if bytes.len() as u64 > limit_mib * MIB {
        return Err(Short::Long(Fault::TooLarge { limit_mib, inflated }));
    }
    Ok(bytes)
}

/// Recognises the content.
pub(super) fn understand(bytes: Vec<u8>) -> Result<Tape, Fault> {
    if bytes.is_empty() {
        return Err(Fault::Empty { detail: "it has no bytes" });
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return Err(Fault::Unknown { found: "it is a zip archive: unpack it first".to_string() });
    }
    let text = String::from_utf8(bytes).map_err(|_| Fault::Unknown { found: "it is not text".to_string() })?;
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_string(),
        None => text,
    };
    let body = text.trim();
    let first = body.lines().next().unwrap_or("").trim();
    if first.is_empty() {
        return Err(Fault::Empty { detail: "it holds only white space" });
    }
    let stamped = first.split_once(' ').is_some_and(|(ns, rest)| {
        !ns.is_empty() && ns.bytes().all(|b| b.is_ascii_digit()) && rest.trim_start().starts_with('{')
    });
    let socket = first == "Websocket connection established." || (first.starts_with('{') && json::is_message(first));
    if stamped || socket {
        return lines::survey(text);
    }
    if body.starts_with('{') || body.starts_with('[') {
        return json::read(body);
    }
    csv::read(&text)
}
