//! The snapshot: state at one event, so that a start replays only what came after.
//!
//! * It is written after its events are on the disk, beside the one before, which is kept; an event announces it.
//! * It names its bus, its place and the checksum of its payload. What does not fit is not used: the state is rebuilt.

use super::chain::Code;
use super::error::{BusError, io_error};
use super::event::{NewEvent, Sum};
use super::log::Log;
use super::segments::Position;
use super::walk::Finding;
use crate::canon;
use crate::disk::{Access, Folder, Storage, read_full, write_all};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io;

/// The newest snapshot.
pub const SNAPSHOT: &str = "state-snapshot.json";
/// The one before.
pub const SNAPSHOT_BEFORE: &str = "state-snapshot.before.json";
const SNAPSHOT_NEW: &str = "state-snapshot.new";
const SCHEMA: &str = "zero.runtime.snapshot.v1";
/// Largest snapshot.
const BYTES_MAX: usize = 8 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    as_of: f64,
    event_count: u64,
    /// What the reference does not know; it ignores it.
    holdfast: Ours,
    last_checksum: Option<String>,
    payload: Value,
    schema_version: String,
    source_event_id: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ours {
    bus_id: String,
    offset: u64,
    payload_checksum: String,
    segment: u64,
}

/// A snapshot that fits the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Behind its last event: replay begins here.
    pub at: Position,
    /// The event it was taken at.
    pub source_event_id: Option<String>,
    /// Wall time, seconds since 1970.
    pub as_of: f64,
    /// The state.
    pub payload: Value,
}

/// What a start has to boot from.
#[derive(Clone, Debug, PartialEq)]
pub enum SnapshotState {
    /// There is none: replay from the first event.
    Absent,
    /// This, and the events behind it.
    Fits(Box<Snapshot>),
    /// There is one that cannot be used, and why: replay from the first event.
    Rebuild(String),
}

/// Reads the newest usable one, else the one before.
pub(super) fn load<F: Folder>(folder: &F, bus_id: &str) -> io::Result<SnapshotState> {
    let mut why = None;
    for name in [SNAPSHOT, SNAPSHOT_BEFORE] {
        let file = match folder.open(name, Access::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(usize::MAX).min(BYTES_MAX + 1)];
        let got = read_full(&file, &mut bytes, 0)?;
        match usable(&bytes[..got], bus_id) {
            Ok(snapshot) => return Ok(SnapshotState::Fits(Box::new(snapshot))),
            Err(reason) => {
                why.get_or_insert(format!("{name}: {reason}"));
            }
        }
    }
    Ok(why.map_or(SnapshotState::Absent, SnapshotState::Rebuild))
}

fn usable(bytes: &[u8], bus_id: &str) -> Result<Snapshot, String> {
    if bytes.len() > BYTES_MAX {
        return Err("larger than a snapshot may be".to_owned());
    }
    let record: Record = serde_json::from_slice(bytes).map_err(|e| format!("not a snapshot: {e}"))?;
    if record.schema_version != SCHEMA {
        return Err(format!("schema {:?}", record.schema_version));
    }
    if record.holdfast.bus_id != bus_id {
        return Err("of another bus".to_owned());
    }
    let payload = canon::encode(&record.payload).map_err(|e| e.to_string())?;
    if record.holdfast.payload_checksum != Sum(Sha256::digest(payload).into()).to_string() {
        return Err("its payload does not have its checksum".to_owned());
    }
    let last = match record.last_checksum.as_deref().map(Sum::parse) {
        None => None,
        Some(Some(sum)) => Some(sum),
        Some(None) => return Err("its last checksum is none".to_owned()),
    };
    if last.is_none() != (record.event_count == 0) {
        return Err("count and checksum contradict each other".to_owned());
    }
    let Ours { segment, offset, .. } = record.holdfast;
    let at = Position { segment, offset, count: record.event_count, last };
    Ok(Snapshot { at, source_event_id: record.source_event_id, as_of: record.as_of, payload: record.payload })
}

/// Whether a snapshot fits a log, as it is told to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotVerdict {
    /// Whether there is one.
    pub present: bool,
    /// Whether it fits, or there is none.
    pub consistent: bool,
    /// In words.
    pub reason: String,
}

/// What is wrong with a log of so many events beside this snapshot, if it names more: then a tail was cut.
pub(super) fn beyond(snapshot: &Snapshot, events: u64) -> Option<Finding> {
    (snapshot.at.count > events).then(|| Finding {
        code: Code::Head,
        event: events,
        file: SNAPSHOT.to_owned(),
        byte: 0,
        expected: format!("the {} events of the snapshot", snapshot.at.count),
        found: format!("{events} events"),
    })
}

/// Says whether a snapshot fits a log of so many events, in which the event before its place has this checksum.
pub(super) fn verdict(state: &SnapshotState, events: u64, there: Option<Sum>) -> SnapshotVerdict {
    let of = |present, consistent, reason: &str| SnapshotVerdict { present, consistent, reason: reason.to_owned() };
    match state {
        SnapshotState::Absent => of(false, true, "no snapshot"),
        SnapshotState::Rebuild(why) => of(true, false, why),
        SnapshotState::Fits(snapshot) if snapshot.at.count > events => {
            of(true, false, "snapshot references missing tail events")
        }
        SnapshotState::Fits(snapshot) if snapshot.at.last != there => {
            of(true, false, "snapshot checksum is not the event's")
        }
        SnapshotState::Fits(_) => of(true, true, "ok"),
    }
}

impl<F: Folder> Log<F> {
    /// Writes a snapshot of the state after everything appended so far, then announces it.
    pub(super) fn snapshot(&mut self, as_of: f64, source: Option<String>, payload: &Value) -> Result<(), BusError> {
        let announced = json!({
            "schema_version": "holdfast.bus.snapshot.v1", "event_count": self.at.count,
            "last_checksum": self.at.last.map(|sum| sum.to_string()),
        });
        let announced = NewEvent::new("bus.snapshot", as_of, &announced)?;
        let form = |e| BusError::Event(super::event::EventError::Form(e));
        let checksum = Sum(Sha256::digest(canon::encode(payload).map_err(form)?).into()).to_string();
        let Position { segment, offset, count, last } = self.at;
        let bus_id = self.head.head.bus_id.clone();
        let record = Record {
            as_of,
            event_count: count,
            holdfast: Ours { bus_id, offset, payload_checksum: checksum, segment },
            last_checksum: last.map(|sum| sum.to_string()),
            payload: payload.clone(),
            schema_version: SCHEMA.to_owned(),
            source_event_id: source,
        };
        let mut bytes = canon::encode(&record).map_err(form)?;
        bytes.push(b'\n');
        if bytes.len() > BYTES_MAX {
            return Err(super::event::EventError::TooLong(bytes.len()).into());
        }
        // A snapshot beyond the head that a crash leaves would look like a log that was cut.
        self.settle();
        self.put_snapshot(&bytes).map_err(|e| io_error(self.folder.path(SNAPSHOT), "write it", e))?;
        self.append(&[announced]).map(|_| ())
    }

    fn put_snapshot(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.folder.open(SNAPSHOT_NEW, Access::Make)?;
        file.truncate(0)?;
        write_all(&mut file, bytes, 0)?;
        file.sync()?;
        match self.folder.rename(SNAPSHOT, SNAPSHOT_BEFORE) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
        self.folder.rename(SNAPSHOT_NEW, SNAPSHOT)?;
        self.folder.sync()
    }
}
