//! The writer's thread: takes what waits, writes it as one commit, answers; reopens the log when it is told to.

use super::queue::{Append, Done, Job};
use super::{Committed, Opened, Shared, Told};
use crate::bus::anchor::Anchor;
use crate::bus::error::BusError;
use crate::bus::event::{NewEvent, Priority};
use crate::bus::log::{Log, Options, State};
use crate::bus::recover;
use crate::bus::segments::Position;
use crate::disk::Folder;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long an unsynced head may be left.
const SETTLE: Duration = Duration::from_secs(1);

/// The one owner of the log.
pub(super) struct Writer<F: Folder> {
    pub(super) log: Log<F>,
    pub(super) shared: Arc<Shared>,
}

enum Work {
    Batch(Vec<Append>),
    Command(Job),
    Idle,
}

impl<F: Folder> Writer<F> {
    /// Writes until it is told to close.
    pub(super) fn run(mut self) {
        // Nobody waits for it any more.
        self.log.keep_key();
        self.tell();
        loop {
            match self.next() {
                Work::Batch(batch) => self.write(batch),
                Work::Idle => self.log.settle(),
                Work::Command(Job::Append(append)) => self.write(vec![append]),
                Work::Command(Job::Snapshot { as_of, source, payload, done }) => {
                    let written = self.log.snapshot(as_of, source, &payload);
                    self.tell();
                    done(written.map(|()| Committed { last: self.log.at.count, sum: self.log.at.last }));
                }
                Work::Command(Job::Reopen { as_of, done }) => {
                    let opened = self.reopen(as_of);
                    self.tell();
                    done(opened);
                }
                Work::Command(Job::Close) => break,
            }
            self.tell();
        }
        self.log.close();
        self.tell();
    }

    fn tell(&self) {
        *self.shared.told() = Told::of(&self.log);
    }

    /// Waits for work and takes as much of it as one commit may hold.
    fn next(&self) -> Work {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.busy = None;
        while queue.is_empty() {
            if self.log.head_debt == 0 {
                queue = self.shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (again, waited) = self.shared.wake.wait_timeout(queue, SETTLE).unwrap_or_else(PoisonError::into_inner);
            queue = again;
            if waited.timed_out() {
                return Work::Idle;
            }
        }
        let batch = queue.batch();
        if !batch.is_empty() {
            return Work::Batch(batch);
        }
        queue.rest.pop_front().map_or(Work::Idle, Work::Command)
    }

    /// Writes a batch as one commit; if the disk has no room for it, each part that may still be written by itself.
    fn write(&mut self, mut batch: Vec<Append>) {
        let events = match &mut batch[..] {
            [one] => std::mem::take(&mut one.events),
            _ => batch.iter().flat_map(|append| append.events.iter().cloned()).collect(),
        };
        match self.log.append(&events) {
            Ok(committed) => {
                // Before anybody hears of it, the health shows it.
                self.tell();
                for append in batch {
                    answer(append.done, Ok(committed));
                }
            }
            Err(error) => {
                if let [one] = &mut batch[..] {
                    one.events = events;
                }
                self.refused(batch, error);
            }
        }
    }

    fn refused(&mut self, batch: Vec<Append>, error: BusError) {
        let alone = batch.len() == 1;
        let mut error = Some(error);
        for append in batch {
            let safe = append.events.iter().all(|event| event.priority() == Priority::Safety);
            if self.log.state == State::Full && safe && !alone {
                let written = self.log.append(&append.events);
                if written.is_err() {
                    self.log.remember(append.events);
                }
                self.tell();
                answer(append.done, written);
                continue;
            }
            self.log.remember(append.events);
            self.tell();
            let why = match &self.log.state {
                State::Latched(why) => BusError::Latched { why: why.clone() },
                State::Full => BusError::Full,
                State::Good => BusError::Closed,
            };
            answer(append.done, Err(error.take().unwrap_or(why)));
        }
    }

    fn reopen(&mut self, as_of: f64) -> Result<Opened, BusError> {
        let (folder, keys) = (Arc::clone(&self.log.folder), Arc::clone(&self.log.keys));
        // What was acknowledged must be there: nearer than what deadman saw when this writer began.
        let Position { count, last, .. } = self.log.at;
        let bus_id = self.log.head.head.bus_id.clone();
        let witness = last.map(|sum| Anchor { bus_id, count, sum });
        let options = Options { witness, ..self.log.options.clone() };
        let (mut log, mut opened) = recover::open(folder, keys, options, as_of)?;
        let unwritten: Vec<NewEvent> = self.log.unwritten.drain(..).collect();
        log.forgotten = self.log.forgotten;
        let mut written = Ok(());
        if !unwritten.is_empty() {
            written = log.append(&unwritten).map(|committed| opened.events = committed.last);
            if written.is_err() {
                log.remember(unwritten);
            }
        }
        // A segment for which there was no room is begun before anybody believes in room again.
        let written = written.and_then(|()| log.roll());
        self.log = log;
        written.map(|()| opened)
    }
}

fn answer(done: Option<Done>, result: Result<Committed, BusError>) {
    if let Some(done) = done {
        done(result);
    }
}
