//! A log without its key: adopted once, on the record, interrupted or not; never another log than the one vouched for.

use super::*;
use crate::sim::Dice;

const BUNDLE: &str = "b1b1";

/// The end of a log, vouched for.
fn vouched(disk: &Sim) -> Vouched {
    let report = verify::<_, Sim>(disk, None, &Questions::default()).unwrap();
    let last = report.last_checksum.as_deref().and_then(Sum::parse);
    Vouched { count: report.events, last, by: BUNDLE.to_owned() }
}

fn take(disk: &Sim, seed: u8, vouched: &Vouched) -> Result<Adopted, BusError> {
    adopt(disk.clone(), keys(disk), Options { seed: [seed; 32], ..small() }, AS_OF, vouched)
}

/// How often an adoption was written down.
fn recorded(disk: &Sim) -> usize {
    let mut raw = Vec::new();
    export_single_file(disk, Some(&keys(disk)), &mut raw).unwrap();
    memchr::memmem::find_iter(&raw, b"\"event_type\":\"bus.adopted\"").count()
}

#[test]
fn without_its_key_a_log_is_adopted_on_the_record_and_with_it_it_opens_as_it_is() {
    for events in [0, 1, 30] {
        let disk = log_of(events, small(), true);
        let told = vouched(&disk);
        assert_eq!(take(&disk, 1, &told).unwrap(), Adopted::Needless, "its own key is there");
        assert_eq!(recorded(&disk), 0);
        let (own_key, old_head) = (disk.bytes(KEY), disk.bytes(HEAD));
        for other in [None, Some(log_of(3, small(), true).bytes(KEY)), Some(b"no key".to_vec())] {
            let disk = disk.copy();
            match &other {
                Some(bytes) if bytes != &own_key => disk.put(KEY, bytes),
                _ => disk.take(KEY),
            }
            assert!(open(&disk).is_err(), "nobody takes it over in passing");
            assert_eq!(take(&disk, 2, &told).unwrap(), Adopted::Anew);
            assert_eq!(disk.bytes(&format!("head.before-{BUNDLE}")), old_head);
            assert_eq!(recorded(&disk), 1);
            let report = check(&disk);
            assert!(report.ok && report.head == HeadVerdict::OkSigned && report.events > told.count, "{report:?}");
            assert_eq!(take(&disk, 3, &told).unwrap(), Adopted::Needless, "once");
            let (log, opened) = open(&disk).unwrap();
            assert!(opened.repairs.is_empty() && opened.epoch > 1, "{opened:?}");
            drop(log);
            // The old key is no key of it any more.
            disk.put(KEY, &own_key);
            assert!(open(&disk).is_err());
        }
    }
    let nothing = Sim::of(World::default());
    let told = Vouched { count: 0, last: None, by: BUNDLE.to_owned() };
    assert_eq!(take(&nothing, 1, &told).unwrap(), Adopted::Needless, "an opening makes it");
}

#[test]
fn another_log_than_the_one_vouched_for_is_not_adopted_and_stays_as_it_is() {
    type Change = fn(&Sim, &mut Vouched);
    let cases: [(&str, Change); 5] = [
        ("shorter than told", |_, told| told.count += 1),
        ("longer than told", |_, told| told.count -= 1),
        ("another last event", |_, told| told.last = Some(Sum([7; 32]))),
        ("changed in the middle", |disk, _| {
            let mut bytes = disk.bytes(ACTIVE);
            bytes[100] ^= 1;
            disk.put(ACTIVE, &bytes);
        }),
        ("cut below its head", |disk, told| {
            let bytes = disk.bytes(ACTIVE);
            let line = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
            disk.put(ACTIVE, &bytes[..line]);
            let cut = Sim::of(World::default());
            cut.put(ACTIVE, &bytes[..line]);
            *told = vouched(&cut);
        }),
    ];
    for (name, change) in cases {
        let disk = log_of(4, plain(), true);
        let mut told = vouched(&disk);
        disk.take(KEY);
        change(&disk, &mut told);
        let before: Vec<_> = disk.names().into_iter().map(|name| (disk.bytes(&name), name)).collect();
        assert!(matches!(take(&disk, 1, &told), Err(BusError::Corrupt { .. })), "{name}");
        let after: Vec<_> = disk.names().into_iter().map(|name| (disk.bytes(&name), name)).collect();
        assert_eq!(before, after, "{name}");
    }
}

#[test]
fn an_adoption_that_is_interrupted_anywhere_is_ended_by_the_next_one() {
    let source = log_of(12, small(), true);
    let told = vouched(&source);
    let rounds = if cfg!(debug_assertions) { 2 } else { 100 };
    for other_key in [false, true] {
        let disk = Sim::of(source.world().clone().watched());
        if other_key {
            disk.put(KEY, b"of another bus");
        } else {
            disk.take(KEY);
        }
        take(&disk, 2, &told).unwrap();
        let history = disk.world().history.take().unwrap();
        for (call, mid) in history.iter().enumerate() {
            for round in 0..=rounds {
                let mut dice = Dice(call as u64 * 7919 + round);
                let disk = Sim::of(if round == 0 { mid.killed() } else { mid.cut(&mut dice) });
                let whose = format!("other key {other_key}, before call {call}, round {round}");
                take(&disk, 3, &told).unwrap_or_else(|e| panic!("{whose}: {e}"));
                assert_eq!(recorded(&disk), 1, "{whose}");
                drop(open(&disk).unwrap_or_else(|e| panic!("{whose}: {e}")));
                assert_eq!(take(&disk, 4, &told).unwrap(), Adopted::Needless, "{whose}");
                assert_eq!(disk.bytes(&format!("head.before-{BUNDLE}")), source.bytes(HEAD), "{whose}");
            }
        }
    }
}
