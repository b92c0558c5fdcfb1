//! The judge's durable cell, written by a thread of its own: a stalled disk stalls no decision.
//!
//! Only the newest state matters, so a waiting one is replaced, never queued. Replies that promise durability wait for
//! the sequence number they were given. What could not be written is tried again until it is, or until something newer
//! takes its place: a latch that a restart would forget restricts until then.

use holdfast_core::durable::Durable;
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::clock;
use holdfast_store::{Cell, CellError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Pause before a failed write is tried again.
const RETRY: Duration = Duration::from_millis(1000);
/// A write that takes longer counts as failed until it is done.
const PATIENCE: Span = Span::from_ms(1000);

/// Where the state goes: the cell, or in tests a disk that fails.
pub(crate) trait Sheet: Send + 'static {
    /// Writes it and returns when it is on the disk.
    fn store(&mut self, durable: &Durable) -> Result<(), CellError>;
}

impl Sheet for Cell<Durable> {
    fn store(&mut self, durable: &Durable) -> Result<(), CellError> {
        Self::store(self, durable)
    }
}

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
    /// Since when something waits for the disk.
    waiting: Tick,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn lock(shared: &Shared) -> MutexGuard<'_, Desk> {
    // A panic aborts the process, so a poisoned lock cannot be seen; its content would be whole anyway.
    shared.desk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Persister {
    /// Starts the thread.
    pub(crate) fn start(cell: impl Sheet) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { desk: Mutex::default(), bell: Condvar::new() });
        let (tell, written) = watch::channel(Written { seq: 0, ok: true });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("persist".into()).spawn(move || write(&theirs, cell, &tell))?;
        Ok(Self { shared, written, asked: 0, waiting: Tick(0), thread: Some(thread) })
    }

    /// Hands over the newest state.
    pub(crate) fn store(&mut self, durable: Durable) {
        if self.written.borrow().seq >= self.asked {
            self.waiting = clock::now();
        }
        self.asked += 1;
        lock(&self.shared).waiting = Some((self.asked, durable));
        self.shared.bell.notify_one();
    }

    /// A receiver that sees everything asked so far dealt with once it reaches the returned number.
    pub(crate) fn asked(&self) -> (u64, watch::Receiver<Written>) {
        (self.asked, self.written.clone())
    }

    /// Whether everything asked so far is on the disk.
    pub(crate) fn on_disk(&self) -> bool {
        let written = *self.written.borrow();
        written.ok && written.seq >= self.asked
    }

    /// Whether the last write reached the disk, and none has been waiting for long.
    pub(crate) fn healthy(&self, now: Tick) -> bool {
        self.on_disk() || (self.written.borrow().ok && now.since(self.waiting) < PATIENCE)
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

fn write(shared: &Shared, mut cell: impl Sheet, tell: &watch::Sender<Written>) {
    let mut failed: Option<(u64, Durable)> = None;
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
                if let Some(again) = failed.take() {
                    let (back, waited) = shared.bell.wait_timeout(desk, RETRY).unwrap_or_else(PoisonError::into_inner);
                    desk = back;
                    if waited.timed_out() && desk.waiting.is_none() && !desk.closed {
                        break again;
                    }
                    failed = Some(again);
                } else {
                    desk = shared.bell.wait(desk).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        let result = cell.store(&durable);
        let ok = result.is_ok();
        failed = None;
        if let Err(error) = result {
            tracing::error!(%error, "latches and epochs could not be written down");
            failed = Some((seq, durable));
        }
        // Nobody listening means the supervisor is ending.
        let _ = tell.send(Written { seq, ok });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    #[derive(Clone, Default)]
    struct Disk {
        broken: Arc<AtomicBool>,
        job: Arc<AtomicU64>,
    }

    impl Sheet for Disk {
        fn store(&mut self, durable: &Durable) -> Result<(), CellError> {
            if self.broken.load(Ordering::SeqCst) {
                return Err(CellError::Busy { path: "disk".into() });
            }
            self.job.store(durable.last_job.0, Ordering::SeqCst);
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_latch_that_could_not_be_written_is_written_once_the_disk_is_back() {
        let disk = Disk::default();
        disk.broken.store(true, Ordering::SeqCst);
        let mut persister = Persister::start(disk.clone()).expect("a thread");
        let mut durable = Durable::fresh();
        durable.last_job = holdfast_core::ids::JobId(7);
        persister.store(durable);
        let (seq, mut written) = persister.asked();
        let wait = Duration::from_secs(10);
        let failed = tokio::time::timeout(wait, written.wait_for(|w| w.seq >= seq)).await;
        assert!(!failed.expect("in time").expect("a writer").ok);
        assert!(!persister.on_disk() && !persister.healthy(clock::now()));
        disk.broken.store(false, Ordering::SeqCst);
        let mended = tokio::time::timeout(wait, written.wait_for(|w| w.ok && w.seq >= seq)).await;
        assert!(mended.is_ok(), "it was never tried again");
        assert_eq!(disk.job.load(Ordering::SeqCst), 7);
        assert!(persister.on_disk() && persister.healthy(clock::now()));
        assert!(persister.finish(wait).await.ok);
    }
}
