//! Made-up candles that go on for ever: volatility that clusters (GARCH(1,1) in integers), a slow drift, jumps that hit
//! every coin in the same minute, and a pull towards the starting price. No floats, so a seed means the same market on
//! every platform.
//!
//! Guarantees: the price stays between a quarter and four times the price the series started from.

use super::bars::Bar;
use super::number::{Fx, mul_div};
use super::rng::Rng;

/// Returns are counted in 1e-9.
const ONE: i64 = 1_000_000_000;
/// Standard deviation of a quiet minute: 7 bps.
const SIGMA: i64 = 700_000;
/// No minute moves further than 6 %.
const RETURN_MAX: i64 = 60_000_000;

/// One coin's generator.
#[derive(Clone, Debug)]
pub(super) struct Garch {
    seed: u64,
    own: Rng,
    anchor: Fx,
    variance: i128,
    drift: i64,
    /// In per mille: how strongly this coin moves with the market.
    beta: i64,
}

impl Garch {
    /// A generator around `anchor`. Coins with the same seed share the market's shocks.
    pub(super) fn new(seed: u64, coin: &str, anchor: Fx, beta: i64) -> Self {
        let variance = i128::from(SIGMA).pow(2);
        Self { seed, own: Rng::new(seed, coin), anchor: anchor.max(4), variance, drift: 0, beta }
    }

    /// The bar that starts at `at_ms` and opens at `open`.
    pub(super) fn next_bar(&mut self, at_ms: u64, open: Fx) -> Bar {
        // The market's shock depends only on the seed and the minute, so every coin sees the same one.
        let mut market = Rng::new(self.seed ^ at_ms.wrapping_mul(0x9e37_79b9_7f4a_7c15), "market");
        let common = market.bell();
        let jump = if market.range(0, 449) == 0 {
            let size = market.range(8, 26) * 1_000_000;
            if market.range(0, 1) == 0 { size } else { -size }
        } else {
            0
        };
        let sigma = i64::try_from(self.variance.isqrt()).unwrap_or(SIGMA);
        let shock = mul_div(sigma, (common * 7 + self.own.bell() * 7) / 10, 1_000_000);
        self.drift = self.drift * 955 / 1_000 + mul_div(sigma, self.own.bell(), 12_000_000);
        let pull = mul_div(self.anchor - open, ONE, self.anchor) / 2_000;
        let moved = (mul_div(shock + self.drift + jump, self.beta, 1_000) + pull).clamp(-RETURN_MAX, RETURN_MAX);
        let close = (open + mul_div(open, moved, ONE)).clamp(self.anchor / 4, self.anchor.saturating_mul(4));

        let base = i128::from(SIGMA).pow(2);
        let squared = i128::from(shock + jump / 4).pow(2);
        self.variance = ((base * 20 + squared * 90 + self.variance * 890) / 1_000).clamp(base / 9, base * 36);

        let mut wick = || mul_div(open, mul_div(sigma, self.own.bell().abs(), 2_000_000), ONE);
        let (up, down) = (wick(), wick());
        let high = open.max(close) + up;
        let low = (open.min(close) - down).max(open.min(close) / 2).max(1);
        let volume = (600 + mul_div(moved.abs(), 500, sigma.max(1))).clamp(200, 8_000);
        Bar { at_ms, open, high, low, close, volume }
    }
}

#[cfg(test)]
mod tests {
    use super::super::number::PX_ONE;
    use super::*;

    #[test]
    fn stays_in_bounds_clusters_and_jumps() {
        for seed in 1..4 {
            let anchor = 60_000 * PX_ONE;
            let mut garch = Garch::new(seed, "BTC", anchor, 1_000);
            let (mut px, mut moves) = (anchor, Vec::new());
            for minute in 0..50_000_u64 {
                let bar = garch.next_bar(minute * 60_000, px);
                assert!(bar.low <= bar.open.min(bar.close) && bar.high >= bar.open.max(bar.close) && bar.low > 0);
                assert!(bar.close >= anchor / 4 && bar.close <= anchor * 4);
                moves.push(mul_div(bar.close - px, ONE, px).abs() / 1_000);
                px = bar.close;
            }
            let mean = moves.iter().sum::<i64>() / 50_000;
            assert!((300..3_000).contains(&mean), "seed {seed}: mean move {mean}e-6");
            assert!(moves.iter().any(|m| *m > 8_000), "seed {seed}: no jump");
            // Clustering: after a large move the next is larger than usual.
            let after: Vec<i64> = moves.windows(2).filter(|w| w[0] > 3 * mean).map(|w| w[1]).collect();
            assert!(after.iter().sum::<i64>() > mean * i64::try_from(after.len()).unwrap() * 11 / 10, "seed {seed}");
        }
    }
}
