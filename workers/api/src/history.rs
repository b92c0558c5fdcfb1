//! What a fresh page needs to draw its charts at once: bounded rings, newest last.

use holdfast_core::money::Px;
use holdfast_core::report::{AccountView, MarketState};
use holdfast_ipc::feed::{CycleAction, FillView, MarketView};
use serde::Serialize;
use std::collections::VecDeque;

const PRICES_MAX: usize = 1200;
const FILLS_MAX: usize = 500;
const EQUITY_MAX: usize = 1200;
const CYCLES_MAX: usize = 200;
/// Characters kept of a text from another worker.
const WORDS_MAX: usize = 300;

/// A point of a chart: venue milliseconds and a decimal as text.
type Point = (u64, String);

/// One decision of the engine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CycleRow {
    /// Wall-clock milliseconds of receipt.
    pub(crate) t: u64,
    /// Coin name.
    pub(crate) coin: String,
    /// Bar number since the engine started.
    pub(crate) bar: u64,
    /// Close of the bar.
    pub(crate) close: Px,
    /// Signal in hundredths of a percent.
    pub(crate) signal_bps: i64,
    /// What was done.
    pub(crate) action: CycleAction,
    /// Why, for people.
    pub(crate) detail: String,
}

/// The rings.
#[derive(Debug, Default, Serialize)]
pub(crate) struct History {
    coin: String,
    prices: VecDeque<Point>,
    fills: VecDeque<FillView>,
    equity: VecDeque<Point>,
    cycles: VecDeque<CycleRow>,
}

fn push<T>(ring: &mut VecDeque<T>, item: T, max: usize) {
    if ring.len() >= max {
        ring.pop_front();
    }
    ring.push_back(item);
}

fn clip(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(WORDS_MAX) {
        text.truncate(at);
    }
}

impl History {
    /// Keeps a believable price; one that is not believed, or not newer than the last, leaves a hole.
    pub(crate) fn market(&mut self, view: &MarketView) {
        if view.state != MarketState::Fresh || view.coin.len() > WORDS_MAX {
            return;
        }
        let (Some((bid, _)), Some((ask, _))) = (view.bid, view.ask) else { return };
        let Some(mid) = bid.mid(ask) else { return };
        if self.coin != view.coin {
            self.coin.clone_from(&view.coin);
            self.prices.clear();
        }
        if self.prices.back().is_none_or(|(t, _)| *t < view.venue_ms) {
            push(&mut self.prices, (view.venue_ms, mid.to_string()), PRICES_MAX);
        }
    }

    /// Keeps a fill; `false` when it was known already (a restarted sensor may say it again).
    pub(crate) fn fill(&mut self, fill: &FillView) -> bool {
        let known = self.fills.iter().any(|f| f.tid == fill.tid && f.coin == fill.coin && f.venue_ms == fill.venue_ms);
        if known || fill.coin.len() > WORDS_MAX {
            return false;
        }
        push(&mut self.fills, fill.clone(), FILLS_MAX);
        true
    }

    /// Keeps the account's value.
    pub(crate) fn account(&mut self, view: &AccountView) {
        if self.equity.back().is_none_or(|(t, _)| *t < view.venue_ms) {
            push(&mut self.equity, (view.venue_ms, view.equity_usd.to_string()), EQUITY_MAX);
        }
    }

    /// Keeps a decision, with its words cut to length.
    pub(crate) fn cycle(&mut self, mut row: CycleRow) -> CycleRow {
        clip(&mut row.detail);
        clip(&mut row.coin);
        match &mut row.action {
            CycleAction::Close { why, .. } => clip(why),
            CycleAction::Hold {} | CycleAction::Open { .. } | CycleAction::Rejected { .. } => {}
        }
        push(&mut self.cycles, row.clone(), CYCLES_MAX);
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::time::Tick;

    fn view(t: u64, bid: &str, ask: &str, state: MarketState) -> MarketView {
        let side = |px: &str| Some((px.parse().unwrap(), "1".parse().unwrap()));
        MarketView {
            coin: "BTC".into(),
            state,
            venue_ms: t,
            received: Tick(0),
            bid: side(bid),
            ask: side(ask),
            mark: None,
            skew_ms: 0,
        }
    }

    #[test]
    fn prices_are_believed_newer_and_bounded() {
        let mut history = History::default();
        history.market(&view(1, "99", "101", MarketState::Fresh));
        history.market(&view(1, "98", "101", MarketState::Fresh));
        history.market(&view(2, "50", "60", MarketState::Unbelievable));
        assert_eq!(history.prices, [(1, "100".to_owned())]);
        for t in 3..3000 {
            history.market(&view(t, "99", "101", MarketState::Fresh));
        }
        assert_eq!(history.prices.len(), PRICES_MAX);
        assert_eq!(history.prices.back().map(|p| p.0), Some(2999));
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        let mut text = "ü".repeat(1000);
        clip(&mut text);
        assert_eq!(text.chars().count(), WORDS_MAX);
    }
}
