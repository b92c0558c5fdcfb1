//! THE SEAM to the runtime bus: [`walk`] is what the bus library is to be called through.
//!
//! Until then it reads line by line what the form of the file promises: numbers without gaps, and each line naming the
//! checksum of the one before. It does not compute the checksums again; the bundle's own list of hashes covers the bytes.

use super::error::BundleError;
use super::manifest::Chain;
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Longest line of the bus, padding included.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Deserialize)]
struct Header {
    event_index: u64,
    previous_checksum: Option<String>,
    checksum: String,
}

/// The segments of a bus folder in order: closed ones by number, then the open one.
pub(super) fn segments(folder: &Path) -> Result<Vec<PathBuf>, BundleError> {
    let fail = BundleError::io("list it", folder);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(&fail)? {
        let path = entry.map_err(&fail)?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push(path);
        }
    }
    // `events.000001.jsonl` sorts before `events.jsonl`.
    found.sort();
    Ok(found)
}

/// Verifies the bus in this folder: how many events, and the checksum of the last one.
pub(super) fn walk(folder: &Path) -> Result<Chain, BundleError> {
    let mut last: Option<Header> = None;
    for path in segments(folder)? {
        let fail = BundleError::io("read it", &path);
        let mut file = BufReader::new(File::open(&path).map_err(&fail)?);
        let (mut at, mut line) = (0_u64, Vec::new());
        loop {
            line.clear();
            if file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(&fail)? == 0 {
                break;
            }
            // Room kept ahead is blank.
            if !line.iter().all(u8::is_ascii_whitespace) {
                let bad = |why: String| BundleError::Bad { path: path.clone(), at: Some(at), why };
                let header: Header = serde_json::from_slice(&line).map_err(|e| bad(format!("not an event: {e}")))?;
                let before = last.as_ref().map(|header| (header.event_index, header.checksum.as_str()));
                let (number, sum) = before.map_or((0, None), |(index, sum)| (index, Some(sum)));
                if header.event_index != number.saturating_add(1) || header.previous_checksum.as_deref() != sum {
                    return Err(bad(format!("event {} does not follow the one before it", header.event_index)));
                }
                last = Some(header);
            }
            at = at.saturating_add(line.len() as u64);
        }
    }
    Ok(last.map_or(Chain { count: 0, last: String::new() }, |header| Chain {
        count: header.event_index,
        last: header.checksum,
    }))
}
