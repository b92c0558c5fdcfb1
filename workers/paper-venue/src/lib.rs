//! A loopback exchange that speaks the real venue's wire protocol, and the independent witness of a paper engine.

pub mod addr;
mod clock;
pub mod market;
pub mod sign;
pub mod exchange;
pub mod faults;
pub mod witness;
mod info;
mod store;
