//! Reads over real HTTP: errors are errors, and flat is proven over every dex or not at all.

use crate::server::{Act, Rule, Server};
use crate::{clock, config, venue};
use holdfast_venue_reduce::budget::{Purpose, Share};
use holdfast_venue_reduce::client::{ReadError, Venue};
use holdfast_venue_reduce::read::{DexScope, OrderRef, OrderStatus};
use holdfast_venue_reduce::wire::{Dex, Oid};

/// What the server does, and what that must be taken for.
type Row = (Act, fn(&ReadError) -> bool);

fn answer(body: &str) -> Act {
    Act::Answer(200, body.to_owned())
}

fn state(positions: &str, time: &str) -> Act {
    answer(&format!(
        r#"{{"assetPositions":[{positions}],"marginSummary":{{"accountValue":"10","totalNtlPos":"1","totalRawUsd":"1","totalMarginUsed":"1"}},"withdrawable":"1"{time}}}"#
    ))
}

const HIDDEN: &str = r#"{"type":"oneWay","position":{"coin":"xyz:GOLD","szi":"0.1","entryPx":"1","positionValue":"1","unrealizedPnl":"0","liquidationPx":null,"marginUsed":"0","leverage":{"type":"isolated","value":3}}}"#;

#[tokio::test]
async fn flat_is_proven_over_every_dex_or_not_at_all() {
    let dexs = answer(r#"[null,{"name":"xyz"}]"#);
    let (none, time) = (answer("[]"), r#","time":1790000000000"#);
    let flat = || state("", time);
    // The answers to: which dexes; orders and state of the first; orders and state of the second.
    for (answers, proof) in [
        ([dexs.clone(), none.clone(), flat(), none.clone(), flat()], Some(true)),
        ([dexs.clone(), none.clone(), flat(), none.clone(), state(HIDDEN, time)], Some(false)),
        ([dexs.clone(), none.clone(), flat(), none.clone(), state(&HIDDEN.replace("oneWay", "x"), time)], None),
        ([dexs.clone(), none.clone(), flat(), none.clone(), Act::Answer(500, String::new())], None),
        ([dexs.clone(), none.clone(), flat(), answer("null"), flat()], None),
        ([dexs.clone(), none.clone(), state("", ""), none.clone(), flat()], None),
        ([answer("[]"), none.clone(), flat(), none.clone(), flat()], None),
    ] {
        let [dexs, first_orders, first, second_orders, second] = answers.clone();
        let rules: Vec<Rule> = vec![
            (&["perpDexs"], dexs),
            (&["OpenOrders", "xyz"], second_orders),
            (&["clearinghouseState", "xyz"], second),
            (&["OpenOrders"], first_orders),
            (&["clearinghouseState"], first),
        ];
        let server = Server::asked(rules).await;
        let snapshot = venue(&server.url).account_snapshot(&DexScope::Every).await;
        assert_eq!(snapshot.as_ref().ok().map(|s| s.proves_flat()), proof, "{answers:?}");
        if let Ok(snapshot) = snapshot {
            assert_eq!(snapshot.equity().unwrap().to_string(), "20");
            assert_eq!(snapshot.venue_time_ms, 1_790_000_000_000);
            let seen = server.seen();
            let at = |kind: &str, second: bool| {
                let asked =
                    |seen: &crate::server::Seen| seen.body.contains(kind) && seen.body.contains("xyz") == second;
                seen.iter().position(asked)
            };
            for dex in [false, true] {
                let (orders, state) = (at("OpenOrders", dex), at("clearinghouseState", dex));
                assert!(orders.is_some() && orders < state, "orders first: {seen:?}");
            }
        }
    }
    let server = Server::start(&[none, flat()]).await;
    let some = venue(&server.url).account_snapshot(&DexScope::Only(vec![Dex::first()])).await.unwrap();
    assert!(!some.proves_flat(), "a part of the venue proves nothing about the rest");
}

#[tokio::test]
async fn a_read_without_an_answer_is_an_error() {
    let rows: [Row; 7] = [
        (Act::Hang, |e| matches!(e, ReadError::Timeout)),
        (Act::Close, |e| matches!(e, ReadError::Transport(_))),
        (Act::Cut, |e| matches!(e, ReadError::Transport(_))),
        (Act::Answer(429, String::new()), |e| matches!(e, ReadError::Throttled)),
        (Act::Answer(422, "no".into()), |e| matches!(e, ReadError::Status(422, _))),
        (answer("garbage"), |e| matches!(e, ReadError::Shape(_))),
        (answer(r#"{"status":"later"}"#), |e| matches!(e, ReadError::Shape(_))),
    ];
    for (act, is_right) in rows {
        let server = Server::start(std::slice::from_ref(&act)).await;
        let error = venue(&server.url).order_status(OrderRef::Oid(Oid(1))).await.unwrap_err();
        assert!(is_right(&error), "{act:?} gave {error:?}");
    }
    let server = Server::start(&[answer(r#"{"status":"unknownOid"}"#)]).await;
    let status = venue(&server.url).order_status(OrderRef::Oid(Oid(569_017_209_592))).await.unwrap();
    assert_eq!(status, OrderStatus::UnknownOid {});
    assert!(server.seen()[0].body.ends_with(r#""oid":569017209592}"#));
}

#[tokio::test]
async fn venue_time_maps_the_boot_clock_early() {
    let server = Server::start(&[answer(r#"{"time":1790000000000,"specialStatuses":null}"#)]).await;
    let time = venue(&server.url).venue_time().await.unwrap();
    let clock = time.clock().unwrap();
    assert!(clock.venue_ms(time.received) <= 1_790_000_000_000);
    assert!(clock.uncertainty().as_ms() < 400);
}

#[tokio::test]
async fn watching_stops_before_the_exit_reserve_and_reducing_does_not() {
    let server = Server::start(&[answer(r#"{"BTC":"1"}"#)]).await;
    let mut config = config(&server.url);
    config.share = Share { per_minute: 8, exit_reserve: 4 };
    let venue = Venue::new(config).unwrap();
    let reducing = venue.for_reducing();
    for _ in 0..3 {
        assert!(venue.all_mids(&Dex::first()).await.is_ok());
    }
    assert!(matches!(venue.all_mids(&Dex::first()).await, Err(ReadError::OverBudget(_))));
    assert!(venue.budget().take(clock(), 1, Purpose::Open).is_err());
    assert!(reducing.all_mids(&Dex::first()).await.is_ok());
    assert_eq!(server.seen().len(), 4);
}
