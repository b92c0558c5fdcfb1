//! Usage, version, completions, colour: what needs not even a home.

use crate::harness::{Place, golden};

#[test]
fn usage_errors_exit_2_in_both_forms() {
    let place = Place::new();
    for args in [
        &["bogus"][..],
        &[],
        &["start", "--speed", "0"],
        &["start", "--speed", "3601"],
        &["stop", "--timeout", "0"],
        &["worker", "judge"],
        &["-q", "-v", "mode"],
        &["logs", "-n", "10001"],
        // Commands of later versions are not there as stubs.
        &["position", "list"],
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{args:?}: {ran:?}");
    }
    let ran = place.run(&["bogus"]);
    assert!(ran.err.contains("\nrisk:  ") && ran.err.contains("\nnext:  "), "every error says what it means: {ran:?}");
    let ran = place.run(&["--json", "bogus"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, ""));
    assert_eq!(ran.json()["schema"], "holdfast.error.v1");
    assert_eq!(ran.json()["code"], "usage");
}

#[test]
fn help_shows_every_command_a_person_types_and_no_other() {
    let ran = Place::new().run(&["--help"]);
    assert_eq!(ran.code, 0);
    golden("help.txt", &ran.out);
}

#[test]
fn the_version_names_the_build() {
    let ran = Place::new().run(&["--version"]);
    let id = ran.out.trim().strip_prefix("engine ").unwrap();
    let (version, digest) = id.split_once('+').unwrap();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    assert!(digest.len() == 12 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{digest}");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = Place::new().run(&["completions", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("flatten") && ran.out.contains("heartbeat"), "{shell}");
    }
}

#[test]
fn text_answers_have_a_json_form_too() {
    let place = Place::new();
    for (args, schema, part) in [
        (&["--json", "--version"][..], "holdfast.version.v1", "engine "),
        (&["--help", "--json"], "holdfast.help.v1", "Usage: engine"),
        (&["--json", "stop", "--help"], "holdfast.help.v1", "--flatten"),
        (&["--json", "completions", "bash"], "holdfast.completions.v1", "flatten"),
    ] {
        let ran = place.run(args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}: {ran:?}");
        assert_eq!(ran.json()["schema"], schema, "{args:?}");
        assert!(ran.json()["text"].as_str().unwrap().contains(part), "{args:?}");
    }
}

#[test]
fn a_worker_cannot_be_started_by_hand() {
    let ran = Place::new().run(&["worker", "engine"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("started by the supervisor"), "{ran:?}");
}

#[test]
fn no_colour_into_a_pipe_whatever_the_terminal() {
    let place = Place::new();
    for variable in [("TERM", "xterm-256color"), ("NO_COLOR", "1")] {
        let ran = place.take(place.command().env(variable.0, variable.1).arg("status"));
        assert!(!ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'), "{ran:?}");
    }
}
