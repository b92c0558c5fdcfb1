//! The venue's JSON for the market: universe, books, prices, trades, candles.

use super::CandleReq;
use crate::exchange::book::{Candle, CoinMarket};
use crate::exchange::{Exchange, n};
use holdfast_core::money::Px;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Levels a side in an answer.
const DEPTH: usize = 20;
/// Candles in one answer.
const MAX_CANDLES: usize = 5_000;

pub(crate) fn meta(ex: &Exchange, dex: &str) -> Value {
    let coins = ex.coins_of(dex);
    let universe: Vec<Value> = coins
        .iter()
        .map(|m| {
            let s = &m.spec;
            json!({"name": s.name, "szDecimals": s.sz_decimals, "maxLeverage": s.max_leverage, "marginTableId": s.max_leverage})
        })
        .collect();
    let tables: BTreeMap<u32, Value> = coins
        .iter()
        .map(|m| {
            let max = m.spec.max_leverage;
            (max, json!([max, {"description": "", "marginTiers": [{"lowerBound": "0.0", "maxLeverage": max}]}]))
        })
        .collect();
    json!({"universe": universe, "marginTables": tables.into_values().collect::<Vec<_>>(), "collateralToken": 0})
}

pub(crate) fn asset_ctx(m: &CoinMarket) -> Value {
    let mark = m.mark();
    json!({
        "funding": "0.0", "openInterest": "0.0", "prevDayPx": m.first.or(mark), "dayNtlVlm": m.day_ntl.round_dp(6).to_string(),
        "premium": "0.0", "oraclePx": mark, "markPx": mark, "midPx": m.mid(), "impactPxs": null,
        "dayBaseVlm": m.day_base.to_string(),
    })
}

pub(crate) fn all_mids(ex: &Exchange, dex: &str) -> Value {
    let mids = ex.coins_of(dex).into_iter().filter_map(|m| m.mid().map(|px| (m.spec.name.clone(), json!(px))));
    Value::Object(mids.collect())
}

/// One side, best first, paper orders among the scenario's, grouped if asked.
fn side(
    ex: &Exchange,
    m: &CoinMarket,
    bids: bool,
    figures: Option<u32>,
    mantissa: Option<u32>,
) -> Vec<(Px, Decimal, u32)> {
    let own = if bids { &m.bids } else { &m.asks };
    let resting = ex.resting(&m.spec.name, bids);
    let better = |a: Px, b: Px| if bids { a > b } else { a < b };
    if figures.is_none() && resting.is_empty() && own.is_sorted_by(|a, b| better(a.px, b.px)) {
        return own.iter().take(DEPTH).map(|l| (l.px, l.sz.get(), l.n)).collect();
    }
    let mut levels: BTreeMap<Px, (Decimal, u32)> = BTreeMap::new();
    let group = |px: Px| {
        let Some(figures) = figures else { return px };
        let strategy = if bids { RoundingStrategy::ToZero } else { RoundingStrategy::AwayFromZero };
        let step = Decimal::from(mantissa.unwrap_or(1).max(1));
        let scaled = n::div(px.get(), step).round_sf_with_strategy(figures, strategy);
        scaled.and_then(|v| Px::new(n::mul(v, step)).ok()).unwrap_or(px)
    };
    let paper = resting.into_iter().map(|o| (o.px, o.sz.get(), 1));
    for (px, sz, count) in own.iter().map(|l| (l.px, l.sz.get(), l.n)).chain(paper) {
        let level = levels.entry(group(px)).or_insert((Decimal::ZERO, 0));
        *level = (n::add(level.0, sz), level.1.saturating_add(count));
    }
    let flat = levels.into_iter().map(|(px, (sz, count))| (px, sz, count));
    if bids { flat.rev().take(DEPTH).collect() } else { flat.take(DEPTH).collect() }
}

/// A level of a book as it travels; the members of these two in the order of the alphabet, as everything of the venue's.
#[derive(Serialize)]
struct WireLevel {
    n: u32,
    px: Px,
    sz: String,
}

/// A book as it travels.
#[derive(Serialize)]
pub(crate) struct WireBook<'a> {
    coin: &'a str,
    levels: [Vec<WireLevel>; 2],
    time: u64,
}

fn level((px, sz, count): &(Px, Decimal, u32)) -> WireLevel {
    WireLevel { n: *count, px: *px, sz: sz.normalize().to_string() }
}

pub(crate) fn book<'a>(
    ex: &Exchange,
    coin: &'a str,
    figures: Option<u32>,
    mantissa: Option<u32>,
) -> Option<WireBook<'a>> {
    let m = ex.market(coin)?;
    let shown = |bids| side(ex, m, bids, figures, mantissa).iter().map(level).collect();
    Some(WireBook { coin, levels: [shown(true), shown(false)], time: m.time })
}

pub(crate) fn bbo(ex: &Exchange, coin: &str) -> Value {
    let Some(m) = ex.market(coin) else { return Value::Null };
    let best = |bids| side(ex, m, bids, None, None).first().map_or(Value::Null, |best| json!(level(best)));
    json!({"coin": coin, "time": m.time, "bbo": [best(true), best(false)]})
}

/// Prints after a trade id.
pub(crate) fn trades(m: &CoinMarket, after_tid: u64) -> Value {
    let prints = m.trades.iter().filter(|t| t.tid > after_tid).map(|t| {
        json!({
            "coin": m.spec.name, "side": if t.is_buy { "B" } else { "A" }, "px": t.px, "sz": t.sz, "time": t.time,
            "hash": format!("0x{:064x}", t.tid), "tid": t.tid,
            "users": ["0x0000000000000000000000000000000000000000", "0x0000000000000000000000000000000000000000"],
        })
    });
    Value::Array(prints.collect())
}

fn interval_ms(word: &str) -> Option<u64> {
    let minutes = match word {
        "1m" => 1,
        "3m" => 3,
        "5m" => 5,
        "15m" => 15,
        "30m" => 30,
        "1h" => 60,
        "2h" => 120,
        "4h" => 240,
        "8h" => 480,
        "12h" => 720,
        "1d" => 1_440,
        "3d" => 4_320,
        "1w" => 10_080,
        "1M" => 43_200,
        _ => return None,
    };
    Some(minutes * 60_000)
}

fn grouped(m: &CoinMarket, step: u64) -> Vec<Candle> {
    let mut out: Vec<Candle> = Vec::new();
    for c in &m.candles {
        let start = c.start / step * step;
        match out.last_mut() {
            Some(last) if last.start == start => {
                last.high = last.high.max(c.high);
                last.low = last.low.min(c.low);
                last.close = c.close;
                last.volume = n::add(last.volume, c.volume);
                last.count = last.count.saturating_add(c.count);
            }
            Some(_) | None => out.push(Candle { start, ..c.clone() }),
        }
    }
    out
}

fn candle_json(m: &CoinMarket, interval: &str, step: u64, c: &Candle) -> Value {
    json!({
        "t": c.start, "T": c.start.saturating_add(step).saturating_sub(1), "s": m.spec.name, "i": interval, "o": c.open,
        "c": c.close, "h": c.high, "l": c.low, "v": c.volume.normalize().to_string(), "n": c.count,
    })
}

pub(crate) fn candles(ex: &Exchange, req: &CandleReq) -> Value {
    let (Some(m), Some(step)) = (ex.market(&req.coin), interval_ms(&req.interval)) else { return json!([]) };
    let end = req.end_time.unwrap_or(u64::MAX);
    let all: Vec<Value> = grouped(m, step)
        .iter()
        .filter(|c| c.start.saturating_add(step) > req.start_time && c.start <= end)
        .map(|c| candle_json(m, &req.interval, step, c))
        .collect();
    let skip = all.len().saturating_sub(MAX_CANDLES);
    Value::Array(all.into_iter().skip(skip).collect())
}

/// The candle that is still open.
pub(crate) fn candle(m: &CoinMarket, interval: &str) -> Option<Value> {
    let step = interval_ms(interval)?;
    grouped(m, step).last().map(|c| candle_json(m, interval, step, c))
}
