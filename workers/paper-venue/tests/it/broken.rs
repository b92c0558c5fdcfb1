//! Every kind of fault can be seen from outside, and ends when it is cleared.

use crate::support::{AGENT, Key, MAIN, fresh, http, nonce, until, wall_ms, witness};
use holdfast_paper_venue::faults::Kind;
use serde_json::{Value, json};

fn order(px: f64, tif: &str) -> String {
    format!(r#"{{"a":0,"b":true,"p":"{px}","s":"0.01","r":false,"t":{{"limit":{{"tif":"{tif}"}}}}}}"#)
}

#[test]
fn faults_of_answers() {
    let (home, venue) = fresh();
    let (api, agent, main) = (&venue.api, Key::new(AGENT), Key::new(MAIN).address());
    let mids = r#"{"type":"allMids"}"#;
    let raw = |body: &str| http(api.addr, "POST", "/exchange", body);
    // latency: a late order is refused by its own expiry.
    let action =
        format!(r#"{{"type":"order","orders":[{}],"grouping":"na"}}"#, order(api.touch("BTC").1.floor(), "Gtc"));
    api.fault(json!({"kind": "latency", "value": {"ms": 300, "path": "/exchange"}, "count": 1}));
    assert_eq!(api.act_until(&agent, &action, Some(wall_ms() + 50))["response"], "Action already expired");
    api.clear();
    // http_error
    api.fault(json!({"kind": "http_error", "value": {"status": 502, "path": "/exchange"}, "count": 1}));
    assert_eq!(http(api.addr, "POST", "/info", mids).unwrap().0, 200);
    assert_eq!(raw(&agent.body(&action, nonce(), None)).unwrap().0, 502);
    assert_eq!(witness(home.path()).last().unwrap()["outcome"], "rejected:http 502");
    assert_eq!(api.info(json!({"type": "openOrders", "user": main})), json!([]));
    // garbage_body
    api.fault(json!({"kind": "garbage_body", "value": "/info"}));
    let (status, text) = http(api.addr, "POST", "/info", mids).unwrap();
    assert!(status == 200 && serde_json::from_str::<Value>(&text).is_err());
    assert!(http(api.addr, "POST", "/info", mids).unwrap().1.starts_with('{'), "once by default");
    // drop_after_execute
    api.fault(json!({"kind": "drop_after_execute"}));
    let px = (api.touch("BTC").0 * 0.9).floor();
    let rest = format!(r#"{{"type":"order","orders":[{}],"grouping":"na"}}"#, order(px, "Gtc"));
    assert!(raw(&agent.body(&rest, nonce(), None)).is_none(), "the answer is lost");
    assert_eq!(api.info(json!({"type": "openOrders", "user": main})).as_array().unwrap().len(), 1);
    // rate_limit, both scopes
    api.fault(json!({"kind": "rate_limit", "count": 1}));
    assert_eq!(http(api.addr, "POST", "/info", mids).unwrap().0, 429);
    api.fault(json!({"kind": "rate_limit", "value": "address"}));
    let noop = r#"{"type":"noop"}"#;
    assert_eq!(api.act(&agent, noop)["status"], "ok", "one action passes every ten seconds");
    assert!(api.act(&agent, noop)["response"].as_str().unwrap().starts_with("Too many cumulative requests sent"));
    api.clear();
    // clock_skew
    api.fault(json!({"kind": "clock_skew", "value": -60_000}));
    let time = api.info(json!({"type": "exchangeStatus"}))["time"].as_u64().unwrap();
    assert!(time + 30_000 < wall_ms());
    api.clear();
    // dead_man_ineligible
    api.fault(json!({"kind": "dead_man_ineligible"}));
    let arm = format!(r#"{{"type":"scheduleCancel","time":{}}}"#, wall_ms() + 30_000);
    let text = api.act(&agent, &arm)["response"].as_str().unwrap().to_owned();
    assert_eq!(
        text,
        "Cannot set scheduled cancel time until enough volume traded. Required: $1000000. Traded: $373.47205."
    );
    api.clear();
    assert_eq!(api.act(&agent, &arm)["status"], "ok");
    let kinds = witness(home.path()).iter().filter(|l| l["kind"] == "fault").count();
    assert!(kinds >= 8);
    venue.stop();
}

#[test]
fn faults_of_trading() {
    let (_home, venue) = fresh();
    let (api, agent, main) = (&venue.api, Key::new(AGENT), Key::new(MAIN).address());
    let error = |v: &Value| v["error"].as_str().unwrap_or_else(|| panic!("no error in {v}")).to_owned();
    // partial_fill
    api.fault(json!({"kind": "partial_fill", "value": "0.25"}));
    assert_eq!(api.ioc(&agent, true, "0.04", false)["filled"]["totalSz"], "0.01");
    // reject_open refuses what adds and lets through what closes
    api.fault(json!({"kind": "reject_open"}));
    assert!(error(&api.ioc(&agent, true, "0.01", false)).starts_with("Order would increase open interest"));
    assert_eq!(api.ioc(&agent, false, "0.01", true)["filled"]["totalSz"], "0.01");
    api.clear();
    // post_only_window
    api.fault(json!({"kind": "post_only_window"}));
    assert!(
        error(&api.ioc(&agent, true, "0.01", false)).starts_with("Only post-only orders allowed immediately after")
    );
    let px = (api.touch("BTC").0 * 0.9).floor();
    assert!(api.place(&agent, &order(px, "Alo"))["resting"]["oid"].is_u64());
    api.clear();
    // reject_all
    api.fault(json!({"kind": "reject_all", "count": 1}));
    assert_eq!(api.act(&agent, r#"{"type":"noop"}"#)["status"], "err");
    // late_fill: flat, cancelled, and then filled all the same
    let oid = api.rest(&agent, None)["resting"]["oid"].as_u64().unwrap();
    api.fault(json!({"kind": "late_fill", "value": 300}));
    let cancel = api.act(&agent, &format!(r#"{{"type":"cancel","cancels":[{{"a":0,"o":{oid}}}]}}"#));
    assert_eq!(cancel["response"]["data"]["statuses"][0], "success");
    assert_eq!(api.szi(&main, "BTC", ""), "0");
    until("the late fill", || (api.szi(&main, "BTC", "") == "0.01").then_some(()));
    let status = api.info(json!({"type": "orderStatus", "user": main, "oid": oid}));
    assert_eq!(status["order"]["status"], "filled");
    // foreign_position, hidden on the second dex
    api.fault(json!({"kind": "foreign_position", "coin": "alt:GOLD", "value": "-0.5"}));
    assert_eq!(api.szi(&main, "alt:GOLD", ""), "0");
    assert_eq!(api.szi(&main, "alt:GOLD", "alt"), "-0.5");
    let px = api.touch("alt:GOLD").1;
    let close = format!(r#"{{"a":110000,"b":true,"p":"{px}","s":"0.5","r":true,"t":{{"limit":{{"tif":"Ioc"}}}}}}"#);
    assert_eq!(api.place(&agent, &close)["filled"]["totalSz"], "0.5");
    // foreign_spot_order: seen on the first dex only, ended by its own asset index only, and nothing can be placed there
    let spot = |dex: &str| {
        let all = api.info(json!({"type": "frontendOpenOrders", "user": main, "dex": dex}));
        all.as_array().unwrap().iter().find(|o| o["coin"] == "@107").cloned()
    };
    api.fault(json!({"kind": "foreign_spot_order", "value": "-2"}));
    assert_eq!(spot("alt"), None);
    let oid = spot("").unwrap()["oid"].as_u64().unwrap();
    let cancel = |asset: u32| {
        let cancels = format!(r#"{{"type":"cancel","cancels":[{{"a":{asset},"o":{oid}}}]}}"#);
        api.act(&agent, &cancels)["response"]["data"]["statuses"][0].clone()
    };
    error(&cancel(0));
    assert_eq!(cancel(10_107), "success");
    assert_eq!(spot(""), None);
    let buy = r#"{"a":10107,"b":true,"p":"1","s":"20","r":false,"t":{"limit":{"tif":"Gtc"}}}"#;
    assert!(error(&api.place(&agent, buy)).starts_with("Invalid asset index"));
    // price_jump moves the mark, and moves it back when cleared
    let (bid, _) = api.touch("BTC");
    api.fault(json!({"kind": "price_jump", "coin": "BTC", "value": -2000}));
    assert!(api.touch("BTC").0 < bid * 0.85);
    api.clear();
    assert!(api.touch("BTC").0 > bid * 0.95);
    // feed_freeze: the same book with the same time
    api.fault(json!({"kind": "feed_freeze"}));
    let time = || api.info(json!({"type": "l2Book", "coin": "BTC"}))["time"].clone();
    let frozen = time();
    api.json("POST", "/sim/clock", &json!({"advance_ms": 60_000}));
    assert_eq!(time(), frozen);
    api.clear();
    api.json("POST", "/sim/clock", &json!({"advance_ms": 60_000}));
    assert_ne!(time(), frozen);
    api.clear();
    // The book that stands still may be crossed, or have one side only.
    api.fault(json!({"kind": "feed_freeze", "coin": "BTC", "value": "crossed"}));
    let (bid, ask) = api.touch("BTC");
    assert!(bid > ask);
    api.clear();
    api.fault(json!({"kind": "feed_freeze", "coin": "BTC", "value": "one_sided"}));
    let book = api.info(json!({"type": "l2Book", "coin": "BTC"}));
    assert_eq!(book["levels"][1], json!([]));
    assert!(api.info(json!({"type": "allMids"}))["BTC"].is_string(), "the last trade is given instead of a middle");
    api.clear();
    let (bid, ask) = api.touch("BTC");
    assert!(bid < ask);
    // Seen here, in the other two tests, or a fault would go untested.
    assert_eq!(Kind::ALL.len(), 19);
    venue.stop();
}
