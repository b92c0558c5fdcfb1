//! Carries out what the ladder asks for: reads, cancels, closes, best prices. Decides nothing.
//!
//! * A read asks for the list of dexes and for every dex at the same time; a dex that was not known is read too. One
//!   failed answer fails the read.
//! * Every close is built by the arithmetic of the venue crate on the very read the ladder decided on.
//! * Every call is bounded; an action that was cut off counts as unknown.

use crate::ladder::{Close, Event, Held, How, Live, Market, Next, Objection, ReadFailed, Reading, Said, Touch};
use futures_util::future::join_all;
use holdfast_core::money::Px;
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::clock;
use holdfast_venue_reduce::action::CancelOid;
use holdfast_venue_reduce::client::{IDLE_LINES_MAX, ReadError};
use holdfast_venue_reduce::clock::VenueClock;
use holdfast_venue_reduce::outcome::{Outcome, RefusalClass};
use holdfast_venue_reduce::read::{AccountRole, AccountSnapshot, Asset, DexView, SpotPairs, Universe, is_spot};
use holdfast_venue_reduce::reduce::{ReduceClient, Sent, Timing};
use holdfast_venue_reduce::reduction::{Ask, NotAReduction, Reduction};
use holdfast_venue_reduce::wire::{AssetIndex, Cloid, Dex, Oid, Side, Tif};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Longest a single read of the account may take, retries of the ladder aside.
const READ_WITHIN: Duration = Duration::from_secs(8);
/// Longest a batch of actions may take; many cancels are several requests.
const ACT_WITHIN: Duration = Duration::from_secs(30);

/// The connection to the venue and what was learned from it.
pub(crate) struct Desk {
    client: ReduceClient,
    dexes: RefCell<Vec<Dex>>,
    markets: RefCell<BTreeMap<Dex, Universe>>,
    /// Read when the first order in a spot pair is seen.
    spot: RefCell<SpotPairs>,
    venue_clock: Cell<Option<VenueClock>>,
    account: RefCell<Option<AccountSnapshot>>,
    unreachable_since: Cell<Option<Tick>>,
    nonce_alarm: Cell<bool>,
    role_known: Cell<bool>,
}

/// Why the first contact failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirstContact {
    /// The configured account is an agent: reads of it look flat whatever is open.
    #[error(
        "the configured account is an agent key's address: reads of it always look flat; configure the account itself"
    )]
    AgentAddress,
    /// The venue did not answer well enough; try again.
    #[error("{0}")]
    Later(String),
}

impl Desk {
    /// A desk that knows nothing yet.
    #[must_use]
    pub(crate) fn new(client: ReduceClient) -> Self {
        Self {
            client,
            dexes: RefCell::default(),
            markets: RefCell::default(),
            spot: RefCell::default(),
            venue_clock: Cell::new(None),
            account: RefCell::new(None),
            unreachable_since: Cell::new(None),
            nonce_alarm: Cell::new(false),
            role_known: Cell::new(false),
        }
    }

    /// Since when no connection to the venue could be made; `None` when the last attempt got one.
    #[must_use]
    pub(crate) fn unreachable_since(&self) -> Option<Tick> {
        self.unreachable_since.get()
    }

    /// The last complete read.
    #[must_use]
    pub(crate) fn account(&self) -> Option<AccountSnapshot> {
        self.account.borrow().clone()
    }

    /// Learns who we are, the markets of every dex, and the account.
    ///
    /// # Errors
    /// [`FirstContact`]; anything but an agent's address is worth another try.
    pub(crate) async fn first_contact(&self) -> Result<(), FirstContact> {
        let venue = self.client.venue();
        let later = |e: ReadError| FirstContact::Later(e.to_string());
        let role = async {
            // The dearest of all reads: asked until it is answered, not again.
            if self.role_known.get() { Ok(None) } else { venue.role_of(venue.account()).await.map(Some) }
        };
        let (role, reading) = tokio::join!(role, self.read());
        if matches!(role, Ok(Some(AccountRole::Agent { .. }))) {
            return Err(FirstContact::AgentAddress);
        }
        role.map_err(later)?;
        self.role_known.set(true);
        reading.map_err(|failed| FirstContact::Later(words_of(failed)))?;
        let dexes = self.dexes.borrow().clone();
        for dex in &dexes {
            self.learn_markets(dex).await.map_err(later)?;
        }
        Ok(())
    }

    /// Does one thing the ladder asked for. [`Next::Wait`], [`Next::Await`] and [`Next::Done`] are not for the desk.
    pub(crate) async fn perform(&self, next: Next) -> Event {
        match next {
            Next::Read => {
                let read = tokio::time::timeout(READ_WITHIN, self.read()).await;
                Event::Read(read.unwrap_or_else(|_| Err(ReadFailed::Other("the read took too long".to_owned()))))
            }
            Next::Cancel { orders, valid } => {
                let count = orders.len();
                match tokio::time::timeout(ACT_WITHIN, self.cancel(orders, valid)).await {
                    Ok((said, words)) => Event::Cancelled { said, words },
                    Err(_) => Event::Cancelled { said: vec![Said::Unknown; count], words: None },
                }
            }
            Next::Close { orders, valid } => {
                let count = orders.len();
                match tokio::time::timeout(ACT_WITHIN, self.close(orders, valid)).await {
                    Ok((said, words)) => Event::Closed { said, words },
                    Err(_) => Event::Closed { said: vec![Said::Unknown; count], words: None },
                }
            }
            Next::Touch(markets) => Event::Touched(self.touches(markets).await),
            Next::Wait(_) | Next::Await | Next::Done => Event::Timer,
        }
    }

    /// Sets the venue's dead-man switch this far ahead (or clears it). Answers the venue instant asked for and the verdict.
    pub(crate) async fn arm(&self, ahead: Option<Span>) -> (u64, Outcome) {
        if self.venue_clock.get().is_none_or(|known| clock::now().since(known.sampled()) > Span::from_ms(60_000))
            && let Ok(time) = self.client.venue().venue_time().await
        {
            self.venue_clock.set(time.clock());
        }
        let at = self.timing(Span::from_ms(4000));
        let fires = ahead.map(|span| at.now_ms.saturating_add(span.as_ms()));
        let sent = self.client.schedule_cancel(fires, at).await;
        self.alarm(&sent);
        let outcome = sent.single().cloned().unwrap_or_else(|| Outcome::not_sent(&"no verdict"));
        (fires.unwrap_or(0), outcome)
    }

    /// The switch set as near as the venue takes it, without asking anything first: for when reads do not answer.
    pub(crate) async fn arm_unread(&self, ahead: Span) -> (u64, Outcome) {
        let at = self.timing(Span::from_ms(4000));
        let fires = at.now_ms.saturating_add(ahead.as_ms());
        let sent = self.client.schedule_cancel(Some(fires), at).await;
        self.alarm(&sent);
        let outcome = sent.single().cloned().unwrap_or_else(|| Outcome::not_sent(&"no verdict"));
        (fires, outcome)
    }

    /// Cancels orders as they were read last, and asks the venue nothing: those in markets that were never read are left
    /// to its own switch. One that is gone is no harm.
    pub(crate) async fn cancel_unread(&self, orders: Vec<(Market, u64)>, valid: Span) -> Vec<Said> {
        let index = |market: &Market| {
            if is_spot(&market.coin) {
                return self.spot.borrow().index(&market.coin);
            }
            self.known(market).map(|asset| asset.index)
        };
        let known = orders.iter().filter_map(|(market, oid)| Some(CancelOid { asset: index(market)?, oid: Oid(*oid) }));
        let cancels: Vec<CancelOid> = known.collect();
        if cancels.is_empty() {
            return Vec::new();
        }
        let sent = tokio::time::timeout(ACT_WITHIN, self.client.cancel(&cancels, self.timing(valid))).await;
        let Ok(sent) = sent else { return vec![Said::Unknown; cancels.len()] };
        self.alarm(&sent);
        sent.outcomes.iter().map(|outcome| said_of(outcome, &mut None)).collect()
    }

    /// Asks something cheap on as many connections as a read of every dex uses at once.
    pub(crate) async fn keep_warm(&self) {
        let lines = (1 + 2 * self.dexes.borrow().len()).min(IDLE_LINES_MAX);
        // What fails here shows when there is something to read.
        let _ = join_all((0..lines).map(|_| self.client.venue().venue_time())).await;
    }

    async fn read_dex(&self, dex: Dex) -> Result<DexView, ReadError> {
        let venue = self.client.venue();
        let (orders, account) = tokio::join!(venue.open_orders(&dex), venue.clearinghouse(&dex));
        Ok(DexView { account: account?, orders: orders?, dex })
    }

    async fn read(&self) -> Result<Reading, ReadFailed> {
        let read = self.read_every_dex().await;
        match &read {
            Err(ReadError::Connect(_)) if self.unreachable_since.get().is_none() => {
                self.unreachable_since.set(Some(clock::now()));
            }
            Err(ReadError::Connect(_)) => {}
            Ok(_) | Err(_) => self.unreachable_since.set(None),
        }
        let account = read.map_err(|error| {
            if matches!(error, ReadError::Throttled) {
                ReadFailed::Throttled
            } else {
                ReadFailed::Other(error.to_string())
            }
        })?;
        let reading = reading_of(&account);
        *self.account.borrow_mut() = Some(account);
        Ok(reading)
    }

    async fn read_every_dex(&self) -> Result<AccountSnapshot, ReadError> {
        let venue = self.client.venue();
        let known = self.dexes.borrow().clone();
        let (names, views) = tokio::join!(venue.perp_dexs(), join_all(known.iter().cloned().map(|d| self.read_dex(d))));
        let names = names?;
        // A dex the venue no longer lists holds nothing; its refusal must not blind us to the others.
        let listed = known.iter().zip(views).filter(|(dex, _)| names.contains(dex)).map(|(_, view)| view);
        let mut views = listed.collect::<Result<Vec<_>, _>>()?;
        let unread = names.iter().filter(|dex| !known.contains(dex)).cloned();
        for view in join_all(unread.map(|dex| self.read_dex(dex))).await {
            views.push(view?);
        }
        *self.dexes.borrow_mut() = names;
        let account = AccountSnapshot::of_parts(views, clock::now())?;
        if let Some(sample) = VenueClock::sample(account.venue_time_ms, account.sent, account.received) {
            self.venue_clock.set(Some(sample));
        }
        Ok(account)
    }

    async fn learn_markets(&self, dex: &Dex) -> Result<(), ReadError> {
        let position = self.dexes.borrow().iter().position(|known| known == dex);
        let position = position.ok_or_else(|| ReadError::Shape(format!("dex {dex} is not listed")))?;
        let universe = self.client.venue().meta(dex, position).await?;
        self.markets.borrow_mut().insert(dex.clone(), universe);
        Ok(())
    }

    /// The market's index and rules, if they are known.
    fn known(&self, market: &Market) -> Option<Asset> {
        let dex: Dex = market.dex.parse().ok()?;
        self.markets.borrow().get(&dex).and_then(|all| all.asset(&market.coin)).cloned()
    }

    /// Index and rules of each market; asks the venue again for those it does not know. Every dex is asked once and all
    /// at the same time: one whose answer does not come must not use up the time the others are acted on in.
    async fn assets(&self, markets: &[&Market]) -> Vec<Result<Asset, String>> {
        let missing = markets.iter().filter(|market| self.known(market).is_none());
        let dexes: BTreeSet<&str> = missing.map(|market| market.dex.as_str()).collect();
        let learn = dexes.into_iter().map(|name| async move {
            let learnt = match name.parse::<Dex>() {
                Ok(dex) => self.learn_markets(&dex).await.map_err(|e| format!("markets of {dex}: {e}")),
                Err(e) => Err(e.to_string()),
            };
            (name, learnt)
        });
        let learnt: BTreeMap<&str, Result<(), String>> = join_all(learn).await.into_iter().collect();
        let found = |market: &&Market| {
            self.known(market).ok_or_else(|| match learnt.get(market.dex.as_str()) {
                Some(Err(why)) => why.clone(),
                Some(Ok(())) | None => format!("the venue lists no market {}", market.coin),
            })
        };
        markets.iter().map(found).collect()
    }

    /// Indices to cancel by: any order the account can have is in a perpetual or in a spot pair.
    async fn indices(&self, markets: &[&Market]) -> Vec<Result<AssetIndex, String>> {
        let (pairs, perps): (Vec<&Market>, Vec<&Market>) = markets.iter().partition(|market| is_spot(&market.coin));
        let (spot, assets) = tokio::join!(self.learn_spot(&pairs), self.assets(&perps));
        let mut assets = assets.into_iter();
        let index = |market: &&Market| {
            if !is_spot(&market.coin) {
                let asset = assets.next().unwrap_or_else(|| Err(format!("no answer about {}", market.coin)));
                return asset.map(|asset| asset.index);
            }
            self.spot.borrow().index(&market.coin).ok_or_else(|| match &spot {
                Err(why) => why.clone(),
                Ok(()) => format!("the venue lists no spot pair {}", market.coin),
            })
        };
        markets.iter().map(index).collect()
    }

    async fn learn_spot(&self, pairs: &[&Market]) -> Result<(), String> {
        let missing = pairs.iter().any(|market| self.spot.borrow().index(&market.coin).is_none());
        if missing {
            let learnt = self.client.venue().spot_pairs().await.map_err(|e| format!("spot pairs: {e}"))?;
            *self.spot.borrow_mut() = learnt;
        }
        Ok(())
    }

    fn timing(&self, valid: Span) -> Timing {
        // Without a comparison of the clocks the wall clock is the best there is; a wrong one costs a refusal.
        let now_ms = self.venue_clock.get().map_or_else(clock::wall_ms, |venue| venue.venue_ms(clock::now()));
        Timing { now_ms, expires_after_ms: now_ms.saturating_add(valid.as_ms()) }
    }

    fn alarm(&self, sent: &Sent) {
        if !sent.nonces_stored && !self.nonce_alarm.replace(true) {
            tracing::error!("nonces cannot be stored (disk full?); reducing goes on");
        }
    }

    async fn cancel(&self, orders: Vec<Live>, valid: Span) -> (Vec<Said>, Option<String>) {
        let mut cancels = Vec::with_capacity(orders.len());
        let mut words = None;
        let mut said = Vec::with_capacity(orders.len());
        let markets: Vec<&Market> = orders.iter().map(|order| &order.market).collect();
        for (order, index) in orders.iter().zip(self.indices(&markets).await) {
            match index {
                Ok(asset) => cancels.push(CancelOid { asset, oid: Oid(order.oid) }),
                Err(why) => {
                    words.get_or_insert(why);
                    said.push(Said::Refused(Objection::Other));
                }
            }
        }
        let sent = self.client.cancel(&cancels, self.timing(valid)).await;
        self.alarm(&sent);
        for outcome in &sent.outcomes {
            said.push(said_of(outcome, &mut words));
        }
        (said, words)
    }

    async fn close(&self, orders: Vec<Close>, valid: Span) -> (Vec<Said>, Option<String>) {
        let Some(account) = self.account() else {
            return (vec![Said::Refused(Objection::Other); orders.len()], Some("no account read".to_owned()));
        };
        let mut words = None;
        let mut batch = Vec::with_capacity(orders.len());
        let mut said: Vec<Option<Said>> = Vec::with_capacity(orders.len());
        let markets: Vec<&Market> = orders.iter().map(|order| &order.market).collect();
        for (order, asset) in orders.iter().zip(self.assets(&markets).await) {
            let refused = match asset {
                Ok(asset) => match build(&account, &asset, order) {
                    Ok(reduction) => {
                        batch.push(reduction);
                        said.push(None);
                        continue;
                    }
                    Err(refused) => refused,
                },
                Err(why) => (Objection::Other, why),
            };
            said.push(Some(Said::Refused(refused.0)));
            words.get_or_insert(refused.1);
        }
        let sent = self.client.close_many(batch, self.timing(valid)).await;
        self.alarm(&sent);
        let mut outcomes = sent.outcomes.iter();
        let said = said
            .into_iter()
            .map(|known| {
                known.unwrap_or_else(|| outcomes.next().map_or(Said::Unknown, |outcome| said_of(outcome, &mut words)))
            })
            .collect();
        (said, words)
    }

    async fn touches(&self, markets: Vec<Market>) -> Vec<Touch> {
        let venue = self.client.venue();
        let all = join_all(markets.into_iter().map(|market| async move {
            let book = venue.l2_book(&market.coin).await.ok().flatten()?;
            let (bid, ask) = (book.best_bid().map(|level| level.px), book.best_ask().map(|level| level.px));
            Some(Touch { market, bid, ask })
        }));
        // One slow book must not hold the others for ever; the client's own deadline bounds each.
        tokio::time::timeout(READ_WITHIN, all).await.unwrap_or_default().into_iter().flatten().collect()
    }
}

fn build(account: &AccountSnapshot, asset: &Asset, order: &Close) -> Result<Reduction, (Objection, String)> {
    let named = |why: &dyn std::fmt::Display| format!("{}: {why}", order.market.coin);
    let mark = || -> Option<Px> {
        let (_, position) = account
            .positions()
            .find(|(dex, position)| dex.as_str() == order.market.dex && position.coin() == order.market.coin)?;
        position.mark_px().or_else(|| position.entry_px())
    };
    let side = Side::of(order.position.is_short());
    let through = |bps| mark().and_then(|mark| asset.rule.bounded(mark, bps, side));
    let (bound, tif) = match order.how {
        How::Ioc { bps } => (through(bps), Tif::Ioc),
        How::Gtc { bps } => (through(bps), Tif::Gtc),
        How::Alo { px } => (Some(px), Tif::Alo),
    };
    let bound = bound.ok_or_else(|| (Objection::Other, named(&"no price to bound a close with")))?;
    let mut bytes = [0_u8; 16];
    // Without randomness the clock still makes the id unique within this process.
    if getrandom::fill(&mut bytes).is_err() {
        bytes.copy_from_slice(&u128::from(clock::now().0).to_be_bytes());
    }
    let ask = Ask { account, asset, bound, tif, cloid: Cloid::new(bytes), now: clock::now() };
    match Reduction::full(&ask) {
        Err(NotAReduction::OthersMayFill { .. }) => {
            Reduction::within(&ask).map_err(|e| (Objection::InTheWay, named(&e)))
        }
        Err(other) => Err((Objection::Other, named(&other))),
        Ok(reduction) => Ok(reduction),
    }
}

fn said_of(outcome: &Outcome, words: &mut Option<String>) -> Said {
    match outcome {
        Outcome::Accepted(_) => Said::Accepted,
        Outcome::Unknown(why) => {
            words.get_or_insert_with(|| format!("not answered: {why:?}"));
            Said::Unknown
        }
        Outcome::Refused(refusal) => {
            let objection = match refusal.class {
                // The order is gone, which is what was wanted; whether it filled shows in the position.
                RefusalClass::CancelGone => return Said::Accepted,
                RefusalClass::PostOnlyWindow => Objection::PostOnly,
                RefusalClass::AddressQuota => Objection::Quota,
                RefusalClass::Expired => Objection::Expired,
                RefusalClass::IocNoMatch
                | RefusalClass::NoLiquidity
                | RefusalClass::PostOnlyCrossed
                | RefusalClass::WouldIncrease => Objection::NoMatch,
                RefusalClass::Precision
                | RefusalClass::TooSmall
                | RefusalClass::Margin
                | RefusalClass::BadTrigger
                | RefusalClass::TooFarFromOracle
                | RefusalClass::OpenInterest
                | RefusalClass::DeadManVolume
                | RefusalClass::Nonce
                | RefusalClass::Misconfigured
                | RefusalClass::NotSent
                | RefusalClass::Other => Objection::Other,
            };
            words.get_or_insert_with(|| refusal.text.clone());
            Said::Refused(objection)
        }
    }
}

fn words_of(failed: ReadFailed) -> String {
    match failed {
        ReadFailed::Throttled => "the venue throttles us".to_owned(),
        ReadFailed::Other(words) => words,
    }
}

fn reading_of(account: &AccountSnapshot) -> Reading {
    let market = |dex: &Dex, coin: &str| Market { dex: dex.as_str().to_owned(), coin: coin.to_owned() };
    Reading {
        sent: account.sent,
        venue_ms: account.venue_time_ms,
        held: account
            .positions()
            .map(|(dex, position)| Held { market: market(dex, position.coin()), size: position.szi() })
            .collect(),
        live: account
            .open_orders()
            .into_iter()
            .map(|(dex, order)| Live {
                market: market(dex, &order.coin),
                oid: order.oid.0,
                is_buy: order.side.is_buy(),
                px: order.limit_px,
                size: order.sz,
                reduce_only: order.reduce_only,
                trigger: order.is_trigger,
            })
            .collect(),
    }
}
