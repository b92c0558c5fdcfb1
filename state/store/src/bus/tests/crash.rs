//! Power cuts and kills at every call that changes the disk: what was acknowledged is there, what is there is true, and
//! the log opens again.

use super::*;
use crate::sim::{Dice, Sim, World};

/// A little life: appends of all sizes, an unsynced head now and then, snapshots, rotations, an end in order and a new
/// beginning. The history of the disk is taken before each call.
fn life(seed: u64, options: &Options) -> Vec<World> {
    let disk = Sim::of(World::default().watched());
    let mut dice = Dice(seed);
    let mut n = 0;
    for _ in 0..2 {
        let (mut log, _) = open_with(&disk, options.clone()).unwrap();
        for _ in 0..8 {
            let batch: Vec<NewEvent> = (0..=dice.roll(4))
                .map(|k| if dice.roll(5) == 0 { order(n + k + 1) } else { note(n + k + 1) })
                .collect();
            n += batch.len() as u64;
            log.append(&batch).unwrap();
            disk.world().acknowledged = n;
            match dice.roll(6) {
                0 => log.settle(),
                1 => log.snapshot(AS_OF, None, &json!({"sum": n})).unwrap(),
                _ => {}
            }
        }
        if dice.roll(2) == 0 {
            log.close();
        }
    }
    let mut history = disk.world().history.take().unwrap();
    history.push(disk.world().clone());
    history
}

/// Opens what a crash left, and looks at it with every eye there is.
fn survives(world: World, acknowledged: u64, options: &Options, whose: &str) {
    let disk = Sim::of(world);
    let (mut log, opened) = match open_with(&disk, options.clone()) {
        Ok(opened) => opened,
        Err(e) => panic!("{whose}: a crash is no reason to refuse: {e}\n{:?}", disk.names()),
    };
    let (numbers, report) = content(&disk);
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "{whose}: exactly what was appended, in order");
    assert!(
        numbers.len() as u64 >= acknowledged,
        "{whose}: {acknowledged} were acknowledged, {} are there",
        numbers.len()
    );
    assert!(report.ok && report.head == HeadVerdict::OkSigned, "{whose}: {report:?}");
    assert_eq!(report.events, opened.events, "{whose}");
    if acknowledged.is_multiple_of(4) {
        log.append(&[note(1 + numbers.len() as u64)]).unwrap();
        log.close();
        let report = check(&disk);
        assert!(report.ok && report.events > opened.events, "{whose}: {report:?}");
    }
}

fn crashes(states: usize, options: &Options) {
    let mut done = 0;
    for seed in 1.. {
        let history = life(seed, options);
        for (call, world) in history.iter().enumerate() {
            let whose = format!("seed {seed}, before call {call}");
            survives(world.killed(), world.acknowledged, options, &whose);
            for cut in 1..4 {
                let mut dice = Dice(seed * 1_000_003 + call as u64 * 7919 + cut);
                survives(world.cut(&mut dice), world.acknowledged, options, &format!("{whose}, cut {cut}"));
            }
            done += 4;
        }
        if done >= states {
            eprintln!("{done} states");
            return;
        }
    }
}

/// `HOLDFAST_CRASH_STATES`, or what suits this build: a debug build tests the same thing, less often.
fn states() -> usize {
    let asked = std::env::var("HOLDFAST_CRASH_STATES").ok().map(|text| text.parse().expect("a number"));
    asked.unwrap_or(if cfg!(debug_assertions) { 400 } else { 50_000 })
}

#[test]
fn nothing_acknowledged_is_lost_with_padding() {
    crashes(states(), &small());
}

#[test]
fn nothing_acknowledged_is_lost_without_padding() {
    crashes(states(), &Options { pad_bytes: 1, ..small() });
}

#[test]
fn a_crash_while_recovering_from_a_crash_is_one_more_crash() {
    let options = small();
    let rounds = if cfg!(debug_assertions) { 8 } else { 1000 };
    let history = life(99, &options);
    for round in 0..rounds {
        let mut dice = Dice(round + 1);
        let world = &history[usize::try_from(dice.roll(history.len() as u64)).unwrap()];
        let disk = Sim::of(world.cut(&mut dice).watched());
        drop(open_with(&disk, options.clone()).unwrap());
        for (call, mid) in disk.world().history.take().unwrap().iter().enumerate() {
            let whose = format!("round {round}, before call {call} of the recovery");
            survives(mid.cut(&mut dice), world.acknowledged, &options, &whose);
            survives(mid.killed(), world.acknowledged, &options, &whose);
        }
    }
}

#[test]
fn a_repair_of_a_torn_tail_is_recorded_with_what_was_cut() {
    let disk = log_of(5, plain(), false);
    let whole = disk.bytes(ACTIVE);
    disk.put(ACTIVE, &[&whole[..], b"{\"as_of\":17"].concat());
    let (_, opened) = open_with(&disk, plain()).unwrap();
    assert_eq!(opened.repairs.len(), 1);
    let repair = &opened.repairs[0];
    assert_eq!(
        (&repair["what"], &repair["cut_bytes"], &repair["byte"]),
        (&json!("cut"), &json!(11), &json!(whole.len()))
    );
    assert_eq!(disk.bytes(repair["cut_file"].as_str().unwrap()), b"{\"as_of\":17");
    let text = String::from_utf8(disk.bytes(ACTIVE)).unwrap();
    assert!(text.contains("\"event_type\":\"bus.recovered\"") && check(&disk).ok, "{text}");
}
