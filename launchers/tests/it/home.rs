//! Homes that cannot be used, markets that cannot be read, and what is said when nothing runs.

use crate::harness::{Place, golden, identity};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

#[test]
fn without_a_tree_each_command_says_so_with_its_own_code() {
    let place = Place::new();
    let mut text = String::new();
    for (args, code) in [
        (&["status"][..], 3),
        (&["--json", "status"], 3),
        (&["mode"], 5),
        (&["--json", "mode"], 5),
        (&["stop"], 3),
        (&["pause"], 3),
        (&["resume"], 3),
        (&["heartbeat"], 3),
        (&["flatten"], 3),
        (&["kill"], 3),
        (&["--json", "pause"], 3),
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        text.push_str(&format!("== engine {}\n{}{}", args.join(" "), ran.out, ran.err));
    }
    assert!(!place.home().exists(), "looking makes no home");
    golden("not-running.txt", &text);
}

#[test]
fn a_kill_without_a_tree_waits_for_the_next_start() {
    let place = Place::new();
    fs::create_dir(place.home()).unwrap();
    let ran = place.run(&["kill", "--reason", "drill\u{1b}[2J"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let order = fs::read_to_string(place.home().join("run/KILL")).unwrap();
    assert!(order.contains("drill") && !order.contains('\u{1b}'), "{order:?}");
    assert!(ran.err.contains("next start is killed"), "{ran:?}");
}

#[test]
fn a_stale_pidfile_is_found_by_lock_and_start_time_and_cleared() {
    let place = Place::new();
    fs::create_dir_all(place.home().join("run")).unwrap();
    // A living process that is no supervisor: this one.
    fs::write(place.home().join("run/supervisor.pid"), format!("{} 1 0\n", std::process::id())).unwrap();
    let ran = place.run(&["status"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("stale pidfile"), "{ran:?}");
    assert!(!place.home().join("run/supervisor.pid").exists());
}

#[test]
fn the_last_document_is_shown_as_stale() {
    let place = Place::new();
    fs::create_dir_all(place.home().join("run")).unwrap();
    fs::write(place.home().join("run/status.json"), "{\"schema\":\"holdfast.status.v1\",\"running\":true}").unwrap();
    let ran = place.run(&["--json", "status"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.json()["last_known"].is_null(), "half a document is none: {ran:?}");
}

#[test]
fn what_deadman_did_without_a_supervisor_is_told() {
    let place = Place::new();
    fs::create_dir_all(place.home().join("run")).unwrap();
    let report = r#"{"schema":"holdfast.deadman-report.v1","at":"2026-01-02T03:04:05.000Z","supervisor_pid":7,"epoch":3,
        "policy":"flatten","progress":{"job":1,"state":"flat","round":1,"residue":[],"proof_venue_ms":1,"detail":"two reads"},
        "note":"supervisor lost"}"#;
    fs::write(place.home().join("run/deadman-report.json"), report).unwrap();
    // Its own lock names this living process: it is still there.
    fs::write(place.home().join("run/deadman.lock"), identity(std::process::id())).unwrap();
    let ran = place.run(&["status"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("supervisor lost (round 1 · flat · two reads)"), "{ran:?}");
    assert!(ran.out.contains("deadman is still there"), "{ran:?}");
    let json = place.run(&["--json", "status"]).json();
    assert_eq!(json["survivors"][0]["role"], "deadman");
    assert_eq!(json["deadman_report"]["progress"]["state"], "flat");
    let doctor = place.run(&["doctor"]);
    assert!(doctor.out.contains("warn instance"), "{doctor:?}");
}

#[test]
fn homes_that_cannot_be_used_start_nothing() {
    let place = Place::new();
    let long = format!("/tmp/{}", "x".repeat(80));
    let ran = place.take(place.command().args(["--home", &long, "start"]));
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("85 bytes long"), "{ran:?}");
    let file = place.file("file", "");
    let ran = place.take(place.command().args(["--home", file.to_str().unwrap(), "start"]));
    assert_eq!(ran.code, 1, "{ran:?}");
    let ran = place.take(place.command().args(["--home", file.join("below").to_str().unwrap(), "start"]));
    assert_eq!(ran.code, 1, "{ran:?}");
    let ran = place.take(place.command().env_clear().arg("status"));
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("no home folder"), "{ran:?}");
}

#[test]
fn open_key_folders_and_key_files_are_refused() {
    for (path, mode, want) in [("keys", 0o750, "chmod 700"), ("keys/engine.key", 0o640, "chmod 600")] {
        let place = Place::new();
        place.file("h/keys/engine.key", &format!("{}\n", "1".repeat(64)));
        fs::set_permissions(place.home().join("keys"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(place.home().join(path), fs::Permissions::from_mode(mode)).unwrap();
        let ran = place.run(&["start", "--wait", "1"]);
        assert_eq!(ran.code, 78, "{path}: {ran:?}");
        assert!(ran.err.contains(want), "{ran:?}");
        assert!(!place.home().join("run/supervisor.pid").exists());
        assert_eq!(place.run(&["doctor"]).code, 1, "doctor sees it too");
    }
}

#[test]
fn a_lost_supervisor_is_never_called_flat_without_proof() {
    let place = Place::new();
    fs::create_dir_all(place.home().join("run")).unwrap();
    let lock = place.home().join("run/deadman.lock");
    fs::write(&lock, identity(std::process::id())).unwrap();
    let ran = place.run(&["status"]);
    assert!(ran.out.starts_with("supervisor lost · treat as Kill · exposure UNKNOWN"), "{ran:?}");
    assert_eq!(place.run(&["--json", "status"]).json()["exposure"], "exposure UNKNOWN");
    for command in ["stop", "pause", "heartbeat", "resume", "flatten", "kill"] {
        let ran = place.run(&[command]);
        assert_eq!(ran.code, 3, "{ran:?}");
        let pid = std::process::id();
        assert!(ran.err.contains(&format!("deadman (pid {pid}) is at work and closes what is open")), "{ran:?}");
        assert!(!ran.err.contains("nothing of Holdfast trades here"), "{ran:?}");
    }
    fs::remove_file(&lock).unwrap();
    let residue = r#"[{"dex":"","coin":"BTC","size":"0.01","orders":2}]"#;
    for (state, residue, proof, detail, line) in [
        ("not_flat", residue, "null", "x", "supervisor lost · treat as Kill · NOT FLAT: BTC position 0.01, 2 orders"),
        ("not_flat", "[]", "null", "x", "supervisor lost · treat as Kill · exposure UNKNOWN"),
        (
            "flat",
            "[]",
            "1",
            "no orders left on any dex; 2 positions untouched",
            "supervisor lost · treat as Kill · exposure UNKNOWN",
        ),
        (
            "flat",
            "[]",
            "1",
            "flat: two reads",
            "not running · no engine runs in HOME · flat, proven by deadman at 2026",
        ),
    ] {
        let report = format!(
            r#"{{"at":"2026-01-02T03:04:05.000Z","supervisor_pid":7,"progress":{{"job":1,"state":"{state}","round":1,
            "residue":{residue},"proof_venue_ms":{proof},"detail":"{detail}"}},"note":"supervisor lost"}}"#
        );
        fs::write(place.home().join("run/deadman-report.json"), report).unwrap();
        let ran = place.run(&["status"]);
        assert!(ran.code == 3 && ran.out.starts_with(line), "{line}: {ran:?}");
    }
}

#[test]
fn one_key_in_both_places_is_refused() {
    let place = Place::new();
    fs::create_dir_all(place.home()).unwrap();
    for (file, text) in [("engine", format!("0x{}", "11".repeat(32))), ("deadman", "11".repeat(32))] {
        place.file(&format!("h/keys/{file}.key"), &text);
    }
    fs::set_permissions(place.home().join("keys"), fs::Permissions::from_mode(0o700)).unwrap();
    for args in [&["start", "--wait", "1"][..], &["restart"], &["config", "check"]] {
        let ran = place.run(args);
        assert_eq!(ran.code, 78, "{args:?}: {ran:?}");
        assert!(ran.err.contains("hold the same key") && !ran.err.contains("1111"), "{ran:?}");
    }
    assert!(!place.home().join("run/supervisor.pid").exists());
    let doctor = place.run(&["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains("FAIL keys"), "{doctor:?}");
}

#[test]
fn markets_that_cannot_be_read_start_nothing() {
    let mut text = String::new();
    for (name, body) in [
        ("empty.csv", ""),
        ("titles.csv", "time,open,high,low,close\n"),
        ("shape.csv", "a,b,c\n1,2,3\n"),
        ("cut.csv", "time,open,high,low,close\n1700000000,1,2,0.5,1.5\n1700000060,1,2\n"),
        ("prose.txt", "Dear market,\n"),
    ] {
        let place = Place::new();
        place.file(name, body);
        let ran = place.run(&["start", "--market", name]);
        assert_eq!(ran.code, 1, "{name}: {ran:?}");
        place.assert_untouched();
        text.push_str(&format!("== {name}\n{}", ran.err));
        place.config(&format!("[paper]\nmarket = \"../{name}\"\n"));
        assert_eq!(place.run(&["start"]).code, 78, "named in the configuration: {name}");
        place.assert_untouched();
    }
    golden("market-refused.txt", &text);
    let place = Place::new();
    assert_eq!(place.run(&["start", "--market", "missing.csv"]).code, 1);
    place.assert_untouched();
}

#[test]
fn a_port_given_by_name_and_taken_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for section in ["api", "paper"] {
        let place = Place::new();
        place.config(&format!("[{section}]\nport = {port}\n"));
        let ran = place.run(&["start"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.err.contains(&format!("({section}.port)")), "{ran:?}");
        place.assert_untouched();
    }
}

#[test]
fn a_fresh_home_passes_the_doctor() {
    let place = Place::new();
    let ran = place.run(&["--json", "doctor"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["schema"], "holdfast.doctor.v1");
    assert!(!place.home().exists());
    // The user's own folder is not spelled out.
    assert!(!ran.out.contains("HOME"), "{ran:?}");
    fs::create_dir(place.home()).unwrap();
    place.config("nonsense");
    let ran = place.run(&["doctor"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("FAIL config"), "{ran:?}");
}
