//! Two records of the latches, in the durable cell and in the ledger: whatever happens to either, the stricter holds.

use crate::stale::{resume, trading};
use holdfast_core::conflict::{Latch, LatchRows, compare, rows_of, stricter};
use holdfast_core::durable::Durable;
use holdfast_core::ids::Role;
use holdfast_core::kill::{KillCause, KillLatch};
use holdfast_core::registry::{ModeReason, TradingMode};
use holdfast_core::report::JobKind;
use holdfast_core::restart::Deaths;
use holdfast_core::slot;
use holdfast_ipc::clock;
use holdfast_store::Cell;
use holdfast_store::ledger::{Ledger, Reader, Record};
use holdfast_tests::home::finish;
use holdfast_tests::tree::send;
use holdfast_tests::wait::{now, s, throughout, until};
use holdfast_tests::{Home, Tree};
use nix::sys::signal::Signal;
use std::fs;
use std::time::Duration;

/// The newest slot of the cell, whoever holds it.
pub(crate) fn cell(home: &Home) -> Durable {
    until("a slot of the cell", s(5), || {
        let bytes = fs::read(home.paths().judge_cell()).ok()?;
        serde_json::from_slice(&slot::decode(&bytes).ok()??.payload).ok()
    })
}

fn rows(home: &Home) -> LatchRows {
    Reader::open(&home.paths().ledger()).and_then(|reader| reader.latches()).expect("a ledger")
}

/// Whether both records say the same.
pub(crate) fn agree(home: &Home) -> bool {
    compare(&cell(home), &rows(home)).is_empty()
}

/// Changes the cell of a home in which nothing runs.
pub(crate) fn rewrite(home: &Home, change: impl FnOnce(&mut Durable)) {
    let (mut cell, durable) = Cell::<Durable>::open(&home.paths().judge_cell()).expect("a cell");
    let mut durable = durable.expect("a judge was here");
    change(&mut durable);
    cell.store(&durable).expect("stored");
}

/// Records in the ledger what this state would be.
pub(crate) fn record(home: &Home, durable: &Durable) {
    let rows = rows_of(durable, clock::wall_ms()).into_iter().map(|(latch, row)| Record::Latch(latch, row)).collect();
    let ledger = Ledger::open(&home.paths().ledger()).expect("a ledger");
    ledger.wait(clock::wall_ms(), rows, Duration::from_secs(20)).expect("written");
}

/// SIGKILL to everything of this home: the supervisor first, so that nobody is replaced, deadman before it can act.
pub(crate) fn end_all(tree: &Tree) {
    until("nothing left", s(10), || {
        let left = tree.processes();
        let first = left.iter().filter(|(name, _)| name == "supervisor" || name == "deadman");
        first.chain(&left).for_each(|(_, pid)| send(*pid, Signal::SIGKILL));
        left.is_empty().then_some(())
    });
}

fn paused(doc: &holdfast_core::status::StatusDoc) -> bool {
    doc.mode_reasons.contains(&ModeReason::ReduceonlyOperatorPaused)
}

/// Active again, with an operator's resume where one is due.
pub(crate) fn active(tree: &Tree) {
    let doc = tree.status();
    if doc.kill.active || paused(&doc) || doc.next_step.contains("RECORDS DISAGREED") {
        resume(tree);
    }
    tree.wait_mode(TradingMode::Active, s(60));
}

#[test]
fn whatever_instant_everything_dies_at_the_next_start_goes_on_from_the_stricter_record() {
    // The state before, the order, and the instants at which everything ends.
    let orders: [(&str, &[&str]); 3] = [
        ("pause", &["pause"]),
        ("resume", &["resume", "--confirm", "resume paper REDUCEONLY_OPERATOR_PAUSED"]),
        ("kill", &["kill"]),
    ];
    type Instant = fn(&Tree, &Durable, &LatchRows) -> bool;
    let instants: [(&str, Option<Instant>); 3] = [
        ("once it is in the cell", Some(|tree, before, _| cell(&tree.home) != *before)),
        ("once it is in the ledger", Some(|tree, _, before| rows(&tree.home) != *before)),
        ("once it is answered", None),
    ];
    let tree = Tree::active();
    for (order, args) in orders {
        for (when, instant) in instants {
            let what = format!("{order}, {when}");
            active(&tree);
            if order == "resume" {
                let _ = tree.run(&["pause"]).expect_code(0);
            }
            until(&format!("{what}: records that agree"), s(10), || agree(&tree.home).then_some(()));
            let before = (cell(&tree.home), rows(&tree.home));
            let child = tree.home.spawn(args);
            let answered = match instant {
                Some(due) => {
                    until(&what, s(20), || due(&tree, &before.0, &before.1).then_some(()));
                    end_all(&tree);
                    let _ = finish(child, s(60));
                    false
                }
                None => {
                    let ran = finish(child, s(60));
                    end_all(&tree);
                    ran.code == 0
                }
            };
            assert_eq!(answered, instant.is_none(), "{what}");
            let left = (cell(&tree.home), rows(&tree.home));
            let disagreed = !compare(&left.0, &left.1).is_empty();
            let expect = stricter(&left.0, &left.1);
            if answered {
                let held = (left.0.kill.is_some(), left.0.paused_since_wall_ms.is_some());
                assert_eq!(held, (order == "kill", order == "pause"), "{what}: answered, so it is in the cell");
            }
            let begun = now();
            let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
            let doc = tree.status();
            assert_eq!(doc.kill.active, expect.kill.is_some(), "{what}: {left:?}\n{doc:#?}");
            assert_eq!(doc.next_step.contains("RECORDS DISAGREED"), disagreed, "{what}: {left:?}\n{doc:#?}");
            if expect.kill.is_some() || expect.paused_since_wall_ms.is_some() || disagreed {
                assert_ne!(doc.trading_mode, TradingMode::Active, "{what}");
                assert!(tree.witness().increases(begun, now()).is_empty(), "{what}");
            }
            assert_eq!(cell(&tree.home).paused_since_wall_ms, expect.paused_since_wall_ms, "{what}");
            until(&format!("{what}: records that agree again"), s(10), || agree(&tree.home).then_some(()));
        }
    }
}

#[test]
fn a_latch_that_only_one_record_knows_restricts_is_told_and_waits_for_a_resume() {
    let killed = || {
        let kill = KillLatch::new(clock::wall_ms(), KillCause::Operator, Some("storm"), JobKind::Flatten);
        Durable { kill: Some(kill), ..Durable::fresh() }
    };
    type Change = fn(&Home, &Durable);
    let cases: [(&str, Change, &str, bool); 7] = [
        (
            "killed in the ledger only",
            |home, killed| record(home, killed),
            "kill: not in force in the latch file",
            true,
        ),
        (
            "killed in the cell only",
            |home, killed| rewrite(home, |cell| cell.kill = killed.kill.clone()),
            "kill: in force, closing in the latch file",
            true,
        ),
        (
            "paused in the ledger only",
            |home, _| record(home, &Durable { paused_since_wall_ms: Some(5), ..Durable::fresh() }),
            "pause: not in force in the latch file",
            false,
        ),
        (
            "a flatten owed in the ledger only",
            |home, _| record(home, &Durable { owed: Some(JobKind::Flatten), ..Durable::fresh() }),
            "owed: not in force in the latch file",
            false,
        ),
        (
            "restarts in the ledger only",
            |home, _| {
                let deaths = Record::Deaths(Role::Sensor, vec![clock::wall_ms(); 3]);
                let ledger = Ledger::open(&home.paths().ledger()).expect("a ledger");
                ledger.wait(clock::wall_ms(), vec![deaths], Duration::from_secs(20)).expect("written");
            },
            "restarts of sensor: 0 in the latch file, 3 in the ledger, 3 hold",
            false,
        ),
        (
            "restarts in the cell only",
            |home, _| rewrite(home, |cell| *cell.deaths_of(Role::Api) = Deaths::at(vec![clock::wall_ms()])),
            "restarts of api: 1 in the latch file, 0 in the ledger, 1 hold",
            false,
        ),
        (
            "the ledger removed",
            |home, _| {
                for name in ["holdfast.sqlite", "holdfast.sqlite-wal", "holdfast.sqlite-shm"] {
                    let _ = fs::remove_file(home.paths().data().join(name));
                }
            },
            "the ledger records no latch although this home was used",
            false,
        ),
    ];
    let tree = Tree::start_in(Home::busy());
    for (name, change, words, kills) in cases {
        trading(&tree);
        let _ = tree.run(&["stop"]).expect_code(0);
        assert!(agree(&tree.home), "{name}: {:?} {:?}", cell(&tree.home), rows(&tree.home));
        change(&tree.home, &killed());
        let begun = now();
        let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
        let text = tree.run(&["status"]).expect_code(0).out;
        assert!(text.contains("RECORDS DISAGREED") && text.contains(words), "{name}: {text}");
        let doc = tree.status();
        assert_eq!(doc.kill.active, kills, "{name}: {doc:#?}");
        throughout(name, s(2), || tree.status().trading_mode != TradingMode::Active);
        // Known from now on, and it stays until somebody has seen it.
        let _ = tree.run(&["restart"]).expect_code(0);
        let doc = tree.status();
        assert!(doc.next_step.contains(words), "{name}: {doc:#?}");
        assert!(kills || doc.mode_reasons.contains(&ModeReason::ReduceonlyEvidenceChainNotGreen), "{name}: {doc:#?}");
        assert!(tree.witness().increases(begun, now()).is_empty(), "{name}");
        resume(&tree);
        let doc = tree.wait_mode(TradingMode::Active, s(60));
        assert!(!doc.next_step.contains("DISAGREED"), "{name}: {doc:#?}");
    }
}

#[test]
fn a_ledger_that_cannot_be_used_is_left_as_it_is_and_nothing_starts_until_it_is_moved_away() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage, &str); 3] = [
        ("cut", |bytes| bytes.truncate(bytes.len() / 2 - 100), "SQLite says"),
        // `user_version` of the header.
        ("of a newer version", |bytes| bytes[60..64].copy_from_slice(&[0, 0, 0, 99]), "newer version (schema 99"),
        ("something else", |bytes| *bytes = b"a diary, not a database\n".repeat(400), "not a database"),
    ];
    let tree = Tree::active();
    for (name, damage, words) in damages {
        let _ = tree.run(&["stop"]).expect_code(0);
        let path = tree.home.paths().ledger();
        let mut bytes = fs::read(&path).expect("a ledger");
        damage(&mut bytes);
        fs::write(&path, &bytes).expect("written");
        let error = tree.run(&["--json", "start", "--wait", "30"]).expect_code(1).json();
        let said = error.to_string();
        assert!(
            said.contains("holdfast.sqlite") && said.contains(words) && said.contains("move the file away"),
            "{said}"
        );
        assert_eq!(tree.processes(), [], "{name}");
        assert_eq!(fs::read(&path).expect("still there"), bytes, "{name}: changed by a start");
        // What a kill can do while nothing runs it still does.
        let _ = tree.run(&["kill"]).expect_code(3);
        fs::remove_file(tree.home.paths().kill_file()).expect("it was filed");
        fs::rename(&path, path.with_extension("damaged")).expect("moved");
        let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
        let doc = tree.status();
        assert!(doc.next_step.contains("the ledger records no latch"), "{name}: {doc:#?}");
        assert_eq!(doc.trading_mode, TradingMode::ReduceOnly, "{name}");
        resume(&tree);
        tree.wait_mode(TradingMode::Active, s(60));
    }
}

#[test]
fn budgets_and_the_days_baseline_are_recorded_beside_the_latches() {
    let tree = Tree::active();
    let pid = tree.signal(holdfast_core::ids::Role::Sensor, Signal::SIGKILL);
    tree.until("a new sensor", s(20), |doc| {
        doc.workers.iter().any(|w| w.role == holdfast_core::ids::Role::Sensor && w.pid.is_some_and(|new| new != pid))
    });
    let (deaths, loss) = until("both in the ledger", s(20), || {
        let reader = Reader::open(&tree.home.paths().ledger()).ok()?;
        let deaths = reader.deaths(holdfast_core::ids::Role::Sensor).ok()?;
        Some((deaths, reader.loss_baseline().ok()??)).filter(|(deaths, _)| !deaths.is_empty())
    });
    assert_eq!(deaths, cell(&tree.home).deaths[holdfast_core::ids::Role::Sensor.index()].walls());
    assert!(loss.breach.is_none() && loss.utc_day > 20_000, "{loss:?}");
    assert!(rows(&tree.home).contains_key(&Latch::Kill));
    // A breach that only the ledger has: it holds until somebody resumes.
    let _ = tree.run(&["stop"]).expect_code(0);
    let ledger = Ledger::open(&tree.home.paths().ledger()).expect("a ledger");
    let breach = holdfast_store::ledger::LossBreach {
        equity_usd: loss.baseline_usd,
        epoch: cell(&tree.home).epoch,
        lifted_ms: None,
    };
    let reached = holdfast_store::ledger::LossBaseline { breach: Some(breach), ..loss };
    ledger.wait(1, vec![Record::LossBaseline(reached)], Duration::from_secs(20)).expect("written");
    drop(ledger);
    let begun = now();
    let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
    let doc = tree.until("the disagreement", s(20), |doc| doc.next_step.contains("loss limit: reached"));
    assert!(doc.mode_reasons.contains(&ModeReason::ReduceonlyEvidenceChainNotGreen), "{doc:#?}");
    assert!(tree.witness().increases(begun, now()).is_empty());
    resume(&tree);
    tree.wait_mode(TradingMode::Active, s(60));
}

#[test]
fn records_put_back_together_to_before_a_kill_start_killed() {
    for in_order in [true, false] {
        let tree = Tree::active();
        let _ = tree.run(&["stop"]).expect_code(0);
        let (data, paths) = (tree.home.paths().data(), [tree.home.paths().judge_cell(), tree.home.paths().ledger()]);
        let old = paths.clone().map(|path| fs::read(path).expect("a record"));
        let _ = tree.run(&["start"]).expect_code(0);
        let _ = tree.run(&["kill"]).expect_code(0);
        let killed_under = tree.status().permit.epoch;
        if in_order {
            let _ = tree.run(&["stop"]).expect_code(0);
        } else {
            end_all(&tree);
        }
        for beside in ["holdfast.sqlite-wal", "holdfast.sqlite-shm"] {
            let _ = fs::remove_file(data.join(beside));
        }
        paths.iter().zip(&old).for_each(|(path, bytes)| fs::write(path, bytes).expect("put back"));
        assert!(cell(&tree.home).kill.is_none() && agree(&tree.home), "both say that nothing is latched");
        let _ = tree.run(&["start"]).expect_code(0);
        let doc = tree.status();
        let why = doc.kill.reason.clone().unwrap_or_default();
        assert!(doc.kill.active && why.contains("the runtime bus tells of epoch"), "in order {in_order}: {doc:#?}");
        assert!(doc.permit.epoch > killed_under, "no epoch is used twice: {doc:#?}");
        active(&tree);
        let _ = tree.run(&["stop"]).expect_code(0);
        let _ = tree.run(&["start"]).expect_code(0);
        assert!(!tree.status().kill.active, "found once");
    }
}
