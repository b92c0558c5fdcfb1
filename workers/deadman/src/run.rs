//! The one loop: the supervisor's orders, the clock, the door and the venue's answers, turned into the machines' events.
//!
//! Nothing here blocks: one venue call of the ladder and one of the switch are out at a time, each bounded, and the
//! loop turns at least twice a second.

use crate::desk::{Desk, FirstContact};
use crate::door::{self, Told, Wish};
use crate::ladder::{Event, Ladder, Next, Turn};
use crate::ledger::Ledger;
use crate::operator::Operator;
use crate::record::{self, Record};
use crate::switch::Switch;
use crate::watch::{Finding, Sign, Watch, watch_process};
use holdfast_core::durable::{KillCause, KillLatch};
use holdfast_core::duty::Duty;
use holdfast_core::ids::JobId;
use holdfast_core::limits::VENUE_DEADMAN_AHEAD;
use holdfast_core::registry::{Profile, TradingMode};
use holdfast_core::report::{DeadManReport, JobKind, JobProgress};
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::clock;
use holdfast_ipc::message::{FromWorker, ToWorker};
use holdfast_ipc::settings::OnSupervisorLoss;
use holdfast_kit::{Ctx, Exit, Order};
use holdfast_venue_reduce::outcome::Outcome;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Longest sleep of the loop: own gaps must be noticed.
const TURN: Span = Span::from_ms(500);
/// Not ready by then: ready all the same, with everything unknown. A dead venue is no reason to be absent.
const READY_ANYWAY: Span = Span::from_ms(3000);
/// First pause between two attempts at first contact; doubles, because each one costs much of the venue's patience.
const CONTACT_RETRY: Span = Span::from_ms(500);
/// Longest pause between two attempts at first contact.
const CONTACT_RETRY_MAX: Span = Span::from_ms(16_000);
/// Progress of a running job is repeated this often, so that nobody takes waiting for death.
const SAY_AGAIN: Span = Span::from_ms(2000);
/// The venue unreachable this long after the supervisor's loss, and no paper venue alive: nothing is left to close.
const VENUE_GONE: Span = Span::from_ms(10_000);
/// A clean stop may take this long to look and to clear the switch.
const FAREWELL: Duration = Duration::from_millis(1200);
/// Job number of what deadman begins by itself.
const OWN_JOB: JobId = JobId::OWN;

type Later<T> = Pin<Box<dyn Future<Output = T>>>;

/// The worker, alive.
pub(crate) struct Deadman {
    ctx: Ctx,
    desk: Rc<Desk>,
    linked: bool,
    ready: bool,
    born: Tick,
    contact: Option<Later<Result<(), FirstContact>>>,
    contact_due: Option<Tick>,
    contact_pause: Span,
    ladder: Option<Ladder>,
    errand: Option<Later<Event>>,
    wake: Option<Tick>,
    said: Option<(JobProgress, Tick)>,
    attempt: u64,
    told: broadcast::Sender<Told>,
    switch: Switch,
    arming: Option<Later<(Tick, u64, Outcome)>>,
    reported: Option<DeadManReport>,
    watch: Watch,
    operator: Operator,
    ledger: Ledger,
    loss_acted: bool,
    draining: bool,
    writing: Option<oneshot::Receiver<()>>,
}

/// What ended one turn of the loop.
enum Woken {
    Order(Order),
    Errand(Event),
    Armed((Tick, u64, Outcome)),
    Contact(Result<(), FirstContact>),
    ProcessEnded,
    Wish(Wish),
    Clock,
}

/// The result of an optional future; never ends when there is none.
async fn maybe<T>(later: &mut Option<Later<T>>) -> T {
    match later {
        Some(future) => {
            let result = future.as_mut().await;
            *later = None;
            result
        }
        None => std::future::pending().await,
    }
}

impl Deadman {
    pub(crate) fn new(ctx: Ctx, desk: Rc<Desk>, ledger: Ledger) -> Self {
        let now = clock::now();
        let (told, _) = broadcast::channel(64);
        Self {
            ctx,
            desk,
            linked: true,
            ready: false,
            born: now,
            contact: None,
            contact_due: Some(now),
            contact_pause: CONTACT_RETRY,
            ladder: None,
            errand: None,
            wake: None,
            said: None,
            attempt: 0,
            told,
            switch: Switch::begin(now),
            arming: None,
            reported: None,
            watch: Watch::begin(now),
            operator: Operator::default(),
            ledger,
            loss_acted: false,
            draining: false,
            writing: None,
        }
    }

    /// Lives until told to stop, or until the account of a lost supervisor is flat.
    pub(crate) async fn live(mut self) -> Exit {
        let mut process = watch_process(self.ctx.boot.supervisor_pid);
        let (wish_in, mut wishes) = mpsc::channel(4);
        if let Err(error) = door::serve(&self.ctx.home.deadman_sock(), wish_in.clone(), self.told.clone()) {
            // The supervisor's own door still works; being dead-man matters more than being asked.
            tracing::error!(%error, "deadman's own door cannot be opened");
        }
        if let Some(kind) = self.ledger.begun() {
            tracing::warn!(?kind, "the former deadman had begun this and not proven it");
            self.begin(clock::now(), OWN_JOB, kind, None);
        }
        let mut watching = true;
        loop {
            let now = clock::now();
            self.ctx.progress();
            if let Some(exit) = self.due(now).await {
                return exit;
            }
            let nap = self.nap(now);
            let woken = tokio::select! {
                biased;
                event = maybe(&mut self.errand) => Woken::Errand(event),
                order = self.ctx.order(), if self.linked => Woken::Order(order),
                ended = process.recv(), if watching => {
                    watching = false;
                    // Without a thread to tell us the channel just closes.
                    if ended.is_some() { Woken::ProcessEnded } else { Woken::Clock }
                }
                wish = wishes.recv() => wish.map_or(Woken::Clock, Woken::Wish),
                armed = maybe(&mut self.arming) => Woken::Armed(armed),
                contact = maybe(&mut self.contact) => Woken::Contact(contact),
                () = tokio::time::sleep(nap) => Woken::Clock,
            };
            let now = clock::now();
            match woken {
                Woken::Clock => {}
                Woken::Errand(event) => self.errand_done(now, event),
                Woken::Order(order) => self.order(now, order),
                Woken::ProcessEnded => {
                    tracing::error!("the supervisor's process ended");
                    self.supervisor_ended(now, Sign::ProcessEnded);
                }
                Woken::Wish(wish) => {
                    tracing::warn!(kind = ?wish.kind, "asked at the door");
                    let running = self.unproven().map(|ladder| (ladder.job(), ladder.kind()));
                    self.ledger.owe(now, wish.duty);
                    // Under the number of a flatten, a mere cancel would answer "flat" with positions open.
                    let (job, kind) = match running {
                        Some((job, JobKind::Flatten)) => (job, JobKind::Flatten),
                        Some((job, JobKind::CancelAll)) => (job, wish.kind),
                        None => (OWN_JOB, wish.kind),
                    };
                    self.begin(now, job, kind, Some(wish.reply));
                }
                Woken::Armed((sent, fires, outcome)) => {
                    self.switch.answered(now, sent, fires, &outcome);
                    self.report_switch(now, true);
                }
                Woken::Contact(Ok(())) => {
                    self.report_account();
                    self.say_ready();
                }
                Woken::Contact(Err(error @ FirstContact::AgentAddress)) => return Exit::Failed(error.to_string()),
                Woken::Contact(Err(error @ FirstContact::Later(_))) => {
                    tracing::warn!(%error, "first contact with the venue failed");
                    self.contact_due = Some(now.after(self.contact_pause));
                    self.contact_pause = Span(self.contact_pause.0.saturating_mul(2)).min(CONTACT_RETRY_MAX);
                }
            }
        }
    }

    /// Everything that is due by the clock alone.
    async fn due(&mut self, now: Tick) -> Option<Exit> {
        if !self.ready && now.since(self.born) >= READY_ANYWAY {
            tracing::warn!("ready without having reached the venue");
            self.say_ready();
        }
        if self.contact_due.is_some_and(|due| now >= due) {
            self.contact_due = None;
            let desk = Rc::clone(&self.desk);
            self.contact = Some(Box::pin(async move { desk.first_contact().await }));
        }
        if self.wake.is_some_and(|wake| now >= wake) {
            self.wake = None;
            self.step(now, Event::Timer);
        }
        if self.operator.expired(now) {
            tracing::error!("the operator did not check in: making the account flat");
            let kill = KillLatch::new(clock::wall_ms(), KillCause::OperatorDeadMan, None, JobKind::Flatten);
            self.ledger.owe(now, Duty { kill: Some(kill), ..Duty::default() });
            self.begin(now, OWN_JOB, JobKind::Flatten, None);
        }
        // Unheard, the kill would not be latched and the engine would open again: said until it is taken.
        if let Some(duty) = self.ledger.to_tell()
            && self.ctx.report(FromWorker::Duty(Box::new(duty)))
        {
            self.ledger.told();
        }
        self.keep_armed(now);
        self.say_again(now);
        match self.watch.judge(now) {
            // It was only silent and speaks again: should it fall silent once more, act once more.
            Finding::Well if self.unproven().is_none() && !self.watch.ended() => self.loss_acted = false,
            Finding::Well => {}
            Finding::Leave if self.unproven().is_some() => {}
            Finding::Leave => return Some(Exit::Drained),
            Finding::Act => self.supervisor_lost(now),
        }
        if self.loss_acted && self.watch.ended() {
            let venue_gone = self.unproven().is_some() && self.venue_went_with_the_tree(now);
            if venue_gone {
                self.last_words("venue is gone with the tree: nothing left to close").await;
                return Some(Exit::Drained);
            }
            if self.ladder.as_ref().is_none_or(Ladder::done) {
                self.last_words("supervisor lost: the policy is carried out").await;
                return Some(Exit::Drained);
            }
        }
        if self.draining && self.unproven().is_none() {
            self.farewell().await;
            return Some(Exit::Drained);
        }
        None
    }

    fn nap(&self, now: Tick) -> Duration {
        let wake = [self.wake, self.contact_due].into_iter().flatten().map(|due| now.until(due));
        // Rounded up: a timer that fires early would only be asked again.
        Duration::from_nanos(wake.fold(TURN, Span::min).0)
    }

    fn order(&mut self, now: Tick, order: Order) {
        match order {
            Order::SupervisorGone => {
                self.linked = false;
                tracing::error!("the supervisor's connection ended");
                self.supervisor_ended(now, Sign::LinkEnded);
            }
            Order::Beat(ToWorker::Beat { mode, .. }) | Order::Message(ToWorker::Beat { mode, .. }) => {
                self.watch.sign(now, Sign::Beat);
                self.ledger.beat(now, mode);
                if mode == TradingMode::Active
                    && let Some(ladder) = &mut self.ladder
                {
                    ladder.release();
                    if ladder.done() {
                        self.wake = None;
                    }
                }
            }
            Order::Beat(message) | Order::Message(message) => self.message(now, message),
        }
    }

    fn message(&mut self, now: Tick, message: ToWorker) {
        match message {
            ToWorker::Reduce { job, kind } => self.reduce(now, job, kind),
            ToWorker::OperatorDeadline { expires_wall_ms } => {
                self.operator.set(now, clock::wall_ms(), expires_wall_ms);
            }
            ToWorker::StandDown {} => self.watch.sign(now, Sign::StandDown),
            ToWorker::Drain {} => {
                self.watch.sign(now, Sign::StandDown);
                self.draining = true;
            }
            ToWorker::Welcome { .. }
            | ToWorker::Beat { .. }
            | ToWorker::Reconcile { .. }
            | ToWorker::Acknowledge {}
            | ToWorker::Status { .. } => {}
        }
    }

    /// The supervisor's job. The same one again while it runs is only answered again.
    fn reduce(&mut self, now: Tick, job: JobId, kind: JobKind) {
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

    fn begin(&mut self, now: Tick, job: JobId, kind: JobKind, reply: Option<oneshot::Sender<u64>>) {
        tracing::warn!(job = job.0, ?kind, "reduce job begins");
        self.attempt = self.attempt.saturating_add(1);
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

    fn unproven(&self) -> Option<&Ladder> {
        self.ladder.as_ref().filter(|ladder| !ladder.proven() && !ladder.done())
    }

    fn step(&mut self, now: Tick, event: Event) {
        if let Some(ladder) = &mut self.ladder {
            let turn = ladder.step(now, event);
            self.carry_out(now, turn);
        }
    }

    fn errand_done(&mut self, now: Tick, event: Event) {
        if matches!(event, Event::Read(Ok(_))) {
            self.report_account();
        }
        self.step(now, event);
    }

    fn carry_out(&mut self, now: Tick, turn: Turn) {
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

    fn say(&mut self, now: Tick, progress: JobProgress) {
        tracing::warn!(
            job = progress.job.0,
            round = progress.round,
            state = progress.state.as_str(),
            left = progress.residue.len(),
            detail = progress.detail,
            "reduce job"
        );
        let _ = self.ctx.report(FromWorker::Job(progress.clone()));
        // Nobody at the door is no failure.
        let _ = self.told.send(Told { attempt: self.attempt, progress: progress.clone() });
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

    fn say_again(&mut self, now: Tick) {
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

    fn report_account(&self) {
        if let Some(view) = self.desk.account().as_ref().and_then(|account| account.view(None).ok()) {
            let _ = self.ctx.report(FromWorker::Account(Box::new(view)));
        }
    }

    fn say_ready(&mut self) {
        if !self.ready {
            self.ready = true;
            self.report_switch(clock::now(), true);
            let _ = self.ctx.report(FromWorker::Ready { endpoint: None });
        }
    }

    fn keep_armed(&mut self, now: Tick) {
        let busy = self.ladder.as_ref().is_some_and(Ladder::quota_spent);
        if !self.draining && !busy && self.arming.is_none() && self.switch.due(now) {
            self.switch.sent(now);
            let desk = Rc::clone(&self.desk);
            self.arming = Some(Box::pin(async move {
                let (fires, outcome) = desk.arm(Some(VENUE_DEADMAN_AHEAD)).await;
                (now, fires, outcome)
            }));
        }
        self.report_switch(now, false);
    }

    fn report_switch(&mut self, now: Tick, anyway: bool) {
        let report = self.switch.report(now);
        if anyway || self.reported.as_ref() != Some(&report) {
            let _ = self.ctx.report(FromWorker::DeadMan(report.clone()));
            self.reported = Some(report);
        }
    }

    /// If it was acted upon while it was only silent, that may be long ago: an end calls for a new look.
    fn supervisor_ended(&mut self, now: Tick, sign: Sign) {
        if !self.watch.ended() && self.unproven().is_none() {
            self.loss_acted = false;
        }
        self.watch.sign(now, sign);
    }

    fn supervisor_lost(&mut self, now: Tick) {
        if self.loss_acted {
            return;
        }
        self.loss_acted = true;
        let kind = match self.ctx.boot.settings.deadman.on_supervisor_loss {
            OnSupervisorLoss::Cancel => JobKind::CancelAll,
            OnSupervisorLoss::Flatten => JobKind::Flatten,
        };
        tracing::error!(?kind, "no supervisor and no successor within the grace time: acting");
        match self.unproven().map(Ladder::kind) {
            // A flatten that is under way is all that is asked for, and more than a cancel.
            Some(JobKind::Flatten) => {}
            Some(JobKind::CancelAll) | None => self.begin(now, OWN_JOB, kind, None),
        }
    }

    fn venue_went_with_the_tree(&self, now: Tick) -> bool {
        self.ctx.boot.settings.profile == Profile::Paper
            && self.desk.unreachable_since().is_some_and(|since| now.since(since) >= VENUE_GONE)
            && record::paper_venue_is_gone(&self.ctx.home)
    }

    /// The report, waited for a moment: nobody will write it after us.
    async fn last_words(&self, note: &str) {
        tracing::warn!(note, "leaving");
        let _ = tokio::time::timeout(FAREWELL, self.write_record(note)).await;
    }

    fn write_record(&self, note: &str) -> oneshot::Receiver<()> {
        let boot = &self.ctx.boot;
        let policy = match boot.settings.deadman.on_supervisor_loss {
            OnSupervisorLoss::Cancel => "cancel",
            OnSupervisorLoss::Flatten => "flatten",
        };
        let record = Record {
            schema: "holdfast.deadman-report.v1",
            at: record::now(),
            supervisor_pid: boot.supervisor_pid,
            epoch: boot.epoch.0,
            policy: policy.to_owned(),
            progress: self.said.as_ref().map(|(progress, _)| progress.clone()),
            note: note.to_owned(),
        };
        record::write(&self.ctx.home, record)
    }

    /// A clean stop: clears the venue's switch only when a fresh read shows the account flat; otherwise it stays armed.
    async fn farewell(&mut self) {
        // Whatever is out must not arm it again after it was cleared.
        self.arming = None;
        let desk = Rc::clone(&self.desk);
        let clear = async move {
            if let Event::Read(Ok(reading)) = desk.perform(Next::Read).await
                && reading.held.is_empty()
                && reading.live.is_empty()
            {
                let (_, outcome) = desk.arm(None).await;
                tracing::info!(?outcome, "flat: the venue's dead-man switch is cleared");
            } else {
                tracing::warn!("not proven flat: the venue's dead-man switch stays as it is");
            }
        };
        let _ = tokio::time::timeout(FAREWELL, clear).await;
        self.report_account();
    }
}
