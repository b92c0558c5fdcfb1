//! The runtime bus: what an append, an audit and an opening cost, beside what the same bytes cost without a bus.

use super::Effort;
use super::figure::{Row, Samples};
use holdfast_ipc::clock;
use holdfast_store::bus::{
    ACTIVE, BATCH_EVENTS_MAX, Bus, Clock, Durability, NewEvent, Options, Questions, Ticket, key_place, verify,
};
use holdfast_store::disk::RealFolder;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

/// Events of the long log.
const MANY: u64 = 1_000_000;
/// Commits of one kind before the other kind has its turn.
const BLOCK: usize = 50;
const LONG: Duration = Duration::from_secs(60);

/// All figures of the bus.
pub(super) fn measure(effort: Effort) -> Vec<Row> {
    let home = tempfile::tempdir().expect("a folder");
    let mut rows = vec![appends(home.path(), 1, 1.1, effort), appends(home.path(), 64, 1.43, effort)];
    let long = home.path().join("long");
    let began = clock::now().0;
    let bus = grow(&long, MANY);
    let grown = (clock::now().0 - began) as f64 / 1e9;
    rows.push(at_length(home.path(), &bus, effort).note(format!("the long log took {grown:.1} s to write")));
    bus.snapshot(1.0, None, json!({"cycle": 1})).expect("taken").wait(LONG).expect("on the disk");
    bus.close();
    rows.push(opening(&long, effort));
    rows.extend(audits(&long, effort));
    rows.push(audit_memory(&long));
    rows
}

fn event(n: u64) -> NewEvent {
    let payload = json!({
        "cycle_id": n, "mode": "paper", "note": "a payload as long as most of them are, and no longer",
        "price": "60123.45", "quantity": "0.0125", "symbol": "BTC", "side": "buy",
    });
    let event = NewEvent::new("decision.record", 1_777_646_400.0 + n as f64, &payload).expect("an event");
    event.traced("runtime-cycle-1").expect("a trace id")
}

fn events(from: u64, count: usize) -> Vec<NewEvent> {
    (from..).take(count).map(event).collect()
}

fn key(folder: &Path) -> PathBuf {
    folder.with_extension("keys").join("bus.key")
}

fn open(folder: &Path) -> Bus {
    let clock: Clock = Arc::new(|| clock::now().0 / 1_000_000);
    Bus::open(folder, &key(folder), Options::new([1; 32]), clock, 1.0).expect("a bus").0
}

/// A bus with so many events, still open.
fn grow(folder: &Path, count: u64) -> Bus {
    let bus = open(folder);
    let mut last: Option<Ticket> = None;
    for from in (0..count).step_by(BATCH_EVENTS_MAX) {
        let ticket = bus.append(events(from, BATCH_EVENTS_MAX / 2), Durability::Wait).expect("room");
        let second = bus.append(events(from, BATCH_EVENTS_MAX / 2), Durability::Wait).expect("room");
        drop(ticket);
        if let Some(before) = last.replace(second) {
            before.wait(LONG).expect("on the disk");
        }
    }
    last.expect("at least one").wait(LONG).expect("on the disk");
    bus
}

/// Microseconds until so many events, handed over together, are on the disk.
fn append(bus: &Bus, count: usize) -> f64 {
    let events = events(0, count);
    let began = clock::now().0;
    bus.append(events, Durability::Wait).expect("room").wait(LONG).expect("on the disk");
    (clock::now().0 - began) as f64 / 1e3
}

/// Microseconds until so many bytes at the end of a growing file are on the disk.
fn raw(file: &mut File, bytes: &[u8]) -> f64 {
    let began = clock::now().0;
    file.write_all(bytes).and_then(|()| file.sync_data()).expect("a disk");
    (clock::now().0 - began) as f64 / 1e3
}

/// Appends of so many events in one commit, in turn with the same bytes to a file.
fn appends(home: &Path, count: usize, times: f64, effort: Effort) -> Row {
    let folder = home.join(format!("append-{count}"));
    let bus = open(&folder);
    append(&bus, count);
    let line = std::fs::read(folder.join(ACTIVE)).expect("a log").split(|b| *b == b'\n').next().map_or(0, <[u8]>::len);
    let block = vec![b'x'; (line + 1) * count];
    let path = home.join("raw");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("a file");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds * 2 {
        theirs.extend((0..BLOCK).map(|_| raw(&mut file, &block)));
        ours.extend((0..BLOCK).map(|_| append(&bus, count)));
    }
    bus.close();
    std::fs::remove_file(path).expect("ours");
    Row::shown(format!("bus: append and wait, {count} per commit"), "us", Samples::of(ours))
        .within(Samples::of(theirs), times)
        .note(format!("limit: one write and fdatasync of the same {} bytes to a growing file", block.len()))
}

/// Appends to a long log in turn with appends to a short one.
fn at_length(home: &Path, long: &Bus, effort: Effort) -> Row {
    let short = grow(&home.join("short"), 1024);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds * 2 {
        theirs.extend((0..BLOCK).map(|_| append(&short, 1)));
        ours.extend((0..BLOCK).map(|_| append(long, 1)));
    }
    short.close();
    Row::shown("bus: append at 1 M events", "us", Samples::of(ours)).within(Samples::of(theirs), 1.1)
}

/// Openings of the long log with a snapshot, its tail in the page cache.
fn opening(folder: &Path, effort: Effort) -> Row {
    open(folder).close();
    let opened = (0..effort.rounds).map(|_| {
        let began = clock::now().0;
        let bus = open(folder);
        let taken = clock::now().0 - began;
        bus.close();
        taken
    });
    Row::shown("bus: open 1 M events with a snapshot, warm", "ms", Samples::of_ns(opened.collect::<Vec<_>>()))
        .at_most(0.5, 10.0)
        .note("with recovery's own write: the head of a new epoch, synced")
}

/// Audits of the long log in turn with hashing the same files, both out of the page cache.
fn audits(folder: &Path, effort: Effort) -> Vec<Row> {
    let disk = RealFolder::existing(folder).expect("a folder");
    let keys = key_place(&key(folder)).expect("a key");
    let (mut quick, mut deep, mut hashed, mut events) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..effort.rounds.clamp(1, 5) {
        let began = clock::now().0;
        hash(folder);
        hashed.push(clock::now().0 - began);
        for (deeply, taken) in [(false, &mut quick), (true, &mut deep)] {
            let began = clock::now().0;
            let report =
                verify(&disk, Some(&keys), &Questions { deep: deeply, ..Questions::default() }).expect("a report");
            taken.push(clock::now().0 - began);
            assert!(report.ok && report.events >= MANY, "{report:?}");
            events = report.events;
        }
    }
    let per_event = Samples::of(quick.iter().map(|ns| *ns as f64 / events as f64));
    vec![
        Row::shown("bus: verify, per event", "ns", per_event)
            .at_most(0.5, 1000.0)
            .note("1000 ns are a million a second"),
        Row::shown("bus: verify 1 M events", "ms", Samples::of_ns(quick))
            .within(Samples::of_ns(hashed.clone()), 2.0)
            .note("limit: reading and hashing the same files, one thread"),
        Row::shown("bus: verify --deep 1 M events", "ms", Samples::of_ns(deep)).within(Samples::of_ns(hashed), 4.0),
    ]
}

/// Reads and hashes every segment.
fn hash(folder: &Path) {
    let mut buffer = vec![0; 128 * 1024];
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().extension().is_none_or(|ext| ext != "jsonl") {
            continue;
        }
        let (mut file, mut hash) = (File::open(entry.path()).expect("a file"), Sha256::new());
        loop {
            let got = file.read(&mut buffer).expect("bytes");
            if got == 0 {
                break;
            }
            hash.update(&buffer[..got]);
        }
        assert_ne!(hash.finalize().as_slice(), [0; 32]);
    }
}

/// The most memory an audit of the long log ever holds, in a process of its own.
fn audit_memory(folder: &Path) -> Row {
    let own = std::env::current_exe().expect("this program");
    let output = Command::new(own).arg("--audit").arg(folder).output().expect("this program runs");
    let kib: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
    Row::shown("bus: verify 1 M events, peak resident", "MiB", Samples::of([kib / 1024.0])).at_most(1.0, 16.0)
}

/// Audits a folder and prints the most memory this process ever held, in KiB.
pub(super) fn audit(folder: &str) -> ExitCode {
    let folder = Path::new(folder);
    let disk = RealFolder::existing(folder).expect("a folder");
    let keys = key_place(&key(folder)).expect("a key");
    let report = verify(&disk, Some(&keys), &Questions::default()).expect("a report");
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    println!("{}", peak.trim_end_matches("kB").trim());
    if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
