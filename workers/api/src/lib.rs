//! Loopback HTTP for people and machines: status, metrics, events, cockpit.
//!
//! What it guarantees:
//! * It holds no key, touches no venue and never computes a mode: it serves the last document the supervisor pushed,
//!   and nothing that looks like a mode once that document is too old.
//! * Its only writing route asks the supervisor for emergency reduce-only; nothing here can raise risk.
//! * Every connection, queue, buffer and wait is bounded; a slow or hostile client loses its connection, nobody waits.

mod bind;
mod door;
mod feeds;
mod gate;
mod history;
mod hub;
mod metrics;
mod pages;
mod routes;
mod snapshot;
mod token;

use crate::history::History;
use crate::hub::Hub;
use crate::routes::Shared;
use arc_swap::ArcSwapOption;
use holdfast_ipc::clock;
use holdfast_ipc::message::{FromWorker, ToWorker};
use holdfast_kit::{Ctx, Exit, Order};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Emergency requests waiting for the supervisor; more than this answers 503.
const EMERGENCY_QUEUE: usize = 4;
/// Observations waiting to be looked at.
const OBSERVED_QUEUE: usize = 64;

/// The body of `engine worker api`. Ends when drained, or when it cannot listen.
pub async fn run(mut ctx: Ctx) -> Exit {
    let bound = match bind::bind(ctx.boot.api_port, ctx.boot.settings.api.port).await {
        Ok(bound) => bound,
        Err(error) => return Exit::Failed(error.to_string()),
    };
    let token = match token::create(&ctx.home.api_token()) {
        Ok(token) => token,
        Err(source) => return Exit::Failed(format!("cannot write the token of the api's controls: {source}")),
    };
    let (emergency, mut asked) = mpsc::channel::<oneshot::Sender<bool>>(EMERGENCY_QUEUE);
    let shared = Arc::new(Shared {
        port: bound.port,
        build_id: ctx.boot.build_id.clone(),
        token,
        snapshot: ArcSwapOption::empty(),
        history: Mutex::new(History::default()),
        hub: Hub::default(),
        emergency,
    });
    let (seen, mut observed) = mpsc::channel(OBSERVED_QUEUE);
    feeds::follow(&ctx, seen);
    let serving = tokio::spawn(door::serve(bound.listener, routes::router(shared.clone())));
    let endpoint = format!("http://127.0.0.1:{}", bound.port);
    tracing::info!(endpoint, "api listens");
    if !ctx.report(FromWorker::Ready { endpoint: Some(endpoint) }) {
        return Exit::Failed("the supervisor takes no reports".into());
    }
    let exit = attend(&mut ctx, &shared, &mut asked, &mut observed, serving).await;
    shared.hub.close();
    exit
}

async fn attend(
    ctx: &mut Ctx,
    shared: &Shared,
    asked: &mut mpsc::Receiver<oneshot::Sender<bool>>,
    observed: &mut mpsc::Receiver<feeds::Observed>,
    mut serving: tokio::task::JoinHandle<()>,
) -> Exit {
    loop {
        ctx.progress();
        tokio::select! {
            order = ctx.order() => match order {
                Order::Message(ToWorker::Status { doc }) => shared.take_status(doc, clock::now()),
                Order::Message(ToWorker::Drain {}) => {
                    serving.abort();
                    return Exit::Drained;
                }
                Order::SupervisorGone => return Exit::Failed("the supervisor is gone".into()),
                // Addressed to other roles; a beat says nothing this worker serves.
                Order::Beat(_)
                | Order::Message(
                    ToWorker::Welcome { .. }
                    | ToWorker::Beat { .. }
                    | ToWorker::Reconcile { .. }
                    | ToWorker::Reduce { .. } | ToWorker::Known { .. }
                    | ToWorker::OperatorDeadline { .. }
                    | ToWorker::Acknowledge {}
                    | ToWorker::Witness { .. }
                    | ToWorker::StandDown {},
                ) => {}
            },
            Some(answer) = asked.recv() => {
                tracing::warn!("emergency reduce-only was asked for over HTTP");
                let taken = ctx.report(FromWorker::EmergencyReduceOnly {});
                // A client that left does not need the answer.
                let _ = answer.send(taken);
            }
            Some(seen) = observed.recv() => shared.take_observed(seen),
            ended = &mut serving => return Exit::Failed(format!("the http server ended: {ended:?}")),
            // Begun anew each time: whatever woke us showed that we live.
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}
