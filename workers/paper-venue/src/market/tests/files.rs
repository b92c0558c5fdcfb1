//! Recordings: the samples beside us, and every file of the shared collection when it is there.

use std::path::Path;

use rust_decimal::Decimal;

use super::super::{Fault, Market, MarketEvent, MarketKind, MarketSource};
use super::{checked, open, sample};

fn prices(events: &[MarketEvent]) -> (Vec<Decimal>, Vec<Decimal>) {
    let (mut trades, mut marks) = (Vec::new(), Vec::new());
    for event in events {
        match &event.kind {
            MarketKind::Trade { px, .. } => trades.push(px.get()),
            MarketKind::Mark { px } => marks.push(px.get()),
            MarketKind::Book { .. } => {}
        }
    }
    (trades, marks)
}

#[test]
fn every_sample_plays_and_starts_again() {
    for (name, coins, speed, contains) in [
        ("candles-btc-1m.csv", "BTC", 60, "40 candles of 60 s"),
        ("candles-kpepe-1h.json", "kPEPE", 60, "8 candles of 3600 s"),
        ("trades-atom-flash.csv", "ATOM", 1, "71 trades"),
        ("fills.json", "SUI,INJ,DOGE,ARB", 1, "12 trades"),
        ("book-dydx.json", "DYDX", 1, "one book"),
        ("socket-btc.txt", "BTC", 1, "recorded feed"),
        ("feed-btcusdt.txt.gz", "BTC", 1, "recorded feed"),
    ] {
        let mut market = open(&sample(name));
        let named: Vec<_> = market.coins().iter().map(|c| c.name.as_str()).collect();
        assert_eq!(named.join(","), coins, "{name}");
        assert_eq!(market.default_speed(), speed, "{name}");
        assert!(market.describe().contains(contains), "{name}: {}", market.describe());
        let events = checked(&mut market, 2_000);
        assert!(events.iter().any(|e| matches!(e.kind, MarketKind::Mark { .. })), "{name}: no mark");
        assert!(events.iter().any(|e| matches!(e.kind, MarketKind::Book { .. })), "{name}: no book");
    }
}

#[test]
fn the_atom_print_is_never_the_mark() {
    let mut market = open(&sample("trades-atom-flash.csv"));
    let (trades, marks) = prices(&checked(&mut market, 3_000));
    assert!(trades.contains(&Decimal::new(1, 3)), "the print is played");
    assert!(!marks.is_empty() && marks.iter().all(|m| *m > Decimal::new(16, 1)), "{marks:?}");
}

#[test]
fn recorded_prices_come_out_as_they_went_in() {
    let events = checked(&mut open(&sample("candles-btc-1m.csv")), 40);
    let (trades, _) = prices(&events);
    // First bar of the file: open 83450, high 83467, low 83422.5, close 83463.5.
    assert_eq!(
        trades[..4].iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["83450", "83467", "83422.5", "83463.5"]
    );
    let events = checked(&mut open(&sample("book-dydx.json")), 1);
    let MarketKind::Book { bids, .. } = &events[0].kind else { panic!("a book first") };
    assert_eq!((bids[0].px.to_string(), bids[0].sz.to_string()), ("2.111".into(), "134.4".into()));
}

/// A rebuilt book is as deep as the venue shows it, and stands where the trades are.
#[test]
fn a_rebuilt_book_is_whole() {
    let events = checked(&mut open(&sample("feed-btcusdt.txt.gz")), 60);
    let (trades, marks) = prices(&events);
    let deep =
        events.iter().any(|e| matches!(&e.kind, MarketKind::Book { bids, asks } if bids.len() > 2 && asks.len() > 2));
    assert!(deep && !trades.is_empty());
    let near = |px: &Decimal| (*px - trades[0]).abs() < Decimal::from(50);
    assert!(trades.iter().chain(&marks).all(near), "{trades:?} {marks:?}");
}

/// Every file of the shared collection: the ones with a market play, the others are refused in words.
#[test]
fn the_shared_collection() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/market-data");
    if !shared.is_dir() {
        eprintln!("SKIPPED: ../shared not present");
        return;
    }
    let none = [
        "README.md",
        "clearinghouseState.json",
        "extraAgents.json",
        "frontendOpenOrders.json",
        "index.json",
        "meta.json",
        "userRateLimit.json",
        "userRole.json",
    ];
    let mut played = 0;
    for dir in [shared.clone(), shared.join("hyperliquid-info")] {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                continue;
            }
            match Market::open(&MarketSource::File { path: path.clone() }) {
                Ok(mut market) => {
                    assert!(!none.contains(&name.as_str()), "{name} holds no market");
                    checked(&mut market, 3_000);
                    played += 1;
                }
                Err(error) => {
                    assert!(none.contains(&name.as_str()), "{error}");
                    assert!(matches!(error.fault, Fault::Unknown { .. }), "{error}");
                }
            }
        }
    }
    assert_eq!(played, 8);
}
