//! Files in `run/` that people and scripts read and leave: `status.json`, the pidfile, `KILL`. On a thread of its own,
//! because a disk that stalls must not stall the judge.
//!
//! Only the newest document matters, so a waiting one is replaced, never queued.

use crate::instance::Ownership;
use crate::os::files::{free_mib, replace_file};
use crate::source::Input;
use crate::source::files::{OrderFiles, Spare};
use bytes::Bytes;
use holdfast_core::command::ControlRequest;
use holdfast_core::limits::{DISK_FREE_MIB, DISK_ROOMY_MIB};
use holdfast_core::status::DiskStatus;
use holdfast_ipc::bootstrap::Home;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What the driver knew when it asked for a look.
#[derive(Clone, Copy)]
struct Look {
    /// Orders it has taken so far.
    taken: u64,
    /// Everything they changed is on the disk.
    on_disk: bool,
}

#[derive(Default)]
struct Desk {
    look: Option<Look>,
    spare: Option<Spare>,
    status: Option<Bytes>,
    closed: bool,
}

impl Desk {
    const fn idle(&self) -> bool {
        !(self.look.is_some() || self.spare.is_some() || self.status.is_some() || self.closed)
    }
}

#[derive(Default)]
struct Shared {
    desk: Mutex<Desk>,
    /// A file that orders the opposite of a resume.
    standing: Mutex<Option<&'static str>>,
    /// Room on the home's disk.
    room: Mutex<DiskStatus>,
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
    /// Starts the thread; files that are orders go to `inputs`. Those that wait already come back at once, to be obeyed
    /// before anything else.
    pub(crate) fn start(
        home: Home,
        ownership: Arc<Ownership>,
        inputs: mpsc::Sender<Input>,
    ) -> std::io::Result<(Self, Vec<ControlRequest>)> {
        let shared = Arc::<Shared>::default();
        survey(&shared, &home);
        let theirs = shared.clone();
        let mut files = OrderFiles::of(&home);
        let waiting = files.orders(false);
        let sent = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("clerk".into()).spawn(move || {
            work(&theirs, &home, &ownership, (files, sent), &inputs);
            // Nobody waits any more only when the process ends.
            let _ = end.send(());
        })?;
        Ok((Self { shared, ended }, waiting))
    }

    fn ask(&self, what: impl FnOnce(&mut Desk)) {
        what(&mut lock(&self.shared));
        self.shared.bell.notify_one();
    }

    /// Looks for files that are orders. Those obeyed go only if all `taken` orders are `on_disk`.
    pub(crate) fn look(&self, taken: u64, on_disk: bool) {
        self.ask(|desk| desk.look = Some(Look { taken, on_disk }));
    }

    /// Leaves latches that the disk does not take as the files that mean the same.
    pub(crate) fn spare(&self, spare: Spare) {
        self.ask(|desk| desk.spare = Some(spare));
    }

    /// A file that orders the opposite of a resume, as of the last look.
    pub(crate) fn standing(&self) -> Option<&'static str> {
        *self.shared.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room on the home's disk, as of the last look.
    pub(crate) fn room(&self) -> DiskStatus {
        *self.shared.room.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Looks how much room there is. A disk that cannot be measured stays as it was: others say that it does not answer.
fn survey(shared: &Shared, home: &Home) {
    let Ok(free_mib) = free_mib(home.root()) else { return };
    let mut room = shared.room.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = if room.short { DISK_ROOMY_MIB } else { DISK_FREE_MIB };
    *room = DiskStatus { short: free_mib < wanted, free_mib: Some(free_mib) };
}

fn work(
    shared: &Shared,
    home: &Home,
    ownership: &Ownership,
    (mut files, mut sent): (OrderFiles, u64),
    inputs: &mpsc::Sender<Input>,
) {
    let mut lost = false;
    loop {
        let asked = {
            let mut desk = lock(shared);
            while desk.idle() {
                desk = shared.bell.wait(desk).unwrap_or_else(PoisonError::into_inner);
            }
            let closed = desk.closed;
            std::mem::replace(&mut *desk, Desk { closed, ..Desk::default() })
        };
        if let Some(look) = asked.look {
            survey(shared, home);
            // An order on its way to the driver is not on the disk, whatever the driver knew when it asked.
            for request in files.orders(look.on_disk && look.taken >= sent) {
                sent += 1;
                // Fails only when the driver has ended.
                let _ = inputs.blocking_send(Input::Ordered(request));
            }
            *shared.standing.lock().unwrap_or_else(PoisonError::into_inner) = files.against_resume();
        }
        if let Some(spare) = asked.spare {
            files.leave(spare);
            *shared.standing.lock().unwrap_or_else(PoisonError::into_inner) = files.against_resume();
        }
        if let Some(status) = asked.status {
            if ownership.announced(home) {
                lost = false;
            } else {
                // Somebody removed or spoilt it, or the disk is full; people and scripts look for it.
                let again = ownership.announce(home);
                if !std::mem::replace(&mut lost, true) {
                    tracing::warn!(?again, "the pidfile was lost: written again, as soon as the disk takes it");
                }
            }
            if let Err(error) = replace_file(&home.status_json(), &status) {
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

    async fn next(queue: &mut mpsc::Receiver<Input>) -> ControlRequest {
        match tokio::time::timeout(WAIT, queue.recv()).await.expect("in time") {
            Some(Input::Ordered(request)) => request,
            _ => panic!("not an order"),
        }
    }

    #[tokio::test]
    async fn an_order_file_is_obeyed_once_stays_until_it_is_on_disk_and_stands_against_a_resume() {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::new(dir.path().to_owned());
        std::fs::create_dir(home.run()).expect("a run folder");
        let ownership = Arc::new(Ownership::take(&home).expect("a free home"));
        let (inputs, mut queue) = mpsc::channel(8);
        std::fs::write(home.pause_file(), "").expect("a pause file");
        let (clerk, waiting) = Clerk::start(home.clone(), ownership, inputs).expect("a thread");
        assert_eq!(waiting, [ControlRequest::Pause {}]);
        std::fs::write(home.kill_file(), "").expect("a kill file");
        clerk.look(1, true);
        assert!(matches!(next(&mut queue).await, ControlRequest::Kill { flatten: true, .. }));
        // Asked with what was known before the kill was taken: it must not go yet.
        clerk.look(1, true);
        clerk.look(2, false);
        clerk.publish(Bytes::from_static(b"{}"));
        clerk.finish(WAIT).await;
        assert!(home.kill_file().exists());
        assert_eq!(std::fs::read(home.status_json()).expect("a document"), b"{}");
        assert!(home.pidfile().exists());
    }
}
