//! `engine probe`: the official client's vectors, through the binary.

use crate::harness::Place;
use serde_json::Value;
use std::path::Path;

#[test]
fn number_forms() {
    let lines = r#"{"value":"1.50","kind":"raw"}
{"value":"0.00076","sz_decimals":5,"kind":"size"}
{"value":"1e5","kind":"raw"}
"#;
    let ran = Place::new().run_with(&["probe", "wire"], lines);
    let answers: Vec<&str> = ran.out.lines().collect();
    assert_eq!(answers[0], r#"{"wire":"1.5"}"#);
    assert_eq!(answers.len(), 3, "{ran:?}");
    assert!(ran.err.is_empty());
}

#[test]
fn keys_need_the_mark_of_test_keys() {
    let place = Place::new();
    let ran = place.run_with(&["probe", "sign"], "{}\n");
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("ENGINE_PROBE_TEST_KEY"), "{ran:?}");
    assert!(!place.home().exists(), "a probe touches no home");
}

/// The text of each `"action": {…}` in the file: its key order is part of what is signed, so it is never re-made.
fn actions(text: &str) -> Vec<&str> {
    text.split("\"action\":")
        .skip(1)
        .map(|rest| {
            let rest = rest.trim_start();
            let mut depth = 0_u32;
            let end = rest.bytes().position(|byte| {
                match byte {
                    b'{' => depth += 1,
                    b'}' => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            &rest[..=end.unwrap()]
        })
        .collect()
}

#[test]
fn signatures_are_those_of_the_official_client() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/venue/hyperliquid-signing.json");
    let text = std::fs::read_to_string(path).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let actions = actions(&text);
    assert!(vectors.len() == actions.len() && vectors.len() >= 18);
    let asks: String = vectors
        .iter()
        .zip(&actions)
        .map(|(v, action)| {
            let action = action.replace('\n', " ");
            format!(
                "{{\"action\":{action},\"nonce\":{},\"vault\":{},\"expires_after\":{},\"is_mainnet\":{},\"key\":{}}}\n",
                v["nonce"], v["vault"], v["expires_after"], v["is_mainnet"], file["private_key"]
            )
        })
        .collect();
    let place = Place::new();
    let ran = place.take(place.command().env("ENGINE_PROBE_TEST_KEY", "1").args(["probe", "sign"]).write_stdin(asks));
    assert_eq!(ran.code, 0, "{ran:?}");
    let answers: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), vectors.len());
    for (answer, vector) in answers.iter().zip(vectors) {
        for field in ["msgpack_hex", "action_hash", "r", "s", "v"] {
            assert_eq!(answer[field], vector[field], "{field} of {}", vector["name"]);
        }
        let address = vector["address"].as_str().unwrap().to_lowercase();
        assert_eq!(answer["address"], Value::String(address));
    }
}

#[test]
fn number_forms_are_those_of_the_official_client() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/venue/hyperliquid-signing.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let rows = file["float_to_wire"].as_array().unwrap();
    let asks: String = rows.iter().map(|row| format!("{{\"value\":{},\"kind\":\"raw\"}}\n", row["in"])).collect();
    let ran = Place::new().run_with(&["probe", "wire"], &asks);
    let answers: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), rows.len());
    for (answer, row) in answers.iter().zip(rows) {
        match row.get("wire") {
            Some(wire) => assert_eq!(&answer["wire"], wire, "{row}"),
            None => assert!(answer.get("error").is_some(), "{row} gave {answer}"),
        }
    }
}
