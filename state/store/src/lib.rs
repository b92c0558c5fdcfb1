//! What is on disk: durable cells for small state, the decision journal, the runtime bus, the ledger, and bundles that carry
//! all of it.
//!
//! * A file has one writer: the open file is locked, a second opener is refused.
//! * What does not verify is a typed error that names the file and the next step, never a default.
//! * A failed write or sync is told to the caller; only a [`Keeper`] tries again by itself, and says so until it is done.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a failed expectation is how a test speaks"
    )
)]

pub mod bundle;
pub mod bus;
pub mod canon;
mod cell;
pub mod disk;
pub mod journal;
mod keeper;
mod segments;
#[cfg(test)]
mod sim;

use holdfast_core::hex;
pub mod ledger;

pub use cell::{Cell, CellError};
pub use keeper::{Keeper, Written};
