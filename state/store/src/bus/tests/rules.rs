//! Every rule of the contract with a log that breaks only it, told with its file, byte, expected and found.

use super::*;
use crate::bus::event::spliced;
use crate::canon;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Three events, without head and key: a log as somebody else may hand it over.
fn three() -> Vec<Value> {
    let disk = log_of(3, plain(), true);
    disk.bytes(ACTIVE).split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| canon::parse(l).unwrap()).collect()
}

/// Gives the event from `at` on their right links and checksums again.
fn rehash(events: &mut [Value], at: usize) {
    for n in at..events.len() {
        if n > at {
            events[n]["previous_checksum"] = events[n - 1]["checksum"].clone();
        }
        let mut core = events[n].clone();
        core.as_object_mut().unwrap().remove("checksum");
        let sum = Sum(Sha256::digest(canon::encode(&core).unwrap()).into());
        events[n]["checksum"] = sum.to_string().into();
    }
}

fn text(events: &[Value]) -> Vec<u8> {
    events.iter().flat_map(|event| [canon::encode(event).unwrap(), b"\n".to_vec()].concat()).collect()
}

fn audit(bytes: &[u8], deep: bool) -> Report {
    let disk = Sim::of(World::default());
    disk.put(ACTIVE, bytes);
    verify::<_, Sim>(&disk, None, &Questions { deep, ..Questions::default() }).unwrap()
}

#[test]
fn an_honest_log_of_others_is_accepted_without_a_head() {
    let report = audit(&text(&three()), true);
    assert_eq!((report.ok, report.events, report.head), (true, 3, HeadVerdict::Absent));
    for nothing in [&b""[..], b"   \n", b"\n"] {
        let report = audit(nothing, true);
        assert_eq!((report.ok, report.events, report.last_checksum), (true, 0, None));
    }
    let none = Sim::of(World::default());
    assert!(verify::<_, Sim>(&none, None, &Questions::default()).unwrap().ok);
}

#[test]
fn each_rule_is_told_by_its_code_place_and_values() {
    type Edit = fn(&mut Vec<Value>);
    let rows: &[(&str, Edit, &str, &str)] = &[
        (
            "schema@2",
            |e| e[1]["schema_version"] = "zero.runtime.event.v2".into(),
            "zero.runtime.event.v1",
            "\"zero.runtime.event.v2\"",
        ),
        (
            "schema@2",
            |e| drop(e[1].as_object_mut().unwrap().remove("schema_version")),
            "zero.runtime.event.v1",
            "nothing",
        ),
        ("index@2", |e| e[1]["event_index"] = 3.into(), "2", "3"),
        ("index@2", |e| e[1]["event_index"] = 2.0.into(), "2", "2.0"),
        ("id@2", |e| e[1]["event_id"] = "evt-000000000001".into(), "evt-000000000002", "\"evt-000000000001\""),
        ("id@2", |e| e[1]["event_id"] = "evt-2".into(), "evt-000000000002", "\"evt-2\""),
        ("chain@2", |e| e[1]["previous_checksum"] = Value::Null, "sha256:", "null"),
        ("chain@1", |e| e[0]["previous_checksum"] = e[0]["checksum"].clone(), "null", "sha256:"),
        ("field@2", |e| e[1]["zzz"] = 1.into(), "no such member", "zzz"),
        ("field@2", |e| e[1]["port"] = 1.into(), "no such member", "port"),
        ("field@2", |e| e[1]["aaa"] = json!({"x": 1}), "no such member", "aaa"),
        ("field@2", |e| e[1]["as_of"] = 1_777_646_402.into(), "a float", "1777646402"),
        ("field@2", |e| e[1]["payload"] = json!([]), "an object", "[]"),
        ("field@2", |e| e[1]["event_type"] = json!(7), "a text", "7"),
        ("field@2", |e| e[1]["trace_id"] = json!(""), "a text", "\"\""),
    ];
    for (reason, edit, expected, found) in rows {
        let mut events = three();
        edit(&mut events);
        let at = if reason.ends_with('1') { 0 } else { 1 };
        rehash(&mut events, at);
        let bytes = text(&events);
        for deep in [false, true] {
            let report = audit(&bytes, deep);
            let finding = report.finding.unwrap_or_else(|| panic!("{reason} was not found"));
            assert_eq!(&report.reason, reason);
            assert_eq!((report.events, finding.event), (at as u64, at as u64 + 1), "{reason}");
            assert!(finding.expected.contains(expected) && finding.found.contains(found), "{reason}: {finding}");
            let start = text(&events[..at]).len() as u64;
            let end = text(&events[..=at]).len() as u64;
            assert!(finding.byte >= start && finding.byte < end && finding.file == ACTIVE, "{reason}: {finding}");
        }
    }
}

#[test]
fn a_newer_schema_is_refused_with_its_file_and_byte() {
    let disk = log_of(3, plain(), false);
    let text = String::from_utf8(disk.bytes(ACTIVE)).unwrap();
    let newer = text.replacen("event.v1", "event.v9", 1);
    disk.put(ACTIVE, newer.as_bytes());
    let error = open_with(&disk, plain()).unwrap_err().to_string();
    let byte = newer.find("\"schema_version\"").unwrap();
    for part in ["schema@1", "events.jsonl", &format!("byte {byte}"), "zero.runtime.event.v9", "zero.runtime.event.v1"]
    {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn bytes_that_say_the_same_in_another_way_are_no_good_either() {
    let events = three();
    let lines: Vec<String> =
        text(&events).split_inclusive(|b| *b == b'\n').map(|l| String::from_utf8(l.to_vec()).unwrap()).collect();
    let with = |second: String| [lines[0].clone(), second, lines[2].clone()].concat().into_bytes();
    // The right checksum of what it means, another spelling.
    for second in [
        lines[1].replace("\"payload\":{", "\"payload\": {"),
        lines[1].replace('\n', " \n"),
        lines[1].replace("\\u00e9", "é"),
        lines[1].replace("1777646402.0", "1777646402.00"),
        lines[1].replace("1777646402.0", "1.777646402e9"),
    ] {
        assert_ne!(second, lines[1]);
        let report = audit(&with(second.clone()), false);
        assert_eq!((report.reason.as_str(), report.events), ("form@2", 1), "{second}");
    }
    // Not even JSON, or a key twice.
    for second in [
        lines[1].replace("\"payload\":{", "\"payload\":{,"),
        lines[1].replace("\"payload\":{", "\"payload\":{\"n\":2,"),
        lines[1].replace("\"event_index\":2,", "\"event_index\":2,\"event_index\":2,"),
        lines[1].replace('}', ""),
        "[]\n".to_owned(),
        "\n".to_owned(),
        "\0\0\0\n".to_owned(),
        "NaN\n".to_owned(),
    ] {
        let report = audit(&with(second.clone()), false);
        let reason = if second.contains("{\"n\":2,\"n\"") { "unparseable@2" } else { report.reason.as_str() };
        assert_eq!((reason, report.events, report.ok), ("unparseable@2", 1, false), "{second}");
    }
    // A checksum that is right over the stored bytes, and a payload in another spelling: only the deep audit sees it.
    let spelled = lines[2].replace("\"n\":3", "\"n\":3e0");
    let sum_at = spelled.find("\"checksum\"").unwrap();
    let rest = &spelled[sum_at + event::SUM_BYTES..spelled.len() - 1];
    let sum = spliced(&spelled.as_bytes()[..sum_at], rest.as_bytes());
    let forged = format!("{}\"checksum\":\"{sum}\",{rest}\n", &spelled[..sum_at]);
    let bytes = [lines[0].clone(), lines[1].clone(), forged].concat();
    assert!(audit(bytes.as_bytes(), false).ok);
    let report = audit(bytes.as_bytes(), true);
    assert_eq!((report.reason.as_str(), report.events), ("form@3", 2));
    let byte = report.finding.unwrap().byte;
    assert_eq!(&bytes.as_bytes()[usize::try_from(byte).unwrap()..][..3], b"3e0");
}

#[test]
fn a_file_without_its_last_newline_is_torn_and_time_that_goes_back_is_only_odd() {
    let mut bytes = text(&three());
    bytes.pop();
    let report = audit(&bytes, false);
    assert_eq!((report.reason.as_str(), report.events, report.ok), ("torn_tail", 2, false));
    let mut events = three();
    events[2]["as_of"] = 1_777_646_399.0.into();
    rehash(&mut events, 1);
    let report = audit(&text(&events), true);
    assert!(report.ok && report.warnings_total == 1, "{report:?}");
    assert_eq!(report.warnings[0].reason(), "time@3");
}

#[test]
fn a_line_longer_than_any_is_refused_without_being_held() {
    let long = [&text(&three())[..], &vec![b'x'; 4 * LINE_BYTES_MAX], b"\n"].concat();
    assert_eq!(audit(&long, false).reason, "unparseable@4");
}

#[test]
fn an_anchor_kept_elsewhere_is_found_or_missed() {
    let disk = log_of(30, small(), true);
    let report = check(&disk);
    let head = head::read(&disk.open_head(), None).unwrap().newest.unwrap();
    let anchor =
        Anchor { bus_id: head.bus_id, count: report.events, sum: Sum::parse(&report.last_checksum.unwrap()).unwrap() };
    let line = anchor.to_string();
    assert_eq!(Anchor::parse(&line), Some(anchor.clone()));
    for bad in ["", "holdfast-anchor", &line.replace(' ', ""), &format!("{line} x"), &line.replace("sha256", "sha512")]
    {
        assert_eq!(Anchor::parse(bad), None, "{bad}");
    }
    let asked = |disk: &Sim, anchor: &Anchor| {
        let questions = Questions { anchor: Some(anchor.clone()), ..Questions::default() };
        verify(disk, Some(&keys(disk)), &questions).unwrap()
    };
    assert_eq!((asked(&disk, &anchor).ok, asked(&disk, &anchor).anchor), (true, Some(true)));
    // The whole folder is rewritten, key and all: only what is kept elsewhere shows it.
    let rewritten = log_of(31, Options { seed: [8; 32], ..small() }, true);
    let report = asked(&rewritten, &anchor);
    assert_eq!((report.ok, report.reason.as_str()), (false, "anchor"));
    let cut = log_of(10, small(), true);
    assert_eq!(asked(&cut, &anchor).anchor, Some(false));
}

impl Sim {
    fn open_head(&self) -> crate::sim::SimFile {
        use crate::disk::{Access, Folder};
        self.open(HEAD, Access::Read).unwrap()
    }
}
