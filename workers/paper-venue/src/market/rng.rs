//! The seeded stream of numbers behind everything that is made up: same seed, same numbers, on every platform.
//!
//! SplitMix64 (public domain, Vigna 2015). Not for anything secret.

/// A stream of pseudo-random numbers.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// The stream of this seed and name; different names give unrelated streams.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a over the name, so that a coin's stream does not depend on its place in the list.
        let tag = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        Self(seed ^ tag)
    }

    /// The next 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` up to and including `high`.
    pub(super) fn range(&mut self, low: i64, high: i64) -> i64 {
        let span = high.saturating_sub(low).max(0).unsigned_abs().saturating_add(1);
        low.saturating_add_unsigned(self.bits() % span)
    }

    /// A bell-shaped number with mean 0 and standard deviation one million (twelve uniforms, no floats).
    pub(super) fn bell(&mut self) -> i64 {
        (0..12).map(|_| self.range(0, 1_000_000)).sum::<i64>() - 6_000_000
    }
}
