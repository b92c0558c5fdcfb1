//! The runtime bus: every event of the program, in one chain that shows any change made to it afterwards.
//!
//! * A line's checksum is over its stored bytes and names the line before. Lines are canonical JSON, byte for byte what the
//!   reference runtime writes and accepts.
//! * Acknowledged means on the disk. A failed sync is final until the log has been verified again from the device.
//! * A keyed head record says how far the log goes, so that a cut tail and a forged last event show; an anchor kept
//!   elsewhere, or the witness that deadman keeps, shows even a folder that was rewritten or put back whole.
//! * A log that came without its key is adopted, once and on the record; its old head proves nothing any more.
//! * Opening repairs only what a crash can leave, and records it; everything else refuses.
//! * One writer, and any number of readers that it does not know of.

mod adopt;
mod anchor;
mod chain;
mod envelope;
mod error;
mod event;
mod export;
mod follow;
mod head;
mod key;
mod lines;
mod log;
mod recover;
mod repair;
mod segments;
mod snapshot;
mod verify;
mod walk;
mod writer;

pub use adopt::{Adopted, Vouched, adopt};
pub use anchor::{ANCHORS, Anchor, Kept, keep, kept, witness};
pub use chain::Code;
pub use error::BusError;
pub use event::{EVENT_SCHEMA, EventError, LINE_BYTES_MAX, NewEvent, Priority, Sum};
pub use export::{Wanted, export, export_single_file};
pub use follow::{Batch, Follower, Mirror};
pub use head::{HEAD, HEAD_SCHEMA, Head, glance, shown};
pub use key::KeyPlace;
pub use log::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Committed, Options};
pub use recover::Opened;
pub use repair::{Receipt, repair};
pub use segments::{ACTIVE, Position};
pub use snapshot::{SNAPSHOT, SNAPSHOT_BEFORE, Snapshot, SnapshotState, SnapshotVerdict};
pub use verify::{HeadVerdict, Questions, Report, verify};
pub use walk::Finding;
pub use writer::{
    Bus, Clock, Durability, Health, QUEUE_BYTES_MAX, QUEUE_EVENTS_MAX, QUEUE_SAFETY_MAX, Ticket, key_place,
};

#[cfg(test)]
mod tests;
