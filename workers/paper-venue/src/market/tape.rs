//! What a market file holds once it is understood: candles, prints, recorded lines, or one still book. Also puts rows
//! into time order, or says which row cannot be.

use super::bars::Bar;
use super::depth::Rung;
use super::error::{Fault, Place};
use super::number::{Fs, Fx};

/// Most coins one file may hold.
pub(super) const COINS_MAX: usize = 64;
/// Longest silence that is replayed, in milliseconds of scenario time: 30 minutes between candles.
pub(super) const BAR_GAP_MAX_MS: u64 = 30 * 60_000;
/// Longest silence between prints or recorded messages.
pub(super) const TICK_GAP_MAX_MS: u64 = 60_000;
/// How far a print or a message may be out of order and still be put right.
pub(super) const JITTER_MS: u64 = 5_000;

/// One print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print {
    pub(super) at_ms: u64,
    pub(super) coin: usize,
    pub(super) px: Fx,
    pub(super) sz: Fs,
    pub(super) buy: bool,
}

/// A row with the place it came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<T> {
    pub(super) at: Place,
    pub(super) value: T,
}

/// The content of a file. Coin indexes point into the list of names beside it.
#[derive(Debug)]
pub(super) enum Tape {
    /// Candles of each coin, in order, from time zero; and the length of a bar.
    Bars { names: Vec<String>, bars: Vec<Vec<Bar>>, bar_ms: u64 },
    /// Prints in order, from time zero.
    Prints { names: Vec<String>, prints: Vec<Print> },
    /// Recorded socket messages, one a line, already checked from end to end.
    Lines {
        names: Vec<String>,
        text: String,
        with_book: Vec<bool>,
        with_depth: Vec<bool>,
        typical: Vec<Fx>,
        seen: usize,
    },
    /// One book and nothing else.
    Still { name: String, bids: Vec<Rung>, asks: Vec<Rung> },
}

/// The names of a file in order of appearance.
#[derive(Debug, Default)]
pub(super) struct Names(pub(super) Vec<String>);

impl Names {
    /// The index of a coin, adding it when new.
    pub(super) fn index(&mut self, name: &str, at: Place) -> Result<usize, Fault> {
        if let Some(found) = self.0.iter().position(|n| n == name) {
            return Ok(found);
        }
        if self.0.len() == COINS_MAX {
            return Err(Fault::bad(at, "at most 64 coins in one file", name));
        }
        self.0.push(name.to_string());
        Ok(self.0.len() - 1)
    }
}

/// Candles per coin into a tape: either direction of time is taken, a repeated identical row is dropped, anything
/// else out of order is refused. Silences are cut to [`BAR_GAP_MAX_MS`], for all coins at once.
pub(super) fn bars(names: Names, mut rows: Vec<Vec<Row<Bar>>>) -> Result<Tape, Fault> {
    let mut spacings = Vec::new();
    for of_coin in &mut rows {
        let backwards = match (of_coin.first(), of_coin.last()) {
            (Some(first), Some(last)) => first.value.at_ms > last.value.at_ms,
            _ => false,
        };
        if backwards {
            of_coin.reverse();
        }
        of_coin.dedup_by(|b, a| a.value == b.value);
        for pair in of_coin.windows(2) {
            let [a, b] = pair else { continue };
            if b.value.at_ms <= a.value.at_ms {
                // Name the row that comes second in the file.
                let at = if backwards { a.at } else { b.at };
                return Err(Fault::wrong(at, "rows in order of time, each candle once", "a time out of order"));
            }
            spacings.push(b.value.at_ms - a.value.at_ms);
        }
    }
    spacings.sort_unstable();
    let bar_ms = spacings.get(spacings.len() / 2).copied().unwrap_or(60_000).clamp(1, 31 * 86_400_000);

    let mut times: Vec<u64> = rows.iter().flatten().map(|r| r.value.at_ms).collect();
    times.sort_unstable();
    times.dedup();
    let shown = squeeze(&times, BAR_GAP_MAX_MS.max(bar_ms));
    let usual = usual_volume(&rows);
    let bars = rows
        .into_iter()
        .map(|of_coin| {
            let place = |at: u64| times.binary_search(&at).ok().and_then(|i| shown.get(i).copied()).unwrap_or(0);
            let told =
                |v: i64| if usual == 0 { 1_000 } else { super::number::mul_div(v, 1_000, usual).clamp(100, 8_000) };
            of_coin
                .into_iter()
                .map(|r| Bar { at_ms: place(r.value.at_ms), volume: told(r.value.volume), ..r.value })
                .collect()
        })
        .collect();
    Ok(Tape::Bars { names: names.0, bars, bar_ms })
}

fn usual_volume(rows: &[Vec<Row<Bar>>]) -> i64 {
    let mut volumes: Vec<i64> = rows.iter().flatten().map(|r| r.value.volume).filter(|v| *v > 0).collect();
    volumes.sort_unstable();
    volumes.get(volumes.len() / 2).copied().unwrap_or(0)
}

/// Prints into a tape: either direction of time is taken, prints of one moment keep their order in the file, and a
/// print more than [`JITTER_MS`] out of order is refused. Silences are cut to [`TICK_GAP_MAX_MS`].
pub(super) fn prints(names: Names, mut rows: Vec<Row<Print>>) -> Result<Tape, Fault> {
    let backwards = match (rows.first(), rows.last()) {
        (Some(first), Some(last)) => first.value.at_ms > last.value.at_ms,
        _ => false,
    };
    let mut edge: Option<u64> = None;
    for row in &rows {
        let at = row.value.at_ms;
        let late = edge.map_or(0, |e| if backwards { at.saturating_sub(e) } else { e.saturating_sub(at) });
        if late > JITTER_MS {
            return Err(Fault::wrong(row.at, "rows in order of time", "a time out of order"));
        }
        edge = Some(edge.map_or(at, |e| if backwards { e.min(at) } else { e.max(at) }));
    }
    rows.sort_by_key(|r| r.value.at_ms);
    let times: Vec<u64> = rows.iter().map(|r| r.value.at_ms).collect();
    let shown = squeeze(&times, TICK_GAP_MAX_MS);
    let prints = rows.into_iter().zip(shown).map(|(r, at_ms)| Print { at_ms, ..r.value }).collect();
    Ok(Tape::Prints { names: names.0, prints })
}

/// Ascending times from zero, no two further apart than `gap_max_ms`.
fn squeeze(times: &[u64], gap_max_ms: u64) -> Vec<u64> {
    let mut now = 0_u64;
    let mut before = times.first().copied().unwrap_or(0);
    times
        .iter()
        .map(|at| {
            now = now.saturating_add((at - before).min(gap_max_ms));
            before = *at;
            now
        })
        .collect()
}

/// The middle one, so that a single absurd price does not decide how a coin is listed; zero for none.
pub(super) fn middle(mut prices: Vec<Fx>) -> Fx {
    prices.sort_unstable();
    prices.get(prices.len() / 2).copied().unwrap_or(0)
}
