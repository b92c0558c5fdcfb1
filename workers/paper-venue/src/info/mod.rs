//! Reads: `POST /info`. An address nobody registered, an agent's and a malformed one are all answered empty and successful,
//! as the real venue does it: a client that asks with the wrong address must find that out by itself.

mod market;
pub(crate) mod shape;

use crate::addr::{Addr, Cloid};
use crate::exchange::types::Now;
use crate::exchange::{Exchange, SECOND_DEX, SPOT_ASSET, SPOT_COIN, quota};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) use market::{all_mids, asset_ctx, bbo, book, candle, trades};

/// Most fills and orders in one answer.
const MAX_ITEMS: usize = 2_000;

/// Every read the venue answers; unknown fields are tolerated as the real venue does.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Query {
    Meta {
        #[serde(default)]
        dex: String,
    },
    MetaAndAssetCtxs {
        #[serde(default)]
        dex: String,
    },
    AllMids {
        #[serde(default)]
        dex: String,
    },
    L2Book {
        coin: String,
        #[serde(default)]
        n_sig_figs: Option<u32>,
        #[serde(default)]
        mantissa: Option<u32>,
    },
    ClearinghouseState {
        user: String,
        #[serde(default)]
        dex: String,
    },
    OpenOrders {
        user: String,
        #[serde(default)]
        dex: String,
    },
    FrontendOpenOrders {
        user: String,
        #[serde(default)]
        dex: String,
    },
    UserFills {
        user: String,
    },
    UserFillsByTime {
        user: String,
        start_time: u64,
        #[serde(default)]
        end_time: Option<u64>,
    },
    OrderStatus {
        user: String,
        oid: Oid,
    },
    HistoricalOrders {
        user: String,
    },
    UserRateLimit {
        user: String,
    },
    CandleSnapshot {
        req: CandleReq,
    },
    UserRole {
        user: String,
    },
    ExtraAgents {
        user: String,
    },
    ExchangeStatus {},
    SpotMeta {},
    SpotMetaAndAssetCtxs {},
    SpotClearinghouseState {
        #[serde(rename = "user")]
        _user: String,
    },
    PerpDexs {},
    UserFees {
        user: String,
    },
    UserFunding {
        #[serde(rename = "user")]
        _user: String,
    },
    FundingHistory {
        #[serde(rename = "coin")]
        _coin: String,
    },
    UserNonFundingLedgerUpdates {
        #[serde(rename = "user")]
        _user: String,
    },
    SubAccounts {
        #[serde(rename = "user")]
        _user: String,
    },
    UserVaultEquities {
        #[serde(rename = "user")]
        _user: String,
    },
    UserTwapSliceFills {
        #[serde(rename = "user")]
        _user: String,
    },
    Portfolio {
        #[serde(rename = "user")]
        _user: String,
    },
    Referral {
        #[serde(rename = "user")]
        _user: String,
    },
    UserToMultiSigSigners {
        #[serde(rename = "user")]
        _user: String,
    },
    RecentTrades {
        coin: String,
    },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Oid {
    Number(u64),
    Text(String),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CandleReq {
    pub(crate) coin: String,
    pub(crate) interval: String,
    pub(crate) start_time: u64,
    #[serde(default)]
    pub(crate) end_time: Option<u64>,
}

/// An address as a client wrote it; a malformed one is nobody's.
fn user(text: &str) -> Addr {
    text.to_ascii_lowercase().parse().unwrap_or(Addr([0; 20]))
}

/// Answers a read.
pub(crate) fn answer(ex: &Exchange, query: &Query, now: Now) -> Value {
    match query {
        Query::Meta { dex } => market::meta(ex, dex),
        Query::MetaAndAssetCtxs { dex } => {
            let ctxs: Vec<Value> = ex.coins_of(dex).into_iter().map(asset_ctx).collect();
            json!([market::meta(ex, dex), ctxs])
        }
        Query::AllMids { dex } => all_mids(ex, dex),
        Query::L2Book { coin, n_sig_figs, mantissa } => json!(book(ex, coin, *n_sig_figs, *mantissa)),
        Query::ClearinghouseState { user: u, dex } => shape::clearinghouse(ex, &user(u), dex, now),
        Query::OpenOrders { user: u, dex } => shape::open_orders(ex, &user(u), dex, false),
        Query::FrontendOpenOrders { user: u, dex } => shape::open_orders(ex, &user(u), dex, true),
        Query::UserFills { user: u } => {
            let fills = ex.fills(&user(u)).into_iter().flatten().rev().take(MAX_ITEMS).map(shape::fill);
            Value::Array(fills.collect())
        }
        Query::UserFillsByTime { user: u, start_time, end_time } => {
            let end = end_time.unwrap_or(u64::MAX);
            let inside = |f: &&crate::exchange::types::Fill| f.time >= *start_time && f.time <= end;
            let fills = ex.fills(&user(u)).into_iter().flatten().filter(inside).take(MAX_ITEMS).map(shape::fill);
            Value::Array(fills.collect())
        }
        Query::OrderStatus { user: u, oid } => order_status(ex, &user(u), oid),
        Query::HistoricalOrders { user: u } => {
            Value::Array(ex.all_orders(&user(u)).into_iter().take(MAX_ITEMS).map(shape::order_with_status).collect())
        }
        Query::UserRateLimit { user: u } => rate_limit(ex, &user(u)),
        Query::CandleSnapshot { req } => market::candles(ex, req),
        Query::UserRole { user: u } => role(ex, &user(u)),
        Query::ExtraAgents { user: u } => {
            let agents = ex.account(&user(u)).into_iter().flat_map(|a| a.agents.iter());
            // Paper agents do not run out: a hundred years from the epoch.
            let list = agents.map(|(name, a)| json!({"name": name, "address": a, "validUntil": 4_102_444_800_000_u64}));
            Value::Array(list.collect())
        }
        Query::ExchangeStatus {} => json!({"time": now.ms, "specialStatuses": null}),
        Query::SpotMeta {} => spot_meta(),
        Query::SpotMetaAndAssetCtxs {} => json!([spot_meta(), []]),
        Query::SpotClearinghouseState { .. } => json!({"balances": []}),
        Query::PerpDexs {} => json!([null, {"name": SECOND_DEX, "fullName": "paper second dex", "deployer": null}]),
        Query::UserFees { user: u } => fees(ex, &user(u)),
        Query::UserFunding { .. }
        | Query::FundingHistory { .. }
        | Query::UserNonFundingLedgerUpdates { .. }
        | Query::SubAccounts { .. }
        | Query::UserVaultEquities { .. }
        | Query::UserTwapSliceFills { .. }
        | Query::Portfolio { .. } => json!([]),
        Query::Referral { .. } | Query::UserToMultiSigSigners { .. } => Value::Null,
        Query::RecentTrades { coin } => ex.market(coin).map_or(Value::Null, |m| trades(m, 0)),
    }
}

/// One pair, and a canonical one before it whose name is not its index.
fn spot_meta() -> Value {
    let token = |name: &str, index: u32| json!({"name": name, "szDecimals": 2, "weiDecimals": 8, "index": index});
    let index = SPOT_ASSET.saturating_sub(10_000);
    json!({
        "tokens": [token("USDC", 0), token("PURR", 1), token("PAPER", 2)],
        "universe": [
            {"name": "PURR/USDC", "tokens": [1, 0], "index": 0, "isCanonical": true},
            {"name": SPOT_COIN, "tokens": [2, 0], "index": index, "isCanonical": false},
        ],
    })
}

fn order_status(ex: &Exchange, account: &Addr, oid: &Oid) -> Value {
    let order = match oid {
        Oid::Number(oid) => ex.order(account, *oid),
        Oid::Text(text) => match text.parse::<Cloid>() {
            Ok(cloid) => ex.order_by_cloid(account, cloid),
            Err(_) => text.parse().ok().and_then(|oid| ex.order(account, oid)),
        },
    };
    order.map_or_else(
        || json!({"status": "unknownOid"}),
        |order| json!({"status": "order", "order": shape::order_with_status(order)}),
    )
}

fn rate_limit(ex: &Exchange, account: &Addr) -> Value {
    ex.account(account).map_or_else(
        || json!({"cumVlm": "0.0", "nRequestsUsed": 0, "nRequestsCap": 10_000, "nRequestsSurplus": 0}),
        |a| json!({"cumVlm": a.volume, "nRequestsUsed": a.requests, "nRequestsCap": quota(a), "nRequestsSurplus": 0}),
    )
}

fn role(ex: &Exchange, address: &Addr) -> Value {
    if ex.account(address).is_some() {
        json!({"role": "user"})
    } else if let Some(master) = ex.master_of(address) {
        json!({"role": "agent", "data": {"user": master}})
    } else {
        json!({"role": "missing"})
    }
}

fn fees(ex: &Exchange, address: &Addr) -> Value {
    let volume = ex.account(address).map_or_else(|| "0".to_owned(), |a| a.volume.to_string());
    json!({
        "dailyUserVlm": [], "feeSchedule": {"cross": "0.00045", "add": "0.00015"},
        "userCrossRate": "0.00045", "userAddRate": "0.00015", "activeReferralDiscount": "0", "cumVlm": volume,
    })
}
