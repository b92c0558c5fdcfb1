//! Venue wire client that can only read and reduce.
//!
//! What it guarantees, by what it lacks: no public type or function here sends an order that is not built by
//! [`reduction::Reduction`]'s arithmetic on a fresh account read. The order entry that goes on the wire is private and
//! always reduce-only; the function that posts a signed action is private. Placing an order that may add risk is
//! another crate, and this one does not know it.
//!
//! ```compile_fail,E0451
//! // A reduction cannot be made up: its fields are private.
//! let forged = holdfast_venue_reduce::reduction::Reduction {
//!     is_buy: true,
//! };
//! ```
//!
//! ```compile_fail,E0603
//! // The order entry that goes on the wire cannot be named.
//! use holdfast_venue_reduce::action::ReduceOrder;
//! ```
//!
//! ```compile_fail,E0624
//! // A signed body cannot be posted from outside this crate.
//! async fn open(venue: &holdfast_venue_reduce::client::Venue) {
//!     let _ = venue.post_exchange(Vec::new(), 1, holdfast_venue_reduce::outcome::Expect::Plain).await;
//! }
//! ```
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a failed expectation is how a test speaks"
    )
)]

pub mod action;
pub mod budget;
pub mod client;
pub mod clock;
pub mod nonce;
pub mod outcome;
pub mod probe;
pub mod read;
pub mod reduce;
pub mod reduction;
pub mod sign;
pub mod socket;
pub mod status;
pub mod tls;
pub mod wire;
