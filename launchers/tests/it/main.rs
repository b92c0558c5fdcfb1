//! The real binary, run as a person or a script runs it, for everything that needs no supervisor.
//!
//! Golden texts lie in `fixtures/cli/`; `HOLDFAST_BLESS=1` rewrites them and the diff is reviewed like code. What a running tree
//! answers is tested with the whole tree, in `tests/`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation is how a test speaks"
)]

mod config;
mod doors;
mod harness;
mod home;
mod plain;
mod probe;
