//! The journal against torn tails, tampering, short writes and failing disks.

mod replays;
mod segments;

use super::*;
use crate::sim::{Dice, Fault, Sim};
use holdfast_core::ids::{Epoch, Generation};
use holdfast_core::money::Szi;

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

const ACTIVE: &str = "decisions.jsonl";

fn open_with(disk: &Sim, segment_bytes: u64) -> Result<Journal<Sim>, JournalError> {
    Journal::over(disk.clone(), "decisions", segment_bytes, 1)
}

/// One segment, however long.
fn open(disk: &Sim) -> Result<Journal<Sim>, JournalError> {
    open_with(disk, u64::MAX)
}

fn of(bytes: &[u8]) -> Sim {
    let disk = Sim::default();
    disk.put(ACTIVE, bytes);
    disk
}

fn three_lines() -> Sim {
    let disk = Sim::default();
    let mut journal = open(&disk).unwrap();
    journal.append(1, &started()).unwrap();
    journal.append(2, &intent(1)).unwrap();
    journal.append(3, &intent(2)).unwrap();
    disk
}

#[test]
fn what_was_appended_is_remembered_after_reopening_and_every_append_is_synced() {
    let disk = three_lines();
    for cut in 1..20 {
        let after = Sim::of(disk.world().cut(&mut Dice(cut)));
        assert_eq!(open(&after).unwrap().memory().entries(), 3, "nothing is left to the disk's good will");
    }
    let mut journal = open(&disk).unwrap();
    journal.append(4, &outcome(1, Recorded::Unknown { why: "timeout".to_owned() })).unwrap();
    journal.append(5, &outcome(2, Recorded::Refused { text: "no".to_owned() })).unwrap();
    let journal = open(&disk).unwrap();
    let left: Vec<_> = journal.memory().unsettled().map(|i| i.key.clone()).collect();
    assert_eq!(left, ["key-1"], "an unknown outcome settles nothing");
    let text = String::from_utf8(disk.bytes(ACTIVE)).unwrap();
    let head = format!("sha256:{}", text.trim_end().rsplit('"').nth(1).unwrap()).parse().ok();
    assert!(head.is_some(), "the checksum that ends the file");
    assert_eq!(journal.health(), JournalHealth { healthy: true, entries: 5, unsettled: 1, head });
    assert_eq!(open(&Sim::default()).unwrap().head(), None);
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
    let whole = three_lines().bytes(ACTIVE);
    let second_end = whole.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(1).unwrap().0 + 1;
    for cut in second_end + 1..whole.len() {
        let disk = of(&whole[..cut]);
        let journal = open(&disk).unwrap();
        assert_eq!(journal.memory().entries(), 3, "two whole lines and the repair");
        assert!(!journal.memory().knows_key("key-2") && journal.memory().knows_key("key-1"));
        assert!(String::from_utf8(disk.bytes(ACTIVE)).unwrap().contains("\"repaired\""), "cut at {cut}");
        assert!(open(&disk).is_ok());
    }
    // Power was lost: the last line's sectors are zeros, with or without its end.
    for zeros in [second_end..whole.len(), second_end..whole.len() - 20] {
        let mut bytes = whole.clone();
        bytes[zeros].fill(0);
        assert_eq!(open(&of(&bytes)).unwrap().memory().entries(), 3);
    }
}

#[test]
fn any_other_changed_byte_refuses_to_open_and_changes_nothing() {
    let whole = three_lines().bytes(ACTIVE);
    for at in 0..whole.len() - 1 {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let disk = of(&bytes);
        assert!(matches!(open(&disk), Err(JournalError::Broken { .. })), "byte {at}");
        assert_eq!(disk.bytes(ACTIVE), bytes, "byte {at}");
    }
}

#[test]
fn a_missing_doubled_or_swapped_line_refuses_to_open() {
    let whole = three_lines().bytes(ACTIVE);
    let lines: Vec<&[u8]> = whole.split_inclusive(|b| *b == b'\n').collect();
    for order in [vec![0, 2], vec![1, 2], vec![0, 1, 1, 2], vec![0, 2, 1]] {
        let bytes: Vec<u8> = order.iter().flat_map(|n| lines[*n].to_vec()).collect();
        let disk = of(&bytes);
        assert!(matches!(open(&disk), Err(JournalError::Broken { .. })), "{order:?}");
    }
    let disk = of(&[&whole[..], &[b'x'; LINE_BYTES_MAX + 1], b"\n"].concat());
    assert!(matches!(open(&disk), Err(JournalError::Broken { .. })), "a line without end");
}

#[test]
fn short_writes_are_completed_and_a_full_disk_latches_and_cuts_back() {
    let disk = three_lines();
    let mut journal = open(&disk).unwrap();
    disk.world().slice = Some(7);
    journal.append(4, &outcome(1, Recorded::Resting { oid: 9 })).unwrap();
    let good = disk.bytes(ACTIVE);
    disk.world().room = Some(good.len() + 30);
    assert!(matches!(journal.append(5, &intent(3)), Err(JournalError::Io { .. })));
    assert_eq!(disk.bytes(ACTIVE), good, "nothing of the failed line is left");
    disk.world().room = None;
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
    let sync = disk.world().calls + 2;
    disk.world().faults.insert(sync, Fault::Lie);
    assert!(journal.append(4, &intent(3)).is_err());
    let calls = disk.world().calls;
    assert!(matches!(journal.append(5, &intent(4)), Err(JournalError::Latched { .. })));
    assert_eq!(disk.world().calls, calls);
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
    let mut journal = Journal::open(&path, SEGMENT_BYTES, 1).unwrap();
    journal.append(1, &started()).unwrap();
    assert!(matches!(Journal::open(&path, SEGMENT_BYTES, 1), Err(JournalError::Busy { .. })));
    drop(journal);
    assert_eq!(Journal::open(&path, SEGMENT_BYTES, 1).unwrap().memory().entries(), 1);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}
