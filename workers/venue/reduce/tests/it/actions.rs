//! Cancels, closes and the dead-man switch over real HTTP.

use crate::server::{Act, Server};
use crate::{AT, client, clock};
use holdfast_venue_reduce::action::{CancelCloid, CancelOid};
use holdfast_venue_reduce::outcome::{Accepted, Outcome, RefusalClass, Unknown};
use holdfast_venue_reduce::read::{AccountSnapshot, Asset, DexView, parse_clearinghouse, parse_meta};
use holdfast_venue_reduce::reduction::{Ask, Reduction};
use holdfast_venue_reduce::wire::{AssetIndex, Cloid, Dex, Oid, Tif};

const DONE: &str = r#"{"status":"ok","response":{"type":"default"}}"#;

/// What the server does, and what that must be taken for.
type Row = (Act, fn(&Outcome) -> bool);

fn answer(status: u16, body: &str) -> Act {
    Act::Answer(status, body.to_owned())
}

#[tokio::test]
async fn every_kind_of_answer_has_its_verdict() {
    let rows: [Row; 11] = [
        (answer(200, DONE), |o| *o == Outcome::Accepted(Accepted::Done)),
        (
            answer(
                200,
                r#"{"status":"err","response":"Cannot set scheduled cancel time until enough volume traded. Required: $1000000. Traded: $3."}"#,
            ),
            |o| o.refusal() == Some(RefusalClass::DeadManVolume),
        ),
        (answer(200, r#"{"status":"err","response":"Invalid nonce: duplicate"}"#), |o| {
            *o == Outcome::Unknown(Unknown::DuplicateNonce)
        }),
        (answer(200, "<html>"), |o| matches!(o, Outcome::Unknown(Unknown::Shape(_)))),
        (answer(200, ""), |o| matches!(o, Outcome::Unknown(Unknown::Shape(_)))),
        (answer(302, ""), |o| matches!(o, Outcome::Unknown(Unknown::Status(302, _)))),
        (answer(422, "Failed to deserialize the JSON body"), |o| {
            matches!(o, Outcome::Unknown(Unknown::Status(422, _)))
        }),
        (answer(429, "null"), |o| *o == Outcome::Unknown(Unknown::Throttled)),
        (answer(503, "upstream"), |o| matches!(o, Outcome::Unknown(Unknown::Status(503, _)))),
        (Act::Hang, |o| *o == Outcome::Unknown(Unknown::Timeout)),
        (Act::Close, |o| matches!(o, Outcome::Unknown(Unknown::Transport(_)))),
    ];
    for (act, is_right) in rows {
        let server = Server::start(std::slice::from_ref(&act)).await;
        let sent = client(&server.url).schedule_cancel(Some(1_790_000_030_000), AT).await;
        let outcome = sent.single().unwrap();
        assert!(is_right(outcome), "{act:?} gave {outcome:?}");
        assert_eq!(server.seen().len(), 1, "nothing is sent twice");
    }
    let server = Server::start(&[Act::Cut]).await;
    assert!(client(&server.url).noop(AT).await.any_unknown());
}

#[tokio::test]
async fn a_venue_that_is_not_there_got_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let sent = client(&url).noop(AT).await;
    assert_eq!(sent.single().unwrap().refusal(), Some(RefusalClass::NotSent));
    assert!(!sent.nonces_stored);
}

fn statuses(kind: &str, entry: &str, n: usize) -> Act {
    let entries = vec![entry; n].join(",");
    answer(200, &format!(r#"{{"status":"ok","response":{{"type":"{kind}","data":{{"statuses":[{entries}]}}}}}}"#))
}

#[tokio::test]
async fn cancels_go_in_batches_with_fresh_nonces_and_an_expiry() {
    let ok = "\"success\"";
    let acts = [statuses("cancel", ok, 200), answer(502, ""), statuses("cancel", ok, 1)];
    let server = Server::start(&acts).await;
    let cancels: Vec<CancelOid> = (0..401).map(|i| CancelOid { asset: AssetIndex(0), oid: Oid(i) }).collect();
    let sent = client(&server.url).cancel(&cancels, AT).await;
    assert_eq!(sent.outcomes.len(), 401);
    assert!(sent.outcomes[..200].iter().all(Outcome::is_accepted));
    assert!(sent.outcomes[200..400].iter().all(Outcome::is_unknown), "one failed batch leaves the others alone");
    assert!(sent.outcomes[400].is_accepted());
    for (i, seen) in server.seen().iter().enumerate() {
        let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
        assert_eq!(seen.path, "/exchange");
        assert_eq!(body["nonce"], AT.now_ms + i as u64);
        assert_eq!(body["expiresAfter"], AT.expires_after_ms);
        assert!(body["vaultAddress"].is_null() && body["signature"]["v"].is_u64());
        assert!(body["action"]["cancels"].as_array().unwrap().len() <= 200);
    }
    assert!(client(&server.url).cancel(&[], AT).await.outcomes.is_empty());

    let server = Server::start(&[statuses("cancel", ok, 1)]).await;
    let by_cloid = [CancelCloid { asset: AssetIndex(3), cloid: Cloid::new([5; 16]) }];
    assert!(client(&server.url).cancel_by_cloid(&by_cloid, AT).await.single().unwrap().is_accepted());
    let last = server.seen().pop().unwrap().body;
    assert!(last.starts_with(r#"{"action":{"type":"cancelByCloid","cancels":[{"asset":3,"cloid":"0x0505"#), "{last}");
}

fn account() -> AccountSnapshot {
    let position = |coin: &str, szi: &str| {
        format!(
            r#"{{"type":"oneWay","position":{{"coin":"{coin}","szi":"{szi}","entryPx":"1","positionValue":"1","unrealizedPnl":"0","liquidationPx":null,"marginUsed":"0","leverage":{{"type":"cross","value":3}}}}}}"#
        )
    };
    let state = format!(
        r#"{{"assetPositions":[{},{}],"marginSummary":{{"accountValue":"1","totalNtlPos":"1","totalRawUsd":"1","totalMarginUsed":"1"}},"withdrawable":"1","time":1}}"#,
        position("BTC", "0.5"),
        position("ETH", "-2")
    );
    let account = parse_clearinghouse(state.as_bytes(), clock()).unwrap();
    let view = DexView { dex: Dex::first(), account, orders: Vec::new() };
    AccountSnapshot::of_parts(vec![view], clock()).unwrap()
}

fn asset(coin: &str) -> Asset {
    let meta = br#"{"universe":[{"name":"BTC","szDecimals":5,"maxLeverage":40},{"name":"ETH","szDecimals":4,"maxLeverage":25}]}"#;
    parse_meta(meta, &Dex::first(), 0).unwrap().asset(coin).unwrap().clone()
}

fn close(account: &AccountSnapshot, coin: &str, cloid: u8) -> Reduction {
    let asset = asset(coin);
    let bound = "2000".parse().unwrap();
    let ask = Ask { account, asset: &asset, bound, tif: Tif::Ioc, cloid: Cloid::new([cloid; 16]), now: clock() };
    Reduction::full(&ask).unwrap()
}

#[tokio::test]
async fn all_closes_go_in_one_batch_and_only_reduce() {
    let filled = r#"{"filled":{"totalSz":"0.5","avgPx":"2000","oid":1}}"#;
    let server = Server::start(&[statuses("order", filled, 2)]).await;
    let account = account();
    // The second close of the same coin stays here.
    let batch = vec![close(&account, "BTC", 1), close(&account, "BTC", 2), close(&account, "ETH", 3)];
    let sent = client(&server.url).close_many(batch, AT).await;
    let refusals: Vec<Option<RefusalClass>> = sent.outcomes.iter().map(Outcome::refusal).collect();
    assert_eq!(refusals, [None, Some(RefusalClass::NotSent), None]);
    assert!(sent.outcomes[0].is_accepted() && sent.outcomes[2].is_accepted());
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body.matches(r#""r":true"#).count(), 2);
    assert!(!seen[0].body.contains(r#""r":false"#));
    assert!(
        seen[0].body.contains(r#"{"a":1,"b":true,"p":"2000","s":"2","r":true,"t":{"limit":{"tif":"Ioc"}}"#),
        "{}",
        seen[0].body
    );
}
