//! The ledger: what must be queried later, in SQLite (`data/holdfast.sqlite`).
//!
//! * One thread owns the only connection that writes. Each write is one transaction and is acknowledged after its
//!   sync; all of its records are there, or none.
//! * The queue is bounded: what does not fit is refused at once and told to the caller. Nothing here waits without an end.
//! * A file that is damaged, foreign or of a newer version is refused unchanged, with SQLite's words. After an I/O
//!   error nothing more is written until the file has been opened and examined again.
//! * The durable cell stays the first authority for latches; `holdfast_core::conflict` settles a disagreement.
//! * Evidence (positions, closings, events) is never edited: triggers in the schema hold that for any program.

mod copy;
mod error;
mod events;
mod open;
mod owner;
mod read;
mod record;
mod write;

pub use error::LedgerError;
pub use events::Tail;
pub use open::SCHEMA;
pub use owner::{Health, Ledger};
pub use read::{Count, Meta, Position, Reader, TABLES};
pub use record::{
    Basis, Event, Knob, Lifecycle, LossBaseline, LossBreach, MarketSnapshot, OceanSnapshot, Phase, PositionOpened,
    Proposal, ProposalAction, RatchetStep, Record, Run, RunStatus, Sample, Snapshot,
};

#[cfg(test)]
mod tests;
