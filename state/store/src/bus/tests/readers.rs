//! Those who read along: mirrors over rotations, exports, and an opening that reads only the tail.

use super::*;
use crate::canon;
use serde_json::Value;
use std::io;

/// A mirror in memory that insists on what it is promised.
#[derive(Default)]
struct Copy {
    has: u64,
    text: Vec<u8>,
    refuses: bool,
}

impl Mirror for Copy {
    fn high_water(&mut self) -> io::Result<u64> {
        Ok(self.has)
    }
    fn apply(&mut self, first_index: u64, raw_lines: &[u8]) -> io::Result<()> {
        if std::mem::take(&mut self.refuses) {
            return Err(io::Error::other("not now"));
        }
        assert_eq!(first_index, self.has + 1, "no gap and nothing twice");
        assert!(raw_lines.ends_with(b"\n"));
        self.has += raw_lines.iter().filter(|b| **b == b'\n').count() as u64;
        self.text.extend_from_slice(raw_lines);
        Ok(())
    }
}

fn follower(disk: &Sim, index: u64) -> Follower<Sim> {
    Follower::from(Arc::new(disk.clone()), index).unwrap()
}

fn single(disk: &Sim) -> Vec<u8> {
    let mut raw = Vec::new();
    export_single_file(disk, Some(&keys(disk)), &mut raw).unwrap();
    raw
}

#[test]
fn a_mirror_gets_every_event_once_while_the_log_grows_and_rotates() {
    let disk = Sim::of(World::default());
    let (mut log, _) = open(&disk).unwrap();
    let (mut mirror, mut follower) = (Copy::default(), follower(&disk, 1));
    assert_eq!(follower.feed(&mut mirror).unwrap(), 0);
    for n in 1..=80 {
        log.append(&[note(n)]).unwrap();
        mirror.refuses = n % 17 == 0;
        if n % 3 == 0 {
            let fed = follower.feed(&mut mirror);
            assert_eq!(fed.is_err(), n % 17 == 0, "{fed:?}");
        }
    }
    follower.feed(&mut mirror).unwrap();
    assert_eq!(mirror.has, log.at.count);
    assert!(log.at.segment > 3 && mirror.text == single(&disk), "byte for byte");
    // A mirror that begins late, and one that lost its place.
    for has in [0, 1, 17, 40, mirror.has - 1, mirror.has] {
        let mut late = Copy { has, ..Copy::default() };
        assert_eq!(follower.feed(&mut late).unwrap(), mirror.has, "from {has}");
        assert!(mirror.text.ends_with(&late.text), "from {has}");
    }
}

#[test]
fn a_follower_never_shows_what_the_head_does_not_cover() {
    let disk = log_of(4, plain(), false);
    let head = disk.bytes(HEAD);
    let (mut log, _) = open_with(&disk, plain()).unwrap();
    log.append(&[note(5)]).unwrap();
    disk.put(HEAD, &head);
    let batch = follower(&disk, 2).poll().unwrap().unwrap();
    assert_eq!((batch.first_index, batch.last_index), (2, 4));
}

#[test]
fn a_follower_stops_at_damage() {
    let disk = log_of(4, plain(), false);
    let mut bytes = disk.bytes(ACTIVE);
    let at = bytes.len() - 300;
    bytes[at] ^= 1;
    disk.put(ACTIVE, &bytes);
    let mut follower = follower(&disk, 1);
    assert!(matches!(follower.poll(), Err(BusError::Corrupt { .. })));
}

fn document(disk: &Sim, wanted: &Wanted) -> Value {
    let mut text = Vec::new();
    export(disk, Some(&keys(disk)), wanted, &mut text).unwrap();
    assert_eq!(text.pop(), Some(b'\n'));
    canon::is_canonical(&text).unwrap();
    canon::parse(&text).unwrap()
}

#[test]
fn the_export_says_what_is_there_and_a_public_one_only_how_much() {
    let disk = log_of(30, small(), false);
    let (mut log, _) = open(&disk).unwrap();
    log.append(&[order(1), note(31)]).unwrap();
    log.snapshot(AS_OF, Some("evt-000000000030".to_owned()), &json!({"cycle": "secret-3"})).unwrap();
    log.close();
    let all = document(&disk, &Wanted::default());
    let events = all["events"].as_array().unwrap();
    assert_eq!(all["schema_version"], "zero.runtime.audit.v1");
    assert_eq!((all["source"].as_str(), &all["integrity"]["ok"]), (Some("durable-runtime-bus"), &json!(true)));
    assert_eq!(all["summary"]["events"], events.len());
    assert_eq!(all["summary"]["event_types"]["runtime.note"], 31);
    assert_eq!(all["snapshot"], json!({"cycle": "secret-3"}));
    assert_eq!((&all["snapshot_integrity"]["reason"], &all["head"]["verdict"]), (&json!("ok"), &json!("ok-signed")));
    // Each segment's hash is that of its file.
    for segment in all["segments"].as_array().unwrap() {
        let bytes = disk.bytes(segment["file"].as_str().unwrap());
        use sha2::{Digest, Sha256};
        assert_eq!(segment["sha256"], crate::hex::hex(&Sha256::digest(&bytes).into()), "{segment}");
        assert_eq!(segment["bytes"], bytes.len());
    }
    let some = document(&disk, &Wanted { events: 5..=9, types: vec!["runtime.note".to_owned()], public: false });
    let indices: Vec<u64> =
        some["events"].as_array().unwrap().iter().map(|e| e["event_index"].as_u64().unwrap()).collect();
    assert!(!indices.is_empty() && indices.iter().all(|n| (5..=9).contains(n)), "{indices:?}");
    assert_eq!(some["summary"], all["summary"], "a filter changes what is shown, not what is counted");
    let public = document(&disk, &Wanted { public: true, ..Wanted::default() });
    assert!(public.get("events").is_none() && public.get("snapshot").is_none());
    assert!(!public.to_string().contains("secret") && !public.to_string().contains("\\u00e9"));
    // A damaged log is exported as far as it holds, and says so.
    let mut bytes = disk.bytes("events.000002.jsonl");
    bytes[500] ^= 1;
    disk.put("events.000002.jsonl", &bytes);
    assert_eq!(document(&disk, &Wanted::default())["integrity"]["ok"], false);
}

#[test]
fn all_segments_as_one_file_are_a_log_of_their_own() {
    let disk = log_of(60, small(), false);
    assert!(disk.names().contains(&"events.000002.jsonl".to_owned()));
    let one = Sim::of(World::default());
    one.put(ACTIVE, &single(&disk));
    let report = verify::<_, Sim>(&one, None, &Questions { deep: true, ..Questions::default() }).unwrap();
    assert_eq!(
        (report.ok, report.events, report.last_checksum),
        (true, check(&disk).events, check(&disk).last_checksum)
    );
    // Each later segment begins by naming the one before.
    for line in single(&disk).split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let event = canon::parse(line).unwrap();
        if event["event_type"] == "bus.rotated" {
            assert_eq!(event["payload"]["last_checksum"], event["previous_checksum"]);
            assert_eq!(event["payload"]["events"].as_u64().unwrap() + 1, event["event_index"].as_u64().unwrap());
        }
        if event["event_index"].as_u64().unwrap().is_multiple_of(10) {
            let kind = event["event_type"].as_str().unwrap();
            assert!(matches!(kind, "anchor" | "bus.rotated"), "{kind}");
        }
    }
}

#[test]
fn a_snapshot_is_kept_beside_the_one_before_and_both_name_their_place() {
    let disk = Sim::of(World::default());
    let (mut log, opened) = open(&disk).unwrap();
    assert_eq!(opened.snapshot, SnapshotState::Absent);
    for n in 1..=50 {
        log.append(&[note(n)]).unwrap();
        if n % 20 == 0 {
            log.snapshot(AS_OF, None, &json!({"n": n})).unwrap();
        }
    }
    drop(log);
    let of = |opened: Opened| match opened.snapshot {
        SnapshotState::Fits(snapshot) => (snapshot.payload["n"].as_u64().unwrap(), snapshot.at),
        SnapshotState::Absent | SnapshotState::Rebuild(_) => panic!("{:?}", opened.snapshot),
    };
    let (n, at) = of(open(&disk.copy()).unwrap().1);
    assert_eq!(n, 40);
    // Replay goes on exactly behind it.
    let mut follower = follower(&disk, at.count + 1);
    assert_eq!(follower.poll().unwrap().unwrap().first_index, at.count + 1);
    // The newer one is torn: the older one is as good.
    disk.put(SNAPSHOT, &disk.bytes(SNAPSHOT)[..50]);
    assert_eq!(of(open(&disk).unwrap().1).0, 20);
}
