//! A loopback exchange that speaks the real venue's wire protocol, and the independent witness of a paper engine.
//!
//! * It shares no code with the clients it judges: hashing, recovery and parsing are its own.
//! * Every received action and every fill is on disk before anyone is answered.
//! * What it acknowledged survives a kill; damaged books refuse to start.
//! * It listens on 127.0.0.1 and nowhere else. Signatures are those of a test network (`source` "b").

pub mod addr;
pub mod exchange;
pub mod faults;
mod http;
mod hub;
mod info;
mod listen;
pub mod market;
mod play;
mod serve;
pub mod sign;
mod store;
mod venue;
pub mod witness;
mod ws;

pub use serve::{PaperConfig, PaperError, serve, work};
pub use store::BooksError;
