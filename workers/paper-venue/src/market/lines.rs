//! Recorded socket messages, one a line, with or without the nanosecond of receipt before them: the venue's own
//! `l2Book` and `trades`, and Binance's depth, trade and best-price streams.
//!
//! The same decoder runs twice: once over the whole file when it is opened, so that every fault is found before
//! anything starts, and then line by line while the market plays, so that memory stays the size of the text.

use std::collections::VecDeque;

use serde::Deserialize;

use super::depth::{LEVELS, Rung};
use super::error::{Fault, Place};
use super::feedbook::{Change, FeedBook, Update};
use super::json::{self, L2Book, coin, price, side, size, typed};
use super::names::DEFAULT_COIN;
use super::tape::{JITTER_MS, Names, Print, TICK_GAP_MAX_MS, Tape, middle};

/// Books of one coin are shown no more often than this, in scenario milliseconds.
const BOOK_EVERY_MS: u64 = 100;
/// Levels taken from a rebuilt book before they are put on the venue's coarser grid.
const DEEP: usize = LEVELS * 20;

/// What a recorded line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Book { coin: usize, bids: Vec<Rung>, asks: Vec<Rung> },
    Print(Print),
}

#[derive(Deserialize)]
struct Outer {
    channel: Option<String>,
    stream: Option<String>,
    e: Option<String>,
    #[serde(rename = "lastUpdateId")]
    last_update_id: Option<u64>,
}

#[derive(Deserialize)]
struct Wrap<T> {
    data: T,
}

#[derive(Deserialize)]
struct VenueTrade {
    coin: String,
    px: String,
    sz: String,
    side: String,
    time: u64,
}

#[derive(Deserialize)]
struct DepthUpdate {
    #[serde(rename = "E")]
    event_ms: u64,
    s: String,
    #[serde(rename = "U")]
    first: u64,
    u: u64,
    pu: Option<u64>,
    b: Vec<(String, String)>,
    a: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Snapshot {
    #[serde(rename = "lastUpdateId")]
    id: u64,
    #[serde(rename = "E")]
    event_ms: Option<u64>,
    bids: Vec<(String, String)>,
    asks: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct FeedTrade {
    #[serde(rename = "E")]
    event_ms: u64,
    s: String,
    p: String,
    q: String,
    m: bool,
}

#[derive(Deserialize)]
struct Ticker {
    #[serde(rename = "E")]
    event_ms: Option<u64>,
    s: String,
    b: String,
    #[serde(rename = "B")]
    bid_sz: String,
    a: String,
    #[serde(rename = "A")]
    ask_sz: String,
}

/// The state needed to understand a recording, line after line.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    names: Names,
    books: Vec<FeedBook>,
    /// Coins whose book comes from differences, so that best-price messages are not needed.
    has_depth: Vec<bool>,
    shown_ms: Vec<Option<u64>>,
    first_ms: Option<u64>,
    seen_ms: u64,
    now_ms: u64,
    pub(super) out: VecDeque<(u64, Said)>,
}

impl Decoder {
    /// A decoder that knows which coins have a full book (from the first pass), with its names in the same order.
    pub(super) fn knowing(names: Vec<String>, has_depth: Vec<bool>) -> Self {
        let n = names.len();
        Self {
            names: Names(names),
            books: vec![FeedBook::new(); n],
            has_depth,
            shown_ms: vec![None; n],
            ..Self::default()
        }
    }

    /// Understands one line and appends what it says to `out`. Messages of no interest (acknowledgements, other
    /// channels) say nothing.
    ///
    /// # Errors
    /// [`Fault`] naming the line, for anything malformed.
    pub(super) fn line(&mut self, number: usize, line: &str) -> Result<(), Fault> {
        let at = Place::Line(number);
        let line = line.trim();
        let (received_ns, body) = match line.split_once(' ') {
            Some((ns, body)) if !ns.is_empty() && ns.bytes().all(|b| b.is_ascii_digit()) => {
                (Some(ns.parse::<u64>().map_err(|_| Fault::bad(at, "a receive time in ns", ns))?), body)
            }
            _ => (None, line),
        };
        if body.is_empty() || body == "Websocket connection established." {
            return Ok(());
        }
        // A fault in the JSON knows its line within the message; the user wants the line of the file.
        let here = |fault: Fault| {
            if let Fault::Bad { expected, found, .. } = fault { Fault::Bad { at, expected, found } } else { fault }
        };
        let outer: Outer = serde_json::from_str(body).map_err(|error| {
            if error.is_eof() {
                Fault::wrong(at, "a whole message", "half a line (is the file cut off?)")
            } else {
                Fault::bad(at, "a recorded JSON message", body)
            }
        })?;
        self.message(at, received_ns.map(|ns| ns / 1_000_000), body, &outer).map_err(here)
    }

    fn message(&mut self, at: Place, received: Option<u64>, body: &str, outer: &Outer) -> Result<(), Fault> {
        if let Some(channel) = &outer.channel {
            return match channel.as_str() {
                "l2Book" => self.venue_book(at, received, &typed::<Wrap<L2Book>>(body)?.data),
                "trades" => self.venue_trades(at, received, &typed::<Wrap<Vec<VenueTrade>>>(body)?.data),
                _ => Ok(()),
            };
        }
        if outer.last_update_id.is_some() {
            return self.snapshot(at, received, &typed(body)?);
        }
        let wrapped = outer.stream.is_some();
        let kind = outer.stream.as_deref().and_then(|s| s.split('@').nth(1)).or(outer.e.as_deref()).unwrap_or("");
        match kind {
            "depth" | "depthUpdate" => {
                let update = if wrapped { typed::<Wrap<DepthUpdate>>(body)?.data } else { typed(body)? };
                self.depth(at, received, &update)
            }
            "trade" | "aggTrade" => {
                let trade: FeedTrade = if wrapped { typed::<Wrap<FeedTrade>>(body)?.data } else { typed(body)? };
                self.feed_trade(at, received, &trade)
            }
            "bookTicker" => {
                let ticker: Ticker = if wrapped { typed::<Wrap<Ticker>>(body)?.data } else { typed(body)? };
                self.ticker(at, received, &ticker)
            }
            _ => Ok(()),
        }
    }

    /// Scenario time of a message: never backwards, silences cut short; far out of order is refused.
    fn tick(&mut self, at: Place, ms: Option<u64>) -> Result<u64, Fault> {
        let ms = ms.ok_or_else(|| Fault::wrong(at, "a time, in the message or before it", "none"))?;
        if self.first_ms.is_none() {
            self.first_ms = Some(ms);
            self.seen_ms = ms;
        }
        if ms.saturating_add(JITTER_MS) < self.seen_ms {
            return Err(Fault::wrong(at, "messages in order of time", "a time out of order"));
        }
        self.now_ms = self.now_ms.saturating_add(ms.saturating_sub(self.seen_ms).min(TICK_GAP_MAX_MS));
        self.seen_ms = self.seen_ms.max(ms);
        Ok(self.now_ms)
    }

    fn coin(&mut self, at: Place, symbol: &str) -> Result<usize, Fault> {
        let index = self.names.index(&coin(symbol, at)?, at)?;
        let n = self.names.0.len();
        self.books.resize_with(n, FeedBook::new);
        self.has_depth.resize(n, false);
        self.shown_ms.resize(n, None);
        Ok(index)
    }

    fn venue_book(&mut self, at: Place, received: Option<u64>, book: &L2Book) -> Result<(), Fault> {
        let now = self.tick(at, received.or(book.time))?;
        let (name, bids, asks) = book.parts(at)?;
        let coin = self.coin(at, &name)?;
        self.out.push_back((now, Said::Book { coin, bids, asks }));
        Ok(())
    }

    fn venue_trades(&mut self, at: Place, received: Option<u64>, trades: &[VenueTrade]) -> Result<(), Fault> {
        for trade in trades {
            let at_ms = self.tick(at, received.or(Some(trade.time)))?;
            let coin = self.coin(at, &trade.coin)?;
            let (px, sz, buy) = (price(&trade.px, at)?, size(&trade.sz, at)?, side(&trade.side, at)?);
            self.out.push_back((at_ms, Said::Print(Print { at_ms, coin, px, sz, buy })));
        }
        Ok(())
    }

    fn feed_trade(&mut self, at: Place, received: Option<u64>, trade: &FeedTrade) -> Result<(), Fault> {
        let at_ms = self.tick(at, received.or(Some(trade.event_ms)))?;
        let coin = self.coin(at, &trade.s)?;
        // Settlements of the venue's own insurance fund are printed with a price of zero: not trades.
        if trade.p == "0" && trade.q == "0" {
            return Ok(());
        }
        let (px, sz) = (price(&trade.p, at)?, size(&trade.q, at)?);
        self.out.push_back((at_ms, Said::Print(Print { at_ms, coin, px, sz, buy: !trade.m })));
        Ok(())
    }

    fn depth(&mut self, at: Place, received: Option<u64>, update: &DepthUpdate) -> Result<(), Fault> {
        let now = self.tick(at, received.or(Some(update.event_ms)))?;
        let coin = self.coin(at, &update.s)?;
        let (bids, asks) = (json::pairs(&update.b, at)?, json::pairs(&update.a, at)?);
        let update = Update { first: update.first, last: update.u, previous: update.pu, bids, asks };
        let change = self.books.get_mut(coin).map_or(Change::None, |b| b.update(update));
        self.show(now, coin, change);
        Ok(())
    }

    fn snapshot(&mut self, at: Place, received: Option<u64>, snapshot: &Snapshot) -> Result<(), Fault> {
        let now = self.tick(at, received.or(snapshot.event_ms))?;
        let (bids, asks) = (json::pairs(&snapshot.bids, at)?, json::pairs(&snapshot.asks, at)?);
        if self.books.is_empty() {
            self.coin(at, DEFAULT_COIN)?;
        }
        // A snapshot does not name its symbol: it belongs to the book whose update ids it is closest to.
        let nearest = (0..self.books.len()).min_by_key(|i| self.books.get(*i).map(|b| b.distance(snapshot.id)));
        let Some(coin) = nearest else { return Ok(()) };
        if let Some(known) = self.has_depth.get_mut(coin) {
            *known = true;
        }
        let change = self.books.get_mut(coin).map_or(Change::None, |b| b.snapshot(snapshot.id, &bids, &asks));
        self.show(now, coin, change);
        Ok(())
    }

    fn ticker(&mut self, at: Place, received: Option<u64>, ticker: &Ticker) -> Result<(), Fault> {
        let now = self.tick(at, received.or(ticker.event_ms))?;
        let coin = self.coin(at, &ticker.s)?;
        let bid = (price(&ticker.b, at)?, size(&ticker.bid_sz, at)?, 1);
        let ask = (price(&ticker.a, at)?, size(&ticker.ask_sz, at)?, 1);
        if !self.has_depth.get(coin).copied().unwrap_or(false) && bid.0 < ask.0 && self.due(now, coin) {
            self.out.push_back((now, Said::Book { coin, bids: vec![bid], asks: vec![ask] }));
        }
        Ok(())
    }

    fn show(&mut self, now: u64, coin: usize, change: Change) {
        let book = match change {
            Change::None => return,
            // No book is better than a wrong one.
            Change::Lost => Some((Vec::new(), Vec::new())),
            Change::Whole if !self.due(now, coin) => return,
            Change::Whole => self.books.get(coin).and_then(|b| b.top(DEEP)),
        };
        if let Some((bids, asks)) = book {
            self.out.push_back((now, Said::Book { coin, bids, asks }));
        }
    }

    fn due(&mut self, now: u64, coin: usize) -> bool {
        let Some(shown) = self.shown_ms.get_mut(coin) else { return false };
        let due = shown.is_none_or(|then| now >= then + BOOK_EVERY_MS);
        if due {
            *shown = Some(now);
        }
        due
    }
}

/// The first pass: checks every line and learns which coins there are.
pub(super) fn survey(text: String) -> Result<Tape, Fault> {
    let mut decoder = Decoder::default();
    let mut books: Vec<bool> = Vec::new();
    let mut samples: Vec<Vec<i64>> = Vec::new();
    let mut seen = 0_usize;
    for (i, line) in text.lines().enumerate() {
        decoder.line(i + 1, line)?;
        while let Some((_, said)) = decoder.out.pop_front() {
            seen += 1;
            let (coin, px, is_book) = match &said {
                Said::Book { coin, bids, .. } => (*coin, bids.first().map(|b| b.0), true),
                Said::Print(print) => (print.coin, Some(print.px), false),
            };
            let n = decoder.names.0.len();
            books.resize(n, false);
            samples.resize_with(n, Vec::new);
            if let Some(book) = books.get_mut(coin) {
                *book |= is_book;
            }
            // A few hundred prices are plenty to know what a coin costs.
            if let (Some(list), Some(px)) = (samples.get_mut(coin).filter(|l| l.len() < 500), px) {
                list.push(px);
            }
        }
    }
    if seen == 0 {
        return Err(Fault::Unknown {
            found: "messages without any trade, and without a book that can be rebuilt".into(),
        });
    }
    let n = decoder.names.0.len();
    books.resize(n, false);
    samples.resize_with(n, Vec::new);
    let typical: Vec<i64> = samples.into_iter().map(middle).collect();
    if let Some(silent) = typical.iter().position(|px| *px == 0) {
        let name = decoder.names.0.get(silent).map_or("", String::as_str);
        return Err(Fault::Unknown { found: format!("{name} has depth updates but no snapshot to start them from") });
    }
    let with_depth = decoder.has_depth;
    // The second pass knows more and therefore says less: it must still say something, or playing would never end.
    let mut again = Decoder::knowing(decoder.names.0.clone(), with_depth.clone());
    let mut lines = text.lines().enumerate();
    while again.out.is_empty() {
        let Some((i, line)) = lines.next() else {
            return Err(Fault::Unknown { found: "messages whose book stays crossed".into() });
        };
        again.line(i + 1, line)?;
    }
    Ok(Tape::Lines { names: decoder.names.0, text, with_book: books, with_depth, typical, seen })
}
