//! May the market be believed? Pure: every instant is handed in.
//!
//! A book counts as fresh only when it is recent in receive time (our boot clock) *and* in venue time, not frozen,
//! two-sided, uncrossed, near a recent mark, and not the first word after an interruption. Everything that is missing
//! restricts.

use holdfast_core::limits::MARKET_MAX_AGE;
use holdfast_core::money::{Px, Sz};
use holdfast_core::report::MarketState;
use holdfast_core::time::{Span, Tick};
use holdfast_venue_reduce::clock::VenueClock;
use holdfast_venue_reduce::read::Book;

/// Largest difference between the venue's clock and our wall clock. A recorder 1.2 s behind its venue has been seen.
pub const SKEW_MAX_MS: u64 = 2000;
/// How far a book may lie in the venue's own future (rounding and queueing on its side), beyond the sample's round trip.
pub const AHEAD_MAX_MS: u64 = 1000;
/// A comparison of clocks older than this says nothing any more.
pub const CLOCK_MAX_AGE: Span = Span::from_ms(60_000);
/// The same book time for this long is a frozen feed.
pub const FROZEN_AFTER: Span = MARKET_MAX_AGE;
/// A mark older than this is read again ...
pub const MARK_REREAD: Span = Span::from_ms(20_000);
/// ... and older than this it vouches for nothing.
pub const MARK_MAX_AGE: Span = Span::from_ms(60_000);
/// Largest distance of the mid from the mark, in hundredths of a percent.
pub const MARK_DISTANCE_BPS: u64 = 500;
/// A move from one book to the next larger than this waits for the mark to confirm it.
pub const JUMP_BPS: u64 = 2000;

const _: () = assert!(MARK_REREAD.0 * 2 < MARK_MAX_AGE.0, "a mark is read again twice before it is given up");

/// Top of a book with the instants that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Top {
    /// Venue time of the book, milliseconds since the epoch.
    pub venue_ms: u64,
    /// When this book time was first received.
    pub since: Tick,
    /// When a book was last received.
    pub received: Tick,
    /// Best bid and its size.
    pub bid: Option<(Px, Sz)>,
    /// Best ask and its size.
    pub ask: Option<(Px, Sz)>,
}

impl Top {
    fn of(book: &Book, at: Tick) -> Self {
        Self {
            venue_ms: book.time,
            since: at,
            received: at,
            bid: book.best_bid().map(|level| (level.px, level.sz)),
            ask: book.best_ask().map(|level| (level.px, level.sz)),
        }
    }

    fn mid(&self) -> Option<Px> {
        match (self.bid, self.ask) {
            (Some((bid, _)), Some((ask, _))) if bid < ask => bid.mid(ask),
            _ => None,
        }
    }
}

/// What stands between an interruption and trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    since: Tick,
    market_read: bool,
    account_read: bool,
}

/// Everything known about one market.
#[derive(Debug, Default)]
pub struct Judge {
    top: Option<Top>,
    mark: Option<(Px, Tick)>,
    clock: Option<VenueClock>,
    gap: Option<Gap>,
    /// The last mid before a jump nobody has confirmed, and when it happened.
    jump: Option<(Px, Tick)>,
    changed: bool,
    last_good: Option<Tick>,
}

/// Whether two prices are further apart than `bps`; what cannot be computed is too far.
fn apart(a: Px, b: Px, bps: u64) -> bool {
    a.bps_from(b).is_none_or(|distance| distance.unsigned_abs() > bps)
}

impl Judge {
    /// A book came in. One older than the last is out of order and changes nothing.
    pub fn book(&mut self, at: Tick, book: &Book) {
        match &mut self.top {
            Some(top) if book.time < top.venue_ms => {}
            Some(top) if book.time == top.venue_ms => {
                // The same instant may be said in more detail, but it is not a new one.
                let since = top.since;
                self.place(Top { since, ..Top::of(book, at) });
            }
            Some(_) | None => self.place(Top::of(book, at)),
        }
    }

    fn place(&mut self, next: Top) {
        let before = self.top.and_then(|top| top.mid());
        if let (None, Some(before), Some(mid)) = (self.jump, before, next.mid())
            && apart(mid, before, JUMP_BPS)
        {
            self.jump = Some((before, next.received));
        }
        self.top = Some(next);
        self.settle_jump();
    }

    /// A jump is over when a mark received with or after it agrees, or when the price is back where it was.
    fn settle_jump(&mut self) {
        let (Some((before, at)), Some(mid)) = (self.jump, self.top.and_then(|top| top.mid())) else { return };
        let confirmed = self.mark.is_some_and(|(mark, marked)| marked >= at && !apart(mid, mark, MARK_DISTANCE_BPS));
        if confirmed || !apart(mid, before, MARK_DISTANCE_BPS) {
            self.jump = None;
        }
    }

    /// A mark came in; a context without one leaves the old one to grow old.
    pub fn mark(&mut self, at: Tick, mark: Option<Px>) {
        if let Some(mark) = mark {
            self.mark = Some((mark, at));
            self.settle_jump();
        }
    }

    /// The venue's clock was compared with ours.
    pub fn clock(&mut self, sample: VenueClock) {
        self.clock = Some(sample);
    }

    /// The feed was interrupted: nothing is fresh until market and account are read by questions asked after `at`.
    pub fn interrupted(&mut self, at: Tick) {
        self.gap = Some(Gap { since: at, market_read: false, account_read: false });
    }

    /// The market was read over HTTP by a question sent at `asked`.
    pub fn read_again(&mut self, asked: Tick, received: Tick, book: &Book, mark: Option<Px>) {
        if self.gap.is_some_and(|gap| asked >= gap.since) {
            // Across a gap the venue may have restarted: the answer is where we stand, whatever came before.
            if self.top.is_some_and(|top| book.time < top.venue_ms && asked >= top.received) {
                self.top = None;
            }
            if let Some(gap) = &mut self.gap {
                gap.market_read = true;
            }
        }
        self.book(received, book);
        self.mark(received, mark);
        self.close_gap();
    }

    /// The account was read over HTTP by a question sent at `asked`.
    pub fn account_read(&mut self, asked: Tick) {
        if let Some(gap) = self.gap.as_mut().filter(|gap| asked >= gap.since) {
            gap.account_read = true;
        }
        self.close_gap();
    }

    fn close_gap(&mut self) {
        self.gap = self.gap.filter(|gap| !(gap.market_read && gap.account_read));
    }

    /// Index or decimals of the coin are not what they were: what we see may be another market. Until restarted.
    pub const fn instrument_changed(&mut self) {
        self.changed = true;
    }

    /// Whether a reading over HTTP would help: after an interruption, or when the mark grows old.
    #[must_use]
    pub fn wants_reading(&self, now: Tick) -> bool {
        self.gap.is_some_and(|gap| !gap.market_read)
            || self.mark.is_none_or(|(_, at)| now.since(at) > MARK_REREAD)
            || self.jump.is_some()
    }

    /// Whether any book was ever received.
    #[must_use]
    pub const fn has_book(&self) -> bool {
        self.top.is_some()
    }

    /// The top of the book as last seen.
    #[must_use]
    pub const fn top(&self) -> Option<Top> {
        self.top
    }

    /// The mark as last seen.
    #[must_use]
    pub fn mark_px(&self) -> Option<Px> {
        self.mark.map(|(px, _)| px)
    }

    /// Venue clock minus wall clock at `now`, in milliseconds, erring on the early side; 0 while never compared (the
    /// state is not fresh then).
    #[must_use]
    pub fn skew_ms(&self, now: Tick, wall_ms: u64) -> i64 {
        let Some(clock) = self.clock else { return 0 };
        let venue = i64::try_from(clock.venue_ms(now)).unwrap_or(i64::MAX);
        venue.saturating_sub(i64::try_from(wall_ms).unwrap_or(i64::MAX))
    }

    /// Receipt of the last book that was fresh when judged.
    #[must_use]
    pub const fn last_good(&self) -> Option<Tick> {
        self.last_good
    }

    /// The verdict at `now`; remembers the last good book.
    pub fn state(&mut self, now: Tick, wall_ms: u64) -> MarketState {
        let state = self.verdict(now, wall_ms);
        if state == MarketState::Fresh {
            self.last_good = self.top.map(|top| top.received);
        }
        state
    }

    fn verdict(&self, now: Tick, wall_ms: u64) -> MarketState {
        let Some(top) = self.top else { return MarketState::Absent };
        if self.gap.is_some() || self.changed {
            return MarketState::Gap;
        }
        if now.since(top.received) > MARKET_MAX_AGE {
            return MarketState::Stale;
        }
        let Some(clock) = self.clock else { return MarketState::Absent };
        if now.since(clock.sampled()) > CLOCK_MAX_AGE {
            return MarketState::Stale;
        }
        let venue_now = clock.venue_ms(now);
        // The sample errs early by up to its round trip: an own slow connection is not a fault of clocks.
        let slack = clock.uncertainty().as_ms();
        let ahead = top.venue_ms.saturating_sub(venue_now);
        if self.skew_ms(now, wall_ms).unsigned_abs() > SKEW_MAX_MS.saturating_add(slack)
            || ahead > AHEAD_MAX_MS.saturating_add(slack)
        {
            return MarketState::ClockSkew;
        }
        if now.since(top.since) > FROZEN_AFTER {
            return MarketState::Frozen;
        }
        if venue_now.saturating_sub(top.venue_ms) > MARKET_MAX_AGE.as_ms() {
            return MarketState::Stale;
        }
        let (Some((bid, _)), Some((ask, _))) = (top.bid, top.ask) else { return MarketState::OneSided };
        if bid >= ask {
            return MarketState::Crossed;
        }
        let Some((mark, marked)) = self.mark else { return MarketState::Absent };
        if now.since(marked) > MARK_MAX_AGE {
            return MarketState::Stale;
        }
        let near = top.mid().is_some_and(|mid| !apart(mid, mark, MARK_DISTANCE_BPS));
        if !near || self.jump.is_some() {
            return MarketState::Unbelievable;
        }
        MarketState::Fresh
    }
}

#[cfg(test)]
mod tests;
