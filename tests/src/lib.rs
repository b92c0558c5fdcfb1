//! The harness of the whole-tree tests: the real binary, real homes, real sockets, the venue's witness file.
//!
//! Nothing here sleeps and hopes: every wait is for a condition, with a deadline and a reason to print when it fails.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::allow_attributes,
    reason = "a harness speaks by panicking; nothing of it ships"
)]

pub mod binary;
pub mod books;
pub mod crew;
pub mod diary;
pub mod events;
pub mod home;
pub mod journal;
pub mod raw;
pub mod tree;
pub mod wait;
pub mod witness;

pub use binary::engine;
pub use home::{Home, Ran};
pub use tree::Tree;
pub use wait::{pause, until};
pub use witness::Witness;
