//! The ledger over real files: what it keeps, what it refuses, and that refusing changes nothing.

use super::*;
use holdfast_core::conflict::{Latch, LatchRow};
use holdfast_core::ids::{Epoch, Role};
use rusqlite::Connection;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("holdfast.sqlite");
    Place { _dir: dir, path }
}

fn event(at_ms: u64) -> Record {
    Record::Event(Event { at_ms, event_type: "tick \"µ\"".into(), payload_json: format!(r#"{{ "n": {at_ms} }}"#) })
}

fn position(maturity: Option<u64>) -> Record {
    Record::PositionOpened(PositionOpened {
        opened_ms: 10,
        venue: "braiins".into(),
        description: "canary".into(),
        expected_maturity_ms: maturity,
        payload_json: "{}".into(),
    })
}

fn run(id: &str) -> Run {
    Run {
        run_id: id.into(),
        started_ms: 100,
        ended_ms: None,
        status: RunStatus::Running,
        planned_cycles: 24,
        interval_s: 300,
        good_cycles: 0,
        failed_cycles: 0,
        last_error: None,
        hypothesis: "h".into(),
        knobs_json: r#"{"depth_target_ph":"2"}"#.into(),
        config_sha256: [7; 32],
        report: None,
    }
}

fn latch(in_force: bool) -> LatchRow {
    LatchRow {
        in_force,
        since_wall_ms: 5,
        until_wall_ms: Some(9),
        cause: "operator".into(),
        reason: Some("storm".into()),
        detail: None,
    }
}

/// Every byte of the ledger and of the log beside it.
fn bytes(path: &Path) -> Vec<u8> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let mut all = std::fs::read(path).unwrap();
    all.extend(std::fs::read(wal).unwrap_or_default());
    all
}

#[test]
fn it_is_private_from_the_start_has_one_writer_and_keeps_its_name() {
    let at = place();
    let ledger = Ledger::open(&at.path).unwrap();
    ledger.wait(1, vec![event(1)], SOON).unwrap();
    for beside in ["", "-wal", "-shm"] {
        let path = format!("{}{beside}", at.path.display());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{path}");
    }
    assert!(matches!(Ledger::open(&at.path), Err(LedgerError::Busy { .. })));
    let reader = Reader::open(&at.path).unwrap();
    let name = reader.meta().unwrap().state_dir;
    let raw = Connection::open(&at.path).unwrap();
    let mode: String = raw.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    drop(raw);
    drop(ledger);
    let again = Ledger::open(&at.path).unwrap();
    assert_eq!(Reader::open(&at.path).unwrap().meta().unwrap().state_dir, name);
    drop(again);
    let other = place();
    let _ledger = Ledger::open(&other.path).unwrap();
    assert_ne!(Reader::open(&other.path).unwrap().meta().unwrap().state_dir, name);
}

#[test]
fn what_is_written_is_read_back() {
    let at = place();
    let ledger = Ledger::open(&at.path).unwrap();
    let loss = LossBaseline {
        utc_day: 3,
        baseline_usd: "10000.10".parse().unwrap(),
        recorded_ms: 4,
        breach: Some(LossBreach { equity_usd: "-1.5".parse().unwrap(), epoch: Epoch(2), lifted_ms: None }),
    };
    let state = Lifecycle {
        phase: Phase::Cooldown,
        next_action_ms: Some(900),
        cooldown_until_ms: Some(900),
        backoff_until_ms: None,
        last_run_id: Some("run-1".into()),
        message: "m".into(),
        updated_ms: 6,
        updated_by: "7 boot".into(),
    };
    let sample = Sample { run_id: Some("run-1".into()), kind: "book".into(), wall_ms: 7, payload_json: "[1]".into() };
    let ocean = OceanSnapshot {
        at_ms: 8,
        pool_hashrate_eh_s: "12.5".parse().unwrap(),
        network_difficulty_t: "123.45".parse().unwrap(),
        share_log_window_t: None,
        avg_block_time_hours: None,
        source: "fixture".into(),
    };
    let market = MarketSnapshot {
        at_ms: 8,
        best_price: Some("0.4555".parse().unwrap()),
        best_bid: None,
        best_ask: None,
        fillable_price: None,
        fillable_target_ph: None,
        fillable_available_ph: None,
        suggested_bid: None,
        suggested_overpay: None,
        last_price: None,
        total_hashrate_eh_s: None,
        available_hashrate_eh_s: None,
        status: None,
        source: "fixture".into(),
        basis: Basis::Live,
    };
    let proposal = Proposal {
        at_ms: 9,
        run_id: Some("run-1".into()),
        cycle: Some(0),
        ocean: Some(Snapshot::JustWritten),
        market: Some(Snapshot::JustWritten),
        action: ProposalAction::ManualCanary,
        reason: "r".into(),
        price: Some("0.45".parse().unwrap()),
        spend_btc: None,
        duration_minutes: Some(180),
        breakeven: None,
        expected_reward_btc: None,
        expected_net_btc: None,
        score: None,
        maturity_note: String::new(),
        basis: Basis::Live,
    };
    let step = RatchetStep {
        at_ms: 10,
        knob: Knob::OverpayCushion,
        old_value: "0.01".into(),
        new_value: "0.02".into(),
        hypothesis: "h".into(),
        evidence_json: r#"["run-1"]"#.into(),
        config_before: [1; 32],
        config_after: [2; 32],
    };
    ledger.wait(1, vec![Record::RunOpened(run("run-1"))], SOON).unwrap();
    ledger
        .wait(
            2,
            vec![
                Record::Latch(Latch::Kill, latch(true)),
                Record::LossBaseline(loss.clone()),
                Record::Deaths(Role::Engine, vec![3, 1, 2]),
                Record::Lifecycle(state.clone()),
                Record::Sample(sample.clone()),
                Record::Ocean(ocean),
                Record::Market(market),
                Record::Proposal(proposal),
                Record::RatchetStep(step),
                Record::Exported { bundle: Some("b-1".into()), at_ms: 5 },
            ],
            SOON,
        )
        .unwrap();
    ledger.wait(3, vec![Record::Deaths(Role::Engine, vec![8, 9]), event(50), event(51)], SOON).unwrap();
    let reader = Reader::open(&at.path).unwrap();
    assert_eq!(reader.latches().unwrap(), [(Latch::Kill, latch(true))].into());
    assert_eq!(reader.loss_baseline().unwrap(), Some(loss));
    assert_eq!(reader.deaths(Role::Engine).unwrap(), [8, 9], "replaced, not added");
    assert_eq!(reader.lifecycle().unwrap(), Some(state));
    assert_eq!(reader.runs(5).unwrap(), [run("run-1")]);
    assert_eq!(reader.samples("run-1", 5).unwrap(), [sample]);
    assert_eq!(reader.latest_proposal().unwrap(), Some((9, ProposalAction::ManualCanary, "r".into())));
    assert_eq!(reader.meta().unwrap().exported_to.as_deref(), Some("b-1"));
    let events = reader.events(1, 5).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].0, events[0].1.payload_json.as_str()), (2, r#"{ "n": 51 }"#));
    assert_eq!(reader.events_tail().unwrap().count, 2);
    let counts = reader.counts().unwrap();
    assert_eq!(counts["lifecycle_events"], Count { rows: 2, newest_ms: Some(51) });
    assert_eq!(counts["proposals"], Count { rows: 1, newest_ms: Some(9) });
    // The copy says the same and stands alone.
    let copy = at.path.with_file_name("copy.sqlite");
    reader.copy_into(&copy).unwrap();
    let copied = Reader::open_copy(&copy).unwrap();
    assert_eq!(copied.counts().unwrap(), counts);
    assert_eq!(copied.events_tail().unwrap(), reader.events_tail().unwrap());
    assert!(!copy.with_file_name("copy.sqlite-wal").exists());
}

#[test]
fn every_table_is_counted_and_every_word_of_ours_is_one_of_the_schema() {
    let at = place();
    drop(Ledger::open(&at.path).unwrap());
    let raw = Connection::open(&at.path).unwrap();
    let mut query =
        raw.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").unwrap();
    let mut tables: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    tables.sort();
    assert_eq!(tables, TABLES.map(|(name, _)| name));
    let words = |table: &str, words: Vec<&str>| {
        let sql: String =
            raw.query_row("SELECT sql FROM sqlite_schema WHERE name = ?", [table], |row| row.get(0)).unwrap();
        assert!(words.iter().all(|word| sql.contains(&format!("'{word}'"))), "{table}: {words:?}");
    };
    words("latches", Latch::ALL.map(Latch::as_str).to_vec());
    words("restart_budgets", Role::ALL.map(Role::as_str).to_vec());
    words("lifecycle_state", Phase::ALL.iter().map(|word| word.as_str()).collect());
    words("runs", RunStatus::ALL.iter().map(|word| word.as_str()).collect());
    words("ratchet_steps", Knob::ALL.iter().map(|word| word.as_str()).collect());
    words("proposals", ProposalAction::ALL.iter().map(|word| word.as_str()).collect());
    words("market_snapshots", Basis::ALL.iter().map(|word| word.as_str()).collect());
}

#[test]
fn a_rule_that_is_broken_undoes_the_whole_write_and_nothing_else() {
    let at = place();
    let ledger = Ledger::open(&at.path).unwrap();
    let write = |records| ledger.wait(1, records, SOON);
    assert_eq!(write(vec![position(Some(100))]).unwrap(), [1]);
    assert_eq!(write(vec![position(None)]).unwrap(), [2]);
    write(vec![Record::PositionClosed { id: 1, closed_ms: 60 }]).unwrap();
    write(vec![Record::RunOpened(run("run-1"))]).unwrap();
    let mut done = run("run-1");
    (done.status, done.ended_ms) = (RunStatus::Completed, Some(200));
    let blank = Record::PositionOpened(PositionOpened {
        opened_ms: 1,
        venue: "v".into(),
        description: "  ".into(),
        expected_maturity_ms: None,
        payload_json: "{}".into(),
    });
    let odd = Record::Event(Event { at_ms: 1, event_type: "x".into(), payload_json: "[1]".into() });
    let huge = format!("{{\"x\":\"{}\"}}", "y".repeat(holdfast_core::limits::LEDGER_ROW_MAX));
    let huge = Record::Event(Event { at_ms: 1, event_type: "x".into(), payload_json: huge });
    let orphan = Sample { run_id: Some("none".into()), kind: "k".into(), wall_ms: 1, payload_json: "1".into() };
    let mut ended = run("run-3");
    ended.ended_ms = Some(5);
    for (what, record) in [
        ("closed already", Record::PositionClosed { id: 1, closed_ms: 70 }),
        ("no such position", Record::PositionClosed { id: 9, closed_ms: 70 }),
        ("a second open watch", Record::RunOpened(run("run-2"))),
        ("a blank description", blank),
        ("a payload that is no object", odd),
        ("a payload that is too large", huge),
        ("a sample of no run", Record::Sample(orphan)),
        ("running and ended", Record::RunUpdated(Run { run_id: "run-1".into(), ..ended })),
    ] {
        let refused = write(vec![event(1), record]);
        assert!(matches!(refused, Err(LedgerError::Refused { .. })), "{what}: {refused:?}");
    }
    assert_eq!(ledger.health(), Health::default(), "a broken rule is no fault of the ledger");
    write(vec![Record::RunUpdated(done.clone())]).unwrap();
    assert!(matches!(write(vec![Record::RunUpdated(done)]), Err(LedgerError::Refused { .. })), "closed for good");
    let reader = Reader::open(&at.path).unwrap();
    assert_eq!(reader.counts().unwrap()["lifecycle_events"].rows, 0, "the event before the broken rule stayed");
    let active: Vec<i64> = reader.positions(true, 9).unwrap().iter().map(|position| position.id).collect();
    assert_eq!(active, [2]);
    let all = reader.positions(false, 9).unwrap();
    assert_eq!((all[1].closed_ms, all[1].closed_before_maturity), (Some(60), true));
}

#[test]
fn evidence_cannot_be_edited_and_a_chain_that_was_is_found() {
    let at = place();
    let ledger = Ledger::open(&at.path).unwrap();
    ledger.wait(1, vec![position(None), event(1), event(2), event(3)], SOON).unwrap();
    drop(ledger);
    let raw = Connection::open(&at.path).unwrap();
    for sql in [
        "UPDATE manual_positions SET description = 'other'",
        "DELETE FROM manual_positions",
        "UPDATE lifecycle_events SET at_ms = 7 WHERE id = 2",
        "DELETE FROM lifecycle_events WHERE id = 3",
    ] {
        let refused = raw.execute(sql, []);
        assert!(refused.as_ref().is_err_and(|e| e.to_string().contains("never")), "{sql}: {refused:?}");
    }
    drop(raw);
    let good = bytes(&at.path);
    for (sql, what) in [
        ("UPDATE lifecycle_events SET at_ms = 7 WHERE id = 2", "the checksum of lifecycle event 2"),
        ("DELETE FROM lifecycle_events WHERE id = 2", "lifecycle event 3 does not follow"),
    ] {
        std::fs::write(&at.path, &good).unwrap();
        let raw = Connection::open(&at.path).unwrap();
        raw.execute_batch("DROP TRIGGER events_kept; DROP TRIGGER events_stay; PRAGMA journal_mode = DELETE;").unwrap();
        raw.execute(sql, []).unwrap();
        drop(raw);
        let found = Reader::open_copy(&at.path).map(|_| ());
        assert!(matches!(&found, Err(LedgerError::Damaged { said, .. }) if said.contains(what)), "{found:?}");
    }
}

#[test]
fn what_is_damaged_foreign_or_newer_is_refused_by_name_and_left_as_it_is() {
    let kept = place();
    let ledger = Ledger::open(&kept.path).unwrap();
    for n in 0..40 {
        ledger.wait(1, vec![event(n), position(None)], SOON).unwrap();
    }
    drop(ledger);
    let good = std::fs::read(&kept.path).unwrap();
    let page = 4096;
    let pages = good.len() / page;
    let mut seen = 0;
    // One page after another is overwritten. A page that no table uses may pass.
    for number in 0..pages {
        let at = place();
        std::fs::write(&at.path, &good).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&at.path).unwrap();
        file.write_all_at(&[0xa5; 4096], u64::try_from(number * page).unwrap()).unwrap();
        let before = bytes(&at.path);
        match Ledger::open(&at.path) {
            Err(error @ (LedgerError::Damaged { .. } | LedgerError::Foreign { .. })) => {
                assert!(error.to_string().contains("holdfast.sqlite"), "{error}");
                assert_eq!(bytes(&at.path), before, "page {number}: refused and changed");
                seen += 1;
            }
            other => panic!("page {number} of {pages}: {other:?}"),
        }
    }
    assert!(seen > 5, "{seen} of {pages}");
    type Change = fn(&Path, &[u8]);
    let cases: [(&str, Change); 5] = [
        ("cut in the middle", |path, good| std::fs::write(path, &good[..good.len() / 2 + 100]).unwrap()),
        ("something else", |path, _| std::fs::write(path, vec![b'x'; 9000]).unwrap()),
        ("another program's", |path, _| {
            let raw = Connection::open(path).unwrap();
            raw.execute_batch("CREATE TABLE t (x); PRAGMA application_id = 5;").unwrap();
        }),
        ("newer", |path, good| {
            std::fs::write(path, good).unwrap();
            Connection::open(path).unwrap().pragma_update(None, "user_version", SCHEMA + 1).unwrap();
        }),
        ("a link", |path, good| {
            let real = path.with_extension("real");
            std::fs::write(&real, good).unwrap();
            std::os::unix::fs::symlink(real, path).unwrap();
        }),
    ];
    for (what, change) in cases {
        let at = place();
        change(&at.path, &good);
        let before = bytes(&at.path);
        let refused = Ledger::open(&at.path).unwrap_err();
        let newer = matches!(refused, LedgerError::Newer { found, known, .. } if found == known + 1);
        let kind = newer || matches!(refused, LedgerError::Damaged { .. } | LedgerError::Foreign { .. });
        let kind = kind && newer == (what == "newer");
        assert!(kind && refused.to_string().contains("holdfast.sqlite"), "{what}: {refused}");
        assert_eq!(bytes(&at.path), before, "{what}: refused and changed");
    }
    // An empty file is a creation that was interrupted.
    let at = place();
    std::fs::write(&at.path, b"").unwrap();
    Ledger::open(&at.path).unwrap().wait(1, vec![event(1)], SOON).unwrap();
    // One left by a crash is opened, with what its log holds.
    let at = place();
    let ledger = Ledger::open(&at.path).unwrap();
    ledger.wait(1, vec![event(1)], SOON).unwrap();
    let left = place();
    for beside in ["", "-wal"] {
        let from = format!("{}{beside}", at.path.display());
        std::fs::copy(from, format!("{}{beside}", left.path.display())).unwrap();
    }
    assert_eq!(
        Ledger::open(&left.path).map(|_| Reader::open(&left.path).unwrap().events_tail().unwrap().count).unwrap(),
        1
    );
}

#[test]
fn a_writer_that_cannot_go_on_is_seen_and_nobody_waits_for_it_without_an_end() {
    let at = place();
    let ledger = Ledger::open(&at.path).unwrap();
    ledger.wait(1, vec![event(1)], SOON).unwrap();
    let mut other = Connection::open(&at.path).unwrap();
    let hold = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let late = ledger.wait(50, vec![event(2)], Duration::from_millis(10));
    assert!(matches!(late, Err(LedgerError::Late { waited_ms: 10, .. })), "{late:?}");
    let full = (0..=holdfast_core::limits::LEDGER_QUEUE_MAX + 1)
        .find_map(|n| ledger.note(51, vec![event(100 + u64::try_from(n).unwrap())]).err());
    assert!(matches!(full, Some(LedgerError::Full { .. })), "{full:?}");
    assert!(ledger.health().queued >= holdfast_core::limits::LEDGER_QUEUE_MAX);
    // The write that met the lock gives up by itself; what it was to write is not there.
    while ledger.health().ok() {
        std::thread::yield_now();
    }
    let health = ledger.health();
    assert_eq!((health.failing_since_ms, health.latched), (Some(50), false), "{health:?}");
    drop(hold);
    let free = loop {
        match ledger.wait(60, vec![event(3)], SOON) {
            Err(LedgerError::Full { .. }) => std::thread::yield_now(),
            other => break other,
        }
    };
    free.unwrap();
    assert_eq!(ledger.health(), Health::default());
    let too_many = vec![event(1); holdfast_core::limits::LEDGER_BATCH_MAX + 1];
    assert!(matches!(ledger.note(1, too_many), Err(LedgerError::Refused { .. })));
}
