//! Bundles: everything a home needs to go on elsewhere, in one folder that can be checked without an engine.
//!
//! * A bundle appears whole under its name or not at all; it is never written over anything.
//! * Each part is copied in its own consistent way: the ledger by SQLite, journals up to the end of a line, cells as a
//!   verified slot. Keys, sockets, locks and everything under `run/` never travel, and what looks like a secret in
//!   what does travel refuses the whole bundle.
//! * A bundle is verified before anything is taken from it. Its checksums show damage, not malice: they are no signature.
//! * Exporting marks the source: it does not start again until its owner says that the bundle will not be used. A
//!   bundle imported on two hosts cannot be noticed by either of them; only the owner can keep to one.

mod bus;
mod checklist;
mod create;
mod error;
mod facts;
mod files;
mod import;
mod manifest;
mod mark;
mod scan;
mod verify;

pub use bus::adopt_bus;
pub use checklist::{Item, Outcome, check};
pub use create::{Origin, Part, Source, What, create};
pub use error::BundleError;
pub use import::{Import, Terms, finish, import, pending};
pub use manifest::{BusFacts, Chain, FileEntry, Filed, Kind, Manifest};
pub use mark::{Exported, mark, marked, unmark};
pub use verify::verify;

#[cfg(test)]
mod tests;
