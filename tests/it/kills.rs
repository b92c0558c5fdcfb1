//! `engine kill` and `engine flatten`, with positions on two dexes and resting orders, while one thing or another is
//! broken: flat with proof, or NOT FLAT said plainly and the tree at it until it is.

use holdfast_core::ids::Role;
use holdfast_core::registry::TradingMode;
use holdfast_tests::Tree;
use holdfast_tests::crew::side_by_side;
use holdfast_tests::home::{Ran, finish};
use holdfast_tests::tree::send;
use holdfast_tests::wait::{attempt, now, s, throughout, until};
use nix::sys::signal::Signal;
use serde_json::Value;

/// What is broken at the moment of the order.
#[derive(Clone, Copy, Debug)]
enum Broken {
    Nothing,
    Worker(Role, Signal),
    Venue(&'static str),
}

/// Each worker gone or hanging.
const WORKERS: [Broken; 10] = [
    Broken::Worker(Role::Engine, Signal::SIGSTOP),
    Broken::Worker(Role::Deadman, Signal::SIGKILL),
    Broken::Worker(Role::Api, Signal::SIGKILL),
    Broken::Worker(Role::Venue, Signal::SIGSTOP),
    Broken::Worker(Role::Sensor, Signal::SIGKILL),
    Broken::Worker(Role::Engine, Signal::SIGKILL),
    Broken::Worker(Role::Deadman, Signal::SIGSTOP),
    Broken::Worker(Role::Api, Signal::SIGSTOP),
    Broken::Worker(Role::Venue, Signal::SIGKILL),
    Broken::Worker(Role::Sensor, Signal::SIGSTOP),
];

/// The venue in trouble.
const VENUE: [Broken; 9] = [
    Broken::Nothing,
    Broken::Venue(r#"{"kind":"http_error","value":503,"for_ms":5000}"#),
    Broken::Venue(r#"{"kind":"post_only_window","for_ms":6000}"#),
    Broken::Venue(r#"{"kind":"latency","value":800,"for_ms":8000}"#),
    Broken::Venue(r#"{"kind":"drop_after_execute","count":3}"#),
    Broken::Venue(r#"{"kind":"garbage_body","count":4}"#),
    Broken::Venue(r#"{"kind":"late_fill","value":1500,"count":2}"#),
    Broken::Venue(r#"{"kind":"partial_fill","value":"0.4","count":3}"#),
    Broken::Venue(r#"{"kind":"rate_limit","for_ms":4000}"#),
];

/// Positions on both dexes, long and short, and two orders that rest. The second dex is one the engine never trades on.
fn something_to_lose(tree: &Tree) {
    tree.foreign_position("BTC", "0.01");
    tree.foreign_position("ETH", "-0.2");
    tree.foreign_position("alt:GOLD", "1");
    tree.rest_two_orders();
    let books = tree.books();
    // Under a kill whatever appears is closed without being asked.
    assert!(
        tree.status().kill.active
            || books.positions.len() >= 2 && books.positions.contains_key("alt:GOLD") && books.orders >= 2,
        "{books:?}"
    );
}

/// Runs a reducing command to its verdict: code 0 with proof, or code 1 and the word NOT FLAT.
fn verdict(tree: &Tree, args: &[&str]) -> (Ran, bool) {
    let ran = finish(tree.home.spawn(args), s(90));
    let last: Value = ran
        .out
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .unwrap_or_else(|| panic!("no JSON at the end: {ran:?}\n{}", tree.logs()));
    match ran.code {
        0 => {
            assert_eq!(last["flat"], true, "{ran:?}");
            assert!(last["venue_time"].is_string(), "a proof has a venue time: {ran:?}");
            (ran, true)
        }
        1 => {
            let code = last["code"].as_str().unwrap_or_default();
            assert_eq!(code, "not_flat", "{ran:?}\n{}", tree.logs());
            (ran, false)
        }
        _ => panic!("{ran:?}\n{}", tree.logs()),
    }
}

/// Orders it, and holds it to its word.
fn reduce(tree: &Tree, command: &str, broken: Broken) {
    // With a permit to revoke; and before Active, deadman would still close whatever appears after its last proof.
    tree.wait_mode(TradingMode::Active, s(60));
    something_to_lose(tree);
    let from = now();
    match broken {
        Broken::Nothing => {}
        Broken::Worker(role, signal) => {
            let _ = tree.signal(role, signal);
        }
        Broken::Venue(fault) => tree.fault(fault),
    }
    let what = |text: &str| format!("{command} with {broken:?}: {text}\n{}", tree.logs());
    let asked = now();
    let (ran, flat) = verdict(tree, &["--json", command]);
    if flat {
        // Proof is proof: nobody may find anything at this moment. (Late fills come later, and are closed.)
        if !matches!(broken, Broken::Venue(fault) if fault.contains("late_fill") || fault.contains("http_error")) {
            let books = tree.books();
            assert!(books.flat(), "{}", what(&format!("said flat, and the venue holds {books:?}; {ran:?}")));
        }
    }
    let doc = tree.until(&format!("{command} with {broken:?}: flat"), s(90), |doc| doc.kill.state == "flat");
    assert!(doc.kill.proof_at.is_some(), "{}", what("flat without proof"));
    until(&what("flat books"), s(20), || tree.try_books().filter(holdfast_tests::books::Books::flat));
    assert!(doc.trading_mode != TradingMode::Active, "{doc:?}");
    if command == "kill" {
        assert!(doc.kill.active, "{}", what("the latch is set"));
        assert!(!tree.processes().iter().any(|(name, _)| name == "engine"), "{}", what("an engine lives"));
    }
    let witness = tree.witness();
    let increases = witness.increases(asked.after(s(1)), now());
    let late = matches!(broken, Broken::Venue(fault) if fault.contains("late_fill"));
    assert!(late || increases.is_empty(), "{}", what(&format!("new risk after {command}: {increases:?}")));
    assert!(!witness.of_kind("fill", from).is_empty(), "{}", what("nothing was closed by a fill"));
    let _ = finish(tree.home.spawn(&["status"]), s(20)).expect_code(0);
}

/// Resumes with the phrase the command itself shows.
fn resume(tree: &Tree) {
    until(&format!("a resume of {:?}", tree.home.paths().root()), s(40), || {
        let offer = tree.run(&["--json", "resume"]);
        let doc: Value = serde_json::from_str(offer.out.lines().last()?).ok()?;
        if doc["code"] != "phrase_needed" {
            return None;
        }
        let next = doc["next"].as_str()?;
        let phrase = next.split('\'').nth(1)?.to_owned();
        // The reasons, and with them the phrase, may have changed in between: then there is a new offer.
        (tree.run(&["--json", "resume", "--confirm", &phrase]).code == 0).then_some(())
    });
}

fn drill(command: &str, states: &[Broken]) {
    let tree = Tree::active();
    for (at, broken) in states.iter().enumerate() {
        if at > 0 {
            resume(&tree);
        }
        reduce(&tree, command, *broken);
        if matches!(broken, Broken::Venue(_)) {
            let (status, _) = holdfast_tests::tree::http(tree.venue(), "DELETE", "/sim/faults", "");
            assert_eq!(status, 200);
        }
    }
}

#[test]
fn kill_and_flatten_work_whatever_worker_is_dead_or_hangs() {
    let (one, two) = WORKERS.split_at(5);
    let cases = [
        ("kill 1", ("kill", one)),
        ("kill 2", ("kill", two)),
        ("flatten 1", ("flatten", one)),
        ("flatten 2", ("flatten", two)),
    ];
    side_by_side(&cases, 4, |_, (command, states)| drill(command, states));
}

#[test]
fn kill_and_flatten_work_whatever_the_venue_does() {
    let (one, two) = VENUE.split_at(5);
    let cases = [
        ("kill 1", ("kill", one)),
        ("kill 2", ("kill", two)),
        ("flatten 1", ("flatten", one)),
        ("flatten 2", ("flatten", two)),
    ];
    side_by_side(&cases, 4, |_, (command, states)| drill(command, states));
}

#[test]
fn a_kill_outlives_everything_but_the_phrase() {
    let tree = Tree::active();
    something_to_lose(&tree);
    let ran = finish(tree.home.spawn(&["kill", "--reason", "a drill"]), s(60)).expect_code(0);
    assert!(ran.out.contains("PROVEN FLAT"), "{ran:?}");
    let engine_is_gone = || !tree.processes().iter().any(|(name, _)| name == "engine");
    assert!(engine_is_gone());
    let _ = tree.run(&["mode"]).expect_code(4);

    // Stop and start again: still killed, and no engine is ever spawned.
    let _ = tree.run(&["stop"]).expect_code(0);
    let lines = tree.diary("supervisor").0.len();
    let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
    let doc = tree.until("flat again", s(30), |doc| doc.kill.state == "flat");
    assert!(doc.kill.active && doc.kill.reason.as_deref() == Some("a drill"), "{doc:?}");
    assert_eq!(doc.trading_mode, TradingMode::Kill);
    assert_eq!(tree.run(&["mode"]).code, 4);
    throughout("no engine while killed", s(3), engine_is_gone);
    let spawned = tree.diary("supervisor").find(lines, |f| f["role"] == "engine" && f["message"] == "spawned");
    assert_eq!(spawned, None, "{}", tree.logs());

    // A flatten after a kill closes what has appeared since.
    something_to_lose(&tree);
    let (_, flat) = verdict(&tree, &["--json", "flatten"]);
    assert!(flat && tree.books().flat(), "{:?}", tree.books());
    assert_eq!(tree.status().trading_mode, TradingMode::Kill, "flatten lifts no kill");

    // A wrong phrase lifts nothing; a second kill is a new attempt.
    assert_eq!(tree.run(&["resume", "--confirm", "resume paper"]).code, 1);
    assert!(tree.status().kill.active);
    something_to_lose(&tree);
    let (_, flat) = verdict(&tree, &["--json", "kill"]);
    assert!(flat && tree.books().flat(), "{:?}", tree.books());

    resume(&tree);
    assert!(!tree.status().kill.active);
    tree.wait_mode(TradingMode::Active, s(60));

    // The two other ways to say it.
    for way in ["SIGUSR1", "run/KILL"] {
        something_to_lose(&tree);
        if way == "SIGUSR1" {
            send(tree.status().pid, Signal::SIGUSR1);
        } else {
            std::fs::write(tree.home.paths().kill_file(), "").expect("a file");
        }
        let doc = tree.until(&format!("{way}: flat"), s(60), |doc| doc.kill.active && doc.kill.state == "flat");
        assert!(doc.kill.reason.as_deref().is_some_and(|reason| reason.contains(way)), "{doc:?}");
        assert!(engine_is_gone() && tree.books().flat(), "{way}: {:?}", tree.books());
        let read = attempt(s(5), || (!tree.home.paths().kill_file().exists()).then_some(()));
        assert!(read.is_some(), "it is taken as read");
        if way == "SIGUSR1" {
            resume(&tree);
            tree.wait_mode(TradingMode::Active, s(60));
        }
    }
}

#[test]
fn a_kill_cancels_what_was_read_last_while_the_venue_answers_no_read() {
    let tree = Tree::active();
    let _ = tree.run(&["pause"]).expect_code(0);
    tree.foreign_position("BTC", "0.01");
    tree.rest_two_orders();
    tree.until("two orders that are known", s(20), |doc| doc.exposure.known && doc.exposure.open_orders >= 2);
    tree.fault(r#"{"kind":"latency","value":{"ms":600000,"path":"/info"}}"#);
    let ordered = now();
    let child = tree.home.spawn(&["--json", "kill"]);
    // The switch would need six seconds: this is the cancels themselves.
    until("both cancelled", s(5), || {
        let done = |l: &&&holdfast_tests::witness::Line| l.outcome.as_ref().is_some_and(|o| !o.contains("rejected"));
        (tree.witness().of_kind("cancel", ordered).iter().filter(done).count() >= 2).then_some(())
    });
    let ran = finish(child, s(90)).expect_code(1);
    assert!(ran.out.contains("NOT FLAT") && !ran.out.contains("\"flat\":true"), "{ran:?}");
    let doc = tree.status();
    assert!(doc.kill.active && !doc.exposure.known && !doc.exposure.flat, "{doc:#?}");
    // An order that nobody here knew of goes by the venue's own switch, which nobody puts off.
    assert!(!tree.witness().of_kind("scheduleCancel", ordered).is_empty(), "the switch is set near");
    assert!(tree.witness().increases(ordered, now()).is_empty());
    let (status, answer) = holdfast_tests::tree::http(tree.venue(), "DELETE", "/sim/faults", "");
    assert_eq!(status, 200, "{answer}");
    let doc = tree.until("flat, with proof", s(60), |doc| doc.kill.state == "flat");
    assert!(doc.kill.proof_at.is_some() && tree.books().flat(), "{doc:#?}");
}
