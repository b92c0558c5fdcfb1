//! The thread that owns the ledger, and the handle through which everybody else reaches it.

use super::error::LedgerError;
use super::open::{self, Right};
use super::record::Record;
use super::write;
use holdfast_core::limits::{LEDGER_BATCH_MAX, LEDGER_QUEUE_MAX};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Whether what is handed over reaches the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Wall-clock milliseconds of the first write that failed and has not been followed by one that succeeded.
    pub failing_since_ms: Option<u64>,
    /// The newest failure's words.
    pub error: Option<String>,
    /// Nothing more is written until the ledger is opened again.
    pub latched: bool,
    /// Writes that wait or are under way.
    pub queued: usize,
}

impl Health {
    /// Whether everything so far was written or can be.
    #[must_use]
    pub const fn ok(&self) -> bool {
        self.failing_since_ms.is_none() && !self.latched
    }
}

type Answer = SyncSender<Result<Vec<i64>, LedgerError>>;

struct Job {
    at_ms: u64,
    records: Vec<Record>,
    answer: Option<Answer>,
}

#[derive(Debug, Default)]
struct Shared {
    health: Mutex<Health>,
    queued: AtomicUsize,
}

fn lock(shared: &Shared) -> MutexGuard<'_, Health> {
    // Nothing panics while it is held; the content would be whole anyway.
    shared.health.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ledger, open for writing. Dropping it waits for what was handed over.
#[derive(Debug)]
pub struct Ledger {
    queue: Option<SyncSender<Job>>,
    shared: Arc<Shared>,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Ledger {
    /// Opens the ledger, making it (mode 0600) if there is none, and starts its owner.
    ///
    /// # Errors
    /// [`LedgerError`]; a file that is refused is left as it is.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let right = Right::take(path)?;
        let connection = open::writer(path)?;
        let (queue, jobs) = sync_channel(LEDGER_QUEUE_MAX);
        let shared = Arc::new(Shared::default());
        let (theirs, at) = (shared.clone(), path.to_owned());
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || own(connection, &at, &jobs, &theirs, right))
            .map_err(|source| LedgerError::Io { path: path.to_owned(), what: "start its writer", source })?;
        Ok(Self { queue: Some(queue), shared, path: path.to_owned(), thread: Some(thread) })
    }

    /// Writes all of these in one transaction and returns when they are on the disk, with the row number of each.
    /// `at_ms` is the caller's wall clock, for [`Health`].
    ///
    /// # Errors
    /// [`LedgerError::Late`] leaves open whether they get there; any other error means that none of them did.
    pub fn wait(&self, at_ms: u64, records: Vec<Record>, within: Duration) -> Result<Vec<i64>, LedgerError> {
        let (tell, told) = sync_channel(1);
        self.send(Job { at_ms, records, answer: Some(tell) })?;
        told.recv_timeout(within).unwrap_or_else(|gone| {
            Err(match gone {
                RecvTimeoutError::Timeout => LedgerError::Late {
                    path: self.path.clone(),
                    waited_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
                },
                RecvTimeoutError::Disconnected => LedgerError::Closed { path: self.path.clone() },
            })
        })
    }

    /// Hands these over and returns at once; a failure shows in [`Ledger::health`].
    ///
    /// # Errors
    /// [`LedgerError::Full`], [`LedgerError::Refused`], [`LedgerError::Closed`]: it was not taken.
    pub fn note(&self, at_ms: u64, records: Vec<Record>) -> Result<(), LedgerError> {
        self.send(Job { at_ms, records, answer: None })
    }

    /// How it goes.
    #[must_use]
    pub fn health(&self) -> Health {
        let queued = self.shared.queued.load(Ordering::SeqCst);
        Health { queued, ..lock(&self.shared).clone() }
    }

    fn send(&self, job: Job) -> Result<(), LedgerError> {
        let path = || self.path.clone();
        if job.records.len() > LEDGER_BATCH_MAX {
            let why = format!("{} records are more than one write may have", job.records.len());
            return Err(LedgerError::Refused { path: path(), why });
        }
        let Some(queue) = &self.queue else { return Err(LedgerError::Closed { path: path() }) };
        let waiting = self.shared.queued.fetch_add(1, Ordering::SeqCst);
        queue.try_send(job).map_err(|refused| {
            self.shared.queued.fetch_sub(1, Ordering::SeqCst);
            match refused {
                TrySendError::Full(_) => LedgerError::Full { path: path(), waiting },
                TrySendError::Disconnected(_) => LedgerError::Closed { path: path() },
            }
        })
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // Closing the queue ends the thread once it is empty.
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn own(mut connection: Connection, path: &Path, jobs: &Receiver<Job>, shared: &Shared, right: Right) {
    while let Ok(job) = jobs.recv() {
        let latched = { lock(shared).clone() };
        let result = if latched.latched {
            Err(LedgerError::Latched { path: path.to_owned(), why: latched.error.unwrap_or_default() })
        } else {
            let result = write::commit(&mut connection, path, &job.records);
            settle(&mut lock(shared), job.at_ms, job.answer.is_some(), result.as_ref().err());
            result
        };
        shared.queued.fetch_sub(1, Ordering::SeqCst);
        if let Some(answer) = job.answer {
            // Who no longer waits was told that it is late.
            let _ = answer.try_send(result);
        }
    }
    // The right to write ends after the connection does.
    drop(connection);
    drop(right);
}

fn settle(health: &mut Health, at_ms: u64, waited_for: bool, error: Option<&LedgerError>) {
    match error {
        None => *health = Health::default(),
        // A rule was broken by the caller, who hears it: the ledger is as well as before.
        Some(LedgerError::Refused { .. }) if waited_for => {}
        Some(error) => {
            health.failing_since_ms.get_or_insert(at_ms);
            health.latched |= error.is_final();
            let words = if let LedgerError::Latched { why, .. } = error { why.clone() } else { error.to_string() };
            health.error = Some(words);
        }
    }
}
