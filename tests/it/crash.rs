//! SIGKILL of the engine, the supervisor or the whole tree at random instants while trading: afterwards the journal and
//! the venue tell the same story, latches are as they were, and no order was sent twice or without an intent.
//!
//! `HOLDFAST_CRASHES` says how many instants (12 without it), `HOLDFAST_CRASH_SEED` which (printed when absent).

use crate::ledger::cell;
use crate::stale::{resume, trading};
use holdfast_core::ids::Role;
use holdfast_core::limits::RESTARTS_MAX;
use holdfast_core::money::{Sz, Szi};
use holdfast_core::registry::{ModeReason, TradingMode};
use holdfast_core::status::StatusDoc;
use holdfast_core::time::Tick;
use holdfast_ipc::clock;
use holdfast_store::journal::{CoinFills, Replay, replay};
use holdfast_tests::crew::side_by_side;
use holdfast_tests::journal::Decisions;
use holdfast_tests::tree::{lives, send};
use holdfast_tests::wait::{attempt, now, pause, s};
use holdfast_tests::{Home, Tree, Witness, until};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;

/// Trades as often as it can.
const EAGER: &str = "[strategy]\nfast_bars = 2\nslow_bars = 3\nenter_bps = 1\nhold_bars = 2\nbar_ms = 500\n\
                     [limits]\norders_per_minute = 600\ndaily_loss_usd = \"9000\"\n";
/// Trees at once: most of a round is waiting.
const TREES: u64 = 3;

/// Chance with a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Engine,
    Supervisor,
    /// Started again only when deadman has done its duty.
    SupervisorForLong,
    Everybody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Latch {
    None,
    Paused,
    Killed,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

#[test]
fn after_a_crash_at_any_instant_the_journal_is_the_venues_books() {
    let rounds = number("HOLDFAST_CRASHES").unwrap_or(12);
    let seed = number("HOLDFAST_CRASH_SEED").unwrap_or_else(clock::wall_ms);
    println!("{rounds} crashes, HOLDFAST_CRASH_SEED={seed}");
    let names: Vec<String> = (1..=TREES).map(|tree| format!("tree {tree} of seed {seed}")).collect();
    let share = |tree: u64| rounds / TREES + u64::from(tree < rounds % TREES);
    let cases: Vec<(&str, (u64, u64))> = names
        .iter()
        .zip(0..)
        .map(|(name, tree)| (name.as_str(), (seed.wrapping_add(tree * 7919) | 1, share(tree))))
        .collect();
    side_by_side(&cases, cases.len(), |name, (seed, rounds)| {
        let tree = Tree::start_in(Home::with(EAGER));
        let mut dice = Dice(*seed);
        // The first numbers of a small seed are alike.
        let _ = (0..8).map(|_| dice.roll(2)).count();
        for round in 1..=*rounds {
            crash(&tree, &mut dice, &format!("{name}, round {round}"));
        }
    });
}

fn crash(tree: &Tree, dice: &mut Dice, whose: &str) {
    trading(tree);
    let latch =
        [Latch::None, Latch::None, Latch::None, Latch::Paused, Latch::Killed][usize::try_from(dice.roll(5)).unwrap()];
    // An engine that dies once more than its restarts allow stays down, as it should: that is no crash to recover from.
    let used = cell(&tree.home).deaths_of(Role::Engine).still(clock::wall_ms()).count();
    let victim = match (latch, dice.roll(8)) {
        (Latch::None | Latch::Paused, 0..=2) if used + 1 >= RESTARTS_MAX => Victim::Supervisor,
        (Latch::None | Latch::Paused, 0..=2) => Victim::Engine,
        (_, 0..=4) => Victim::Supervisor,
        (_, 5) => Victim::SupervisorForLong,
        _ => Victim::Everybody,
    };
    match latch {
        Latch::None => {}
        Latch::Paused => drop(tree.run(&["pause"]).expect_code(0)),
        Latch::Killed => drop(tree.run(&["kill", "--reason", "a drill"]).expect_code(0)),
    }
    pause(u16::try_from(dice.roll(1500)).unwrap());
    let whose = format!("{whose}: {victim:?} killed, {latch:?}");
    println!("{whose}");
    let what = |text: &str| format!("{whose}: {text}\n{}", tree.logs());
    let before = tree.processes();
    let fault = now();
    let hit = |name: &str| match victim {
        Victim::Engine => name == "engine",
        Victim::Supervisor | Victim::SupervisorForLong => name == "supervisor",
        Victim::Everybody => true,
    };
    // The supervisor first, so that it sees nobody die.
    let (first, rest): (Vec<_>, Vec<_>) =
        before.iter().filter(|(name, _)| hit(name)).partition(|(n, _)| n == "supervisor");
    let dead: Vec<u32> = first.into_iter().chain(rest).map(|(_, pid)| *pid).collect();
    assert!(!dead.is_empty(), "{}", what("nobody to kill"));
    dead.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
    until(&what("their death"), s(10), || dead.iter().all(|pid| !lives(*pid)).then_some(()));
    if victim == Victim::SupervisorForLong {
        until(&what("deadman's end"), s(60), || tree.processes().is_empty().then_some(()));
    }
    // A successor may be Active before anybody has looked; until it is started nothing may open.
    let mut shut = fault;
    if victim != Victim::Engine {
        shut = now();
        let ran = tree.run(&["start", "--wait", "30"]);
        assert_eq!(ran.code, 0, "{}", what(&format!("{ran:?}")));
    }
    let restricted = recovered(tree, latch, (fault, shut), &what);
    let witness = tree.witness();
    let increases = witness.increases(fault.after(s(1)), restricted);
    assert!(increases.is_empty(), "{}", what(&format!("new risk before books were reconciled: {increases:?}")));
    once_and_written(tree, &what);
    if latch == Latch::Killed {
        // Nobody writes the journal while killed: the next engine does.
        resume(tree);
        tree.wait_mode(TradingMode::Active, s(60));
    }
    agree(tree, &what);
    if latch == Latch::Paused {
        resume(tree);
    }
}

/// Waits until the successor has reconciled, with the latch as it was; gives the last instant at which nothing could open.
fn recovered(tree: &Tree, latch: Latch, (fault, shut): (Tick, Tick), what: &dyn Fn(&str) -> String) -> Tick {
    let mut last = shut;
    let holds = |doc: &StatusDoc| match latch {
        Latch::None => doc.trading_mode == TradingMode::Active,
        Latch::Paused => doc.mode_reasons == [ModeReason::ReduceonlyOperatorPaused] && doc.exposure.known,
        Latch::Killed => doc.kill.active && doc.kill.reason.as_deref() == Some("a drill") && doc.kill.state == "flat",
    };
    until(&what("the successor"), s(120), || {
        let doc = tree.try_status().filter(|doc| doc.generated_boot_ns > fault.0)?;
        let latched = match latch {
            Latch::None => true,
            Latch::Paused | Latch::Killed => doc.trading_mode != TradingMode::Active,
        };
        assert!(latched, "{}", what("a latch was forgotten"));
        if doc.trading_mode != TradingMode::Active {
            last = Tick(doc.generated_boot_ns);
        }
        (holds(&doc) && (latch != Latch::None || last > fault)).then_some(())
    });
    last
}

/// Every order of the engine's signer was written down before it arrived, and none came twice.
fn once_and_written(tree: &Tree, what: &dyn Fn(&str) -> String) {
    let registration = std::fs::read_to_string(tree.home.paths().venue_account()).expect("a registration");
    let registration: serde_json::Value = serde_json::from_str(&registration).expect("JSON");
    let engine = registration["agents"]["engine"].as_str().expect("the engine's signer").to_lowercase();
    let witness = tree.witness();
    witness.check_openings();
    // Read after the witness, and verified here line by line once more.
    let intents = Decisions::read(&tree.home.paths().decisions()).intents();
    let ours = |signer: &Option<String>| signer.as_ref().is_some_and(|signer| signer.to_lowercase() == engine);
    let mut orders = 0;
    for line in witness.0.iter().filter(|line| line.kind == "order" && ours(&line.signer)) {
        let cloid = line.cloid.as_deref().unwrap_or_else(|| panic!("{}", what(&format!("no name: {line:?}"))));
        let intent = intents.get(cloid).unwrap_or_else(|| panic!("{}", what(&format!("sent, not written: {line:?}"))));
        assert!(intent.at_ms <= line.wall_ms, "{}", what(&format!("written at {} after {line:?}", intent.at_ms)));
        orders += 1;
    }
    assert!(orders > 0, "{}", what("the engine ordered nothing"));
}

/// Bought and sold per coin, as the venue saw it.
fn executed(witness: &Witness) -> BTreeMap<String, (Sz, Sz)> {
    let mut sums: BTreeMap<String, (Sz, Sz)> = BTreeMap::new();
    for line in witness.0.iter().filter(|line| line.kind == "fill") {
        let (coin, size) = (line.coin.clone().expect("a coin"), line.sz.as_deref().expect("a size"));
        let size: Sz = size.parse().expect("a size is a decimal");
        let (bought, sold) = sums.entry(coin).or_insert((Sz::ZERO, Sz::ZERO));
        let side = if line.is_buy == Some(true) { bought } else { sold };
        *side = side.checked_add(size).expect("a sum");
    }
    sums
}

/// The journal replayed names the positions and the executions of the venue's books and of its witness.
fn agree(tree: &Tree, what: &dyn Fn(&str) -> String) {
    let mut last = String::new();
    let fills = |read: &Replay| -> BTreeMap<String, (Sz, Sz)> {
        let sums = |fills: &CoinFills| (fills.bought, fills.sold);
        read.fills.iter().map(|(coin, fills)| (coin.clone(), sums(fills))).collect()
    };
    let same = attempt(s(40), || {
        // It trades on meanwhile: a moment counts at which nothing came in while all were read.
        let before = tree.witness();
        let read = replay(&tree.home.paths().decisions()).unwrap_or_else(|e| panic!("{}", what(&e.to_string())));
        let books = tree.try_books()?;
        let quiet = tree.witness().0.len() == before.0.len();
        let books: BTreeMap<String, Szi> =
            books.positions.iter().map(|(coin, size)| (coin.clone(), size.parse().expect("a size"))).collect();
        let (venue, seen) = (before.positions(), executed(&before));
        last = format!(
            "journal {:?} {:?}, books {books:?}, witness {venue:?} {seen:?}, unsettled {:?}",
            read.positions,
            fills(&read),
            read.unsettled
        );
        let agrees = read.positions == books && books == venue && fills(&read) == seen && read.unsettled.is_empty();
        (quiet && agrees).then_some(())
    });
    assert!(same.is_some(), "{}", what(&last));
}

#[test]
fn the_command_tells_what_the_journal_adds_up_to() {
    let tree = Tree::start_in(Home::busy());
    trading(&tree);
    let _ = tree.run(&["stop"]).expect_code(0);
    let read = replay(&tree.home.paths().decisions()).unwrap();
    let doc = tree.run(&["audit", "replay", "--json"]).expect_code(0).json();
    assert_eq!(doc["schema"], "holdfast.audit.replay.v1");
    assert_eq!((doc["entries"].as_u64(), doc["segments"].as_u64()), (Some(read.entries), Some(1)));
    assert_eq!(doc["head"].as_str(), read.head.map(|head| head.to_string()).as_deref());
    assert!(doc["fills"]["BTC"]["count"].as_u64() > Some(0), "{doc}");
    assert!(doc["keys"].as_array().is_some_and(|keys| !keys.is_empty()), "{doc}");
    let text = tree.run(&["audit", "replay"]).expect_code(0).out;
    assert!(text.contains(&format!("{} entries in 1 files", read.entries)), "{text}");
    // One byte is enough to be found, with its place.
    let path = tree.home.paths().decisions();
    let mut bytes = std::fs::read(&path).unwrap();
    let second = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    bytes[second + 30] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = tree.run(&["audit", "replay", "--json"]).expect_code(1).json();
    assert_eq!(error["code"], "evidence_broken", "{error}");
    assert!(error.to_string().contains(&format!("decisions.jsonl: byte {second}")), "{error}");
    let empty = Home::new();
    let error = empty.run(&["audit", "replay", "--json"]).expect_code(1).json();
    assert_eq!(error["code"], "no_record", "{error}");
}
