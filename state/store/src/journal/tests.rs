//! The journal against torn tails, tampering, short writes and failing disks.

use super::*;
use holdfast_core::ids::{Epoch, Generation};
use holdfast_core::money::Szi;
use std::cell::RefCell;
use std::rc::Rc;

fn started() -> Entry {
    Entry::Started { epoch: Epoch(3), generation: Generation(1) }
}

fn intent(n: u32) -> Entry {
    Entry::Intent(Intent {
        key: format!("key-{n}"),
        cloid: format!("0x{n:032x}"),
        coin: "BTC".to_owned(),
        is_buy: true,
        size: "0.01".parse().unwrap(),
        px: "60000".parse().unwrap(),
        kind: IntentKind::Open,
        expires_after_ms: 1_790_000_000_000,
        epoch: Epoch(3),
        position_before: Szi::FLAT,
    })
}

fn outcome(n: u32, outcome: Recorded) -> Entry {
    Entry::Outcome { cloid: format!("0x{n:032x}"), outcome }
}

fn fill(tid: u64, venue_ms: u64, is_buy: bool, size: &str) -> Entry {
    Entry::Fill(FillRecord {
        coin: "BTC".to_owned(),
        venue_ms,
        tid,
        oid: 1,
        cloid: None,
        is_buy,
        px: "60000".parse().unwrap(),
        size: size.parse().unwrap(),
        closed_pnl_usd: holdfast_core::money::Usd::ZERO,
        fee_usd: holdfast_core::money::Usd::ZERO,
    })
}

/// A disk in memory that does as it is told.
#[derive(Clone, Default)]
struct Disk(Rc<RefCell<Drive>>);

#[derive(Default)]
struct Drive {
    bytes: Vec<u8>,
    room: Option<usize>,
    slice: Option<usize>,
    sync_fails: bool,
    syncs: u32,
}

impl Storage for Disk {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.borrow().bytes.len() as u64)
    }
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let drive = self.0.borrow();
        let from = drive.bytes.get(usize::try_from(at).unwrap()..).unwrap_or_default();
        let n = from.len().min(into.len());
        into[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let mut drive = self.0.borrow_mut();
        let at = usize::try_from(at).unwrap();
        let n = bytes.len().min(drive.slice.unwrap_or(usize::MAX)).min(drive.room.unwrap_or(usize::MAX) - at);
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        drive.bytes.resize(at + n, 0);
        drive.bytes[at..].copy_from_slice(&bytes[..n]);
        Ok(n)
    }
    fn sync(&mut self) -> io::Result<()> {
        let mut drive = self.0.borrow_mut();
        drive.syncs += 1;
        if drive.sync_fails { Err(io::Error::other("device error")) } else { Ok(()) }
    }
    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.0.borrow_mut().bytes.truncate(usize::try_from(size).unwrap());
        Ok(())
    }
}

fn open(disk: &Disk) -> Result<Journal<Disk>, JournalError> {
    Journal::over(disk.clone(), Path::new("decisions.jsonl"), 1)
}

fn three_lines() -> Disk {
    let disk = Disk::default();
    let mut journal = open(&disk).unwrap();
    journal.append(1, &started()).unwrap();
    journal.append(2, &intent(1)).unwrap();
    journal.append(3, &intent(2)).unwrap();
    disk
}

#[test]
fn what_was_appended_is_remembered_after_reopening_and_every_append_is_synced() {
    let disk = three_lines();
    assert_eq!(disk.0.borrow().syncs, 3);
    let mut journal = open(&disk).unwrap();
    journal.append(4, &outcome(1, Recorded::Unknown { why: "timeout".to_owned() })).unwrap();
    journal.append(5, &outcome(2, Recorded::Refused { text: "no".to_owned() })).unwrap();
    let journal = open(&disk).unwrap();
    let left: Vec<_> = journal.memory().unsettled().map(|i| i.key.clone()).collect();
    assert_eq!(left, ["key-1"], "an unknown outcome settles nothing");
    let text = String::from_utf8(disk.0.borrow().bytes.clone()).unwrap();
    let head = text.trim_end().rsplit('"').nth(1).unwrap().parse().ok();
    assert!(head.is_some(), "the checksum that ends the file");
    assert_eq!(journal.health(), JournalHealth { healthy: true, entries: 5, unsettled: 1, head });
    assert_eq!(open(&Disk::default()).unwrap().head(), None);
}

#[test]
fn a_key_is_never_written_twice_even_after_a_restart() {
    let disk = three_lines();
    let mut journal = open(&disk).unwrap();
    assert!(matches!(journal.append(4, &intent(2)), Err(JournalError::Refused { .. })));
    assert!(journal.health().healthy, "a refused entry is no failure of the disk");
    journal.append(4, &intent(3)).unwrap();
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_the_cut_is_recorded() {
    let whole = three_lines().0.borrow().bytes.clone();
    let second_end = whole.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(1).unwrap().0 + 1;
    for cut in second_end + 1..whole.len() {
        let disk = Disk::default();
        disk.0.borrow_mut().bytes = whole[..cut].to_vec();
        let journal = open(&disk).unwrap();
        assert_eq!(journal.memory().entries(), 3, "two whole lines and the repair");
        assert!(!journal.memory().knows_key("key-2") && journal.memory().knows_key("key-1"));
        assert!(String::from_utf8(disk.0.borrow().bytes.clone()).unwrap().contains("\"repaired\""), "cut at {cut}");
        assert!(open(&disk).is_ok());
    }
    // Power was lost: the last line's sectors are zeros, with or without its end.
    for zeros in [second_end..whole.len(), second_end..whole.len() - 20] {
        let disk = Disk::default();
        let mut bytes = whole.clone();
        bytes[zeros].fill(0);
        disk.0.borrow_mut().bytes = bytes;
        assert_eq!(open(&disk).unwrap().memory().entries(), 3);
    }
}

#[test]
fn any_other_changed_byte_refuses_to_open_and_changes_nothing() {
    let whole = three_lines().0.borrow().bytes.clone();
    for at in 0..whole.len() - 1 {
        let disk = Disk::default();
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        disk.0.borrow_mut().bytes = bytes.clone();
        assert!(matches!(open(&disk), Err(JournalError::Broken { .. })), "byte {at}");
        assert_eq!(disk.0.borrow().bytes, bytes, "byte {at}");
    }
}

#[test]
fn a_missing_doubled_or_swapped_line_refuses_to_open() {
    let whole = three_lines().0.borrow().bytes.clone();
    let lines: Vec<&[u8]> = whole.split_inclusive(|b| *b == b'\n').collect();
    for order in [vec![0, 2], vec![1, 2], vec![0, 1, 1, 2], vec![0, 2, 1]] {
        let disk = Disk::default();
        disk.0.borrow_mut().bytes = order.iter().flat_map(|n| lines[*n].to_vec()).collect();
        assert!(matches!(open(&disk), Err(JournalError::Broken { .. })), "{order:?}");
    }
    let disk = Disk::default();
    disk.0.borrow_mut().bytes = [&whole[..], &[b'x'; LINE_BYTES_MAX + 1], b"\n"].concat();
    assert!(matches!(open(&disk), Err(JournalError::Broken { .. })), "a line without end");
}

#[test]
fn short_writes_are_completed_and_a_full_disk_latches_and_cuts_back() {
    let disk = three_lines();
    let mut journal = open(&disk).unwrap();
    disk.0.borrow_mut().slice = Some(7);
    journal.append(4, &outcome(1, Recorded::Resting { oid: 9 })).unwrap();
    let good = disk.0.borrow().bytes.clone();
    disk.0.borrow_mut().room = Some(good.len() + 30);
    assert!(matches!(journal.append(5, &intent(3)), Err(JournalError::Io { .. })));
    assert_eq!(disk.0.borrow().bytes, good, "nothing of the failed line is left");
    disk.0.borrow_mut().room = None;
    assert!(matches!(journal.append(6, &intent(4)), Err(JournalError::Latched { .. })), "no retry-and-continue");
    assert!(!journal.health().healthy && !journal.memory().knows_key("key-3"));
    journal.reopen(7).unwrap();
    journal.append(8, &intent(3)).unwrap();
    assert_eq!(open(&disk).unwrap().memory().entries(), 6);
}

#[test]
fn a_failed_sync_latches_although_a_second_try_would_claim_success() {
    let disk = three_lines();
    let mut journal = open(&disk).unwrap();
    disk.0.borrow_mut().sync_fails = true;
    assert!(journal.append(4, &intent(3)).is_err());
    disk.0.borrow_mut().sync_fails = false;
    let syncs = disk.0.borrow().syncs;
    assert!(matches!(journal.append(5, &intent(4)), Err(JournalError::Latched { .. })));
    assert_eq!(disk.0.borrow().syncs, syncs);
    assert!(!open(&disk).unwrap().memory().knows_key("key-3"));
}

#[test]
fn expected_positions_follow_fills_once_each_and_a_comparison_overrides() {
    let mut memory = Memory::default();
    memory.apply(&fill(1, 100, true, "0.5"));
    memory.apply(&fill(1, 100, true, "0.5"));
    memory.apply(&fill(2, 101, false, "0.2"));
    assert_eq!(memory.expected().get("BTC"), Some(&"0.3".parse().unwrap()));
    let held = vec![HeldRecord { coin: "BTC".to_owned(), size: "1".parse().unwrap() }];
    memory.apply(&Entry::Reconciled { held, venue_ms: 200, changes: String::new() });
    memory.apply(&fill(3, 150, true, "9"));
    assert_eq!(memory.expected().get("BTC"), Some(&"1".parse().unwrap()), "it was in the comparison already");
    memory.apply(&fill(4, 201, false, "1"));
    assert!(memory.expected().is_empty());
}

#[test]
fn memory_is_bounded() {
    let mut memory = Memory::default();
    for n in 0..10_000 {
        memory.apply(&intent(n));
        memory.apply(&outcome(n, Recorded::Resting { oid: 1 }));
    }
    assert!(memory.knows_key("key-9999") && !memory.knows_key("key-1"));
    assert_eq!(memory.unsettled().count(), 0);
    for n in 0..u32::try_from(UNSETTLED_MAX).unwrap() {
        memory.apply(&intent(20_000 + n));
    }
    assert!(memory.admits(&intent(30_000)).is_err() && memory.admits(&started()).is_ok());
}

#[test]
fn a_real_file_is_private_and_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("decisions.jsonl");
    let mut journal = Journal::open(&path, 1).unwrap();
    journal.append(1, &started()).unwrap();
    assert!(matches!(Journal::open(&path, 1), Err(JournalError::Busy { .. })));
    drop(journal);
    assert_eq!(Journal::open(&path, 1).unwrap().memory().entries(), 1);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}
