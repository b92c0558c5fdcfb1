//! When something was lost that only reconciling can mend: said once per incident, and kept until it was taken.

use holdfast_core::registry::LatchReason;
use holdfast_core::report::{LatchTrip, MarketState};
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::message::FromWorker;
use holdfast_kit::Ctx;

/// Silence this long is no hiccup any more.
const SILENT_AFTER: Span = Span::from_ms(10_000);

/// Incidents.
#[derive(Debug, Default)]
pub(crate) struct Trips {
    /// The connection carried a book since it was made.
    carrying: bool,
    /// Since when the market says nothing new.
    silent_since: Option<Tick>,
    /// The present silence was reported.
    silence_said: bool,
    due: Vec<LatchTrip>,
}

impl Trips {
    /// A book came in.
    pub(crate) const fn connected(&mut self) {
        self.carrying = true;
    }

    /// The connection ended. Attempts that fail after it are the same incident.
    pub(crate) fn disconnected(&mut self) {
        if self.carrying {
            self.carrying = false;
            self.due(LatchReason::WsBookGapReconcileRequired, "the venue's socket ended");
        }
    }

    /// Messages were lost or not understood.
    pub(crate) fn lost(&mut self) {
        self.due(LatchReason::WsBookGapReconcileRequired, "messages of the venue were lost");
    }

    /// The market was judged; a long silence is an incident of its own.
    pub(crate) fn judged(&mut self, now: Tick, state: MarketState) {
        let silent = match state {
            MarketState::Stale | MarketState::Frozen => true,
            MarketState::Fresh
            | MarketState::Absent
            | MarketState::Crossed
            | MarketState::OneSided
            | MarketState::Unbelievable
            | MarketState::ClockSkew
            | MarketState::Gap => false,
        };
        if !silent {
            self.silent_since = None;
            self.silence_said = false;
            return;
        }
        let since = *self.silent_since.get_or_insert(now);
        if !self.silence_said && now.since(since) >= SILENT_AFTER {
            self.silence_said = true;
            self.due(LatchReason::WsDataStaleReconcileRequired, "market data went silent");
        }
    }

    fn due(&mut self, reason: LatchReason, detail: &str) {
        if !self.due.iter().any(|trip| trip.reason == reason) {
            self.due.push(LatchTrip { reason, detail: detail.to_owned() });
        }
    }

    /// Says what is due; what is not taken is said again at the next turn.
    pub(crate) fn report(&mut self, ctx: &Ctx) {
        self.due.retain(|trip| !ctx.report(FromWorker::Trip(trip.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(trips: &mut Trips) -> Vec<LatchReason> {
        trips.due.drain(..).map(|trip| trip.reason).collect()
    }

    #[test]
    fn one_incident_is_said_once() {
        let mut trips = Trips::default();
        trips.disconnected();
        assert_eq!(reasons(&mut trips), [], "never connected: nothing was lost");
        trips.connected();
        trips.disconnected();
        trips.disconnected();
        trips.lost();
        assert_eq!(reasons(&mut trips), [LatchReason::WsBookGapReconcileRequired]);
        for (second, state, expect) in [
            (1, MarketState::Stale, 0),
            (10, MarketState::Frozen, 0),
            (11, MarketState::Stale, 1),
            (60, MarketState::Stale, 0),
            (61, MarketState::Fresh, 0),
            (62, MarketState::Stale, 0),
            (70, MarketState::Stale, 0),
            (72, MarketState::Stale, 1),
        ] {
            trips.judged(Tick(second * 1_000_000_000), state);
            assert_eq!(reasons(&mut trips).len(), expect, "at {second} s");
        }
    }
}
