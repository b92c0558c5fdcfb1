//! What to do next, from what was seen. Pure: the clock is passed in and every order is only a wish returned to the shell.
//!
//! * Opening is wished for only at the close of a bar, and passes the gate before it leaves this module.
//! * Closing is wished for at any price, with or without a permit, and is wished again until the venue shows it flat.
//! * While the market feed is silent and a position is held, another look at the market is wished for.

mod closing;

pub use closing::{CloseEnd, Closing};

use crate::bars::{Bar, Bars};
use crate::book::{Book, Drift};
use crate::gate::{self, Facts, Instrument, OpenIntent};
use crate::loss::{Change, Guard};
use crate::standing::{Sight, standing};
use crate::strategy::{Holding, Strategy, Want, Why};
use holdfast_core::ids::Epoch;
use holdfast_core::limits::MARKET_MAX_AGE;
use holdfast_core::money::{Px, Szi, Usd};
use holdfast_core::registry::RejectReason;
use holdfast_core::report::{AccountView, MarketState, Standing};
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::feed::MarketView;
use holdfast_ipc::settings::{LimitSettings, StrategySettings};
use holdfast_store::journal::Memory;
use std::collections::VecDeque;

/// How often the market is looked at over HTTP while the feed is silent and a position is held.
const LOOK_EVERY: Span = Span::from_ms(1000);
/// Opening orders remembered for the rate limit.
const SENT_MAX: usize = 4096;

/// One bar's story so far, for the cockpit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Bars since the engine started.
    pub bar: u64,
    /// Close of the bar, or the price that triggered an exit.
    pub close: Px,
    /// Signal in hundredths of a percent.
    pub signal_bps: i64,
    /// Which way the order it wants would go; absent while it wants none.
    pub is_buy: Option<bool>,
    /// For people.
    pub detail: String,
}

/// What the shell is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Send this opening.
    Open(Box<OpenIntent>, Draft),
    /// Say that nothing, or a refusal, came of a bar.
    Tell(Draft, Option<RejectReason>),
}

/// What the shell knows and the mind does not.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The boot clock.
    pub now: Tick,
    /// A permit could be minted just now.
    pub permit: bool,
    /// The journal accepts entries.
    pub journal_healthy: bool,
    /// What the journal remembers.
    pub memory: &'a Memory,
    /// No errand is running.
    pub idle: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Mind {
    strategy_settings: StrategySettings,
    limits: LimitSettings,
    account: String,
    epoch: Epoch,
    bars: Bars,
    strategy: Strategy,
    /// Own view of the account.
    pub book: Book,
    /// Daily loss; `None` when what is stored cannot be known.
    guard: Option<Guard>,
    /// The guard in memory is also on the disk.
    guard_stored: bool,
    market: Option<MarketView>,
    instrument: Option<Instrument>,
    requests_left: Option<u64>,
    reconciled: bool,
    sent: VecDeque<Tick>,
    since_bar: Option<u64>,
    closing: Option<Closing>,
    looked: Tick,
    bar_count: u64,
    last: Option<Draft>,
}

impl Mind {
    /// Knows nothing yet. `guard` is what was stored, if that could be read.
    #[must_use]
    pub fn new(
        strategy: &StrategySettings,
        limits: &LimitSettings,
        account: &str,
        epoch: Epoch,
        guard: Option<Guard>,
    ) -> Self {
        Self {
            bars: Bars::new(strategy.bar_ms),
            strategy: Strategy::new(strategy.clone()),
            strategy_settings: strategy.clone(),
            limits: limits.clone(),
            account: account.to_owned(),
            epoch,
            book: Book::default(),
            guard,
            guard_stored: false,
            market: None,
            instrument: None,
            requests_left: None,
            reconciled: false,
            sent: VecDeque::new(),
            since_bar: None,
            closing: None,
            looked: Tick(0),
            bar_count: 0,
            last: None,
        }
    }

    /// Takes a market view in. A believable price may close a bar, and may begin a close.
    pub fn on_market(&mut self, view: MarketView, around: &Surroundings<'_>) -> Option<Wish> {
        if view.coin != self.strategy_settings.coin {
            return None;
        }
        let older = self.market.as_ref().is_some_and(|old| view.received < old.received);
        let believable = !older && view.state == MarketState::Fresh;
        let venue_ms = view.venue_ms;
        if !older {
            self.market = Some(view);
        }
        let (bid, ask) = gate::touch(self.market.as_ref(), around.now).filter(|_| believable)?;
        let mid = bid.mid(ask)?;
        let Some(bar) = self.bars.push(venue_ms, mid) else {
            self.watch(bid, ask, venue_ms, around.now);
            return None;
        };
        self.on_bar(&bar, around)
    }

    /// A price from another look at the market, believable at `venue_ms`.
    pub fn on_looked(&mut self, bid: Px, ask: Px, venue_ms: u64, now: Tick) {
        self.watch(bid, ask, venue_ms, now);
        // The bars stand still with the feed; the clock of the venue does not.
        let number = self.bars.number_at(venue_ms);
        let held_long = self
            .since_bar
            .is_some_and(|since| number.saturating_sub(since) >= u64::from(self.strategy_settings.hold_bars));
        if held_long && self.position().is_some_and(|p| !p.is_zero()) {
            self.begin_close(Why::Hold, bid, now);
        }
    }

    fn on_bar(&mut self, bar: &Bar, around: &Surroundings<'_>) -> Option<Wish> {
        self.bar_count = self.bar_count.saturating_add(1);
        let holding = self.holding(bar.number);
        let verdict = self.strategy.on_bar(bar, holding.as_ref());
        let mut draft = Draft {
            bar: self.bar_count,
            close: bar.close,
            signal_bps: verdict.signal_bps,
            is_buy: None,
            detail: if verdict.warm_in > 0 {
                format!("warming up: {} more bars", verdict.warm_in)
            } else {
                String::new()
            },
        };
        self.last = Some(draft.clone());
        match verdict.want {
            Want::Close(why) => {
                self.begin_close(why, bar.close, around.now);
                None
            }
            Want::Hold => {
                if draft.detail.is_empty() {
                    holding.map_or("no signal", |_| "holding the position").clone_into(&mut draft.detail);
                }
                Some(Wish::Tell(draft, None))
            }
            Want::Open { is_buy } => Some(self.open(is_buy, bar, draft, around)),
        }
    }

    fn open(&mut self, is_buy: bool, bar: &Bar, mut draft: Draft, around: &Surroundings<'_>) -> Wish {
        let side = if is_buy { "buy" } else { "sell" };
        draft.is_buy = Some(is_buy);
        draft.detail = format!("signal to {side}: {} bps between the averages", draft.signal_bps);
        if !around.idle || self.closing.is_some() {
            return Wish::Tell(draft, Some(RejectReason::FeedbackLoopGuardActive));
        }
        let unknown = Guard::default();
        let guard = self.guard.as_ref().filter(|_| self.guard_stored).unwrap_or(&unknown);
        let facts = Facts {
            now: around.now,
            permit: around.permit,
            reconciled: self.reconciled,
            journal_healthy: around.journal_healthy,
            memory: around.memory,
            book: &self.book,
            market: self.market.as_ref(),
            instrument: self.instrument,
            guard,
            // An opening starts only when nothing else is under way, and none while an outcome is unknown.
            in_flight_usd: Usd::ZERO,
            sent: &self.sent,
            requests_left: self.requests_left,
            limits: &self.limits,
            strategy: &self.strategy_settings,
            account: &self.account,
            bar_begins_ms: self.bars.begins_ms(bar.number),
        };
        match gate::check(&facts, is_buy) {
            Ok(intent) => {
                if self.sent.len() >= SENT_MAX {
                    self.sent.pop_front();
                }
                self.sent.push_back(around.now);
                Wish::Open(Box::new(intent), draft)
            }
            Err(reason) => Wish::Tell(draft, Some(reason)),
        }
    }

    /// Stop and target between bars, at the price the position could be closed at.
    fn watch(&mut self, bid: Px, ask: Px, venue_ms: u64, now: Tick) {
        let Some(holding) = self.holding(self.bars.number_at(venue_ms)) else { return };
        let px = if holding.size.is_long() { bid } else { ask };
        if let Some(why) = self.strategy.on_price(px, &holding) {
            self.begin_close(why, px, now);
        }
    }

    /// Why every opening will be refused until something changes, if so.
    #[must_use]
    pub fn standing(&self, now: Tick) -> Option<Standing> {
        standing(&Sight {
            now,
            book: &self.book,
            instrument: self.instrument,
            requests_left: self.requests_left,
            sent: gate::recent(&self.sent, now),
            fruitless: self.closing.as_ref().map_or(0, |closing| closing.fruitless),
            limits: &self.limits,
            strategy: &self.strategy_settings,
        })
    }

    /// Whether the market must be looked at over HTTP: the feed is silent and something is held.
    pub fn look_due(&mut self, now: Tick) -> bool {
        let silent = self
            .market
            .as_ref()
            .is_none_or(|view| view.state != MarketState::Fresh || now.since(view.received) > MARKET_MAX_AGE);
        let due = silent
            && self.closing.is_none()
            && self.position().is_some_and(|p| !p.is_zero())
            && now.since(self.looked) >= LOOK_EVERY;
        if due {
            self.looked = now;
        }
        due
    }

    /// Takes an account reading in. Returns what it shows that our orders do not explain, and what the loss guard says.
    pub fn on_account(&mut self, view: AccountView) -> (Vec<Drift>, Change) {
        let (equity, venue_ms) = (view.equity_usd, view.venue_ms);
        if let Some(left) = view.requests_left {
            self.requests_left = Some(left);
        }
        let drifts = self.book.on_account(view);
        let limit = self.limits.daily_loss_usd;
        let change =
            self.guard.as_mut().map_or(Change::None, |guard| guard.on_equity(equity, venue_ms, limit, self.epoch));
        if change != Change::None {
            self.guard_stored = false;
        }
        if self.position().is_some_and(Szi::is_zero) && self.book.settled() {
            self.since_bar = None;
        }
        (drifts, change)
    }

    /// The venue was compared with the journal; `clean` says that they agree.
    pub fn on_reconciled(&mut self, clean: bool, instrument: Option<Instrument>, requests_left: Option<u64>) {
        self.reconciled = clean;
        if instrument.is_some() {
            self.instrument = instrument;
        }
        self.on_quota(requests_left);
    }

    /// What the venue said about our request quota.
    pub const fn on_quota(&mut self, requests_left: Option<u64>) {
        if requests_left.is_some() {
            self.requests_left = requests_left;
        }
    }

    /// Books must be compared again before anything is opened.
    pub const fn void_reconciled(&mut self) {
        self.reconciled = false;
    }

    /// The operator resumed: a reached loss limit is lifted, and measured anew from the next reading.
    pub fn acknowledge_limit(&mut self) {
        if let Some(guard) = self.guard.as_mut() {
            guard.acknowledge();
            self.guard_stored = false;
        }
    }

    /// The guard, to be stored or read.
    #[must_use]
    pub const fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    /// The guard, to note an asset in.
    pub const fn guard_mut(&mut self) -> Option<&mut Guard> {
        self.guard.as_mut()
    }

    /// This guard is on the disk now.
    pub fn on_guard_stored(&mut self, stored: &Guard) {
        self.guard_stored = self.guard.as_ref() == Some(stored);
    }

    /// The guard was changed and must be written again.
    pub const fn void_guard_stored(&mut self) {
        self.guard_stored = false;
    }

    /// Whether the guard must be written.
    #[must_use]
    pub const fn guard_unstored(&self) -> bool {
        self.guard.is_some() && !self.guard_stored
    }

    /// The market as last seen.
    #[must_use]
    pub const fn market(&self) -> Option<&MarketView> {
        self.market.as_ref()
    }

    fn position(&self) -> Option<Szi> {
        self.book.position(&self.strategy_settings.coin)
    }

    /// The position under management, by the best knowledge there is: an old reading still stops out.
    fn holding(&mut self, bar: u64) -> Option<Holding> {
        let size = self.position().filter(|p| !p.is_zero())?;
        let venue = self.book.venue_position(&self.strategy_settings.coin);
        // Right after our own order the venue's entry price is not read yet; the market is near it.
        let entry_px = match venue.and_then(|p| p.entry_px) {
            Some(px) => px,
            None => venue.and_then(|p| p.mark_px).or_else(|| self.last.as_ref().map(|d| d.close))?,
        };
        let since_bar = *self.since_bar.get_or_insert(bar);
        Some(Holding { size, entry_px, since_bar })
    }
}

#[cfg(test)]
mod tests;
