//! The engine's own view of the account: what the venue last showed, corrected by what our orders did since. Pure.
//!
//! * The venue's word wins: a position that stays different from what our orders explain is adopted and reported.
//! * A reading older than an answer to one of our orders cannot know of it; until a reading does, what the answer said counts.
//! * Without a fresh reading the exposure is unknown, and unknown never opens.

use holdfast_core::limits::ACCOUNT_MAX_AGE;
use holdfast_core::money::{Px, Szi, Usd};
use holdfast_core::report::{AccountView, PositionView};
use holdfast_core::time::{Span, Tick};
use std::collections::BTreeMap;

/// How long a reading may still lack what the venue told us about our own order.
pub const CATCH_UP: Span = Span::from_ms(3000);

/// How long the answers of one reading may have been under way.
const READ_LAG: Span = Span::from_ms(500);

/// A position that our orders do not explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The coin.
    pub coin: String,
    /// What our orders add up to.
    pub expected: Szi,
    /// What the venue shows.
    pub found: Szi,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Book {
    account: Option<AccountView>,
    /// Positions by our own count; an absent coin is flat.
    expected: BTreeMap<String, Szi>,
    /// Whether `expected` was ever taken from the venue.
    adopted: bool,
    /// When our own count last moved ahead of the readings.
    moved: Option<Tick>,
    /// Since when an order of ours may have moved anything: the next reading that must know of it is simply believed.
    blur: Option<Tick>,
    /// Orders of ours on their way: a reading may know their effect before we do.
    in_flight: u8,
}

impl Book {
    /// Takes a reading in. Returns what it shows that our orders do not explain.
    pub fn on_account(&mut self, view: AccountView) -> Vec<Drift> {
        if self.account.as_ref().is_some_and(|old| view.read_at < old.read_at) {
            return Vec::new();
        }
        let found = positions(&view);
        if self.in_flight > 0 {
            self.account = Some(view);
            return Vec::new();
        }
        if self.blur.is_some_and(|since| view.read_at <= since.after(READ_LAG)) {
            self.account = Some(view);
            return Vec::new();
        }
        let blurred = self.blur.take().is_some();
        let agrees = found == self.expected;
        let catching_up = self.moved.is_some_and(|moved| view.read_at.since(moved) < CATCH_UP);
        let read_at = view.read_at;
        self.account = Some(view);
        if agrees {
            // A reading from before the order can agree by chance only if the order moved nothing.
            if self.moved.is_none_or(|moved| read_at > moved) {
                self.moved = None;
            }
            self.adopted = true;
            return Vec::new();
        }
        if catching_up && !blurred {
            return Vec::new();
        }
        let known = self.adopted && !blurred;
        let drifts = if known { differences(&self.expected, &found) } else { Vec::new() };
        (self.expected, self.adopted, self.moved) = (found, true, None);
        drifts
    }

    /// The venue's word, read after everything of ours was settled, replaces our own count without a question.
    pub fn adopt(&mut self, view: &AccountView, now: Tick) {
        if now.since(view.read_at) <= ACCOUNT_MAX_AGE {
            (self.expected, self.adopted, self.moved, self.blur) = (positions(view), true, None, None);
        }
    }

    /// The account could not be read: what is known grows old and is refused by age.
    #[must_use]
    pub fn age(&self, now: Tick) -> Option<Span> {
        self.account.as_ref().map(|view| now.since(view.read_at))
    }

    /// The last reading, if it is fresh.
    #[must_use]
    pub fn fresh(&self, now: Tick) -> Option<&AccountView> {
        self.account.as_ref().filter(|view| now.since(view.read_at) <= ACCOUNT_MAX_AGE)
    }

    /// The last reading, however old.
    #[must_use]
    pub const fn last(&self) -> Option<&AccountView> {
        self.account.as_ref()
    }

    /// An order of ours is about to be sent: until it is answered, readings are kept and not compared.
    pub const fn on_sending(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
    }

    /// The order was answered, or nobody will: what was read meanwhile may already agree with what it did.
    pub fn on_answered(&mut self, coin: &str, moved: Szi, now: Tick) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.on_executed(coin, moved, now);
        if self.in_flight == 0 && self.account.as_ref().is_some_and(|view| positions(view) == self.expected) {
            self.moved = None;
        }
    }

    /// An order of ours can do nothing more and was not answered: the next reading from now on is believed as it is.
    pub const fn on_overdue(&mut self, now: Tick) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.on_unknown(now);
    }

    /// An order of ours was answered: so much was executed.
    pub fn on_executed(&mut self, coin: &str, moved: Szi, now: Tick) {
        if moved.is_zero() {
            return;
        }
        let before = self.expected.get(coin).copied().unwrap_or(Szi::FLAT);
        match before.checked_add(moved) {
            Some(after) if after.is_zero() => {
                self.expected.remove(coin);
            }
            Some(after) => {
                self.expected.insert(coin.to_owned(), after);
            }
            None => self.blur = Some(now),
        }
        self.moved = Some(now);
    }

    /// Nobody knows what an order of ours did: the next reading from now on is believed as it is.
    pub const fn on_unknown(&mut self, now: Tick) {
        self.blur = Some(now);
    }

    /// Whether the readings have caught up with our own orders.
    #[must_use]
    pub const fn settled(&self) -> bool {
        self.adopted && self.in_flight == 0 && self.moved.is_none() && self.blur.is_none()
    }

    /// The position in a coin by the best knowledge there is, however old; the caller decides what age it accepts.
    /// `None` before the first reading.
    #[must_use]
    pub fn position(&self, coin: &str) -> Option<Szi> {
        self.adopted.then(|| self.expected.get(coin).copied().unwrap_or(Szi::FLAT))
    }

    /// The venue's own entry for a coin.
    #[must_use]
    pub fn venue_position(&self, coin: &str) -> Option<&PositionView> {
        self.account.as_ref()?.positions.iter().find(|p| p.coin == coin && !p.size.is_zero())
    }

    /// Sum of position notionals in USD: the venue's figure, or for `coin` our own count at `px`, whichever is larger.
    /// `None` when it cannot be known.
    #[must_use]
    pub fn exposure(&self, now: Tick, coin: &str, px: Px) -> Option<Usd> {
        let view = self.fresh(now)?;
        let own = self.position(coin)?.abs().notional(px)?;
        let mut sum = Usd::ZERO;
        let mut shown = Usd::ZERO;
        for position in &view.positions {
            let notional = position.notional_usd.abs();
            if position.coin == coin {
                shown = shown.checked_add(notional)?;
            } else {
                sum = sum.checked_add(notional)?;
            }
        }
        sum.checked_add(shown.max(own))
    }
}

fn positions(view: &AccountView) -> BTreeMap<String, Szi> {
    view.positions.iter().filter(|p| !p.size.is_zero()).map(|p| (p.coin.clone(), p.size)).collect()
}

/// Every coin in which the two differ.
#[must_use]
pub fn differences(expected: &BTreeMap<String, Szi>, found: &BTreeMap<String, Szi>) -> Vec<Drift> {
    let coins: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let of = |map: &BTreeMap<String, Szi>, coin: &String| map.get(coin).copied().unwrap_or(Szi::FLAT);
    coins
        .into_iter()
        .map(|coin| Drift { coin: coin.clone(), expected: of(expected, coin), found: of(found, coin) })
        .filter(|drift| drift.expected != drift.found)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick(ms * 1_000_000)
    }

    fn view(ms: u64, size: &str) -> AccountView {
        let position = PositionView {
            dex: String::new(),
            coin: "BTC".to_owned(),
            size: size.parse().unwrap(),
            entry_px: None,
            mark_px: None,
            notional_usd: "100".parse().unwrap(),
        };
        AccountView {
            read_at: at(ms),
            venue_ms: ms,
            equity_usd: Usd::whole(1000),
            margin_used_usd: Usd::ZERO,
            positions: vec![position],
            orders: Vec::new(),
            requests_left: None,
        }
    }

    fn szi(text: &str) -> Szi {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_reading_is_believed() {
        let mut book = Book::default();
        assert_eq!(book.position("BTC"), None);
        assert!(book.on_account(view(1, "0.5")).is_empty());
        assert_eq!((book.position("BTC"), book.position("ETH")), (Some(szi("0.5")), Some(Szi::FLAT)));
        assert!(book.settled());
    }

    #[test]
    fn our_own_order_is_not_a_drift_even_if_a_reading_lags() {
        let mut book = Book::default();
        book.on_account(view(1, "0"));
        book.on_executed("BTC", szi("0.5"), at(100));
        assert!(!book.settled());
        assert!(book.on_account(view(150, "0")).is_empty(), "read before the order was known");
        assert_eq!(book.position("BTC"), Some(szi("0.5")));
        assert!(book.on_account(view(1000, "0.5")).is_empty());
        assert!(book.settled());
    }

    #[test]
    fn a_reading_that_knows_of_our_order_before_we_do_is_no_drift() {
        let mut book = Book::default();
        book.on_account(view(1, "0"));
        book.on_sending();
        assert!(book.on_account(view(5000, "0.5")).is_empty());
        assert!(!book.settled());
        book.on_answered("BTC", szi("0.5"), at(5001));
        assert!(book.settled(), "the reading agrees already");
        book.on_sending();
        book.on_answered("BTC", szi("-0.5"), at(6000));
        assert!(!book.settled());
        assert!(book.on_account(view(6100, "0.5")).is_empty(), "asked before");
        assert!(book.on_account(view(6200, "0")).is_empty() && book.settled());
    }

    #[test]
    fn what_stays_different_is_adopted_and_reported_once() {
        let mut book = Book::default();
        book.on_account(view(1, "0"));
        book.on_executed("BTC", szi("0.5"), at(100));
        let drifts = book.on_account(view(3100, "0.2"));
        assert_eq!(drifts, [Drift { coin: "BTC".to_owned(), expected: szi("0.5"), found: szi("0.2") }]);
        assert_eq!(book.position("BTC"), Some(szi("0.2")));
        assert!(book.on_account(view(3200, "0.2")).is_empty());
        assert_eq!(book.on_account(view(3300, "0")).len(), 1, "moved without an order of ours");
    }

    #[test]
    fn after_an_unknown_outcome_the_next_reading_is_believed() {
        let mut book = Book::default();
        book.on_account(view(1, "0"));
        book.on_unknown(at(100));
        assert!(!book.settled());
        book.on_account(view(500, "0"));
        assert!(!book.settled(), "it may have been asked before");
        assert!(book.on_account(view(700, "0.5")).is_empty());
        assert!(book.settled());
    }

    #[test]
    fn an_opening_that_expired_unanswered_is_found_in_the_next_reading_and_not_counted_twice() {
        let mut book = Book::default();
        book.on_account(view(1, "0"));
        book.on_sending();
        book.on_account(view(1000, "0.5"));
        assert_eq!(book.position("BTC"), Some(Szi::FLAT), "not believed while it is on its way");
        book.on_overdue(at(1501));
        assert!(book.on_account(view(2100, "0.5")).is_empty());
        assert_eq!(book.position("BTC"), Some(szi("0.5")), "known, and can be closed, without the answer");
        book.on_sending();
        book.on_answered("BTC", szi("-0.5"), at(2200));
        book.on_unknown(at(2300));
        assert!(book.on_account(view(2900, "0")).is_empty());
        assert_eq!((book.position("BTC"), book.settled()), (Some(Szi::FLAT), true));
    }

    #[test]
    fn an_older_reading_changes_nothing() {
        let mut book = Book::default();
        book.on_account(view(100, "0.5"));
        assert!(book.on_account(view(50, "9")).is_empty());
        assert_eq!(book.position("BTC"), Some(szi("0.5")));
    }

    #[test]
    fn exposure_is_unknown_without_a_fresh_reading_and_never_understated() {
        let mut book = Book::default();
        let px = "1000".parse().unwrap();
        assert_eq!(book.exposure(at(0), "BTC", px), None);
        book.on_account(view(0, "0.05"));
        assert_eq!(book.exposure(at(1), "BTC", px), Some(Usd::whole(100)), "the venue says 100, we count 50");
        assert_eq!(book.exposure(at(1), "ETH", px), Some(Usd::whole(100)));
        book.on_executed("BTC", szi("1"), at(2));
        assert_eq!(book.exposure(at(3), "BTC", px), Some(Usd::whole(1050)));
        assert_eq!(book.exposure(at(5002), "BTC", px), None);
    }
}
