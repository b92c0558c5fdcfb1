//! What waits for the writer: two lanes, one for events that restrict, each with room of its own.
//!
//! * Who goes first matters between commits; within one, what happened first is told first.
//! * A command waits for the events that were handed over before it.

use super::{Committed, Opened};
use crate::bus::error::BusError;
use crate::bus::event::NewEvent;
use crate::bus::log::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
use serde_json::Value;
use std::collections::VecDeque;

/// How an answer is given.
pub(super) type Done = Box<dyn FnOnce(Result<Committed, BusError>) + Send>;

pub(super) struct Append {
    /// Order of arrival, over both lanes.
    pub(super) place: u64,
    pub(super) events: Vec<NewEvent>,
    pub(super) bytes: usize,
    pub(super) since_ms: u64,
    pub(super) done: Option<Done>,
}

pub(super) enum Job {
    Append(Append),
    Snapshot { as_of: f64, source: Option<String>, payload: Value, done: Done },
    Reopen { as_of: f64, done: Box<dyn FnOnce(Result<Opened, BusError>) + Send> },
    Close,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) safety: VecDeque<Append>,
    pub(super) rest: VecDeque<Job>,
    /// Appends taken so far.
    pub(super) taken: u64,
    pub(super) events: usize,
    pub(super) safety_events: usize,
    pub(super) bytes: usize,
    pub(super) closed: bool,
    /// What is being written: events, and since when the oldest waits.
    pub(super) busy: Option<(usize, u64)>,
}

impl Queue {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.safety.is_empty() && self.rest.is_empty()
    }

    /// Takes as much of what waits as one commit may hold: none when a command is next.
    pub(super) fn batch(&mut self) -> Vec<Append> {
        let (mut batch, mut events, mut bytes) = (Vec::new(), 0, 0);
        let fits = |append: &Append, events: usize, bytes: usize| {
            events + append.events.len() <= BATCH_EVENTS_MAX && bytes + append.bytes <= BATCH_BYTES_MAX
        };
        while self.safety.front().is_some_and(|append| fits(append, events, bytes)) {
            let Some(append) = self.safety.pop_front() else { break };
            self.safety_events = self.safety_events.saturating_sub(append.events.len());
            (events, bytes) = (events + append.events.len(), bytes + append.bytes);
            batch.push(append);
        }
        while let Some(job) = self.rest.front() {
            let more = matches!(job, Job::Append(append) if fits(append, events, bytes));
            if !more {
                break;
            }
            let Some(Job::Append(append)) = self.rest.pop_front() else { break };
            self.events = self.events.saturating_sub(append.events.len());
            self.bytes = self.bytes.saturating_sub(append.bytes);
            (events, bytes) = (events + append.events.len(), bytes + append.bytes);
            batch.push(append);
        }
        batch.sort_by_key(|append| append.place);
        if let Some(since) = batch.iter().map(|append| append.since_ms).min() {
            self.busy = Some((events, since));
        }
        batch
    }

    /// Since when the oldest event waits or is being written.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        let oldest = [
            self.busy.map(|busy| busy.1),
            self.safety.front().map(|append| append.since_ms),
            self.rest.iter().find_map(|job| match job {
                Job::Append(append) => Some(append.since_ms),
                Job::Snapshot { .. } | Job::Reopen { .. } | Job::Close => None,
            }),
        ];
        oldest.into_iter().flatten().min()
    }

    /// Events that wait or are being written.
    pub(super) fn len(&self) -> usize {
        self.events + self.safety_events + self.busy.map_or(0, |busy| busy.0)
    }
}
