//! Somebody changes the log: every edit is refused, or mended with a record, and an audit never calls it good.

use super::*;
use crate::hex::hex;
use sha2::{Digest, Sha256};

/// Opens and audits a tampered log. Whoever opens must have recorded what was mended; an audit must have complained
/// before, unless nothing that counts was changed.
fn caught(disk: &Sim, options: &Options, what: &str) {
    let before = check(disk);
    let kept: Vec<(String, Vec<u8>)> = disk.names().into_iter().map(|name| (name.clone(), disk.bytes(&name))).collect();
    match open_with(disk, options.clone()) {
        Ok((_, opened)) => {
            assert!(!opened.repairs.is_empty(), "{what}: opened without a word; the audit said {before:?}");
            assert!(check(disk).ok, "{what}: mended, and still {:?}", check(disk));
        }
        Err(BusError::Corrupt { .. }) => {
            assert!(!before.ok, "{what}: refused, but the audit called it good: {before:?}");
            for (name, bytes) in kept {
                assert_eq!(disk.bytes(&name), bytes, "{what}: a refusal changed {name}");
            }
        }
        Err(e) => panic!("{what}: {e}"),
    }
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn a_cut_at_any_byte_of_the_last_two_events_is_caught() {
    for (close, padded) in [(false, false), (true, true)] {
        let options = if padded { Options { pad_bytes: 2048, ..plain() } } else { plain() };
        let whole = log_of(3, options.clone(), close);
        let bytes = whole.bytes(ACTIVE);
        let text = bytes.trim_ascii_end().len() + 1;
        let from = lines(&bytes[..text])[..1].concat().len();
        for cut in from..text {
            let disk = whole.copy();
            disk.put(ACTIVE, &bytes[..cut]);
            assert!(!check(&disk).ok, "cut at {cut}");
            assert!(matches!(open_with(&disk, options.clone()), Err(BusError::Corrupt { .. })), "cut at {cut}");
        }
    }
}

#[test]
fn a_cut_above_a_head_that_lags_is_mended_and_recorded() {
    // The head says four; five and six were written, their head was lost with the power.
    let head = log_of(4, plain(), false).bytes(HEAD);
    let whole = log_of(6, plain(), false);
    whole.put(HEAD, &head);
    let bytes = whole.bytes(ACTIVE);
    let four = lines(&bytes)[..4].concat().len();
    for cut in four + 1..=bytes.len() {
        let disk = whole.copy();
        disk.put(ACTIVE, &bytes[..cut]);
        let (_, opened) = open_with(&disk, plain()).unwrap();
        assert!(!opened.repairs.is_empty() && check(&disk).ok, "cut at {cut}");
        assert!(numbers(&disk).starts_with(&[1, 2, 3, 4]), "cut at {cut}");
    }
}

#[test]
fn any_flipped_byte_is_caught() {
    for close in [false, true] {
        let whole = log_of(2, plain(), close);
        let bytes = whole.bytes(ACTIVE);
        for at in 0..bytes.len() {
            let disk = whole.copy();
            let mut bytes = bytes.clone();
            bytes[at] ^= [0x01, 0x80, 0x20][at % 3];
            disk.put(ACTIVE, &bytes);
            let quick = verify(&disk, Some(&keys(&disk)), &Questions::default()).unwrap();
            assert!(!quick.ok, "byte {at}");
            caught(&disk, &plain(), &format!("byte {at}"));
        }
    }
}

#[test]
fn a_missing_doubled_or_swapped_line_is_caught() {
    let whole = log_of(8, plain(), false);
    let lines = lines(&whole.bytes(ACTIVE));
    let count = lines.len();
    let mut edits: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
    for n in 0..count {
        let mut missing = lines.clone();
        missing.remove(n);
        edits.push((format!("without line {n}"), missing));
        let mut doubled = lines.clone();
        doubled.insert(n, lines[n].clone());
        edits.push((format!("line {n} twice"), doubled));
        if n + 1 < count {
            let mut swapped = lines.clone();
            swapped.swap(n, n + 1);
            edits.push((format!("lines {n} and its next swapped"), swapped));
        }
        edits.push((format!("only {n} lines"), lines[..n].to_vec()));
    }
    edits.push(("no file".to_owned(), Vec::new()));
    for (what, edit) in edits {
        let disk = whole.copy();
        disk.put(ACTIVE, &edit.concat());
        caught(&disk, &plain(), &what);
    }
    let disk = whole.copy();
    disk.take(ACTIVE);
    caught(&disk, &plain(), "the file is gone");
}

#[test]
fn a_forged_last_event_is_caught() {
    for close in [false, true] {
        let whole = log_of(4, plain(), close);
        let honest = lines(&whole.bytes(ACTIVE));
        let forged = log_of(3, plain(), close);
        let (mut log, _) = open_with(&forged, plain()).unwrap();
        log.append(&[note(77)]).unwrap();
        let forged = lines(&forged.bytes(ACTIVE)).pop().unwrap();
        let replaced = whole.copy();
        replaced.put(ACTIVE, &[honest[..3].concat(), forged].concat());
        assert_eq!(check(&replaced).reason, "head");
        caught(&replaced, &plain(), "the last event replaced");
    }
    // One more than was ever written: with a closed log it is refused, else it looks like a crash and is recorded.
    let longer = lines(&log_of(5, plain(), false).bytes(ACTIVE)).concat();
    let closed = log_of(4, plain(), true);
    closed.put(ACTIVE, &longer);
    assert_eq!(check(&closed).reason, "head");
    caught(&closed, &plain(), "an event added to a closed log");
    let open = log_of(4, plain(), false);
    open.put(ACTIVE, &longer);
    let (_, opened) = open_with(&open, plain()).unwrap();
    assert_eq!(opened.repairs, [json!({"what": "ahead", "events": 1, "head": 4})]);
}

#[test]
fn a_head_that_was_changed_counts_for_nothing() {
    let whole = log_of(5, plain(), true);
    let bytes = whole.bytes(HEAD);
    let text = String::from_utf8(bytes.clone()).unwrap();
    // Both slots say less than they did, with the codes they had.
    let lied = whole.copy();
    lied.put(HEAD, text.replace("\"count\":5", "\"count\":4").replace("\"count\":4", "\"count\":3").as_bytes());
    for (what, head) in
        [("lied", lied.bytes(HEAD)), ("blank", vec![0; 1024]), ("short", bytes[..100].to_vec()), ("empty", vec![])]
    {
        let disk = whole.copy();
        disk.put(HEAD, &head);
        assert_eq!(check(&disk).reason, "head", "{what}");
        assert!(matches!(open_with(&disk, plain()), Err(BusError::Corrupt { .. })), "{what}");
    }
    let disk = whole.copy();
    disk.take(HEAD);
    assert_eq!(check(&disk).reason, "head");
    caught(&disk, &plain(), "no head");
    // One slot: the other still counts, and its loss is recorded.
    let newest = text.find("\"clean\":true").unwrap() / 512;
    let mut one = bytes.clone();
    one[(1 - newest) * 512 + 3] ^= 1;
    let disk = whole.copy();
    disk.put(HEAD, &one);
    assert_eq!(check(&disk).reason, "head");
    caught(&disk, &plain(), "one slot");
}

#[test]
fn without_its_key_a_head_proves_nothing_and_the_log_does_not_open() {
    let disk = log_of(3, plain(), true);
    let report = verify::<_, Sim>(&disk, None, &Questions::default()).unwrap();
    assert_eq!((report.ok, report.head), (true, HeadVerdict::Unsigned));
    let key = disk.bytes(KEY);
    disk.take(KEY);
    assert!(matches!(open_with(&disk, plain()), Err(BusError::Key { .. })));
    // Another bus's key signs nothing here.
    let other = Sim::of(World::default());
    open_with(&other, Options { seed: [9; 32], ..plain() }).unwrap().0.close();
    disk.put(KEY, &other.bytes(KEY));
    assert_eq!(check(&disk).head, HeadVerdict::Disagrees);
    caught(&disk, &plain(), "another key");
    disk.put(KEY, &key);
    assert!(open_with(&disk, plain()).is_ok());
    // The whole folder was thrown away: the key remembers that there was a bus.
    let emptied = Sim::of(World::default());
    emptied.put(KEY, &key);
    assert!(matches!(open_with(&emptied, plain()), Err(BusError::Corrupt { .. })));
}

#[test]
fn an_older_key_is_not_left_behind_and_cannot_be_made_from_a_newer_one() {
    let disk = Sim::of(World::default());
    open_with(&disk, plain()).unwrap().0.close();
    let first = key::Key::load(&keys(&disk)).unwrap().unwrap();
    let old_head = disk.bytes(HEAD);
    open_with(&disk, plain()).unwrap().0.close();
    let second = key::Key::load(&keys(&disk)).unwrap().unwrap();
    assert_eq!(first.at(2), Some(second.clone()));
    assert_eq!(second.at(1), None);
    disk.put(HEAD, &old_head);
    assert_eq!(check(&disk).head, HeadVerdict::Disagrees, "an old head under a new key");
}

#[test]
fn another_hosts_snapshot_is_not_used_and_a_newer_one_refuses() {
    let disk = log_of(3, plain(), false);
    let (mut log, _) = open_with(&disk, plain()).unwrap();
    log.snapshot(AS_OF, Some("evt-000000000003".to_owned()), &json!({"cycle": 1})).unwrap();
    log.close();
    let (_, opened) = open_with(&disk, plain()).unwrap();
    let SnapshotState::Fits(snapshot) = opened.snapshot else { panic!("{:?}", opened.snapshot) };
    assert_eq!((snapshot.payload, snapshot.at.count), (json!({"cycle": 1}), 3));
    assert_eq!(check(&disk).snapshot.reason, "ok");
    let ours = String::from_utf8(disk.bytes(SNAPSHOT)).unwrap();
    let edits = [
        ours.replace("\"bus_id\":\"", "\"bus_id\":\"0"),
        ours.replace("{\"cycle\":1}", "{\"cycle\":2}"),
        ours.replace("snapshot.v1", "snapshot.v2"),
        ours.replace("\"last_checksum\":\"sha256:", "\"last_checksum\":\"sha256:0"),
        ours[..40].to_owned(),
        String::new(),
    ];
    for edit in edits {
        let copy = disk.copy();
        copy.put(SNAPSHOT, edit.as_bytes());
        let report = check(&copy).snapshot;
        assert!(report.present && !report.consistent, "{edit}: {report:?}");
        let (_, opened) = open_with(&copy, plain()).unwrap();
        assert!(matches!(opened.snapshot, SnapshotState::Rebuild(_)), "{edit}: {:?}", opened.snapshot);
    }
    // The right snapshot with a checksum that this log never had: rebuilt.
    let wrong = ours.replacen(
        &ours[ours.find("\"last_checksum\":\"sha256:").unwrap() + 24..][..64],
        &hex(&Sha256::digest(b"").into()),
        1,
    );
    let copy = disk.copy();
    copy.put(SNAPSHOT, wrong.as_bytes());
    assert!(!check(&copy).snapshot.consistent);
    assert!(matches!(open_with(&copy, plain()).unwrap().1.snapshot, SnapshotState::Rebuild(_)));
    // One that knows more events than the log has: the log was cut.
    let copy = disk.copy();
    copy.put(SNAPSHOT, ours.replace("\"event_count\":3", "\"event_count\":9").as_bytes());
    assert_eq!(check(&copy).snapshot.reason, "snapshot references missing tail events");
    assert!(matches!(open_with(&copy, plain()), Err(BusError::Corrupt { .. })));
}

#[test]
fn what_was_damaged_is_cut_only_when_the_loss_is_accepted_and_then_it_opens() {
    for (name, edit) in [
        ("flip", Box::new(|disk: &Sim| flip(disk, ACTIVE, 1300)) as Box<dyn Fn(&Sim)>),
        ("first segment", Box::new(|disk: &Sim| flip(disk, "events.000001.jsonl", 700))),
        ("a segment is gone", Box::new(|disk: &Sim| disk.take("events.000002.jsonl"))),
        ("tail", Box::new(|disk: &Sim| disk.put(ACTIVE, b""))),
        ("no head", Box::new(|disk: &Sim| disk.take(HEAD))),
        ("no key", Box::new(|disk: &Sim| disk.take(KEY))),
        ("no head and no key", Box::new(|disk: &Sim| (disk.take(HEAD), disk.take(KEY)).0)),
    ] {
        let disk = log_of(60, small(), true);
        edit(&disk);
        let kept = disk.names();
        let fix = |accept| repair(disk.clone(), keys(&disk), small(), AS_OF, accept);
        assert!(matches!(fix(false), Err(BusError::LossNotAccepted { .. })), "{name}");
        assert_eq!(disk.names(), kept, "{name}: nothing is touched without consent");
        let receipt = fix(true).unwrap();
        assert!(receipt.finding.is_some(), "{name}");
        let kept: usize = receipt.set_aside.iter().map(|file| disk.bytes(file).len()).sum();
        assert!(!matches!(name, "flip" | "first segment" | "a segment is gone") || kept > 300, "{name}: {receipt:?}");
        let report = check(&disk);
        assert!(report.ok && report.head == HeadVerdict::OkSigned, "{name}: {report:?}");
        assert!(disk.names().iter().any(|file| file.starts_with("repair-")), "{name}");
        let numbers = numbers(&disk);
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{name}");
        let (mut log, opened) = open(&disk).unwrap();
        assert!(opened.repairs.is_empty(), "{name}");
        log.append(&[note(1)]).unwrap();
    }
    let healthy = log_of(60, small(), false);
    let receipt = repair(healthy.clone(), keys(&healthy), small(), AS_OF, false).unwrap();
    assert_eq!((receipt.finding, receipt.events_lost), (None, 0));
    assert!(check(&healthy).ok);
}

#[test]
fn a_snapshot_of_events_that_are_gone_is_damage_and_a_repair_sets_it_aside() {
    let disk = log_of(20, small(), true);
    let old = [ACTIVE, HEAD, KEY].map(|name| (name, disk.bytes(name)));
    let (mut log, _) = open(&disk).unwrap();
    log.append(&[note(1)]).unwrap();
    log.snapshot(AS_OF, None, &json!({"state": 1})).unwrap();
    log.close();
    // The log, its head and its key as they were before: only the snapshot still knows.
    old.iter().for_each(|(name, bytes)| disk.put(name, bytes));
    let report = check(&disk);
    assert_eq!((report.ok, report.reason.as_str()), (false, "head"), "{report:?}");
    assert!(matches!(open(&disk), Err(BusError::Corrupt { .. })));
    let receipt = repair(disk.clone(), keys(&disk), small(), AS_OF, true).unwrap();
    assert!(receipt.finding.is_some_and(|finding| finding.file == SNAPSHOT) && receipt.set_aside.len() == 1);
    assert!(check(&disk).ok && open(&disk).is_ok());
}

fn flip(disk: &Sim, name: &str, at: usize) {
    let mut bytes = disk.bytes(name);
    bytes[at] ^= 1;
    disk.put(name, &bytes);
}

/// A log of three events, and the same some events later with what a witness saw of it.
fn put_back() -> (Sim, Sim, Anchor) {
    let old = log_of(3, plain(), true);
    let now = old.copy();
    let (mut log, opened) = open_with(&now, plain()).unwrap();
    for n in 4..=6 {
        log.append(&[note(n)]).unwrap();
    }
    let witness = Anchor { bus_id: opened.bus_id, count: log.at.count, sum: log.at.last.unwrap() };
    log.append(&[note(7)]).unwrap();
    log.close();
    (old, now, witness)
}

#[test]
fn a_bus_put_back_whole_with_its_key_is_refused_by_what_a_witness_saw() {
    let (old, now, witness) = put_back();
    let told = Options { witness: Some(witness.clone()), ..plain() };
    let asked = |disk: &Sim| {
        let questions = Questions { witness: Some(witness.clone()), ..Questions::default() };
        verify(disk, Some(&keys(disk)), &questions).unwrap()
    };
    let refused = |disk: &Sim| {
        let before: Vec<_> = disk.names().iter().map(|name| (name.clone(), disk.bytes(name))).collect();
        let error = open_with(disk, told.clone()).expect_err("refused");
        assert!(matches!(&error, BusError::Corrupt { finding, .. } if finding.code == Code::Witness), "{error}");
        let after: Vec<_> = disk.names().iter().map(|name| (name.clone(), disk.bytes(name))).collect();
        assert_eq!(before, after, "left as it is");
    };
    assert!(check(&old).ok, "in itself it holds: head, key and all");
    refused(&old);
    assert_eq!((asked(&old).ok, asked(&old).reason.as_str(), asked(&old).witness), (false, "witness", Some(false)));
    // Put back, and gone on with where nobody looked: as long as before, and another log.
    let fork = old.copy();
    let (mut log, _) = open_with(&fork, plain()).unwrap();
    for n in 40..50 {
        log.append(&[note(n)]).unwrap();
    }
    log.close();
    refused(&fork);
    assert!(check(&fork).ok && !asked(&fork).ok);
    refused(&Sim::of(World::default()));
    let other = Sim::of(World::default());
    open_with(&other, Options { seed: [9; 32], ..plain() }).unwrap().0.close();
    refused(&other);
    // The log itself, grown since, however far the witness lies behind.
    open_with(&now, told.clone()).expect("its own").0.close();
    assert_eq!((asked(&now).ok, asked(&now).witness), (true, Some(true)));
    let early = Anchor { count: 1, sum: Sum::parse(&first_sum(&now)).unwrap(), ..witness.clone() };
    let long = Options { segment_bytes: 600, ..told.clone() };
    let (mut log, _) = open_with(&now, long).unwrap();
    for n in 8..20 {
        log.append(&[note(n)]).unwrap();
    }
    log.snapshot(AS_OF, None, &json!({})).unwrap();
    log.close();
    open_with(&now, Options { witness: Some(early), ..plain() }).expect("its own").0.close();
}

fn first_sum(disk: &Sim) -> String {
    let text = String::from_utf8(disk.bytes(ACTIVE)).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    line["checksum"].as_str().unwrap().to_owned()
}

#[test]
fn a_repair_of_what_was_put_back_is_agreed_to_and_written_down() {
    let (old, _, witness) = put_back();
    let told = Options { witness: Some(witness), ..plain() };
    anchor::keep(&old, &Anchor { bus_id: "b".into(), count: 2, sum: Sum([1; 32]) }, AS_OF).unwrap();
    assert!(matches!(
        repair(old.clone(), keys(&old), told.clone(), AS_OF, false),
        Err(BusError::LossNotAccepted { events: 3, .. })
    ));
    let receipt = repair(old.clone(), keys(&old), told, AS_OF, true).unwrap();
    assert_eq!((receipt.finding.unwrap().code, receipt.events_kept, receipt.events_lost), (Code::Witness, 3, 3));
    assert_eq!(anchor::kept(&old).unwrap(), anchor::Kept::default(), "anchors of another log are set aside");
    open_with(&old, plain()).unwrap().0.close();
    let text = String::from_utf8(old.bytes(ACTIVE)).unwrap();
    assert!(text.contains("\"reason\":\"witness\"") && check(&old).ok, "{text}");
}

#[test]
fn an_anchor_beside_the_log_shows_a_log_that_was_put_back_without_it() {
    let (old, now, seen) = put_back();
    anchor::keep(&now, &seen, AS_OF).unwrap();
    let report = check(&now);
    assert_eq!((report.ok, report.anchors), (true, 1));
    old.put(anchor::ANCHORS, &now.bytes(anchor::ANCHORS));
    let report = check(&old);
    assert_eq!((report.ok, report.reason.as_str(), report.anchors), (false, "anchor", 0), "{report:?}");
}
