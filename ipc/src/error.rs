//! What can go wrong on a connection, and whose fault it is.

use thiserror::Error;

/// A failed connection, send or receive.
#[derive(Debug, Error)]
pub enum IpcError {
    /// Nobody listens there, or the kernel refused.
    #[error("cannot reach {path}: {source}")]
    Unreachable {
        /// The socket.
        path: String,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// The socket could not be opened for listening.
    #[error("cannot listen on {path}: {source}")]
    Listen {
        /// The socket.
        path: String,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("connection broke: {0}")]
    Broken(#[from] std::io::Error),
    /// The peer closed the connection.
    #[error("peer closed the connection")]
    Closed,
    /// The peer sent something that is not a message of this direction.
    #[error("peer sent an unreadable frame: {0}")]
    Malformed(String),
    /// The peer said nothing in time.
    #[error("no answer within {0} ms")]
    Timeout(u64),
    /// The peer is not who it must be.
    #[error("peer refused: {0}")]
    Stranger(String),
    /// A message of ours does not fit a frame.
    #[error("message of {0} bytes does not fit a frame")]
    TooLarge(usize),
}
