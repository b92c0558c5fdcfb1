//! Every decision of Holdfast, pure: no clock, file, socket, thread or random number can be named here.
//!
//! The promise in numbered invariants; each has a test named after it.
//!
//! * INV-1: only a live, verified permit record of this epoch and generation mints a [`permit::RiskPermit`].
//! * INV-2: a permit is spent by value.
//! * INV-3: the permit is revoked before a replacement of any worker is spawned.
//! * INV-4: Active requires every worker running, every latch open and every input fresh.
//! * INV-5: a set kill latch survives every event but an operator's confirmed resume after a proven flat.
//! * INV-6: a reducing command is accepted in every state.
//! * INV-7: a role is spawned only when no process holds it.
#![no_std]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a failed expectation is how a test speaks"
    )
)]

extern crate alloc;

pub mod checksum;
pub mod command;
pub mod conflict;
pub mod drain;
pub mod durable;
pub mod duty;
pub mod event;
#[cfg(test)]
mod golden;
pub mod hex;
pub mod ids;
pub mod kill;
pub mod lease;
pub mod limits;
pub mod machine;
pub mod message;
pub mod money;
pub mod permit;
pub mod record;
pub mod registry;
pub mod report;
pub mod resolve;
pub mod restart;
pub mod slot;
pub mod status;
pub mod time;
pub mod trade;
pub mod worker;
