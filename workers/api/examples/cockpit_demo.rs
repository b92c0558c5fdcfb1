//! The cockpit with made-up readings, for looking at it: `cargo run -p holdfast-api --example cockpit_demo -- STATE
//! [PORT]`, where STATE is `active`, `reduce`, `kill`, `stale` (falls silent), `contradiction` or `cycle` (one after
//! the other, 10 s each). Loopback only; no venue, no money.
#![expect(clippy::unwrap_used, reason = "a demonstration; ends where a test would")]
#![expect(clippy::print_stdout, reason = "says where to look")]

#[path = "../tests/it/rig.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod rig;

use holdfast_core::ids::Role;
use holdfast_core::report::{AccountView, MarketState};
use holdfast_ipc::clock;
use holdfast_ipc::feed::{CycleAction, FillView, FromEngine, FromSensor, MarketView};
use rig::{Given, Rig, active, killed, restricted};
use std::time::Duration;

fn main() {
    let mut words = std::env::args().skip(1);
    let state = words.next().unwrap_or_else(|| "cycle".into());
    let port = words.next().and_then(|port| port.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, show(state, port));
}

/// A price that wanders, in tenths of a USD, without any randomness.
fn price(n: u64) -> u64 {
    let wave = |period: u64, height: u64| {
        let at = n % period;
        height * at.min(period - at) / period
    };
    1_070_000 + wave(97, 2400) + wave(31, 700) + wave(11, 160) + wave(7, 90)
}

fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

async fn show(state: String, port: Option<u16>) {
    let mut rig = Rig::up(Given { configured: port, ..Given::default() }).await;
    println!("http://127.0.0.1:{}/", rig.port);
    let sensor = rig.publisher(Role::Sensor);
    let engine = rig.publisher(Role::Engine);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let start = clock::wall_ms();
    let past = 600;
    for n in 0..u64::MAX {
        let behind = past - n.min(past);
        let at = if behind > 0 { start - behind * 500 } else { clock::wall_ms() };
        observe(&sensor, &engine, n, at);
        let doc = match (state.as_str(), n / 40 % 4) {
            ("active", _) | ("cycle", 0) => Some(active()),
            ("reduce", _) | ("cycle", 1) => Some(restricted()),
            ("kill", _) | ("cycle", 2) => Some(killed()),
            ("contradiction", _) => {
                let mut doc = restricted();
                doc.trading_mode = active().trading_mode;
                Some(doc)
            }
            ("stale", _) => (n < past + 12).then(active),
            _ => None,
        };
        if let Some(doc) = doc {
            rig.push(doc).await;
        }
        tokio::time::sleep(Duration::from_millis(if behind > 0 { 4 } else { 250 })).await;
    }
}

fn observe(
    sensor: &holdfast_ipc::feed::Publisher<FromSensor>,
    engine: &holdfast_ipc::feed::Publisher<FromEngine>,
    n: u64,
    at: u64,
) {
    let (bid, ask) = (price(n), price(n) + 10);
    let side = |px: u64| Some((tenths(px).parse().unwrap(), "1.5".parse().unwrap()));
    sensor.publish(
        &FromSensor::Market(MarketView {
            coin: "BTC".into(),
            state: MarketState::Fresh,
            venue_ms: at,
            received: clock::now(),
            bid: side(bid),
            ask: side(ask),
            mark: None,
            skew_ms: 0,
        }),
        Some("BTC"),
    );
    if n.is_multiple_of(2) {
        let cents = 1_000_000 + n * 3 + price(n) / 900;
        let equity_usd = format!("{}.{:02}", cents / 100, cents % 100).parse().unwrap();
        let (positions, orders) = (vec![], vec![]);
        let margin_used_usd = "0".parse().unwrap();
        let view = AccountView {
            read_at: clock::now(),
            venue_ms: at,
            equity_usd,
            margin_used_usd,
            positions,
            orders,
            requests_left: None,
        };
        sensor.publish(&FromSensor::Account(Box::new(view)), Some("account"));
    }
    let (is_buy, size) = (n % 60 == 7, "0.00186");
    if is_buy || n % 60 == 41 {
        let pnl = if is_buy { "0" } else { "0.8137" };
        sensor.publish(
            &FromSensor::Fill(FillView {
                coin: "BTC".into(),
                venue_ms: at,
                is_buy,
                px: tenths(if is_buy { ask } else { bid }).parse().unwrap(),
                size: size.parse().unwrap(),
                closed_pnl_usd: pnl.parse().unwrap(),
                fee_usd: "0.09".parse().unwrap(),
                oid: n,
                tid: n,
                cloid: None,
            }),
            None,
        );
    }
    if n.is_multiple_of(4) || n % 60 == 7 || n % 60 == 41 {
        let action = match n % 60 {
            7 => CycleAction::Open { is_buy: true, size: size.parse().unwrap(), px: tenths(ask).parse().unwrap() },
            41 => CycleAction::Close { size: size.parse().unwrap(), why: "held long enough".into() },
            20 => CycleAction::Rejected { reason: holdfast_core::registry::RejectReason::PermitMissingOrExpired },
            _ => CycleAction::Hold {},
        };
        let close = tenths(bid).parse().unwrap();
        let signal_bps = i64::try_from(n % 19).unwrap_or(0) - 9;
        let detail = "averages within the band".to_owned();
        engine.publish(&FromEngine::Cycle { coin: "BTC".into(), bar: n, close, signal_bps, action, detail }, None);
    }
}
