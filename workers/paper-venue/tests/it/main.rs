//! The venue as its clients see it: real sockets, real signatures, real files.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a failed expectation is how a test speaks"
)]
mod books;
mod broken;
mod rules;
mod sdk;
mod signing;
mod sockets;
mod support;
mod wire;
