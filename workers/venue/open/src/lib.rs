//! The one door through which risk can rise.
//!
//! * An order leaves only for a [`RiskPermit`](holdfast_core::permit::RiskPermit) taken by value, whose record is read
//!   again in the same function, after signing and right before the bytes leave.
//! * Every order carries the venue's own expiry, equal to the permit's deadline in venue time: what is late is refused.
//! * Every order carries a client order id and is within the request budget's reserve for exits.
//!
//! ```compile_fail,E0061
//! // Opening without a permit does not compile.
//! async fn bare(opener: &holdfast_venue_open::Opener, order: holdfast_venue_open::OpenOrder, clock: holdfast_venue_reduce::clock::VenueClock) {
//!     opener.open(order, &clock).await;
//! }
//! ```
//!
//! ```compile_fail,E0382
//! // A permit cannot be spent twice.
//! async fn twice(
//!     opener: &holdfast_venue_open::Opener,
//!     permit: holdfast_core::permit::RiskPermit,
//!     order: holdfast_venue_open::OpenOrder,
//!     clock: holdfast_venue_reduce::clock::VenueClock,
//! ) {
//!     opener.open(permit, order.clone(), &clock).await;
//!     opener.open(permit, order, &clock).await;
//! }
//! ```
//!
//! ```
//! // With one permit for one order it does.
//! async fn once(
//!     opener: &holdfast_venue_open::Opener,
//!     permit: holdfast_core::permit::RiskPermit,
//!     order: holdfast_venue_open::OpenOrder,
//!     clock: holdfast_venue_reduce::clock::VenueClock,
//! ) {
//!     opener.open(permit, order, &clock).await;
//! }
//! ```

mod action;
mod opener;
mod send;

pub use action::{BadOrder, OpenOrder};
pub use opener::{LeverageChange, OpenResult, Opener, OpenerError};
