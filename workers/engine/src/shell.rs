//! The engine's loop: turns messages, answers and time into the mind's events, and its wishes into errands.
//!
//! One errand at a time: nothing is decided while an answer is awaited. Closing goes first, then an opening that was
//! just decided, then settling and comparing, then looking and upkeep. Every errand is bounded, so the loop never waits.

use crate::desk::{Closed, Desk, Opened, words};
use crate::gate::{Instrument, OpenIntent, touch};
use crate::loss::{AssetRecord, Change, Guard};
use crate::mind::{Closing, Draft, Mind, Surroundings, Wish};
use crate::reconcile::Compared;
use crate::scribe::ScribeError;
use holdfast_core::money::{Px, Szi};
use holdfast_core::registry::{LatchReason, RejectReason};
use holdfast_core::report::{AccountView, JournalHealth, LatchTrip, ReconcileReport};
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::clock;
use holdfast_ipc::feed::{CycleAction, FillView, FromEngine, FromSensor, MarketView, Publisher};
use holdfast_ipc::message::{FromWorker, ToWorker};
use holdfast_kit::Link;
use holdfast_store::journal::{Entry, FillRecord, Recorded};
use std::rc::Rc;
use tokio::sync::mpsc;

/// Pause between attempts to reconcile, and between rounds of asking.
const RECONCILE_RETRY: Span = Span::from_ms(500);
/// How often the journal's health is reported without a change.
const HEALTH_EVERY: Span = Span::from_ms(1000);
/// How often the venue's clock is asked for and the order path's connection is used, which the client would else close.
const CLOCK_EVERY: Span = Span::from_ms(10_000);
/// How often the request quota is asked for.
const QUOTA_EVERY: Span = Span::from_ms(60_000);
/// A skew that moved this far since the venue's clock was asked for makes the mapping worthless, in milliseconds.
const SKEW_JUMP_MS: u64 = 500;

/// When the price a decision rests on came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// At the sensor's socket.
    received: Tick,
    /// Here.
    heard: Tick,
}

/// Something to do that takes time.
enum Errand {
    Open(Box<OpenIntent>, Draft, Seen),
    Close(Closing, Option<(Px, Px)>),
    Reconcile(Option<u64>),
    Settle,
    Look,
    Guard(Guard),
    Upkeep { quota: bool },
}

/// What came of it.
pub(crate) enum Done {
    Opened(Box<OpenIntent>, Draft, Seen, Opened),
    Closed(Closing, Closed),
    Reconciled(Option<u64>, Compared),
    Settled(usize, Vec<String>),
    Looked(Option<(Px, Px)>, u64),
    Guarded(Guard, Result<(), ScribeError>),
    Kept(Option<u64>),
}

/// See the module.
pub(crate) struct Shell {
    pub(crate) mind: Mind,
    pub(crate) desk: Rc<Desk>,
    pub(crate) link: Link,
    pub(crate) publisher: Option<Publisher<FromEngine>>,
    pub(crate) done: mpsc::Sender<Done>,
    busy: bool,
    draining: bool,
    /// What was decided on, and when the price it rests on came in.
    opening: Option<(Box<OpenIntent>, Draft, Seen)>,
    /// A comparison is owed; with a number when the supervisor asked for it.
    owed: Option<Option<u64>>,
    retry_at: Tick,
    guard_retry_at: Tick,
    clock_at: Tick,
    quota_at: Tick,
    /// Skew of the feed when the venue's clock was last asked for.
    skew_ms: Option<i64>,
    health: Option<JournalHealth>,
    health_at: Tick,
    /// How often the journal had been opened again when its gaps were last dealt with.
    reopened: u64,
    said: Option<String>,
    pub(crate) guard_error: Option<String>,
    limit_told: bool,
    /// The venue recovered another signer from our signature: nothing is opened until this process is replaced.
    halted: Option<String>,
}

impl Shell {
    pub(crate) fn new(
        mind: Mind,
        desk: Rc<Desk>,
        link: Link,
        publisher: Option<Publisher<FromEngine>>,
        done: mpsc::Sender<Done>,
    ) -> Self {
        Self {
            mind,
            desk,
            link,
            publisher,
            done,
            busy: false,
            draining: false,
            opening: None,
            owed: Some(None),
            retry_at: Tick(0),
            guard_retry_at: Tick(0),
            clock_at: Tick(0),
            quota_at: Tick(0),
            skew_ms: None,
            health: None,
            health_at: Tick(0),
            reopened: 0,
            said: None,
            guard_error: None,
            limit_told: false,
            halted: None,
        }
    }

    /// Whether an errand is under way.
    pub(crate) const fn busy(&self) -> bool {
        self.busy
    }

    /// No more errands.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.opening = None;
    }

    pub(crate) fn on_order(&mut self, message: &ToWorker) {
        if let ToWorker::Reconcile { asked } = message {
            tracing::info!(asked, "asked to reconcile");
            self.mind.void_reconciled();
            self.owed = Some(Some(*asked));
            self.retry_at = Tick(0);
            self.said = None;
        }
        if matches!(message, ToWorker::Acknowledge {}) {
            tracing::warn!("the operator resumed: the loss limit starts anew from the next reading");
            self.mind.acknowledge_limit();
            // What still stands in the way is said again.
            self.limit_told = false;
        }
    }

    pub(crate) fn on_feed(&mut self, message: FromSensor) {
        match message {
            FromSensor::Market(view) => self.on_market(view),
            FromSensor::Account(view) => self.on_account(*view),
            FromSensor::AccountUnknown { detail } => tracing::debug!(detail, "the account cannot be read"),
            FromSensor::Fill(fill) => self.on_fill(&fill),
        }
    }

    fn on_market(&mut self, view: MarketView) {
        let jumped = self.skew_ms.is_some_and(|was| was.abs_diff(view.skew_ms) > SKEW_JUMP_MS);
        if self.skew_ms.is_none() || jumped {
            self.skew_ms = Some(view.skew_ms);
        }
        if jumped {
            // An expiry computed with the old mapping could be late: no opening until the venue was asked again.
            tracing::warn!(skew_ms = view.skew_ms, "the venue's clock jumped");
            self.desk.venue_clock.set(None);
            self.clock_at = Tick(0);
        }
        self.mind_the_gap();
        let desk = Rc::clone(&self.desk);
        let seen = Seen { received: view.received, heard: clock::now() };
        let wish = {
            let memory = desk.scribe.memory();
            let around = Surroundings {
                now: seen.heard,
                permit: desk.permit_live(),
                journal_healthy: desk.scribe.healthy(),
                memory: &memory,
                idle: !self.busy && self.opening.is_none() && !self.draining && self.halted.is_none(),
            };
            self.mind.on_market(view, &around)
        };
        match wish {
            Some(Wish::Open(intent, draft)) => self.opening = Some((intent, draft, seen)),
            Some(Wish::Tell(draft, None)) => self.tell(draft, CycleAction::Hold {}),
            Some(Wish::Tell(draft, Some(reason))) => self.tell(draft, CycleAction::Rejected { reason }),
            None => {}
        }
    }

    /// A journal that was closed for a while lacks what happened meanwhile: books are compared before anything is opened.
    fn mind_the_gap(&mut self) {
        let reopened = self.desk.scribe.reopened();
        if reopened != self.reopened {
            self.reopened = reopened;
            self.mind.void_reconciled();
            if self.owed.is_none() {
                self.owed = Some(None);
            }
        }
    }

    fn on_account(&mut self, view: AccountView) {
        let (drifts, change) = self.mind.on_account(view);
        if change == Change::Breached {
            self.limit_told = false;
        }
        if !drifts.is_empty() {
            let shown: Vec<String> =
                drifts.iter().map(|d| format!("{}: expected {}, venue {}", d.coin, d.expected, d.found)).collect();
            let detail = format!("a position moved without an order of the engine ({})", shown.join("; "));
            tracing::warn!(detail, "incident");
            self.mind.void_reconciled();
            let reason = LatchReason::InventoryMismatchReconcileRequired;
            if !self.link.report(FromWorker::Trip(LatchTrip { reason, detail })) {
                // Reported, the supervisor asks for a comparison; unheard, we owe it to ourselves.
                self.owed = self.owed.or(Some(None));
            }
        }
    }

    fn on_fill(&mut self, fill: &FillView) {
        let known = self.desk.scribe.memory().knows_fill(&fill.coin, fill.venue_ms, fill.tid);
        if !known {
            self.desk.scribe.note(Entry::Fill(FillRecord {
                coin: fill.coin.clone(),
                venue_ms: fill.venue_ms,
                tid: fill.tid,
                oid: fill.oid,
                cloid: fill.cloid.clone(),
                is_buy: fill.is_buy,
                px: fill.px,
                size: fill.size,
                closed_pnl_usd: fill.closed_pnl_usd,
                fee_usd: fill.fee_usd,
            }));
        }
    }

    /// Reports what is due. Called at every turn of the loop.
    pub(crate) fn report(&mut self, now: Tick) {
        self.mind_the_gap();
        let health = self.desk.scribe.health();
        let changed = self.health.is_none_or(|old| old.healthy != health.healthy || old.unsettled != health.unsettled);
        if (changed || now.since(self.health_at) >= HEALTH_EVERY) && self.link.report(FromWorker::Journal(health)) {
            (self.health, self.health_at) = (Some(health), now);
        }
        if !self.limit_told
            && let Some(detail) = self.limit()
        {
            self.limit_told = self.link.report(FromWorker::LimitHit { detail });
        }
    }

    fn limit(&self) -> Option<String> {
        if let Some(error) = &self.guard_error {
            return Some(format!("the loss baseline cannot be known: {error}"));
        }
        if let Some(words) = &self.halted {
            return Some(format!("key or network is misconfigured, the venue says: {words}"));
        }
        let breach = self.mind.guard()?.breach()?;
        Some(format!(
            "daily loss limit reached: equity {} from a baseline of {} USD",
            breach.equity_usd, breach.baseline_usd
        ))
    }

    /// Starts the next errand if none is under way.
    pub(crate) fn dispatch(&mut self, now: Tick) {
        if self.busy || self.draining {
            return;
        }
        let Some(errand) = self.next(now) else { return };
        self.busy = true;
        let (desk, done) = (Rc::clone(&self.desk), self.done.clone());
        tokio::task::spawn_local(async move {
            let result = perform(&desk, errand).await;
            // The loop is gone only when the process is.
            let _ = done.send(result).await;
        });
    }

    fn next(&mut self, now: Tick) -> Option<Errand> {
        if self.desk.asset.borrow().is_some()
            && let Some(closing) = self.mind.close_due(now)
        {
            self.mind.book.on_sending();
            return Some(Errand::Close(closing, touch(self.mind.market(), now)));
        }
        if let Some((intent, draft, seen)) = self.opening.take() {
            self.mind.book.on_sending();
            return Some(Errand::Open(intent, draft, seen));
        }
        if now >= self.guard_retry_at
            && self.mind.guard_unstored()
            && let Some(guard) = self.mind.guard()
        {
            return Some(Errand::Guard(guard.clone()));
        }
        if now >= self.retry_at {
            if let Some(asked) = self.owed {
                return Some(Errand::Reconcile(asked));
            }
            if self.desk.scribe.memory().unsettled().next().is_some() {
                return Some(Errand::Settle);
            }
        }
        if self.mind.look_due(now) {
            return Some(Errand::Look);
        }
        if self.clock_at == Tick(0) || now.since(self.clock_at) >= CLOCK_EVERY {
            let quota = self.quota_at == Tick(0) || now.since(self.quota_at) >= QUOTA_EVERY;
            self.clock_at = now;
            self.skew_ms = None;
            if quota {
                self.quota_at = now;
            }
            return Some(Errand::Upkeep { quota });
        }
        None
    }

    pub(crate) fn on_done(&mut self, done: Done, now: Tick) {
        self.busy = false;
        match done {
            Done::Opened(intent, draft, seen, opened) => self.on_opened(&intent, draft, seen, opened, now),
            Done::Closed(closing, closed) => self.on_closed(closing, closed, now),
            Done::Reconciled(asked, compared) => self.on_compared(asked, compared, now),
            Done::Settled(settled, left) => {
                self.retry_at = now.after(RECONCILE_RETRY);
                if settled > 0 {
                    self.mind.book.on_unknown(now);
                }
                if !left.is_empty() {
                    tracing::debug!(left = left.join("; "), "not settled yet");
                }
            }
            Done::Looked(Some((bid, ask)), venue_ms) => self.mind.on_looked(bid, ask, venue_ms, now),
            Done::Looked(None, _) => tracing::warn!("no believable price for the position that is held"),
            Done::Guarded(guard, Ok(())) => self.mind.on_guard_stored(&guard),
            Done::Guarded(_, Err(error)) => {
                self.guard_retry_at = now.after(Span::from_ms(1000));
                tracing::error!(%error, "the loss baseline cannot be stored; opening stays off");
            }
            Done::Kept(quota) => self.mind.on_quota(quota),
        }
    }

    fn on_opened(&mut self, intent: &OpenIntent, mut draft: Draft, seen: Seen, opened: Opened, now: Tick) {
        match opened {
            Opened::Sent { recorded, moved, misconfigured, pace } => {
                if misconfigured {
                    self.halted = Some(words(&recorded));
                    self.limit_told = false;
                }
                self.mind.book.on_answered(&self.desk.coin, moved, now);
                if matches!(recorded, Recorded::Unknown { .. }) {
                    self.mind.book.on_unknown(now);
                    self.retry_at = now;
                }
                draft.detail = format!("{}; {}", draft.detail, words(&recorded));
                tracing::info!(
                    cloid = intent.key().cloid,
                    outcome = words(&recorded),
                    received_boot_ns = seen.received.0,
                    heard_boot_ns = seen.heard.0,
                    begun_boot_ns = pace.begun.0,
                    on_disk_boot_ns = pace.on_disk.0,
                    answered_boot_ns = pace.answered.0,
                    "opening sent"
                );
                let (is_buy, size, px) = (intent.is_buy(), intent.size(), intent.px());
                self.tell(draft, CycleAction::Open { is_buy, size, px });
            }
            Opened::Rejected(reason, why) => {
                self.mind.book.on_answered(&self.desk.coin, Szi::FLAT, now);
                draft.detail = format!("{}; {why}", draft.detail);
                self.tell(draft, CycleAction::Rejected { reason });
            }
        }
    }

    fn on_closed(&mut self, closing: Closing, closed: Closed, now: Tick) {
        let Closed { end, sent, moved, unknown, rejected, detail } = closed;
        self.mind.book.on_answered(&self.desk.coin, moved, now);
        if unknown {
            self.mind.book.on_unknown(now);
        }
        tracing::info!(attempt = closing.attempt, detail, "close");
        self.mind.on_close_end(end, now);
        let Some(mut draft) = closing.draft else { return };
        draft.detail = format!("{}; {detail}", draft.detail);
        match (sent, rejected) {
            (Some(size), _) => self.tell(draft, CycleAction::Close { size, why: closing.why.as_str().to_owned() }),
            (None, Some(reason)) => self.tell(draft, CycleAction::Rejected { reason }),
            (None, None) => self.tell(draft, CycleAction::Hold {}),
        }
    }

    fn on_compared(&mut self, asked: Option<u64>, compared: Compared, now: Tick) {
        self.retry_at = now.after(RECONCILE_RETRY);
        let Compared { clean, detail, account, settled } = compared;
        if settled > 0 {
            self.mind.book.on_unknown(now);
        }
        // A newer request has come in meanwhile: this answer is void.
        let current = self.owed == Some(asked);
        let quota = account.as_ref().and_then(|view| view.requests_left);
        if clean && current {
            self.owed = None;
            if let Some(view) = account {
                self.adopt(view, now);
            }
        }
        let instrument = self.instrument();
        self.mind.on_reconciled(clean && current, instrument, quota);
        if self.said.as_ref() != Some(&detail) || clean {
            tracing::info!(?asked, clean, detail, "reconcile");
            if let (Some(asked), true) = (asked, current) {
                let report = ReconcileReport { asked, clean, detail: detail.clone() };
                if !self.link.report(FromWorker::Reconciled(report)) {
                    // Unheard: do it again.
                    self.owed = Some(Some(asked));
                    return;
                }
            }
            // What was not reported to this request must still be.
            self.said = current.then_some(detail);
        }
    }

    /// The venue's word as just read becomes our own.
    fn adopt(&mut self, view: AccountView, now: Tick) {
        // Read on our own behalf a moment ago, after everything was settled: nothing of ours can be missing in it.
        let found: Vec<(String, Szi)> = view.positions.iter().map(|p| (p.coin.clone(), p.size)).collect();
        tracing::debug!(?found, "adopted");
        self.mind.book.adopt(&view, now);
        self.on_account(view);
    }

    /// The coin's rules, and whether they are what they were when it was first traded here.
    fn instrument(&mut self) -> Option<Instrument> {
        let asset = self.desk.asset.borrow().clone()?;
        let (index, sz_decimals) = (asset.index.0, asset.rule.sz_decimals());
        let record = AssetRecord { coin: asset.coin.clone(), index, sz_decimals };
        let guard = self.mind.guard_mut()?;
        let same_coin = guard.asset.as_ref().is_some_and(|known| known.coin == record.coin);
        if !same_coin {
            guard.asset = Some(record.clone());
            self.mind.void_guard_stored();
        }
        let unchanged = self.mind.guard().is_some_and(|guard| guard.asset.as_ref() == Some(&record));
        if !unchanged {
            tracing::error!(coin = asset.coin, "the venue numbers or rounds this coin differently than before");
        }
        Some(Instrument { rule: asset.rule, delisted: asset.delisted, unchanged })
    }

    fn tell(&self, draft: Draft, action: CycleAction) {
        let Draft { bar, close, signal_bps, detail } = draft;
        let coin = self.desk.coin.clone();
        let rejected = match &action {
            CycleAction::Rejected { reason } => Some(*reason),
            CycleAction::Hold {} | CycleAction::Open { .. } | CycleAction::Close { .. } => None,
        };
        if let Some(reason) = rejected.filter(|r| *r != RejectReason::PermitMissingOrExpired) {
            tracing::info!(%reason, detail, "opening refused");
        }
        if let Some(publisher) = &self.publisher {
            publisher.publish(&FromEngine::Cycle { coin, bar, close, signal_bps, action, detail }, Some("cycle"));
        }
    }
}

async fn perform(desk: &Desk, errand: Errand) -> Done {
    match errand {
        Errand::Open(intent, draft, seen) => {
            let opened = desk.open(&intent).await;
            Done::Opened(intent, draft, seen, opened)
        }
        Errand::Close(closing, touch) => {
            let closed = desk.close(closing.attempt, touch).await;
            Done::Closed(closing, closed)
        }
        Errand::Reconcile(asked) => Done::Reconciled(asked, desk.reconcile().await),
        Errand::Settle => {
            if desk.venue_clock.get().is_none() {
                // Without it nothing can expire; the failure shows in what is left.
                let _ = desk.sample_clock().await;
            }
            let (settled, left) = desk.settle().await;
            Done::Settled(settled, left)
        }
        Errand::Look => Done::Looked(desk.touch().await.ok().flatten(), desk.venue_now_ms()),
        Errand::Guard(guard) => {
            let result = desk.scribe.store(guard.clone()).await;
            Done::Guarded(guard, result)
        }
        Errand::Upkeep { quota } => {
            if let Err(error) = desk.sample_clock().await {
                tracing::debug!(%error, "the venue's clock");
            }
            // The next order must not wait for a handshake; what fails here shows when there is an order.
            if let Some(opener) = &desk.opener
                && !opener.warm().await
            {
                tracing::debug!("the order path's connection could not be kept open");
            }
            let left = if quota { desk.reduce.venue().rate_limit().await.ok().map(|q| q.left()) } else { None };
            Done::Kept(left)
        }
    }
}
