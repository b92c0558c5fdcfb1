//! The ledger against the world: its process killed at any instant, a disk that is full, a disk that cannot be written.
//!
//! One test at a time: a process that is being started holds every open lock for a moment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "a failed expectation is how a test speaks"
)]

use holdfast_store::ledger::{Event, Ledger, LedgerError, PositionOpened, Reader, Record};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const CHILD: &str = "HOLDFAST_LEDGER_CHILD";
const SOON: Duration = Duration::from_secs(20);

fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn event(n: u64) -> Record {
    Record::Event(Event { at_ms: n, event_type: "n".into(), payload_json: format!("{{\"n\":{n}}}") })
}

fn position(n: u64) -> Record {
    Record::PositionOpened(PositionOpened {
        opened_ms: n,
        venue: "v".into(),
        description: "d".repeat(300),
        expected_maturity_ms: None,
        payload_json: "{}".into(),
    })
}

/// The body of the process that is killed: writes for ever, says each number once it is on the disk.
#[test]
#[ignore = "started by the test below, in a process of its own"]
fn writer() {
    let Some(path) = std::env::var_os(CHILD).map(PathBuf::from) else { panic!("{CHILD} names no file") };
    let ledger = Ledger::open(&path).unwrap();
    let first = Reader::open(&path).unwrap().events_tail().unwrap().count + 1;
    for n in first.. {
        // Two records each: one without the other would show a torn transaction.
        ledger.wait(n, vec![event(n), position(n)], SOON).unwrap();
        println!("\nwritten {n}");
    }
}

/// A number nobody chose.
fn chance() -> u64 {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

#[test]
fn killed_at_any_instant_it_keeps_every_acknowledged_row_and_no_half_of_one() {
    let _turn = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("holdfast.sqlite");
    let mut acknowledged = 0_u64;
    let mut rounds_with_work = 0;
    for round in 0..25 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer", "--ignored", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        // Some rounds end in the opening, others after a random number of writes and a random pause.
        let (writes, spins) = (chance() % 60, chance() % 200_000);
        let number = |line: String| line.strip_prefix("written ").and_then(|n| n.parse::<u64>().ok());
        if round % 5 != 0 {
            let mut left = writes;
            while left > 0 {
                match said.next() {
                    Some(line) => {
                        if let Some(n) = number(line.unwrap()) {
                            acknowledged = n;
                            left -= 1;
                        }
                    }
                    None => panic!("the writer ended by itself: {:?}", child.wait()),
                }
            }
        }
        for _ in 0..spins {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it died counts as well.
        for n in said.map_while(Result::ok).filter_map(number) {
            acknowledged = n;
        }
        if !path.exists() {
            continue;
        }
        let ledger = Ledger::open(&path).unwrap_or_else(|e| panic!("round {round}: {e}"));
        let reader = Reader::open(&path).unwrap();
        let (events, counts) = (reader.events_tail().unwrap(), reader.counts().unwrap());
        assert!(events.count >= acknowledged, "round {round}: {acknowledged} were acknowledged, {events:?} are there");
        assert!(events.count <= acknowledged + 1, "round {round}: one at most was under way");
        assert_eq!(counts["manual_positions"].rows, events.count, "round {round}: half a transaction");
        rounds_with_work += u32::from(acknowledged > 0);
        drop(ledger);
    }
    assert!(rounds_with_work > 10 && acknowledged > 100, "{rounds_with_work} {acknowledged}");
    let copy = dir.path().join("copy.sqlite");
    Reader::open(&path).unwrap().copy_into(&copy).unwrap();
    Reader::open_copy(&copy).unwrap();
}

/// A small disk of its own, unmounted at the end.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let ran = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        if ran.is_ok_and(|ran| ran.status.success()) {
            return Some(Self(dir));
        }
        println!("SKIPPED: no tmpfs can be mounted here, so no disk that is really full or really read-only");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_loses_nothing_and_is_forgiven_once_there_is_room() {
    let _turn = alone();
    let Some(disk) = Disk::new("1m") else { return };
    let path = disk.path().join("holdfast.sqlite");
    let ledger = Ledger::open(&path).unwrap();
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![b'x'; 300 * 1024]).unwrap();
    let mut written = 0;
    let refused = (1..5000).find_map(|n| match ledger.wait(n, vec![event(n), position(n)], SOON) {
        Ok(_) => {
            written = n;
            None
        }
        Err(error) => Some((n, error)),
    });
    let (at, error) = refused.expect("the disk fills up");
    assert!(written > 10, "{written}");
    let health = ledger.health();
    assert!(!health.ok() && health.failing_since_ms == Some(at), "{health:?} {error}");
    assert!(error.to_string().contains("holdfast.sqlite"), "{error}");
    assert_eq!(Reader::open(&path).unwrap().events_tail().unwrap().count, written, "while it is full");
    std::fs::remove_file(ballast).unwrap();
    // A disk that only said that it is full is written again; one that failed otherwise wants the ledger opened anew.
    let again = if health.latched {
        drop(ledger);
        Ledger::open(&path).unwrap()
    } else {
        ledger
    };
    again.wait(9999, vec![event(9999), position(9999)], SOON).unwrap();
    assert!(again.health().ok());
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.events_tail().unwrap().count, written + 1);
    assert_eq!(reader.counts().unwrap()["manual_positions"].rows, written + 1);
}

#[test]
fn a_disk_that_cannot_be_written_is_told_at_opening_and_can_still_be_read() {
    let _turn = alone();
    let Some(disk) = Disk::new("4m") else { return };
    let path = disk.path().join("holdfast.sqlite");
    let copy = disk.path().join("copy.sqlite");
    let ledger = Ledger::open(&path).unwrap();
    ledger.wait(1, vec![event(1)], SOON).unwrap();
    Reader::open(&path).unwrap().copy_into(&copy).unwrap();
    drop(ledger);
    let ran = Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status();
    assert!(ran.is_ok_and(|ran| ran.success()), "the disk of this test can be made read-only");
    let refused = Ledger::open(&path).map(|_| ());
    assert!(matches!(&refused, Err(LedgerError::Io { .. } | LedgerError::Failed { .. })), "{refused:?}");
    assert_eq!(Reader::open_copy(&copy).unwrap().events_tail().unwrap().count, 1);
}
