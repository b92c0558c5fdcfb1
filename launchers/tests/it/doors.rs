//! Doors that do not answer, or answer badly: what the commands make of them, and how soon.

use crate::harness::{Place, identity};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Child;
use std::thread::JoinHandle;
use std::time::Duration;

fn door(place: &Place, name: &str) -> UnixListener {
    fs::create_dir_all(place.home().join("run")).unwrap();
    UnixListener::bind(place.home().join("run").join(name)).unwrap()
}

/// Serves one client: takes its request and sends these frames, or these bytes as they are.
fn serve(door: UnixListener, answers: Vec<Vec<u8>>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut stream, _) = door.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request).unwrap();
        for answer in answers {
            stream.write_all(&answer).unwrap();
        }
        String::from_utf8(request).unwrap()
    })
}

fn frame(json: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(json.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes
}

fn progress(state: &str, residue: &str, proof: &str) -> Vec<u8> {
    frame(&format!(
        r#"{{"progress":{{"job":1,"state":"{state}","round":1,"residue":{residue},"proof_venue_ms":{proof},"detail":"two reads"}}}}"#
    ))
}

#[test]
fn a_door_nobody_answers_is_unknown_within_a_second() {
    let place = Place::new();
    let _door = door(&place, "control.sock");
    for (args, code) in [(&["status"][..], 4), (&["mode"], 5)] {
        let before = std::time::SystemTime::now();
        let ran = place.run(args);
        assert!(before.elapsed().unwrap() < Duration::from_millis(1000), "{args:?} took {:?}", before.elapsed());
        assert_eq!(ran.code, code, "{ran:?}");
    }
    let json = place.run(&["--json", "status"]).json();
    assert!(json["running"].is_null() && json["detail"].is_string(), "{json}");
}

#[test]
fn garbage_at_the_door_is_unknown_and_no_crash() {
    let long = 0x7fff_ffff_u32.to_be_bytes().to_vec();
    for answer in
        [frame("{}"), frame("{\"status\":{\"doc\":7}}"), frame("\u{1b}[2J"), long, b"\0\0".to_vec(), Vec::new()]
    {
        let place = Place::new();
        let served = serve(door(&place, "control.sock"), vec![answer.clone()]);
        let ran = place.run(&["status"]);
        assert_eq!(ran.code, 4, "{answer:?}: {ran:?}");
        assert!(!ran.out.contains('\u{1b}') && !ran.out.contains("Active"), "{ran:?}");
        assert_eq!(served.join().unwrap(), "{\"status\":{}}");
    }
}

#[test]
fn a_kill_without_supervisor_goes_to_deadman_and_ends_with_proof() {
    let place = Place::new();
    let answers = vec![progress("closing", "[]", "null"), progress("flat", "[]", "1700000000123")];
    let served = serve(door(&place, "deadman.sock"), answers);
    let ran = place.run(&["--json", "kill", "--reason", "drill"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(served.join().unwrap(), "{\"kill\":{\"flatten\":true,\"reason\":\"drill\"}}");
    let lines: Vec<serde_json::Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["schema"], &lines[0]["state"]), (&"holdfast.progress.v1".into(), &"closing".into()));
    assert_eq!((&lines[2]["flat"], &lines[2]["by"]), (&true.into(), &"deadman".into()));
    assert_eq!(lines[2]["venue_time"], "2023-11-14T22:13:20.123Z");
    assert!(place.home().join("run/KILL").exists(), "and the next supervisor is killed too");
}

#[test]
fn not_flat_is_said_with_what_is_left_and_fails() {
    let place = Place::new();
    let residue = r#"[{"dex":"","coin":"BTC","size":"0.01","orders":2}]"#;
    let served = serve(door(&place, "deadman.sock"), vec![progress("not_flat", residue, "null")]);
    let ran = place.run(&["flatten"]);
    served.join().unwrap();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("NOT FLAT: BTC position 0.01, 2 orders"), "{ran:?}");
    // No supervisor was told: the file tells the next one that new risk stays blocked.
    let pause = fs::metadata(place.home().join("run/PAUSE")).unwrap();
    assert_eq!(pause.permissions().mode() & 0o777, 0o600);
    assert!(ran.err.contains("run/PAUSE"), "{ran:?}");
    // A verdict without a reading is no verdict of flat.
    let place = Place::new();
    let served = serve(door(&place, "deadman.sock"), vec![progress("closing", "[]", "null")]);
    let ran = place.run(&["flatten"]);
    served.join().unwrap();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("NOT FLAT"), "{ran:?}");
}

#[test]
fn a_flatten_whose_supervisor_dies_over_it_goes_on_to_deadman() {
    let place = Place::new();
    let supervisor = serve(door(&place, "control.sock"), vec![progress("closing", "[]", "null")]);
    let deadman = serve(door(&place, "deadman.sock"), vec![progress("flat", "[]", "1700000000123")]);
    let ran = place.run(&["flatten"]);
    assert_eq!(
        (supervisor.join().unwrap(), deadman.join().unwrap()),
        ("{\"flatten\":{}}".into(), "{\"flatten\":{}}".into())
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("PROVEN FLAT") && ran.err.contains("went silent"), "{ran:?}");
    assert!(place.home().join("run/PAUSE").exists());
    // Nor is a deaf deadman then taken for a home where nothing was ordered.
    let place = Place::new();
    let supervisor = serve(door(&place, "control.sock"), vec![progress("closing", "[]", "null")]);
    let ran = place.run(&["flatten"]);
    supervisor.join().unwrap();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("NOT FLAT") && ran.err.contains("run/PAUSE is in place"), "{ran:?}");
}

#[test]
fn a_job_that_only_cancels_is_never_called_flat() {
    let words = "no orders left on any dex; 1 positions untouched";
    let step = |state: &str, words: &str| {
        frame(&format!(
            r#"{{"progress":{{"job":1,"state":"{state}","round":1,"residue":[],"proof_venue_ms":1700000000123,"detail":"{words}"}}}}"#
        ))
    };
    for (state, words, code) in [("flat", words, 0), ("not_flat", "NOT FLAT: the venue cannot be read: x", 1)] {
        for form in [&["kill", "--no-flatten"][..], &["--json", "kill", "--no-flatten"]] {
            let place = Place::new();
            let served = serve(door(&place, "control.sock"), vec![step("cancelling", "one"), step(state, words)]);
            let ran = place.run(form);
            assert_eq!(served.join().unwrap(), r#"{"kill":{"flatten":false,"reason":null}}"#);
            assert_eq!(ran.code, code, "{ran:?}");
            // The field of the contract is there, and says no.
            let said = format!("{}{}", ran.out, ran.err).replace("\"flat\":false", "");
            assert!(!said.to_lowercase().contains("flat"), "{said}");
            assert!(code != 0 || said.contains("orders cancelled"), "{said}");
            assert!(code == 0 || said.contains("NOT CANCELLED"), "{said}");
        }
    }
}

/// A process that stands for a supervisor, named by the pidfile.
fn stand_in(place: &Place) -> Child {
    let child = std::process::Command::new("sleep").arg("120").spawn().unwrap();
    fs::create_dir_all(place.home().join("run")).unwrap();
    fs::write(place.home().join("run/supervisor.pid"), identity(child.id())).unwrap();
    child
}

#[test]
fn a_stop_that_flattens_ends_with_proof_or_kills_nobody() {
    let residue = r#"[{"dex":"","coin":"BTC","size":"0.01","orders":2}]"#;
    for (answers, words) in [
        (vec![], "no proof"),
        (vec![progress("closing", residue, "null")], "no proof"),
        (
            vec![
                progress("not_flat", residue, "null"),
                frame(r#"{"refused":{"code":"not_flat","message":"m","risk":"r","next":"n"}}"#),
            ],
            "NOT FLAT: BTC position 0.01, 2 orders",
        ),
    ] {
        let place = Place::new();
        let mut child = stand_in(&place);
        let door = door(&place, "control.sock");
        let served = std::thread::spawn(move || {
            // The first asks for the status and gets none; the second is the order.
            drop(door.accept().unwrap());
            serve(door, answers).join().unwrap()
        });
        let ran = place.run(&["stop", "--flatten", "--timeout", "1"]);
        let lives = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(lives, "it was killed: {ran:?}");
        assert_eq!(served.join().unwrap(), r#"{"stop":{"flatten":true}}"#);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.err.contains("NOT FLAT") && ran.err.contains(words), "{ran:?}");
    }
    // Nobody at the door: no proof either, and no SIGKILL. A plain stop still ends it.
    let place = Place::new();
    let mut child = stand_in(&place);
    let ran = place.run(&["stop", "--flatten", "--timeout", "1"]);
    assert_eq!((ran.code, child.try_wait().unwrap().is_none()), (1, true), "{ran:?}");
    let ran = place.run(&["stop", "--timeout", "1"]);
    assert!(ran.out.contains("SIGKILL"), "{ran:?}");
    child.wait().unwrap();
}

#[test]
fn a_supervisor_whose_pidfile_is_lost_is_held_by_its_own_answer() {
    let place = Place::new();
    let mut child = stand_in(&place);
    fs::remove_file(place.home().join("run/supervisor.pid")).unwrap();
    // Somebody holds the lock, and no file says who.
    let lock = fs::File::create(place.home().join("run/supervisor.lock")).unwrap();
    lock.lock().unwrap();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/cli/status.json");
    let mut doc: serde_json::Value = serde_json::from_str(&fs::read_to_string(kept).unwrap()).unwrap();
    doc["pid"] = child.id().into();
    let status = frame(&format!(r#"{{"status":{{"doc":{doc}}}}}"#));
    let door = door(&place, "control.sock");
    let served = std::thread::spawn(move || {
        loop {
            let asked = serve(door.try_clone().unwrap(), vec![status.clone()]).join().unwrap();
            if asked.contains("stop") {
                return asked;
            }
        }
    });
    let start = place.run(&["start", "--wait", "1"]);
    assert!(start.code == 0 && start.out.contains(&format!("already running · pid {}", child.id())), "{start:?}");
    let ran = place.run(&["stop", "--timeout", "1"]);
    assert_eq!(served.join().unwrap(), r#"{"stop":{"flatten":false}}"#);
    let ended = child.try_wait().unwrap().is_some();
    let _ = child.kill();
    child.wait().unwrap();
    assert!(ran.code == 0 && ended && ran.out.contains("SIGKILL"), "{ran:?}");
}

#[test]
fn a_resume_without_its_phrase_shows_what_it_would_allow() {
    let place = Place::new();
    let offer = frame(r#"{"resume_offer":{"phrase":"resume paper KILL_X","allows":"opening"}}"#);
    let served = serve(door(&place, "control.sock"), vec![offer]);
    let ran = place.run(&["resume"]);
    assert_eq!(served.join().unwrap(), "{\"resume\":{\"confirm\":null}}");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("opening") && ran.err.contains("--confirm 'resume paper KILL_X'"), "{ran:?}");
    // With a wrong one it says that it was wrong, and shows the right one.
    let place = Place::new();
    let offer = frame(r#"{"resume_offer":{"phrase":"resume paper KILL_X","allows":"opening"}}"#);
    let served = serve(door(&place, "control.sock"), vec![offer]);
    let ran = place.run(&["--json", "resume", "--confirm", "resume paper"]);
    served.join().unwrap();
    assert_eq!((ran.code, &ran.json()["code"]), (1, &"phrase_wrong".into()), "{ran:?}");
    assert!(ran.json()["next"].as_str().unwrap().contains("'resume paper KILL_X'"), "{ran:?}");
}
