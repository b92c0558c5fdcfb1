//! The engine's trading as events: a decided cycle in the shapes and the order of the reference, orders in our own.
//!
//! In the reference's shapes money is a double, the one nearest to the exact decimal; members of ours beside them and our
//! own types carry the decimal itself as text.

use holdfast_core::money::{Px, Sz, Szi, Usd};
use holdfast_core::record::words;
use holdfast_core::registry::Profile;
use holdfast_core::trade::{Cycle, CycleHealth, Fill, Held, LiveIntent, LiveOutcome, Trade};
use holdfast_store::bus::{EventError, NewEvent};
use serde_json::{Value, json};
use std::fmt::Display;
use std::time::Duration;

/// The events of one message, in order; `as_of` is now, in seconds since 1970.
pub(crate) fn events(trade: &Trade, profile: Profile, as_of: f64) -> Result<Vec<NewEvent>, EventError> {
    let one = |kind: &str, as_of: f64, payload: &Value| NewEvent::new(kind, as_of, payload).map(|event| vec![event]);
    match trade {
        Trade::Cycle(cycle) => whole(cycle, profile),
        Trade::Fill(fill) => one("fill.record", as_of, &fill_record(fill)),
        Trade::Health(after) => one("runtime.health", as_of, &health(after, profile)),
        Trade::Intent(intent) => one("live.intent", as_of, &live_intent(intent)),
        Trade::Outcome(outcome) => one("live.outcome", as_of, &live_outcome(outcome)),
    }
}

/// A whole cycle: cycle, decision, its executions or its rejection, positions, health.
fn whole(cycle: &Cycle, profile: Profile) -> Result<Vec<NewEvent>, EventError> {
    let (as_of, trace) = (seconds(cycle.id), format!("runtime-cycle-{}", cycle.id));
    let row = row(cycle, &trace);
    let mut all = vec![("runtime.cycle", cycle_record(cycle, &row, profile)), ("decision.record", row.clone())];
    match cycle.rejected {
        Some(_) => all.push(("rejection.record", row)),
        None => all.extend(cycle.fills.iter().map(|fill| ("fill.record", fill_record(fill)))),
    }
    all.push(("position.snapshot", json!({ "positions": positions(&cycle.after.positions) })));
    all.push(("runtime.health", health(&cycle.after, profile)));
    all.iter().map(|(kind, payload)| NewEvent::new(kind, as_of, payload)?.traced(&trace)).collect()
}

fn cycle_record(cycle: &Cycle, row: &Value, profile: Profile) -> Value {
    let after = &cycle.after;
    let total: f64 = after.positions.iter().map(|held| cents(held.notional_usd.abs())).sum();
    let posture = match after.positions.len() {
        0 => "flat",
        _ if total >= cents(cycle.exposure_limit_usd) => "capacity_reached",
        _ => "exposed",
    };
    json!({
        "schema_version": "zero.runtime.cycle.v1", "cycle_id": cycle.id, "mode": profile, "as_of": seconds(cycle.id),
        "observe": {
            "phase": "observe", "cycle_id": cycle.id, "scenario": "trend", "market_source": "venue:l2_book",
            "decisions_seen": after.decisions, "fills_seen": after.fills, "rejections_seen": after.rejections,
            "open_positions": positions(&after.positions), "recovery": recovery(after),
        },
        "orient": {
            "phase": "orient", "risk_posture": posture, "stale_data": after.stale, "total_position_notional_usd": total,
            "limits": {
                "max_notional_usd": cents(cycle.order_limit_usd),
                "max_position_notional_usd": cents(cycle.exposure_limit_usd), "min_confidence": 0.0,
            },
        },
        "decide": {
            "phase": "decide", "source": row["source"], "risk_posture": posture, "idempotency_key": row["idempotency_key"],
            "signal_bps": cycle.signal_bps,
            "intent": {
                "symbol": row["symbol"], "side": row["side"], "quantity": row["quantity"], "price": row["price"],
                "notional_usd": row["notional_usd"], "confidence": row["confidence"], "reduce_only": row["reduce_only"],
            },
        },
        "act": {
            "phase": "act", "accepted": cycle.rejected.is_none(), "reason": row["reason"], "decision": row,
            "detail": words(&cycle.detail),
        },
        "learn": {
            "phase": "learn", "decisions": after.decisions, "fills": after.fills, "rejections": after.rejections,
            "open_positions": after.positions.len(),
        },
    })
}

/// The decision. It has no confidence: nothing here estimates one, and 0 says so.
fn row(cycle: &Cycle, trace: &str) -> Value {
    json!({
        "as_of": seconds(cycle.id), "source": "strategy:trend", "symbol": cycle.coin.to_uppercase(),
        "side": side(cycle.is_buy), "quantity": double(cycle.size), "price": double(cycle.px),
        "notional_usd": notional(cycle.size, cycle.px), "confidence": 0.0, "reduce_only": cycle.reduce_only,
        "allowed": cycle.rejected.is_none(), "reason": cycle.rejected.map_or("allowed", |reason| reason.as_str()),
        "idempotency_key": cycle.cloid.as_deref().unwrap_or(trace), "trace_id": trace,
    })
}

fn fill_record(fill: &Fill) -> Value {
    json!({
        "symbol": fill.coin.to_uppercase(), "side": side(fill.is_buy), "quantity": double(fill.size),
        "price": double(fill.px), "notional_usd": notional(fill.size, fill.px), "as_of": seconds(fill.at_ms),
        "tid": fill.tid, "cloid": fill.cloid, "size": fill.size, "px": fill.px, "fee_usd": fill.fee_usd,
        "closed_pnl_usd": fill.closed_pnl_usd,
    })
}

fn positions(held: &[Held]) -> Vec<Value> {
    let mut held: Vec<&Held> = held.iter().collect();
    held.sort_by(|a, b| a.coin.cmp(&b.coin));
    let row = |held: &Held| {
        let (quantity, avg_price): (Szi, Option<Px>) = (held.size, held.entry_px);
        json!({
            "symbol": held.coin.to_uppercase(), "quantity": double(quantity), "avg_price": avg_price.map(double),
            "notional_usd": cents(held.notional_usd),
        })
    };
    held.into_iter().map(row).collect()
}

fn health(after: &CycleHealth, profile: Profile) -> Value {
    json!({
        "mode": profile, "last_cycle_id": after.last_id, "decisions": after.decisions, "fills": after.fills,
        "rejections": after.rejections, "open_positions": after.positions.len(), "recovery": recovery(after),
        "held": after.held, "repeated_rejections": after.repeated, "stale_data": after.stale,
    })
}

fn recovery(after: &CycleHealth) -> Value {
    json!({
        "status": if after.recovered > 0 { "recovered" } else { "fresh" }, "source": "journal", "durable": after.durable,
        "journal_path": "data/decisions.jsonl", "decisions_recovered": after.recovered, "fills_recovered": 0,
        "rejections_recovered": 0, "positions_recovered": 0, "last_decision_ts": null,
    })
}

fn live_intent(intent: &LiveIntent) -> Value {
    json!({
        "schema_version": "holdfast.live.intent.v1", "key": intent.key, "cloid": intent.cloid, "coin": intent.coin,
        "is_buy": intent.is_buy, "size": intent.size, "px": intent.px, "reduce_only": intent.reduce_only,
        "expires_after_ms": intent.expires_after_ms, "epoch": intent.epoch, "position_before": intent.position_before,
    })
}

fn live_outcome(outcome: &LiveOutcome) -> Value {
    json!({
        "schema_version": "holdfast.live.outcome.v1", "cloid": outcome.cloid, "outcome": outcome.outcome,
        "oid": outcome.oid, "size": outcome.size, "detail": words(&outcome.detail),
    })
}

const fn side(is_buy: bool) -> &'static str {
    if is_buy { "buy" } else { "sell" }
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

/// The double nearest to a decimal: reading a text rounds correctly.
fn double(decimal: impl Display) -> f64 {
    decimal.to_string().parse().unwrap_or(0.0)
}

/// A sum of money to the cent.
fn cents(usd: Usd) -> f64 {
    double(usd.get().round_dp(2))
}

fn notional(size: Sz, px: Px) -> f64 {
    size.notional(px).map_or(0.0, cents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::registry::RejectReason;

    fn cycle(rejected: Option<RejectReason>) -> Cycle {
        let fill = Fill {
            coin: "BTC".into(),
            is_buy: true,
            size: "0.1".parse().unwrap(),
            px: "40000.5".parse().unwrap(),
            fee_usd: Some("0.07".parse().unwrap()),
            closed_pnl_usd: None,
            at_ms: 1_777_646_400_250,
            tid: Some(7),
            cloid: Some("0x1".into()),
        };
        let held = |coin: &str, size: &str| Held {
            coin: coin.into(),
            size: size.parse().unwrap(),
            entry_px: None,
            notional_usd: "4000.055".parse().unwrap(),
        };
        Cycle {
            id: 1_777_646_400_000,
            coin: "btc".into(),
            is_buy: true,
            size: "0.1".parse().unwrap(),
            px: "40000.5".parse().unwrap(),
            reduce_only: false,
            signal_bps: 12,
            cloid: None,
            rejected,
            detail: "x".repeat(100_000),
            order_limit_usd: Usd::whole(500),
            exposure_limit_usd: Usd::whole(9000),
            fills: if rejected.is_some() { Vec::new() } else { vec![fill] },
            after: CycleHealth { positions: vec![held("ETH", "1"), held("BTC", "-0.1")], ..CycleHealth::default() },
        }
    }

    #[test]
    fn a_cycle_is_five_events_in_the_references_order_under_one_trace() {
        for (rejected, third) in
            [(None, "fill.record"), (Some(RejectReason::PermitMissingOrExpired), "rejection.record")]
        {
            let trade = Trade::Cycle(cycle(rejected));
            let kinds: Vec<String> = events(&trade, Profile::Paper, 0.0)
                .unwrap()
                .iter()
                .map(|event| event.event_type().to_owned())
                .collect();
            assert_eq!(kinds, ["runtime.cycle", "decision.record", third, "position.snapshot", "runtime.health"]);
        }
    }

    #[test]
    fn money_is_the_nearest_double_in_the_references_shapes_and_a_text_in_ours() {
        let cycle = cycle(None);
        let record = fill_record(&cycle.fills[0]);
        assert_eq!((&record["quantity"], &record["price"]), (&json!(0.1), &json!(40000.5)));
        assert_eq!(
            (&record["size"], &record["fee_usd"], &record["notional_usd"]),
            (&json!("0.1"), &json!("0.07"), &json!(4000.05))
        );
        assert_eq!(record["as_of"], json!(1_777_646_400.25));
        let rows = positions(&cycle.after.positions);
        assert_eq!(
            (&rows[0]["symbol"], &rows[0]["quantity"], &rows[1]["symbol"]),
            (&json!("BTC"), &json!(-0.1), &json!("ETH"))
        );
    }
}
