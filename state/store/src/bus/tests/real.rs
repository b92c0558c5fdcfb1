//! The bus on a real disk, through its writer's thread.

use super::*;
use crate::disk::RealFolder;
use crate::sim::Fault;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

fn clock() -> (Clock, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(0));
    let read = Arc::clone(&now);
    (Arc::new(move || read.load(Ordering::Relaxed)), now)
}

fn real(home: &Path) -> Result<(Bus, Opened), BusError> {
    Bus::open(&home.join("bus"), &home.join("keys/bus.key"), small(), clock().0, AS_OF)
}

fn audit(home: &Path) -> Report {
    let folder = RealFolder::existing(&home.join("bus")).unwrap();
    verify(&folder, Some(&key_place(&home.join("keys/bus.key")).unwrap()), &Questions::default()).unwrap()
}

#[test]
fn a_bus_lives_over_its_writers_and_its_files_are_private() {
    let home = tempfile::tempdir().unwrap();
    let mut events = 0;
    for epoch in 1..=3 {
        let (bus, opened) = real(home.path()).unwrap();
        assert_eq!((opened.epoch, opened.events, opened.repairs.len()), (epoch, events, 0));
        let tickets: Vec<Ticket> = (1..=40).map(|n| bus.append(vec![note(n)], Durability::Wait).unwrap()).collect();
        let last = tickets.into_iter().map(|ticket| ticket.wait(LONG).unwrap().last).max().unwrap();
        bus.append(vec![note(41)], Durability::Note).unwrap();
        let snapshot = bus.snapshot(AS_OF, None, json!({"epoch": epoch})).unwrap().wait(LONG).unwrap();
        let health = bus.health();
        assert!(snapshot.last > last && health.durable && health.events == snapshot.last, "{health:?}");
        let anchor = Anchor::parse(&bus.anchor().unwrap().to_string()).unwrap();
        assert_eq!((anchor.count, Some(anchor.sum)), (health.events, health.head));
        bus.close();
        let report = audit(home.path());
        assert!(report.ok && report.head == HeadVerdict::OkSigned && report.snapshot.consistent, "{report:?}");
        events = report.events;
    }
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&home.path().join("bus")), mode(&home.path().join("keys"))), (0o700, 0o700));
    for folder in ["bus", "keys"] {
        for entry in std::fs::read_dir(home.path().join(folder)).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
    }
}

#[test]
fn two_writers_never_meet() {
    let home = tempfile::tempdir().unwrap();
    let (bus, _) = real(home.path()).unwrap();
    assert!(matches!(real(home.path()), Err(BusError::Busy { .. })));
    bus.append(vec![note(1)], Durability::Wait).unwrap().wait(LONG).unwrap();
    bus.close();
    assert_eq!(real(home.path()).unwrap().1.events, 1);
}

#[test]
fn a_link_in_the_place_of_a_file_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    real(home.path()).unwrap().0.close();
    let (log, elsewhere) = (home.path().join("bus/events.jsonl"), home.path().join("elsewhere"));
    std::fs::rename(&log, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &log).unwrap();
    assert!(matches!(real(home.path()), Err(BusError::Io { .. })));
}

/// A bus on the failing disk, its writer held at the first event until somebody lets it go.
fn held(disk: &Sim) -> (Bus, Arc<AtomicU64>, std::sync::mpsc::Sender<()>, Receiver<u64>) {
    let (clock, now) = clock();
    let (bus, _) = Bus::over(disk.clone(), keys(disk), plain(), clock, AS_OF).unwrap();
    let ((go, gate), (told, heard)) = (channel::<()>(), channel());
    let gate = Mutex::new(gate);
    bus.append_then(vec![note(1)], move |_| {
        let _ = told.send(1);
        let _ = gate.lock().unwrap().recv();
    })
    .unwrap();
    assert_eq!(heard.recv_timeout(LONG).unwrap(), 1);
    (bus, now, go, heard)
}

#[test]
fn a_writer_that_is_stuck_is_seen_and_makes_nobody_wait() {
    let disk = Sim::of(World::default());
    let (bus, now, go, _heard) = held(&disk);
    let mut taken = 0;
    let refused = loop {
        match bus.append(vec![note(2 + taken)], Durability::Note) {
            Ok(_) => taken += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(refused, BusError::QueueFull { .. }) && taken as usize == QUEUE_EVENTS_MAX, "{refused} {taken}");
    // Events that restrict have room of their own, and go first.
    let kill = bus.append(vec![order(1)], Durability::Wait).unwrap();
    now.store(4321, Ordering::Relaxed);
    let health = bus.health();
    assert_eq!((health.queue_age_ms, health.events), (4321, 1));
    assert!(health.queue_len > QUEUE_EVENTS_MAX, "{health:?}");
    assert!(matches!(bus.append(vec![note(1)], Durability::Wait), Err(BusError::QueueFull { .. })));
    go.send(()).unwrap();
    assert!(kill.wait(LONG).unwrap().last < 300, "in the first commit");
    bus.close();
    let report = check(&disk);
    assert_eq!((report.ok, report.events), (true, taken + 2));
}

#[test]
fn many_appends_share_a_commit() {
    let disk = Sim::of(World::default());
    let (bus, _, go, _heard) = held(&disk);
    let before = disk.world().calls;
    for n in 2..200 {
        bus.append(vec![note(n)], Durability::Note).unwrap();
    }
    let last = bus.append(vec![note(200)], Durability::Wait).unwrap();
    go.send(()).unwrap();
    last.wait(LONG).unwrap();
    let calls = disk.world().calls - before;
    assert!(calls <= 8, "{calls} calls for 199 appends");
}

#[test]
fn a_failed_sync_latches_keeps_what_restricts_and_reopening_writes_it() {
    let disk = Sim::of(World::default());
    let (bus, _) = Bus::over(disk.clone(), keys(&disk), plain(), clock().0, AS_OF).unwrap();
    bus.append(vec![note(1)], Durability::Wait).unwrap().wait(LONG).unwrap();
    let calls = disk.world().calls;
    disk.world().faults.insert(calls + 2, Fault::Lie);
    let failed = bus.append(vec![note(2)], Durability::Wait).unwrap().wait(LONG);
    assert!(matches!(failed, Err(BusError::Io { .. })), "{failed:?}");
    let health = bus.health();
    assert!(!health.durable && health.why.as_ref().is_some_and(|why| why.contains("sync")), "{health:?}");
    let kill = bus.append(vec![order(7)], Durability::Wait).unwrap().wait(LONG);
    assert!(matches!(kill, Err(BusError::Latched { .. })), "{kill:?}");
    assert_eq!((bus.health().unwritten, bus.health().events), (1, 1));
    // Still broken: reopening fails and changes nothing.
    disk.world().read_only = true;
    assert!(bus.reopen(AS_OF, LONG).is_err() && !bus.health().durable && bus.health().unwritten == 1);
    disk.world().read_only = false;
    let opened = bus.reopen(AS_OF, LONG).unwrap();
    assert_eq!(opened.epoch, bus.health().epoch);
    assert!(bus.health().durable && bus.health().unwritten == 0, "{:?}", bus.health());
    bus.append(vec![note(2)], Durability::Wait).unwrap().wait(LONG).unwrap();
    bus.close();
    assert!(check(&disk).ok);
    assert_eq!(numbers(&disk), [1, 7, 2]);
}

#[test]
fn too_much_at_once_and_after_the_end_is_refused() {
    let disk = Sim::of(World::default());
    let (bus, _) = Bus::over(disk.clone(), keys(&disk), plain(), clock().0, AS_OF).unwrap();
    let many: Vec<NewEvent> = (0..=BATCH_EVENTS_MAX as u64).map(note).collect();
    assert!(matches!(bus.append(many, Durability::Wait), Err(BusError::Event(_))));
    bus.close();
    assert_eq!(check(&disk).events, 0);
}
