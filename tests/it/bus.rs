//! The runtime bus of a real tree: what it says of a life, what it shows of damage, and that it never holds a kill up.

use crate::disk::{Ballast, Small, small};
use crate::stale::trading;
use holdfast_core::command::ControlRequest;
use holdfast_core::registry::{ModeReason, TradingMode};
use holdfast_store::bus;
use holdfast_tests::events::{self, Event};
use holdfast_tests::home::{Home, finish};
use holdfast_tests::wait::{now, s, throughout};
use holdfast_tests::{Tree, raw, until};
use nix::sys::signal::Signal;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

fn log(home: &Home) -> PathBuf {
    home.paths().bus().join("events.jsonl")
}

fn recorded(home: &Home) -> Vec<Event> {
    events::read(&home.paths().bus())
}

/// Where the first event of this type stands whose text member begins like this.
#[track_caller]
fn first(events: &[Event], kind: &str, member: &str, text: &str) -> u64 {
    let found = events.iter().find(|event| event.kind == kind && event.text(member).starts_with(text));
    found.unwrap_or_else(|| panic!("no {kind} with {member} {text}: {events:#?}")).index
}

#[test]
fn a_life_is_told_in_order_and_verifies_while_it_runs_and_afterwards() {
    let tree = Tree::exposed();
    let _ = tree.run(&["pause"]).expect_code(0);
    let running = tree.run(&["audit", "verify", "--deep", "--json"]).expect_code(0).json();
    assert_eq!((&running["bus"]["head"], &running["decisions"]["ok"]), (&"ok-signed".into(), &true.into()));
    let anchor = tree.run(&["audit", "anchor"]).expect_code(0).out;
    let _ = tree.run(&["resume"]).expect_code(1);
    let ran = finish(tree.home.spawn(&["kill", "--reason", "drill"]), s(30));
    assert!(ran.code == 0, "{ran:?}");
    let status = tree.status();
    assert!(status.journal.durable && status.journal.head.starts_with("sha256:") && status.journal.events > 20);
    let _ = tree.run(&["stop"]).expect_code(0);
    let events = recorded(&tree.home);
    let story = [
        first(&events, "supervisor.epoch", "profile", "paper"),
        first(&events, "config.loaded", "checksum", "sha256:"),
        first(&events, "worker.state", "state", "ready"),
        first(&events, "reconciliation.clean", "detail", "books agree"),
        first(&events, "status.mode", "mode", "Active"),
        first(&events, "operator.command", "command", "pause"),
        first(&events, "breaker.opened", "breaker", "pause"),
        first(&events, "permit.revoked", "", ""),
        first(&events, "operator.command", "command", "resume"),
        first(&events, "operator.command", "command", "kill"),
        first(&events, "breaker.opened", "breaker", "kill"),
        first(&events, "reduce.attempt", "kind", "flatten"),
        first(&events, "reduce.confirmed", "kind", "flatten"),
        first(&events, "operator.command", "command", "stop"),
        first(&events, "lifecycle.transition", "phase", "finished"),
    ];
    assert!(story.is_sorted(), "{story:?} {events:#?}");
    let command = |word| events.iter().find(|e| e.kind == "operator.command" && e.text("command") == word).unwrap();
    assert_eq!(command("kill").payload["uid"], nix::unistd::geteuid().as_raw());
    assert_eq!((command("kill").text("reason"), command("resume").text("outcome")), ("drill", "offered"));
    decided_cycles_are_whole(&events);
    let verify = ["audit", "verify", "--deep", "--anchor", anchor.trim(), "--json"];
    let report = tree.run(&verify).expect_code(0).json();
    assert_eq!((&report["bus"]["events"], &report["bus"]["anchor"]), (&events.len().into(), &true.into()));
    // As one file elsewhere it verifies too, only without a head to compare with.
    let file = tree.home.paths().root().join("copy.jsonl");
    std::fs::write(&file, tree.run(&["audit", "export", "--single-file"]).expect_code(0).out).expect("written");
    let report = tree.run(&["audit", "verify", "--json", &file.display().to_string()]).expect_code(0).json();
    assert_eq!((&report["bus"]["events"], &report["bus"]["head"]), (&events.len().into(), &"absent".into()));
    let export = tree.run(&["audit", "export", "--types", "operator.command", "--limit", "1000"]).expect_code(0).json();
    assert!(export["events"].as_array().is_some_and(|events| events.len() == 4), "{export}");
    let public = tree.run(&["audit", "export", "--public"]).expect_code(0).json();
    assert!(public["events"].is_null() && public["snapshot_integrity"]["consistent"] == true, "{public}");
}

/// Five events of one trace in the reference's order; every order with its answer; every execution once.
fn decided_cycles_are_whole(events: &[Event]) {
    let cycles: Vec<&Event> = events.iter().filter(|event| event.kind == "runtime.cycle").collect();
    assert!(cycles.iter().any(|cycle| cycle.payload["act"]["accepted"] == true), "a position was opened: {events:#?}");
    for cycle in cycles {
        let accepted = cycle.payload["act"]["accepted"] == true;
        let own: Vec<&Event> = events.iter().filter(|event| event.trace == cycle.trace).collect();
        let kinds: Vec<&str> = own.iter().map(|event| event.kind.as_str()).collect();
        let [first, second, middle @ .., fourth, fifth] = &kinds[..] else { panic!("{kinds:?}") };
        assert_eq!((*first, *second), ("runtime.cycle", "decision.record"));
        assert_eq!((*fourth, *fifth), ("position.snapshot", "runtime.health"));
        let third = if accepted { "fill.record" } else { "rejection.record" };
        assert!(middle.iter().all(|kind| *kind == third) && (accepted || middle.len() == 1), "{kinds:?}");
        let together =
            own.last().map(|last| last.index) == own.first().map(|first| first.index + kinds.len() as u64 - 1);
        assert!(together, "nothing stands between them: {own:#?}");
    }
    // A close may be on its way when the engine is ended by the kill.
    let orders = events.iter().filter(|event| event.kind == "live.intent" && event.payload["reduce_only"] == false);
    for order in orders {
        let cloid = order.text("cloid");
        let answered = |e: &Event| e.kind == "live.outcome" && e.text("cloid") == cloid && e.index > order.index;
        assert!(events.iter().any(answered), "no answer to {order:?}");
    }
    let tids: Vec<u64> =
        events.iter().filter(|e| e.kind == "fill.record").filter_map(|e| e.payload["tid"].as_u64()).collect();
    let once: std::collections::BTreeSet<u64> = tids.iter().copied().collect();
    assert!(!tids.is_empty() && once.len() == tids.len(), "{tids:?}");
}

#[test]
fn a_tree_that_was_killed_leaves_its_record_and_the_next_start_tells_the_gap() {
    let tree = Tree::active();
    let before = tree.status().journal.events;
    for (_, pid) in tree.processes().iter().filter(|(name, _)| name == "supervisor") {
        holdfast_tests::tree::send(*pid, Signal::SIGKILL);
    }
    until("every process gone", s(60), || tree.processes().is_empty().then_some(()));
    assert!(recorded(&tree.home).len() as u64 >= before, "what was shown as durable is there");
    let _ = tree.run(&["start"]).expect_code(0);
    let _ = tree.run(&["stop"]).expect_code(0);
    let _ = tree.run(&["start"]).expect_code(0);
    let events = recorded(&tree.home);
    let starts: Vec<&Event> = events.iter().filter(|event| event.kind == "supervisor.epoch").collect();
    let [first, second, third] = starts[..] else { panic!("{starts:#?}") };
    assert_eq!((&first.payload["gap_ms"], &first.payload["previous_epoch"]), (&serde_json::Value::Null, &0.into()));
    assert!(second.payload["gap_ms"].as_u64().is_some_and(|gap| gap > 0) && second.payload["clean_end"] == false);
    assert!(third.payload["gap_ms"].as_u64().is_some() && third.payload["clean_end"] == true);
    assert_eq!(third.payload["previous_epoch"], second.payload["epoch"]);
    let _ = tree.run(&["audit", "verify", "--deep"]).expect_code(0);
}

/// Changes one byte of an event's payload; gives the event's place and where the line begins.
fn spoil(home: &Home, kind: &str) -> (u64, u64) {
    let event = recorded(home).into_iter().find(|event| event.kind == kind).expect("such an event");
    let text = std::fs::read_to_string(log(home)).expect("a log");
    let at = text.lines().take(usize::try_from(event.index).unwrap() - 1).map(|line| line.len() as u64 + 1).sum();
    let byte = at + text[usize::try_from(at).unwrap()..].find("\"payload\":{\"").expect("a payload") as u64 + 12;
    let file = OpenOptions::new().read(true).write(true).open(log(home)).expect("a log");
    let mut old = [0];
    file.read_exact_at(&mut old, byte).expect("read");
    file.write_all_at(&[if old[0] == b'x' { b'y' } else { b'x' }], byte).expect("written");
    (event.index, at)
}

#[test]
fn a_changed_byte_is_named_restricts_the_next_start_and_can_be_mended_with_the_phrase() {
    let tree = Tree::exposed();
    let _ = tree.run(&["stop"]).expect_code(0);
    let (event, line) = spoil(&tree.home, "permit.granted");
    let ran = tree.run(&["audit", "verify"]).expect_code(1);
    for words in [format!("checksum@{event}"), "events.jsonl, byte".into(), "expected sha256:".into(), "risk:".into()] {
        assert!(ran.err.contains(&words), "{words}: {ran:?}");
    }
    let report = tree.run(&["audit", "verify", "--json"]).expect_code(1).json();
    let finding = &report["bus"]["finding"];
    assert!(finding["byte"].as_u64().is_some_and(|byte| byte >= line), "{finding}");
    assert_eq!((&finding["event"], &report["bus"]["events"]), (&event.into(), &(event - 1).into()));
    // It starts all the same, restricted, and says what to do.
    let spoilt = std::fs::read(log(&tree.home)).expect("a log");
    let _ = tree.run(&["start", "--wait", "30"]);
    let doc = tree.until("a start that shows it", s(30), |doc| doc.exposure.known && !doc.journal.durable);
    assert!(doc.mode_reasons.contains(&ModeReason::ReduceonlyEvidenceChainNotGreen), "{:?}", doc.mode_reasons);
    assert!(doc.next_step.contains("engine audit repair") && doc.next_step.contains("byte"), "{}", doc.next_step);
    assert!(!doc.permit.live && doc.trading_mode == TradingMode::ReduceOnly);
    let error = tree.run(&["--json", "audit", "repair", "--accept-loss"]).expect_code(1).json();
    assert_eq!(error["code"], "engine_runs", "{error}");
    let ran = finish(tree.home.spawn(&["kill"]), s(30));
    assert!(ran.code == 0 && ran.out.contains("PROVEN FLAT"), "{ran:?}");
    let _ = tree.run(&["stop"]).expect_code(0);
    assert!(std::fs::read(log(&tree.home)).expect("a log") == spoilt, "what does not verify is left as it is");
    // The phrase is asked for, and names what is lost.
    let phrase = format!("lose what follows event {}", event - 1);
    let ran = tree.run(&["audit", "repair"]).expect_code(1);
    assert!(ran.err.contains(&phrase), "{ran:?}");
    let _ = tree.run(&["audit", "repair", "--accept-loss", "something"]).expect_code(1);
    let _ = tree.run(&["audit", "repair", "--accept-loss", &phrase]).expect_code(0);
    let _ = tree.run(&["audit", "verify", "--deep"]).expect_code(0);
    assert_eq!(recorded(&tree.home).last().map(|event| event.kind.clone()).as_deref(), Some("bus.recovered"));
    let _ = tree.run(&["start"]).expect_code(0);
    let doc = tree.wait_mode(TradingMode::Kill, s(10));
    assert!(doc.journal.durable && doc.kill.active, "the kill was kept without the bus");
    tree.until("the proof", s(30), |doc| doc.kill.state == "flat");
    crate::stale::resume(&tree);
    tree.wait_mode(TradingMode::Active, s(30));
}

#[test]
fn a_cut_tail_is_refused() {
    let tree = Tree::active();
    let _ = tree.run(&["stop"]).expect_code(0);
    let text = std::fs::read_to_string(log(&tree.home)).expect("a log");
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let kept = lines[..lines.len() - 3].iter().map(|line| line.len() as u64 + 1).sum();
    OpenOptions::new().write(true).open(log(&tree.home)).and_then(|file| file.set_len(kept)).expect("cut");
    let report = tree.run(&["audit", "verify", "--json"]).expect_code(1).json();
    assert_eq!((&report["bus"]["reason"], &report["bus"]["head"]), (&"head".into(), &"disagrees".into()));
    let _ = tree.run(&["start", "--wait", "30"]);
    let doc = tree
        .until("the restriction", s(30), |doc| doc.mode_reasons.contains(&ModeReason::ReduceonlyEvidenceChainNotGreen));
    assert!(!doc.journal.durable && !doc.permit.live, "{doc:#?}");
}

/// The bus with its key as it is now, and the way back to it.
struct Aside {
    bus: PathBuf,
    key: PathBuf,
}

impl Aside {
    fn lay(home: &Home) -> Self {
        let aside = Self { bus: home.outside().join("bus"), key: home.outside().join("bus.key") };
        let _ = fs::remove_dir_all(&aside.bus);
        copy_folder(&home.paths().bus(), &aside.bus);
        fs::copy(home.paths().bus_key(), &aside.key).expect("copied");
        aside
    }

    fn put_back(&self, home: &Home) {
        fs::remove_dir_all(home.paths().bus()).expect("removed");
        copy_folder(&self.bus, &home.paths().bus());
        fs::copy(&self.key, home.paths().bus_key()).expect("copied");
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).and_then(|()| fs::set_permissions(to, PermissionsExt::from_mode(0o700))).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

#[test]
fn a_bus_put_back_whole_with_its_key_is_refused_by_what_deadman_saw_and_accepted_with_the_phrase() {
    let tree = Tree::active();
    let _ = tree.run(&["stop"]).expect_code(0);
    let report = tree.run(&["audit", "verify", "--json"]).expect_code(0).json();
    // A day and an end; no end where the disk of this host held up the close for longer than a stop waits.
    let logs = tree.logs();
    let anchors = if logs.contains("the runtime bus was not closed in order") { 1 } else { 2 };
    assert_eq!((&report["bus"]["witness"], &report["bus"]["anchors"]), (&true.into(), &anchors.into()), "{logs}");
    for sudden in [true, false] {
        let aside = Aside::lay(&tree.home);
        let seen = || bus::witness(&tree.home.paths().witness()).ok().flatten().map_or(0, |seen| seen.count);
        let before = seen();
        let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
        until("deadman to see a longer bus", s(30), || (seen() > before).then_some(()));
        if sudden {
            crate::ledger::end_all(&tree);
        } else {
            let _ = tree.run(&["stop"]).expect_code(0);
        }
        let _ = tree.run(&["audit", "verify", "--deep"]).expect_code(0);
        aside.put_back(&tree.home);
        let report = tree.run(&["audit", "verify", "--json"]).expect_code(1).json();
        let told = (&report["bus"]["reason"], &report["bus"]["witness"], &report["bus"]["head"]);
        assert_eq!(told, (&"witness".into(), &false.into(), &"ok-signed".into()), "in itself it holds: {report}");
        let _ = tree.run(&["start", "--wait", "30"]);
        let doc = tree.until("a start that shows it", s(30), |doc| doc.exposure.known && !doc.journal.durable);
        assert!(doc.mode_reasons.contains(&ModeReason::ReduceonlyEvidenceChainNotGreen), "{:?}", doc.mode_reasons);
        for words in ["deadman saw", "engine audit repair"] {
            assert!(doc.next_step.contains(words), "{}", doc.next_step);
        }
        throughout("no permit", s(2), || !tree.status().permit.live);
        let _ = tree.run(&["stop"]).expect_code(0);
        let phrase = format!("lose what follows event {}", report["bus"]["events"]);
        let ran = tree.run(&["audit", "repair"]).expect_code(1);
        assert!(ran.err.contains(&phrase), "{ran:?}");
        let _ = tree.run(&["audit", "repair", "--accept-loss", &phrase]).expect_code(0);
        let _ = tree.run(&["audit", "verify", "--deep"]).expect_code(0);
        assert_eq!(recorded(&tree.home).last().map(|event| event.kind.clone()).as_deref(), Some("bus.recovered"));
        let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
        crate::ledger::active(&tree);
        let _ = tree.run(&["stop"]).expect_code(0);
    }
}

#[test]
fn a_full_disk_under_the_bus_restricts_kill_goes_ahead_and_it_is_written_again() {
    // Kept whole: taken apart, the disk would go before the tree, and nobody would find the processes again.
    let Some(Small { tree, _mount }) = &small() else { return };
    trading(tree);
    let workers = |tree: &Tree| tree.status().workers.iter().map(|w| (w.role, w.pid)).collect::<Vec<_>>();
    let before = workers(tree);
    let mut ballast = Ballast::new(tree.home.paths().root().join("ballast"));
    // What is padded ahead is taken already: so many events that it is used up.
    let heartbeat = raw::message(&ControlRequest::Heartbeat {});
    until("a bus that cannot be written", s(120), || {
        ballast.fill();
        for _ in 0..100 {
            let _ = raw::ask(&tree.home.paths().control_sock(), &heartbeat);
        }
        // Looked at before more is sent: what is kept in memory for a bus that takes nothing has an end.
        let sent = now();
        let doc = until("a newer document", s(10), || tree.try_status().filter(|doc| doc.generated_boot_ns > sent.0));
        (!doc.journal.durable).then_some(doc)
    });
    throughout("beats and restriction", s(7), || {
        ballast.fill();
        let doc = tree.status();
        let beating = doc.workers.iter().all(|w| w.last_beat_ms.is_some_and(|ms| ms < 2000));
        assert!(beating && workers(tree) == before, "{:#?}", doc.workers);
        doc.trading_mode == TradingMode::ReduceOnly
            && doc.mode_reasons.contains(&ModeReason::ReduceonlyIntentLedgerUnavailable)
    });
    let ran = finish(tree.home.spawn(&["kill"]), s(30));
    assert!(ran.code == 0 && ran.out.contains("PROVEN FLAT"), "{ran:?}\n{}", tree.logs());
    ballast.free();
    tree.until("a bus that is written again", s(30), |doc| doc.journal.durable);
    let events = recorded(&tree.home);
    let kill = first(&events, "operator.command", "command", "kill");
    assert!(events.iter().any(|e| e.kind == "reduce.confirmed" && e.index > kill), "told though the disk was full");
    let _ = tree.run(&["audit", "verify", "--deep"]).expect_code(0);
}
