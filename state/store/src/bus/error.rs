//! Why the bus did not open or did not write.

use super::event::EventError;
use super::walk::Finding;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// What went wrong, and what that means.
#[derive(Debug, Error)]
pub enum BusError {
    /// The kernel refused.
    #[error("{}: cannot {what}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was asked.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Another process writes this bus.
    #[error("{}: another process writes it; stop that one first", .path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The log is not what it must be. It stays as it is, readable; nothing may open risk on it.
    #[error("{}: {finding}; keep the folder as evidence; `engine audit verify` shows all, `engine audit repair --accept-loss` cuts it", .path.display())]
    Corrupt {
        /// The folder.
        path: PathBuf,
        /// Where, what was expected, what was found.
        finding: Box<Finding>,
    },
    /// The key that signs the head is missing, damaged or another bus's.
    #[error("{}: no key for this bus ({why}); restore it, or accept by `engine audit repair --accept-loss` that its head proves nothing", .path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What deadman saw last of this bus cannot be read: nobody can say whether the bus was put back.
    #[error("{}: the witness of the bus cannot be read ({why}); look at the bus with `engine audit verify`, then move this file away", .path.display())]
    Witness {
        /// The witness.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The log would lose events, and nobody agreed to it.
    #[error("{}: repairing cuts {events} or more events at {finding}; agree to the loss to go on", .path.display())]
    LossNotAccepted {
        /// The folder.
        path: PathBuf,
        /// Events known to be lost.
        events: u64,
        /// What is wrong.
        finding: Box<Finding>,
    },
    /// An earlier write or sync failed. Nothing is written until the bus is opened again and verified from the device.
    #[error("closed after a failure ({why}); mend the disk, then reopen")]
    Latched {
        /// The failure.
        why: String,
    },
    /// The disk is full: only events that restrict are still written.
    #[error("the disk is full; only events that restrict are written; make room, then reopen")]
    Full,
    /// The queue to the writer is full: the disk is slow or stuck. Nothing was taken.
    #[error("the writer is behind by {events} events; nothing was taken")]
    QueueFull {
        /// Events waiting.
        events: usize,
    },
    /// The wait for the disk took too long; the events may still be written.
    #[error("the disk did not answer in time; the events may still be written")]
    Slow,
    /// The writer has ended.
    #[error("the bus is closed")]
    Closed,
    /// The events are refused before anything is written.
    #[error(transparent)]
    Event(#[from] EventError),
}

pub(super) fn io_error(path: PathBuf, what: &'static str, source: io::Error) -> BusError {
    BusError::Io { path, what, source }
}
