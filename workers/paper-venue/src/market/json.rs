//! JSON documents: candle and fill arrays and single books as the venue answers them, and the candle arrays of
//! Binance's REST interface. Prices must be strings: a JSON number is a binary float to most programs that wrote it.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::bars::Bar;
use super::csv::check;
use super::depth::Rung;
use super::error::{Fault, Place};
use super::names::{DEFAULT_COIN, coin_of};
use super::number::{self, WANT_PRICE, WANT_SIZE};
use super::tape::{self, Names, Print, Row, Tape};

#[derive(Deserialize)]
struct Candle<'a> {
    t: u64,
    #[serde(borrow)]
    s: Option<&'a str>,
    o: &'a str,
    h: &'a str,
    l: &'a str,
    c: &'a str,
    v: Option<&'a str>,
}

#[derive(Deserialize)]
struct Fill<'a> {
    #[serde(borrow)]
    coin: &'a str,
    px: &'a str,
    sz: &'a str,
    side: &'a str,
    time: u64,
}

/// One level of a book on this venue.
#[derive(Deserialize)]
pub(super) struct Level {
    px: String,
    sz: String,
    #[serde(default)]
    n: u32,
}

/// A book on this venue.
#[derive(Deserialize)]
pub(super) struct L2Book {
    pub(super) coin: String,
    pub(super) levels: (Vec<Level>, Vec<Level>),
    pub(super) time: Option<u64>,
}

/// A book as Binance gives it over REST.
#[derive(Deserialize)]
struct Depth {
    bids: Vec<(String, String)>,
    asks: Vec<(String, String)>,
}

/// The keys that tell one document from another.
#[derive(Deserialize)]
struct Peek {
    t: Option<IgnoredAny>,
    o: Option<IgnoredAny>,
    px: Option<IgnoredAny>,
    side: Option<IgnoredAny>,
    levels: Option<IgnoredAny>,
    bids: Option<IgnoredAny>,
    channel: Option<IgnoredAny>,
    stream: Option<IgnoredAny>,
    e: Option<IgnoredAny>,
}

type Kline<'a> = (u64, &'a str, &'a str, &'a str, &'a str, &'a str);

/// Whether one document is one message of a recorded feed.
pub(super) fn is_message(text: &str) -> bool {
    serde_json::from_str::<Peek>(text).is_ok_and(|p| p.channel.is_some() || p.stream.is_some() || p.e.is_some())
}

/// Reads one whole document.
pub(super) fn read(text: &str) -> Result<Tape, Fault> {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return Err(if error.is_eof() {
            Fault::Damaged { detail: format!("the JSON ends early, in line {}", error.line()) }
        } else {
            Fault::wrong(Place::Line(error.line()), "well-formed JSON", "something else")
        });
    }
    if text.starts_with('{') { object(text) } else { array(text) }
}

fn object(text: &str) -> Result<Tape, Fault> {
    let peek: Peek = typed(text)?;
    if peek.levels.is_some() {
        let book: L2Book = typed(text)?;
        let (name, bids, asks) = book.parts(Place::Whole)?;
        return Ok(Tape::Still { name, bids, asks });
    }
    if peek.bids.is_some() {
        let depth: Depth = typed(text)?;
        let (bids, asks) = (pairs(&depth.bids, Place::Whole)?, pairs(&depth.asks, Place::Whole)?);
        ordered(&bids, &asks, Place::Whole)?;
        return Ok(Tape::Still { name: DEFAULT_COIN.to_string(), bids, asks });
    }
    Err(Fault::Unknown { found: "a JSON object of another kind".to_string() })
}

fn array(text: &str) -> Result<Tape, Fault> {
    if text.get(1..).is_some_and(|rest| rest.trim_start().starts_with('[')) {
        return klines(text);
    }
    let Ok(peeks) = serde_json::from_str::<Vec<Peek>>(text) else {
        return Err(Fault::Unknown { found: "a JSON array of something else".to_string() });
    };
    let Some(first) = peeks.first() else {
        return Err(Fault::Empty { detail: "an empty JSON array" });
    };
    if first.t.is_some() && first.o.is_some() {
        candles(text)
    } else if first.px.is_some() && first.side.is_some() {
        fills(text)
    } else {
        Err(Fault::Unknown { found: "a JSON array of other things".to_string() })
    }
}

fn candles(text: &str) -> Result<Tape, Fault> {
    let mut names = Names::default();
    let mut rows: Vec<Vec<Row<Bar>>> = Vec::new();
    for (i, candle) in typed::<Vec<Candle<'_>>>(text)?.iter().enumerate() {
        let at = Place::Entry(i + 1);
        let coin = names.index(&coin(candle.s.unwrap_or(DEFAULT_COIN), at)?, at)?;
        let bar = Bar {
            at_ms: candle.t,
            open: price(candle.o, at)?,
            high: price(candle.h, at)?,
            low: price(candle.l, at)?,
            close: price(candle.c, at)?,
            volume: volume(candle.v.unwrap_or("0"), at)?,
        };
        check(&bar, at)?;
        rows.resize_with(names.0.len(), Vec::new);
        if let Some(of_coin) = rows.get_mut(coin) {
            of_coin.push(Row { at, value: bar });
        }
    }
    tape::bars(names, rows)
}

fn klines(text: &str) -> Result<Tape, Fault> {
    /// The first six of twelve fields; the rest is skipped.
    struct Six<'a>(Kline<'a>);
    impl<'de> Deserialize<'de> for Six<'de> {
        fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            struct Seq;
            impl<'de> serde::de::Visitor<'de> for Seq {
                type Value = Six<'de>;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("[open time, \"open\", \"high\", \"low\", \"close\", \"volume\", …]")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Six<'de>, A::Error> {
                    let at = seq.next_element()?;
                    let mut texts = [""; 5];
                    for text in &mut texts {
                        *text = seq.next_element()?.ok_or_else(|| serde::de::Error::invalid_length(1, &self))?;
                    }
                    while seq.next_element::<IgnoredAny>()?.is_some() {}
                    let [o, h, l, c, v] = texts;
                    at.map(|t| Six((t, o, h, l, c, v))).ok_or_else(|| serde::de::Error::invalid_length(0, &self))
                }
            }
            d.deserialize_seq(Seq)
        }
    }
    let mut names = Names::default();
    let mut rows = Vec::new();
    for (i, Six((t, o, h, l, c, v))) in typed::<Vec<Six<'_>>>(text)?.into_iter().enumerate() {
        let at = Place::Entry(i + 1);
        names.index(DEFAULT_COIN, at)?;
        let (open, high, low, close) = (price(o, at)?, price(h, at)?, price(l, at)?, price(c, at)?);
        let bar = Bar { at_ms: t, open, high, low, close, volume: volume(v, at)? };
        check(&bar, at)?;
        rows.push(Row { at, value: bar });
    }
    tape::bars(names, vec![rows])
}

fn fills(text: &str) -> Result<Tape, Fault> {
    let mut names = Names::default();
    let mut rows = Vec::new();
    for (i, fill) in typed::<Vec<Fill<'_>>>(text)?.iter().enumerate() {
        let at = Place::Entry(i + 1);
        let coin = names.index(&coin(fill.coin, at)?, at)?;
        let (px, sz, buy) = (price(fill.px, at)?, size(fill.sz, at)?, side(fill.side, at)?);
        rows.push(Row { at, value: Print { at_ms: fill.time, coin, px, sz, buy } });
    }
    tape::prints(names, rows)
}

impl L2Book {
    /// Coin, bids and asks, checked: ordered and not crossed.
    pub(super) fn parts(&self, at: Place) -> Result<(String, Vec<Rung>, Vec<Rung>), Fault> {
        let side = |levels: &[Level]| {
            levels.iter().map(|l| Ok((price(&l.px, at)?, size(&l.sz, at)?, l.n))).collect::<Result<Vec<Rung>, Fault>>()
        };
        let (bids, asks) = (side(&self.levels.0)?, side(&self.levels.1)?);
        ordered(&bids, &asks, at)?;
        Ok((coin(&self.coin, at)?, bids, asks))
    }
}

/// Refuses a book whose sides are not best first, or that is crossed.
fn ordered(bids: &[Rung], asks: &[Rung], at: Place) -> Result<(), Fault> {
    let falls = bids.windows(2).all(|w| w[0].0 > w[1].0);
    let rises = asks.windows(2).all(|w| w[0].0 < w[1].0);
    let crossed = bids.first().zip(asks.first()).is_some_and(|(b, a)| b.0 >= a.0);
    if falls && rises && !crossed {
        Ok(())
    } else {
        Err(Fault::wrong(
            at,
            "a book that is best first and not crossed",
            if crossed { "crossed" } else { "unordered" },
        ))
    }
}

/// Price and size pairs as a side of a book.
pub(super) fn pairs(pairs: &[(String, String)], at: Place) -> Result<Vec<Rung>, Fault> {
    pairs.iter().map(|(px, sz)| Ok((price(px, at)?, size(sz, at)?, 1))).collect()
}

pub(super) fn typed<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::Bad {
        at: Place::Line(error.line()),
        expected: "the fields of this kind of record, numbers as strings",
        found: error.to_string().chars().take(120).collect(),
    })
}

pub(super) fn coin(text: &str, at: Place) -> Result<String, Fault> {
    coin_of(text).ok_or_else(|| Fault::bad(at, "a coin name", text))
}

pub(super) fn price(text: &str, at: Place) -> Result<i64, Fault> {
    number::price(text).ok_or_else(|| Fault::bad(at, WANT_PRICE, text))
}

pub(super) fn size(text: &str, at: Place) -> Result<i64, Fault> {
    number::size(text).ok_or_else(|| Fault::bad(at, WANT_SIZE, text))
}

fn volume(text: &str, at: Place) -> Result<i64, Fault> {
    let value = number::scaled(text, 4).filter(|v| *v >= 0).ok_or_else(|| Fault::bad(at, WANT_SIZE, text))?;
    Ok(i64::try_from(value).unwrap_or(i64::MAX / 1_000_000))
}

pub(super) fn side(text: &str, at: Place) -> Result<bool, Fault> {
    match text {
        "B" => Ok(true),
        "A" => Ok(false),
        _ => Err(Fault::bad(at, "side B or A", text)),
    }
}
