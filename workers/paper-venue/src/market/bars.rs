//! Candles turned into a path: inside each bar the price visits open, one extreme, the other, and close, in a
//! plausible order that depends only on the bar and the seed.
//!
//! A wick more than 15 % outside the bar's body is a print, not a path: the market is shown with one side of the book
//! swept away for that moment, and the path stays at the body.

use std::collections::VecDeque;

use super::garch::Garch;
use super::number::{Fx, apart_bps, mul_div};
use super::rng::Rng;

/// One candle. `volume` is relative: 1000 is a usual bar of this market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) at_ms: u64,
    pub(super) open: Fx,
    pub(super) high: Fx,
    pub(super) low: Fx,
    pub(super) close: Fx,
    pub(super) volume: i64,
}

/// What a track says happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The market is at this price; prices range over `range_bps` per minute; `usd` is traded if not zero.
    At { px: Fx, range_bps: i64, usd: i64, buy: bool },
    /// One print far away that swept the side the aggressor hit.
    Flash { px: Fx, buy: bool },
}

/// What follows the last recorded bar.
#[derive(Clone, Debug)]
pub(super) enum Tail {
    /// The recording again, this many milliseconds later.
    Again { period_ms: u64 },
    /// Made-up bars for ever, from the last price.
    Generate(Box<Garch>),
}

/// Steps for each minute of a bar.
const STEPS_PER_MINUTE: u64 = 6;
/// Never more steps than this for one bar, however long it is (a day has 8640).
const STEPS_MAX: u64 = 8_640;
/// A wick this far outside the body is a print.
const WICK_BPS: i64 = 1_500;
/// USD traded at a step of a usual bar.
const TRADE_USD: i64 = 4_000;

/// The endless path of one coin.
#[derive(Clone, Debug)]
pub(super) struct Track {
    bars: Vec<Bar>,
    bar_ms: u64,
    next: usize,
    offset_ms: u64,
    last: Bar,
    tail: Tail,
    path: VecDeque<(u64, Step)>,
    rng: Rng,
}

impl Track {
    /// `None` without a bar. Bars must be in order; `bar_ms` is the length of one.
    pub(super) fn new(bars: Vec<Bar>, bar_ms: u64, tail: Tail, rng: Rng) -> Option<Self> {
        let last = *bars.first()?;
        let bar_ms = bar_ms.max(1);
        Some(Self { bars, bar_ms, next: 0, offset_ms: 0, last, tail, path: VecDeque::new(), rng })
    }

    /// When the next step happens.
    pub(super) fn peek_ms(&mut self) -> u64 {
        if self.path.is_empty() {
            let bar = self.next_bar();
            self.last = bar;
            self.lay(bar);
        }
        self.path.front().map_or(self.last.at_ms, |(at, _)| *at)
    }

    /// The next step.
    pub(super) fn next_step(&mut self) -> (u64, Step) {
        let at_ms = self.peek_ms();
        // A path is never empty after a peek: every bar lays at least four steps.
        self.path.pop_front().unwrap_or((at_ms, Step::At { px: self.last.close, range_bps: 0, usd: 0, buy: true }))
    }

    fn next_bar(&mut self) -> Bar {
        if self.next >= self.bars.len() {
            match &mut self.tail {
                Tail::Again { period_ms } => {
                    self.offset_ms = self.offset_ms.saturating_add((*period_ms).max(1));
                    self.next = 0;
                }
                Tail::Generate(garch) => {
                    return garch.next_bar(self.last.at_ms.saturating_add(self.bar_ms), self.last.close);
                }
            }
        }
        let mut bar = self.bars.get(self.next).copied().unwrap_or(self.last);
        self.next += 1;
        bar.at_ms = bar.at_ms.saturating_add(self.offset_ms);
        bar
    }

    fn lay(&mut self, bar: Bar) {
        let n = (self.bar_ms * STEPS_PER_MINUTE / 60_000).clamp(4, STEPS_MAX);
        let (body_low, body_high) = (bar.open.min(bar.close), bar.open.max(bar.close));
        let (low, low_print) = wick(bar.low, body_low);
        let (high, high_print) = wick(bar.high, body_high);
        // Most bars that rise dip first and most that fall pop first; one in four does it the other way.
        let low_first = (bar.close >= bar.open) == (self.rng.range(0, 3) != 0);
        let (one, two) = if low_first { (low, high) } else { (high, low) };
        let (one_print, two_print) = if low_first { (low_print, high_print) } else { (high_print, low_print) };
        let stops = [(0, bar.open), (n / 3, one), (2 * n / 3, two), (n - 1, bar.close)];
        // The book feels the range of a minute; a longer bar's grows with the root of its length.
        let minutes = i64::try_from(self.bar_ms / 60_000).unwrap_or(1).max(1);
        let range_bps = apart_bps(high, low.max(1)) / minutes.isqrt();
        let mut before = bar.open;
        for i in 0..n {
            let at_ms = bar.at_ms + self.bar_ms * i / n;
            let stop = stops.iter().find(|(at, _)| *at == i);
            let px = match stop {
                Some((_, px)) => *px,
                None => self.between(&stops, i, low, high),
            };
            let flash = if i == n / 3 {
                one_print
            } else if i == 2 * n / 3 {
                two_print
            } else {
                None
            };
            let usd = if stop.is_some() || (n > 6 && i % 2 == 1) {
                mul_div(TRADE_USD * bar.volume / 1_000, self.rng.range(200, 1_800), 1_000).max(1)
            } else {
                0
            };
            self.path.push_back((at_ms, Step::At { px, range_bps, usd, buy: px >= before }));
            if let Some(print) = flash {
                self.path.push_back((at_ms, Step::Flash { px: print, buy: print > px }));
            }
            before = px;
        }
    }

    fn between(&mut self, stops: &[(u64, Fx); 4], i: u64, low: Fx, high: Fx) -> Fx {
        let after = stops.iter().position(|(at, _)| *at > i).unwrap_or(3).max(1);
        let ((from, a), (to, b)) = (stops[after - 1], stops[after]);
        let along = |v: u64| i64::try_from(v).unwrap_or(i64::MAX);
        let straight = a + mul_div(b - a, along(i - from), along(to - from));
        let noise = (high - low) / 12;
        (straight + self.rng.range(-noise, noise)).clamp(low, high)
    }
}

/// The end of a wick for the path, and the print it stands for if it is too far from the body.
fn wick(end: Fx, body: Fx) -> (Fx, Option<Fx>) {
    if apart_bps(end, body) > WICK_BPS { (body, Some(end)) } else { (end, None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(at_ms: u64, prices: [Fx; 4]) -> Bar {
        let [open, high, low, close] = prices;
        Bar { at_ms, open, high, low, close, volume: 1_000 }
    }

    #[test]
    fn a_path_visits_all_four_prices_and_stays_inside() {
        for seed in 0..50 {
            let one = bar(0, [1_000, 1_050, 980, 1_020]);
            let mut track =
                Track::new(vec![one], 60_000, Tail::Again { period_ms: 60_000 }, Rng::new(seed, "x")).unwrap();
            let steps: Vec<_> = (0..6).map(|_| track.next_step()).collect();
            let px: Vec<Fx> = steps
                .iter()
                .filter_map(|(_, s)| match s {
                    Step::At { px, .. } => Some(*px),
                    Step::Flash { .. } => None,
                })
                .collect();
            assert_eq!((px[0], px[5]), (1_000, 1_020));
            assert_eq!((px.iter().max(), px.iter().min()), (Some(&1_050), Some(&980)));
            assert_eq!(track.peek_ms(), 60_000, "the recording starts again and time goes on");
        }
    }

    #[test]
    fn an_absurd_wick_is_a_print_and_not_a_path() {
        let one = bar(0, [1_000, 1_010, 1, 1_005]);
        let mut track = Track::new(vec![one], 60_000, Tail::Again { period_ms: 60_000 }, Rng::new(1, "x")).unwrap();
        let steps: Vec<_> = (0..7).map(|_| track.next_step().1).collect();
        assert!(steps.contains(&Step::Flash { px: 1, buy: false }));
        assert!(steps.iter().all(|s| match s {
            Step::At { px, .. } => *px >= 1_000,
            Step::Flash { .. } => true,
        }));
    }
}
