//! The one job: whoever asks for it, its ladder goes on until the proof, and each step is recorded and said.

use super::{Deadman, OWN_JOB, SAY_AGAIN};
use crate::door::{Told, Wish};
use crate::ladder::{Event, Ladder, Next, Turn};
use holdfast_core::ids::JobId;
use holdfast_core::report::{JobKind, JobProgress};
use holdfast_core::time::Tick;
use holdfast_ipc::message::FromWorker;
use std::rc::Rc;
use tokio::sync::oneshot;

impl Deadman {
    pub(super) fn begin(&mut self, now: Tick, job: JobId, kind: JobKind, reply: Option<oneshot::Sender<u64>>) {
        tracing::warn!(job = job.0, ?kind, "reduce job begins");
        self.attempt = self.attempt.saturating_add(1);
        self.blind.unread(now);
        if let Some(reply) = reply {
            let _ = reply.send(self.attempt);
        }
        let turn = match &mut self.ladder {
            Some(ladder) => ladder.renew(now, job, kind),
            None => {
                let (ladder, turn) = Ladder::begin(now, job, kind);
                self.ladder = Some(ladder);
                turn
            }
        };
        self.carry_out(now, turn);
    }

    /// Asked at the door.
    pub(super) fn wished(&mut self, now: Tick, wish: Wish) {
        tracing::warn!(kind = ?wish.kind, "asked at the door");
        self.ledger.owe(now, wish.duty);
        let running = self.unproven().map(|ladder| (ladder.job(), ladder.kind()));
        // Under the number of a flatten, a mere cancel would answer "flat" with positions open.
        let (job, kind) = match running {
            Some((job, JobKind::Flatten)) => (job, JobKind::Flatten),
            Some((job, JobKind::CancelAll)) => (job, wish.kind),
            None => (OWN_JOB, wish.kind),
        };
        self.begin(now, job, kind, Some(wish.reply));
    }

    /// The supervisor's job. The same one again while it runs is only answered again.
    pub(super) fn reduce(&mut self, now: Tick, job: JobId, kind: JobKind) {
        self.ledger.ordered();
        let running = self.unproven().map(|ladder| (ladder.job(), ladder.kind()));
        if running == Some((job, kind)) {
            if let Some((progress, at)) = &mut self.said {
                *at = now;
                let _ = self.ctx.report(FromWorker::Job(progress.clone()));
            }
            return;
        }
        // What deadman began by itself (operator gone, asked at the door) is never weakened to a mere cancel.
        let kind = if matches!(running, Some((OWN_JOB, JobKind::Flatten))) { JobKind::Flatten } else { kind };
        self.begin(now, job, kind, None);
    }

    pub(super) fn unproven(&self) -> Option<&Ladder> {
        self.ladder.as_ref().filter(|ladder| !ladder.proven() && !ladder.done())
    }

    pub(super) fn step(&mut self, now: Tick, event: Event) {
        if let Some(ladder) = &mut self.ladder {
            let turn = ladder.step(now, event);
            self.carry_out(now, turn);
        }
    }

    pub(super) fn errand_done(&mut self, now: Tick, event: Event) {
        match event {
            Event::Read(Ok(_)) => {
                self.blind.seen();
                self.report_account();
            }
            Event::Read(Err(_)) => self.blind.unread(now),
            Event::Timer | Event::Cancelled { .. } | Event::Closed { .. } | Event::Touched(_) => {}
        }
        self.step(now, event);
    }

    pub(super) fn carry_out(&mut self, now: Tick, turn: Turn) {
        let unproven = self.unproven().map(Ladder::kind);
        self.ledger.job(now, unproven);
        if let Some(progress) = turn.say {
            self.say(now, progress);
        }
        match turn.next {
            Next::Wait(until) => self.wake = Some(until),
            Next::Await => {}
            Next::Done => self.wake = None,
            next @ (Next::Read | Next::Cancel { .. } | Next::Close { .. } | Next::Touch(_)) => {
                self.wake = None;
                let desk = Rc::clone(&self.desk);
                // A read changes nothing: it may leave before the record is on the disk.
                let record = if next == Next::Read { None } else { self.ledger.awaited() };
                self.errand = Some(Box::pin(async move {
                    if let Some(record) = record {
                        record.settled().await;
                    }
                    desk.perform(next).await
                }));
            }
        }
    }

    pub(super) fn say(&mut self, now: Tick, progress: JobProgress) {
        tracing::warn!(
            job = progress.job.0,
            round = progress.round,
            state = progress.state.as_str(),
            left = progress.residue.len(),
            detail = progress.detail,
            said_boot_ns = now.0,
            "reduce job"
        );
        let _ = self.ctx.report(FromWorker::Job(progress.clone()));
        // Nobody at the door is no failure.
        let unsaved = self.ledger.trouble(now).map(|why| {
            format!(
                "deadman works, and cannot write down what it begins ({why}): its successor may not know of this order"
            )
        });
        let _ = self.told.send(Told { attempt: self.attempt, progress: progress.clone(), unsaved });
        let verdict = progress.state.is_verdict();
        self.said = Some((progress, now));
        if self.loss_acted && verdict {
            // One write at a time: a disk that hangs must not collect threads.
            let busy = self.writing.as_mut().is_some_and(|w| w.try_recv() == Err(oneshot::error::TryRecvError::Empty));
            if !busy {
                self.writing = Some(self.write_record("supervisor lost: working on the policy"));
            }
        }
    }

    pub(super) fn say_again(&mut self, now: Tick) {
        if self.unproven().is_none() {
            return;
        }
        if let Some((progress, at)) = &mut self.said
            && now.since(*at) >= SAY_AGAIN
        {
            *at = now;
            let _ = self.ctx.report(FromWorker::Job(progress.clone()));
        }
    }
}
