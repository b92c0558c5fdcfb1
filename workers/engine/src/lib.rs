//! Decides and trades; the only process whose code can open risk.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a failed expectation is how a test speaks"
    )
)]

pub mod bars;
pub mod book;
pub mod gate;
pub mod key;
pub mod loss;
pub mod strategy;
