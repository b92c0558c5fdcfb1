//! An answer that is lost is asked for, never guessed, and nothing is sent twice.

use crate::stale::{last_restricted, resume, trading};
use holdfast_core::ids::Role;
use holdfast_core::money::Szi;
use holdfast_core::registry::TradingMode;
use holdfast_core::status::StatusDoc;
use holdfast_tests::journal::Decisions;
use holdfast_tests::tree::http;
use holdfast_tests::wait::{attempt, now, s};
use holdfast_tests::witness::Line;
use holdfast_tests::{Home, Tree, until};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;

fn decisions(tree: &Tree) -> Decisions {
    Decisions::read(&tree.home.paths().decisions())
}

fn clear_faults(tree: &Tree) {
    let (status, answer) = http(tree.venue(), "DELETE", "/sim/faults", "");
    assert!((200..300).contains(&status), "{status} {answer}");
}

/// Orders at the venue by client order id: each must have been journaled before it arrived, and must have come once.
/// `deadman` keeps no journal, so only orders of the engine's signer count.
fn agree(tree: &Tree) {
    let (witness, journal) = (tree.witness(), decisions(tree));
    witness.check_openings();
    let intents = journal.intents();
    let mut seen: BTreeMap<&str, &Line> = BTreeMap::new();
    for line in witness.0.iter().filter(|line| line.kind == "order" && line.increased_exposure) {
        let cloid = line.cloid.as_deref().unwrap_or_else(|| panic!("an opening without a name: {line:?}"));
        let intent = intents.get(cloid).unwrap_or_else(|| panic!("{cloid} was sent and not journaled: {line:?}"));
        assert!(intent.at_ms <= line.wall_ms, "{cloid} was journaled at {} after {line:?}", intent.at_ms);
        assert!(intent.opens(), "{cloid} was journaled as a close and opened: {line:?}");
        assert!(seen.insert(cloid, line).is_none(), "{cloid} opened twice");
    }
}

/// With no new orders, the venue's record, the status and the journal name the same position.
fn settle(tree: &Tree) {
    let _ = tree.run(&["flatten"]).expect_code(0);
    resume(tree);
    tree.until("books that agree", s(60), |doc| {
        doc.trading_mode == TradingMode::Active && doc.decisions.unsettled == 0
    });
    agree(tree);
}

fn signed(doc: &StatusDoc) -> BTreeMap<String, Szi> {
    let open = doc.exposure.positions.iter().filter(|p| !p.size.is_zero());
    open.map(|p| (p.coin.clone(), p.size)).collect()
}

/// What the journal's executions since the last comparison amount to.
fn expected(journal: &Decisions) -> BTreeMap<String, Szi> {
    let mut held: BTreeMap<String, Szi> = BTreeMap::new();
    let mut counted = std::collections::BTreeSet::new();
    for line in &journal.0 {
        if line.kind == "reconciled" {
            held.clear();
            for position in line.body["held"].as_array().unwrap() {
                let coin = position["coin"].as_str().unwrap().to_owned();
                held.insert(coin, position["size"].as_str().unwrap().parse().unwrap());
            }
            // Executions before the reading are in it.
            let read = line.body["venue_ms"].as_u64().unwrap();
            counted.insert(("reconciled".to_owned(), read));
        }
        if line.kind == "fill" {
            let tid = line.body["tid"].as_u64().unwrap();
            let after =
                counted.iter().all(|(name, ms)| name != "reconciled" || line.body["venue_ms"].as_u64() > Some(*ms));
            if counted.insert(("fill".to_owned(), tid)) && after {
                let size: holdfast_core::money::Sz = line.text("size").parse().unwrap();
                let moved = size.signed(line.body["is_buy"] == true);
                let was = held.get(line.text("coin")).copied().unwrap_or(Szi::FLAT);
                held.insert(line.text("coin").to_owned(), was.checked_add(moved).unwrap());
            }
        }
    }
    held.retain(|_, size| !size.is_zero());
    held
}

#[test]
fn an_answer_lost_after_the_deed_is_asked_for() {
    let tree = Tree::start_in(Home::busy());
    trading(&tree);
    let before = decisions(&tree).0.len();
    // Reading takes long enough that the question can be seen to stand open.
    tree.fault(r#"{"kind":"latency","value":{"ms":300,"path":"/info"},"for_ms":120000}"#);
    tree.fault(r#"{"kind":"drop_after_execute","for_ms":120000}"#);
    let mut guarded = false;
    // An opening and a closing, both carried out and neither answered.
    until("both lost and both settled", s(110), || {
        if let Some(doc) = tree.try_status() {
            let guard = doc.decisions.unsettled > 0;
            assert!(!(guard && doc.permit.live && doc.trading_mode == TradingMode::Kill), "{doc:#?}");
            guarded |= guard;
        }
        let journal = decisions(&tree);
        let intents = journal.intents();
        let settled = |opens: bool| {
            journal.0[before..].iter().filter(|line| line.unknown()).any(|line| {
                let cloid = line.text("cloid");
                intents.get(cloid).is_some_and(|i| i.opens() == opens) && journal.find("settled", cloid).is_some()
            })
        };
        (settled(true) && settled(false)).then_some(())
    });
    assert!(guarded, "an outcome was unknown and the status never said so");
    clear_faults(&tree);
    let journal = decisions(&tree);
    // From the unknown outcome to its settlement nothing was opened, not even meant to be.
    for (at, line) in journal.0.iter().enumerate().filter(|(_, line)| line.unknown()) {
        let cloid = line.text("cloid");
        let Some(end) = journal.find("settled", cloid) else { continue };
        let intent = journal.find("intent", cloid).unwrap_or_else(|| panic!("{cloid} has no intent"));
        assert!(intent < at && at < end, "intent, unknown, settled: {intent} {at} {end}");
        let opened = journal.0[at..end].iter().find(|line| line.opens());
        assert!(opened.is_none(), "{opened:?} while nobody knew about {cloid}");
    }
    // At a quiet moment all three records agree.
    let _ = tree.run(&["pause"]).expect_code(0);
    let same = attempt(s(45), || {
        let doc = tree.try_status()?;
        let (venue, journal) = (tree.witness().positions(), expected(&decisions(&tree)));
        (doc.decisions.unsettled == 0 && doc.exposure.known && signed(&doc) == venue && venue == journal).then_some(())
    });
    assert!(
        same.is_some(),
        "status {:?}, venue {:?}, journal {:?}",
        signed(&tree.status()),
        tree.witness().positions(),
        expected(&decisions(&tree))
    );
    settle(&tree);
    trading(&tree);
    agree(&tree);
}

#[test]
fn an_engine_killed_between_sending_and_hearing_asks_and_sends_nothing_twice() {
    let tree = Tree::start_in(Home::busy());
    trading(&tree);
    // The venue acts at once and answers late: the order is executed, the engine does not live to hear it.
    tree.fault(r#"{"kind":"latency","value":{"ms":4000,"path":"/exchange","where":"after"},"for_ms":60000}"#);
    let from = now();
    let line = until("an opening", s(60), || {
        let witness = tree.witness();
        let line = witness.increases(from, now()).into_iter().find(|line| line.kind == "order").cloned();
        line.filter(|_| !witness.0.is_empty())
    });
    tree.signal(Role::Engine, Signal::SIGKILL);
    let killed = now();
    clear_faults(&tree);
    let cloid = line.cloid.clone().unwrap();
    let restricted = last_restricted(&tree);
    let early = tree.witness();
    let early = early.increases(killed.after(s(1)), restricted);
    assert!(early.is_empty(), "opened before books were reconciled: {early:?}");
    let journal = decisions(&tree);
    let intent = journal.find("intent", &cloid).unwrap_or_else(|| panic!("{cloid} was sent and not journaled"));
    assert!(journal.find("outcome", &cloid).is_none(), "nobody heard the answer");
    let settled = journal.find("settled", &cloid).unwrap_or_else(|| panic!("{cloid} was not asked for"));
    assert!(intent < settled);
    trading(&tree);
    let orders = tree.witness().0.iter().filter(|l| l.kind == "order" && l.cloid.as_ref() == Some(&cloid)).count();
    assert_eq!(orders, 1, "{cloid}");
    agree(&tree);
    // Once more, with an order that is on its way when its sender dies: it arrives after its own expiry.
    tree.fault(r#"{"kind":"latency","value":{"ms":1500,"path":"/exchange"},"for_ms":90000}"#);
    let cloid = until("an opening under way", s(60), || {
        let journal = decisions(&tree);
        let open = journal.0.iter().rev().find(|line| line.opens())?;
        let cloid = open.text("cloid").to_owned();
        (journal.find("outcome", &cloid).is_none() && journal.find("settled", &cloid).is_none()).then_some(cloid)
    });
    tree.signal(Role::Engine, Signal::SIGKILL);
    let killed = now();
    clear_faults(&tree);
    let restricted = last_restricted(&tree);
    assert!(tree.witness().increases(killed.after(s(1)), restricted).is_empty());
    assert!(decisions(&tree).find("settled", &cloid).is_some(), "{cloid} was not asked for");
    trading(&tree);
    let witness = tree.witness();
    let orders: Vec<_> = witness.0.iter().filter(|l| l.kind == "order" && l.cloid.as_ref() == Some(&cloid)).collect();
    assert!(orders.len() <= 1, "{orders:?}");
    settle(&tree);
}
