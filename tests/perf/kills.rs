//! `engine kill` with positions open, from the order's arrival at the supervisor to its proof, beside what a proven flat
//! cannot do without: the end of the engine's process as a bare pidfd sees it, and the bare HTTP exchanges on the same venue:
//! read, close, read, read. The whole command, with the start of the program that is typed, is shown by itself.
//!
//! Judged on a venue that takes [`FAR_MS`] for each answer, nearer than any real one: there the figure counts round trips,
//! which is what a kill is made of. On a venue that answers at once it compares our HTTP client with bare sockets; that is
//! shown beside it.

use crate::figure::{Row, Samples};
use crate::wire::{Line, Trader, together};
use crate::{Effort, bare, logs};
use holdfast_core::ids::Role;
use holdfast_ipc::clock;
use holdfast_tests::tree::send;
use holdfast_tests::wait::{attempt, s};
use holdfast_tests::{Home, Tree};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// Coins beside the one the engine trades.
const COINS: usize = 50;
/// What a venue that is not on this host takes for an answer, milliseconds.
const FAR_MS: u32 = 20;
/// Dexes of the paper venue: the first, and the one that other people deploy on.
const DEXES: [&str; 2] = ["", "alt"];

pub(crate) fn measure(effort: Effort) -> Vec<Row> {
    let mut rows = Vec::new();
    for positions in [1, 10, COINS] {
        let far = kills(effort, positions, FAR_MS);
        let near = kills(effort, positions, 0);
        let name = format!("kill ordered → proven flat, {positions} positions");
        rows.push(Row::shown(name, "ms", Samples::of_ns(far.proven)).within(Samples::of_ns(far.limit), 1.5));
        let name = "  beside it: on a venue that answers at once";
        rows.push(Row::shown(name, "ms", Samples::of_ns(near.proven)).beside(Samples::of_ns(near.limit)));
        rows.push(Row::shown("  of which: → engine process gone", "ms", Samples::of_ns(near.fenced)));
        rows.push(Row::shown("  beside it: the whole command, typed to exit", "ms", Samples::of_ns(near.whole)));
    }
    if let Some(row) = rows.pop() {
        rows.push(row.note(
            "limit: SIGKILL of an engine → pidfd; read every dex, one batch of closes, two reads, on bare sockets",
        ));
    }
    rows
}

/// Nanoseconds of each kill, and of what it cannot do without.
#[derive(Default)]
struct Kills {
    proven: Vec<u64>,
    fenced: Vec<u64>,
    whole: Vec<u64>,
    limit: Vec<u64>,
}

fn kills(effort: Effort, positions: usize, answer_ms: u32) -> Kills {
    let mut seen = Kills::default();
    for _ in 0..effort.rounds.div_ceil(2).max(3) {
        let tree = many_coins();
        let fence = fence(&tree);
        if answer_ms > 0 {
            tree.fault(&json!({"kind": "latency", "value": answer_ms, "for_ms": 600_000}).to_string());
        }
        seen.limit.extend(exchanges(&tree, positions).into_iter().map(|taken| fence + taken));
        for at in 0..positions {
            tree.fault(&json!({"kind": "foreign_position", "coin": coin(at), "value": "0.2"}).to_string());
        }
        tree.until("every position seen", s(10), |doc| doc.exposure.positions.len() == positions);
        let engine = bare::pidfd(tree.pid(Role::Engine));
        let gone = std::thread::spawn(move || bare::ended(&engine));
        let began = clock::now().0;
        let ran = tree.home.command(&["--json", "kill"]).output().expect("engine runs");
        seen.whole.push(clock::now().0 - began);
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success() && said.contains("\"flat\":true"), "{said}");
        let asked = logs::instant(&tree, "an operator asks", None, "asked_boot_ns", began);
        seen.fenced.push(gone.join().expect("a thread") - asked);
        seen.proven.push(flat_said(&tree, asked) - asked);
        assert!(tree.witness().positions().is_empty(), "flat by the venue's own books");
    }
    seen
}

/// SIGKILL of the tree's engine until a bare pidfd shows its end; waits until the next one serves.
fn fence(tree: &Tree) -> u64 {
    let pid = tree.pid(Role::Engine);
    let watched = bare::pidfd(pid);
    let killed = clock::now().0;
    send(pid, Signal::SIGKILL);
    let taken = bare::ended(&watched) - killed;
    tree.until("the next engine", s(20), |doc| {
        doc.workers.iter().any(|w| w.role == Role::Engine && w.state == "ready" && w.pid != Some(pid))
    });
    taken
}

/// When deadman said the proof.
fn flat_said(tree: &Tree, after: u64) -> u64 {
    let found = attempt(s(15), || {
        let lines = logs::lines(tree, "deadman", "reduce job");
        let flat = lines.iter().filter(|fields| fields["state"] == "flat");
        flat.filter_map(|fields| fields["said_boot_ns"].as_u64()).filter(|at| *at > after).min()
    });
    found.unwrap_or_else(|| panic!("no proof in deadman's log\n{}", tree.logs()))
}

fn coin(at: usize) -> String {
    format!("P{at:02}")
}

/// A paused tree whose venue lists many coins.
fn many_coins() -> Tree {
    let home = Home::new();
    let market = home.outside().join("market.csv");
    write_market(&market);
    let path = market.display().to_string();
    let tree = Tree { home };
    let _ = tree.run(&["start", "--wait", "30", "--market", &path, "--speed", "1"]).expect_code(0);
    let _ = tree.run(&["pause"]).expect_code(0);
    tree.until("an account that is known", s(20), |doc| doc.exposure.known);
    tree
}

fn write_market(path: &Path) {
    let mut text = String::from("timestamp,symbol,open,high,low,close,volume\n");
    for minute in 0..30 {
        for coin in std::iter::once("BTC".to_owned()).chain((0..COINS).map(coin)) {
            let base = if coin == "BTC" { 60_000 } else { 100 };
            let _ = writeln!(text, "2026-01-01T00:{minute:02}:00Z,{coin},{base},{base},{base},{base},5000");
        }
    }
    std::fs::write(path, text).expect("a market");
}

/// The same work by an account of the harness: opens the positions, then times only what a proven flat takes.
fn exchanges(tree: &Tree, positions: usize) -> Vec<u64> {
    let mut line = Line::to(tree.venue());
    let mut trader = Trader::open(&mut line);
    let meta: Value = serde_json::from_str(&line.ask("/info", br#"{"type":"meta"}"#)).expect("the list of markets");
    let universe = meta["universe"].as_array().expect("markets");
    let index = |name: &str| {
        let at = universe.iter().position(|market| market["name"] == name).expect("a listed coin");
        u32::try_from(at).expect("a small number")
    };
    let assets: Vec<u32> = (0..positions).map(|at| index(&coin(at))).collect();
    let user = trader.account();
    let mut questions = vec![br#"{"type":"perpDexs"}"#.to_vec()];
    for dex in DEXES {
        for kind in ["frontendOpenOrders", "clearinghouseState"] {
            questions.push(json!({"type": kind, "user": user, "dex": dex}).to_string().into_bytes());
        }
    }
    let mut lines: Vec<Line> = questions.iter().map(|_| Line::to(tree.venue())).collect();
    let mut taken = Vec::new();
    for _ in 0..3 {
        // A kill comes out of the blue, too: cores and caches that just woke are part of both.
        holdfast_tests::pause(400);
        let opening = assets.iter().map(|asset| trader.entry(*asset, true, "101", "0.2", false)).collect();
        let body = trader.sign(opening);
        let opened = line.ask("/exchange", &body);
        assert_eq!(opened.matches("filled").count(), positions, "{opened}");
        let closing = assets.iter().map(|asset| trader.entry(*asset, false, "99", "0.2", true)).collect();
        let body = trader.sign(closing);
        let began = clock::now().0;
        together(&mut lines, &questions);
        let closed = line.ask("/exchange", &body);
        together(&mut lines, &questions);
        together(&mut lines, &questions);
        taken.push(clock::now().0 - began);
        assert_eq!(closed.matches("filled").count(), positions, "{closed}");
    }
    taken
}
