//! The wire protocol over real HTTP: identity, refusals, reads, the witness.

use crate::support::{AGENT, Key, MAIN, fresh, http, nonce, wall_ms, witness};
use serde_json::json;

#[test]
fn an_order_through_its_whole_life_leaves_a_witness() {
    let (home, venue) = fresh();
    let (api, agent, main) = (&venue.api, Key::new(AGENT), Key::new(MAIN).address());
    assert_eq!(api.info(json!({"type": "userRole", "user": agent.address()}))["role"], "agent");
    assert_eq!(api.info(json!({"type": "userRole", "user": main}))["role"], "user");
    assert_eq!(api.info(json!({"type": "userRole", "user": "junk"}))["role"], "missing");
    let cloid = "0x000000000000000000000000000a11ce";
    let resting = api.rest(&agent, Some(cloid));
    let oid = resting["resting"]["oid"].as_u64().unwrap();
    assert!(oid > u64::from(u32::MAX));
    let open = api.info(json!({"type": "frontendOpenOrders", "user": main}));
    assert_eq!((&open[0]["oid"], &open[0]["cloid"]), (&json!(oid), &json!(cloid)));
    // An agent's own address looks exactly like a flat account.
    assert_eq!(api.info(json!({"type": "openOrders", "user": agent.address()})), json!([]));
    for id in [json!(oid), json!(cloid)] {
        let status = api.info(json!({"type": "orderStatus", "user": main, "oid": id}));
        assert_eq!(status["order"]["status"], "open");
    }
    let filled = api.ioc(&agent, true, "0.01", false);
    assert_eq!(filled["filled"]["totalSz"], "0.01", "{filled}");
    assert_eq!(api.szi(&main, "BTC", ""), "0.01");
    let close = api.ioc(&agent, false, "1", true);
    assert_eq!(close["filled"]["totalSz"], "0.01", "reduce-only shrinks to the position: {close}");
    assert_eq!(api.szi(&main, "BTC", ""), "0");
    let cancel = format!(r#"{{"type":"cancelByCloid","cancels":[{{"asset":0,"cloid":"{cloid}"}}]}}"#);
    assert_eq!(api.act(&agent, &cancel)["response"]["data"]["statuses"][0], "success");
    let again = api.act(&agent, &cancel)["response"]["data"]["statuses"][0]["error"].clone();
    assert!(again.as_str().unwrap().starts_with("Order was never placed, already canceled, or filled"));
    assert_eq!(api.info(json!({"type": "userFills", "user": main})).as_array().unwrap().len(), 2);
    let lines = witness(home.path());
    let seen: Vec<(String, String, bool)> = lines
        .iter()
        .map(|l| {
            let text = |k: &str| l[k].as_str().unwrap().split(':').next().unwrap().to_owned();
            (text("kind"), text("outcome"), l["increased_exposure"].as_bool().unwrap())
        })
        .collect();
    let want = [
        ("order", "resting", false),
        ("order", "filled", true),
        ("fill", "filled", true),
        ("order", "filled", false),
        ("fill", "filled", false),
        ("cancelByCloid", "success", false),
        ("cancelByCloid", "rejected", false),
    ];
    let seen: Vec<(&str, &str, bool)> = seen.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), *c)).collect();
    assert_eq!(seen, want);
    assert_eq!(lines[1]["position_after"], "0.01");
    assert_eq!(lines[1]["signer"], json!(agent.address()));
    assert!(lines.windows(2).all(|w| w[0]["boot_ns"].as_u64() <= w[1]["boot_ns"].as_u64()));
    venue.stop();
}

#[test]
fn what_is_refused_is_refused_in_the_venues_words_and_witnessed() {
    let (home, venue) = fresh();
    let (api, agent) = (&venue.api, Key::new(AGENT));
    let stranger = Key::new(99);
    let noop = r#"{"type":"noop"}"#;
    let text = api.act(&stranger, noop)["response"].as_str().unwrap().to_owned();
    assert_eq!(text, format!("User or API Wallet {} does not exist.", stranger.address()));
    let n = nonce();
    let send = |n: u64, expires| {
        let (status, text) = http(api.addr, "POST", "/exchange", &agent.body(noop, n, expires)).unwrap();
        assert_eq!(status, 200);
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["response"].clone()
    };
    assert_eq!(send(n, None)["type"], "default");
    assert!(send(n, None).as_str().unwrap().starts_with("Invalid nonce: duplicate"));
    let day = 86_400_000;
    assert!(send(wall_ms() - 2 * day - 1000, None).as_str().unwrap().starts_with("Invalid nonce: too low"));
    assert!(send(wall_ms() + day + 1000, None).as_str().unwrap().starts_with("Invalid nonce: too high"));
    assert_eq!(send(nonce(), Some(wall_ms() - 1)), "Action already expired");
    let expired = api.act_until(&agent, r#"{"type":"order","orders":[{"a":0,"b":true,"p":"1","s":"1","r":false,"t":{"limit":{"tif":"Ioc"}}}],"grouping":"na"}"#, Some(1));
    assert_eq!(expired["status"], "err");
    assert_eq!(witness(home.path()).last().unwrap()["outcome"], "expired");
    let many = vec![r#"{"a":0,"o":1}"#; 201].join(",");
    let refused = api.act(&agent, &format!(r#"{{"type":"cancel","cancels":[{many}]}}"#));
    assert_eq!(refused["status"], "err");
    // A second account's key with an unknown shape, and shapes no venue would take.
    for (path, body) in [
        ("/exchange", "{}"),
        ("/exchange", "not json"),
        ("/exchange", &agent.body(r#"{"type":"withdraw3"}"#, nonce(), None)),
        ("/info", r#"{"type":"nonsense"}"#),
        ("/sim/fault", r#"{"kind":"earthquake"}"#),
        ("/sim/fault", r#"{"kind":"latency","surprise":1}"#),
        ("/sim/fault", r#"{"kind":"partial_fill","value":7}"#),
        ("/sim/fault", r#"{"kind":"latency","count":0}"#),
        ("/sim/fault", r#"{"kind":"feed_freeze","coin":"NOPE"}"#),
    ] {
        assert_eq!(http(api.addr, "POST", path, body).unwrap().0, 422, "{path} {body}");
    }
    assert_eq!(api.json("GET", "/sim/faults", &json!(null))["faults"], json!([]));
    let big = format!(r#"{{"type":"{}"}}"#, "x".repeat(300 * 1024));
    assert!(http(api.addr, "POST", "/info", &big).is_none_or(|(status, _)| status == 413));
    venue.stop();
}

#[test]
fn every_read_answers() {
    let (_home, venue) = fresh();
    let user = Key::new(MAIN).address();
    for body in [
        json!({"type": "meta"}),
        json!({"type": "metaAndAssetCtxs"}),
        json!({"type": "allMids"}),
        json!({"type": "l2Book", "coin": "BTC", "nSigFigs": 4, "mantissa": null}),
        json!({"type": "userFillsByTime", "user": user, "startTime": 0}),
        json!({"type": "historicalOrders", "user": user}),
        json!({"type": "userRateLimit", "user": user}),
        json!({"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "1m", "startTime": 0, "endTime": wall_ms()}}),
        json!({"type": "extraAgents", "user": user}),
        json!({"type": "exchangeStatus"}),
        json!({"type": "spotMeta"}),
        json!({"type": "perpDexs"}),
        json!({"type": "userFees", "user": user}),
        json!({"type": "meta", "dex": "alt"}),
    ] {
        assert!(!venue.api.info(body.clone()).is_null(), "{body}");
    }
    assert_eq!(venue.api.info(json!({"type": "l2Book", "coin": "NOPE"})), json!(null));
    assert_eq!(venue.api.info(json!({"type": "meta", "dex": "alt"}))["universe"][0]["name"], "alt:GOLD");
    let limit = venue.api.info(json!({"type": "userRateLimit", "user": user}));
    assert_eq!(limit["nRequestsCap"], 2_010_000);
    venue.stop();
}

#[test]
fn the_dead_man_switch_arms_and_fires() {
    let (home, venue) = fresh();
    let (api, agent, main) = (&venue.api, Key::new(AGENT), Key::new(MAIN).address());
    let soon = api.act(&agent, &format!(r#"{{"type":"scheduleCancel","time":{}}}"#, wall_ms() + 1000));
    assert_eq!(soon["status"], "err");
    let armed = api.act(&agent, &format!(r#"{{"type":"scheduleCancel","time":{}}}"#, wall_ms() + 8000));
    assert_eq!(armed["status"], "ok");
    api.rest(&agent, None);
    // Venue time is pushed past the instant instead of waiting for it.
    api.fault(json!({"kind": "clock_skew", "value": 9000}));
    crate::support::until("the switch fires", || {
        (api.info(json!({"type": "openOrders", "user": main})) == json!([])).then_some(())
    });
    assert!(witness(home.path()).iter().any(|l| l["kind"] == "dead_man_fired" && l["outcome"] == "canceled:1"));
    venue.stop();
}
