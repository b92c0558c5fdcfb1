//! What the supervisor says to a worker.
//!
//! A variant without fields is written as an empty struct: only so does an unknown field in it not parse.

use crate::ids::{Epoch, JobId};
use crate::registry::TradingMode;
use crate::report::{BusHead, JobKind, OrderView};
use crate::status::StatusDoc;
use crate::time::Tick;
use alloc::boxed::Box;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Supervisor to worker. The judge says all of it but the welcome, the beats, the bus's head and the document: those
/// are the driver's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToWorker {
    /// The hello was accepted.
    Welcome {
        /// The epoch everything from now on belongs to.
        epoch: Epoch,
    },
    /// The supervisor is alive; sent at every step. The mode is for display: only the permit record permits.
    Beat {
        /// Counts up.
        seq: u64,
        /// When it was sent.
        sent: Tick,
        /// The present mode.
        mode: TradingMode,
    },
    /// Finish what must be finished and exit.
    Drain {},
    /// Engine: compare books with the venue and answer with this number.
    Reconcile {
        /// Number of the request.
        asked: u64,
    },
    /// Deadman: make the account flat (or cancel everything). A new job replaces an older one.
    Reduce {
        /// Number of the job.
        job: JobId,
        /// What to reach.
        kind: JobKind,
    },
    /// Deadman: orders as somebody read them last, ahead of a job: cancelled unread if the venue cannot be read.
    Known {
        /// The orders; those beyond a bound are left out.
        orders: Vec<OrderView>,
    },
    /// Deadman: when the operator must have checked in, as wall-clock milliseconds; absent = switch off.
    OperatorDeadline {
        /// The deadline.
        expires_wall_ms: Option<u64>,
    },
    /// Engine: the operator resumed; a reached limit starts anew from here.
    Acknowledge {},
    /// Api: the document to serve.
    Status {
        /// The document.
        doc: Box<StatusDoc>,
    },
    /// Deadman: how far the runtime bus goes, to be kept. Said every few seconds while it grows.
    Witness {
        /// Its head.
        head: BusHead,
    },
    /// Deadman: a planned stop; losing the supervisor now is no emergency.
    StandDown {},
}
