//! The hard limits before every opening order. Pure: facts in, an intent or the reason against it out.
//!
//! Every limit is checked here and nowhere else; what is absent, stale or unknown refuses. The permit is looked at
//! first because without it nothing else matters, and again by the crate that sends.

use crate::book::Book;
use crate::key::{Key, key};
use crate::loss::Guard;
use holdfast_core::limits::MARKET_MAX_AGE;
use holdfast_core::money::{Px, Sz, Szi, Usd};
use holdfast_core::registry::RejectReason;
use holdfast_core::report::MarketState;
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::feed::MarketView;
use holdfast_ipc::settings::{LimitSettings, StrategySettings};
use holdfast_store::journal::{IntentKind, Memory};
use holdfast_venue_reduce::wire::{PriceRule, Side};
use std::collections::VecDeque;

/// The venue's minimum notional for opening, in whole USD.
const MIN_NOTIONAL_USD: u32 = 10;
/// Window of [`LimitSettings::orders_per_minute`].
const MINUTE: Span = Span::from_ms(60_000);

/// What the venue says about the coin, reduced to what the gate needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Price and size grid.
    pub rule: PriceRule,
    /// No longer traded.
    pub delisted: bool,
    /// The same as when it was first traded by this home.
    pub unchanged: bool,
}

/// Everything the gate looks at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The boot clock.
    pub now: Tick,
    /// A permit could be minted just now.
    pub permit: bool,
    /// Books were compared with the venue since this process began, and nothing has voided that.
    pub reconciled: bool,
    /// The journal accepts entries.
    pub journal_healthy: bool,
    /// What the journal remembers.
    pub memory: &'a Memory,
    /// Own view of the account.
    pub book: &'a Book,
    /// The market as last seen.
    pub market: Option<&'a MarketView>,
    /// The coin.
    pub instrument: Option<Instrument>,
    /// Daily loss, already on disk.
    pub guard: &'a Guard,
    /// Notional of opening orders sent and not answered, USD.
    pub in_flight_usd: Usd,
    /// When opening orders were sent, oldest first.
    pub sent: &'a VecDeque<Tick>,
    /// Requests left at the venue; absent = not known.
    pub requests_left: Option<u64>,
    /// Limits.
    pub limits: &'a LimitSettings,
    /// Strategy parameters.
    pub strategy: &'a StrategySettings,
    /// The account, for the key.
    pub account: &'a str,
    /// Venue time at which the deciding bar began, ms.
    pub bar_begins_ms: u64,
}

/// An opening that passed every limit. Only [`check`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIntent {
    key: Key,
    is_buy: bool,
    size: Sz,
    px: Px,
    notional: Usd,
    before: Szi,
}

impl OpenIntent {
    /// Idempotency key and client order id.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }
    /// Whether it buys.
    #[must_use]
    pub const fn is_buy(&self) -> bool {
        self.is_buy
    }
    /// Size in coin, legal.
    #[must_use]
    pub const fn size(&self) -> Sz {
        self.size
    }
    /// Limit price, legal and inside the slippage bound.
    #[must_use]
    pub const fn px(&self) -> Px {
        self.px
    }
    /// Size times limit price, USD.
    #[must_use]
    pub const fn notional(&self) -> Usd {
        self.notional
    }
    /// Position when it was decided.
    #[must_use]
    pub const fn before(&self) -> Szi {
        self.before
    }
}

/// Checks an opening in the strategy's coin against every limit.
///
/// # Errors
/// The first reason against it.
pub fn check(facts: &Facts<'_>, is_buy: bool) -> Result<OpenIntent, RejectReason> {
    authority(facts)?;
    let (size, px, notional) = order(facts, is_buy)?;
    let key = key(facts.account, &facts.strategy.coin, IntentKind::Open, is_buy, facts.bar_begins_ms);
    if facts.memory.knows_key(&key.key) || facts.memory.knows_cloid(&key.cloid) {
        return Err(RejectReason::DuplicateIntentId);
    }
    let before = money(facts, notional, px)?;
    Ok(OpenIntent { key, is_buy, size, px, notional, before })
}

/// May anything be opened at all?
fn authority(facts: &Facts<'_>) -> Result<(), RejectReason> {
    if !facts.permit {
        return Err(RejectReason::PermitMissingOrExpired);
    }
    if !facts.reconciled {
        return Err(RejectReason::OpenPermissionLatched);
    }
    if !facts.journal_healthy {
        return Err(RejectReason::RecordedBeforeDispatchFailed);
    }
    if facts.memory.unsettled().next().is_some() || !facts.book.settled() {
        return Err(RejectReason::FeedbackLoopGuardActive);
    }
    if recent(facts.sent, facts.now) >= usize::try_from(facts.limits.orders_per_minute).unwrap_or(usize::MAX) {
        return Err(RejectReason::ChurnBreakerActive);
    }
    if facts.requests_left.is_none_or(|left| left < facts.limits.exit_reserve_requests) {
        return Err(RejectReason::RateLimitBrownout);
    }
    Ok(())
}

/// Opening orders sent within the last minute.
pub(crate) fn recent(sent: &VecDeque<Tick>, now: Tick) -> usize {
    sent.iter().filter(|sent| now.since(**sent) < MINUTE).count()
}

/// The order itself: a trustworthy price, a legal size.
fn order(facts: &Facts<'_>, is_buy: bool) -> Result<(Sz, Px, Usd), RejectReason> {
    let instrument = facts.instrument.filter(|i| i.unchanged).ok_or(RejectReason::InstrumentMetadataMissing)?;
    if instrument.delisted {
        return Err(RejectReason::InstrumentExpiredOrDelisted);
    }
    let (bid, ask) = touch(facts.market, facts.now).ok_or(RejectReason::LiquidityGateNoL2)?;
    let spread = ask.bps_from(bid).ok_or(RejectReason::NetEdgeInputMissing)?;
    if spread > i64::from(facts.strategy.slippage_bps) {
        return Err(RejectReason::ExpectedSlippageTooHigh);
    }
    let reference = if is_buy { ask } else { bid };
    let rule = instrument.rule;
    let px = rule
        .bounded(reference, facts.strategy.slippage_bps, Side::of(is_buy))
        .ok_or(RejectReason::NetEdgeInputMissing)?;
    // Sized at the dearer of the two prices, so that no execution inside the bound exceeds the notional.
    let dearest = px.max(ask);
    let size = facts.strategy.order_usd.size_at(dearest).ok_or(RejectReason::TooSmallAfterQuantization)?;
    let size = size.floor_to(rule.sz_decimals());
    let least = size.notional(px.min(bid)).ok_or(RejectReason::TooSmallAfterQuantization)?;
    if size.is_zero() || least < Usd::whole(MIN_NOTIONAL_USD) {
        return Err(RejectReason::TooSmallAfterQuantization);
    }
    let notional = size.notional(dearest).ok_or(RejectReason::TooSmallAfterQuantization)?;
    Ok((size, px, notional))
}

/// Exposure, margin and loss. Returns the position it starts from.
fn money(facts: &Facts<'_>, notional: Usd, px: Px) -> Result<Szi, RejectReason> {
    let limits = facts.limits;
    if notional > limits.order_usd {
        return Err(RejectReason::GlobalExposureBudgetExceeded);
    }
    // An account that cannot be read has no headroom that could be shown.
    let account = facts.book.fresh(facts.now).ok_or(RejectReason::MarginHeadroomRejectOpens)?;
    if !facts.guard.permits() {
        return Err(RejectReason::MarginHeadroomRejectOpens);
    }
    let before = facts.book.position(&facts.strategy.coin).ok_or(RejectReason::InventorySkewDeltaLimitMissing)?;
    if !before.is_zero() {
        return Err(RejectReason::InventorySkew);
    }
    let held =
        facts.book.exposure(facts.now, &facts.strategy.coin, px).ok_or(RejectReason::InventorySkewDeltaLimitMissing)?;
    let over = |sum: Option<Usd>| sum.is_none_or(|sum| sum > limits.exposure_usd);
    let after = held.checked_add(notional);
    if over(after) {
        return Err(RejectReason::GlobalExposureBudgetExceeded);
    }
    // Resting orders of anybody on this account that may open count as in flight.
    let resting = account
        .orders
        .iter()
        .filter(|o| !o.reduce_only)
        .try_fold(facts.in_flight_usd, |sum, o| sum.checked_add(o.size.notional(o.px)?));
    if over(after.and_then(|sum| sum.checked_add(resting?))) {
        return Err(RejectReason::PendingExposureBudgetExceeded);
    }
    // One times the notional, whatever leverage the venue would grant.
    let free = account.equity_usd.checked_sub(account.margin_used_usd);
    if free.is_none_or(|free| free < notional) {
        return Err(RejectReason::MarginHeadroomRejectOpens);
    }
    Ok(before)
}

/// Best bid and ask, if the market may be acted on now.
#[must_use]
pub fn touch(market: Option<&MarketView>, now: Tick) -> Option<(Px, Px)> {
    let view = market.filter(|view| view.state == MarketState::Fresh && now.since(view.received) <= MARKET_MAX_AGE)?;
    let (bid, ask) = (view.bid?.0, view.ask?.0);
    (bid < ask).then_some((bid, ask))
}

#[cfg(test)]
mod tests;
