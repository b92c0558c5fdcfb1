//! Plays the scenario against the boot clock: so many scenario milliseconds per millisecond of the wall.

use crate::exchange::SECOND_COIN;
use crate::market::{Level, Market, MarketEvent, MarketKind};
use crate::venue::Venue;
use holdfast_core::money::{Px, Sz};
use holdfast_ipc::clock;
use rust_decimal::Decimal;

/// A host that slept does not get the market it missed thrown at it in one burst.
const MAX_WALL_STEP_MS: u64 = 5_000;
/// Events taken before others get their turn.
const BATCH: usize = 500;

/// The scenario and where in it we are.
#[derive(Debug)]
pub(crate) struct Player {
    market: Market,
    next: Option<MarketEvent>,
    speed: u32,
    scenario_ms: u64,
    target_ms: u64,
    last_wall_ms: u64,
    stepping: bool,
}

impl Player {
    pub(crate) fn new(market: Market, speed: Option<u32>) -> Self {
        let speed = speed.unwrap_or_else(|| market.default_speed()).clamp(1, 3_600);
        let last_wall_ms = clock::now().0 / 1_000_000;
        Self { market, next: None, speed, scenario_ms: 0, target_ms: 0, last_wall_ms, stepping: false }
    }

    pub(crate) const fn speed(&self) -> u32 {
        self.speed
    }

    pub(crate) const fn scenario_ms(&self) -> u64 {
        self.scenario_ms
    }

    pub(crate) fn describe(&self) -> String {
        self.market.describe().to_owned()
    }

    /// The second dex has a market of its own that stands still.
    pub(crate) fn open_second(venue: &mut Venue) {
        let now = venue.now();
        let px = |cents: i64| Px::new(Decimal::new(cents, 2));
        let level =
            |cents| px(cents).ok().map(|px| Level { px, sz: Sz::new(Decimal::from(50)).unwrap_or(Sz::ZERO), n: 1 });
        let side = |sign: i64| (1..=20_i64).filter_map(|i| level(260_000 + sign * i * 100)).collect();
        if let Ok(mark) = px(260_000) {
            for kind in [MarketKind::Mark { px: mark }, MarketKind::Book { bids: side(-1), asks: side(1) }] {
                venue.ex.market_event(MarketEvent { at_ms: 0, coin: SECOND_COIN.to_owned(), kind }, now);
            }
        }
    }

    /// Plays until every coin has a price, or a bounded number of events has gone by.
    pub(crate) fn warm_up(&mut self, venue: &mut Venue) -> bool {
        Self::open_second(venue);
        for _ in 0..100_000 {
            if venue.ex.markets().all(crate::exchange::book::CoinMarket::is_ready) {
                return true;
            }
            let event = self.next.take().unwrap_or_else(|| self.market.next_event());
            self.scenario_ms = self.scenario_ms.max(event.at_ms);
            self.target_ms = self.scenario_ms;
            let now = venue.now();
            venue.ex.market_event(event, now);
        }
        false
    }

    /// Plays some events; true when the present (or the stepped-to instant) is reached.
    pub(crate) fn step(&mut self, venue: &mut Venue, advance: Option<u64>) -> bool {
        let wall = clock::now().0 / 1_000_000;
        let passed = wall.saturating_sub(self.last_wall_ms).min(MAX_WALL_STEP_MS);
        self.last_wall_ms = wall;
        self.target_ms = self.target_ms.saturating_add(passed.saturating_mul(u64::from(self.speed)));
        if let Some(advance) = advance
            && !self.stepping
        {
            self.target_ms = self.target_ms.saturating_add(advance);
            self.stepping = true;
        }
        let now = venue.now();
        for _ in 0..BATCH {
            let event = self.next.take().unwrap_or_else(|| self.market.next_event());
            if event.at_ms > self.target_ms {
                self.next = Some(event);
                self.scenario_ms = self.target_ms;
                self.stepping = false;
                venue.ex.tick(now);
                return true;
            }
            self.scenario_ms = event.at_ms;
            venue.ex.market_event(event, now);
        }
        false
    }
}
