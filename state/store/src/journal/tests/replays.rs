//! What a journal adds up to, and the same on a real folder beside its writer.

use super::super::entry::Rejection;
use super::super::replay::{CoinFills, Intents, Outcomes};
use super::*;
use holdfast_core::money::Usd;
use holdfast_core::registry::RejectReason;
use std::collections::BTreeMap;

fn rejected(bar: u64, reason: RejectReason) -> Entry {
    Entry::Rejected(Rejection {
        epoch: Epoch(3),
        coin: "BTC".to_owned(),
        bar,
        px: "60000".parse().unwrap(),
        reason,
        detail: "signal to buy".to_owned(),
    })
}

fn told() -> Vec<Entry> {
    let filled = || Recorded::Filled { oid: 7, size: "0.01".parse().unwrap() };
    vec![
        started(),
        Entry::Reconciled { held: vec![], venue_ms: 50, changes: String::new() },
        rejected(1, RejectReason::ChurnBreakerActive),
        rejected(2, RejectReason::ChurnBreakerActive),
        rejected(3, RejectReason::InventorySkew),
        intent(1),
        outcome(1, filled()),
        fill(1, 100, true, "0.01"),
        fill(1, 100, true, "0.01"),
        intent(2),
        outcome(2, Recorded::Refused { text: "no margin".to_owned() }),
        intent(3),
        outcome(3, Recorded::Unknown { why: "timeout".to_owned() }),
        Entry::Settled { cloid: format!("0x{:032x}", 3), how: "filled".to_owned() },
        fill(2, 120, false, "0.03"),
        intent(4),
    ]
}

fn check(read: &Replay, segments: u64) {
    assert_eq!((read.segments, read.entries, read.torn_at), (segments, 15 + segments, None));
    assert_eq!(read.intents, Intents { open: 4, close: 0 });
    assert_eq!(read.outcomes, Outcomes { filled: 1, resting: 0, refused: 1, not_sent: 0, unknown: 1 });
    assert_eq!(read.settled, 1);
    assert_eq!(read.unsettled.iter().map(|i| i.key.as_str()).collect::<Vec<_>>(), ["key-4"]);
    let reasons = [(RejectReason::ChurnBreakerActive, 2), (RejectReason::InventorySkew, 1)];
    assert_eq!(read.rejected, BTreeMap::from(reasons));
    assert_eq!(read.refused, BTreeMap::from([("no margin".to_owned(), 1)]));
    let (bought, sold) = ("0.01".parse().unwrap(), "0.03".parse().unwrap());
    let fills = CoinFills { count: 2, bought, sold, closed_pnl_usd: Usd::ZERO, fees_usd: Usd::ZERO };
    assert_eq!(read.fills, BTreeMap::from([("BTC".to_owned(), fills)]));
    assert_eq!(read.positions, BTreeMap::from([("BTC".to_owned(), "-0.02".parse().unwrap())]));
    assert_eq!(read.keys, ["key-1", "key-2", "key-3", "key-4"]);
}

#[test]
fn a_replay_adds_everything_up_over_however_many_segments() {
    for segment_bytes in [SEGMENT_BYTES, 2000, 1] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(ACTIVE);
        let mut journal = Journal::open(&path, segment_bytes, 1).unwrap();
        for entry in told() {
            journal.append(1, &entry).unwrap();
            journal.rotate(1).unwrap();
        }
        // Beside its writer.
        let read = replay(&path).unwrap();
        check(&read, journal.closed + 1);
        assert_eq!(read.head, journal.head());
        let audit = verify(&path).unwrap();
        assert_eq!((audit.entries, audit.unsettled, audit.head), (read.entries, 1, read.head));
        drop(journal);
        assert_eq!(Journal::open(&path, segment_bytes, 1).unwrap().memory().entries(), read.entries);
    }
}

#[test]
fn an_unfinished_last_line_is_told_and_an_altered_one_is_an_error_with_its_byte() {
    let disk = three_lines();
    let whole = disk.bytes(ACTIVE);
    let second = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
    let read = super::super::replay::over(&of(&whole[..second + 9]), "decisions").unwrap();
    assert_eq!((read.entries, read.torn_at), (1, Some(second as u64)));
    let mut bytes = whole;
    bytes[second + 9] ^= 1;
    let error = super::super::replay::over(&of(&bytes), "decisions").unwrap_err();
    assert!(matches!(&error, JournalError::Broken { at, .. } if *at == second as u64), "{error}");
}

#[test]
fn where_nothing_was_written_there_is_nothing_to_replay() {
    let dir = tempfile::tempdir().unwrap();
    let missing = replay(&dir.path().join(ACTIVE)).unwrap_err();
    assert!(matches!(missing, JournalError::Io { .. }), "{missing}");
    assert!(replay(&dir.path().join("decisions.txt")).is_err());
}
