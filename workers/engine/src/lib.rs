//! Decides and trades; the only process whose code can open risk.
//!
//! * No order that may add risk leaves without a live permit, a written intent and a passed gate ([`gate`], [`desk`]).
//! * With no permit, no journal or no feed, positions stay managed: closing needs none of them.
//! * The same decision is never sent twice, in this process or the next ([`key`], [`reconcile`]).
//! * Nothing here waits without a bound, and the disk has a thread of its own ([`scribe`]).
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a failed expectation is how a test speaks"
    )
)]

pub mod bars;
pub mod book;
pub mod desk;
mod feed;
pub mod gate;
pub mod key;
pub mod loss;
pub mod mind;
mod minutes;
pub mod reconcile;
pub mod scribe;
mod setup;
mod shell;
pub mod standing;
pub mod strategy;

use holdfast_core::ids::Role;
use holdfast_core::time::Span;
use holdfast_ipc::clock;
use holdfast_ipc::feed::Publisher;
use holdfast_ipc::message::{FromWorker, ToWorker};
use holdfast_kit::{Ctx, Exit, Order};
use holdfast_store::journal::{Entry, SEGMENT_BYTES};
use mind::Mind;
use minutes::Minutes;
use scribe::{Opened, Scribe};
use shell::Shell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often the loop turns when nothing happens.
const TURN: Duration = Duration::from_millis(500);
/// Ready is said at the first message of the sensor, or after this.
const READY_AFTER: Span = Span::from_ms(3000);
/// An errand under way may finish for this long after the order to drain.
const DRAIN: Span = Span::from_ms(1000);

/// Waits for something that makes progress on another thread.
async fn patiently<T>(work: impl Future<Output = T>, ctx: &Ctx) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(TURN, &mut work).await {
            Ok(done) => return done,
            Err(_) => ctx.progress(),
        }
    }
}

/// Runs the engine until it is told to drain.
pub async fn run(mut ctx: Ctx) -> Exit {
    let opening = Scribe::open(ctx.home.decisions(), SEGMENT_BYTES, ctx.home.engine_cell());
    let Opened { scribe, journal_error, guard } = patiently(opening, &ctx).await;
    if let Some(error) = &journal_error {
        tracing::error!(error, "the decision journal is not open: closing only");
    }
    let desk = match setup::desk(&ctx.boot, &ctx.home, scribe.clone()) {
        Ok(desk) => Rc::new(desk),
        Err(error) => return Exit::Failed(error.to_string()),
    };
    let publisher = Publisher::open(&ctx.home.engine_sock(), ctx.boot.epoch, ctx.boot.feed_token.clone(), &[Role::Api]);
    let publisher = publisher.map_err(|error| tracing::error!(%error, "cycles are not published")).ok();
    let (guard, guard_error) = match guard {
        Ok(guard) => (Some(guard), None),
        Err(error) => (None, Some(error)),
    };
    let settings = ctx.boot.settings.clone();
    let account = desk.account.clone();
    let mind = Mind::new(&settings.strategy, &settings.limits, &account, ctx.boot.epoch, guard);
    let (done, mut results) = mpsc::channel(4);
    let recovered = scribe.memory().entries();
    let minutes = Minutes::new(&settings, recovered, clock::now());
    let mut shell = Shell::new(mind, desk, ctx.link(), publisher, (done, minutes));
    shell.guard_error = guard_error;
    scribe.note(Entry::Started { epoch: ctx.boot.epoch, generation: ctx.boot.generation });
    let mut feed = feed::follow(&ctx.boot, ctx.home.sensor_sock());
    let born = clock::now();
    let (mut heard, mut ready) = (false, false);
    let mut drain_until = None;
    shell.dispatch(born);
    loop {
        tokio::select! {
            order = ctx.order() => match order {
                Order::Message(ToWorker::Drain {}) | Order::SupervisorGone => {
                    shell.drain();
                    drain_until = Some(clock::now().after(DRAIN));
                }
                Order::Message(message) => shell.on_order(&message),
                Order::Beat(_) => {}
            },
            Some(message) = feed.recv() => {
                heard = true;
                shell.on_feed(message);
            }
            Some(done) = results.recv() => shell.on_done(done, clock::now()),
            // Begun anew each time: whatever woke us did the turn's work.
            () = tokio::time::sleep(TURN) => {}
        }
        let now = clock::now();
        if drain_until.is_some_and(|until| !shell.busy() || now >= until) {
            shell.conclude();
            scribe.flush().await;
            return Exit::Drained;
        }
        if !ready && (heard || now.since(born) >= READY_AFTER) {
            ready = ctx.report(FromWorker::Ready { endpoint: None });
        }
        shell.report(now);
        shell.dispatch(now);
        ctx.progress();
    }
}
