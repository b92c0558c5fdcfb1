//! Recorded answers, and answers that must not be believed.

use super::*;
use crate::status::OrderState;
use crate::wire::Side;
use holdfast_core::money::Szi;
use holdfast_core::time::Tick;

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../../../../../fixtures/venue/info/", $name))
    };
}

#[test]
fn clearinghouse_of_2023() {
    let account = parse_clearinghouse(recorded!("clearinghouseState.json"), Tick(7)).unwrap();
    assert_eq!((account.time, account.read_at), (None, Tick(7)));
    let btc = account.positions().iter().find(|p| p.coin() == "BTC").unwrap();
    assert_eq!(btc.szi(), "-0.00785".parse::<Szi>().unwrap());
    assert_eq!(btc.leverage(), Leverage::Cross { value: 20 });
    assert_eq!(btc.mark_px().unwrap().to_string(), "26961.2");
    let view = DexView { dex: Dex::first(), account, orders: Vec::new() };
    assert!(AccountSnapshot::of_parts(vec![view], Tick(8)).is_err(), "without venue time it is no snapshot");
}

#[test]
fn a_position_that_cannot_be_read_is_never_flat() {
    let position = r#"{"coin":"BTC","szi":"1","entryPx":"1","positionValue":"1","unrealizedPnl":"0","liquidationPx":null,"marginUsed":"0","leverage":{"type":"isolated","value":3,"rawUsd":"-1"}}"#;
    let state = |positions: &str| {
        format!(
            r#"{{"assetPositions":[{positions}],"marginSummary":{{"accountValue":"1","totalNtlPos":"1","totalRawUsd":"1","totalMarginUsed":"1"}},"withdrawable":"1","time":1}}"#
        )
    };
    let one_way = |position: &str| format!(r#"{{"type":"oneWay","position":{position}}}"#);
    let good = one_way(position);
    assert_eq!(parse_clearinghouse(state(&good).as_bytes(), Tick(0)).unwrap().positions().len(), 1);
    let flat = one_way(&position.replace(r#""szi":"1""#, r#""szi":"0.0""#));
    assert_eq!(parse_clearinghouse(state(&flat).as_bytes(), Tick(0)).unwrap().positions().len(), 0);
    for bad in [
        good.replace("oneWay", "hedge"),
        good.replace(r#""szi":"1""#, r#""szi":"?""#),
        good.replace(r#""szi":"1""#, r#""szi":null"#),
        good.replace(r#""szi":"1""#, r#""szi":1.5"#),
        good.replace(r#""szi":"1","#, ""),
        good.replace("isolated", "other"),
        format!("{good},{good}"),
        "null".to_owned(),
    ] {
        assert!(parse_clearinghouse(state(&bad).as_bytes(), Tick(0)).is_err(), "{bad}");
    }
    assert!(parse_clearinghouse(b"{}", Tick(0)).is_err());
    assert!(parse_clearinghouse(b"null", Tick(0)).is_err());
}

#[test]
fn open_orders_with_children_count_each_once() {
    let orders = parse_open_orders(recorded!("frontendOpenOrders.json")).unwrap();
    assert_eq!(orders.len(), 3);
    assert!(orders.iter().all(|o| o.cloid.is_none()));
    assert_eq!(orders[2].children.len(), 2);
    assert_eq!((orders[2].trigger_px, orders[0].reduce_only), (None, true));
    let state = br#"{"assetPositions":[],"marginSummary":{"accountValue":"1","totalNtlPos":"1","totalRawUsd":"1","totalMarginUsed":"1"},"withdrawable":"1","time":1}"#;
    let account = parse_clearinghouse(state, Tick(0)).unwrap();
    let view = DexView { dex: Dex::first(), account, orders };
    let snapshot = AccountSnapshot::of_parts(vec![view], Tick(0)).unwrap();
    assert_eq!(snapshot.open_orders().len(), 3);
    assert!(!snapshot.proves_flat());
    assert!(parse_open_orders(br#"[{"coin":"BTC"}]"#).is_err());
}

#[test]
fn fills_carry_a_position_through_zero() {
    let fills = parse_fills(recorded!("userFills-cut.json")).unwrap();
    assert_eq!(fills.len(), 12);
    let through = fills.iter().find(|f| f.dir == "Long > Short").unwrap();
    assert!(through.start_position.is_long() && through.end_position().unwrap().is_short());
    assert_eq!((through.tid, through.side), (None, Side::Sell));
}

#[test]
fn markets() {
    let universe = parse_meta(recorded!("meta.json"), &Dex::first(), 0).unwrap();
    let doge = universe.asset("DOGE").unwrap();
    assert_eq!((doge.index.0, doge.rule.sz_decimals()), (12, 0));
    let second = parse_meta(recorded!("meta.json"), &"xyz".parse().unwrap(), 2).unwrap();
    assert_eq!(second.asset("ETH").unwrap().index.0, 120_001);
    let delisted = br#"{"universe":[{"name":"A","szDecimals":1,"maxLeverage":3,"isDelisted":true},{"name":"B","szDecimals":1,"maxLeverage":3}]}"#;
    let universe = parse_meta(delisted, &Dex::first(), 0).unwrap();
    assert_eq!(universe.asset("B").unwrap().index.0, 1, "delisted entries keep their place");
    assert!(parse_meta(br#"{"universe":[{"name":"A","szDecimals":9,"maxLeverage":3}]}"#, &Dex::first(), 0).is_err());

    assert_eq!(market::parse_dexs(br#"[null,{"name":"xyz","fullName":"X"}]"#).unwrap().len(), 2);
    for bad in ["[]", "[{\"name\":\"a\"}]", "[null,null]", "null"] {
        assert!(market::parse_dexs(bad.as_bytes()).is_err(), "{bad}");
    }

    let book: Book = parse("l2Book", recorded!("l2Book-DYDX.json")).unwrap();
    assert_eq!((book.best_bid().unwrap().px.to_string(), book.bids.len()), ("2.111".to_owned(), 20));
    assert_eq!(parse::<Option<Book>>("l2Book", b"null").unwrap(), None);
    let candles: Vec<Candle> = parse("candleSnapshot", recorded!("candleSnapshot-kPEPE-1h.json")).unwrap();
    assert_eq!((candles.len(), candles[0].interval), (24, Interval::H1));
    let mids = market::parse_mids(br#"{"BTC":"80459.5","@107":"1.2","DEAD":"0.0"}"#).unwrap();
    assert_eq!(mids.len(), 2);
}

#[test]
fn account_facts() {
    let limit: RateLimit = parse("userRateLimit", recorded!("userRateLimit.json")).unwrap();
    assert_eq!((limit.n_requests_used, limit.left()), (36_589_831_368, 133_453_900_369));
    assert_eq!(parse::<AccountRole>("userRole", recorded!("userRole.json")).unwrap(), AccountRole::Vault {});
    let user = "0x1719884eb866cb12b2287399b15f7db5e7d775ea";
    let agent = format!(r#"{{"role":"agent","data":{{"user":"{user}"}}}}"#);
    assert!(
        matches!(parse("userRole", agent.as_bytes()).unwrap(), AccountRole::Agent { data } if data.user.to_string() == user)
    );
    assert!(parse::<AccountRole>("userRole", br#"{"role":"emperor"}"#).is_err());
    let agents: Vec<ExtraAgent> = parse("extraAgents", recorded!("extraAgents.json")).unwrap();
    assert_eq!(agents[0].valid_until, 1_767_776_120_478);
}

#[test]
fn order_status() {
    let order = r#"{"coin":"BTC","side":"B","limitPx":"1","sz":"0","oid":9,"timestamp":1,"origSz":"1","cloid":"0x00000000000000000000000000000001"}"#;
    for (status, state) in [("canceled", OrderState::Cancelled), ("new", OrderState::Unknown)] {
        let text =
            format!(r#"{{"status":"order","order":{{"order":{order},"status":"{status}","statusTimestamp":2}}}}"#);
        let OrderStatus::Order { order } = parse("orderStatus", text.as_bytes()).unwrap() else { panic!("{text}") };
        assert_eq!((order.status.state, order.status.text.as_str()), (state, status));
    }
    assert_eq!(parse::<OrderStatus>("", br#"{"status":"unknownOid"}"#).unwrap(), OrderStatus::UnknownOid {});
    assert!(parse::<OrderStatus>("", br#"{"status":"other"}"#).is_err());
}
