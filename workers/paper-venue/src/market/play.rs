//! Plays a tape for ever, in order of time: what happens next to which coin, before it is put on the venue's grid.

use super::bars::{Step, Tail, Track};
use super::depth::Rung;
use super::error::Fault;
use super::garch::Garch;
use super::lines::{Decoder, Said};
use super::rng::Rng;
use super::tape::{Print, Tape};

/// Between the end of a recording and its next start.
const SEAM_MS: u64 = 1_000;

/// What happens next to one coin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// A step of a candle's path.
    Step { coin: usize, step: Step },
    /// A recorded print.
    Print(Print),
    /// A recorded book.
    Book { coin: usize, bids: Vec<Rung>, asks: Vec<Rung> },
}

impl Raw {
    /// The coin's index.
    pub(super) const fn coin(&self) -> usize {
        match self {
            Self::Step { coin, .. } | Self::Book { coin, .. } => *coin,
            Self::Print(print) => print.coin,
        }
    }
}

/// A tape that is playing.
#[derive(Debug)]
pub(super) enum Play {
    /// One endless track per coin.
    Tracks(Vec<Track>),
    /// Prints, again and again.
    Prints { prints: Vec<Print>, next: usize, offset_ms: u64 },
    /// Recorded lines, again and again.
    Lines(Box<Lines>),
    /// One book, every second.
    Still { bids: Vec<Rung>, asks: Vec<Rung>, at_ms: u64 },
}

/// Recorded lines that are playing.
#[derive(Debug)]
pub(super) struct Lines {
    text: String,
    /// Where the next line begins.
    from: usize,
    number: usize,
    names: Vec<String>,
    with_depth: Vec<bool>,
    decoder: Decoder,
    offset_ms: u64,
    last_ms: u64,
}

impl Play {
    /// Starts a tape. With a seed, candles go on as made-up ones after the last recorded bar.
    pub(super) fn new(tape: Tape, generate: Option<u64>, rng: Rng) -> Result<Self, Fault> {
        Ok(match tape {
            Tape::Bars { names, bars, bar_ms } => {
                let end = bars.iter().flatten().map(|b| b.at_ms).max().unwrap_or(0).saturating_add(bar_ms);
                let mut tracks = Vec::with_capacity(bars.len());
                for (i, (name, of_coin)) in names.iter().zip(bars).enumerate() {
                    let tail = match (generate, of_coin.first()) {
                        (Some(seed), Some(first)) => {
                            // The first coin is the market; the others move a little more than it does.
                            let beta = if i == 0 { 1_000 } else { 1_200 };
                            Tail::Generate(Box::new(Garch::new(seed, name, first.open, beta)))
                        }
                        _ => Tail::Again { period_ms: end },
                    };
                    let rng = Rng::new(rng.clone().bits(), name);
                    let track = Track::new(of_coin, bar_ms, tail, rng);
                    tracks.push(track.ok_or(Fault::Empty { detail: "a coin without candles" })?);
                }
                Self::Tracks(tracks)
            }
            Tape::Prints { prints, .. } if prints.is_empty() => return Err(Fault::Empty { detail: "no trades" }),
            Tape::Prints { prints, .. } => Self::Prints { prints, next: 0, offset_ms: 0 },
            Tape::Lines { names, text, with_depth, .. } => Self::Lines(Box::new(Lines {
                decoder: Decoder::knowing(names.clone(), with_depth.clone()),
                text,
                from: 0,
                number: 0,
                names,
                with_depth,
                offset_ms: 0,
                last_ms: 0,
            })),
            Tape::Still { bids, asks, .. } => Self::Still { bids, asks, at_ms: 0 },
        })
    }

    /// What happens next, and when.
    pub(super) fn next(&mut self) -> (u64, Raw) {
        match self {
            Self::Tracks(tracks) => {
                let first = tracks.iter_mut().enumerate().map(|(i, t)| (t.peek_ms(), i)).min().map_or(0, |(_, i)| i);
                match tracks.get_mut(first).map(Track::next_step) {
                    Some((at_ms, step)) => (at_ms, Raw::Step { coin: first, step }),
                    // No track: `new` refuses a tape without coins. A coin index that no desk has is ignored.
                    None => (u64::MAX, Raw::Book { coin: usize::MAX, bids: Vec::new(), asks: Vec::new() }),
                }
            }
            Self::Prints { prints, next, offset_ms } => {
                if *next >= prints.len() {
                    let end = prints.last().map_or(0, |p| p.at_ms);
                    *offset_ms = offset_ms.saturating_add(end).saturating_add(SEAM_MS);
                    *next = 0;
                }
                let print = prints.get(*next).copied();
                *next += 1;
                match print {
                    Some(print) => (offset_ms.saturating_add(print.at_ms), Raw::Print(print)),
                    None => (u64::MAX, Raw::Book { coin: usize::MAX, bids: Vec::new(), asks: Vec::new() }),
                }
            }
            Self::Lines(lines) => lines.next(),
            Self::Still { bids, asks, at_ms } => {
                let raw = Raw::Book { coin: 0, bids: bids.clone(), asks: asks.clone() };
                let now = *at_ms;
                *at_ms = at_ms.saturating_add(SEAM_MS);
                (now, raw)
            }
        }
    }
}

impl Lines {
    fn next(&mut self) -> (u64, Raw) {
        loop {
            if let Some((at_ms, said)) = self.decoder.out.pop_front() {
                self.last_ms = at_ms;
                let raw = match said {
                    Said::Book { coin, bids, asks } => Raw::Book { coin, bids, asks },
                    Said::Print(print) => Raw::Print(print),
                };
                return (self.offset_ms.saturating_add(at_ms), raw);
            }
            let rest = self.text.get(self.from..).unwrap_or("");
            if rest.is_empty() {
                // Again from the top, with an empty book: the recording brings its own snapshot.
                self.decoder = Decoder::knowing(self.names.clone(), self.with_depth.clone());
                self.offset_ms = self.offset_ms.saturating_add(self.last_ms).saturating_add(SEAM_MS);
                (self.from, self.number) = (0, 0);
                continue;
            }
            let length = rest.find('\n').map_or(rest.len(), |i| i + 1);
            let line = rest.get(..length).unwrap_or("");
            self.from += length;
            self.number += 1;
            // Every line was read once when the file was opened, and the text has not changed since: a line that says
            // nothing now said nothing then.
            let _ = self.decoder.line(self.number, line);
        }
    }
}
