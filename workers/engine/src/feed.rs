//! The sensor's feed, followed for as long as the engine lives: a lost connection is tried again after a pause.

use holdfast_ipc::bootstrap::Bootstrap;
use holdfast_ipc::feed::{FromSensor, Subscribe, subscribe};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages waiting for the engine; it is always faster than the sensor unless it is wedged.
const QUEUE_MAX: usize = 64;
/// Pause between attempts.
const RETRY: Duration = Duration::from_millis(250);

/// Follows the feed in a local task.
#[must_use]
pub(crate) fn follow(boot: &Bootstrap, path: PathBuf) -> mpsc::Receiver<FromSensor> {
    let ask = Subscribe { role: boot.role, epoch: boot.epoch, token: boot.feed_token.clone() };
    let (out, queue) = mpsc::channel(QUEUE_MAX);
    tokio::task::spawn_local(async move {
        loop {
            if let Ok(mut reader) = subscribe::<FromSensor>(&path, &ask).await {
                loop {
                    match reader.recv().await {
                        Ok(message) => {
                            if out.send(message).await.is_err() {
                                return;
                            }
                        }
                        Err(error) => {
                            tracing::warn!(%error, "the sensor's feed ended");
                            break;
                        }
                    }
                }
            }
            tokio::time::sleep(RETRY).await;
            if out.is_closed() {
                return;
            }
        }
    });
    queue
}
