//! A durable cell that is written by a thread of its own: a stalled disk stalls no decision.
//!
//! Only the newest value matters, so a waiting one is replaced, never queued. Whoever promises durability waits for the
//! sequence number of what was asked. What could not be written is tried again until it is, or until something newer
//! takes its place, and is said not to be on the disk until then.

use crate::cell::{Cell, CellError};
use holdfast_core::time::{Span, Tick};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Pause before a failed write is tried again.
const RETRY: Duration = Duration::from_millis(1000);
/// A write that takes longer counts as failed until it is done.
const PATIENCE: Span = Span::from_ms(1000);

/// Where the value goes: the cell, or in tests a disk that fails.
trait Sheet<T>: Send + 'static {
    /// Writes it and returns when it is on the disk.
    fn store(&mut self, value: &T) -> Result<(), CellError>;
}

impl<T: Serialize + DeserializeOwned + 'static> Sheet<T> for Cell<T> {
    fn store(&mut self, value: &T) -> Result<(), CellError> {
        Self::store(self, value)
    }
}

/// What has reached the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The newest sequence number that was dealt with.
    pub seq: u64,
    /// Whether that write reached the disk.
    pub ok: bool,
}

#[derive(Debug)]
struct Desk<T> {
    waiting: Option<(u64, T)>,
    closed: bool,
}

#[derive(Debug)]
struct Shared<T> {
    desk: Mutex<Desk<T>>,
    bell: Condvar,
}

/// The end of who decides.
#[derive(Debug)]
pub struct Keeper<T> {
    shared: Arc<Shared<T>>,
    written: watch::Receiver<Written>,
    asked: u64,
    /// Since when something waits for the disk.
    waiting: Tick,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, Desk<T>> {
    // A panic aborts the process, so a poisoned lock cannot be seen; its content would be whole anyway.
    shared.desk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Keeper<T> {
    /// Starts the thread, under this name.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub fn start(name: &str, cell: Cell<T>) -> std::io::Result<Self> {
        Self::over(name, cell)
    }

    fn over(name: &str, sheet: impl Sheet<T>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { desk: Mutex::new(Desk { waiting: None, closed: false }), bell: Condvar::new() });
        let (tell, written) = watch::channel(Written { seq: 0, ok: true });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || write(&theirs, sheet, &tell))?;
        Ok(Self { shared, written, asked: 0, waiting: Tick(0), thread: Some(thread) })
    }
}

impl<T> Keeper<T> {
    /// Hands over the newest value.
    pub fn store(&mut self, now: Tick, value: T) {
        if self.written.borrow().seq >= self.asked {
            self.waiting = now;
        }
        self.asked += 1;
        lock(&self.shared).waiting = Some((self.asked, value));
        self.shared.bell.notify_one();
    }

    /// A receiver that sees everything asked so far dealt with once it reaches the returned number.
    #[must_use]
    pub fn asked(&self) -> (u64, watch::Receiver<Written>) {
        (self.asked, self.written.clone())
    }

    /// Whether everything asked so far is on the disk.
    #[must_use]
    pub fn on_disk(&self) -> bool {
        let written = *self.written.borrow();
        written.ok && written.seq >= self.asked
    }

    /// Whether the last write reached the disk, and none has been waiting for long.
    #[must_use]
    pub fn healthy(&self, now: Tick) -> bool {
        self.on_disk() || (self.written.borrow().ok && now.since(self.waiting) < PATIENCE)
    }

    /// Waits, within a bound, until everything is dealt with, and ends the thread.
    pub async fn finish(mut self, within: Duration) -> Written {
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

fn write<T>(shared: &Shared<T>, mut sheet: impl Sheet<T>, tell: &watch::Sender<Written>) {
    let mut failed: Option<(u64, T)> = None;
    loop {
        let (seq, value) = {
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
        let result = sheet.store(&value);
        let ok = result.is_ok();
        failed = None;
        if let Err(error) = result {
            tracing::error!(%error, "not written down; tried again: a restart could forget it");
            failed = Some((seq, value));
        }
        // Nobody listening means the process is ending.
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
        value: Arc<AtomicU64>,
    }

    impl Sheet<u64> for Disk {
        fn store(&mut self, value: &u64) -> Result<(), CellError> {
            if self.broken.load(Ordering::SeqCst) {
                return Err(CellError::Busy { path: "disk".into() });
            }
            self.value.store(*value, Ordering::SeqCst);
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_written_once_the_disk_is_back() {
        let disk = Disk::default();
        disk.broken.store(true, Ordering::SeqCst);
        let mut keeper = Keeper::over("keeper", disk.clone()).expect("a thread");
        let (then, now) = (Tick(0), Tick(0).after(PATIENCE));
        keeper.store(then, 7);
        let (seq, mut written) = keeper.asked();
        let wait = Duration::from_secs(10);
        let failed = tokio::time::timeout(wait, written.wait_for(|w| w.seq >= seq)).await;
        assert!(!failed.expect("in time").expect("a writer").ok);
        assert!(!keeper.on_disk() && !keeper.healthy(now));
        disk.broken.store(false, Ordering::SeqCst);
        let mended = tokio::time::timeout(wait, written.wait_for(|w| w.ok && w.seq >= seq)).await;
        assert!(mended.is_ok(), "it was never tried again");
        assert_eq!(disk.value.load(Ordering::SeqCst), 7);
        assert!(keeper.on_disk() && keeper.healthy(now));
        assert!(keeper.finish(wait).await.ok);
    }
}
