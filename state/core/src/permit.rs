//! The open permit: its record in shared memory, and the token that a live record mints.
//!
//! * INV-1: a [`RiskPermit`] exists only because a record was read that verifies, names this epoch and generation, and
//!   has not passed its deadline.
//! * INV-2: it is spent by value; it cannot be cloned, stored or sent to another process.
//!
//! ```compile_fail,E0451
//! // A permit cannot be forged: its fields are private.
//! let forged = holdfast_core::permit::RiskPermit {
//!     epoch: holdfast_core::ids::Epoch(1),
//!     deadline: holdfast_core::time::Tick(u64::MAX),
//! };
//! ```
//!
//! ```compile_fail,E0382
//! // A permit cannot be spent twice: spending takes it by value.
//! fn spend(_permit: holdfast_core::permit::RiskPermit) {}
//! fn twice(permit: holdfast_core::permit::RiskPermit) {
//!     spend(permit);
//!     spend(permit);
//! }
//! ```

use crate::ids::{Epoch, Generation};
use crate::time::Tick;
use core::fmt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes of a permit record: epoch, generation, deadline, check.
pub const RECORD_BYTES: usize = 8 + 4 + 8 + 32;

/// Secret shared by the supervisor and one generation of the engine; a record that was not written with it is forged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PermitKey([u8; 32]);

impl PermitKey {
    /// Takes fresh random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for PermitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PermitKey(..)")
    }
}

/// What the supervisor grants: the holder of this epoch and generation may open risk until the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Fencing epoch of the supervisor.
    pub epoch: Epoch,
    /// Which start of the engine holds it.
    pub generation: Generation,
    /// Boot-clock instant after which it is worth nothing.
    pub deadline: Tick,
}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPermit {
    /// The record could not be read, or was revoked.
    Absent,
    /// Its check does not match: torn or forged.
    Invalid,
    /// It was written for another epoch or generation.
    Stale,
    /// Its deadline has passed.
    Expired,
}

impl fmt::Display for NoPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "no permit is granted",
            Self::Invalid => "the permit record does not verify",
            Self::Stale => "the permit belongs to another epoch or generation",
            Self::Expired => "the permit has expired",
        })
    }
}

impl core::error::Error for NoPermit {}

/// The bytes of a live record.
#[must_use]
pub fn encode(grant: Grant, key: &PermitKey) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&grant.epoch.0.to_be_bytes());
    record[8..12].copy_from_slice(&grant.generation.0.to_be_bytes());
    record[12..20].copy_from_slice(&grant.deadline.0.to_be_bytes());
    let check = check_of(&record[..20], key);
    record[20..].copy_from_slice(&check);
    record
}

/// The bytes that revoke: no key makes them verify.
#[must_use]
pub const fn revoked() -> [u8; RECORD_BYTES] {
    [0; RECORD_BYTES]
}

/// Reads a record back. It says nothing about whether the grant is still in time.
///
/// # Errors
/// [`NoPermit::Absent`] when revoked, [`NoPermit::Invalid`] when it does not verify.
pub fn decode(record: &[u8], key: &PermitKey) -> Result<Grant, NoPermit> {
    let record: &[u8; RECORD_BYTES] = record.try_into().map_err(|_| NoPermit::Invalid)?;
    if *record == revoked() {
        return Err(NoPermit::Absent);
    }
    let (body, check) = record.split_at(20);
    if check_of(body, key).as_slice() != check {
        return Err(NoPermit::Invalid);
    }
    let mut epoch = [0; 8];
    let mut generation = [0; 4];
    let mut deadline = [0; 8];
    epoch.copy_from_slice(&body[..8]);
    generation.copy_from_slice(&body[8..12]);
    deadline.copy_from_slice(&body[12..]);
    Ok(Grant {
        epoch: Epoch(u64::from_be_bytes(epoch)),
        generation: Generation(u32::from_be_bytes(generation)),
        deadline: Tick(u64::from_be_bytes(deadline)),
    })
}

fn check_of(body: &[u8], key: &PermitKey) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"holdfast permit 1");
    hash.update(key.0);
    hash.update(body);
    hash.finalize().into()
}

/// Where a process reads the record and the clock. Implemented in `ipc` over the inherited descriptor.
pub trait PermitSource {
    /// The record as it is now.
    ///
    /// # Errors
    /// [`NoPermit::Absent`] when it cannot be read.
    fn record(&self) -> Result<[u8; RECORD_BYTES], NoPermit>;
    /// The boot clock.
    fn now(&self) -> Tick;
}

/// Who is asking: a permit of another epoch or generation is none.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Epoch this process was started under.
    pub epoch: Epoch,
    /// Its own generation.
    pub generation: Generation,
    /// The key it was given.
    pub key: PermitKey,
}

/// Authority to send one risk-increasing order. Minted by [`RiskPermit::mint`] only; spent by value.
#[derive(Debug)]
#[must_use = "a permit that is not spent opens nothing"]
pub struct RiskPermit {
    epoch: Epoch,
    deadline: Tick,
}

impl RiskPermit {
    /// Mints a permit from a record that is live right now.
    ///
    /// # Errors
    /// [`NoPermit`] names what is missing.
    pub fn mint(source: &dyn PermitSource, holder: &Holder) -> Result<Self, NoPermit> {
        let grant = decode(&source.record()?, &holder.key)?;
        if grant.epoch != holder.epoch || grant.generation != holder.generation {
            return Err(NoPermit::Stale);
        }
        if source.now() >= grant.deadline {
            return Err(NoPermit::Expired);
        }
        Ok(Self { epoch: grant.epoch, deadline: grant.deadline })
    }

    /// Reads the record once more, right before the order leaves, and spends the old reading for the new one.
    ///
    /// # Errors
    /// [`NoPermit`] when it was revoked or has expired since it was minted.
    pub fn recheck(self, source: &dyn PermitSource, holder: &Holder) -> Result<Self, NoPermit> {
        if source.now() >= self.deadline {
            return Err(NoPermit::Expired);
        }
        let fresh = Self::mint(source, holder)?;
        if fresh.epoch == self.epoch { Ok(fresh) } else { Err(NoPermit::Stale) }
    }

    /// The instant after which the venue must refuse what this permit sends.
    #[must_use]
    pub const fn deadline(&self) -> Tick {
        self.deadline
    }

    /// The epoch it was granted under.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed([u8; RECORD_BYTES], Tick);
    impl PermitSource for Fixed {
        fn record(&self) -> Result<[u8; RECORD_BYTES], NoPermit> {
            Ok(self.0)
        }
        fn now(&self) -> Tick {
            self.1
        }
    }

    const GRANT: Grant = Grant { epoch: Epoch(7), generation: Generation(2), deadline: Tick(1_000) };

    fn holder(epoch: u64, generation: u32) -> Holder {
        Holder { epoch: Epoch(epoch), generation: Generation(generation), key: PermitKey::new([9; 32]) }
    }

    #[test]
    fn only_a_live_record_of_this_epoch_and_generation_mints() {
        let live = encode(GRANT, &PermitKey::new([9; 32]));
        let forged = encode(GRANT, &PermitKey::new([8; 32]));
        let cases = [
            ("live", live, 999, holder(7, 2), None),
            ("at its deadline", live, 1_000, holder(7, 2), Some(NoPermit::Expired)),
            ("older epoch", live, 1, holder(8, 2), Some(NoPermit::Stale)),
            ("older generation", live, 1, holder(7, 3), Some(NoPermit::Stale)),
            ("revoked", revoked(), 1, holder(7, 2), Some(NoPermit::Absent)),
            ("forged", forged, 1, holder(7, 2), Some(NoPermit::Invalid)),
        ];
        for (name, record, now, holder, expect) in cases {
            assert_eq!(RiskPermit::mint(&Fixed(record, Tick(now)), &holder).err(), expect, "{name}");
        }
    }

    #[test]
    fn a_torn_record_is_no_permit_at_any_byte() {
        let old = encode(GRANT, &PermitKey::new([9; 32]));
        let new = encode(Grant { epoch: Epoch(8), deadline: Tick(u64::MAX), ..GRANT }, &PermitKey::new([9; 32]));
        for cut in 1..RECORD_BYTES {
            let mut torn = old;
            torn[..cut].copy_from_slice(&new[..cut]);
            if torn != old && torn != new {
                assert!(RiskPermit::mint(&Fixed(torn, Tick(1)), &holder(8, 2)).is_err(), "cut at {cut}");
            }
        }
    }
}
