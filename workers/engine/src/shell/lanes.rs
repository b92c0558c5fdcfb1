//! Two lanes to the venue: one for closing, one for every other errand. Pure but for [`perform`].
//!
//! * A close starts at once, whatever else is under way: it rests on its own read and its own arithmetic, and the only
//!   thing that read cannot see is an opening that is still on the wire. So a close waits for an opening's answer, and no
//!   longer than until that opening has expired at the venue: a read made after that shows all it will ever have done.
//! * An opening starts only when nothing else is under way, so that it never races a close, and never rests on books
//!   that are being compared.
//! * Nothing is compared or settled while a close is under way: the answer would be void. One that was under way before
//!   is void when a close was sent meanwhile ([`Desk::sends`]).

use super::Seen;
use crate::desk::{Closed, Desk, Opened};
use crate::gate::OpenIntent;
use crate::loss::Guard;
use crate::mind::{Closing, Draft};
use crate::reconcile::Compared;
use crate::scribe::ScribeError;
use holdfast_core::limits::PERMIT_LEASE;
use holdfast_core::money::Px;
use holdfast_core::time::{Span, Tick};

/// For how long an opening that began can still be taken by the venue: its permit lapses within a lease, the venue
/// refuses it from then on, and clocks that were compared within the last minute differ by far less than the rest.
const OPENING_LIVES: Span = Span(PERMIT_LEASE.0 + 500_000_000);

/// Something to do that takes time.
pub(super) enum Errand {
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

/// Which lanes are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lanes {
    errand: bool,
    closing: bool,
    /// When the opening under way began, until it has expired or was answered.
    opening: Option<Tick>,
}

impl Lanes {
    /// Nothing is under way.
    pub(super) const fn idle(self) -> bool {
        !self.errand && !self.closing
    }

    /// A close may start.
    pub(super) const fn may_close(self) -> bool {
        !self.closing && self.opening.is_none()
    }

    /// An errand that reads only, or writes to our own disk, may start.
    pub(super) const fn may_run(self) -> bool {
        !self.errand
    }

    /// Books may be compared: no order of ours is on its way.
    pub(super) const fn may_compare(self) -> bool {
        self.idle()
    }

    /// It starts now.
    pub(super) const fn begin(&mut self, errand: &Errand, now: Tick) {
        match errand {
            Errand::Close(..) => self.closing = true,
            Errand::Open(..) => (self.errand, self.opening) = (true, Some(now)),
            Errand::Reconcile(_) | Errand::Settle | Errand::Look | Errand::Guard(_) | Errand::Upkeep { .. } => {
                self.errand = true;
            }
        }
    }

    /// It has ended. True when it was an opening whose answer came after [`Lanes::overdue`] had said that it is not
    /// waited for.
    pub(super) const fn end(&mut self, done: &Done) -> bool {
        match done {
            Done::Closed(..) => {
                self.closing = false;
                false
            }
            Done::Opened(..) => {
                self.errand = false;
                self.opening.take().is_none()
            }
            Done::Reconciled(..) | Done::Settled(..) | Done::Looked(..) | Done::Guarded(..) | Done::Kept(_) => {
                self.errand = false;
                false
            }
        }
    }

    /// True once, when an opening has expired without an answer: what it did is in readings made from now on.
    pub(super) fn overdue(&mut self, now: Tick) -> bool {
        self.opening.take_if(|began| now.since(*began) > OPENING_LIVES).is_some()
    }
}

pub(super) async fn perform(desk: &Desk, errand: Errand) -> Done {
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
            let left = if quota { desk.watch.rate_limit().await.ok().map(|q| q.left()) } else { None };
            Done::Kept(left)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Tick {
        Tick(ms * 1_000_000)
    }

    const CLOSE: fn() -> Done = || Done::Closed(closing(), Closed::gone());

    fn closing() -> Closing {
        Closing { why: crate::strategy::Why::Stop, attempt: 0, due: at(0), draft: None, fruitless: 0 }
    }

    #[test]
    fn a_close_starts_beside_every_errand_that_does_not_open() {
        let errands = [
            Errand::Reconcile(None),
            Errand::Settle,
            Errand::Look,
            Errand::Guard(Guard::default()),
            Errand::Upkeep { quota: true },
        ];
        for errand in errands {
            let mut lanes = Lanes::default();
            lanes.begin(&errand, at(0));
            assert!(lanes.may_close() && !lanes.idle() && !lanes.may_run());
            lanes.begin(&Errand::Close(closing(), None), at(0));
            assert!(!lanes.may_close(), "one close at a time");
            lanes.end(&Done::Kept(None));
            assert!(lanes.may_run() && !lanes.idle() && !lanes.may_compare(), "the close is still under way");
            lanes.end(&CLOSE());
            assert_eq!(lanes, Lanes::default());
        }
    }

    #[test]
    fn a_close_waits_for_an_opening_until_it_is_answered_or_has_expired() {
        let opening = Lanes { errand: true, closing: false, opening: Some(at(0)) };
        let mut lanes = opening;
        assert!(!lanes.may_close());
        assert!(!lanes.overdue(at(1500)), "the venue may still take it");
        assert!(lanes.overdue(at(1501)) && lanes.may_close());
        assert!(!lanes.overdue(at(9999)), "said once");
        assert!(!lanes.idle(), "nothing else is opened before its answer is there");
    }
}
