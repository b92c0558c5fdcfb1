//! Restart policy: the first death restarts at once, then exponential backoff with jitter, then no more.
//!
//! The deaths are kept as wall-clock milliseconds because they survive the host's reboot; a clock stepped back counts a
//! death as recent, which restricts.

use crate::ids::Role;
use crate::limits::{BACKOFF_FIRST, BACKOFF_FORGET, BACKOFF_MAX, RESTARTS_MAX, RESTARTS_WINDOW};
use crate::time::Span;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Deaths of one worker that still count, oldest first, as wall-clock milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Deaths(Vec<u64>);

/// What to do after a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start again at once.
    Now,
    /// Start again after this pause.
    After(Span),
    /// Stay down, loudly.
    GiveUp,
}

impl Deaths {
    /// Records a death and decides. `chance` is a fresh random number: it spreads the pause over ±25 %.
    pub fn record(&mut self, role: Role, wall_ms: u64, chance: u16) -> Verdict {
        self.0.retain(|death| wall_ms.saturating_sub(*death) < RESTARTS_WINDOW.as_ms());
        self.0.push(wall_ms);
        let over = self.0.len().saturating_sub(RESTARTS_MAX as usize);
        self.0.drain(..over);
        let spent = self.0.len() >= RESTARTS_MAX as usize;
        if spent && role != Role::Deadman {
            return Verdict::GiveUp;
        }
        let recent = self.0.iter().filter(|death| wall_ms.saturating_sub(**death) < BACKOFF_FORGET.as_ms()).count();
        match u32::try_from(recent.saturating_sub(2)) {
            _ if recent < 2 => Verdict::Now,
            Ok(doublings) => Verdict::After(jittered(pause(doublings), chance)),
            Err(_) => Verdict::After(BACKOFF_MAX),
        }
    }

    /// The deaths at these instants, wall-clock milliseconds, in any order; of more than count the newest.
    #[must_use]
    pub fn at(mut walls: Vec<u64>) -> Self {
        walls.sort_unstable();
        let over = walls.len().saturating_sub(RESTARTS_MAX as usize);
        walls.drain(..over);
        Self(walls)
    }

    /// Those that still count at this instant: what has been used of the budget.
    #[must_use]
    pub fn still(&self, wall_ms: u64) -> Self {
        let counts = |death: &&u64| wall_ms.saturating_sub(**death) < RESTARTS_WINDOW.as_ms();
        Self(self.0.iter().filter(counts).copied().collect())
    }

    /// Every death that either knows of: never less used than one of them says.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut walls = self.0.clone();
        let mut unmatched = self.0.clone();
        for death in &other.0 {
            match unmatched.iter().position(|known| known == death) {
                Some(at) => drop(unmatched.swap_remove(at)),
                None => walls.push(*death),
            }
        }
        Self::at(walls)
    }

    /// When they were, wall-clock milliseconds, oldest first.
    #[must_use]
    pub fn walls(&self) -> &[u64] {
        &self.0
    }

    /// How many deaths still count.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

fn pause(doublings: u32) -> Span {
    let factor = 1_u64.checked_shl(doublings.min(32)).unwrap_or(u64::MAX);
    Span(BACKOFF_FIRST.0.saturating_mul(factor).min(BACKOFF_MAX.0))
}

fn jittered(span: Span, chance: u16) -> Span {
    // From three quarters to five quarters, never above the maximum.
    let quarter = span.0 / 4;
    let spread = quarter.saturating_mul(2).saturating_mul(u64::from(chance)) / u64::from(u16::MAX);
    Span(span.0.saturating_sub(quarter).saturating_add(spread).min(BACKOFF_MAX.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDDLE: u16 = u16::MAX / 2;

    #[test]
    fn first_at_once_then_doubling_then_down() {
        let mut deaths = Deaths::default();
        let mut pauses = Vec::new();
        for n in 0..u64::from(RESTARTS_MAX) {
            pauses.push(deaths.record(Role::Sensor, 1_000_000 + n * 10, MIDDLE));
        }
        assert_eq!(pauses[0], Verdict::Now);
        assert!(matches!(pauses[1], Verdict::After(s) if (240..=260).contains(&s.as_ms())), "{:?}", pauses[1]);
        assert!(matches!(pauses[3], Verdict::After(s) if (990..=1010).contains(&s.as_ms())), "{:?}", pauses[3]);
        assert_eq!(pauses.last(), Some(&Verdict::GiveUp));
    }

    #[test]
    fn deadman_is_never_given_up_on() {
        let mut deaths = Deaths::default();
        for n in 0..1000 {
            assert_ne!(deaths.record(Role::Deadman, 1_000_000 + n, u16::MAX), Verdict::GiveUp);
        }
        assert!(deaths.count() <= RESTARTS_MAX);
    }

    #[test]
    fn old_deaths_are_forgotten_but_a_clock_stepped_back_forgets_nothing() {
        let mut deaths = Deaths::default();
        deaths.record(Role::Api, 1_000_000, 0);
        assert_eq!(deaths.record(Role::Api, 1_000_000 + RESTARTS_WINDOW.as_ms(), 0), Verdict::Now);
        assert_ne!(deaths.record(Role::Api, 5, 0), Verdict::Now);
    }

    #[test]
    fn two_records_of_the_deaths_together_are_never_less_used_than_either() {
        let deaths = |walls: &[u64]| Deaths::at(walls.to_vec());
        let cases: [(&[u64], &[u64], &[u64]); 5] = [
            (&[], &[], &[]),
            (&[5, 7], &[5, 7], &[5, 7]),
            (&[5], &[7], &[5, 7]),
            (&[5, 5, 9], &[5, 7], &[5, 5, 7, 9]),
            (&[7], &[9, 7, 7], &[7, 7, 9]),
        ];
        for (one, other, both) in cases {
            assert_eq!(deaths(one).or(&deaths(other)).walls(), both, "{one:?} {other:?}");
            assert_eq!(deaths(other).or(&deaths(one)).walls(), both, "{other:?} {one:?}");
        }
        let (early, late): (Vec<u64>, Vec<u64>) = ((0..10).collect(), (10..20).collect());
        assert_eq!(deaths(&early).or(&deaths(&late)).walls(), late, "what counts is bounded");
        let window = RESTARTS_WINDOW.as_ms();
        assert_eq!(
            deaths(&[1, 2, window * 9]).still(window + 1).walls(),
            [2, window * 9],
            "a clock put back forgets nothing"
        );
    }

    #[test]
    fn no_pause_exceeds_the_maximum_at_any_chance() {
        for doublings in 0..100 {
            for chance in [0, 1, MIDDLE, u16::MAX] {
                assert!(jittered(pause(doublings), chance) <= BACKOFF_MAX);
            }
        }
    }
}
