//! The venue as its clients see it: real sockets, real signatures, real files.
mod signing;
