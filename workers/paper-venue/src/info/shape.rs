//! The venue's JSON for orders, fills and accounts.

use crate::addr::Addr;
use crate::exchange::types::{Account, Fill, Kind, Now, Order, Tpsl};
use crate::exchange::{Exchange, n};
use rust_decimal::Decimal;
use serde_json::{Value, json};

fn text(v: Decimal) -> String {
    v.round_dp(6).normalize().to_string()
}

/// The short form: open orders and order updates.
pub(crate) fn basic_order(o: &Order) -> Value {
    let mut value = json!({
        "coin": o.coin, "side": o.side(), "limitPx": o.px, "sz": o.sz, "oid": o.oid, "timestamp": o.placed_ms,
        "origSz": o.orig_sz,
    });
    if let Some(map) = value.as_object_mut() {
        if let Some(cloid) = o.cloid {
            map.insert("cloid".to_owned(), json!(cloid));
        }
        if o.reduce_only {
            map.insert("reduceOnly".to_owned(), json!(true));
        }
    }
    value
}

/// The long form: everything the venue's own page shows.
pub(crate) fn frontend_order(o: &Order) -> Value {
    let (kind, tif, is_trigger, trigger_px, condition) = match o.kind {
        Kind::Limit { tif } => ("Limit".to_owned(), json!(tif), false, "0.0".to_owned(), "N/A".to_owned()),
        Kind::Trigger { is_market, trigger_px, tpsl } => {
            let name = match (tpsl, is_market) {
                (Tpsl::Tp, true) => "Take Profit Market",
                (Tpsl::Tp, false) => "Take Profit Limit",
                (Tpsl::Sl, true) => "Stop Market",
                (Tpsl::Sl, false) => "Stop Limit",
            };
            let side = if (tpsl == Tpsl::Tp) == o.is_buy { "below" } else { "above" };
            (name.to_owned(), Value::Null, true, trigger_px.to_string(), format!("Price {side} {trigger_px}"))
        }
    };
    json!({
        "coin": o.coin, "side": o.side(), "limitPx": o.px, "sz": o.sz, "oid": o.oid, "timestamp": o.placed_ms,
        "origSz": o.orig_sz, "orderType": kind, "tif": tif, "isTrigger": is_trigger, "triggerPx": trigger_px,
        "triggerCondition": condition, "isPositionTpsl": o.position_tpsl, "reduceOnly": o.reduce_only, "children": [],
        "cloid": o.cloid,
    })
}

/// An order with how it stands.
pub(crate) fn order_with_status(o: &Order) -> Value {
    json!({"order": frontend_order(o), "status": o.status, "statusTimestamp": o.status_ms})
}

/// An entry of the `orderUpdates` stream.
pub(crate) fn order_update(o: &Order) -> Value {
    json!({"order": basic_order(o), "status": o.status, "statusTimestamp": o.status_ms})
}

/// Live orders of an account on one dex. An agent's address has none.
pub(crate) fn open_orders(ex: &Exchange, account: &Addr, dex: &str, frontend: bool) -> Value {
    let orders = ex.live_orders(account).into_iter().filter(|o| ex.shows_on(&o.coin, dex));
    Value::Array(orders.map(if frontend { frontend_order } else { basic_order }).collect())
}

/// One fill.
pub(crate) fn fill(f: &Fill) -> Value {
    let mut value = json!({
        "coin": f.coin, "px": f.px, "sz": f.sz, "side": if f.is_buy { "B" } else { "A" }, "time": f.time,
        "startPosition": f.start_position, "dir": f.dir, "closedPnl": f.closed_pnl, "hash": format!("0x{:064x}", f.tid),
        "oid": f.oid, "crossed": f.crossed, "fee": f.fee, "feeToken": "USDC", "tid": f.tid, "twapId": null,
    });
    if let Some(map) = value.as_object_mut() {
        if let Some(cloid) = f.cloid {
            map.insert("cloid".to_owned(), json!(cloid));
        }
        if let Some(liquidation) = &f.liquidation {
            map.insert("liquidation".to_owned(), json!(liquidation));
        }
    }
    value
}

fn position(ex: &Exchange, account: &Account, coin: &str) -> Value {
    let Some(p) = account.positions.get(coin) else { return Value::Null };
    let szi = p.szi.0;
    let entry = n::div(p.entry_ntl.0.get(), szi.abs().get());
    let (upnl, margin) = (ex.upnl(account, coin), ex.coin_margin(account, coin));
    let leverage = ex.leverage(account, coin);
    let max = ex.market(coin).map_or(1, |m| m.spec.max_leverage);
    let kind = if leverage.cross { "cross" } else { "isolated" };
    let initial = n::div(p.entry_ntl.0.get(), Decimal::from(leverage.value.max(1)));
    let mut shown = json!({"type": kind, "value": leverage.value});
    if !leverage.cross
        && let Some(map) = shown.as_object_mut()
    {
        map.insert("rawUsd".to_owned(), json!(text(n::sub(margin, ex.position_value(account, coin)))));
    }
    json!({"type": "oneWay", "position": {
        "coin": coin, "szi": szi, "entryPx": text(entry), "positionValue": text(ex.position_value(account, coin)),
        "unrealizedPnl": text(upnl), "returnOnEquity": text(n::div(upnl, initial)),
        "liquidationPx": ex.liquidation_px(account, coin), "marginUsed": text(margin), "maxLeverage": max,
        "leverage": shown, "cumFunding": {"allTime": "0.0", "sinceOpen": "0.0", "sinceChange": "0.0"},
    }})
}

/// Margin and positions of an account on one dex. Collateral is one pool, shown on the first dex only, as the real venue
/// shows a unified account: summing over dexes counts it once.
pub(crate) fn clearinghouse(ex: &Exchange, address: &Addr, dex: &str, now: Now) -> Value {
    let nothing = Account::new(*address, holdfast_core::money::Usd::ZERO, holdfast_core::money::Usd::ZERO);
    let account = ex.account(address).unwrap_or(&nothing);
    let here: Vec<&String> = account.positions.keys().filter(|c| ex.market(c).is_some_and(|m| m.dex == dex)).collect();
    let ntl = here.iter().fold(Decimal::ZERO, |sum, c| n::add(sum, ex.position_value(account, c)));
    let pool = |amount: Decimal| if dex.is_empty() { amount } else { Decimal::ZERO };
    let equity = pool(ex.equity(account));
    let used = pool(ex.margin_used(account));
    let signed = here.iter().fold(Decimal::ZERO, |sum, c| {
        let value = ex.position_value(account, c);
        if account.szi(c).is_short() { n::sub(sum, value) } else { n::add(sum, value) }
    });
    let summary = json!({
        "accountValue": text(equity), "totalNtlPos": text(ntl), "totalRawUsd": text(n::sub(equity, signed)),
        "totalMarginUsed": text(used),
    });
    let positions: Vec<Value> = here.into_iter().map(|c| position(ex, account, c)).collect();
    json!({
        "marginSummary": summary, "crossMarginSummary": summary,
        "crossMaintenanceMarginUsed": text(pool(ex.maintenance(account))),
        "withdrawable": text(n::sub(equity, used).max(Decimal::ZERO)),
        "assetPositions": positions, "time": now.ms,
    })
}
