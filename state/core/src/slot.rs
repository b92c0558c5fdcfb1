//! Two alternating checked slots in a file of fixed size: the codec, without the file.
//!
//! A cell of this kind survives a torn write (the other slot is whole) and can be rewritten on a full disk (its size
//! never changes). What does not verify is never a default: a damaged pair is [`SlotError::Damaged`].

use crate::limits::SLOT_BYTES;
use alloc::vec::Vec;
use core::fmt;
use sha2::{Digest, Sha256};

const MAGIC: &[u8; 8] = b"HFSLOT01";
const HEAD: usize = 8 + 8 + 4;
const CHECK: usize = 32;

/// Bytes of a whole cell file.
pub const CELL_BYTES: usize = 2 * SLOT_BYTES;
/// Largest payload of one slot.
pub const PAYLOAD_MAX: usize = SLOT_BYTES - HEAD - CHECK;

/// Why a cell could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotError {
    /// Neither slot verifies, although the file is not blank.
    Damaged,
    /// The payload does not fit.
    TooLarge,
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "neither slot verifies",
            Self::TooLarge => "payload does not fit a slot",
        })
    }
}

impl core::error::Error for SlotError {}

/// The newest whole slot of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Write counter; the next write uses `seq + 1`.
    pub seq: u64,
    /// What was stored.
    pub payload: Vec<u8>,
}

/// Where the slot with this write counter lies in the file.
#[must_use]
pub const fn offset_of(seq: u64) -> u64 {
    if seq.is_multiple_of(2) { 0 } else { SLOT_BYTES as u64 }
}

/// The bytes of one slot, padded to its full size.
///
/// # Errors
/// [`SlotError::TooLarge`] when the payload does not fit.
pub fn encode(seq: u64, payload: &[u8]) -> Result<Vec<u8>, SlotError> {
    let len = u32::try_from(payload.len()).map_err(|_| SlotError::TooLarge)?;
    if payload.len() > PAYLOAD_MAX {
        return Err(SlotError::TooLarge);
    }
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.extend_from_slice(MAGIC);
    slot.extend_from_slice(&seq.to_be_bytes());
    slot.extend_from_slice(&len.to_be_bytes());
    slot.extend_from_slice(payload);
    let check = Sha256::digest(&slot);
    slot.extend_from_slice(&check);
    slot.resize(SLOT_BYTES, 0);
    Ok(slot)
}

/// Reads the newest whole slot. `Ok(None)` only for a file that was never written (empty or all zeros).
///
/// # Errors
/// [`SlotError::Damaged`] when something was written and nothing verifies.
pub fn decode(cell: &[u8]) -> Result<Option<Slot>, SlotError> {
    if cell.iter().all(|b| *b == 0) {
        return Ok(None);
    }
    let first = cell.get(..SLOT_BYTES).and_then(decode_one);
    let second = cell.get(SLOT_BYTES..CELL_BYTES).and_then(decode_one);
    match (first, second) {
        (Some(a), Some(b)) => Ok(Some(if a.seq > b.seq { a } else { b })),
        (Some(one), None) | (None, Some(one)) => Ok(Some(one)),
        (None, None) => Err(SlotError::Damaged),
    }
}

fn decode_one(slot: &[u8]) -> Option<Slot> {
    let seq = u64::from_be_bytes(slot.get(8..16)?.try_into().ok()?);
    let len = usize::try_from(u32::from_be_bytes(slot.get(16..HEAD)?.try_into().ok()?)).ok()?;
    if slot.get(..8)? != MAGIC || len > PAYLOAD_MAX {
        return None;
    }
    let body = slot.get(..HEAD + len)?;
    let check = slot.get(HEAD + len..HEAD + len + CHECK)?;
    (Sha256::digest(body).as_slice() == check).then(|| Slot { seq, payload: body[HEAD..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn cell(writes: &[(u64, &[u8])]) -> Vec<u8> {
        let mut file = vec![0; CELL_BYTES];
        for (seq, payload) in writes {
            let at = usize::try_from(offset_of(*seq)).unwrap_or(0);
            let slot = encode(*seq, payload).unwrap_or_default();
            file[at..at + slot.len()].copy_from_slice(&slot);
        }
        file
    }

    #[test]
    fn the_newest_whole_slot_wins() {
        let file = cell(&[(1, b"one"), (2, b"two"), (3, b"three")]);
        assert_eq!(decode(&file), Ok(Some(Slot { seq: 3, payload: b"three".to_vec() })));
    }

    #[test]
    fn any_flipped_byte_of_the_newest_slot_falls_back_to_the_older() {
        let file = cell(&[(1, b"one"), (2, b"two")]);
        let written = HEAD + 3 + CHECK;
        for at in 0..written {
            let mut torn = file.clone();
            torn[at] ^= 0x40;
            assert_eq!(decode(&torn), Ok(Some(Slot { seq: 1, payload: b"one".to_vec() })), "byte {at}");
        }
    }

    #[test]
    fn two_bad_slots_are_damage_and_never_a_default() {
        let mut file = cell(&[(2, b"two")]);
        file[20] ^= 1;
        assert_eq!(decode(&file), Err(SlotError::Damaged));
        assert_eq!(decode(b"garbage"), Err(SlotError::Damaged));
        assert_eq!(decode(&[]), Ok(None));
    }
}
