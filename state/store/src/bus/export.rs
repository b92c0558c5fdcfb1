//! Exports from the disk alone: the audit document, streamed, or the raw lines of all segments as one file.

use super::error::{BusError, io_error};
use super::head::Head;
use super::key::KeyPlace;
use super::snapshot::{SnapshotState, SnapshotVerdict};
use super::verify::{HeadVerdict, Questions, Report, pass};
use super::walk::Finding;
use crate::canon;
use crate::disk::Folder;
use crate::hex::hex;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::RangeInclusive;

/// Event types that are counted one by one.
const TYPES_MAX: usize = 1024;

/// What goes into a document.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Indices of the events to show.
    pub events: RangeInclusive<u64>,
    /// Types of the events to show; empty means all.
    pub types: Vec<String>,
    /// Only counts and hashes: no events, no snapshot.
    pub public: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { events: 1..=u64::MAX, types: Vec::new(), public: false }
    }
}

#[derive(Serialize)]
struct Integrity<'r> {
    ok: bool,
    events: u64,
    last_checksum: &'r Option<String>,
    reason: &'r str,
    finding: &'r Option<Finding>,
}

#[derive(Serialize)]
struct HeadShown {
    bus_id: Option<String>,
    count: Option<u64>,
    epoch: Option<u64>,
    last_checksum: Option<String>,
    verdict: HeadVerdict,
}

/// Hashed and counted without padding.
#[derive(Serialize)]
struct SegmentShown {
    file: String,
    sha256: String,
    bytes: u64,
    first: u64,
    last: u64,
}

#[derive(Serialize)]
struct Summary<'s> {
    events: u64,
    event_types: &'s BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct Rest<'r> {
    head: HeadShown,
    integrity: Integrity<'r>,
    schema_version: &'static str,
    segments: &'r [SegmentShown],
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<&'r Value>,
    snapshot_integrity: &'r SnapshotVerdict,
    source: &'static str,
    summary: Summary<'r>,
}

#[derive(Default)]
struct Counted {
    types: BTreeMap<String, u64>,
    segments: Vec<SegmentShown>,
    open: Option<Sha256>,
}

impl Counted {
    fn line(&mut self, file: &str, index: u64, event_type: &[u8], line: &[u8]) {
        let name = String::from_utf8_lossy(event_type);
        let known = self.types.len() < TYPES_MAX || self.types.contains_key(&*name);
        let name = if known { name.into_owned() } else { "other".to_owned() };
        let count = self.types.entry(name).or_default();
        *count = count.saturating_add(1);
        if self.segments.last().is_none_or(|segment| segment.file != file) {
            self.close();
            self.open = Some(Sha256::new());
            let (file, sha256) = (file.to_owned(), String::new());
            self.segments.push(SegmentShown { file, sha256, bytes: 0, first: index, last: index });
        }
        if let Some((segment, hash)) = self.segments.last_mut().zip(self.open.as_mut()) {
            hash.update(line);
            hash.update(b"\n");
            segment.bytes = segment.bytes.saturating_add(line.len() as u64 + 1);
            segment.last = index;
        }
    }

    fn close(&mut self) {
        if let Some((segment, hash)) = self.segments.last_mut().zip(self.open.take()) {
            segment.sha256 = hex(&hash.finalize().into());
        }
    }
}

/// Writes the audit document: canonical JSON and a newline. Gives the audit that was made on the way.
///
/// # Errors
/// As [`super::verify`], and what writing says.
pub fn export<F: Folder, K: Folder>(
    folder: &F,
    keys: Option<&KeyPlace<K>>,
    wanted: &Wanted,
    out: &mut dyn Write,
) -> Result<Report, BusError> {
    let told = |e| io_error("the export".into(), "write it", e);
    let mut counted = Counted::default();
    out.write_all(if wanted.public { b"{" } else { b"{\"events\":[" }).map_err(told)?;
    let mut first = true;
    let (report, beside) = pass(folder, keys, &Questions::default(), &mut |seen| {
        counted.line(seen.file, seen.good.index, seen.good.event_type, seen.line);
        let shown = !wanted.public
            && wanted.events.contains(&seen.good.index)
            && (wanted.types.is_empty() || wanted.types.iter().any(|name| name.as_bytes() == seen.good.event_type));
        if shown {
            if !first {
                out.write_all(b",")?;
            }
            first = false;
            out.write_all(seen.line)?;
        }
        Ok(())
    })?;
    counted.close();
    if !wanted.public {
        out.write_all(b"],").map_err(told)?;
    }
    let snapshot = match &beside.snapshot {
        SnapshotState::Fits(snapshot) if !wanted.public => Some(&snapshot.payload),
        SnapshotState::Fits(_) | SnapshotState::Absent | SnapshotState::Rebuild(_) => None,
    };
    let head: Option<&Head> = beside.heads.newest.as_ref();
    let rest = Rest {
        head: HeadShown {
            bus_id: head.map(|head| head.bus_id.clone()),
            count: head.map(|head| head.at.count),
            epoch: head.map(|head| head.epoch),
            last_checksum: head.and_then(|head| head.at.last).map(|sum| sum.to_string()),
            verdict: report.head,
        },
        integrity: Integrity {
            ok: report.ok,
            events: report.events,
            last_checksum: &report.last_checksum,
            reason: &report.reason,
            // What was found may quote a payload.
            finding: if wanted.public { &None } else { &report.finding },
        },
        schema_version: "zero.runtime.audit.v1",
        segments: &counted.segments,
        snapshot,
        snapshot_integrity: &report.snapshot,
        source: "durable-runtime-bus",
        summary: Summary { events: report.events, event_types: &counted.types },
    };
    let rest = canon::encode(&rest).map_err(|e| told(io::Error::other(e)))?;
    out.write_all(rest.get(1..).unwrap_or_default()).and_then(|()| out.write_all(b"\n")).map_err(told)?;
    Ok(report)
}

/// Writes the lines of all segments as one file that any verifier of such a log reads. Gives the audit made on the way;
/// the file ends before the first event that does not hold.
///
/// # Errors
/// As [`super::verify`], and what writing says.
pub fn export_single_file<F: Folder, K: Folder>(
    folder: &F,
    keys: Option<&KeyPlace<K>>,
    out: &mut dyn Write,
) -> Result<Report, BusError> {
    let shown = pass(folder, keys, &Questions::default(), &mut |seen| {
        out.write_all(seen.line)?;
        out.write_all(b"\n")
    });
    shown.map(|(report, _)| report)
}
