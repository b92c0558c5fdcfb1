//! How the processes of one tree talk: frames, typed messages, hello, the permit record, the boot clock.
//!
//! * Every frame is bounded, every read has a deadline, and each direction of a connection has its own closed enum.
//! * A peer is who the kernel says it is (same uid, the pid that was spawned) and holds the one-time token it was given.
//! * Malformed or unknown input is a fault of the peer: the connection ends, this process goes on.
//! * Supervisor and workers never depend on each other; they meet here.

pub mod bootstrap;
pub mod clock;
pub mod conn;
pub mod error;
pub mod feed;
pub mod listen;
pub mod message;
pub mod permit;
pub mod settings;

pub use error::IpcError;
