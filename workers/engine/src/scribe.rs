//! The one thread that writes to the disk: journal entries and the loss guard. Nothing else in this process waits for a disk.
//!
//! * The queue is bounded and every wait has a deadline: a disk that stalls restricts trading, it does not stop closing.
//! * An entry that was not acknowledged in time counts as not written for the decision at hand; if it lands later, the
//!   journal remembers an order that was never sent, and asking the venue settles it.
//! * A segment of the journal is closed after the entry that filled it was acknowledged: nobody waits for it.
//! * After a failed write the whole segment is verified again from time to time; once that holds and a line can be written,
//!   entries are accepted again. What happened meanwhile is not in it, so books are compared before anything is opened.

use crate::loss::Guard;
use holdfast_core::checksum::Checksum;
use holdfast_core::report::JournalHealth;
use holdfast_core::time::Span;
use holdfast_ipc::clock;
use holdfast_store::Cell;
use holdfast_store::journal::{Entry, Journal, Memory};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Entries waiting for the disk.
const QUEUE_MAX: usize = 256;
/// Longest wait for an entry that must be on the disk first. Far below the time in which a silent worker is killed.
const APPEND_DEADLINE: Duration = Duration::from_millis(500);
/// Pause between attempts to verify and reopen a journal that failed.
const REOPEN_EVERY: Span = Span::from_ms(2000);

/// Why an entry is not known to be on the disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScribeError {
    /// Too much is waiting, or the disk did not answer in time.
    #[error("the disk does not keep up")]
    Stalled,
    /// The journal or cell refused or failed; the words name the file and the next step.
    #[error("{0}")]
    Failed(String),
}

enum Job {
    Append(u64, Box<Entry>, Option<oneshot::Sender<Result<(), ScribeError>>>),
    Guard(Box<Guard>, oneshot::Sender<Result<(), ScribeError>>),
    Flush(oneshot::Sender<Result<(), ScribeError>>),
}

#[derive(Default)]
struct Shared {
    memory: Mutex<Memory>,
    /// Checksum of the last entry in `memory`; changed only while that is held.
    head: Mutex<Option<Checksum>>,
    /// The journal is open and no write has failed.
    open: AtomicBool,
    /// The disk has not answered in time; cleared by its next answer.
    stalled: AtomicBool,
    /// How often the journal was opened again after a failure.
    reopened: AtomicU64,
    /// Entries handed over, for the record beside the journal.
    echo: Mutex<VecDeque<Entry>>,
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Scribe {
    jobs: Option<SyncSender<Job>>,
    shared: Arc<Shared>,
}

/// What was found on the disk at the start.
pub struct Opened {
    /// The handle; without an open journal it refuses every entry and says unhealthy.
    pub scribe: Scribe,
    /// Why the journal is not open.
    pub journal_error: Option<String>,
    /// The loss guard as stored; `Err` when it cannot be known, which never permits opening.
    pub guard: Result<Guard, String>,
}

/// An entry on its way to the disk.
pub struct Writing {
    scribe: Scribe,
    answer: oneshot::Receiver<Result<(), ScribeError>>,
}

impl Writing {
    /// Returns when it is on the disk.
    ///
    /// # Errors
    /// [`ScribeError`]; then the entry must be taken as not written.
    pub async fn written(self) -> Result<(), ScribeError> {
        self.scribe.wait(self.answer).await
    }
}

impl Scribe {
    /// Starts the thread and opens both files on it: a disk may be slow, and beats go on meanwhile. A segment of the
    /// journal may grow to about `segment_bytes`.
    pub async fn open(journal: PathBuf, segment_bytes: u64, cell: PathBuf) -> Opened {
        let shared = Arc::new(Shared::default());
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let (found, opened) = oneshot::channel();
        let theirs = Arc::clone(&shared);
        let started = std::thread::Builder::new().name("hf-scribe".to_owned()).spawn(move || {
            let (journal, journal_error) = match Journal::open(&journal, segment_bytes, clock::wall_ms()) {
                Ok(journal) => (Some(journal), None),
                Err(error) => (None, Some(error.to_string())),
            };
            let (cell, guard) = match Cell::<Guard>::open(&cell) {
                Ok((cell, guard)) => (Some(cell), Ok(guard.unwrap_or_default())),
                Err(error) => (None, Err(error.to_string())),
            };
            if let Some(journal) = &journal {
                show(journal, &theirs);
                theirs.open.store(true, Ordering::SeqCst);
            }
            // Nobody waits any more only when the process ends.
            let _ = found.send((journal_error, guard));
            write(&queue, journal, cell, &theirs);
        });
        let gone = |why: String| (Some(why.clone()), Err(why));
        let (jobs, (journal_error, guard)) = match started {
            Ok(_) => {
                let answer = opened.await.unwrap_or_else(|_| gone("the journal's thread ended".to_owned()));
                (Some(jobs), answer)
            }
            Err(error) => (None, gone(format!("the journal's thread does not start: {error}"))),
        };
        Opened { scribe: Self { jobs, shared }, journal_error, guard }
    }

    /// Writes an entry and returns when it is on the disk.
    ///
    /// # Errors
    /// [`ScribeError`]; then the entry must be taken as not written.
    pub async fn append(&self, entry: Entry) -> Result<(), ScribeError> {
        self.begin(entry)?.written().await
    }

    /// Begins to write an entry; the disk works while the caller does something else.
    ///
    /// # Errors
    /// [`ScribeError::Stalled`] when the queue is full.
    pub fn begin(&self, entry: Entry) -> Result<Writing, ScribeError> {
        let (done, answer) = oneshot::channel();
        self.send(Job::Append(clock::wall_ms(), Box::new(entry), Some(done)))?;
        Ok(Writing { scribe: self.clone(), answer })
    }

    /// Queues an entry that nothing waits for; `false` when it could not be queued.
    pub fn note(&self, entry: Entry) -> bool {
        self.send(Job::Append(clock::wall_ms(), Box::new(entry), None)).is_ok()
    }

    /// Stores the loss guard and returns when it is on the disk.
    ///
    /// # Errors
    /// [`ScribeError`].
    pub async fn store(&self, guard: Guard) -> Result<(), ScribeError> {
        let (done, answer) = oneshot::channel();
        self.send(Job::Guard(Box::new(guard), done))?;
        self.wait(answer).await
    }

    /// Waits, bounded, until everything queued before is written.
    pub async fn flush(&self) {
        let (done, answer) = oneshot::channel();
        if self.send(Job::Flush(done)).is_ok() && self.wait(answer).await.is_err() {
            tracing::warn!("entries were still waiting for the disk");
        }
    }

    /// What the journal remembers, entries on the disk only.
    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.shared.memory)
    }

    /// Whether intents can be written down.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.jobs.is_some() && self.shared.open.load(Ordering::SeqCst) && !self.shared.stalled.load(Ordering::SeqCst)
    }

    /// How often the journal was opened again after a failure: when this moves, entries are missing in it.
    #[must_use]
    pub fn reopened(&self) -> u64 {
        self.shared.reopened.load(Ordering::SeqCst)
    }

    /// For the supervisor.
    #[must_use]
    pub fn health(&self) -> JournalHealth {
        let memory = self.memory();
        memory.health(self.healthy(), *lock(&self.shared.head))
    }

    /// The orders, answers and executions handed over since the last call; of too many the oldest are missing.
    #[must_use]
    pub fn echo(&self) -> VecDeque<Entry> {
        std::mem::take(&mut *lock(&self.shared.echo))
    }

    fn send(&self, job: Job) -> Result<(), ScribeError> {
        if let Job::Append(_, entry, _) = &job {
            let mut echo = lock(&self.shared.echo);
            if echo.len() >= QUEUE_MAX {
                echo.pop_front();
            }
            echo.push_back(Entry::clone(entry));
        }
        let jobs = self.jobs.as_ref().ok_or(ScribeError::Stalled)?;
        jobs.try_send(job).map_err(|_| {
            self.shared.stalled.store(true, Ordering::SeqCst);
            ScribeError::Stalled
        })
    }

    async fn wait(&self, answer: oneshot::Receiver<Result<(), ScribeError>>) -> Result<(), ScribeError> {
        match tokio::time::timeout(APPEND_DEADLINE, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ScribeError::Failed("the journal's thread is gone".to_owned())),
            Err(_) => {
                self.shared.stalled.store(true, Ordering::SeqCst);
                Err(ScribeError::Stalled)
            }
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(queue: &Receiver<Job>, mut journal: Option<Journal>, mut cell: Option<Cell<Guard>>, shared: &Shared) {
    let mut tried = clock::now();
    loop {
        match queue.recv_timeout(Duration::from_nanos(REOPEN_EVERY.0)) {
            Ok(job) => {
                carry_out(job, journal.as_mut(), cell.as_mut(), shared);
                if let Some(journal) = &mut journal {
                    rotate(journal, shared);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let latched = journal.as_mut().filter(|journal| !journal.health().healthy);
        if let Some(journal) = latched
            && clock::now().since(tried) >= REOPEN_EVERY
        {
            reopen(journal, shared);
            tried = clock::now();
        }
    }
}

fn carry_out(job: Job, journal: Option<&mut Journal>, cell: Option<&mut Cell<Guard>>, shared: &Shared) {
    match job {
        Job::Append(at_ms, entry, done) => {
            let result = append(journal, at_ms, &entry, shared);
            shared.stalled.store(false, Ordering::SeqCst);
            if let Some(done) = done {
                // Whoever asked may have given up waiting.
                let _ = done.send(result);
            }
        }
        Job::Flush(done) => {
            let _ = done.send(Ok(()));
        }
        Job::Guard(guard, done) => {
            let result = match cell {
                Some(cell) => cell.store(&guard).map_err(|e| ScribeError::Failed(e.to_string())),
                None => Err(ScribeError::Failed("the loss guard's file is not open".to_owned())),
            };
            shared.stalled.store(false, Ordering::SeqCst);
            let _ = done.send(result);
        }
    }
}

/// Shows what the journal holds now.
fn show(journal: &Journal, shared: &Shared) {
    let mut memory = lock(&shared.memory);
    memory.clone_from(journal.memory());
    *lock(&shared.head) = journal.head();
}

fn rotate(journal: &mut Journal, shared: &Shared) {
    if !shared.open.load(Ordering::SeqCst) {
        return;
    }
    match journal.rotate(clock::wall_ms()) {
        Ok(false) => {}
        Ok(true) => show(journal, shared),
        Err(error) if journal.health().healthy => {
            tracing::warn!(%error, "the journal's segment grows on: it cannot be closed yet");
        }
        Err(error) => {
            shared.open.store(false, Ordering::SeqCst);
            tracing::error!(%error, "journal");
        }
    }
}

fn reopen(journal: &mut Journal, shared: &Shared) {
    match journal.reopen(clock::wall_ms()) {
        Ok(()) => {
            show(journal, shared);
            // Counted before entries are accepted: whoever sees it open sees that it was closed.
            shared.reopened.fetch_add(1, Ordering::SeqCst);
            shared.open.store(true, Ordering::SeqCst);
            tracing::warn!("the journal was verified and accepts entries again");
        }
        Err(error) => tracing::debug!(%error, "the journal cannot be opened again yet"),
    }
}

fn append(journal: Option<&mut Journal>, at_ms: u64, entry: &Entry, shared: &Shared) -> Result<(), ScribeError> {
    let journal = journal.ok_or_else(|| ScribeError::Failed("the journal is not open".to_owned()))?;
    match journal.append(at_ms, entry) {
        Ok(_) => {
            let mut memory = lock(&shared.memory);
            memory.apply(entry);
            *lock(&shared.head) = journal.head();
            Ok(())
        }
        Err(error) => {
            let was_open = shared.open.load(Ordering::SeqCst);
            if !journal.health().healthy {
                shared.open.store(false, Ordering::SeqCst);
            }
            // Said once; until it is opened again every entry fails in the same way.
            if was_open {
                tracing::error!(%error, "journal");
            }
            Err(ScribeError::Failed(error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests;
