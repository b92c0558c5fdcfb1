//! Latches that must not be forgotten, whatever happens to the files and in whatever form the order came.

use holdfast_core::registry::{ModeReason, TradingMode};
use holdfast_tests::wait::{now, s, throughout, until};
use holdfast_tests::{Home, Tree};
use std::fs;

fn restart(tree: &Tree) {
    let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
}

#[test]
fn a_lost_durable_state_starts_killed_and_opens_nothing() {
    type Damage = fn(&Home);
    let damages: [(&str, Damage); 7] = [
        ("emptied", |home| drop(fs::File::create(home.paths().judge_cell()).expect("a file"))),
        ("zeroed", |home| fs::write(home.paths().judge_cell(), vec![0; 16_384]).expect("a file")),
        ("removed", |home| fs::remove_file(home.paths().judge_cell()).expect("a file")),
        ("deadman's emptied", |home| drop(fs::File::create(home.paths().deadman_cell()).expect("a file"))),
        ("deadman's removed", |home| fs::remove_file(home.paths().deadman_cell()).expect("a file")),
        ("deadman's spoilt", |home| fs::write(home.paths().deadman_cell(), b"what is this").expect("a file")),
        ("the whole folder removed", |home| fs::remove_dir_all(home.paths().data()).expect("a folder")),
    ];
    let tree = Tree::active();
    let _ = tree.run(&["kill"]).expect_code(0);
    for (name, damage) in damages {
        if name.starts_with("deadman's") {
            // Nothing but that record tells of a kill.
            tree.until("a proof of flat", s(10), |doc| doc.kill.state == "flat");
            let _ = tree.run(&["resume", "--confirm", "resume paper KILL_STATE_INTEGRITY_BROKEN"]).expect_code(0);
        }
        let _ = tree.run(&["stop"]).expect_code(0);
        damage(&tree.home);
        let begun = now();
        restart(&tree);
        let doc = tree.status();
        assert_eq!(doc.trading_mode, TradingMode::Kill, "{name}");
        assert!(doc.mode_reasons.contains(&ModeReason::KillStateIntegrityBroken), "{name}: {:?}", doc.mode_reasons);
        throughout(name, s(2), || tree.status().trading_mode == TradingMode::Kill);
        assert!(tree.witness().increases(begun, now()).is_empty(), "{name}");
    }
    // And it is no trap: the operator resumes by name.
    tree.until("a proof of flat", s(10), |doc| doc.kill.state == "flat");
    let _ = tree.run(&["resume", "--confirm", "resume paper KILL_STATE_INTEGRITY_BROKEN"]).expect_code(0);
    // The record that went with the folder is missed all the same: the one step that mends it is named, and mends it.
    tree.until("the latch to go, and the next step", s(10), |doc| {
        !doc.kill.active
            && doc.trading_mode == TradingMode::ReduceOnly
            && doc.next_step.contains("`engine audit repair`")
    });
    let _ = tree.run(&["stop"]).expect_code(0);
    let asked = tree.run(&["audit", "repair"]).expect_code(1);
    assert!(asked.err.contains("'lose what follows event 0'"), "{asked:?}");
    let _ = tree.run(&["audit", "repair", "--accept-loss", "lose what follows event 0"]).expect_code(0);
    restart(&tree);
    tree.wait_mode(TradingMode::Active, s(30));
}

#[test]
fn a_kill_that_only_cancels_is_never_called_flat_and_a_kill_file_still_closes() {
    let tree = Tree::exposed();
    let _ = tree.run(&["kill", "--no-flatten"]);
    let doc = tree.until("cancelled", s(10), |doc| doc.kill.active && doc.exposure.known);
    if !doc.exposure.flat {
        let doc = tree.until("the job to end", s(10), |doc| doc.kill.state == "not_flat");
        assert!(doc.kill.proof_at.is_none() && !doc.next_step.contains("killed and flat"), "{doc:#?}");
    }
    fs::write(tree.home.paths().kill_file(), b"").expect("a file");
    tree.until("flat by the file", s(20), |doc| doc.exposure.flat && doc.kill.state == "flat");
    assert!(tree.witness().positions().is_empty());
}

#[test]
fn a_file_that_orders_the_opposite_stands_against_a_resume() {
    let tree = Tree::active();
    let file = tree.home.paths().kill_file();
    fs::create_dir(&file).expect("a folder nobody can remove as a file");
    tree.until("killed by the file", s(10), |doc| doc.kill.state == "flat");
    let refused = tree.run(&["resume", "--confirm", "resume paper KILL_RISKSTATE_KILL"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("run/KILL"), "{refused:?}");
    fs::remove_dir(&file).expect("it goes");
    // The file is looked for at each tick, off the judge's loop.
    until("a resume", s(5), || {
        (tree.run(&["resume", "--confirm", "resume paper KILL_RISKSTATE_KILL"]).code == 0).then_some(())
    });

    tree.wait_mode(TradingMode::Active, s(30));
    fs::write(tree.home.paths().pause_file(), b"").expect("a file");
    tree.until("paused by the file", s(10), |doc| doc.mode_reasons == [ModeReason::ReduceonlyOperatorPaused]);
    let _ = tree.run(&["restart"]).expect_code(0);
    tree.until("still paused", s(20), |doc| doc.mode_reasons == [ModeReason::ReduceonlyOperatorPaused]);
}

#[test]
fn a_kill_ordered_while_nothing_ran_is_obeyed_before_any_engine_is_born() {
    let tree = Tree::active();
    let _ = tree.run(&["stop"]).expect_code(0);
    let _ = tree.run(&["kill"]).expect_code(3);
    restart(&tree);
    let doc = tree.status();
    assert_eq!(doc.trading_mode, TradingMode::Kill);
    let engine = doc.workers.iter().find(|w| w.role == holdfast_core::ids::Role::Engine).expect("a line");
    assert!(engine.pid.is_none() && engine.restarts == 0, "no engine was born: {engine:?}");
}

#[test]
fn a_limit_used_up_by_another_position_restricts_and_is_named_and_ends_by_itself() {
    let tree = Tree::active();
    tree.fault(r#"{"kind":"foreign_position","coin":"ETH","value":"5"}"#);
    let used_up = [ModeReason::ReduceonlyMarginMmUtilHigh];
    let doc = tree.until("the restriction", s(30), |doc| doc.mode_reasons == used_up);
    let words = "opening blocked inside the engine: exposure limit 1000 USD used up by ETH 5";
    assert_eq!((doc.trading_mode, doc.next_step.as_str()), (TradingMode::ReduceOnly, words));
    assert!(doc.opening_blocked.is_some() && !doc.permit.live);
    let text = tree.run(&["status"]).expect_code(0).out;
    assert!(text.contains(words), "{text}");
    tree.fault(r#"{"kind":"foreign_position","coin":"ETH","value":"-5"}"#);
    let doc = tree.wait_mode(TradingMode::Active, s(30));
    assert!(doc.opening_blocked.is_none(), "{doc:#?}");
    // What the status calls the journal's head is the checksum that ends the file.
    tree.until("the head", s(5), |doc| {
        let text = fs::read_to_string(tree.home.paths().decisions()).expect("a journal");
        let head = doc.decisions.head.strip_prefix("sha256:");
        head.is_some_and(|head| head.len() == 64 && text.ends_with(&format!("\"{head}\"}}\n")))
    });
}

#[test]
fn a_position_nobody_ordered_holds_and_is_named() {
    let tree = Tree::active();
    let at = now();
    tree.fault(r#"{"kind":"foreign_position","coin":"ETH","value":"0.05"}"#);
    tree.until("the latch", s(5), |doc| doc.open_permission_blocked_latch);
    let seen = now();
    let doc = tree.wait_mode(TradingMode::Active, s(30));
    assert!(now().since(at) > s(9), "a hold, not a blink");
    assert!(doc.next_step.contains("INCIDENT"), "{}", doc.next_step);
    assert!(tree.witness().increases(seen, seen.after(s(8))).is_empty());
    let _ = tree.run(&["heartbeat"]).expect_code(0);
    tree.until("the line to go", s(5), |doc| doc.next_step.is_empty());
}

#[test]
fn what_binds_the_next_start_is_said_while_nothing_runs() {
    let tree = Tree::active();
    // The order, its first words, and what the document says: killed, paused, owed.
    type Case<'a> = (&'a str, fn(&Tree), &'a str, (bool, bool, Option<&'a str>));
    let cases: [Case<'_>; 5] = [
        ("nothing", |_| {}, "", (false, false, None)),
        ("a pause", |tree| drop(tree.run(&["pause"]).expect_code(0)), "PAUSED", (false, true, None)),
        ("a flatten", |tree| drop(tree.run(&["stop", "--flatten"]).expect_code(0)), "PAUSED", (false, true, None)),
        (
            "a kill",
            |tree| drop(tree.run(&["kill", "--reason", "storm"]).expect_code(0)),
            "KILL LATCHED",
            (true, true, Some("flatten")),
        ),
        (
            "a kill by file",
            |tree| {
                let phrase = "resume paper KILL_RISKSTATE_KILL REDUCEONLY_OPERATOR_PAUSED";
                let _ = tree.run(&["resume", "--confirm", phrase]).expect_code(0);
                let _ = tree.run(&["stop"]).expect_code(0);
                let _ = tree.run(&["kill"]).expect_code(3);
            },
            "KILL LATCHED",
            (true, false, None),
        ),
    ];
    for (name, order, words, (kill, pause, owed)) in cases {
        order(&tree);
        let _ = tree.run(&["stop"]);
        let text = tree.run(&["status"]).expect_code(3).out;
        let first = text.lines().next().unwrap_or_default();
        assert!(first.contains(words) && (words.is_empty() != first.contains("the next start")), "{name}: {text}");
        let doc = tree.run(&["--json", "status"]).expect_code(3).json();
        let latched = &doc["latched"];
        if words.is_empty() {
            assert!(latched.is_null(), "{name}: {doc}");
        } else {
            assert_eq!((&latched["kill"], &latched["pause"]), (&kill.into(), &pause.into()), "{name}: {latched}");
            assert_eq!(latched["owed"].as_str(), owed, "{name}: {latched}");
        }
        restart(&tree);
        if kill {
            tree.until("a proof of flat", s(30), |doc| doc.kill.state == "flat");
        }
    }
}

#[test]
fn an_owed_flatten_survives_a_spoilt_cell_and_a_taken_port_of_the_api() {
    let tree = Tree::active();
    let _ = tree.run(&["pause"]).expect_code(0);
    tree.foreign_position("BTC", "0.01");
    tree.until("a position", s(20), |doc| doc.exposure.known && !doc.exposure.flat);
    crate::ledger::end_all(&tree);
    crate::ledger::rewrite(&tree.home, |durable| durable.owe(holdfast_core::report::JobKind::Flatten));
    // Written by a start: the ledger has it then.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("its number").port();
    fs::write(tree.home.paths().config(), format!("[api]\nport = {port}\n")).expect("a configuration");
    fs::set_permissions(tree.home.paths().config(), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("private");
    let ran = tree.run(&["start", "--wait", "3"]);
    assert!(ran.code == 1 && ran.err.contains("FLATTEN OWED") && ran.err.contains("api"), "{ran:?}");
    let doc = tree.until("flat, with proof", s(60), |doc| doc.kill.state == "flat");
    assert!(doc.trading_mode != TradingMode::Active && tree.books().flat(), "{doc:#?}");
    drop(socket);
    let _ = tree.run(&["stop"]).expect_code(0);
    // Owed again, in both records; then the cell is spoilt.
    crate::ledger::rewrite(&tree.home, |durable| durable.owe(holdfast_core::report::JobKind::Flatten));
    let (_, durable) =
        holdfast_store::Cell::<holdfast_core::durable::Durable>::open(&tree.home.paths().judge_cell()).expect("a cell");
    crate::ledger::record(&tree.home, &durable.expect("a judge was here"));
    fs::write(tree.home.paths().judge_cell(), b"what is this").expect("a file");
    restart(&tree);
    let doc = tree.until("flat, with proof", s(60), |doc| doc.kill.state == "flat");
    assert!(doc.kill.active && doc.mode_reasons.contains(&ModeReason::KillStateIntegrityBroken), "{doc:#?}");
    assert!(tree.diary("supervisor").says(0, "ordered: Flatten").is_some());
    assert!(tree.home.paths().judge_cell().with_extension("cell.damaged").exists(), "kept as evidence");
}
