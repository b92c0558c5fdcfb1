//! The dead-man heartbeat.
//!
//! Its code can only reduce risk: it does not depend on the crate that can open.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a failed expectation is how a test speaks"
    )
)]

pub mod ladder;
