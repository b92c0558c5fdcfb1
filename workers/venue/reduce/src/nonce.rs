//! Nonces of one signer: `max(now, last + 1)`, never repeated across restarts.
//!
//! The file is a preallocated pair of checked slots rewritten in place, so it works on a full disk. It holds a ceiling
//! some way ahead of the last nonce, so most nonces touch no disk at all. The write is left to the page cache: it
//! survives every death of the process; after a host crash the clock itself has moved past the ceiling's meaning, and a
//! nonce that is too low is a certain refusal, never a second execution.

use holdfast_core::slot::{self, CELL_BYTES};
use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// How far ahead of the last nonce the stored ceiling lies, in nonces (milliseconds).
const AHEAD: u64 = 10_000;
/// The venue refuses nonces this far in its future, so none such was ever used.
const WINDOW_MS: u64 = 86_400_000;

/// Why the nonce store cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum NonceError {
    /// The file could not be opened, read or written.
    #[error("nonce file cannot be used: {0}")]
    Io(#[from] std::io::Error),
    /// Its content does not verify.
    #[error("nonce file is damaged: {0}")]
    Damaged(#[from] slot::SlotError),
    /// Its content verifies but is not a nonce of this signer.
    #[error("nonce file belongs to another signer or version")]
    Foreign,
}

/// A nonce, and whether a restart will know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce {
    /// What to sign.
    pub value: u64,
    /// False when the ceiling could not be stored. A reduction is sent all the same; an opening is not.
    pub stored: bool,
}

#[derive(Debug)]
struct State {
    file: Option<File>,
    seq: u64,
    last: u64,
    ceiling: u64,
}

/// The nonces of one signer in this process. One process per agent key.
#[derive(Debug)]
pub struct Nonces {
    signer: [u8; 20],
    state: Mutex<State>,
}

impl Nonces {
    /// Opens (and preallocates) the store of `signer`.
    ///
    /// # Errors
    /// [`NonceError`]. A caller that only reduces may go on with [`Nonces::unstored`].
    pub fn open(path: &Path, signer: crate::wire::Address) -> Result<Self, NonceError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits())
            .open(path)?;
        let mut cell = Vec::with_capacity(CELL_BYTES);
        Read::by_ref(&mut file).take(CELL_BYTES as u64).read_to_end(&mut cell)?;
        let (seq, ceiling) = match slot::decode(&cell)? {
            None => (0, 0),
            Some(found) => (found.seq, parse(&found.payload, signer.bytes())?),
        };
        if cell.len() < CELL_BYTES {
            // Real blocks, not a hole: a later write in place must not need space.
            let missing = vec![0; CELL_BYTES.saturating_sub(cell.len())];
            file.write_all_at(&missing, cell.len() as u64)?;
            file.sync_all()?;
        }
        let state = State { file: Some(file), seq, last: ceiling, ceiling };
        Ok(Self { signer: *signer.bytes(), state: Mutex::new(state) })
    }

    /// Nonces without a store: every one says `stored: false`. For a reducing process whose disk is gone.
    #[must_use]
    pub const fn unstored(signer: crate::wire::Address) -> Self {
        let state = State { file: None, seq: 0, last: 0, ceiling: 0 };
        Self { signer: *signer.bytes(), state: Mutex::new(state) }
    }

    /// The next nonce, at `now_ms` since the epoch (venue time where known).
    pub fn next(&self, now_ms: u64) -> Nonce {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A remembered nonce beyond the venue's window comes from a clock that ran far ahead; the venue never took it.
        let last = if state.last > now_ms.saturating_add(WINDOW_MS) { 0 } else { state.last };
        let value = now_ms.max(last.saturating_add(1));
        state.last = value;
        let fits = value <= state.ceiling && state.ceiling <= value.saturating_add(WINDOW_MS);
        let stored = fits || state.store(value.saturating_add(AHEAD), &self.signer).is_ok();
        Nonce { value, stored }
    }
}

impl State {
    fn store(&mut self, ceiling: u64, signer: &[u8; 20]) -> Result<(), NonceError> {
        let file = self.file.as_ref().ok_or(NonceError::Foreign)?;
        let seq = self.seq.saturating_add(1);
        let mut payload = Vec::with_capacity(28);
        payload.extend_from_slice(signer);
        payload.extend_from_slice(&ceiling.to_be_bytes());
        file.write_all_at(&slot::encode(seq, &payload)?, slot::offset_of(seq))?;
        self.seq = seq;
        self.ceiling = ceiling;
        Ok(())
    }
}

fn parse(payload: &[u8], signer: &[u8; 20]) -> Result<u64, NonceError> {
    let (owner, ceiling) = payload.split_at_checked(20).ok_or(NonceError::Foreign)?;
    if owner != signer {
        return Err(NonceError::Foreign);
    }
    Ok(u64::from_be_bytes(ceiling.try_into().map_err(|_| NonceError::Foreign)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Address;

    const ME: Address = Address::new([7; 20]);
    const NOW: u64 = 1_790_000_000_000;

    #[test]
    fn never_repeats_even_when_the_clock_steps_back_or_the_process_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nonce");
        let mut seen = std::collections::BTreeSet::new();
        for clock in [NOW, NOW, NOW - 3_600_000, NOW + 5, NOW + 100_000, NOW] {
            let nonces = Nonces::open(&path, ME).unwrap();
            for _ in 0..5 {
                let nonce = nonces.next(clock);
                assert!(nonce.stored);
                assert!(seen.last().is_none_or(|last| nonce.value > *last));
                seen.insert(nonce.value);
            }
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), CELL_BYTES as u64, "the file never grows");
    }

    #[test]
    fn a_clock_that_was_far_ahead_does_not_lock_us_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nonce");
        Nonces::open(&path, ME).unwrap().next(NOW + 365 * WINDOW_MS);
        let nonces = Nonces::open(&path, ME).unwrap();
        assert_eq!(nonces.next(NOW), Nonce { value: NOW, stored: true });
        drop(nonces);
        assert!(Nonces::open(&path, ME).unwrap().next(NOW).value > NOW);
    }

    #[test]
    fn a_store_that_cannot_be_written_still_yields_nonces_and_says_so() {
        let nonces = Nonces::unstored(ME);
        assert_eq!(nonces.next(NOW), Nonce { value: NOW, stored: false });
        assert_eq!(nonces.next(NOW), Nonce { value: NOW + 1, stored: false });
    }

    #[test]
    fn damage_and_foreign_files_are_errors_and_one_torn_slot_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nonce");
        Nonces::open(&path, ME).unwrap().next(NOW);
        assert!(matches!(Nonces::open(&path, Address::new([8; 20])), Err(NonceError::Foreign)));
        let nonces = Nonces::open(&path, ME).unwrap();
        nonces.next(NOW + 50_000);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff; 64], slot::offset_of(2)).unwrap();
        assert!(Nonces::open(&path, ME).is_ok(), "the older slot is whole");
        file.write_all_at(&[0xff; 64], slot::offset_of(1)).unwrap();
        assert!(matches!(Nonces::open(&path, ME), Err(NonceError::Damaged(_))));
    }
}
