//! From a price that came in to the order's arrival at the venue.
//!
//! Measured: from the instant at which the engine heard the price from the sensor to the instant the venue's witness
//! wrote beside the order, after it had parsed the request and recovered the signer. Held against: signing the same kind
//! of order in this process and posting it on an open connection, until the same instant in the same witness file. Two
//! things are shown by themselves and are not part of the ratio, because the limit has nothing like them: the way from the
//! sensor's socket to the engine (a process between the two that holds no key), and the wait for the disk that must be over
//! before an order may leave, beside a bare append to the same disk. The engine signs while it waits for the disk, so what is
//! left out with the disk includes the signing that it hides; the line that takes both together hides nothing.

use crate::figure::{Row, Samples};
use crate::wire::{Line, Trader};
use crate::{Effort, bare, logs};
use holdfast_ipc::clock;
use holdfast_tests::wait::{attempt, s};
use holdfast_tests::{Home, Tree};
use serde_json::Value;

/// Trades as often as it can, so that there is something to measure.
const EAGER: &str = "[strategy]
fast_bars = 2
slow_bars = 3
enter_bps = 1
hold_bars = 2
bar_ms = 500
[limits]
orders_per_minute = 600
daily_loss_usd = \"9000\"
";

pub(crate) fn measure(effort: Effort) -> Vec<Row> {
    let tree = Tree::start_in(Home::with(EAGER));
    let wanted = effort.rounds * 2;
    let _ = attempt(s(180), || (logs::lines(&tree, "engine", "opening sent").len() >= wanted).then_some(()));
    let openings = logs::lines(&tree, "engine", "opening sent");
    assert!(!openings.is_empty(), "the engine opened nothing\n{}", tree.logs());
    let witness = tree.witness();
    let arrived = |cloid: &str| {
        let line = witness.0.iter().find(|line| line.kind == "order" && line.cloid.as_deref() == Some(cloid));
        line.map(|line| line.boot_ns)
    };
    let mut parts: [Vec<u64>; 5] = Default::default();
    for opening in &openings {
        let at = |field: &str| opening[field].as_u64().expect("an instant");
        let Some(there) = opening["cloid"].as_str().and_then(arrived) else { continue };
        let (received, heard) = (at("received_boot_ns"), at("heard_boot_ns"));
        let (begun, on_disk) = (at("begun_boot_ns"), at("on_disk_boot_ns"));
        let taken =
            [there - heard - (on_disk - begun), heard - received, there - on_disk, on_disk - begun, there - received];
        for (part, taken) in parts.iter_mut().zip(taken) {
            part.push(taken);
        }
    }
    let [total, way, wire, disk, whole] = parts.map(Samples::of_ns);
    let limit = Samples::of_ns(raw(&tree, effort.rounds * 5));
    let appends = Samples::of_ns(bare::appends(&tree.home.paths().data(), 700, effort.rounds * 5));
    vec![
        Row::shown("tick at the engine → order on the wire", "ms", total)
            .within(limit.clone(), 1.5)
            .note("disk left out; limit: sign + HTTP to the same venue; both until the venue's own stamp of the order"),
        Row::shown("  of which: sign + HTTP, as the engine does it", "ms", wire).beside(limit),
        Row::shown("  beside it: sensor's socket → engine", "ms", way),
        Row::shown("  beside it: intent on the disk", "ms", disk)
            .beside(appends)
            .note("limit: append 700 bytes + fdatasync in the same folder"),
        Row::shown("  together: sensor's socket → order on the wire", "ms", whole),
    ]
}

/// Sign and post, by an account of the harness, until the venue's stamp.
fn raw(tree: &Tree, count: usize) -> Vec<u64> {
    let mut line = Line::to(tree.venue());
    let mut trader = Trader::open(&mut line);
    let book: Value = serde_json::from_str(&line.ask("/info", br#"{"type":"l2Book","coin":"BTC"}"#)).expect("a book");
    let ask: f64 = book["levels"][1][0]["px"].as_str().and_then(|px| px.parse().ok()).expect("a price");
    // Well inside the market, so that it is filled like the engine's; closed again by the next one.
    let (buy, sell) = (format!("{}", (ask * 1.05).round()), format!("{}", (ask * 0.95).round()));
    let mut sent = Vec::new();
    for at in 0..count {
        let is_buy = at % 2 == 0;
        let entry = trader.entry(0, is_buy, if is_buy { &buy } else { &sell }, "0.003", false);
        let cloid = entry.cloid.clone();
        // The engine signs some time after its last order, too: a core that just woke is part of both.
        holdfast_tests::pause(100);
        let began = clock::now().0;
        let body = trader.sign(vec![entry]);
        let _ = line.ask("/exchange", &body);
        sent.push((cloid, began));
    }
    let witness = tree.witness();
    let stamp = |(cloid, began): &(String, u64)| {
        let line = witness.0.iter().find(|line| line.kind == "order" && line.cloid.as_ref() == Some(cloid))?;
        Some(line.boot_ns - began)
    };
    sent.iter().filter_map(stamp).collect()
}
