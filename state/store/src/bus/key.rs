//! The key of the head record: forgetful, so that who takes it today cannot rewrite yesterday's heads.
//!
//! * It is kept in a file of two checked slots outside the bus's folder, mode 0600; both slots are rewritten each time, so
//!   that an old key is not left in one of them.
//! * Each epoch's key is the hash of the one before. A key can check its own epoch and later ones, never earlier ones.
//! * Epoch 0 means that the bus was being made; from epoch 1 on a bus without a head has lost it.

use super::error::{BusError, io_error};
use crate::disk::{Access, Folder, Storage, read_full, write_all};
use crate::hex::{hex, unhex};
use hmac::{Hmac, KeyInit, Mac};
use holdfast_core::slot::{self, CELL_BYTES};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Epochs that a key looks ahead: a bus is never opened that often between two writes of the key.
const AHEAD_MAX: u64 = 64;

/// Where a key is kept.
#[derive(Debug)]
pub struct KeyPlace<F> {
    /// The folder.
    pub folder: F,
    /// The file's name in it.
    pub name: String,
}

/// The key of one epoch.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) epoch: u64,
    bytes: [u8; 32],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key of epoch {}", self.epoch)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    epoch: u64,
    key: String,
}

impl Key {
    /// The first one, from random bytes.
    pub(super) fn fresh(seed: &[u8; 32]) -> Self {
        Self { epoch: 0, bytes: derive(b"holdfast.bus.key", seed) }
    }

    /// The same as the key of another epoch: a new beginning, after the old key was lost.
    pub(super) fn of_epoch(self, epoch: u64) -> Self {
        Self { epoch, ..self }
    }

    /// The key of a later epoch, or this one's own.
    pub(super) fn at(&self, epoch: u64) -> Option<Self> {
        let steps = epoch.checked_sub(self.epoch).filter(|steps| *steps <= AHEAD_MAX)?;
        let bytes = (0..steps).fold(self.bytes, |bytes, _| derive(b"holdfast.bus.epoch", &bytes));
        Some(Self { epoch, bytes })
    }

    /// The code over a text.
    pub(super) fn code(&self, text: &[u8]) -> [u8; 32] {
        // Any length of key will do for this construction.
        Hmac::<Sha256>::new_from_slice(&self.bytes)
            .map_or([0; 32], |mac| mac.chain_update(text).finalize().into_bytes().into())
    }

    /// Whether the code over a text is this one, in constant time.
    pub(super) fn agrees(&self, text: &[u8], code: &[u8; 32]) -> bool {
        Hmac::<Sha256>::new_from_slice(&self.bytes).is_ok_and(|mac| mac.chain_update(text).verify_slice(code).is_ok())
    }

    /// Reads it; `None` if there is none.
    pub(super) fn load<F: Folder>(place: &KeyPlace<F>) -> Result<Option<Self>, BusError> {
        let path = || place.folder.path(&place.name);
        let file = match place.folder.open(&place.name, Access::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error(path(), "open it", e)),
        };
        let mut bytes = vec![0; CELL_BYTES];
        let got = read_full(&file, &mut bytes, 0).map_err(|e| io_error(path(), "read it", e))?;
        bytes.truncate(got);
        let damaged = |why: String| BusError::Key { path: path(), why };
        let Some(slot) = slot::decode(&bytes).map_err(|e| damaged(e.to_string()))? else { return Ok(None) };
        let record: Record = serde_json::from_slice(&slot.payload).map_err(|e| damaged(e.to_string()))?;
        let bytes = unhex(record.key.as_bytes()).ok_or_else(|| damaged("no key in it".to_owned()))?;
        Ok(Some(Self { epoch: record.epoch, bytes }))
    }

    /// Puts it in the place of the one before, in both slots.
    pub(super) fn store<F: Folder>(&self, place: &KeyPlace<F>) -> Result<(), BusError> {
        let io = |what| move |e| io_error(place.folder.path(&place.name), what, e);
        let record = Record { epoch: self.epoch, key: hex(&self.bytes) };
        let payload = serde_json::to_vec(&record).map_err(|e| io("write it")(std::io::Error::other(e)))?;
        let mut file = place.folder.open(&place.name, Access::Make).map_err(io("open it"))?;
        for seq in [self.epoch * 2 + 1, self.epoch * 2 + 2] {
            let bytes =
                slot::encode(seq, &payload).map_err(|e| io("write it")(std::io::Error::other(e.to_string())))?;
            write_all(&mut file, &bytes, slot::offset_of(seq)).map_err(io("write it"))?;
            file.sync().map_err(io("sync it"))?;
        }
        place.folder.sync().map_err(io("sync its folder"))
    }
}

/// A hash of a label and 32 bytes.
pub(super) fn derive(label: &[u8], from: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(label).chain_update([0]).chain_update(from).finalize().into()
}
