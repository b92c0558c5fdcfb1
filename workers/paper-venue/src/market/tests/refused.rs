//! Files that must be refused, with the words the user reads.

use std::path::PathBuf;

use super::super::rng::Rng;
use super::super::{Market, MarketError, MarketSource};
use super::{open_bytes, sample};

fn words(result: Result<Market, MarketError>) -> String {
    let error = result.map(|m| m.describe().to_string()).expect_err("must be refused");
    assert!(!error.advice().is_empty());
    let text = error.to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    // Without the path, which is another on every run.
    text.split_once("/market: ").map_or(text.clone(), |(_, rest)| rest.to_string())
}

#[test]
fn bad_files_are_refused_in_words() {
    let head = "time,open,high,low,close,volume\n1700000000,100,110,90,105,7\n";
    let with = |row: &str| format!("{head}{row}\n").into_bytes();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "is empty: it has no bytes"),
        (b" \n\n".to_vec(), "is empty: it holds only white space"),
        (b"time,open,high,low,close\n".to_vec(), "is empty: it has a header and no rows"),
        (b"[]".to_vec(), "is empty: an empty JSON array"),
        (with("1700000060,100,110,90"), "line 3: expected as many fields as the header has, found 4 of 6 (is the file cut off?)"),
        (with("1700000060,-1,110,90,105,7"), "line 3: expected a price above zero, as a plain decimal, found '-1'"),
        (with("1700000060,0,110,90,105,7"), "line 3: expected a price above zero, as a plain decimal, found '0'"),
        (with("1700000060,NaN,110,90,105,7"), "line 3: expected a price above zero, as a plain decimal, found 'NaN'"),
        (with("1700000060,inf,110,90,105,7"), "line 3: expected a price above zero, as a plain decimal, found 'inf'"),
        (with("1700000060,100,110,90,105,-7"), "line 3: expected a size that is not negative, as a plain decimal, found '-7'"),
        (with("1700000060,100,99,90,105,7"), "line 3: expected low <= open, close <= high, found prices that contradict each other"),
        (with("tomorrow,100,110,90,105,7"), "line 3: expected a time (epoch s, ms, us or ns, or YYYY-MM-DD HH:MM:SS), found 'tomorrow'"),
        (with("1700000060,1,1,1,1,1\n1700000030,1,1,1,1,1"), "line 4: expected rows in order of time, each candle once, found a time out of order"),
        (with("1700000000,1,1,1,1,1"), "line 3: expected rows in order of time, each candle once, found a time out of order"),
        (b"price,size,time,side\n1,1,1700000000,up\n".to_vec(), "line 2: expected a side: buy or sell, found 'up'"),
        (b"price,size,time\n1,1,1700000000\n1,1,1600000000\n1,1,1700000009\n".to_vec(), "line 3: expected rows in order of time, found a time out of order"),
        (b"hello world\n".to_vec(), "holds no candles, trades or order books that are known here: it begins with 'hello world'"),
        (b"name,age\nx,1\n".to_vec(), "holds no candles, trades or order books that are known here: it begins with 'name,age'"),
        (b"\x00\xff\xfe".to_vec(), "holds no candles, trades or order books that are known here: it is not text"),
        (b"PK\x03\x04zip".to_vec(), "holds no candles, trades or order books that are known here: it is a zip archive: unpack it first"),
        (b"{\"a\":1".to_vec(), "is damaged or cut off: the JSON ends early, in line 1"),
        (b"{\"a\":1}".to_vec(), "holds no candles, trades or order books that are known here: a JSON object of another kind"),
        (b"[{\"t\":1,\"o\":\"1\",\"h\":\"1\",\"l\":\"1\",\"c\":\"-1\"}]".to_vec(), "entry 1: expected a price above zero, as a plain decimal, found '-1'"),
        (b"1700000000000000000 {\"channel\":\"trades\",\"data\":[{\"coin\"".to_vec(), "line 1: expected a whole message, found half a line (is the file cut off?)"),
        (b"1700000000000000000 {\"channel\":\"pong\"}\n".to_vec(), "holds no candles, trades or order books that are known here: messages without any trade, and without a book that can be rebuilt"),
        (b"{\"coin\":\"BTC\",\"time\":1,\"levels\":[[{\"px\":\"2\",\"sz\":\"1\",\"n\":1}],[{\"px\":\"1\",\"sz\":\"1\",\"n\":1}]]}".to_vec(), "expected a book that is best first and not crossed, found crossed"),
        (b"{\"coin\":\"BTC\",\"time\":1,\"levels\":[[],[]]}".to_vec(), "is empty: a book without a level"),
    ];
    for (bytes, want) in cases {
        assert_eq!(words(open_bytes(&bytes)), want, "{:?}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn half_a_gzip_and_missing_files_and_directories() {
    let whole = std::fs::read(sample("feed-btcusdt.txt.gz")).unwrap();
    assert!(words(open_bytes(&whole[..whole.len() / 2])).starts_with("is damaged or cut off: gzip: "));
    let at = |path: PathBuf| Market::open(&MarketSource::File { path });
    assert!(words(at(sample("nowhere.csv"))).contains("cannot be read: "));
    assert!(words(at(sample(""))).ends_with("cannot be read: it is a directory"));
    assert!(words(at(sample("not-a-market.json"))).ends_with("a JSON object of another kind"));
}

/// Wherever a recording is cut, the answer is a market or a refusal in words, never a crash and never silence.
#[test]
fn a_cut_anywhere_is_a_market_or_a_refusal() {
    for name in ["candles-btc-1m.csv", "candles-kpepe-1h.json", "trades-atom-flash.csv", "socket-btc.txt", "fills.json"]
    {
        let whole = std::fs::read(sample(name)).unwrap();
        for cut in (0..whole.len()).step_by(whole.len() / 60) {
            if let Ok(mut market) = open_bytes(&whole[..cut]) {
                super::checked(&mut market, 50);
            }
        }
    }
}

/// Bytes flipped at random: still a market with legal prices, or a refusal.
#[test]
fn noise_is_a_market_or_a_refusal() {
    let mut rng = Rng::new(5, "noise");
    for name in [
        "candles-btc-1m.csv",
        "candles-kpepe-1h.json",
        "trades-atom-flash.csv",
        "socket-btc.txt",
        "fills.json",
        "book-dydx.json",
    ] {
        let whole = std::fs::read(sample(name)).unwrap();
        for _ in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..rng.range(1, 4) {
                let at = usize::try_from(rng.range(0, bytes.len() as i64 - 1)).unwrap();
                bytes[at] = b"0123456789.,-e\n\"{}[];: \xff"[usize::try_from(rng.range(0, 23)).unwrap()];
            }
            if let Ok(mut market) = open_bytes(&bytes) {
                super::checked(&mut market, 100);
            }
        }
    }
}

/// The largest and smallest prices and sizes that are taken, side by side: legal events and no overflow.
#[test]
fn extremes_are_played_or_refused() {
    for text in [
        "time,open,high,low,close,volume\n1,100000000,100000000,100000000,100000000,99999999999999999999\n2,0.0000000001,0.0000000001,0.0000000001,0.0000000001,0\n",
        "time,open,high,low,close\n1,0.0000000001,0.0000000001,0.0000000001,0.0000000001\n2,0.0000000001,0.0000000001,0.0000000001,0.0000000001\n3,100000000,100000000,100000000,100000000\n",
        "time,price,size\n1,0.0000000001,10000000000\n2,100000000,10000000000\n3,0.0000001,0.00000001\n9999999999999999999,5,0\n",
        "time,open,high,low,close\n0,1,100000000,0.0000000001,1\n",
    ] {
        match open_bytes(text.as_bytes()) {
            Ok(mut market) => drop(super::checked(&mut market, 3_000)),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(open_bytes(b"time,price,size\n1,100000001,1\n").is_err());
}

#[test]
fn more_than_we_hold_is_refused() {
    let mut pack = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let block = vec![b'1'; 1 << 20];
    for _ in 0..257 {
        std::io::Write::write_all(&mut pack, &block).unwrap();
    }
    assert_eq!(words(open_bytes(&pack.finish().unwrap())), "is larger than 256 MiB once unpacked");
}
