//! The arithmetic in a table: position, other live orders, what is asked, what comes of it.

use super::*;
use crate::read::{DexView, parse_clearinghouse, parse_meta, parse_open_orders};
use crate::wire::Dex;

const READ_AT: Tick = Tick(1_000_000_000);

/// `others`: side, size, reduce-only.
fn account(szi: &str, others: &[(&str, &str, bool)]) -> AccountSnapshot {
    let state = format!(
        r#"{{"assetPositions":[{{"type":"oneWay","position":{{"coin":"ETH","szi":"{szi}","entryPx":"2000","positionValue":"1","unrealizedPnl":"0","liquidationPx":null,"marginUsed":"1","leverage":{{"type":"cross","value":5}}}}}}],
        "marginSummary":{{"accountValue":"100","totalNtlPos":"1","totalRawUsd":"-1","totalMarginUsed":"0"}},"withdrawable":"1","time":1790000000000}}"#
    );
    let orders: Vec<String> = others
        .iter()
        .enumerate()
        .map(|(i, (side, sz, r))| {
            format!(r#"{{"coin":"ETH","side":"{side}","limitPx":"2100","sz":"{sz}","origSz":"{sz}","oid":{i},"timestamp":1,"reduceOnly":{r}}}"#)
        })
        .collect();
    let view = DexView {
        dex: Dex::first(),
        account: parse_clearinghouse(state.as_bytes(), READ_AT).unwrap(),
        orders: parse_open_orders(format!("[{}]", orders.join(",")).as_bytes()).unwrap(),
    };
    AccountSnapshot::of_parts(vec![view], READ_AT).unwrap()
}

fn asset() -> Asset {
    let meta = br#"{"universe":[{"name":"BTC","szDecimals":5,"maxLeverage":40},{"name":"ETH","szDecimals":4,"maxLeverage":25}]}"#;
    parse_meta(meta, &Dex::first(), 0).unwrap().asset("ETH").unwrap().clone()
}

fn ask<'a>(account: &'a AccountSnapshot, asset: &'a Asset) -> Ask<'a> {
    Ask { account, asset, bound: "2410.15".parse().unwrap(), tif: Tif::Ioc, cloid: Cloid::new([1; 16]), now: READ_AT }
}

fn sz(text: &str) -> Sz {
    text.parse().unwrap()
}

#[test]
fn full_close() {
    let others_may = |other: &str, room: &str| Err(NotAReduction::OthersMayFill { other: sz(other), room: sz(room) });
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str, bool)], Result<(Side, &'a str), NotAReduction>);
    let rows: [Row<'_>; 10] = [
        ("1.5", &[], Ok((Side::Sell, "1.5"))),
        ("-1.5", &[], Ok((Side::Buy, "1.5"))),
        ("0.0001", &[], Ok((Side::Sell, "0.0001"))), // dust: a full close is exempt
        ("0", &[], Err(NotAReduction::Flat)),
        ("1.5", &[("B", "9", false)], Ok((Side::Sell, "1.5"))), // the other side cannot be flipped by our fill
        ("1.5", &[("A", "0.5", false)], others_may("0.5", "1")),
        ("1.5", &[("A", "9", false)], others_may("9", "0")),
        ("1.5", &[("A", "1.5", true)], Ok((Side::Sell, "1.5"))), // a protective stop stays
        ("-1.5", &[("B", "0.5", false), ("B", "0.25", false)], others_may("0.75", "0.75")),
        ("0.00001", &[], Err(NotAReduction::Illegal)), // finer than the market: our metadata is wrong
    ];
    let asset = asset();
    for (szi, others, expect) in rows {
        let account = account(szi, others);
        let got = Reduction::full(&ask(&account, &asset));
        match (got, expect) {
            (Ok(reduction), Ok((side, size))) => {
                assert_eq!((reduction.side(), reduction.sz()), (side, sz(size)), "{szi} {others:?}");
                assert!(reduction.closes_all());
                let bound: Px = "2410.15".parse().unwrap();
                assert!(asset.rule.is_legal(reduction.px()));
                assert!(if side.is_buy() { reduction.px() <= bound } else { reduction.px() >= bound });
            }
            (got, expect) => assert_eq!(got.err(), expect.err(), "{szi} {others:?}"),
        }
    }
}

#[test]
fn partial_close_and_the_most_that_is_safe() {
    let asset = asset();
    let long = account("1.5", &[("A", "0.5", false)]);
    let ask = ask(&long, &asset);
    for (size, expect) in [
        ("1", None),
        ("0.5", None),
        ("1.0001", Some(NotAReduction::OthersMayFill { other: sz("0.5"), room: sz("1") })),
        ("1.6", Some(NotAReduction::TooLarge(sz("1.6")))), // would flip
        ("0", Some(NotAReduction::TooLarge(sz("0")))),
        ("0.004", Some(NotAReduction::Dust("9.6408".parse().unwrap()))),
        ("0.00001", Some(NotAReduction::Illegal)),
    ] {
        let got = Reduction::partial(&ask, sz(size));
        assert_eq!(got.as_ref().err(), expect.as_ref(), "{size}");
        assert!(got.is_err() || !got.unwrap().closes_all());
    }
    assert_eq!(Reduction::within(&ask).unwrap().sz(), sz("1"));
}

#[test]
fn an_old_read_or_another_dex_proves_nothing() {
    let mut asset = asset();
    let long = account("1.5", &[]);
    let mut old = ask(&long, &asset);
    old.now = READ_AT.after(ACCOUNT_MAX_AGE).after(Span(1));
    assert!(matches!(Reduction::full(&old), Err(NotAReduction::Stale(_))));
    asset.dex = "other".parse().unwrap();
    assert_eq!(Reduction::full(&ask(&long, &asset)), Err(NotAReduction::DexNotRead));
}

#[test]
fn it_is_reduce_only_on_the_wire_too() {
    let (account, asset) = (account("-1.5", &[]), asset());
    let entry = Reduction::full(&ask(&account, &asset)).unwrap().entry().unwrap();
    assert_eq!(
        serde_json::to_string(&entry).unwrap(),
        r#"{"a":1,"b":true,"p":"2410.1","s":"1.5","r":true,"t":{"limit":{"tif":"Ioc"}},"c":"0x01010101010101010101010101010101"}"#
    );
}
