//! A disk that is full, broken, read-only or lying, at each call that the log makes.

use super::*;
use crate::bus::log::State;
use crate::sim::{Fault, Sim, World};
use std::time::Duration;

/// Appends notes until one fails; gives how many were acknowledged, and the failure.
fn until_failure(log: &mut Log<Sim>, most: u64) -> (u64, Option<BusError>) {
    for n in 1..=most {
        if let Err(e) = log.append(&[note(n)]) {
            return (n - 1, Some(e));
        }
    }
    (most, None)
}

#[test]
fn a_fault_at_any_call_loses_nothing_and_is_never_overlooked() {
    // Enough events for rotations and anchors; each call of each kind fails once, in a life of its own.
    let calm = Sim::of(World::default());
    let (mut log, _) = open(&calm).unwrap();
    let first = calm.world().calls + 1;
    until_failure(&mut log, 40);
    log.snapshot(AS_OF, None, &json!({})).unwrap();
    let last = calm.world().calls;
    for call in first..=last {
        for fault in [Fault::NoSpace, Fault::Io, Fault::Short, Fault::Lie] {
            let what = format!("{fault:?} at call {call}");
            let disk = Sim::of(World::default());
            let (mut log, _) = open(&disk).unwrap();
            disk.world().faults.insert(call, fault);
            let (acknowledged, failure) = until_failure(&mut log, 40);
            if failure.is_some() {
                let again = log.append(&[note(acknowledged + 1)]);
                let closed = matches!(&again, Err(BusError::Latched { .. } | BusError::Full));
                assert!(closed, "{what}: no retry-and-continue, but {again:?}");
                assert_ne!(log.state, State::Good, "{what}");
            }
            let _ = log.snapshot(AS_OF, None, &json!({}));
            drop(log);
            // The disk is mended: what is really on it decides.
            disk.world().faults.clear();
            let (_, _) = open(&disk).unwrap_or_else(|e| panic!("{what}: {e}"));
            let (numbers, report) = content(&disk);
            assert!(report.ok, "{what}: {report:?}");
            assert!(numbers.len() as u64 >= acknowledged, "{what}: {acknowledged} acknowledged, {numbers:?}");
            assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{what}");
        }
    }
}

#[test]
fn a_sync_that_failed_is_final_although_the_cache_still_shows_the_event() {
    let disk = Sim::of(World::default());
    let (mut log, _) = open_with(&disk, plain()).unwrap();
    log.append(&[note(1)]).unwrap();
    let calls = disk.world().calls;
    // Write, then sync.
    disk.world().faults.insert(calls + 2, Fault::Lie);
    assert!(matches!(log.append(&[note(2)]), Err(BusError::Io { what: "sync it", .. })));
    assert!(matches!(log.append(&[note(3)]), Err(BusError::Latched { .. })));
    drop(log);
    open_with(&disk, plain()).unwrap();
    assert_eq!(numbers(&disk), [1], "a restart reads from the device, not from the cache that lies");
}

#[test]
fn a_restart_does_not_believe_lost_lines_that_the_cache_still_shows() {
    let disk = Sim::of(World::default());
    let (mut log, _) = open_with(&disk, plain()).unwrap();
    log.append(&[note(1)]).unwrap();
    let good = disk.bytes(ACTIVE);
    let calls = disk.world().calls;
    // The sync lies, and the cut after it fails too: the whole line stays visible.
    disk.world().faults.extend([(calls + 2, Fault::Lie), (calls + 3, Fault::Io)]);
    assert!(log.append(&[note(2)]).is_err());
    assert!(disk.bytes(ACTIVE).len() > good.len());
    drop(log);
    open_with(&disk, plain()).unwrap();
    assert_eq!(numbers(&disk), [1]);
}

#[test]
fn a_full_disk_still_takes_what_restricts_out_of_the_reserve() {
    for pad_bytes in [1, 2048] {
        let options = Options { pad_bytes, ..plain() };
        let disk = Sim::of(World::default());
        let (mut log, _) = open_with(&disk, options.clone()).unwrap();
        assert_eq!(disk.bytes("reserve").len(), 4096);
        let used: usize = disk.names().iter().map(|name| disk.bytes(name).len()).sum();
        disk.world().room = Some(used + 3000);
        let (acknowledged, failure) = until_failure(&mut log, 100);
        assert!(acknowledged >= 3 && matches!(failure, Some(BusError::Full)), "{acknowledged} {failure:?}");
        assert_eq!(log.state, State::Full);
        assert!(matches!(log.append(&[note(1)]), Err(BusError::Full)), "room is kept for what restricts");
        let mut orders = 0;
        while log.append(&[order(orders)]).is_ok() {
            orders += 1;
        }
        assert!(orders >= 5, "{orders} orders fit into what the reserve gave");
        assert!(matches!(log.state, State::Latched(_)));
        drop(log);
        disk.world().room = None;
        let (_, opened) = open_with(&disk, options).unwrap();
        assert!(opened.events >= acknowledged + orders && check(&disk).ok);
        assert_eq!(disk.bytes("reserve").len(), 4096, "the reserve is laid by again");
    }
}

#[test]
fn a_segment_without_room_to_begin_is_begun_once_there_is_room_and_nothing_is_lost_or_told_twice() {
    let disk = Sim::of(World::default());
    let (bus, _) = Bus::over(disk.clone(), keys(&disk), small(), Arc::new(|| 0), AS_OF).unwrap();
    let soon = Duration::from_secs(20);
    let append = |event: NewEvent| bus.append(vec![event], Durability::Wait).and_then(|ticket| ticket.wait(soon));
    disk.world().no_names = true;
    let mut n = 1;
    while append(note(n)).is_ok() {
        n += 1;
        assert!(n < 1000, "a segment ends some day");
    }
    for _ in 0..3 {
        assert!(matches!(append(note(n)), Err(BusError::Full)), "routine events wait for room");
        append(order(n)).expect("what restricts is still written");
        n += 1;
        let health = bus.health();
        assert!(!health.durable && health.why.as_deref() == Some("the disk is full"), "{health:?}");
        // Room for bytes is no room for a file: the mode must not flicker.
        assert!(matches!(bus.reopen(AS_OF, soon), Err(BusError::Full)));
        assert!(!bus.health().durable);
    }
    assert!(!disk.names().contains(&"events.000001.jsonl".to_owned()));
    disk.world().no_names = false;
    bus.reopen(AS_OF, soon).expect("room again");
    assert!(bus.health().durable);
    for n in n..n + 3 {
        append(note(n)).expect("written");
    }
    bus.close();
    let (numbers, report) = content(&disk);
    assert!(report.ok && report.head == HeadVerdict::OkSigned, "{report:?}");
    assert_eq!(numbers, (1..n + 3).collect::<Vec<_>>());
    assert!(disk.names().contains(&"events.000001.jsonl".to_owned()) && check(&disk).ok);
}

#[test]
fn however_often_a_full_disk_refuses_to_be_mended_the_key_still_fits_its_head() {
    let disk = log_of(3, plain(), false);
    disk.put(ACTIVE, &[&disk.bytes(ACTIVE)[..], b"{\"as_of\":17"].concat());
    disk.world().no_names = true;
    for _ in 0..100 {
        assert!(matches!(open_with(&disk, plain()), Err(BusError::Io { .. })), "no room for what is to be set aside");
    }
    disk.world().no_names = false;
    open_with(&disk, plain()).expect("mended");
    assert_eq!(numbers(&disk), [1, 2, 3]);
    assert!(check(&disk).ok);
}

#[test]
fn a_read_only_disk_does_not_open_and_an_open_log_latches() {
    let disk = log_of(3, plain(), true);
    disk.world().read_only = true;
    assert!(matches!(open_with(&disk, plain()), Err(BusError::Io { .. })));
    assert!(check(&disk).ok, "it can still be audited");
    disk.world().read_only = false;
    let (mut log, _) = open_with(&disk, plain()).unwrap();
    disk.world().read_only = true;
    assert!(log.append(&[note(4)]).is_err() && matches!(log.state, State::Latched(_)));
}

#[test]
fn a_second_writer_is_refused() {
    let disk = log_of(1, plain(), true);
    disk.world().locked_by_another = true;
    assert!(matches!(open_with(&disk, plain()), Err(BusError::Busy { .. })));
    assert!(matches!(repair(disk.clone(), keys(&disk), plain(), AS_OF, true), Err(BusError::Busy { .. })));
}
