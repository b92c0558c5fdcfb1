//! The judge as a whole: stories that must come out right, and random histories in which no invariant may break.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::allow_attributes,
    reason = "a test speaks by panicking, and looks for one thing among many"
)]

mod minutes;
mod random;
mod stories;
mod world;
