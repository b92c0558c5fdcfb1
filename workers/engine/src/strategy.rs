//! The demonstration strategy: two exponential averages of bar closes, one position at a time. Pure.
//!
//! It exists to exercise the whole path from a price to a closed position. It is not advice and claims no edge.
//! All arithmetic is in whole billionths of a USD; there is no floating point.

use crate::bars::Bar;
use holdfast_core::money::{Px, Szi};
use holdfast_ipc::settings::StrategySettings;

/// Digits after the point in the averages.
const SCALE: u32 = 9;

/// The position the strategy manages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Signed size; never zero.
    pub size: Szi,
    /// Average entry price.
    pub entry_px: Px,
    /// Number of the bar in which it was first seen.
    pub since_bar: u64,
}

/// Why a position is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The loss reached `stop_bps`.
    Stop,
    /// The gain reached `take_bps`.
    Take,
    /// It was held `hold_bars`.
    Hold,
    /// The averages crossed against it.
    Reversal,
}

impl Why {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop: the loss limit of the position was reached",
            Self::Take => "take: the gain target was reached",
            Self::Hold => "hold: the position was held long enough",
            Self::Reversal => "reversal: the averages crossed against the position",
        }
    }
}

/// What the strategy wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing.
    Hold,
    /// A new position.
    Open {
        /// Whether to buy.
        is_buy: bool,
    },
    /// The end of the present one.
    Close(Why),
}

/// The judgement on one bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Distance of the fast average from the slow one in hundredths of a percent; 0 during warm-up.
    pub signal_bps: i64,
    /// What follows.
    pub want: Want,
    /// Bars still missing until the averages mean anything; 0 when warm.
    pub warm_in: u32,
}

/// One average.
#[derive(Clone, Copy, Debug)]
struct Ema {
    span: i128,
    value: i128,
}

impl Ema {
    fn push(&mut self, x: i128) -> Option<()> {
        let step = x.checked_sub(self.value)?.checked_mul(2)?.checked_div(self.span.checked_add(1)?)?;
        self.value = self.value.checked_add(step)?;
        Some(())
    }
}

/// The averages and what they remember.
#[derive(Clone, Debug)]
pub struct Strategy {
    settings: StrategySettings,
    averages: Option<(Ema, Ema)>,
    seen: u32,
    /// After a stop, no entry before the signal has once been gone: a trend that stopped us is not chased.
    armed: bool,
}

impl Strategy {
    /// Cold: it wants nothing before `slow_bars` bars.
    #[must_use]
    pub const fn new(settings: StrategySettings) -> Self {
        Self { settings, averages: None, seen: 0, armed: true }
    }

    /// Judges one closed bar.
    pub fn on_bar(&mut self, bar: &Bar, holding: Option<&Holding>) -> Verdict {
        if bar.missing >= u64::from(self.settings.fast_bars) {
            // What was averaged over the gap is not this market any more.
            (self.averages, self.seen) = (None, 0);
        }
        let signal_bps = self.push(bar.close).unwrap_or_else(|| {
            (self.averages, self.seen) = (None, 0);
            0
        });
        let warm_in = self.settings.slow_bars.saturating_sub(self.seen);
        let signal = if warm_in == 0 { signal_bps } else { 0 };
        let strong = signal.unsigned_abs() >= u64::from(self.settings.enter_bps);
        if warm_in == 0 && !strong {
            self.armed = true;
        }
        let want = match holding {
            Some(held) => self.exit(bar, held, signal).map_or(Want::Hold, Want::Close),
            None if warm_in == 0 && strong && self.armed => Want::Open { is_buy: signal > 0 },
            None => Want::Hold,
        };
        Verdict { signal_bps: signal, want, warm_in }
    }

    /// Judges a price between bars: only the stop and the target can close.
    pub fn on_price(&mut self, px: Px, holding: &Holding) -> Option<Why> {
        let moved = px.bps_from(holding.entry_px)?;
        let gain = if holding.size.is_long() { moved } else { moved.checked_neg()? };
        if gain <= -i64::from(self.settings.stop_bps) {
            self.armed = false;
            Some(Why::Stop)
        } else if gain >= i64::from(self.settings.take_bps) {
            Some(Why::Take)
        } else {
            None
        }
    }

    fn exit(&mut self, bar: &Bar, held: &Holding, signal: i64) -> Option<Why> {
        let against = (held.size.is_long() && signal < 0) || (held.size.is_short() && signal > 0);
        self.on_price(bar.close, held)
            .or_else(|| {
                let age = bar.number.saturating_sub(held.since_bar);
                (age >= u64::from(self.settings.hold_bars)).then_some(Why::Hold)
            })
            .or_else(|| against.then_some(Why::Reversal))
    }

    /// Moves the averages; the signal in hundredths of a percent. `None` if a number cannot be held.
    fn push(&mut self, px: Px) -> Option<i64> {
        let x = scaled(px)?;
        let fresh = |span: u32| Ema { span: i128::from(span), value: x };
        let (fast, slow) =
            self.averages.get_or_insert((fresh(self.settings.fast_bars), fresh(self.settings.slow_bars)));
        fast.push(x)?;
        slow.push(x)?;
        self.seen = self.seen.saturating_add(1);
        let bps = fast.value.checked_sub(slow.value)?.checked_mul(10_000)?.checked_div(slow.value)?;
        i64::try_from(bps).ok()
    }
}

/// A price in whole billionths, cut off below.
fn scaled(px: Px) -> Option<i128> {
    let value = px.get();
    let up = |by: u32| 10_i128.checked_pow(by);
    match SCALE.checked_sub(value.scale()) {
        Some(by) => value.mantissa().checked_mul(up(by)?),
        None => value.mantissa().checked_div(up(value.scale().checked_sub(SCALE)?)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> StrategySettings {
        StrategySettings { fast_bars: 2, slow_bars: 4, enter_bps: 10, hold_bars: 6, ..StrategySettings::default() }
    }

    fn bar(number: u64, close: &str) -> Bar {
        Bar { number, close: close.parse().unwrap(), missing: 0 }
    }

    fn long(entry: &str, since_bar: u64) -> Holding {
        Holding { size: "1".parse().unwrap(), entry_px: entry.parse().unwrap(), since_bar }
    }

    fn short(entry: &str, since_bar: u64) -> Holding {
        Holding { size: "-1".parse().unwrap(), ..long(entry, since_bar) }
    }

    fn warm(rising: bool) -> Strategy {
        let mut strategy = Strategy::new(settings());
        for n in 0..5 {
            let close = if rising { 100 + n } else { 100 - n };
            let verdict = strategy.on_bar(&bar(n, &close.to_string()), None);
            assert_eq!(matches!(verdict.want, Want::Open { .. }), n >= 3, "nothing before the slow average is warm");
        }
        strategy
    }

    #[test]
    fn it_enters_in_the_direction_of_the_averages() {
        assert_eq!(warm(true).on_bar(&bar(5, "105"), None).want, Want::Open { is_buy: true });
        assert_eq!(warm(false).on_bar(&bar(5, "95"), None).want, Want::Open { is_buy: false });
    }

    #[test]
    fn a_flat_market_wants_nothing() {
        let mut strategy = Strategy::new(settings());
        for n in 0..50 {
            let close = if n % 2 == 0 { "100" } else { "100.01" };
            assert_eq!(strategy.on_bar(&bar(n, close), None).want, Want::Hold);
        }
    }

    #[test]
    fn exits() {
        let cases = [
            (true, "105", long("105", 4), Want::Hold),
            (true, "105", long("107", 4), Want::Close(Why::Stop)),
            (true, "105", long("102.9", 4), Want::Close(Why::Take)),
            (true, "105", short("103", 4), Want::Close(Why::Stop)),
            (true, "105", short("105", 4), Want::Close(Why::Reversal)),
            (false, "95", long("95", 4), Want::Close(Why::Reversal)),
            (false, "95", short("97", 4), Want::Close(Why::Take)),
            (true, "106", long("106", 0), Want::Hold),
        ];
        for (rising, close, held, want) in cases {
            assert_eq!(warm(rising).on_bar(&bar(5, close), Some(&held)).want, want, "{close} {held:?}");
        }
        assert_eq!(warm(true).on_bar(&bar(10, "105"), Some(&long("105", 4))).want, Want::Close(Why::Hold));
    }

    #[test]
    fn after_a_stop_the_same_signal_does_not_enter_again() {
        let mut strategy = warm(true);
        assert_eq!(strategy.on_price("103".parse().unwrap(), &long("105", 4)), Some(Why::Stop));
        assert_eq!(strategy.on_bar(&bar(5, "105"), None).want, Want::Hold);
        for n in 6..30 {
            strategy.on_bar(&bar(n, "105"), None);
        }
        assert!(matches!(strategy.on_bar(&bar(30, "108"), None).want, Want::Open { is_buy: true }));
    }

    #[test]
    fn a_gap_starts_the_warm_up_again_but_still_exits() {
        let mut strategy = warm(true);
        let after = Bar { missing: 2, ..bar(8, "90") };
        let verdict = strategy.on_bar(&after, Some(&long("105", 4)));
        assert_eq!((verdict.want, verdict.warm_in), (Want::Close(Why::Stop), 3));
        assert_eq!(strategy.on_bar(&bar(9, "80"), None).want, Want::Hold);
    }

    #[test]
    fn scaling_is_exact_down_to_a_billionth() {
        for (px, expect) in
            [("1", 1_000_000_000), ("0.000000001", 1), ("0.0000000019", 1), ("60000.5", 60_000_500_000_000)]
        {
            assert_eq!(scaled(px.parse().unwrap()), Some(expect), "{px}");
        }
    }
}
