//! The venue's own dead-man switch: when to renew it and what may be claimed about it. Pure; the clock is passed in.
//!
//! ACTIVE is claimed only up to the instant the venue last confirmed. A renewal without an answer keeps that claim (the
//! old or the new setting stands, both protect) but not beyond it.

use holdfast_core::limits::{VENUE_DEADMAN_AHEAD, VENUE_DEADMAN_RENEW};
use holdfast_core::registry::VenueDeadMan;
use holdfast_core::report::DeadManReport;
use holdfast_core::time::{Span, Tick};
use holdfast_venue_reduce::outcome::{Outcome, RefusalClass};

/// How often an account that may not arm it asks again.
const RECHECK: Span = Span::from_ms(60_000);
/// Spacing while the address quota is spent.
const QUOTA: Span = Span::from_ms(11_500);

/// What is known of the switch.
#[derive(Clone, Debug)]
pub(crate) struct Switch {
    due: Tick,
    /// Venue instant it fires at and the boot-clock instant up to which that may be claimed.
    armed: Option<(u64, Tick)>,
    ineligible: bool,
    detail: String,
}

impl Switch {
    /// Nothing known; due at once.
    #[must_use]
    pub(crate) fn begin(now: Tick) -> Self {
        Self { due: now, armed: None, ineligible: false, detail: "not asked yet".to_owned() }
    }

    /// Whether it should be renewed now.
    #[must_use]
    pub(crate) fn due(&self, now: Tick) -> bool {
        now >= self.due
    }

    /// A renewal leaves now; the next one waits its turn whatever becomes of this one.
    pub(crate) fn sent(&mut self, now: Tick) {
        self.due = now.after(VENUE_DEADMAN_RENEW);
    }

    /// The venue's answer to a renewal sent at `sent` that asked for `fires_ms`.
    pub(crate) fn answered(&mut self, now: Tick, sent: Tick, fires_ms: u64, outcome: &Outcome) {
        match outcome {
            Outcome::Accepted(_) => {
                self.armed = Some((fires_ms, sent.after(VENUE_DEADMAN_AHEAD)));
                self.ineligible = false;
                self.detail = "armed".to_owned();
            }
            Outcome::Refused(refusal) => {
                self.detail = refusal.text.clone();
                self.ineligible = refusal.class == RefusalClass::DeadManVolume;
                if self.ineligible {
                    self.armed = None;
                    self.due = now.after(RECHECK);
                } else if refusal.class == RefusalClass::AddressQuota {
                    self.due = now.after(QUOTA);
                }
            }
            Outcome::Unknown(_) => self.detail = "the last renewal was not answered".to_owned(),
        }
    }

    /// It fires by then, and nobody renews it: nothing is claimed beyond.
    pub(crate) fn no_longer_than(&mut self, until: Tick) {
        self.armed = self.armed.map(|(fires, claimed)| (fires, claimed.min(until)));
    }

    /// What may be claimed now.
    #[must_use]
    pub(crate) fn report(&self, now: Tick) -> DeadManReport {
        let detail = self.detail.clone();
        if self.ineligible {
            return DeadManReport { state: VenueDeadMan::Ineligible, fires_at_ms: None, detail };
        }
        match self.armed {
            Some((fires, until)) if now < until => {
                DeadManReport { state: VenueDeadMan::Active, fires_at_ms: Some(fires), detail }
            }
            Some(_) | None => DeadManReport { state: VenueDeadMan::Unknown, fires_at_ms: None, detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_venue_reduce::outcome::{Accepted, Refusal, Unknown};

    const fn ms(ms: u64) -> Tick {
        Tick(ms * 1_000_000)
    }

    fn refused(text: &str) -> Outcome {
        Outcome::Refused(Refusal::of(text))
    }

    #[test]
    fn claims_no_more_than_the_venue_confirmed() {
        let mut switch = Switch::begin(ms(0));
        let state = |switch: &Switch, at| switch.report(ms(at)).state;
        assert_eq!(state(&switch, 0), VenueDeadMan::Unknown);
        assert!(switch.due(ms(0)));
        switch.sent(ms(0));
        assert!(!switch.due(ms(4999)) && switch.due(ms(5000)));
        switch.answered(ms(100), ms(0), 31_000, &Outcome::Accepted(Accepted::Done));
        assert_eq!(switch.report(ms(100)).fires_at_ms, Some(31_000));
        switch.sent(ms(5000));
        switch.answered(ms(9000), ms(5000), 36_000, &Outcome::Unknown(Unknown::Timeout));
        assert_eq!(switch.report(ms(29_999)).fires_at_ms, Some(31_000), "the confirmed instant, not the hoped one");
        assert_eq!(state(&switch, 30_000), VenueDeadMan::Unknown);
    }

    #[test]
    fn an_ineligible_account_is_said_to_be_so_and_asked_again() {
        let mut switch = Switch::begin(ms(0));
        switch.sent(ms(0));
        let words = "Cannot set scheduled cancel time until enough volume traded. Required: $1000000. Traded: $373.47.";
        switch.answered(ms(10), ms(0), 30_000, &refused(words));
        let report = switch.report(ms(10));
        assert_eq!((report.state, report.detail.as_str()), (VenueDeadMan::Ineligible, words));
        assert!(!switch.due(ms(59_000)) && switch.due(ms(60_010)));
        switch.sent(ms(60_010));
        switch.answered(ms(60_020), ms(60_010), 90_000, &Outcome::Accepted(Accepted::Done));
        assert_eq!(switch.report(ms(60_020)).state, VenueDeadMan::Active);
    }

    #[test]
    fn other_refusals_are_not_ineligibility_and_a_spent_quota_is_spaced() {
        let mut switch = Switch::begin(ms(0));
        switch.sent(ms(0));
        switch.answered(ms(10), ms(0), 30_000, &refused("Too many cumulative requests sent (10001 > 10000)"));
        assert_eq!(switch.report(ms(10)).state, VenueDeadMan::Unknown);
        assert!(!switch.due(ms(11_000)) && switch.due(ms(11_510)));
    }
}
