//! Deaths and hangs: each worker SIGKILLed and SIGSTOPped while it has something to lose, the supervisor killed, and a
//! host that slept. Judged by the witness, the process table and the order of the supervisor's own acts.

use holdfast_core::ids::Role;
use holdfast_core::registry::TradingMode;
use holdfast_core::status::StatusDoc;
use holdfast_core::time::{Span, Tick};
use holdfast_tests::Tree;
use holdfast_tests::crew::side_by_side;
use holdfast_tests::tree::{lives, send};
use holdfast_tests::wait::{ms, now, s, until};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;

const WORKERS: [(&str, Role); 5] = [
    ("sensor", Role::Sensor),
    ("engine", Role::Engine),
    ("api", Role::Api),
    ("deadman", Role::Deadman),
    ("venue", Role::Venue),
];

/// New risk is gone this long after any fault.
const RESTRICTED: Span = Span::from_ms(1000);
/// A worker that hangs is replaced by then.
const REPLACED: Span = Span::from_ms(4000);
/// "At once", with room for a noisy machine: no restart policy waits so little by chance.
const AT_ONCE: Span = Span::from_ms(1000);
/// A replacement proves itself this long.
const PROBATION: Span = Span::from_ms(10_000);

/// Active, with a position of the engine's own making, both in the same document: there is a permit to revoke.
fn exposed() -> Tree {
    let tree = Tree::active();
    let held = |doc: &StatusDoc| doc.exposure.positions.iter().any(|position| !position.size.is_zero());
    tree.until("Active and exposed", s(90), |doc| {
        doc.trading_mode == TradingMode::Active && doc.permit.live && held(doc)
    });
    tree
}

/// Watches a tree that was hurt at `fault` until it is Active again.
///
/// Returns the last document that was not Active yet: its instant is before recovery for certain.
fn until_recovered(tree: &Tree, fault: Tick) -> (StatusDoc, StatusDoc) {
    let mut restricted: Option<StatusDoc> = None;
    let after = until("Active again", s(60), || {
        let doc = tree.try_status()?;
        let fresh = doc.generated_boot_ns > fault.0;
        if fresh && doc.trading_mode != TradingMode::Active {
            assert!(!doc.permit.live, "a permit outside Active: {doc:?}");
            restricted = Some(doc);
            return None;
        }
        (fresh && restricted.is_some()).then_some(doc)
    });
    (restricted.expect("it was restricted"), after)
}

/// What must hold of every fault of a worker, however it was made.
fn drill(tree: &Tree, role: Role, signal: Signal, replaced_within: Span) {
    let name = role.to_string();
    let lines = tree.diary("supervisor").0.len();
    let old = tree.pid(role);
    let fault = now();
    send(old, signal);
    let (restricted, active) = until_recovered(tree, fault);

    // The order of the supervisor's acts.
    let diary = tree.diary("supervisor");
    let what = |text: &str| format!("{name} {signal}: {text}\n{}", tree.logs());
    let (revoked_at, revoked) =
        *diary.ticks(lines, "revoked_boot_ns").first().unwrap_or_else(|| panic!("{}", what("no revocation")));
    let (spawned_at, spawned) = *diary
        .ticks(lines, "spawned_boot_ns")
        .iter()
        .find(|(at, _)| diary.0[*at]["fields"]["role"] == name.as_str())
        .unwrap_or_else(|| panic!("{}", what("no replacement")));
    assert!(revoked_at < spawned_at && revoked <= spawned, "{}", what("replaced before the permit was revoked"));
    assert!(revoked > fault, "{}", what("the revocation is an older one"));
    assert!(
        revoked.since(fault) <= RESTRICTED,
        "{}",
        what(&format!("restricted after {}", revoked.since(fault).as_ms()))
    );
    assert!(
        spawned.since(fault) <= replaced_within,
        "{}",
        what(&format!("replaced after {}", spawned.since(fault).as_ms()))
    );

    // Not Active before the replacement was reconciled and had proven itself.
    let reconciled = diary
        .find(spawned_at, |fields| {
            fields["message"] == "reconciliation"
                && fields["report"].as_str().is_some_and(|report| report.contains("clean: true"))
        })
        .unwrap_or_else(|| panic!("{}", what("no clean reconciliation after the replacement")));
    let active_at = diary.says(spawned_at, "mode Active").unwrap_or_else(|| panic!("{}", what("no Active in the log")));
    assert!(reconciled < active_at, "{}", what("Active before the reconciliation"));
    let waited = Tick(active.generated_boot_ns).since(spawned);
    assert!(waited >= PROBATION, "{}", what(&format!("Active {} ms after the replacement", waited.as_ms())));

    // The venue saw no new risk in between.
    let until_then = Tick(restricted.generated_boot_ns);
    let witness = tree.witness();
    let increases = witness.increases(fault.after(RESTRICTED), until_then);
    assert!(increases.is_empty(), "{}", what(&format!("new risk while restricted: {increases:?}")));

    // One of each, and the old one is gone.
    assert!(!lives(old), "{}", what("the old process lives"));
    one_of_each(tree);
    assert_eq!(tree.worker(role).restarts, active.workers.iter().find(|w| w.role == role).map_or(0, |w| w.restarts));
}

/// Every role is held by exactly one process.
fn one_of_each(tree: &Tree) {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for (name, _) in tree.processes() {
        *count.entry(name).or_default() += 1;
    }
    let wanted = ["api", "deadman", "engine", "sensor", "supervisor", "venue"].map(|name| (name.to_owned(), 1));
    assert_eq!(count, BTreeMap::from(wanted));
}

#[test]
fn a_killed_worker_is_replaced_under_a_revoked_permit() {
    side_by_side(&WORKERS, 5, |_, role| drill(&exposed(), *role, Signal::SIGKILL, AT_ONCE));
}

#[test]
fn a_hanging_worker_is_replaced_under_a_revoked_permit() {
    side_by_side(&WORKERS, 5, |_, role| drill(&exposed(), *role, Signal::SIGSTOP, REPLACED));
}

#[test]
fn a_dead_supervisor_takes_its_workers_along_and_deadman_closes_what_is_open() {
    let tree = exposed();
    tree.rest_two_orders();
    let before: BTreeMap<String, u32> = tree.processes().into_iter().collect();
    let fault = now();
    send(before["supervisor"], Signal::SIGKILL);
    until("sensor, engine and api gone", s(2), || {
        ["supervisor", "sensor", "engine", "api"].iter().all(|name| !lives(before[*name])).then_some(())
    });
    assert!(now().since(fault) <= s(2), "gone after {} ms", now().since(fault).as_ms());
    assert!(lives(before["deadman"]) && lives(before["venue"]), "these two stay to close what is open");

    until("everything gone", s(40), || tree.processes().is_empty().then_some(()));
    let witness = tree.witness();
    let late: Vec<_> = witness.increases(fault.after(RESTRICTED), now());
    assert!(late.is_empty(), "new risk without a supervisor: {late:?}");
    // It waited for a successor, then acted.
    let acts: Vec<_> = witness
        .0
        .iter()
        .filter(|line| line.boot_ns > fault.0 && matches!(line.kind.as_str(), "cancel" | "cancelByCloid" | "order"))
        .collect();
    let first = acts.iter().find(|line| line.boot_ns > fault.after(ms(1000)).0).expect("deadman acted");
    let waited = Tick(first.boot_ns).since(fault);
    assert!(waited >= ms(4500) && waited <= s(10), "deadman acted after {} ms", waited.as_ms());
    assert_eq!(witness.positions(), BTreeMap::new(), "not flat: {acts:?}");
    let report = std::fs::read_to_string(tree.home.paths().run().join("deadman-report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("a report is JSON");
    assert_eq!(report["schema"], "holdfast.deadman-report.v1", "{report}");
    assert_eq!(report["progress"]["state"], "flat", "{report}");
    assert_eq!(report["policy"], "flatten", "{report}");
    assert_eq!(report["supervisor_pid"], before["supervisor"], "{report}");

    // The next one: reconciled, then Active, however fast it comes up; and one of each.
    let status = tree.run(&["status", "--json"]).expect_code(3).json();
    assert_eq!(status["running"], false, "{status}");
    let lines = tree.diary("supervisor").0.len();
    let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
    tree.wait_mode(TradingMode::Active, s(30));
    let diary = tree.diary("supervisor");
    let reconciled = diary.says(lines, "reconciliation").expect("a reconciliation");
    let active = diary.says(lines, "mode Active").expect("Active");
    assert!(reconciled < active, "{}", tree.logs());
    one_of_each(&tree);
    assert!(tree.books().flat(), "{:?}", tree.books());
}

#[test]
fn a_successor_within_the_grace_time_ends_the_leftovers() {
    let tree = exposed();
    let before: BTreeMap<String, u32> = tree.processes().into_iter().collect();
    let epoch = tree.status().permit.epoch;
    send(before["supervisor"], Signal::SIGKILL);
    let fault = now();
    until("the supervisor gone", s(2), || (!lives(before["supervisor"])).then_some(()));
    // At once: everything it left may still be there.
    let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
    for (name, pid) in &before {
        assert!(!lives(*pid), "{name} of the former tree lives");
    }
    one_of_each(&tree);
    let doc = tree.status();
    assert!(doc.permit.epoch > epoch, "the epoch goes on: {doc:?}");
    let mut last = fault;
    let active = until("Active", s(40), || {
        let doc = tree.try_status()?;
        if doc.trading_mode == TradingMode::Active {
            return Some(doc);
        }
        last = Tick(doc.generated_boot_ns);
        None
    });
    let increases = tree.witness();
    let increases = increases.increases(fault.after(RESTRICTED), last);
    assert!(increases.is_empty(), "new risk before Active: {increases:?}");
    assert!(active.permit.epoch > epoch);
    // Deadman of the former tree did not act: nothing was flattened because of a restart.
    assert!(!tree.home.paths().run().join("deadman-report.json").exists(), "{}", tree.logs());
}

#[test]
fn a_host_that_slept_opens_nothing_before_it_has_reconciled() {
    let tree = exposed();
    let lines = tree.diary("supervisor").0.len();
    let before = tree.processes();
    // The supervisor first and last, so that it sees no worker hang while it is awake.
    let order = |first: bool| before.iter().filter(move |(name, _)| (name == "supervisor") == first);
    for (_, pid) in order(true).chain(order(false)) {
        send(*pid, Signal::SIGSTOP);
    }
    let slept = now();
    // Not a wait for anything: this is the nap itself.
    until("the end of the nap", s(10), || (now().since(slept) >= s(5)).then_some(()));
    let woken = now();
    for (_, pid) in order(false).chain(order(true)) {
        send(*pid, Signal::SIGCONT);
    }
    let mut last = woken;
    let seen = until("Active again", s(60), || {
        let doc = tree.try_status()?;
        if doc.generated_boot_ns <= woken.0 {
            return None;
        }
        if doc.trading_mode == TradingMode::Active && last > woken {
            return Some(doc);
        }
        last = Tick(doc.generated_boot_ns);
        None
    });
    let diary = tree.diary("supervisor");
    let stood = diary.says(lines, "stood still").unwrap_or_else(|| panic!("the nap went unnoticed\n{}", tree.logs()));
    let revoked = diary.ticks(lines, "revoked_boot_ns").first().map(|(at, _)| *at).expect("a revocation");
    let reconciled = diary.says(stood, "reconciliation").expect("a reconciliation");
    let active = diary.says(stood, "mode Active").expect("Active");
    assert!(reconciled < active && revoked < active, "{}", tree.logs());
    let latched = diary.find(stood, |fields| fields["message"].as_str().is_some_and(|m| m.contains("LATCHED")));
    assert!(latched.is_some_and(|at| at < active), "{}", tree.logs());
    let witness = tree.witness();
    let increases = witness.increases(slept.after(ms(50)), last);
    assert!(increases.is_empty(), "new risk before the reconciliation: {increases:?}");
    // Nobody was shot for having slept, and deadman did not take the nap for a death.
    assert_eq!(tree.processes().into_iter().collect::<BTreeMap<_, _>>(), before.into_iter().collect());
    assert!(seen.workers.iter().all(|worker| worker.restarts == 0), "{seen:?}");
    assert!(diary.says(lines, "SIGKILL").is_none(), "{}", tree.logs());
    assert!(tree.diary("deadman").says(0, "reduce job").is_none(), "{}", tree.logs());
    assert!(!tree.home.paths().run().join("deadman-report.json").exists());
}
