//! File calls whose answer the judge's loop needs: made on a thread of their own and waited for only so long.
//!
//! * A disk that hangs costs the loop one wait of [`PATIENCE`]; from then on nobody waits until the thread is back.
//! * What comes too late is dropped over there: closing a file may wait for the disk as well.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// Longest wait for one answer: a fraction of the permit's lease and of what counts as a stall of our own.
const PATIENCE: Duration = Duration::from_millis(500);
/// Calls that may wait behind a slow one.
const WAITING_MAX: usize = 16;

type Call = Box<dyn FnOnce() + Send>;

/// The loop's end.
pub(crate) struct Aside {
    calls: SyncSender<Call>,
    /// Handed over and not done yet.
    open: Arc<AtomicUsize>,
    /// One was waited for in vain, and the thread is not back since.
    late: Cell<bool>,
}

impl Aside {
    /// Starts the thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (calls, asked) = sync_channel::<Call>(WAITING_MAX);
        let open = Arc::<AtomicUsize>::default();
        let done = open.clone();
        std::thread::Builder::new().name("aside".into()).spawn(move || {
            while let Ok(call) = asked.recv() {
                call();
                done.fetch_sub(1, Ordering::AcqRel);
            }
        })?;
        Ok(Self { calls, open, late: Cell::new(false) })
    }

    /// Makes a call over there; `false` when too many wait already. The caller does not.
    pub(crate) fn hand(&self, call: impl FnOnce() + Send + 'static) -> bool {
        self.open.fetch_add(1, Ordering::AcqRel);
        let taken = self.calls.try_send(Box::new(call)).is_ok();
        if !taken {
            self.open.fetch_sub(1, Ordering::AcqRel);
        }
        taken
    }

    /// Makes a call over there and waits for its answer; `None` when it does not come in time.
    pub(crate) fn ask<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        if self.late.get() && self.open.load(Ordering::Acquire) > 0 {
            return None;
        }
        let (tell, told) = sync_channel(0);
        let taken = self.hand(move || {
            // Fails when nobody waits any more: then the answer is dropped here.
            let _ = tell.send(call());
        });
        let answer = if taken { told.recv_timeout(PATIENCE).ok() } else { None };
        self.late.set(answer.is_none());
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    /// Says when it goes.
    struct Parting(SyncSender<std::thread::ThreadId>);

    impl Drop for Parting {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().id());
        }
    }

    #[test]
    fn a_call_that_hangs_is_waited_for_once_and_its_answer_is_dropped_over_there() {
        let aside = Aside::start().expect("a thread");
        assert_eq!(aside.ask(|| 7), Some(7));
        let (disk, stuck) = channel::<()>();
        let (parting, parted) = sync_channel(1);
        let late = aside.ask(move || {
            let _ = stuck.recv();
            Parting(parting)
        });
        assert!(late.is_none());
        assert_eq!(aside.ask(|| 7), None, "not even asked");
        drop(disk);
        let who = parted.recv_timeout(Duration::from_secs(10)).expect("it comes to an end");
        assert_ne!(who, std::thread::current().id());
        let back = std::iter::repeat_with(|| aside.ask(|| 8)).take(1_000_000).flatten().next();
        assert_eq!(back, Some(8), "asked again once the thread is back");
    }
}
