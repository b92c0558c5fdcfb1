//! The market behind the paper venue: an endless, deterministic stream of books, trades and marks.
//!
//! Guarantees: events come in order of scenario time and never end; the same source gives the same events on every
//! run and platform; there is no clock inside. Prices and sizes are legal on the venue, books are never crossed, and
//! the mark cannot be moved by one print. A file that cannot be understood is refused when it is opened, whole: once a
//! market is open it cannot fail.

mod bars;
mod bundled;
mod csv;
mod depth;
mod desk;
mod error;
mod feedbook;
mod garch;
mod grid;
mod instant;
mod json;
mod lines;
mod load;
mod mark;
mod names;
mod number;
mod play;
mod rng;
mod tape;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::PathBuf;

use holdfast_core::money::{Px, Sz};

pub use error::{Fault, MarketError, Place};

use desk::Desk;
use mark::Mark;
use play::{Play, Raw};
use rng::Rng;
use tape::Tape;

/// A coin that is traded on the venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinSpec {
    /// The venue's name for it, such as `BTC` or `kPEPE`.
    pub name: String,
    /// Decimals of a legal size; a legal price has at most `6 - sz_decimals` and at most five significant figures.
    pub sz_decimals: u32,
    /// Highest leverage the venue gives.
    pub max_leverage: u32,
}

/// One price level of a book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Price in USD, legal on the venue.
    pub px: Px,
    /// Size in coin, above zero.
    pub sz: Sz,
    /// Number of orders that stand there.
    pub n: u32,
}

/// What happened in the market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketKind {
    /// The whole visible book, best first, at most 20 levels a side. A side may be empty; both are when a recording
    /// lost its place.
    Book {
        /// Buy side, highest first.
        bids: Vec<Level>,
        /// Sell side, lowest first.
        asks: Vec<Level>,
    },
    /// A trade between others.
    Trade {
        /// Its price.
        px: Px,
        /// Its size.
        sz: Sz,
        /// Whether the side that took liquidity bought.
        aggressor_is_buy: bool,
    },
    /// The new mark price, at which positions are valued and triggers fire.
    Mark {
        /// The mark, put on the legal grid.
        px: Px,
    },
}

/// One event of the market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketEvent {
    /// Scenario time in milliseconds: from zero, never backwards.
    pub at_ms: u64,
    /// The coin, by the name in [`Market::coins`].
    pub coin: String,
    /// What happened.
    pub kind: MarketKind,
}

/// Where a market comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketSource {
    /// The scenario inside the program, then made-up candles for ever.
    Bundled {
        /// The same seed gives the same market.
        seed: u64,
    },
    /// A recorded market; starts again when it ends.
    File {
        /// The file; recognised by its content.
        path: PathBuf,
    },
}

/// Scenario time between two pulses of coins whose book is made up from prints.
const PULSE_MS: u64 = 1_000;
/// Seed of everything made up around a recording.
const FILE_SEED: u64 = 20_260_101;

/// An open market.
#[derive(Debug)]
pub struct Market {
    coins: Vec<CoinSpec>,
    desks: Vec<Desk>,
    typical: Vec<number::Fx>,
    play: Play,
    describe: String,
    speed: u32,
    ready: VecDeque<MarketEvent>,
    ahead: Option<(u64, Raw)>,
    /// The next pulse, if any coin needs one.
    pulse_ms: Option<u64>,
    now_ms: u64,
}

impl Market {
    /// Opens a market and checks all of it.
    ///
    /// # Errors
    /// [`MarketError`] naming the file, the line or entry, and what was expected there.
    pub fn open(source: &MarketSource) -> Result<Self, MarketError> {
        match source {
            MarketSource::Bundled { seed } => {
                let failed = |fault| MarketError { file: "(bundled scenario)".to_string(), fault };
                let tape = load::understand(bundled::SCENARIO.as_bytes().to_vec()).map_err(failed)?;
                Self::from_tape(tape, Some(*seed), "bundled scenario").map_err(failed)
            }
            MarketSource::File { path } => {
                let file = error::plain(&path.display().to_string());
                load::file(path)
                    .and_then(|tape| Self::from_tape(tape, None, &file))
                    .map_err(|fault| MarketError { file, fault })
            }
        }
    }

    /// The coins of this market; never empty.
    #[must_use]
    pub fn coins(&self) -> &[CoinSpec] {
        &self.coins
    }

    /// Scenario milliseconds per millisecond of real time when the user does not say: 60 for candles of a minute or
    /// longer, 1 for recordings of single messages or prints.
    #[must_use]
    pub const fn default_speed(&self) -> u32 {
        self.speed
    }

    /// One line for people: what is being played.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.describe
    }

    /// The next event. Never ends; a recording that is over starts again while time goes on.
    pub fn next_event(&mut self) -> MarketEvent {
        loop {
            if let Some(mut event) = self.ready.pop_front() {
                self.now_ms = self.now_ms.max(event.at_ms);
                event.at_ms = self.now_ms;
                return event;
            }
            self.pull();
        }
    }

    /// Puts the events of the next moment into `ready`. Always makes progress: a play never ends, and every step of it
    /// yields at least one event or brings the next one closer.
    fn pull(&mut self) {
        if self.ahead.is_none() {
            self.ahead = Some(self.play.next());
        }
        let Some((at_ms, _)) = self.ahead.as_ref() else { return };
        let at_ms = *at_ms;
        if let Some(pulse) = self.pulse_ms.filter(|p| *p <= at_ms) {
            self.pulse_ms = Some(pulse.saturating_add(PULSE_MS));
            for (desk, typical) in self.desks.iter_mut().zip(&self.typical).filter(|(d, _)| d.made_up) {
                let name = desk.spec.name.clone();
                let mut out = emit(&mut self.ready, pulse, name);
                if pulse == 0 {
                    desk.begin(pulse, *typical, &mut out);
                } else {
                    desk.pulse(pulse, &mut out);
                }
            }
            return;
        }
        let Some((at_ms, raw)) = self.ahead.take() else { return };
        let Some(desk) = self.desks.get_mut(raw.coin()) else { return };
        let mut out = emit(&mut self.ready, at_ms, desk.spec.name.clone());
        match raw {
            Raw::Step { step, .. } => desk.step(at_ms, step, &mut out),
            Raw::Print(print) => desk.print(&print, &mut out),
            Raw::Book { bids, asks, .. } => desk.book(at_ms, &bids, &asks, &mut out),
        }
    }

    fn from_tape(tape: Tape, generate: Option<u64>, origin: &str) -> Result<Self, Fault> {
        let seed = generate.unwrap_or(FILE_SEED);
        let shape = Shape::of(&tape, origin, generate)?;
        // A candle's path shows the mark a price every ten seconds; ticks show it one every second.
        let mark = if shape.is_bars { Mark::new(20_000, 300) } else { Mark::new(1_000, 100) };
        let listed: Vec<_> = shape.names.iter().zip(&shape.typical).map(|(n, px)| names::listing(n, *px)).collect();
        let desks: Vec<Desk> = listed
            .into_iter()
            .zip(&shape.with_book)
            .map(|((name, sz_decimals, max_leverage, scale), with_book)| {
                let spec = CoinSpec { name, sz_decimals, max_leverage };
                Desk::new(spec, scale, mark.clone(), !with_book, seed)
            })
            .collect();
        let pulse_ms = desks.iter().any(|d| d.made_up).then_some(0).filter(|_| !shape.is_bars);
        Ok(Self {
            coins: desks.iter().map(|d| d.spec.clone()).collect(),
            desks,
            typical: shape.typical,
            play: Play::new(tape, generate, Rng::new(seed, "path"))?,
            describe: shape.describe,
            speed: shape.speed,
            ready: VecDeque::new(),
            ahead: None,
            pulse_ms,
            now_ms: 0,
        })
    }
}

fn emit(ready: &mut VecDeque<MarketEvent>, at_ms: u64, coin: String) -> impl FnMut(MarketKind) {
    move |kind| ready.push_back(MarketEvent { at_ms, coin: coin.clone(), kind })
}

/// What is known of a tape as a whole.
struct Shape {
    names: Vec<String>,
    typical: Vec<number::Fx>,
    with_book: Vec<bool>,
    is_bars: bool,
    speed: u32,
    describe: String,
}

impl Shape {
    fn of(tape: &Tape, origin: &str, generate: Option<u64>) -> Result<Self, Fault> {
        let shape = match tape {
            Tape::Bars { names, bars, bar_ms } => {
                let typical = bars.iter().map(|b| tape::middle(b.iter().map(|b| b.close).collect())).collect();
                let rows: usize = bars.iter().map(Vec::len).sum();
                let what = match generate {
                    Some(seed) => format!("then made-up candles for ever, seed {seed}"),
                    None => format!("{rows} candles of {} s", bar_ms / 1_000),
                };
                // One bar a second for bars of up to a minute; longer bars keep the pace of minutes.
                let speed = u32::try_from(bar_ms / 1_000).unwrap_or(60).clamp(1, 60);
                let with_book = vec![false; names.len()];
                Self { names: names.clone(), typical, with_book, is_bars: true, speed, describe: what }
            }
            Tape::Prints { names, prints } => {
                let of = |coin| prints.iter().filter(move |p| p.coin == coin);
                // The first few, not all: the made-up book stands where the recording begins.
                let typical = (0..names.len()).map(|c| tape::middle(of(c).take(5).map(|p| p.px).collect())).collect();
                let with_book = vec![false; names.len()];
                let describe = format!("{} trades", prints.len());
                Self { names: names.clone(), typical, with_book, is_bars: false, speed: 1, describe }
            }
            Tape::Lines { names, with_book, typical, seen, .. } => {
                let describe = format!("recorded feed, {seen} books and trades");
                let (typical, with_book) = (typical.clone(), with_book.clone());
                Self { names: names.clone(), typical, with_book, is_bars: false, speed: 1, describe }
            }
            Tape::Still { name, bids, asks } => {
                let Some(best) = bids.first().or(asks.first()) else {
                    return Err(Fault::Empty { detail: "a book without a level" });
                };
                let describe = "one book that does not move".to_string();
                let (names, typical, with_book) = (vec![name.clone()], vec![best.0], vec![true]);
                Self { names, typical, with_book, is_bars: false, speed: 1, describe }
            }
        };
        if shape.names.is_empty() {
            return Err(Fault::Empty { detail: "it names no coin" });
        }
        let describe = format!("{origin}: {}: {}", shape.names.join(", "), shape.describe);
        Ok(Self { describe, ..shape })
    }
}
