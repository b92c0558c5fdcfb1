//! What the ladder sees and what it asks for: closed shapes, no I/O.

use holdfast_core::money::{Px, Sz, Szi};
use holdfast_core::report::JobProgress;
use holdfast_core::time::{Span, Tick};

/// One coin on one dex. The name alone is not enough: dexes may share names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Market {
    /// The dex; empty for the first.
    pub dex: String,
    /// The coin as the venue spells it.
    pub coin: String,
}

/// A position that is not flat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Where.
    pub market: Market,
    /// Signed size in coin.
    pub size: Szi,
}

/// An order the venue holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Where.
    pub market: Market,
    /// Venue order id.
    pub oid: u64,
    /// Whether it buys.
    pub is_buy: bool,
    /// Limit price; market triggers show none.
    pub px: Option<Px>,
    /// Size still open, in coin.
    pub size: Sz,
    /// The venue will not let it increase a position.
    pub reduce_only: bool,
    /// A trigger that is not on the book yet.
    pub trigger: bool,
}

/// One complete read of every dex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When the first question left: the reading is at least as new as this.
    pub sent: Tick,
    /// Oldest venue time among the answers, milliseconds since the epoch.
    pub venue_ms: u64,
    /// Every position.
    pub held: Vec<Held>,
    /// Every order.
    pub live: Vec<Live>,
}

/// Why a read gave nothing. Nothing is not flat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFailed {
    /// The venue throttles us: ask less often.
    Throttled,
    /// Anything else, in words for people.
    Other(String),
}

/// Why the venue (or this host) refused one entry, as far as the next move depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// Only post-only orders are taken for a while.
    PostOnly,
    /// The address's request quota is spent.
    Quota,
    /// `expiresAfter` had passed on arrival.
    Expired,
    /// Nothing to match inside the bound, or the book is empty.
    NoMatch,
    /// Our arithmetic refused it: other live orders are in the way.
    InTheWay,
    /// Anything else.
    Other,
}

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Taken. Proves neither execution nor flat.
    Accepted,
    /// Certainly not taken.
    Refused(Objection),
    /// Nobody knows until its expiry has passed.
    Unknown,
}

/// Best prices of one book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Where.
    pub market: Market,
    /// Best bid.
    pub bid: Option<Px>,
    /// Best ask.
    pub ask: Option<Px>,
}

/// How a close is priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Immediate, at worst this many hundredths of a percent through the mark.
    Ioc {
        /// The bound.
        bps: u32,
    },
    /// Resting across the book, bounded likewise.
    Gtc {
        /// The bound.
        bps: u32,
    },
    /// Post-only at this price.
    Alo {
        /// The touch.
        px: Px,
    },
}

/// One full-size reduce-only close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Where.
    pub market: Market,
    /// The position as last read; the order is its whole size on the other side.
    pub position: Szi,
    /// How it is priced.
    pub how: How,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A read ended.
    Read(Result<Reading, ReadFailed>),
    /// A batch of cancels was answered, one verdict per entry.
    Cancelled {
        /// Verdicts.
        said: Vec<Said>,
        /// First refusal in the venue's words.
        words: Option<String>,
    },
    /// A batch of closes was answered, one verdict per entry.
    Closed {
        /// Verdicts.
        said: Vec<Said>,
        /// First refusal in the venue's words.
        words: Option<String>,
    },
    /// Best prices, for those markets that answered.
    Touched(Vec<Touch>),
    /// The clock moved.
    Timer,
}

/// The one thing to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read every dex afresh; a read that is out is dropped.
    Read,
    /// Cancel these.
    Cancel {
        /// The orders.
        orders: Vec<Live>,
        /// How long the venue may accept it.
        valid: Span,
    },
    /// Send these closes in one batch.
    Close {
        /// At most one per market.
        orders: Vec<Close>,
        /// How long the venue may accept it.
        valid: Span,
    },
    /// Read the best prices of these.
    Touch(Vec<Market>),
    /// Nothing before this instant; then [`Event::Timer`].
    Wait(Tick),
    /// An action is still out; wait for its answer.
    Await,
    /// Flat, proven and looked at again. Nothing more to do.
    Done,
}

/// The answer of the machine to one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Progress to report, if any.
    pub say: Option<JobProgress>,
    /// What to do.
    pub next: Next,
}
