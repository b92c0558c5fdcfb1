//! The venue as its clients see it: real sockets, real signatures, real files.
#![expect(unreachable_pub, reason = "test code has no readers but its own")]
mod books;
mod broken;
mod rules;
mod sdk;
mod signing;
mod sockets;
mod support;
mod wire;
