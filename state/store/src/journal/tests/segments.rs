//! Segments: the same memory with and without, crashes and faults at every step of closing one, and damage.

use super::super::entry::Carried;
use super::super::memory::Memory;
use super::super::{line, replay};
use super::*;
use crate::sim::World;
use std::collections::BTreeSet;

/// A few lines each.
const SMALL: u64 = 1500;

/// The `n`th of a little life of trading: everything that memory knows of.
fn story(n: u32) -> Vec<Entry> {
    let unknown = || outcome(n, Recorded::Unknown { why: "timeout".to_owned() });
    let done = || outcome(n, Recorded::Filled { oid: u64::from(n), size: "0.01".parse().unwrap() });
    let ms = 1000 + u64::from(n);
    let held = |size: &str| vec![HeldRecord { coin: "BTC".to_owned(), size: size.parse().unwrap() }];
    match n % 6 {
        0 => vec![started(), intent(n)],
        1 => vec![intent(n), done(), fill(u64::from(n), ms, true, "0.01")],
        2 => vec![intent(n), unknown(), Entry::Settled { cloid: format!("0x{n:032x}"), how: "filled".to_owned() }],
        3 => vec![intent(n), unknown(), fill(u64::from(n), ms, false, "0.03")],
        4 => vec![intent(n), Entry::Reconciled { held: held("0.5"), venue_ms: ms, changes: String::new() }],
        _ => vec![intent(n), outcome(n - 1, Recorded::Resting { oid: 9 })],
    }
}

/// Appends and rotates as the engine's thread does.
fn tell(journal: &mut Journal<Sim>, n: u32) {
    for entry in story(n) {
        journal.append(u64::from(n), &entry).unwrap();
        journal.rotate(u64::from(n)).unwrap();
    }
}

/// A journal of several segments, at least three of them closed.
fn several() -> Sim {
    let disk = Sim::default();
    let mut journal = open_with(&disk, SMALL).unwrap();
    for n in 1.. {
        tell(&mut journal, n);
        if journal.closed >= 3 && journal.good < SMALL {
            return disk;
        }
    }
    disk
}

fn closed(number: u64) -> String {
    format!("decisions.{number:06}.jsonl")
}

/// What memory holds beside the number of entries.
fn content(memory: &Memory) -> Carried {
    let closed = ClosedSegment { number: 1, bytes: 0, head: Checksum([0; 32]) };
    Carried { entries: 0, ..memory.carry(closed) }
}

#[test]
fn memory_is_the_same_with_and_without_segments() {
    let (one, many) = (Sim::default(), Sim::default());
    for n in 1..=40 {
        // Opened anew each time: what is read back is the same, too.
        let (mut single, mut cut) = (open(&one).unwrap(), open_with(&many, SMALL).unwrap());
        tell(&mut single, n);
        tell(&mut cut, n);
        assert_eq!(content(single.memory()), content(cut.memory()), "after {n}");
    }
    let (single, cut) = (open(&one).unwrap(), open_with(&many, SMALL).unwrap());
    assert_eq!(content(single.memory()), content(cut.memory()));
    assert!(cut.closed > 10, "{} closed", cut.closed);
    assert_eq!(single.memory().entries() + cut.closed, cut.memory().entries(), "one entry more for each");
}

#[test]
fn the_fullest_memory_there_can_be_is_carried_over() {
    let disk = Sim::default();
    let mut journal = open(&disk).unwrap();
    for n in 0..5000_u32 {
        let Entry::Intent(mut intent) = intent(n) else { panic!("an intent") };
        intent.key = format!("{n:064x}");
        journal.memory.apply(&Entry::Intent(intent));
        if n < 5000 - 256 {
            journal.memory.apply(&outcome(n, Recorded::Resting { oid: 1 }));
        }
        journal.memory.apply(&fill(u64::from(n) + 1_000_000_000, 1_790_000_000_000, true, "0.01"));
    }
    let before = content(journal.memory());
    (journal.due, journal.segment_bytes) = (0, SEGMENT_BYTES);
    assert!(journal.rotate(1).unwrap());
    assert!(journal.good < SEGMENT_BYTES / 16, "{} bytes", journal.good);
    assert_eq!(before, content(journal.memory()));
    assert_eq!(before.keys.len(), KEYS_KEPT);
    assert_eq!(before.unsettled.len(), UNSETTLED_MAX);
}

/// A life on a watched disk; the world before each call that changes something.
fn life() -> Vec<World> {
    let disk = Sim::of(World::default().watched());
    for part in 0..2_u32 {
        let mut journal = open_with(&disk, SMALL).unwrap();
        for n in part * 8 + 1..=part * 8 + 8 {
            tell(&mut journal, n);
            disk.world().acknowledged = u64::from(n);
        }
    }
    let mut history = disk.world().history.take().unwrap();
    history.push(disk.world().clone());
    history
}

/// Opens what a crash left: everything acknowledged is there, nothing else but what was being written, and it goes on.
fn survives(world: World, acknowledged: u64, whose: &str) {
    let disk = Sim::of(world);
    let mut journal = open_with(&disk, SMALL).unwrap_or_else(|e| panic!("{whose}: {e}\n{:?}", disk.names()));
    let keys: Vec<String> = journal.memory().keys().cloned().collect();
    let there = keys.len() as u64;
    assert!(there == acknowledged || there == acknowledged + 1, "{whose}: {acknowledged} acknowledged, {there} there");
    assert_eq!(keys, (1..=there).map(|n| format!("key-{n}")).collect::<Vec<_>>(), "{whose}");
    let read = replay::over(&disk, "decisions").unwrap_or_else(|e| panic!("{whose}: {e}"));
    assert_eq!((read.head, read.entries), (journal.head(), journal.memory().entries()), "{whose}");
    let next = u32::try_from(there).unwrap() + 1;
    tell(&mut journal, next);
    assert!(replay::over(&disk, "decisions").is_ok_and(|read| read.keys.len() as u64 == there + 1), "{whose}");
}

#[test]
fn a_crash_at_any_call_loses_nothing_that_was_acknowledged() {
    for (call, world) in life().iter().enumerate() {
        survives(world.killed(), world.acknowledged, &format!("killed before call {call}"));
        for cut in 0..6 {
            let mut dice = Dice(call as u64 * 7919 + cut + 1);
            survives(world.cut(&mut dice), world.acknowledged, &format!("power cut {cut} before call {call}"));
        }
    }
}

#[test]
fn a_crash_while_recovering_from_a_crash_is_one_more_crash() {
    for (call, world) in life().iter().enumerate().step_by(3) {
        let mut dice = Dice(call as u64 + 1);
        let disk = Sim::of(world.cut(&mut dice).watched());
        drop(open_with(&disk, SMALL).unwrap());
        for mid in disk.world().history.take().unwrap() {
            survives(mid.killed(), world.acknowledged, &format!("call {call}, killed again"));
            survives(mid.cut(&mut dice), world.acknowledged, &format!("call {call}, cut again"));
        }
    }
}

/// A journal that is due to rotate, and how many keys it holds.
fn due() -> (Sim, Journal<Sim>, usize) {
    let disk = several();
    let mut journal = open_with(&disk, u64::MAX).unwrap();
    let first = u32::try_from(journal.memory().keys().count()).unwrap() + 1;
    for n in first..first + 4 {
        tell(&mut journal, n);
    }
    journal.due = 1;
    journal.segment_bytes = 1;
    let keys = journal.memory().keys().count();
    (disk, journal, keys)
}

#[test]
fn a_fault_at_any_step_of_a_rotation_costs_a_longer_segment_or_latches_and_loses_nothing() {
    let (disk, mut journal, _) = due();
    let before = disk.world().calls;
    journal.rotate(1).unwrap();
    let steps = disk.world().calls - before;
    assert!(steps >= 6, "make, cut, write, sync, two names, sync: {steps}");
    let mut seen = BTreeSet::new();
    for step in 1..=steps {
        for fault in [Fault::NoSpace, Fault::Io, Fault::Short, Fault::Lie] {
            let whose = format!("{fault:?} at step {step}");
            let (disk, mut journal, keys) = due();
            let call = disk.world().calls + step;
            disk.world().faults.insert(call, fault);
            let turned = journal.rotate(1);
            disk.world().faults.clear();
            let healthy = journal.health().healthy;
            seen.insert((turned.is_ok(), healthy));
            assert!(turned.is_err() || healthy, "{whose}: {turned:?}");
            // Whatever the disk holds now opens, with all of it.
            for cut in 1..4 {
                let after = Sim::of(disk.world().cut(&mut Dice(step * 31 + cut)));
                let opened = open_with(&after, SMALL).unwrap_or_else(|e| panic!("{whose}, cut {cut}: {e}"));
                assert_eq!(opened.memory().keys().count(), keys, "{whose}, cut {cut}");
            }
            if !healthy {
                assert!(matches!(journal.append(1, &started()), Err(JournalError::Latched { .. })), "{whose}");
                journal.reopen(1).unwrap_or_else(|e| panic!("{whose}: {e}"));
            }
            let next = u32::try_from(keys).unwrap() + 1;
            journal.append(1, &intent(next)).unwrap_or_else(|e| panic!("{whose}: {e}"));
            assert!(open_with(&disk, SMALL).unwrap().memory().knows_key(&format!("key-{next}")), "{whose}");
            let read = replay::over(&disk, "decisions").unwrap_or_else(|e| panic!("{whose}: {e}"));
            assert_eq!(read.keys.len(), keys + 1, "{whose}");
        }
    }
    assert!(seen.contains(&(false, true)) && seen.contains(&(false, false)), "both kinds of failure: {seen:?}");
}

#[test]
fn a_rotation_that_cannot_be_is_not_tried_at_every_append() {
    let (disk, mut journal, keys) = due();
    journal.segment_bytes = 64 * 1024;
    disk.world().room = Some(0);
    assert!(journal.rotate(1).is_err() && journal.health().healthy);
    let calls = disk.world().calls;
    assert!(!journal.rotate(1).unwrap());
    assert_eq!(disk.world().calls, calls);
    disk.world().room = None;
    for n in 1..40 {
        tell(&mut journal, u32::try_from(keys).unwrap() + n);
    }
    assert!(journal.closed > 3, "and it is when there is room again");
}

#[test]
fn an_opening_reads_the_open_segment_and_the_end_of_the_one_before() {
    let disk = several();
    let whole = disk.bytes(&closed(1));
    for at in (0..whole.len()).step_by(37) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        disk.put(&closed(1), &bytes);
        assert!(open_with(&disk, SMALL).is_ok(), "byte {at} was not looked at");
        let found = replay::over(&disk, "decisions").unwrap_err();
        let JournalError::Broken { path, at: byte, .. } = &found else { panic!("{found}") };
        assert!(path.ends_with(closed(1)) && *byte <= at as u64, "{found}");
    }
}

#[test]
fn damage_that_no_crash_leaves_is_named_with_its_file() {
    type Damage = fn(&Sim);
    // What was done, what an opening says, what a replay says: a file, or nothing.
    let cases: [(&str, Damage, Option<&str>, &str); 9] = [
        ("first gone", |disk| disk.take(&closed(1)), Some("000001"), "000001"),
        ("middle gone", |disk| disk.take(&closed(2)), Some("000002"), "000002"),
        ("last closed gone", |disk| disk.take(&closed(3)), Some("decisions.jsonl"), "decisions.jsonl"),
        ("open one gone", |disk| disk.take(ACTIVE), Some("decisions.jsonl"), "decisions.jsonl"),
        (
            "all closed ones gone",
            |disk| (1..=3).for_each(|n| disk.take(&closed(n))),
            Some("decisions.jsonl"),
            "decisions.jsonl",
        ),
        (
            "two swapped",
            |disk| {
                let (one, two) = (disk.bytes(&closed(1)), disk.bytes(&closed(2)));
                disk.put(&closed(1), &two);
                disk.put(&closed(2), &one);
            },
            None,
            "000001",
        ),
        (
            "last closed one cut",
            |disk| {
                let bytes = disk.bytes(&closed(3));
                disk.put(&closed(3), &bytes[..bytes.len() - 40]);
            },
            Some("000003"),
            "000003",
        ),
        (
            "last closed one altered in its last line",
            |disk| {
                let mut bytes = disk.bytes(&closed(3));
                let at = bytes.len() - 10;
                bytes[at] ^= 1;
                disk.put(&closed(3), &bytes);
            },
            Some("000003"),
            "000003",
        ),
        (
            "a whole line of the middle one cut out",
            |disk| {
                let bytes = disk.bytes(&closed(2));
                let end = bytes.iter().rposition(|b| *b == b'\n').unwrap();
                let from = bytes[..end].iter().rposition(|b| *b == b'\n').unwrap();
                disk.put(&closed(2), &bytes[..=from]);
            },
            None,
            "000003",
        ),
    ];
    for (name, damage, opening, replaying) in cases {
        let disk = several();
        damage(&disk);
        let before: Vec<_> = disk.names().iter().map(|name| (name.clone(), disk.bytes(name))).collect();
        let opened = open_with(&disk, SMALL);
        match opening {
            None => assert!(opened.is_ok(), "{name}: {opened:?}"),
            Some(file) => {
                let text = opened.map(|_| ()).unwrap_err().to_string();
                assert!(text.contains(file), "{name}: {text}");
                let after: Vec<_> = disk.names().iter().map(|name| (name.clone(), disk.bytes(name))).collect();
                assert_eq!(before, after, "{name}: evidence is left as it is");
            }
        }
        let text = replay::over(&disk, "decisions").map(|_| ()).unwrap_err().to_string();
        assert!(text.contains(replaying), "{name}: {text}");
    }
}

#[test]
fn a_carried_state_that_was_rewritten_with_a_checksum_that_fits_is_found_by_a_replay() {
    let disk = several();
    let bytes = disk.bytes(ACTIVE);
    let first = bytes.split_inclusive(|b| *b == b'\n').next().unwrap();
    let read = line::decode(first).unwrap();
    let Entry::Continued(carried) = &read.entry else { panic!("{read:?}") };
    assert!(carried.keys.len() > 3);
    let mut forged = carried.clone();
    forged.keys.remove(0);
    let (bytes, _) = line::encode(read.seq, 1, &read.prev, &Entry::Continued(forged)).unwrap();
    disk.put(ACTIVE, &bytes);
    assert!(open_with(&disk, SMALL).is_ok(), "an opening cannot know");
    let text = replay::over(&disk, "decisions").unwrap_err().to_string();
    assert!(text.contains("add up to"), "{text}");
}
