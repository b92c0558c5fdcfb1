//! The engine's hands: its connections to the venue, and the errands that use them. Every errand is bounded in time.
//!
//! * Opening: journal first, then the permit's own crate sends. An outcome nobody knows is written down as unknown.
//! * Closing: rests on a read made for it and needs no permit. The journal comes first here too, but only for a moment: a
//!   disk that fails or stalls does not keep a close from leaving.

use crate::gate::OpenIntent;
use crate::key::key;
use crate::mind::CloseEnd;
use crate::scribe::Scribe;
use holdfast_core::ids::Epoch;
use holdfast_core::money::{Px, Sz, Szi};
use holdfast_core::registry::RejectReason;
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::clock;
use holdfast_store::journal::{Entry, Intent, IntentKind, Recorded};
use holdfast_venue_open::{OpenOrder, Opener};
use holdfast_venue_reduce::client::{ReadError, Venue};
use holdfast_venue_reduce::clock::VenueClock;
use holdfast_venue_reduce::outcome::{Accepted, Outcome, RefusalClass, Unknown};
use holdfast_venue_reduce::read::{AccountSnapshot, Asset, DexScope};
use holdfast_venue_reduce::reduce::{ReduceClient, Timing};
use holdfast_venue_reduce::reduction::{Ask, NotAReduction, Reduction};
use holdfast_venue_reduce::wire::{Cloid, Side, Tif};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// The venue refuses a close that it processes later than this after it was sent.
const CLOSE_EXPIRES_MS: u64 = 5000;
/// Longest time for the reads a close rests on.
const CLOSE_READ_DEADLINE: Duration = Duration::from_secs(3);
/// Longest wait of a close for its intent to be on the disk; a disk at work needs a fraction of it.
const CLOSE_JOURNAL_DEADLINE: Duration = Duration::from_millis(100);
/// A close never gives up more than this, in hundredths of a percent.
const CLOSE_BPS_MAX: u32 = 500;
/// A comparison of clocks older than this says nothing any more; see the sensor's judge.
const CLOCK_MAX_AGE: Span = Span::from_ms(60_000);
/// A book this much older than the venue's clock is not a price, in milliseconds.
const LOOK_MAX_AGE_MS: u64 = 10_000;

/// Connections and what was learnt about the venue.
pub struct Desk {
    /// Sends what reduces, and reads for it.
    pub reduce: ReduceClient,
    /// Reads for everything that is not a close: refused when only the weight kept for exits is left.
    pub watch: Venue,
    /// The one door; absent when no permit was handed over.
    pub opener: Option<Opener>,
    /// The disk.
    pub scribe: Scribe,
    /// Boot clock to venue time; absent until the venue was asked, and after its clock was seen to jump.
    pub venue_clock: Cell<Option<VenueClock>>,
    /// The strategy's coin as the venue lists it.
    pub asset: RefCell<Option<Asset>>,
    /// When the list of markets was read.
    pub universe_read: Cell<Option<Tick>>,
    /// The coin's name.
    pub coin: String,
    /// Address of the account.
    pub account: String,
    /// Ours.
    pub epoch: Epoch,
    /// Bound of immediate orders in hundredths of a percent.
    pub slippage_bps: u32,
    /// Moves when a close leaves, and again when its answer is there.
    pub(crate) sends: Cell<u64>,
}

/// Boot-clock instants of one opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The errand began.
    pub begun: Tick,
    /// The intent was on the disk.
    pub on_disk: Tick,
    /// The venue's answer was read.
    pub answered: Tick,
}

/// What became of an opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It left this host; what the venue said of it, and how far the position moved.
    Sent {
        /// The verdict.
        recorded: Recorded,
        /// Executed, signed.
        moved: Szi,
        /// The venue recovered another signer: wrong key or network.
        misconfigured: bool,
        /// Where the time went.
        pace: Pace,
    },
    /// It never left.
    Rejected(RejectReason, String),
}

/// What became of an attempt to close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// How it ended.
    pub end: CloseEnd,
    /// What was sent.
    pub sent: Option<Sz>,
    /// Client order id and limit of what was sent.
    pub order: Option<(String, Px)>,
    /// Executed, signed.
    pub moved: Szi,
    /// The outcome is unknown.
    pub unknown: bool,
    /// A reason when nothing was sent.
    pub rejected: Option<RejectReason>,
    /// For people.
    pub detail: String,
}

impl Closed {
    const fn unsent(end: CloseEnd, rejected: Option<RejectReason>, detail: String) -> Self {
        Self { end, sent: None, order: None, moved: Szi::FLAT, unknown: false, rejected, detail }
    }

    /// Nothing was left to close.
    pub(crate) fn gone() -> Self {
        Self::unsent(CloseEnd::Flat, None, "the position is gone".to_owned())
    }
}

impl Desk {
    /// Whether a permit could be minted right now.
    #[must_use]
    pub fn permit_live(&self) -> bool {
        self.opener.as_ref().is_some_and(|opener| opener.permit().is_ok())
    }

    /// Venue time now in milliseconds, never late; the wall clock while the venue's is unknown.
    #[must_use]
    pub fn venue_now_ms(&self) -> u64 {
        self.venue_clock.get().map_or_else(clock::wall_ms, |c| c.venue_ms(clock::now()))
    }

    /// Moves when a close leaves, and again when its answer is there: a reading of the account is ahead of every close
    /// or behind it only if this did not move since before its first question.
    #[must_use]
    pub const fn sends(&self) -> u64 {
        self.sends.get()
    }

    fn count_send(&self) {
        self.sends.set(self.sends.get().wrapping_add(1));
    }

    /// Asks the venue for its clock.
    ///
    /// # Errors
    /// [`ReadError`]; the old mapping stands.
    pub async fn sample_clock(&self) -> Result<(), ReadError> {
        let sample = self.watch.venue_time().await?;
        self.venue_clock.set(sample.clock());
        Ok(())
    }

    /// Opens. The gate has passed it; here it meets the permit, the journal and the venue, in this order.
    pub async fn open(&self, intent: &OpenIntent) -> Opened {
        let begun = clock::now();
        let reject = |reason, why: String| Opened::Rejected(reason, why);
        let (Some(opener), Some(venue_clock)) = (self.opener.as_ref(), self.venue_clock.get()) else {
            return reject(RejectReason::OpenPermissionLatched, "the venue's clock is not known".to_owned());
        };
        if begun.since(venue_clock.sampled()) > CLOCK_MAX_AGE {
            // The permit's deadline in venue time is only as good as the comparison of the clocks.
            return reject(RejectReason::OpenPermissionLatched, "the venue's clock was asked too long ago".to_owned());
        }
        let Some(asset) = self.asset.borrow().clone() else {
            return reject(RejectReason::InstrumentMetadataMissing, "the coin's rules are not known".to_owned());
        };
        let cloid = Cloid::new(intent.key().cloid_bytes);
        let side = Side::of(intent.is_buy());
        let order = match OpenOrder::new(&asset, side, intent.px(), intent.size(), Tif::Ioc, cloid) {
            Ok(order) => order,
            Err(bad) => return reject(RejectReason::TooSmallAfterQuantization, bad.to_string()),
        };
        let permit = match opener.permit() {
            Ok(permit) => permit,
            Err(missing) => return reject(RejectReason::PermitMissingOrExpired, missing.to_string()),
        };
        let entry = Entry::Intent(self.intent(intent, venue_clock.venue_ms(permit.deadline())));
        let writing = match self.scribe.begin(entry) {
            Ok(writing) => writing,
            Err(error) => return reject(RejectReason::RecordedBeforeDispatchFailed, error.to_string()),
        };
        let (unwritten, on_disk) = (RefCell::new(None), std::cell::Cell::new(begun));
        let written = async {
            let error = writing.written().await.err();
            let durable = error.is_none();
            *unwritten.borrow_mut() = error;
            on_disk.set(clock::now());
            durable
        };
        let result = opener.open_after(permit, order, &venue_clock, written).await;
        let pace = Pace { begun, on_disk: on_disk.get(), answered: clock::now() };
        let (recorded, executed) = record(&result.outcome);
        // If this cannot be written the intent stays unsettled, and opening stays blocked.
        let entry = Entry::Outcome { cloid: intent.key().cloid.clone(), outcome: recorded.clone() };
        if self.scribe.append(entry).await.is_err() {
            tracing::warn!("the outcome of an opening could not be written down");
        }
        if let Some(error) = unwritten.into_inner() {
            return reject(RejectReason::RecordedBeforeDispatchFailed, error.to_string());
        }
        match (&recorded, result.no_permit) {
            (Recorded::NotSent { why }, Some(_)) => reject(RejectReason::PermitMissingOrExpired, why.clone()),
            (Recorded::NotSent { why }, None) => reject(RejectReason::RateLimitBrownout, why.clone()),
            (
                Recorded::Filled { .. }
                | Recorded::Resting { .. }
                | Recorded::Refused { .. }
                | Recorded::Unknown { .. },
                _,
            ) => {
                let misconfigured = result.outcome.refusal() == Some(RefusalClass::Misconfigured);
                Opened::Sent { recorded, moved: executed.signed(intent.is_buy()), misconfigured, pace }
            }
        }
    }

    fn intent(&self, intent: &OpenIntent, expires_after_ms: u64) -> Intent {
        Intent {
            key: intent.key().key.clone(),
            cloid: intent.key().cloid.clone(),
            coin: self.coin.clone(),
            is_buy: intent.is_buy(),
            size: intent.size(),
            px: intent.px(),
            kind: IntentKind::Open,
            expires_after_ms,
            epoch: self.epoch,
            position_before: intent.before(),
        }
    }

    /// Closes the position in the strategy's coin, as much as is provably a reduction. `touch` is a fresh best bid and
    /// ask if the feed has one; `attempt` widens the bound.
    pub async fn close(&self, attempt: u32, touch: Option<(Px, Px)>) -> Closed {
        let asset = match tokio::time::timeout(CLOSE_READ_DEADLINE, self.known_asset()).await {
            Ok(Ok(asset)) => asset,
            Ok(Err(why)) => {
                return Closed::unsent(CloseEnd::Again, Some(RejectReason::InstrumentMetadataMissing), why);
            }
            Err(_) => return Closed::unsent(CloseEnd::Again, None, "the venue does not answer".to_owned()),
        };
        let scope = DexScope::Only(vec![asset.dex.clone()]);
        let reads = async {
            let account = self.reduce.venue().account_snapshot(&scope).await?;
            let touch = match touch {
                Some(touch) => Some(touch),
                None => self.touch().await.ok().flatten(),
            };
            Ok::<_, ReadError>((account, touch))
        };
        let (account, touch) = match tokio::time::timeout(CLOSE_READ_DEADLINE, reads).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => return Closed::unsent(again(&error), None, error.to_string()),
            Err(_) => return Closed::unsent(CloseEnd::Again, None, "the venue does not answer".to_owned()),
        };
        let Some(position) = account.position(&self.coin).filter(|p| !p.szi().is_zero()) else {
            return Closed::gone();
        };
        let side = Side::of(position.szi().is_short());
        let reference = match (touch, side) {
            (Some((_, ask)), Side::Buy) => Some(ask),
            (Some((bid, _)), Side::Sell) => Some(bid),
            (None, _) => position.mark_px(),
        };
        let bps = self.slippage_bps.saturating_mul(attempt.saturating_add(1)).min(CLOSE_BPS_MAX);
        let Some(bound) = reference.and_then(|px| asset.rule.bounded(px, bps, side)) else {
            let why = "no price to close at".to_owned();
            return Closed::unsent(CloseEnd::Again, Some(RejectReason::EmergencyCloseNoPrice), why);
        };
        self.send_close(&asset, &account, bound, side, position.szi()).await
    }

    /// The coin's rules; asks for them when no comparison has learnt them yet. A close does not wait for one.
    async fn known_asset(&self) -> Result<Asset, String> {
        let known = self.asset.borrow().clone();
        if let Some(asset) = known {
            return Ok(asset);
        }
        self.learn_asset(self.reduce.venue()).await?;
        self.asset.borrow().clone().ok_or_else(|| "the coin's rules are not known".to_owned())
    }

    async fn send_close(&self, asset: &Asset, account: &AccountSnapshot, bound: Px, side: Side, before: Szi) -> Closed {
        let now_ms = self.venue_now_ms();
        let key = key(&self.account, &self.coin, IntentKind::Close, side.is_buy(), now_ms);
        let ask = Ask { account, asset, bound, tif: Tif::Ioc, cloid: Cloid::new(key.cloid_bytes), now: clock::now() };
        let reduction = match Reduction::within(&ask) {
            Ok(reduction) => reduction,
            Err(NotAReduction::Flat) => return Closed::gone(),
            Err(error) => return Closed::unsent(CloseEnd::Again, None, error.to_string()),
        };
        let (size, px) = (reduction.sz(), reduction.px());
        let at = Timing { now_ms, expires_after_ms: now_ms.saturating_add(CLOSE_EXPIRES_MS) };
        let intent = Intent {
            key: key.key,
            cloid: key.cloid.clone(),
            coin: self.coin.clone(),
            is_buy: side.is_buy(),
            size,
            px,
            kind: IntentKind::Close,
            expires_after_ms: at.expires_after_ms,
            epoch: self.epoch,
            position_before: before,
        };
        let writing = self.scribe.begin(Entry::Intent(intent));
        let noted = writing.is_ok();
        if let Ok(writing) = writing
            && !matches!(tokio::time::timeout(CLOSE_JOURNAL_DEADLINE, writing.written()).await, Ok(Ok(())))
        {
            tracing::warn!(cloid = key.cloid, "a close leaves before its intent is known to be on the disk");
        }
        self.count_send();
        let sent = self.reduce.close(reduction, at).await;
        self.count_send();
        let outcome = sent.single().cloned().unwrap_or_else(|| Outcome::Unknown(Unknown::Shape("no verdict".into())));
        let (recorded, executed) = record(&outcome);
        let entry = Entry::Outcome { cloid: key.cloid.clone(), outcome: recorded.clone() };
        // Waited for only now that it is sent, so that an answered close is not taken for an unsettled one.
        if noted && self.scribe.append(entry).await.is_err() {
            tracing::warn!("the outcome of a close could not be written down");
        }
        let throttled = matches!(outcome.refusal(), Some(RefusalClass::AddressQuota));
        let whole = executed == before.abs();
        let end = match (throttled, whole) {
            (true, _) => CloseEnd::Throttled,
            (false, true) => CloseEnd::Flat,
            (false, false) => CloseEnd::Again,
        };
        let detail = format!("close {size} at {px}: {}", words(&recorded));
        let moved = executed.signed(side.is_buy());
        let order = Some((key.cloid, px));
        Closed { end, sent: Some(size), order, moved, unknown: outcome.is_unknown(), rejected: None, detail }
    }

    /// Best bid and ask by HTTP, if both are there, uncrossed and recent by the venue's own clock.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn touch(&self) -> Result<Option<(Px, Px)>, ReadError> {
        let Some(book) = self.reduce.venue().l2_book(&self.coin).await? else { return Ok(None) };
        if self.venue_now_ms().saturating_sub(book.time) > LOOK_MAX_AGE_MS {
            return Ok(None);
        }
        let touch = book.best_bid().zip(book.best_ask()).map(|(bid, ask)| (bid.px, ask.px));
        Ok(touch.filter(|(bid, ask)| bid < ask))
    }
}

fn again(error: &ReadError) -> CloseEnd {
    match error {
        ReadError::Throttled => CloseEnd::Throttled,
        ReadError::OverBudget(_)
        | ReadError::Timeout
        | ReadError::Connect(_)
        | ReadError::Transport(_)
        | ReadError::Status(..)
        | ReadError::TooLarge
        | ReadError::Shape(_) => CloseEnd::Again,
    }
}

/// The journal's form of a verdict, and how much was executed.
#[must_use]
pub fn record(outcome: &Outcome) -> (Recorded, Sz) {
    match outcome {
        Outcome::Accepted(Accepted::Filled { oid, total_sz, .. }) => {
            (Recorded::Filled { oid: oid.0, size: *total_sz }, *total_sz)
        }
        // Our orders are immediate: they neither rest nor wait nor cancel. Such an answer says nothing; it is asked for.
        Outcome::Accepted(Accepted::Resting { .. } | Accepted::Waiting | Accepted::Done) => {
            (Recorded::Unknown { why: "an answer that does not fit the order".to_owned() }, Sz::ZERO)
        }
        Outcome::Refused(refusal) if refusal.class == RefusalClass::NotSent => {
            (Recorded::NotSent { why: refusal.text.clone() }, Sz::ZERO)
        }
        Outcome::Refused(refusal) => (Recorded::Refused { text: refusal.text.clone() }, Sz::ZERO),
        Outcome::Unknown(why) => (Recorded::Unknown { why: format!("{why:?}") }, Sz::ZERO),
    }
}

/// A verdict for people.
#[must_use]
pub fn words(recorded: &Recorded) -> String {
    match recorded {
        Recorded::Filled { size, .. } => format!("{size} executed"),
        Recorded::Resting { .. } => "accepted, nothing executed yet".to_owned(),
        Recorded::Refused { text } => format!("refused: {text}"),
        Recorded::NotSent { why } => format!("not sent: {why}"),
        Recorded::Unknown { why } => format!("outcome unknown: {why}"),
    }
}
