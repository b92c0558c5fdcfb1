//! What leaves this worker: observations to those who follow, health to the supervisor. At most two books a second, so
//! that an idle tree stays idle; a change of state goes at once.

use crate::judge::Judge;
use holdfast_core::report::{AccountView, MarketHealth, MarketState};
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::feed::{FillView, FromSensor, MarketView, Publisher};
use holdfast_ipc::message::FromWorker;
use holdfast_kit::Link;

/// Shortest average distance between two books of one coin. A little under half a second, so that a feed of two a second
/// is passed on whole. One book more may come early: one read over HTTP between two of the feed must not hold up every
/// book that follows until the next waking, which would make all of them a quarter of a second old.
const BOOK_EVERY: Span = Span::from_ms(400);
/// How often health is said when nothing changes: with the answer to a beat, so that the supervisor wakes once for both ...
const HEALTH_EVERY: Span = Span::from_ms(400);
/// ... and when no beat comes, after this.
const HEALTH_AT_LEAST: Span = Span::from_ms(800);
/// Key of the account in what a new follower gets first.
const ACCOUNT_KEY: &str = "account";

/// The outgoing side.
pub(crate) struct Output {
    link: Link,
    publisher: Publisher<FromSensor>,
    coin: String,
    said_state: Option<MarketState>,
    /// Venue time of the book said last.
    said_book: Option<u64>,
    /// When the next book would be due if all had kept their distance.
    book_due: Tick,
    health_state: Option<MarketState>,
    health_at: Tick,
    account_lost: bool,
}

impl Output {
    /// Says nothing yet.
    pub(crate) const fn new(link: Link, publisher: Publisher<FromSensor>, coin: String) -> Self {
        Self {
            link,
            publisher,
            coin,
            said_state: None,
            said_book: None,
            book_due: Tick(0),
            health_state: None,
            health_at: Tick(0),
            account_lost: false,
        }
    }

    /// Passes on a new book or a change of state, and health when due.
    pub(crate) fn market(&mut self, (now, wall_ms): (Tick, u64), state: MarketState, judge: &mut Judge, beat: bool) {
        let skew_ms = judge.skew_ms(now, wall_ms);
        let every = if beat { HEALTH_EVERY } else { HEALTH_AT_LEAST };
        if self.health_state != Some(state) || now.since(self.health_at) >= every {
            let health = MarketHealth { state, last_good: judge.last_good(), skew_ms };
            // One that was not taken is due again at the next turn.
            if self.link.report(FromWorker::Market(health)) {
                self.health_state = Some(state);
                self.health_at = now;
            }
        }
        let Some(top) = judge.top() else { return };
        let newer = self.said_book != Some(top.venue_ms) && now.after(BOOK_EVERY) >= self.book_due;
        if !newer && self.said_state == Some(state) {
            return;
        }
        self.said_state = Some(state);
        if self.said_book != Some(top.venue_ms) {
            self.book_due = self.book_due.max(now).after(BOOK_EVERY);
        }
        self.said_book = Some(top.venue_ms);
        let view = MarketView {
            coin: self.coin.clone(),
            state,
            venue_ms: top.venue_ms,
            received: top.received,
            bid: top.bid,
            ask: top.ask,
            mark: judge.mark_px(),
            skew_ms,
        };
        self.publisher.publish(&FromSensor::Market(view), Some(&self.coin));
    }

    /// Passes on the account.
    pub(crate) fn account(&mut self, view: Box<AccountView>) {
        if std::mem::take(&mut self.account_lost) {
            tracing::info!("the account is known again");
        }
        self.publisher.publish(&FromSensor::Account(view.clone()), Some(ACCOUNT_KEY));
        if !self.link.report(FromWorker::Account(view)) {
            tracing::warn!("the supervisor takes no reports");
        }
    }

    /// Says that the account is not known; a new follower hears this, not the last good reading.
    pub(crate) fn account_unknown(&mut self, detail: String) {
        // An outage is one line, not two a second.
        if !std::mem::replace(&mut self.account_lost, true) {
            tracing::warn!(detail, "the account could not be read");
        }
        self.publisher.publish(&FromSensor::AccountUnknown { detail: detail.clone() }, Some(ACCOUNT_KEY));
        if !self.link.report(FromWorker::AccountUnknown { detail }) {
            tracing::warn!("the supervisor takes no reports");
        }
    }

    /// Passes on an execution.
    pub(crate) fn fill(&self, fill: FillView) {
        self.publisher.publish(&FromSensor::Fill(fill), None);
    }
}
