//! Whole-tree tests on the real binary.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::allow_attributes,
    reason = "a test speaks by panicking"
)]

mod arrows;
mod bus;
mod config;
mod crash;
mod deaths;
mod disk;
mod doctor;
mod hostile;
mod idempotency;
mod instances;
mod kills;
mod latches;
mod ledger;
mod lifecycle;
mod manager;
mod migration;
mod secrets;
mod stale;
mod takeover;
