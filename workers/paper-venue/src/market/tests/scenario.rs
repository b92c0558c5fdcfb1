//! The bundled scenario: what it must contain, and that a seed means the same market for ever.

use holdfast_core::money::Px;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::super::{Market, MarketEvent, MarketKind, MarketSource};
use super::checked;

const MINUTE: u64 = 60_000;

fn bundled(seed: u64, count: usize) -> Vec<MarketEvent> {
    checked(&mut Market::open(&MarketSource::Bundled { seed }).unwrap(), count)
}

fn marks(events: &[MarketEvent], coin: &str) -> Vec<(u64, Px)> {
    let mark = |e: &MarketEvent| match e.kind {
        MarketKind::Mark { px } if e.coin == coin => Some((e.at_ms, px)),
        MarketKind::Mark { .. } | MarketKind::Book { .. } | MarketKind::Trade { .. } => None,
    };
    events.iter().filter_map(mark).collect()
}

#[test]
fn the_script_holds_what_it_promises() {
    let mut market = Market::open(&MarketSource::Bundled { seed: 7 }).unwrap();
    let coins: Vec<_> = market.coins().iter().map(|c| (c.name.as_str(), c.sz_decimals, c.max_leverage)).collect();
    assert_eq!(coins, [("BTC", 5, 40), ("ETH", 4, 25)]);
    assert_eq!(market.default_speed(), 60);
    let events = checked(&mut market, 7_000);
    assert!(events.last().unwrap().at_ms > 230 * MINUTE, "goes on after the script");
    for coin in ["BTC", "ETH"] {
        let marks = marks(&events, coin);
        assert_eq!(marks[0].0, 0, "a mark from the first moment");
        // Swings in the first ninety minutes: several turns of at least half a percent.
        let (mut edge, mut turns, mut up) = (marks[0].1, 0, true);
        for (_, px) in marks.iter().take_while(|m| m.0 < 90 * MINUTE) {
            let away = px.bps_from(edge).unwrap();
            if (up && away > 0) || (!up && away < 0) {
                edge = *px;
            } else if away.abs() >= 50 {
                (edge, up, turns) = (*px, !up, turns + 1);
            }
        }
        assert!(turns >= 6, "{coin}: {turns} turns");
        // A fall of more than 10 % within ten minutes.
        let crash = marks.iter().any(|(at, px)| {
            marks.iter().any(|(then, low)| then > at && then - at <= 10 * MINUTE && low.bps_from(*px).unwrap() < -1_000)
        });
        assert!(crash, "{coin} does not crash");
        // A silence of ten minutes, then another price.
        let of_coin: Vec<_> = events.iter().filter(|e| e.coin == coin).collect();
        assert!(of_coin.windows(2).any(|w| w[1].at_ms - w[0].at_ms > 10 * MINUTE), "{coin} has no gap");
    }
}

#[test]
fn the_flash_print_is_seen_and_not_believed() {
    let events = bundled(7, 7_000);
    let dollar = |e: &MarketEvent| matches!(e.kind, MarketKind::Trade { px, .. } if px.get() == Decimal::ONE);
    let at = events.iter().position(dollar).expect("a print at one dollar");
    let empty = |e: &MarketEvent| {
        e.coin == "BTC" && matches!(&e.kind, MarketKind::Book { bids, asks } if bids.is_empty() && !asks.is_empty())
    };
    assert!(empty(&events[at - 1]), "the bids are gone at that moment");
    let marks = marks(&events, "BTC");
    assert!(marks.iter().all(|(_, px)| px.get() > Decimal::from(40_000)));
    let near: Vec<_> = marks.iter().filter(|m| m.0.abs_diff(events[at].at_ms) < 3 * MINUTE).collect();
    assert!(near.windows(2).all(|w| w[1].1.bps_from(w[0].1).unwrap().abs() < 50), "the mark does not feel it");
}

#[test]
fn the_pace_suits_one_bar_a_second() {
    let events = bundled(7, 6_000);
    for coin in ["BTC", "ETH"] {
        for minute in 0..150 {
            let of = events.iter().filter(|e| e.coin == coin && e.at_ms / MINUTE == minute);
            let count = of.count();
            assert!((8..=14).contains(&count), "{coin} minute {minute}: {count} events");
        }
    }
}

#[test]
fn generated_for_ever_within_bounds() {
    let mut market = Market::open(&MarketSource::Bundled { seed: 3 }).unwrap();
    let events = checked(&mut market, 60_000);
    for (coin, from) in [("BTC", 60_000), ("ETH", 2_500)] {
        for (_, px) in marks(&events, coin) {
            let ratio = px.get().to_i64().unwrap() * 100 / from;
            assert!((24..=401).contains(&ratio), "{coin} {px}");
        }
    }
}

/// The same seed is the same market on every platform and in every version, unless somebody means to change it.
#[test]
fn a_seed_is_a_market() {
    let digest = |seed| {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for event in bundled(seed, 12_000) {
            for byte in format!("{event:?}").bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
        format!("{hash:016x}")
    };
    assert_ne!(digest(1), digest(2));
    assert_eq!(digest(1), "de2dbfae5f696d0c", "first 12000 events of seed 1");
}

/// Positions are valued at the mark: it must not lag a real fall by more than its own step allows.
#[test]
fn the_mark_follows_the_market() {
    let (mut mark, mut worst) = (None, 0);
    for event in bundled(7, 12_000).iter().filter(|e| e.coin == "BTC") {
        match &event.kind {
            MarketKind::Mark { px } => mark = Some(*px),
            MarketKind::Book { bids, asks } => {
                if let (Some(mark), Some(bid), Some(ask)) = (mark, bids.first(), asks.first()) {
                    let off: i64 = bid.px.mid(ask.px).unwrap().bps_from(mark).unwrap();
                    worst = worst.max(off.abs());
                }
            }
            MarketKind::Trade { .. } => {}
        }
    }
    assert!(worst < 450, "{worst} bps");
}
