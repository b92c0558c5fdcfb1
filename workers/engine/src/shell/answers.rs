//! What came of each errand, and what the mind is told of it.

use super::lanes::Done;
use super::reports::Sent;
use super::{RECONCILE_RETRY, Seen, Shell};
use crate::desk::{Closed, Opened, words};
use crate::gate::{Instrument, OpenIntent};
use crate::loss::AssetRecord;
use crate::mind::{Closing, Draft};
use crate::reconcile::Compared;
use holdfast_core::money::Szi;
use holdfast_core::report::{AccountView, ReconcileReport};
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::feed::CycleAction;
use holdfast_ipc::message::FromWorker;
use holdfast_store::journal::Recorded;

impl Shell {
    pub(crate) fn on_done(&mut self, done: Done, now: Tick) {
        let late = self.lanes.end(&done);
        match done {
            Done::Opened(intent, draft, seen, opened) => self.on_opened(&intent, draft, (seen, late), opened, now),
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

    fn on_opened(
        &mut self,
        intent: &OpenIntent,
        mut draft: Draft,
        (seen, late): (Seen, bool),
        opened: Opened,
        now: Tick,
    ) {
        match opened {
            Opened::Sent { recorded, moved, misconfigured, pace } => {
                let sent = Sent { cloid: intent.key().cloid.clone(), px: intent.px(), executed: moved.abs() };
                if misconfigured {
                    self.halted = Some(words(&recorded));
                    self.limit_told = false;
                }
                self.on_opening_answered(late, moved, now);
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
                self.tell(draft, CycleAction::Open { is_buy, size, px }, Some(sent));
            }
            Opened::Rejected(reason, why) => {
                self.on_opening_answered(late, Szi::FLAT, now);
                draft.detail = format!("{}; {why}", draft.detail);
                self.tell(draft, CycleAction::Rejected { reason }, None);
            }
        }
    }

    /// An answer that came after its order had expired adds nothing: readings made since may hold what it did already.
    fn on_opening_answered(&mut self, late: bool, moved: Szi, now: Tick) {
        if late {
            self.mind.book.on_unknown(now);
        } else {
            self.mind.book.on_answered(&self.desk.coin, moved, now);
        }
    }

    fn on_closed(&mut self, closing: Closing, closed: Closed, now: Tick) {
        let Closed { end, sent, order, moved, unknown, rejected, detail } = closed;
        self.mind.book.on_answered(&self.desk.coin, moved, now);
        if unknown {
            self.mind.book.on_unknown(now);
        }
        tracing::info!(attempt = closing.attempt, detail, "close");
        self.mind.on_close_end(end, !moved.is_zero(), now);
        let Some(mut draft) = closing.draft else { return };
        draft.detail = format!("{}; {detail}", draft.detail);
        match (sent, rejected) {
            (Some(size), _) => {
                let sent = order.map(|(cloid, px)| Sent { cloid, px, executed: moved.abs() });
                self.tell(draft, CycleAction::Close { size, why: closing.why.as_str().to_owned() }, sent);
            }
            (None, Some(reason)) => self.tell(draft, CycleAction::Rejected { reason }, None),
            (None, None) => self.tell(draft, CycleAction::Hold {}, None),
        }
    }

    fn on_compared(&mut self, asked: Option<u64>, compared: Compared, now: Tick) {
        self.retry_at = now.after(RECONCILE_RETRY);
        let Compared { clean, detail, account, settled, sends } = compared;
        if settled > 0 {
            self.mind.book.on_unknown(now);
        }
        // A newer request has come in, or a close was sent meanwhile that this reading may not know of: the answer is
        // void, the comparison is still owed, and it is done again.
        let current = self.owed == Some(asked) && sends == self.desk.sends();
        let quota = account.as_ref().and_then(|view| view.requests_left);
        if clean && current {
            self.owed = None;
            if let Some(view) = account {
                self.adopt(view, now);
            }
        }
        if quota.is_some() {
            // Just read: the next look at it can wait its whole turn.
            self.quota_at = now;
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
}
