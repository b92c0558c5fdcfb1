//! The supervisor's hand on the ledger: latches, restart budgets and the day's loss baseline, written down on the ledger's
//! own thread.
//!
//! * Every write holds the whole state, so that the next one makes good what a failed one left out.
//! * Nothing here waits for the disk. Not written in time is said by [`Bookkeeper::on_disk`], and restricts; a kill goes
//!   ahead regardless.
//! * The cell, and for the baseline the engine's own cell, stay the first authority: this is the second record.

use holdfast_core::conflict::{LatchRows, compare_loss, rows_of};
use holdfast_core::durable::Durable;
use holdfast_core::ids::Role;
use holdfast_core::report::{self, LossDay};
use holdfast_core::time::{Span, Tick};
use holdfast_store::ledger::{Ledger, LossBaseline, LossBreach, Record};
use std::time::Duration;
use tokio::sync::oneshot;

/// What waits longer than this for the disk restricts; also the pause before a failed write is tried again.
const PATIENCE: Span = Span::from_ms(1000);
/// Writes that may wait: each holds everything, so that more of them say nothing more.
const WAITING_MAX: usize = 4;

/// See the module.
pub(crate) struct Bookkeeper {
    /// Absent when the disk was full at the start: nothing is written before the next one.
    ledger: Option<Ledger>,
    /// The latches as they were handed over last.
    rows: LatchRows,
    loss: Option<LossBaseline>,
    /// What the ledger said of the loss limit before this start, until the engine has said it too.
    before: Option<LossDay>,
    /// The newest state was not handed over.
    owing: bool,
    tried: Tick,
    /// Since when something waits for the disk.
    waiting: Option<Tick>,
}

impl Bookkeeper {
    /// Over an open ledger that holds these rows.
    pub(crate) fn new(ledger: Ledger, rows: LatchRows, loss: Option<LossBaseline>) -> Self {
        let before = loss.as_ref().map(|loss| LossDay {
            utc_day: loss.utc_day,
            baseline_usd: loss.baseline_usd,
            breach: loss
                .breach
                .as_ref()
                .filter(|breach| breach.lifted_ms.is_none())
                .map(|breach| report::LossBreach { equity_usd: breach.equity_usd, epoch: breach.epoch }),
        });
        Self { ledger: Some(ledger), rows, loss, before, owing: false, tried: Tick(0), waiting: None }
    }

    /// Of a tree that began on a disk without room for the ledger: never on the disk.
    pub(crate) fn without() -> Self {
        let rows = LatchRows::new();
        Self { ledger: None, rows, loss: None, before: None, owing: true, tried: Tick(0), waiting: None }
    }

    /// Hands over the state as it is now.
    pub(crate) fn note(&mut self, now: Tick, wall_ms: u64, durable: &Durable) {
        let mut rows = rows_of(durable, wall_ms);
        for (latch, row) in &mut rows {
            // What has no time of its own is as it is since it became so, not since it was written.
            if let Some(old) = self.rows.get(latch) {
                let same = holdfast_core::conflict::LatchRow { since_wall_ms: old.since_wall_ms, ..row.clone() };
                if same == *old {
                    *row = same;
                }
            }
        }
        let latches = rows.iter().map(|(latch, row)| Record::Latch(*latch, row.clone()));
        let deaths = Role::ALL.iter().zip(&durable.deaths);
        let deaths = deaths.map(|(role, deaths)| Record::Deaths(*role, deaths.walls().to_vec()));
        let loss = self.loss.clone().map(Record::LossBaseline);
        let records = latches.chain(deaths).chain(loss).collect();
        self.rows = rows;
        self.tried = now;
        self.owing = true;
        let Some(ledger) = &self.ledger else { return };
        if ledger.health().queued >= WAITING_MAX {
            return;
        }
        match ledger.note(wall_ms, records) {
            Ok(()) => {
                self.owing = false;
                self.waiting.get_or_insert(now);
            }
            Err(error) => tracing::error!(%error, "not recorded in the ledger; tried again"),
        }
    }

    /// The engine told its day's baseline; gives what the ledger said against it before this start, once.
    pub(crate) fn baseline(&mut self, wall_ms: u64, day: &LossDay) -> Option<String> {
        let conflict = self.before.take().and_then(|before| compare_loss(day, &before));
        let same = self.loss.as_ref().filter(|old| old.utc_day == day.utc_day && old.baseline_usd == day.baseline_usd);
        self.loss = Some(LossBaseline {
            utc_day: day.utc_day,
            baseline_usd: day.baseline_usd,
            recorded_ms: same.map_or(wall_ms, |old| old.recorded_ms),
            breach: day.breach.map(|breach| LossBreach {
                equity_usd: breach.equity_usd,
                epoch: breach.epoch,
                lifted_ms: None,
            }),
        });
        conflict
    }

    /// The operator resumed after a loss limit.
    pub(crate) fn lifted(&mut self, wall_ms: u64) {
        if let Some(breach) = self.loss.as_mut().and_then(|loss| loss.breach.as_mut()) {
            breach.lifted_ms.get_or_insert(wall_ms);
        }
    }

    /// Whether everything handed over is in the ledger, or not overdue. Tries again what failed, about once a second.
    pub(crate) fn on_disk(&mut self, now: Tick, wall_ms: u64, durable: &Durable) -> bool {
        let Some(ledger) = &self.ledger else { return false };
        let health = ledger.health();
        if health.queued == 0 {
            self.waiting = None;
        }
        let failing = self.owing || health.failing_since_ms.is_some();
        if failing && !health.latched && health.queued == 0 && now.since(self.tried) >= PATIENCE {
            self.note(now, wall_ms, durable);
        }
        health.ok() && !self.owing && self.waiting.is_none_or(|since| now.since(since) < PATIENCE)
    }

    /// Writes what waits and closes the ledger, within a bound: a thread stuck in a stalled disk is left to the kernel, the
    /// process is about to end.
    pub(crate) async fn finish(self, within: Duration) {
        let Some(ledger) = self.ledger else { return };
        let (end, ended) = oneshot::channel();
        let close = move || {
            drop(ledger);
            let _ = end.send(());
        };
        let closing = std::thread::Builder::new().name("ledger-close".into()).spawn(close);
        if closing.is_err() || tokio::time::timeout(within, ended).await.is_err() {
            tracing::error!("the ledger was not closed in order: the disk does not answer");
        }
    }
}
