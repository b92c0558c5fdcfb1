//! Tables: candles or trades with whatever header a user brings.
//!
//! Columns are found by name, in any order; delimiter is comma, semicolon, tab or bar; fields may be quoted. Without a
//! header only the well-known twelve-column (or five- and six-column) candle layout is taken. Every row is checked:
//! a row with fewer fields than the header means a file that was cut off, and is refused.

use super::bars::Bar;
use super::error::{Fault, Place, quoted};
use super::instant::{self, WANT_TIME};
use super::names::{DEFAULT_COIN, coin_of, coin_of_column};
use super::number::{self, Fx, WANT_PRICE, WANT_SIZE};
use super::tape::{self, Names, Print, Row, Tape};

const TIME: [&str; 20] = [
    "timestamp",
    "open_time",
    "opentime",
    "unix",
    "unix_timestamp",
    "datetime",
    "date_time",
    "time_utc",
    "timestamp_ms",
    "time_ms",
    "ts",
    "gmt_time",
    "snapped_at",
    "trade_time",
    "transact_time",
    "date",
    "time",
    "start",
    "epoch",
    "t",
];
const SYMBOL: [&str; 7] = ["symbol", "pair", "coin", "ticker", "instrument", "market", "s"];
const PRICE: [&str; 5] = ["price", "px", "rate", "trade_price", "p"];
const SIZE: [&str; 8] = ["size", "sz", "qty", "quantity", "amount", "volume", "vol", "q"];
const SIDE: [&str; 5] = ["side", "taker_side", "aggressor", "direction", "type"];
const MAKER: [&str; 5] = ["buyer_is_maker", "is_buyer_maker", "isbuyermaker", "buyer_maker", "m"];

/// Where the columns are.
#[derive(Debug, Default)]
struct Columns {
    time: usize,
    /// A second column with the time of day, when the first holds only the date.
    clock: Option<usize>,
    symbol: Option<usize>,
    count: usize,
    coin: Option<String>,
    rows: Kind,
}

#[derive(Debug, Default)]
enum Kind {
    Candles {
        ohlc: [usize; 4],
        volume: Option<usize>,
    },
    Trades {
        price: usize,
        size: usize,
        side: Option<usize>,
        maker: Option<usize>,
    },
    #[default]
    Neither,
}

/// Reads a table; `Fault::Unknown` if it is not one of candles or trades.
pub(super) fn read(text: &str) -> Result<Tape, Fault> {
    let mut first = "";
    // A few lines of comment, or the address of a data vendor, may stand above the header.
    for (i, line) in text.lines().take(10).enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if first.is_empty() {
            first = line;
        }
        let delimiter = delimiter_of(line);
        let fields = split(line, delimiter);
        if let Some(columns) = headerless(&fields) {
            return rows(text, i, delimiter, &columns);
        }
        if let Some(columns) = header(&fields) {
            return rows(text, i + 1, delimiter, &columns);
        }
    }
    Err(Fault::Unknown { found: format!("it begins with {}", quoted(first)) })
}

fn delimiter_of(line: &str) -> char {
    let count = |c: char| line.matches(c).count();
    [',', ';', '\t', '|'].into_iter().rev().max_by_key(|c| count(*c)).unwrap_or(',')
}

/// The fields of a line, trimmed and without their quotes.
fn split(line: &str, delimiter: char) -> Vec<&str> {
    let mut out = Vec::with_capacity(12);
    let mut from = 0;
    let mut inside = false;
    for (i, c) in line.char_indices() {
        if c == '"' {
            inside = !inside;
        } else if c == delimiter && !inside {
            out.push(line.get(from..i).unwrap_or(""));
            from = i + c.len_utf8();
        }
    }
    out.push(line.get(from..).unwrap_or(""));
    for field in &mut out {
        *field = field.trim().trim_matches('"').trim();
    }
    out
}

fn normal(field: &str) -> String {
    field.trim_matches(['<', '>', '\u{feff}']).trim().to_ascii_lowercase().replace([' ', '-'], "_")
}

fn header(fields: &[&str]) -> Option<Columns> {
    let names: Vec<String> = fields.iter().map(|f| normal(f)).collect();
    let one_of = |wanted: &[&str]| wanted.iter().find_map(|w| names.iter().position(|n| n == w));
    let begins = |prefix: &str| names.iter().position(|n| n.starts_with(prefix));
    let time = one_of(&TIME)
        .or_else(|| ["time", "date", "open_time"].iter().find_map(|p| begins(p)))
        // The index of a data frame is written without a name.
        .or_else(|| names.first().is_some_and(|n| n.is_empty() || n == "unnamed:_0").then_some(0))?;
    let clock = (names[time] == "date").then(|| names.iter().position(|n| n == "time")).flatten();
    let symbol = one_of(&SYMBOL);
    let coin = names.iter().find_map(|n| coin_of_column(n));
    let price_of = |word: &str, letter: &str| {
        let long = [word, letter].map(str::to_string).into_iter().chain(
            ["price", "px", "usd", "usdt"].iter().flat_map(|tag| [format!("{word}_{tag}"), format!("{tag}_{word}")]),
        );
        long.into_iter().find_map(|w| names.iter().position(|n| *n == w))
    };
    let ohlc = [price_of("open", "o"), price_of("high", "h"), price_of("low", "l"), price_of("close", "c")];
    let rows = if let [Some(o), Some(h), Some(l), Some(c)] = ohlc {
        let volume = one_of(&["volume", "vol", "v", "base_volume"]).or_else(|| begins("volume"));
        Kind::Candles { ohlc: [o, h, l, c], volume }
    } else {
        let price = one_of(&PRICE)?;
        let size =
            one_of(&SIZE).or_else(|| begins("quantity")).or_else(|| begins("qty")).or_else(|| begins("amount"))?;
        Kind::Trades { price, size, side: one_of(&SIDE), maker: one_of(&MAKER) }
    };
    Some(Columns { time, clock, symbol, count: names.len(), coin, rows })
}

/// Exchange archives without a header: open time, open, high, low, close, volume and more.
fn headerless(fields: &[&str]) -> Option<Columns> {
    let plausible = matches!(fields.len(), 5 | 6 | 12)
        && fields.iter().take(5).all(|f| number::scaled(f, 0).is_some())
        && fields.first().and_then(|f| instant::parse(f)).is_some_and(|ms| ms > 1_000_000_000);
    let volume = (fields.len() > 5).then_some(5);
    plausible.then(|| Columns {
        count: fields.len(),
        rows: Kind::Candles { ohlc: [1, 2, 3, 4], volume },
        ..Columns::default()
    })
}

fn rows(text: &str, skip: usize, delimiter: char, columns: &Columns) -> Result<Tape, Fault> {
    let mut names = Names::default();
    let mut candles: Vec<Vec<Row<Bar>>> = Vec::new();
    let mut prints: Vec<Row<Print>> = Vec::new();
    let mut before: Fx = 0;
    for (i, line) in text.lines().enumerate().skip(skip) {
        if line.trim().is_empty() {
            continue;
        }
        let at = Place::Line(i + 1);
        let fields = split(line, delimiter);
        if fields.len() < columns.count {
            return Err(Fault::Bad {
                at,
                expected: "as many fields as the header has",
                found: format!("{} of {} (is the file cut off?)", fields.len(), columns.count),
            });
        }
        let cell = |i: usize| Cell { at, text: fields.get(i).copied().unwrap_or(""), comma: delimiter != ',' };
        let at_ms = time(columns, cell)?;
        let coin = match columns.symbol.map(cell) {
            Some(cell) => {
                coin_of(cell.text).ok_or_else(|| Fault::bad(at, "a symbol such as BTC or BTCUSDT", cell.text))?
            }
            None => columns.coin.clone().unwrap_or_else(|| DEFAULT_COIN.to_string()),
        };
        let coin = names.index(&coin, at)?;
        match &columns.rows {
            Kind::Candles { ohlc, volume } => {
                let [open, high, low, close] = [ohlc[0], ohlc[1], ohlc[2], ohlc[3]].map(|i| cell(i).price());
                let volume = volume.map_or(Ok(0), |i| cell(i).volume())?;
                let bar = Bar { at_ms, open: open?, high: high?, low: low?, close: close?, volume };
                check(&bar, at)?;
                candles.resize_with(names.0.len().max(candles.len()), Vec::new);
                if let Some(of_coin) = candles.get_mut(coin) {
                    of_coin.push(Row { at, value: bar });
                }
            }
            Kind::Trades { price, size, side, maker } => {
                let px = cell(*price).price()?;
                let sz = cell(*size).size()?;
                // Some venues have an order type beside it that looks like a side: the maker flag is surer.
                let buy = match (maker, side) {
                    (Some(i), _) => !cell(*i).truth()?,
                    (None, Some(i)) => cell(*i).side()?,
                    // Without a side: a price above the last one was paid by a buyer.
                    (None, None) => px >= before,
                };
                before = px;
                prints.push(Row { at, value: Print { at_ms, coin, px, sz, buy } });
            }
            Kind::Neither => {}
        }
    }
    if names.0.is_empty() {
        return Err(Fault::Empty { detail: "it has a header and no rows" });
    }
    if prints.is_empty() { tape::bars(names, candles) } else { tape::prints(names, prints) }
}

fn time<'a>(columns: &Columns, cell: impl Fn(usize) -> Cell<'a>) -> Result<u64, Fault> {
    let first = cell(columns.time);
    let found = match columns.clock {
        Some(clock) if !first.text.contains(':') => instant::parse(&format!("{} {}", first.text, cell(clock).text)),
        _ => instant::parse(first.text),
    };
    found.ok_or_else(|| Fault::bad(first.at, WANT_TIME, first.text))
}

/// Whether the four prices of a candle can belong together.
pub(super) fn check(bar: &Bar, at: Place) -> Result<(), Fault> {
    let inside = |px: Fx| px >= bar.low && px <= bar.high;
    if inside(bar.open) && inside(bar.close) {
        Ok(())
    } else {
        Err(Fault::Bad {
            at,
            expected: "low <= open, close <= high",
            found: "prices that contradict each other".to_string(),
        })
    }
}

/// One field with what is needed to complain about it.
#[derive(Clone, Copy)]
struct Cell<'a> {
    at: Place,
    text: &'a str,
    /// Whether a comma can be a decimal point here.
    comma: bool,
}

impl Cell<'_> {
    fn read(self, wanted: &'static str, parse: impl Fn(&str) -> Option<i64>) -> Result<i64, Fault> {
        let point =
            (self.comma && self.text.contains(',') && !self.text.contains('.')).then(|| self.text.replace(',', "."));
        parse(point.as_deref().unwrap_or(self.text)).ok_or_else(|| Fault::bad(self.at, wanted, self.text))
    }

    fn price(self) -> Result<Fx, Fault> {
        self.read(WANT_PRICE, number::price)
    }

    fn size(self) -> Result<i64, Fault> {
        self.read(WANT_SIZE, number::size)
    }

    /// A volume is only used in comparison with others, so whole units do; an absent one counts as zero.
    fn volume(self) -> Result<i64, Fault> {
        if self.text.is_empty() {
            return Ok(0);
        }
        self.read(WANT_SIZE, |text| {
            number::scaled(text, 4).filter(|v| *v >= 0).map(|v| i64::try_from(v).unwrap_or(i64::MAX / 1_000_000))
        })
    }

    fn side(self) -> Result<bool, Fault> {
        match self.text.to_ascii_lowercase().as_str() {
            "buy" | "b" | "bid" | "long" | "buyer" | "1" => Ok(true),
            "sell" | "s" | "a" | "ask" | "short" | "seller" | "-1" => Ok(false),
            _ => Err(Fault::bad(self.at, "a side: buy or sell", self.text)),
        }
    }

    fn truth(self) -> Result<bool, Fault> {
        match self.text.to_ascii_lowercase().as_str() {
            "true" | "1" | "t" => Ok(true),
            "false" | "0" | "f" => Ok(false),
            _ => Err(Fault::bad(self.at, "True or False", self.text)),
        }
    }
}
