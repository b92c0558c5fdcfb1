//! The head record: how far the log goes, under a key, so that a cut tail or a forged last event shows.
//!
//! * `head.json` has two slots of one sector each, written in place alternately: a torn write leaves the other.
//! * The log may be ahead of its head, never behind.
//! * A slot is one line of canonical JSON, padded with spaces: it can be read with the eyes.

use super::error::{BusError, io_error};
use super::event::Sum;
use super::key::{Key, KeyPlace};
use super::segments::Position;
use super::verify::HeadVerdict;
use crate::canon;
use crate::disk::{Access, Folder, Storage, read_full, write_all};
use crate::hex::hex;
use serde::{Deserialize, Serialize};
use std::io;

/// The file.
pub const HEAD: &str = "head.json";
/// The record's schema.
pub const HEAD_SCHEMA: &str = "holdfast.bus.head.v1";
const SLOT: usize = 512;

/// One head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which bus.
    pub bus_id: String,
    /// Epoch of the writer: one more at each opening.
    pub epoch: u64,
    /// Writes in this epoch.
    pub seq: u64,
    /// Whether the writer closed it in order: then nothing may stand behind it.
    pub clean: bool,
    /// How far the log goes.
    pub at: Position,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    bus_id: String,
    clean: bool,
    count: u64,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    hmac: Option<String>,
    last_checksum: Option<String>,
    offset: u64,
    schema_version: String,
    segment: u64,
    seq: u64,
}

impl Head {
    fn record(&self) -> Record {
        Record {
            bus_id: self.bus_id.clone(),
            clean: self.clean,
            count: self.at.count,
            epoch: self.epoch,
            hmac: None,
            last_checksum: self.at.last.map(|sum| sum.to_string()),
            offset: self.at.offset,
            schema_version: HEAD_SCHEMA.to_owned(),
            segment: self.at.segment,
            seq: self.seq,
        }
    }

    /// The bytes of its slot.
    fn slot(&self, key: &Key) -> io::Result<Vec<u8>> {
        let canonical = |record: &Record| canon::encode(record).map_err(io::Error::other);
        let mut record = self.record();
        record.hmac = Some(format!("sha256:{}", hex(&key.code(&canonical(&record)?))));
        let mut slot = canonical(&record)?;
        if slot.len() >= SLOT {
            return Err(io::Error::other("the head record does not fit a sector"));
        }
        slot.resize(SLOT - 1, b' ');
        slot.push(b'\n');
        Ok(slot)
    }

    /// Reads a slot; also its code and what the code is over.
    fn of(slot: &[u8]) -> Option<(Self, Option<[u8; 32]>)> {
        let text = slot.trim_ascii_end();
        canon::is_canonical(text).ok()?;
        let record: Record = serde_json::from_slice(text).ok()?;
        let last = match &record.last_checksum {
            Some(text) => Some(Sum::parse(text)?),
            None => None,
        };
        let code = record.hmac.as_deref().and_then(Sum::parse).map(|sum| sum.0);
        if record.schema_version != HEAD_SCHEMA || (record.count == 0) != last.is_none() {
            return None;
        }
        let at = Position { segment: record.segment, offset: record.offset, count: record.count, last };
        let head = Self { bus_id: record.bus_id, epoch: record.epoch, seq: record.seq, clean: record.clean, at };
        Some((head, code))
    }

    fn signed_by(&self, key: &Key, code: Option<[u8; 32]>) -> bool {
        let Some((key, code)) = key.at(self.epoch).zip(code) else { return false };
        canon::encode(&self.record()).is_ok_and(|text| key.agrees(&text, &code))
    }
}

/// What is in the head file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heads {
    /// The newest that counts: with a key, the newest signed one.
    pub(super) newest: Option<Head>,
    /// Slots in which something stands that does not count.
    pub(super) bad: usize,
}

/// Reads both slots. Without a key every readable one counts.
pub(super) fn read<S: Storage>(file: &S, key: Option<&Key>) -> io::Result<Heads> {
    let mut bytes = vec![0; 2 * SLOT];
    let got = read_full(file, &mut bytes, 0)?;
    bytes.truncate(got);
    let mut heads = Heads { newest: None, bad: 0 };
    for slot in bytes.chunks(SLOT) {
        if slot.iter().all(|b| *b == 0) {
            continue;
        }
        let counts = Head::of(slot).filter(|(head, code)| key.is_none_or(|key| head.signed_by(key, *code)));
        match counts {
            Some((head, _)) => {
                let newer = heads.newest.as_ref().is_none_or(|old| (head.epoch, head.seq) > (old.epoch, old.seq));
                if newer {
                    heads.newest = Some(head);
                }
            }
            None => heads.bad += 1,
        }
    }
    Ok(heads)
}

/// The head file of a writer.
#[derive(Debug)]
pub(super) struct HeadFile<S> {
    pub(super) file: S,
    pub(super) key: Key,
    pub(super) head: Head,
}

impl<S: Storage> HeadFile<S> {
    /// Begins an epoch: both slots are rewritten, then synced. A slot is a sector: it has its old or its new content.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        let at = self.head.at;
        self.write(at, false)?;
        self.write(at, false)?;
        self.file.sync()
    }

    /// Writes the next head without waiting for the disk.
    pub(super) fn write(&mut self, at: Position, clean: bool) -> io::Result<()> {
        let next = Head { at, clean, seq: self.head.seq.saturating_add(1), ..self.head.clone() };
        let slot = next.slot(&self.key)?;
        let offset = if next.seq.is_multiple_of(2) { 0 } else { SLOT as u64 };
        write_all(&mut self.file, &slot, offset)?;
        self.head = next;
        Ok(())
    }
}

/// Reads the newest readable head without a key: how far a reader may go.
pub(super) fn unsigned<S: Storage>(file: &S) -> io::Result<Option<Head>> {
    read(file, None).map(|heads| heads.newest)
}

/// What the newest head in a folder says, whoever signed it; `None` without one.
///
/// # Errors
/// The kernel's reason.
pub fn shown<F: Folder>(folder: &F) -> io::Result<Option<Head>> {
    match folder.open(HEAD, Access::Read) {
        Ok(file) => unsigned(&file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The same, and whether its key signed it. Reads no event.
///
/// # Errors
/// [`BusError`]: the head or its key cannot be read.
pub fn glance<F: Folder, K: Folder>(
    folder: &F,
    keys: Option<&KeyPlace<K>>,
) -> Result<(Option<Head>, HeadVerdict), BusError> {
    let io = |e| io_error(folder.path(HEAD), "read it", e);
    let Some(shown) = shown(folder).map_err(io)? else { return Ok((None, HeadVerdict::Absent)) };
    let Some(key) = keys.map(Key::load).transpose()?.flatten() else {
        return Ok((Some(shown), HeadVerdict::Unsigned));
    };
    let file = folder.open(HEAD, Access::Read).map_err(io)?;
    match read(&file, Some(&key)).map_err(io)?.newest {
        Some(signed) => Ok((Some(signed), HeadVerdict::OkSigned)),
        None => Ok((Some(shown), HeadVerdict::Disagrees)),
    }
}

/// A name for the bus out of random bytes: 32 hex digits.
pub(super) fn bus_id(seed: &[u8; 32]) -> String {
    hex(&super::key::derive(b"holdfast.bus.id", seed)).chars().take(32).collect()
}
