//! The engine's loop: turns messages, answers and time into the mind's events, and its wishes into errands.
//!
//! Errands run in two lanes ([`lanes`]): closing never waits for the others. Among the others an opening that was just
//! decided goes first, then settling and comparing, then looking and upkeep. Every errand is bounded, and the loop itself
//! never waits.

mod answers;
mod feeds;
mod lanes;
mod reports;

use crate::desk::Desk;
use crate::gate::{OpenIntent, touch};
use crate::mind::{Draft, Mind};
use crate::minutes::Minutes;
use crate::standing::Teller;
use holdfast_core::registry::RejectReason;
use holdfast_core::report::{JournalHealth, LossDay};
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::feed::{CycleAction, FromEngine, Publisher};
use holdfast_ipc::message::ToWorker;
use holdfast_kit::Link;
pub(crate) use lanes::Done;
use lanes::{Errand, Lanes, perform};
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

/// See the module.
pub(crate) struct Shell {
    pub(crate) mind: Mind,
    pub(crate) desk: Rc<Desk>,
    pub(crate) link: Link,
    pub(crate) publisher: Option<Publisher<FromEngine>>,
    pub(crate) done: mpsc::Sender<Done>,
    pub(crate) minutes: Minutes,
    lanes: Lanes,
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
    /// The day's baseline as it was told last.
    baseline_told: Option<LossDay>,
    teller: Teller,
    /// The venue recovered another signer from our signature: nothing is opened until this process is replaced.
    halted: Option<String>,
}

impl Shell {
    pub(crate) fn new(
        mind: Mind,
        desk: Rc<Desk>,
        link: Link,
        publisher: Option<Publisher<FromEngine>>,
        (done, minutes): (mpsc::Sender<Done>, Minutes),
    ) -> Self {
        Self {
            mind,
            desk,
            link,
            publisher,
            done,
            minutes,
            lanes: Lanes::default(),
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
            baseline_told: None,
            teller: Teller::default(),
            halted: None,
        }
    }

    /// Whether an errand is under way.
    pub(crate) const fn busy(&self) -> bool {
        !self.lanes.idle()
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

    /// Starts what is due in each lane that is free.
    pub(crate) fn dispatch(&mut self, now: Tick) {
        if self.lanes.overdue(now) {
            tracing::warn!("an opening has expired unanswered: what it did is taken from the next reading");
            self.mind.book.on_overdue(now);
        }
        if self.draining {
            return;
        }
        if let Some(errand) = self.next_close(now) {
            self.start(errand, now);
        }
        if let Some(errand) = self.next(now) {
            self.start(errand, now);
        }
    }

    fn start(&mut self, errand: Errand, now: Tick) {
        self.lanes.begin(&errand, now);
        let (desk, done) = (Rc::clone(&self.desk), self.done.clone());
        tokio::task::spawn_local(async move {
            let result = perform(&desk, errand).await;
            // The loop is gone only when the process is.
            let _ = done.send(result).await;
        });
    }

    fn next_close(&mut self, now: Tick) -> Option<Errand> {
        let closing = if self.lanes.may_close() { self.mind.close_due(now) } else { None }?;
        self.mind.book.on_sending();
        Some(Errand::Close(closing, touch(self.mind.market(), now)))
    }

    fn next(&mut self, now: Tick) -> Option<Errand> {
        if let Some((intent, draft, seen)) = self.opening.take() {
            if self.lanes.idle() {
                self.mind.book.on_sending();
                return Some(Errand::Open(intent, draft, seen));
            }
            // Decided on a price of this turn: it is not kept for later.
            self.tell(draft, CycleAction::Rejected { reason: RejectReason::FeedbackLoopGuardActive }, None);
        }
        if !self.lanes.may_run() {
            return None;
        }
        if now >= self.guard_retry_at
            && self.mind.guard_unstored()
            && let Some(guard) = self.mind.guard()
        {
            return Some(Errand::Guard(guard.clone()));
        }
        if now >= self.retry_at && self.lanes.may_compare() {
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
}
