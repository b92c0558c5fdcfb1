//! The thread with a real folder: segments are closed behind its back, and nobody who asks can tell.

use super::*;
use holdfast_core::ids::Epoch;
use holdfast_core::money::Szi;
use holdfast_store::journal::{Intent, IntentKind, Recorded, replay};

fn intent(n: u32) -> Entry {
    Entry::Intent(Intent {
        key: format!("{n:064x}"),
        cloid: format!("0x{n:032x}"),
        coin: "BTC".to_owned(),
        is_buy: true,
        size: "0.01".parse().unwrap(),
        px: "60000".parse().unwrap(),
        kind: IntentKind::Open,
        expires_after_ms: 1,
        epoch: Epoch(1),
        position_before: Szi::FLAT,
    })
}

#[tokio::test]
async fn segments_are_closed_while_entries_come_in_and_what_is_remembered_stays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("decisions.jsonl");
    let open = || Scribe::open(path.clone(), 16 * 1024, dir.path().join("engine.cell"));
    let Opened { scribe, journal_error, .. } = open().await;
    assert_eq!(journal_error, None);
    for n in 1..=120 {
        scribe.append(intent(n)).await.unwrap();
        if n % 10 != 0 {
            let outcome = Recorded::Resting { oid: u64::from(n) };
            scribe.append(Entry::Outcome { cloid: format!("0x{n:032x}"), outcome }).await.unwrap();
        }
        let again = scribe.append(intent(n)).await;
        assert!(matches!(again, Err(ScribeError::Failed(_))), "a key is written once, in whatever segment: {again:?}");
    }
    scribe.flush().await;
    let read = replay(&path).unwrap();
    let health = scribe.health();
    assert!(read.segments > 3 && health.healthy, "{} segments", read.segments);
    assert_eq!((health.entries, health.head, health.unsettled), (read.entries, read.head, 12));
    assert_eq!((read.keys.len(), read.unsettled.len()), (120, 12));
    // The thread ends with the last handle, and gives the folder up.
    let remembered = scribe.memory().clone();
    drop(scribe);
    let end = clock::now().after(Span::from_ms(20_000));
    let next = loop {
        let Opened { scribe, journal_error, .. } = open().await;
        if journal_error.is_none() {
            break scribe;
        }
        assert!(clock::now() < end, "{journal_error:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(*next.memory(), remembered);
}
