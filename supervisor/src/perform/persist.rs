//! The judge's durable cell, written by a thread of its own: a stalled disk stalls no decision.
//!
//! Only the newest state matters, so a waiting one is replaced, never queued. Replies that promise durability wait for
//! the sequence number they were given.

use holdfast_core::durable::Durable;
use holdfast_store::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What has reached the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The newest sequence number that was dealt with.
    pub(crate) seq: u64,
    /// Whether that write reached the disk.
    pub(crate) ok: bool,
}

#[derive(Default)]
struct Desk {
    waiting: Option<(u64, Durable)>,
    closed: bool,
}

struct Shared {
    desk: Mutex<Desk>,
    bell: Condvar,
}

/// The driver's end.
pub(crate) struct Persister {
    shared: Arc<Shared>,
    written: watch::Receiver<Written>,
    asked: u64,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn lock(shared: &Shared) -> MutexGuard<'_, Desk> {
    // A panic aborts the process, so a poisoned lock cannot be seen; its content would be whole anyway.
    shared.desk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Persister {
    /// Starts the thread.
    pub(crate) fn start(cell: Cell<Durable>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { desk: Mutex::default(), bell: Condvar::new() });
        let (tell, written) = watch::channel(Written { seq: 0, ok: true });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("persist".into()).spawn(move || write(&theirs, cell, &tell))?;
        Ok(Self { shared, written, asked: 0, thread: Some(thread) })
    }

    /// Hands over the newest state.
    pub(crate) fn store(&mut self, durable: Durable) {
        self.asked += 1;
        lock(&self.shared).waiting = Some((self.asked, durable));
        self.shared.bell.notify_one();
    }

    /// A receiver that sees everything asked so far dealt with once it reaches the returned number.
    pub(crate) fn asked(&self) -> (u64, watch::Receiver<Written>) {
        (self.asked, self.written.clone())
    }

    /// Whether the last write reached the disk.
    pub(crate) fn healthy(&self) -> bool {
        self.written.borrow().ok
    }

    /// Whether everything asked so far is on disk.
    pub(crate) fn all_on_disk(&self) -> bool {
        let written = *self.written.borrow();
        written.ok && written.seq >= self.asked
    }

    /// Waits, within a bound, until everything is dealt with, and ends the thread.
    pub(crate) async fn finish(mut self, within: Duration) -> Written {
        let asked = self.asked;
        let _ = tokio::time::timeout(within, self.written.wait_for(|written| written.seq >= asked)).await;
        lock(&self.shared).closed = true;
        self.shared.bell.notify_one();
        let written = *self.written.borrow();
        // A thread stuck in a stalled disk is left to the kernel: the process is about to end.
        if written.seq >= asked
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
        written
    }
}

fn write(shared: &Shared, mut cell: Cell<Durable>, tell: &watch::Sender<Written>) {
    loop {
        let (seq, durable) = {
            let mut desk = lock(shared);
            loop {
                if let Some(next) = desk.waiting.take() {
                    break next;
                }
                if desk.closed {
                    return;
                }
                desk = shared.bell.wait(desk).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let result = cell.store(&durable);
        if let Err(error) = &result {
            tracing::error!(%error, "latches and epochs could not be written down");
        }
        // Nobody listening means the supervisor is ending.
        let _ = tell.send(Written { seq, ok: result.is_ok() });
    }
}
