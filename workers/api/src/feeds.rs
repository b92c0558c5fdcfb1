//! Following the data plane: the sensor's observations and the engine's reports. Read only; a feed that is not there
//! is asked for again after a pause, for ever.

use holdfast_core::ids::Role;
use holdfast_ipc::feed::{FromEngine, FromSensor, Subscribe, subscribe};
use holdfast_kit::Ctx;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// First pause before asking again; doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Something another worker said.
#[derive(Debug)]
pub(crate) enum Observed {
    /// The sensor.
    Sensor(Box<FromSensor>),
    /// The engine.
    Engine(Box<FromEngine>),
}

/// Starts following both feeds in local tasks that end with the receiver.
pub(crate) fn follow(ctx: &Ctx, seen: mpsc::Sender<Observed>) {
    let ask = Subscribe { role: Role::Api, epoch: ctx.boot.epoch, token: ctx.boot.feed_token.clone() };
    let sensor = |m| Observed::Sensor(Box::new(m));
    let engine = |m| Observed::Engine(Box::new(m));
    tokio::task::spawn_local(one(ctx.home.sensor_sock(), ask.clone(), sensor, seen.clone()));
    tokio::task::spawn_local(one(ctx.home.engine_sock(), ask, engine, seen));
}

async fn one<T: DeserializeOwned>(
    path: PathBuf,
    ask: Subscribe,
    wrap: fn(T) -> Observed,
    seen: mpsc::Sender<Observed>,
) {
    let mut pause = PAUSE_FIRST;
    while !seen.is_closed() {
        if let Ok(mut reader) = subscribe::<T>(&path, &ask).await {
            loop {
                match reader.recv().await {
                    // Waiting here is the publisher's cue to drop us; we come back and start afresh.
                    Ok(message) => {
                        pause = PAUSE_FIRST;
                        if seen.send(wrap(message)).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, path = %path.display(), "a feed ended");
                        break;
                    }
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(PAUSE_MAX);
    }
}
