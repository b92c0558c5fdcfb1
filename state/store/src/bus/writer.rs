//! The bus as its users see it: a queue that never makes them wait, and one thread that owns the log.
//!
//! * [`Bus::append`] takes events or refuses them at once. Durable is only what its ticket, or callback, has confirmed.
//! * The writer takes all that waits, within one commit, so that many small appends share one sync. Events that restrict
//!   go first and have room of their own in the queue.
//! * A failure latches; [`Health`] says so at any time without waiting for the disk, and how old the queue is.

mod queue;
mod thread;

use self::queue::{Append, Done, Job, Queue};
use self::thread::Writer;
use super::anchor::Anchor;
use super::error::{BusError, io_error};
use super::event::{NewEvent, Priority, Sum};
use super::key::KeyPlace;
use super::log::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Committed, Log, Options, State};
use super::recover::{self, Opened};
use crate::disk::{Folder, RealFolder};
use serde_json::Value;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Events that may wait.
pub const QUEUE_EVENTS_MAX: usize = 4096;
/// Events that restrict may wait beyond that.
pub const QUEUE_SAFETY_MAX: usize = 512;
/// Bytes that may wait, about.
pub const QUEUE_BYTES_MAX: usize = 8 << 20;

/// Milliseconds of a clock that counts while the host sleeps; only differences matter.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Whether the caller will wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A ticket that can be waited on.
    Wait,
    /// Written in its turn; a failure shows in [`Health`] only.
    Note,
}

/// The state of the bus, for the mode and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether what is appended now will be on the disk: no failure, room left.
    pub durable: bool,
    /// Why not.
    pub why: Option<String>,
    /// Durable events.
    pub events: u64,
    /// Checksum of the last of them.
    pub head: Option<Sum>,
    /// The writer's epoch.
    pub epoch: u64,
    /// Events waiting or being written.
    pub queue_len: usize,
    /// Age of the oldest of them in milliseconds.
    pub queue_age_ms: u64,
    /// Events that restrict, kept in memory because they could not be written.
    pub unwritten: usize,
    /// Such events for which there was no room in memory either: they are lost.
    pub forgotten: u64,
}

/// The promise of an answer.
#[derive(Debug)]
pub struct Ticket(Receiver<Result<Committed, BusError>>);

impl Ticket {
    /// Waits until the events are on the disk.
    ///
    /// # Errors
    /// [`BusError::Slow`] when the time is over; else why they are not.
    pub fn wait(self, most: Duration) -> Result<Committed, BusError> {
        match self.0.recv_timeout(most) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(BusError::Slow),
            Err(RecvTimeoutError::Disconnected) => Err(BusError::Closed),
        }
    }
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    told: Mutex<Told>,
    clock: Clock,
}

/// What the writer last said of itself.
#[derive(Clone)]
struct Told {
    state: State,
    events: u64,
    head: Option<Sum>,
    epoch: u64,
    unwritten: usize,
    forgotten: u64,
    bus_id: String,
}

/// The open bus.
pub struct Bus {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bus").field(&self.health()).finish()
    }
}

impl Bus {
    /// Opens the bus in a folder, making it if there is none; recovers it; starts the writer. The key file lies elsewhere.
    /// `as_of` is the wall time in seconds since 1970, for what recovery records.
    ///
    /// # Errors
    /// [`BusError`]; then the folder is as it was, except that a torn tail may have been copied aside.
    pub fn open(
        folder: &Path,
        key: &Path,
        options: Options,
        clock: Clock,
        as_of: f64,
    ) -> Result<(Self, Opened), BusError> {
        let bus = RealFolder::make(folder).map_err(|e| io_error(folder.to_owned(), "open it", e))?;
        Self::over(bus, key_place(key)?, options, clock, as_of)
    }

    /// The same over any disk.
    ///
    /// # Errors
    /// As [`Bus::open`].
    pub fn over<F>(
        folder: F,
        keys: KeyPlace<F>,
        options: Options,
        clock: Clock,
        as_of: f64,
    ) -> Result<(Self, Opened), BusError>
    where
        F: Folder + Send + Sync + 'static,
        F::File: Send,
    {
        let (log, opened) = recover::open(Arc::new(folder), Arc::new(keys), options, as_of)?;
        let shared =
            Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new(), told: Mutex::new(Told::of(&log)), clock });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("bus".to_owned())
            .spawn(move || Writer { log, shared: theirs }.run())
            .map_err(|e| io_error("the writer's thread".into(), "start it", e))?;
        Ok((Self { shared, thread: Some(thread) }, opened))
    }

    /// Hands events to the writer, to be written together and in order. Never waits. What restricts goes by itself, not
    /// together with routine events: then it has room where they have none, and is kept in memory and written at
    /// reopening if the disk refuses it. It is not to be handed over again.
    ///
    /// # Errors
    /// [`BusError::QueueFull`], [`BusError::Closed`]: nothing was taken. [`BusError::Event`] if they are too many for one commit.
    pub fn append(&self, events: Vec<NewEvent>, durability: Durability) -> Result<Ticket, BusError> {
        let (tell, ticket) = sync_channel(1);
        let done: Option<Done> = match durability {
            // Who no longer waits does not hear it.
            Durability::Wait => Some(Box::new(move |answer| drop(tell.try_send(answer)))),
            Durability::Note => None,
        };
        self.enqueue(events, done)?;
        Ok(Ticket(ticket))
    }

    /// The same, telling the answer to a function on the writer's thread: it must not wait.
    ///
    /// # Errors
    /// As [`Bus::append`].
    pub fn append_then(
        &self,
        events: Vec<NewEvent>,
        done: impl FnOnce(Result<Committed, BusError>) + Send + 'static,
    ) -> Result<(), BusError> {
        self.enqueue(events, Some(Box::new(done)))
    }

    fn enqueue(&self, events: Vec<NewEvent>, done: Option<Done>) -> Result<(), BusError> {
        let bytes = events.iter().map(NewEvent::line_bytes).sum();
        if events.len() > BATCH_EVENTS_MAX || bytes > BATCH_BYTES_MAX {
            return Err(super::event::EventError::TooLong(bytes).into());
        }
        let safe = events.iter().all(|event| event.priority() == Priority::Safety);
        let since_ms = (self.shared.clock)();
        let mut queue = self.shared.lock()?;
        let room = if safe {
            QUEUE_SAFETY_MAX.saturating_sub(queue.safety_events)
        } else {
            QUEUE_EVENTS_MAX.saturating_sub(queue.events)
        };
        if events.len() > room || !safe && queue.bytes.saturating_add(bytes) > QUEUE_BYTES_MAX {
            return Err(BusError::QueueFull { events: queue.events + queue.safety_events });
        }
        queue.taken = queue.taken.saturating_add(1);
        let append = Append { place: queue.taken, events, bytes, since_ms, done };
        if safe {
            queue.safety_events += append.events.len();
            queue.safety.push_back(append);
        } else {
            queue.events += append.events.len();
            queue.bytes += append.bytes;
            queue.rest.push_back(Job::Append(append));
        }
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Writes a snapshot of the state after every event handed over before.
    ///
    /// # Errors
    /// As [`Bus::append`].
    pub fn snapshot(&self, as_of: f64, source_event_id: Option<String>, payload: Value) -> Result<Ticket, BusError> {
        let (tell, ticket) = sync_channel(1);
        let done: Done = Box::new(move |answer| drop(tell.try_send(answer)));
        self.command(Job::Snapshot { as_of, source: source_event_id, payload, done })?;
        Ok(Ticket(ticket))
    }

    /// Verifies the log again from the device and, if it holds, writes again; first what could not be written before.
    ///
    /// # Errors
    /// As [`Bus::open`]; the bus stays closed to events. [`BusError::Slow`] when the time is over.
    pub fn reopen(&self, as_of: f64, most: Duration) -> Result<Opened, BusError> {
        let (tell, answer) = sync_channel(1);
        self.command(Job::Reopen { as_of, done: Box::new(move |result| drop(tell.try_send(result))) })?;
        match answer.recv_timeout(most) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(BusError::Slow),
            Err(RecvTimeoutError::Disconnected) => Err(BusError::Closed),
        }
    }

    fn command(&self, job: Job) -> Result<(), BusError> {
        let mut queue = self.shared.lock()?;
        // Each command is as good as an event that waits.
        if queue.rest.len() > QUEUE_EVENTS_MAX {
            return Err(BusError::QueueFull { events: queue.events + queue.safety_events });
        }
        queue.rest.push_back(job);
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// How it stands; never waits for the disk.
    #[must_use]
    pub fn health(&self) -> Health {
        let told = self.shared.told().clone();
        let queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.shared.clock)();
        let alive = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        let why = match told.state {
            _ if !alive => Some("the writer has ended".to_owned()),
            State::Good => None,
            State::Full => Some("the disk is full".to_owned()),
            State::Latched(why) => Some(why),
        };
        Health {
            durable: why.is_none(),
            why,
            events: told.events,
            head: told.head,
            epoch: told.epoch,
            queue_len: queue.len(),
            queue_age_ms: queue.oldest_ms().map_or(0, |since| now.saturating_sub(since)),
            unwritten: told.unwritten,
            forgotten: told.forgotten,
        }
    }

    /// What proves, kept elsewhere, how far the log goes now on the disk; `None` before the first event.
    #[must_use]
    pub fn anchor(&self) -> Option<Anchor> {
        let told = self.shared.told().clone();
        told.head.map(|sum| Anchor { bus_id: told.bus_id, count: told.events, sum })
    }

    /// Writes what waits and ends in order. Gives how far the log went.
    pub fn close(mut self) -> Option<Anchor> {
        self.end();
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has told its last health long ago.
            let _ = thread.join();
        }
        self.anchor()
    }

    fn end(&self) {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.closed = true;
        queue.rest.push_back(Job::Close);
        drop(queue);
        self.shared.wake.notify_one();
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

/// The place of a key by its path.
///
/// # Errors
/// [`BusError::Io`] if its folder cannot be opened.
pub fn key_place(key: &Path) -> Result<KeyPlace<RealFolder>, BusError> {
    let io = |what| move |e| io_error(key.to_owned(), what, e);
    let name = key.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io("use it as a key")(std::io::ErrorKind::InvalidInput.into()))?.to_owned();
    let parent = key.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    Ok(KeyPlace { folder: RealFolder::make(parent).map_err(io("open its folder"))?, name })
}

impl Shared {
    fn lock(&self) -> Result<MutexGuard<'_, Queue>, BusError> {
        let queue = self.queue.lock().map_err(|_| BusError::Closed)?;
        if queue.closed { Err(BusError::Closed) } else { Ok(queue) }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn of<F: Folder>(log: &Log<F>) -> Self {
        Self {
            state: log.state.clone(),
            events: log.at.count,
            head: log.at.last,
            epoch: log.head.head.epoch,
            unwritten: log.unwritten.len(),
            forgotten: log.forgotten,
            bus_id: log.head.head.bus_id.clone(),
        }
    }
}
