//! The journal on a disk that is really full: a tiny tmpfs, where one may be mounted.
//!
//! In a binary of its own: a test that starts processes lends them every open lock for a moment.

use holdfast_store::journal::{Entry, Journal, JournalError, Recorded, SEGMENT_BYTES};

fn entry(n: u32) -> Entry {
    Entry::Outcome { cloid: format!("0x{n:032x}"), outcome: Recorded::Refused { text: "x".repeat(200) } }
}

#[test]
fn a_really_full_disk_latches_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16k", "tmpfs"])
        .arg(dir.path())
        .stderr(std::process::Stdio::null())
        .status();
    if !mounted.is_ok_and(|s| s.success()) {
        println!("SKIPPED: no tmpfs can be mounted here, so no really full disk");
        return;
    }
    let path = dir.path().join("decisions.jsonl");
    let mut journal = Journal::open(&path, SEGMENT_BYTES, 1).unwrap();
    let mut written = 0;
    let full = (0..200).find(|n| match journal.append(1, &entry(*n)) {
        Ok(_) => {
            written += 1;
            false
        }
        Err(JournalError::Io { .. }) => true,
        Err(e) => panic!("{e}"),
    });
    let latched = journal.append(1, &entry(999)).is_err();
    drop(journal);
    let again = Journal::open(&path, SEGMENT_BYTES, 1).map(|j| j.memory().entries());
    let _ = std::process::Command::new("umount").arg(dir.path()).status();
    assert!(full.is_some() && latched && written > 5);
    assert_eq!(again.unwrap(), written);
}
