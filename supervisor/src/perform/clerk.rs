//! Files in `run/` that people and scripts read and leave: `status.json`, the pidfile, `KILL`. On a thread of its own,
//! because a disk that stalls must not stall the judge.
//!
//! Only the newest document matters, so a waiting one is replaced, never queued.

use super::publish::write_file;
use crate::instance::Ownership;
use crate::source::Input;
use bytes::Bytes;
use holdfast_ipc::bootstrap::Home;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

#[derive(Default)]
struct Desk {
    look: bool,
    remove_kill: bool,
    status: Option<Bytes>,
    closed: bool,
}

impl Desk {
    const fn idle(&self) -> bool {
        !(self.look || self.remove_kill || self.status.is_some() || self.closed)
    }
}

#[derive(Default)]
struct Shared {
    desk: Mutex<Desk>,
    bell: Condvar,
}

/// The driver's end.
pub(crate) struct Clerk {
    shared: Arc<Shared>,
    ended: oneshot::Receiver<()>,
}

fn lock(shared: &Shared) -> MutexGuard<'_, Desk> {
    // A panic aborts the process, so a poisoned lock cannot be seen; its content would be whole anyway.
    shared.desk.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clerk {
    /// Starts the thread. `run/KILL` is reported to `inputs` at each look for as long as it is there.
    pub(crate) fn start(home: Home, ownership: Arc<Ownership>, inputs: mpsc::Sender<Input>) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = shared.clone();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("clerk".into()).spawn(move || {
            work(&theirs, &home, &ownership, &inputs);
            // Nobody waits any more only when the process ends.
            let _ = end.send(());
        })?;
        Ok(Self { shared, ended })
    }

    fn ask(&self, what: impl FnOnce(&mut Desk)) {
        what(&mut lock(&self.shared));
        self.shared.bell.notify_one();
    }

    /// Looks for `run/KILL`.
    pub(crate) fn look(&self) {
        self.ask(|desk| desk.look = true);
    }

    /// Removes `run/KILL`: what it ordered is latched on the disk.
    pub(crate) fn remove_kill(&self) {
        self.ask(|desk| desk.remove_kill = true);
    }

    /// Writes `run/status.json`, and the pidfile if it was lost.
    pub(crate) fn publish(&self, status: Bytes) {
        self.ask(|desk| desk.status = Some(status));
    }

    /// Waits, within a bound, until what was asked is done, so that nothing is written after the end was.
    pub(crate) async fn finish(self, within: Duration) {
        self.ask(|desk| desk.closed = true);
        // A thread stuck in a stalled disk is left to the kernel: the process is about to end.
        let _ = tokio::time::timeout(within, self.ended).await;
    }
}

fn work(shared: &Shared, home: &Home, ownership: &Ownership, inputs: &mpsc::Sender<Input>) {
    loop {
        let asked = {
            let mut desk = lock(shared);
            while desk.idle() {
                desk = shared.bell.wait(desk).unwrap_or_else(PoisonError::into_inner);
            }
            let closed = desk.closed;
            std::mem::replace(&mut *desk, Desk { closed, ..Desk::default() })
        };
        let kill = home.kill_file();
        if asked.remove_kill {
            // It stays if it cannot be removed; the latch is set either way.
            let _ = std::fs::remove_file(&kill);
        }
        // A full queue loses a report; the next look makes another.
        if asked.look && kill.exists() {
            let _ = inputs.try_send(Input::KillFile);
        }
        if let Some(status) = asked.status {
            if !ownership.announced(home) {
                // Somebody removed or spoilt it; without it `stop` finds nobody.
                let again = ownership.announce(home);
                tracing::warn!(?again, "the pidfile was lost; written again");
            }
            if let Err(error) = write_file(&home.status_json(), &status) {
                tracing::debug!(%error, "status.json was not written");
            }
        }
        if asked.closed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_kill_file_is_reported_until_it_may_go_and_nothing_is_written_after_the_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::new(dir.path().to_owned());
        std::fs::create_dir(home.run()).expect("a run folder");
        let ownership = Arc::new(Ownership::take(&home).expect("a free home"));
        let (inputs, mut queue) = mpsc::channel(8);
        let clerk = Clerk::start(home.clone(), ownership, inputs).expect("a thread");
        std::fs::write(home.kill_file(), "").expect("a kill file");
        for _ in 0..2 {
            clerk.look();
            let seen = tokio::time::timeout(WAIT, queue.recv()).await.expect("in time");
            assert!(matches!(seen, Some(Input::KillFile)));
            assert!(home.kill_file().exists(), "it stays until the latch is on the disk");
        }
        clerk.remove_kill();
        clerk.publish(Bytes::from_static(b"{}"));
        clerk.finish(WAIT).await;
        assert!(!home.kill_file().exists());
        assert_eq!(std::fs::read(home.status_json()).expect("a document"), b"{}");
        assert!(home.pidfile().exists());
    }
}
