//! A worker's link to its supervisor: orders in, reports out, beats in between.

use crate::orphan::{end_now, outlives_supervisor};
use holdfast_core::limits::{PEER_QUEUE_MAX, TICK};
use holdfast_ipc::IpcError;
use holdfast_ipc::bootstrap::{Bootstrap, Home};
use holdfast_ipc::clock;
use holdfast_ipc::conn::{Conn, Reader, Writer};
use holdfast_ipc::message::{FromWorker, ToWorker};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

/// A beat goes out with each beat of the supervisor: one waking of two processes instead of two. An idle tree is asleep
/// most of the time, and wakings are what it costs. Two beats are this far apart, whatever the supervisor does.
const APART: Duration = Duration::from_nanos(TICK.0 / 2);
/// After a beat that went out so, the supervisor's next one is waited for this much longer than a tick.
const SLACK: Duration = Duration::from_nanos(TICK.0 * 2 / 5);

const _: () = assert!(
    2 * (TICK.0 + TICK.0 * 2 / 5) < holdfast_core::limits::BEAT_LATE.0,
    "one lost beat does not restrict, even when ours wait for the supervisor's"
);

/// How a worker's link speaks to it.
#[derive(Debug)]
pub enum Order {
    /// A message of the supervisor other than its beat.
    Message(ToWorker),
    /// The supervisor's beat.
    Beat(ToWorker),
    /// The connection is gone. Only deadman and the paper venue see this; every other worker has ended by then.
    SupervisorGone,
}

/// What a worker's `run` function gets.
pub struct Ctx {
    /// Its bootstrap.
    pub boot: Bootstrap,
    /// Paths of its home.
    pub home: Home,
    orders: mpsc::Receiver<Order>,
    link: Link,
}

/// The sending side; cheap to clone within the worker's thread.
#[derive(Clone)]
pub struct Link {
    out: mpsc::Sender<FromWorker>,
    progress: Rc<Cell<u64>>,
}

impl Link {
    /// Counts one piece of real work. Without it beats are worth nothing.
    pub fn progress(&self) {
        self.progress.set(self.progress.get().wrapping_add(1));
    }

    /// Queues a report; `false` when the queue is full or the supervisor gone. The newest reading replaces a lost one
    /// at its next turn, so readings are not retried.
    #[must_use]
    pub fn report(&self, message: FromWorker) -> bool {
        self.out.try_send(message).is_ok()
    }
}

impl Ctx {
    /// Takes over an accepted connection: beats begin. Needs a `LocalSet`. Called by [`crate::run`], and by tests that
    /// play the supervisor themselves.
    #[must_use]
    pub fn start(boot: Bootstrap, conn: Conn<ToWorker, FromWorker>) -> Self {
        let (order_tx, orders) = mpsc::channel(PEER_QUEUE_MAX);
        let (out, out_rx) = mpsc::channel(PEER_QUEUE_MAX);
        let link = Link { out, progress: Rc::new(Cell::new(0)) };
        let survives = outlives_supervisor(boot.role);
        let pulse = Rc::new(Notify::new());
        tokio::task::spawn_local(read(conn.reader, order_tx, survives, pulse.clone()));
        tokio::task::spawn_local(write(conn.writer, out_rx, link.progress.clone(), pulse));
        let home = Home::new(boot.home.clone());
        Self { boot, home, orders, link }
    }

    /// The sending side.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// Counts one piece of real work.
    pub fn progress(&self) {
        self.link.progress();
    }

    /// Queues a report, see [`Link::report`].
    #[must_use]
    pub fn report(&self, message: FromWorker) -> bool {
        self.link.report(message)
    }

    /// The next order. Safe to cancel.
    pub async fn order(&mut self) -> Order {
        self.orders.recv().await.unwrap_or(Order::SupervisorGone)
    }
}

async fn read(mut reader: Reader<ToWorker>, orders: mpsc::Sender<Order>, survives: bool, pulse: Rc<Notify>) {
    loop {
        let order = match reader.recv().await {
            Ok(beat @ ToWorker::Beat { .. }) => {
                // A worker too busy to look at beats loses beats, not orders.
                let _ = orders.try_send(Order::Beat(beat));
                pulse.notify_one();
                continue;
            }
            Ok(message) => Order::Message(message),
            Err(error) => {
                if !survives {
                    tracing::error!(%error, "the supervisor is gone; ending");
                    end_now();
                }
                let _ = orders.send(Order::SupervisorGone).await;
                return;
            }
        };
        if orders.send(order).await.is_err() {
            return;
        }
    }
}

/// Beats every tick, whether the supervisor speaks or not, and with its beats when it does.
async fn write(
    mut writer: Writer<FromWorker>,
    mut out: mpsc::Receiver<FromWorker>,
    progress: Rc<Cell<u64>>,
    pulse: Rc<Notify>,
) {
    let tick = Duration::from_nanos(TICK.0);
    let mut seq = 0_u64;
    let mut last: Option<Instant> = None;
    let timer = sleep_until(Instant::now());
    let mut timer = std::pin::pin!(timer);
    loop {
        let next = tokio::select! {
            biased;
            () = timer.as_mut() => Some(tick),
            () = pulse.notified() => {
                if last.is_some_and(|last| last.elapsed() < APART) {
                    continue;
                }
                Some(tick + SLACK)
            }
            message = out.recv() => match message {
                Some(message) => {
                    if !said(&mut writer, &message).await {
                        return;
                    }
                    None
                }
                None => return,
            },
        };
        let Some(next) = next else { continue };
        let now = Instant::now();
        last = Some(now);
        // A new timer, not the old one moved: moving a timer later still wakes at its old time.
        timer.set(sleep_until(now + next));
        seq = seq.wrapping_add(1);
        if !said(&mut writer, &FromWorker::Beat { seq, progress: progress.get(), sent: clock::now() }).await {
            return;
        }
    }
}

/// A supervisor that does not read for a second is gone or stopped; its death shows on the reading side.
async fn said(writer: &mut Writer<FromWorker>, message: &FromWorker) -> bool {
    match writer.send_within(message, Duration::from_secs(1)).await {
        Ok(()) => true,
        // Nothing was written. A reading too large to be told (thousands of open orders) is not told and grows old, which
        // restricts; to fall silent over it would get this worker killed, deadman in the middle of a flatten.
        Err(IpcError::TooLarge(bytes)) => {
            tracing::error!(bytes, "a report does not fit a frame and is left out");
            true
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests;
