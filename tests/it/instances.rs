//! One supervisor per home, whatever the pidfile says and however many ask at once.

use holdfast_core::ids::Role;
use holdfast_core::registry::TradingMode;
use holdfast_core::time::Span;
use holdfast_tests::home::finish;
use holdfast_tests::tree::{lives, processes_of, send};
use holdfast_tests::wait::{attempt, ms, now, s};
use holdfast_tests::{Home, Tree, until};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

/// How many start at once.
const CROWD: usize = 50;
/// `engine status` says what it knows within a second; a busy host gets half a second more.
const ANSWER: Span = ms(1500);

#[test]
fn of_fifty_starts_one_is_the_supervisor() {
    let tree = Tree { home: Home::new() };
    let children: Vec<_> = (0..CROWD).map(|_| tree.home.spawn(&["--json", "start", "--wait", "90"])).collect();
    let mut pids = BTreeSet::new();
    let mut started = 0;
    for child in children {
        let doc = finish(child, s(120)).expect_code(0).json();
        assert_eq!(doc["schema"], "holdfast.start.v1", "{doc}");
        started += usize::from(doc["started"] == true);
        pids.insert(doc["pid"].as_u64());
    }
    assert_eq!(started, 1, "one start started it");
    assert_eq!(pids.len(), 1, "all name the same supervisor: {pids:?}");
    let mut names: Vec<String> = tree.processes().into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["api", "deadman", "engine", "sensor", "supervisor", "venue"], "one of each");
    let doc = tree.status();
    assert_eq!(doc.permit.epoch, 1, "nobody else ever took the home");
    assert!(doc.workers.iter().all(|w| w.restarts == 0), "{doc:#?}");
}

/// Writes a pidfile as a supervisor does.
fn pidfile(home: &Home, text: &str) {
    let run = home.paths().run();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&run).unwrap();
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(home.paths().pidfile());
    std::io::Write::write_all(&mut file.unwrap(), text.as_bytes()).unwrap();
}

fn start_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap()
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned()
}

#[test]
fn a_stale_or_recycled_pidfile_is_reported_cleared_and_no_obstacle() {
    let home = Home::new();
    let mut gone = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let dead = format!("{}\n{}\n{}\n", gone.id(), start_time(gone.id()), boot_id());
    gone.kill().unwrap();
    gone.wait().unwrap();
    let own = std::process::id();
    let recycled = format!("{own}\n{}\n{}\n", start_time(own) + 1, boot_id());
    let other_boot = format!("{own}\n{}\n{}\n", start_time(own), "00000000-0000-0000-0000-000000000000");
    for (what, text) in [
        ("dead", dead.as_str()),
        ("recycled", recycled.as_str()),
        ("of another boot", other_boot.as_str()),
        ("garbage", "what is this"),
        ("empty", ""),
        ("a bare pid, of a living process", &format!("{own}\n")),
    ] {
        pidfile(&home, text);
        let doc = home.run(&["--json", "status"]).expect_code(3).json();
        assert_eq!((&doc["running"], &doc["pid"]), (&false.into(), &serde_json::Value::Null), "{what}: {doc}");
        assert!(doc["detail"].as_str().unwrap().contains("stale pidfile"), "{what}: {doc}");
        assert!(!home.paths().pidfile().exists(), "{what}: it was said to be cleared");
        let doc = home.run(&["--json", "status"]).expect_code(3).json();
        assert!(!doc["detail"].as_str().unwrap().contains("stale"), "{what}: {doc}");
        pidfile(&home, text);
        let ran = home.run(&["mode"]).expect_code(5);
        assert!(!ran.out.contains("Active"), "{what}: {ran:?}");
    }
    pidfile(&home, &recycled);
    let tree = Tree::start_in(home);
    assert_ne!(tree.status().pid, own);
    assert!(lives(own), "the process that only shared a number was left alone");
}

#[test]
fn a_lock_without_a_holder_to_name_is_unknown_and_starts_nothing() {
    let home = Home::new();
    pidfile(&home, "garbage");
    let lock = std::fs::File::create(home.paths().supervisor_lock()).unwrap();
    lock.lock().unwrap();
    let doc = home.run(&["--json", "status"]).expect_code(4).json();
    assert_eq!(doc["running"], serde_json::Value::Null, "{doc}");
    let _ = home.run(&["mode"]).expect_code(5);
    let error = home.run(&["--json", "start"]).expect_code(1).json();
    assert_eq!((error["schema"].as_str(), error["code"].as_str()), (Some("holdfast.error.v1"), Some("unknown")));
    assert!(home.paths().pidfile().exists(), "evidence is not cleared while somebody holds the lock");
    let others = processes_of(home.paths().root()).into_iter().filter(|(_, pid)| *pid != std::process::id());
    assert_eq!(others.collect::<Vec<_>>(), [], "nothing was started");
    drop(lock);
    drop(Tree::start_in(home));
}

#[test]
fn a_running_tree_whose_pidfile_is_lost_is_neither_doubled_nor_lost() {
    let tree = Tree::start();
    let before = tree.processes();
    let written = std::fs::read_to_string(tree.home.paths().pidfile()).unwrap();
    for lose in
        [|home: &Home| pidfile(home, "garbage"), |home: &Home| std::fs::remove_file(home.paths().pidfile()).unwrap()]
    {
        lose(&tree.home);
        let ran = tree.run(&["--json", "start", "--wait", "5"]);
        assert!(ran.code == 0 || ran.json()["code"] == "unknown", "{ran:?}");
        let _ = tree.run(&["status"]).expect_code(0);
        let again = || std::fs::read_to_string(tree.home.paths().pidfile()).is_ok_and(|now| now == written);
        until("the pidfile written again", s(5), || again().then_some(()));
    }
    assert_eq!(tree.processes(), before, "the same processes and no others");
    let _ = tree.run(&["stop"]).expect_code(0);
    assert_eq!(tree.processes(), [], "stopped without a pidfile");
}

#[test]
fn a_stopped_supervisor_is_unknown_within_a_second() {
    let tree = Tree::start();
    let pid = tree.status().pid;
    send(pid, Signal::SIGSTOP);
    for (args, code) in [(["--json", "status"], 4), (["--json", "mode"], 5)] {
        let asked = now();
        let doc = tree.run(&args).expect_code(code).json();
        let took = now().since(asked);
        assert!(took <= ANSWER, "{args:?} took {} ms", took.as_ms());
        assert_ne!(doc["running"], true, "{doc}");
        assert!(!doc.to_string().contains("\"mode\":\"Active\""), "{doc}");
    }
    // Another start does not make a second supervisor beside the stopped one.
    let ran = tree.run(&["--json", "start", "--wait", "1"]).expect_code(1);
    assert_eq!(ran.json()["code"], "unknown");
    assert_eq!(tree.processes().iter().filter(|(name, _)| name == "supervisor").count(), 1);
    send(pid, Signal::SIGCONT);
    until("an answer again", s(10), || (tree.run(&["status"]).code == 0).then_some(()));
    assert_eq!(tree.status().pid, pid);
}

#[test]
fn two_homes_are_two_engines() {
    let (a, b) = (Tree::start(), Tree::start());
    for tree in [&a, &b] {
        tree.wait_mode(TradingMode::Active, s(60));
    }
    let (doc_a, doc_b) = (a.status(), b.status());
    assert_ne!(doc_a.api.url, doc_b.api.url);
    assert_ne!(doc_a.venue_url, doc_b.venue_url);
    let account = |tree: &Tree| std::fs::read_to_string(tree.home.paths().venue_account()).unwrap();
    assert_ne!(account(&a), account(&b));
    let _ = a.run(&["kill"]).expect_code(0);
    assert_eq!(b.status().pid, doc_b.pid);
    let reasons = b.status().mode_reasons;
    assert!(!b.status().kill.active && b.status().trading_mode != TradingMode::Kill, "{reasons:?}");
    let _ = a.run(&["stop"]).expect_code(0);
    assert_eq!(a.processes(), []);
    assert_eq!(b.worker(Role::Engine).restarts, 0);
    assert_eq!(b.processes().len(), 6, "the other one lives on");
    assert!(attempt(s(5), || b.try_status()).is_some());
}
