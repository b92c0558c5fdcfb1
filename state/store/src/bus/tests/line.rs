//! The bytes of a line: the worked examples of the contract, and the reference's golden chain.

use super::*;
use crate::bus::event::line;
use serde::Serialize;
use serde_json::Value;

fn build(index: u64, previous: Option<Sum>, event: &NewEvent) -> (String, Sum) {
    let mut bytes = Vec::new();
    let sum = line(&mut bytes, index, previous.as_ref(), event);
    (String::from_utf8(bytes).unwrap(), sum)
}

/// The line without its checksum member.
fn core(line: &str, sum: Sum) -> String {
    line.trim_end().replace(&format!("\"checksum\":\"{sum}\","), "")
}

#[derive(Serialize)]
struct Awkward {
    z: u128,
    a: f64,
    b: f64,
    c: f64,
    d: f64,
    e: f64,
    f: f64,
    g: f64,
    h: Value,
    #[serde(rename = "😀")]
    grin: u8,
}

#[test]
fn the_worked_examples_have_their_bytes_and_checksums() {
    let one = NewEvent::new("runtime.health", 1_777_646_400.0, &json!({"mode": "paper", "n": 1})).unwrap();
    let (line, first) = build(1, None, &one);
    assert_eq!(
        core(&line, first),
        r#"{"as_of":1777646400.0,"event_id":"evt-000000000001","event_index":1,"event_type":"runtime.health","payload":{"mode":"paper","n":1},"previous_checksum":null,"schema_version":"zero.runtime.event.v1"}"#
    );
    assert_eq!(first.to_string(), "sha256:29eeb78980119d0ea2abc3c9f23d870bcc5f5361f8b0cf361b6a354bd87f5dc3");
    let payload = json!({"note": "é☃", "price": 40500.0, "symbol": "BTC"});
    let two = NewEvent::new("decision.record", 1_777_646_400.5, &payload).unwrap().traced("runtime-cycle-1").unwrap();
    let (line, second) = build(2, Some(first), &two);
    assert_eq!(
        core(&line, second),
        r#"{"as_of":1777646400.5,"event_id":"evt-000000000002","event_index":2,"event_type":"decision.record","payload":{"note":"\u00e9\u2603","price":40500.0,"symbol":"BTC"},"previous_checksum":"sha256:29eeb78980119d0ea2abc3c9f23d870bcc5f5361f8b0cf361b6a354bd87f5dc3","schema_version":"zero.runtime.event.v1","trace_id":"runtime-cycle-1"}"#
    );
    assert_eq!(second.to_string(), "sha256:c3bf9c72da771fb3ea2578e1c4a0cdbbef4662e69feadc616fa68c8f7dfcab65");
    let awkward = Awkward {
        a: 1e16,
        b: 1e-5,
        c: 1e-4,
        d: 1.2345678901234568e17,
        e: -0.0,
        f: 5e-324,
        g: f64::MAX,
        h: json!([true, null, "\u{2028}\u{7f}\"\\/\n\u{1}"]),
        z: 100_000_000_000_000_000_000,
        grin: 1,
    };
    let (line, third) = build(3, Some(second), &NewEvent::new("x", 0.1, &awkward).unwrap());
    assert_eq!(
        core(&line, third),
        r#"{"as_of":0.1,"event_id":"evt-000000000003","event_index":3,"event_type":"x","payload":{"a":1e+16,"b":1e-05,"c":0.0001,"d":1.2345678901234568e+17,"e":-0.0,"f":5e-324,"g":1.7976931348623157e+308,"h":[true,null,"\u2028\u007f\"\\/\n\u0001"],"z":100000000000000000000,"\ud83d\ude00":1},"previous_checksum":"sha256:c3bf9c72da771fb3ea2578e1c4a0cdbbef4662e69feadc616fa68c8f7dfcab65","schema_version":"zero.runtime.event.v1"}"#
    );
    assert_eq!(third.to_string(), "sha256:270e2dc9cd69a0c57e2b0885e85c9007b2cc30ef1e2e96d5403fc1d293c27dca");
}

/// Type, trace id and payload of each event of the first two cycles of the reference.
fn golden() -> Vec<NewEvent> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/bus/golden-chain.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let given: Value = serde_json::from_str(line).unwrap();
            let event = NewEvent::new(given["event_type"].as_str().unwrap(), AS_OF, &given["payload"]).unwrap();
            event.traced(given["trace_id"].as_str().unwrap()).unwrap()
        })
        .collect()
}

#[test]
fn the_golden_chain_comes_out_and_is_accepted() {
    let disk = Sim::of(World::default());
    let (mut log, _) = open_with(&disk, plain()).unwrap();
    let sums: Vec<String> =
        golden().into_iter().map(|event| log.append(&[event]).unwrap().sum.unwrap().to_string()).collect();
    for (index, sum) in [
        (1, "62d48c473d52f4228d6536efd4448e50056ec74da6af3efdd72b45521c2a15da"),
        (2, "46ca2476f997d6c0eb8e84e46f6ffff7eb6afcc27ed19fe37aaabfdb3c4c9bbf"),
        (3, "d3ef7ce1c5c3c809abb8c471e521cd99698bc154e9f28bf8b68e244a10cae9c9"),
        (4, "087a2f690689b20e90278742debc7ad78022cef14de3b5b0704aacb41fb8d073"),
        (5, "5b428d974990ce6912dd603fc474acc940811b9dbbb2946e04c06dbc17b18580"),
        (8, "37575141608ce7be18d33c54dc391e0704311209988e0b120cf8ec20609cacfe"),
        (10, "1ebe1df3d72e62558d011819f5f467fa394636851155f8d1ae3e41bad524df53"),
    ] {
        assert_eq!(sums[index - 1], format!("sha256:{sum}"), "event {index}");
    }
    assert_eq!((check(&disk).ok, check(&disk).events), (true, 10));
}

#[test]
fn what_has_no_place_in_a_line_is_refused() {
    let new = |name: &str, as_of, payload: Value| NewEvent::new(name, as_of, &payload);
    assert_eq!(new("x", 1.0, json!([])).unwrap_err(), EventError::NoObject);
    assert!(matches!(new("x", f64::NAN, json!({})), Err(EventError::Form(_))));
    for name in ["", "ä", "a\"b", &"x".repeat(200)] {
        assert!(matches!(new(name, 1.0, json!({})), Err(EventError::Name(_))), "{name}");
    }
    assert!(matches!(new("x", 1.0, json!({"a": "x".repeat(LINE_BYTES_MAX)})), Err(EventError::TooLong(_))));
    assert!(new("x", 1.0, json!({})).unwrap().traced("\n").is_err());
}
