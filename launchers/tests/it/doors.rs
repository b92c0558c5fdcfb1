//! Doors that do not answer, or answer badly: what the commands make of them, and how soon.

use crate::harness::Place;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
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
    // A verdict without a reading is no verdict of flat.
    let place = Place::new();
    let served = serve(door(&place, "deadman.sock"), vec![progress("closing", "[]", "null")]);
    let ran = place.run(&["flatten"]);
    served.join().unwrap();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("NOT FLAT"), "{ran:?}");
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
