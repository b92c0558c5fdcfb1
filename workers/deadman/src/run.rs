//! The one loop: the supervisor's orders, the clock, the door and the venue's answers, turned into the machines' events.
//!
//! Nothing here blocks: one venue call of the ladder and one of the switch are out at a time, each bounded, and the
//! loop turns at least twice a second.

mod blind;
mod job;
mod loss;
mod orders;
mod reports;

use crate::desk::{Desk, FirstContact};
use crate::door::{self, Told, Wish};
use crate::ladder::{Event, Ladder};
use crate::ledger::Ledger;
use crate::operator::Operator;
use crate::switch::Switch;
use crate::watch::{Finding, Sign, Watch, watch_process};
use crate::witness::Witness;
use blind::{Blind, Shot};
use holdfast_core::duty::Duty;
use holdfast_core::ids::JobId;
use holdfast_core::kill::{KillCause, KillLatch};
use holdfast_core::report::{DeadManReport, JobKind, JobProgress, OrderView};
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::clock;
use holdfast_ipc::message::FromWorker;
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
/// How often idle connections to the venue are used, which the client would else close: the first read of a kill must not
/// wait for handshakes.
const WARM_EVERY: Span = Span::from_ms(15_000);
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
    warming: Option<Later<()>>,
    warm_due: Tick,
    reported: Option<DeadManReport>,
    watch: Watch,
    operator: Operator,
    blind: Blind,
    /// Orders as the supervisor's side read them last.
    known: Vec<OrderView>,
    ledger: Ledger,
    /// What the supervisor was told last of the record.
    unrecorded: Option<Option<String>>,
    witness: Witness,
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
    Shot(Shot),
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
    pub(crate) fn new(ctx: Ctx, desk: Rc<Desk>, (ledger, witness): (Ledger, Witness)) -> Self {
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
            warming: None,
            warm_due: now,
            reported: None,
            watch: Watch::begin(now),
            operator: Operator::default(),
            blind: Blind::default(),
            known: Vec::new(),
            ledger,
            unrecorded: None,
            witness,
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
                () = maybe(&mut self.warming) => Woken::Clock,
                shot = maybe(&mut self.blind.shot) => Woken::Shot(shot),
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
                Woken::Shot(shot) => self.shot(now, shot),
                Woken::Wish(wish) => self.wished(now, wish),
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
        let trouble = self.ledger.trouble(now);
        if self.ready
            && self.unrecorded.as_ref() != Some(&trouble)
            && self.ctx.report(FromWorker::Unrecorded(trouble.clone()))
        {
            self.unrecorded = Some(trouble);
        }
        self.cancel_blindly(now);
        self.keep_armed(now);
        self.keep_warm(now);
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
        let wake = [self.wake, self.contact_due, self.blind.due].into_iter().flatten().map(|due| now.until(due));
        // Rounded up: a timer that fires early would only be asked again.
        Duration::from_nanos(wake.fold(TURN, Span::min).0)
    }
}
