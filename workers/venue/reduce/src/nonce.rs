//! Nonces of one signer: `max(now, last + 1)`, never repeated across restarts.
//!
//! The file is a preallocated pair of checked slots rewritten in place, so it works on a full disk. It holds a ceiling
//! some way ahead of the last nonce, so most nonces touch no disk at all. The write is left to the page cache: it
//! survives every death of the process; after a host crash the clock itself has moved past the ceiling's meaning, and a
//! nonce that is too low is a certain refusal, never a second execution.

use crate::wire::Address;
use holdfast_core::slot::{self, CELL_BYTES};
use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

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
    last: u64,
    /// What was asked to be stored; a nonce up to here needs no new write.
    ceiling: u64,
    store: Store,
}

/// Where ceilings go.
#[derive(Debug)]
enum Store {
    None,
    /// Written before the nonce is handed out.
    Inline(Writer),
    /// Handed to a thread of its own, so that a disk that hangs holds up nothing.
    Background(SyncSender<u64>, Arc<AtomicBool>),
}

#[derive(Debug)]
struct Writer {
    file: File,
    seq: u64,
    signer: [u8; 20],
}

/// The nonces of one signer in this process. One process per agent key.
#[derive(Debug)]
pub struct Nonces {
    state: Mutex<State>,
}

impl Nonces {
    /// Opens (and preallocates) the store of `signer`. For a process that opens risk: a ceiling is on file before a
    /// nonce under it is used.
    ///
    /// # Errors
    /// [`NonceError`]. A caller that only reduces may go on with [`Nonces::unstored`].
    pub fn open(path: &Path, signer: Address) -> Result<Self, NonceError> {
        let (writer, ceiling) = Writer::open(path, signer)?;
        Ok(Self::with(Store::Inline(writer), ceiling))
    }

    /// The same for a process that only reduces: writes happen on a thread of their own, so that a hanging disk delays
    /// no exit. A write that failed or is stuck shows as `stored: false`.
    ///
    /// # Errors
    /// [`NonceError`]. The caller may go on with [`Nonces::unstored`].
    pub fn open_background(path: &Path, signer: Address) -> Result<Self, NonceError> {
        let (mut writer, ceiling) = Writer::open(path, signer)?;
        let (ask, asked) = sync_channel::<u64>(1);
        let healthy = Arc::new(AtomicBool::new(true));
        let verdict = Arc::clone(&healthy);
        std::thread::Builder::new().name("nonces".to_owned()).spawn(move || {
            while let Ok(ceiling) = asked.recv() {
                verdict.store(writer.write(ceiling).is_ok(), Ordering::Release);
            }
        })?;
        Ok(Self::with(Store::Background(ask, healthy), ceiling))
    }

    /// Nonces without a store: every one says `stored: false`. For a reducing process whose disk is gone.
    #[must_use]
    pub const fn unstored() -> Self {
        Self::with(Store::None, 0)
    }

    const fn with(store: Store, ceiling: u64) -> Self {
        Self { state: Mutex::new(State { last: ceiling, ceiling, store }) }
    }

    /// The next nonce, at `now_ms` since the epoch (venue time where known).
    pub fn next(&self, now_ms: u64) -> Nonce {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A remembered nonce beyond the venue's window comes from a clock that ran far ahead; the venue never took it.
        let last = if state.last > now_ms.saturating_add(WINDOW_MS) { 0 } else { state.last };
        let value = now_ms.max(last.saturating_add(1));
        state.last = value;
        let stored = state.cover(value);
        Nonce { value, stored }
    }
}

impl State {
    /// Sees to it that a ceiling at or above `value` is stored.
    fn cover(&mut self, value: u64) -> bool {
        let covered = value <= self.ceiling && self.ceiling <= value.saturating_add(WINDOW_MS);
        let ceiling = value.saturating_add(AHEAD);
        let handed_over = covered
            || match &mut self.store {
                Store::None => false,
                Store::Inline(writer) => writer.write(ceiling).is_ok(),
                Store::Background(ask, _) => ask.try_send(ceiling).is_ok(),
            };
        if !covered && handed_over {
            self.ceiling = ceiling;
        }
        match &self.store {
            Store::None => false,
            Store::Inline(_) => handed_over,
            Store::Background(_, healthy) => handed_over && healthy.load(Ordering::Acquire),
        }
    }
}

impl Writer {
    fn open(path: &Path, signer: Address) -> Result<(Self, u64), NonceError> {
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
        Ok((Self { file, seq, signer: *signer.bytes() }, ceiling))
    }

    fn write(&mut self, ceiling: u64) -> Result<(), NonceError> {
        let seq = self.seq.saturating_add(1);
        let mut payload = Vec::with_capacity(28);
        payload.extend_from_slice(&self.signer);
        payload.extend_from_slice(&ceiling.to_be_bytes());
        self.file.write_all_at(&slot::encode(seq, &payload)?, slot::offset_of(seq))?;
        self.seq = seq;
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
        let nonces = Nonces::unstored();
        assert_eq!(nonces.next(NOW), Nonce { value: NOW, stored: false });
        assert_eq!(nonces.next(NOW), Nonce { value: NOW + 1, stored: false });
    }

    #[test]
    fn a_background_store_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nonce");
        let nonces = Nonces::open_background(&path, ME).unwrap();
        let last = (0..5).map(|_| nonces.next(NOW)).last().unwrap();
        assert!(last.stored);
        drop(nonces);
        // The writer thread ends after the last ceiling; wait for what it wrote.
        let mut tries = 0;
        while !Writer::open(&path, ME).is_ok_and(|(_, ceiling)| ceiling >= last.value) {
            tries += 1;
            assert!(tries < 10_000, "the ceiling never reached the file");
            std::thread::yield_now();
        }
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
