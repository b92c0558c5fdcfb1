//! Tables that a user would bring, all of them the same two candles or the same two trades.

use std::io::Write;

use super::super::{Market, MarketKind};
use super::{checked, open_bytes};

fn trades(market: &mut Market, count: usize) -> Vec<String> {
    let events = checked(market, 200);
    let px = events.iter().filter_map(|e| match &e.kind {
        MarketKind::Trade { px, sz, aggressor_is_buy } => Some(format!("{} {px} {sz} {aggressor_is_buy}", e.coin)),
        MarketKind::Book { .. } | MarketKind::Mark { .. } => None,
    });
    px.take(count).collect()
}

#[test]
fn candles_with_any_sane_header() {
    for text in [
        "timestamp,open,high,low,close,volume\n1700000000,100,110,90,105,7\n1700000060,105,106,104,104,3\n",
        "time,open,high,low,close\n1700000000000,100,110,90,105\n1700000060000,105,106,104,104",
        "Date;Open;High;Low;Close;Volume\r\n2023-11-14 22:13:20;100,0;110,0;90,0;105,0;7\r\n2023-11-14 22:14:20;105;106;104;104;3\r\n",
        "open_time\topen\thigh\tlow\tclose\n1700000000000000\t100\t110\t90\t105\n1700000060000000\t105\t106\t104\t104\n",
        "\u{feff}\"Unix Timestamp\",\"Open\",\"High\",\"Low\",\"Close\"\n\"1700000000\",\"100\",\"110\",\"90\",\"105\"\n\"1700000060\",\"105\",\"106\",\"104\",\"104\"\n",
        "https://www.example.com\nunix,date,symbol,open,high,low,close,Volume BTC,Volume USDT,tradecount\n1700000060,2023-11-14 22:14:20,BTC/USDT,105,106,104,104,3,1,2\n1700000000,2023-11-14 22:13:20,BTC/USDT,100,110,90,105,7,1,2\n",
        "<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>\n2023.11.14,22:13:20,100,110,90,105,7\n2023.11.14,22:14:20,105,106,104,104,3\n",
        ",open,high,low,close,volume\n2023-11-14 22:13:20+00:00,100,110,90,105,7\n2023-11-14 22:14:20+00:00,105,106,104,104,3\n",
        "close,low,high,open,ts\n105,90,110,100,2023-11-14T22:13:20Z\n104,104,106,105,2023-11-14T22:14:20+00:00\n",
        "1700000000000,100,110,90,105,7,1700000059999,1,2,3,4,0\n1700000060000,105,106,104,104,3,1700000119999,1,2,3,4,0\n",
        "[[1700000000000,\"100\",\"110\",\"90\",\"105\",\"7\",1700000059999,\"1\",2,\"3\",\"4\",\"0\"],[1700000060000,\"105\",\"106\",\"104\",\"104\",\"3\",1,\"1\",2,\"3\",\"4\",\"0\"]]",
        "time,open,high,low,close\n1700000000,1e2,1.1e+02,9e1,105.0000000000000001\n1700000000,1e2,1.1e+02,9e1,105.0000000000000001\n1700000060,105,106,104,104",
    ] {
        let mut market = open_bytes(text.as_bytes()).unwrap_or_else(|e| panic!("{text}\n{e}"));
        assert_eq!(market.coins().iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["BTC"], "{text}");
        assert!(market.describe().contains("2 candles of 60 s"), "{text}: {}", market.describe());
        let px: Vec<String> = trades(&mut market, 4).iter().map(|t| t.split(' ').nth(1).unwrap().to_string()).collect();
        assert_eq!((px[0].as_str(), px[3].as_str()), ("100", "105"), "{text}");
        let mut middle = [px[1].as_str(), px[2].as_str()];
        middle.sort_unstable();
        assert_eq!(middle, ["110", "90"], "{text}");
    }
}

#[test]
fn trades_with_any_sane_header() {
    for text in [
        "price,size,time,side\n100,0.5,1700000000,buy\n101,0.25,1700000001,sell\n",
        "timestamp,symbol,type,size,price,m\n1700000000.1,BTCUSDT,MARKET,0.5,100,0\n1700000001.25,BTCUSDT,LIMIT,0.25,101,1\n",
        "time,price,qty,is_buyer_maker\n1700000000000,100,0.5,false\n1700000001000,101,0.25,true\n",
        "Timestamp;Price;Amount;Side\n2023-11-14T22:13:21Z;101;0,25;SELL\n2023-11-14T22:13:20Z;100;0,5;BUY\n",
        "symbol,price,quantity,time,side\nBTC-PERP,100,0.5,1700000000,B\nBTC-PERP,101,0.25,1700000001,A\n",
    ] {
        let mut market = open_bytes(text.as_bytes()).unwrap_or_else(|e| panic!("{text}\n{e}"));
        assert_eq!(trades(&mut market, 2), ["BTC 100 0.5 true", "BTC 101 0.25 false"], "{text}");
    }
}

#[test]
fn several_coins_cheap_coins_and_gzip() {
    let text = "time,symbol,open,high,low,close\n1700000000,BTCUSDT,100,110,90,105\n1700000000,PEPEUSDT,0.0000016,0.0000017,1.5e-06,0.0000016\n";
    let mut pack = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    pack.write_all(text.as_bytes()).unwrap();
    let mut market = open_bytes(&pack.finish().unwrap()).unwrap();
    let coins: Vec<_> = market.coins().iter().map(|c| (c.name.clone(), c.sz_decimals)).collect();
    assert_eq!(coins, [("BTC".to_string(), 3), ("kPEPE".to_string(), 0)]);
    assert!(trades(&mut market, 8).iter().any(|t| t.starts_with("kPEPE 0.0016 ")), "quoted by the thousand");
}

#[test]
fn a_gap_in_a_feed_empties_the_book() {
    let depth = |first: u64, last: u64, before: u64, ms: u64| {
        format!(
            "{{\"e\":\"depthUpdate\",\"E\":{ms},\"s\":\"BTCUSDT\",\"U\":{first},\"u\":{last},\"pu\":{before},\"b\":[[\"100\",\"{last}\"]],\"a\":[]}}\n"
        )
    };
    let mut text = depth(1, 5, 0, 1_700_000_000_000);
    text += "{\"lastUpdateId\":4,\"E\":1700000000100,\"bids\":[[\"99\",\"1\"]],\"asks\":[[\"102\",\"1\"]]}\n";
    text += &depth(6, 7, 5, 1_700_000_000_300);
    text += &depth(9, 9, 8, 1_700_000_000_500);
    let events = checked(&mut open_bytes(text.as_bytes()).unwrap(), 4);
    let books: Vec<(usize, usize)> = events
        .iter()
        .filter_map(|e| match &e.kind {
            MarketKind::Book { bids, asks } => Some((bids.len(), asks.len())),
            MarketKind::Trade { .. } | MarketKind::Mark { .. } => None,
        })
        .collect();
    assert_eq!(books, [(2, 1), (2, 1), (0, 0)]);
}
