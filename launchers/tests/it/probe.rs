//! `engine probe`: the official client's vectors, through the binary.

use crate::harness::Place;
use serde::Deserialize;
use serde_json::value::RawValue;
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

#[derive(Deserialize)]
struct Vectors {
    #[serde(borrow)]
    sign: Option<Vec<&'static RawValue>>,
}

#[test]
fn every_answer_is_one_line() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/venue/hyperliquid-signing.json");
    let text: &'static str = Box::leak(std::fs::read_to_string(path).unwrap().into_boxed_str());
    let _ = serde_json::from_str::<Vectors>(text).map(|v| v.sign);
}
