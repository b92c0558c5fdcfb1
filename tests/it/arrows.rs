//! The arrows of the house, compared with the metadata that cargo prints. A new arrow is a reviewed line here.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Which crate of ours may name which.
const ARROWS: &[(&str, &[&str])] = &[
    ("holdfast-core", &[]),
    ("holdfast-store", &["holdfast-core"]),
    ("holdfast-mirror", &["holdfast-store"]),
    ("holdfast-ipc", &["holdfast-core"]),
    ("holdfast-supervisor", &["holdfast-core", "holdfast-store", "holdfast-ipc"]),
    ("holdfast-kit", &["holdfast-core", "holdfast-ipc"]),
    ("holdfast-venue-reduce", &["holdfast-core"]),
    ("holdfast-venue-open", &["holdfast-core", "holdfast-venue-reduce"]),
    ("holdfast-sensor", &["holdfast-core", "holdfast-ipc", "holdfast-kit", "holdfast-venue-reduce"]),
    ("holdfast-deadman", &["holdfast-core", "holdfast-store", "holdfast-ipc", "holdfast-kit", "holdfast-venue-reduce"]),
    ("holdfast-api", &["holdfast-core", "holdfast-ipc", "holdfast-kit"]),
    ("holdfast-paper-venue", &["holdfast-core", "holdfast-ipc", "holdfast-kit"]),
    (
        "holdfast-engine",
        &[
            "holdfast-core",
            "holdfast-store",
            "holdfast-ipc",
            "holdfast-kit",
            "holdfast-venue-reduce",
            "holdfast-venue-open",
        ],
    ),
];

/// Crates from outside that only some of ours may name: who can sign, who can speak to a venue, who can listen.
const CAPABILITIES: &[(&str, &[&str])] = &[
    ("k256", &["holdfast-venue-reduce", "holdfast-paper-venue"]),
    ("reqwest", &["holdfast-venue-reduce", "holdfast-venue-open"]),
    ("axum", &["holdfast-api", "holdfast-paper-venue"]),
    ("clap", &["holdfast"]),
    ("tokio-postgres", &["holdfast-mirror"]),
    ("rusqlite", &["holdfast-store"]),
    ("sd-notify", &["holdfast-supervisor"]),
    ("interprocess", &["holdfast-ipc", "holdfast-supervisor"]),
];

/// What the judge may be made of.
const CORE: &[&str] = &["serde", "serde_json", "sha2", "rust_decimal"];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let name = package["name"].as_str().expect("a name").to_owned();
            let needs = package["dependencies"].as_array().expect("dependencies").iter();
            let shipped = needs.filter(|need| need["kind"].is_null());
            (name, shipped.map(|need| need["name"].as_str().expect("a name").to_owned()).collect())
        })
        .collect()
}

#[test]
fn arrows_are_those_of_the_house() {
    let actual = dependencies();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for (name, may) in ARROWS {
        let needs = actual.get(*name).unwrap_or_else(|| panic!("{name} is in the house"));
        let ours: BTreeSet<&str> = needs.iter().map(String::as_str).filter(|n| n.starts_with("holdfast")).collect();
        let may: BTreeSet<&str> = may.iter().copied().collect();
        assert!(ours.is_subset(&may), "{name} names {:?}", ours.difference(&may).collect::<Vec<_>>());
    }
    let free = ["holdfast", "holdfast-tests", "xtask"];
    for name in actual.keys() {
        assert!(known.contains(name.as_str()) || free.contains(&name.as_str()), "{name} has no line here");
    }
}

#[test]
fn only_the_engine_can_name_the_crate_that_opens_risk() {
    let who: Vec<String> = dependencies()
        .into_iter()
        .filter(|(_, needs)| needs.contains("holdfast-venue-open"))
        .map(|(name, _)| name)
        .filter(|name| name != "holdfast")
        .collect();
    assert_eq!(who, ["holdfast-engine"], "beside the launcher, which links every worker");
}

#[test]
fn capabilities_are_held_by_who_may_hold_them() {
    let actual = dependencies();
    for (capability, may) in CAPABILITIES {
        for (name, needs) in &actual {
            let holds = needs.contains(*capability);
            assert!(!holds || may.contains(&name.as_str()), "{name} may not name {capability}");
        }
    }
    let core: BTreeSet<&str> = actual["holdfast-core"].iter().map(String::as_str).collect();
    assert!(core.iter().all(|need| CORE.contains(need)), "the judge names {core:?}");
}
