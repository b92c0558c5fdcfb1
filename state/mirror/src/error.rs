//! Why a mirror does not take events. None of it concerns the tree.

use thiserror::Error;

/// What went wrong.
#[derive(Debug, Error)]
pub enum MirrorError {
    /// The address of the database is not usable.
    #[error("the address of the database is refused: {0}")]
    Target(String),
    /// No event loop.
    #[error("an event loop does not start: {0}")]
    Runtime(std::io::Error),
    /// The database refused or broke off. Its words never hold the password.
    #[error("the database: {}", words(.0))]
    Database(#[from] tokio_postgres::Error),
    /// It did not answer in time.
    #[error("the database did not answer in time")]
    Slow,
    /// Not lines of the bus.
    #[error("event {index}: not a line of the bus: {why}")]
    Line {
        /// Which event.
        index: u64,
        /// What is wrong.
        why: String,
    },
    /// The mirror has another event in this place: the log was rewritten, or it is of another host.
    #[error(
        "event {index} is not the one the mirror has ({expected} there, {found} in the log): the log was cut, rewritten \
         or is another one; keep both as evidence; `engine audit verify` shows the log's side"
    )]
    Fork {
        /// Which event.
        index: u64,
        /// Checksum in the mirror.
        expected: String,
        /// Checksum in the log.
        found: String,
    },
    /// The mirror lacks events before the last one.
    #[error("the mirror has {count} events, its last one is {last}: somebody took events out of it")]
    Gap {
        /// Events in it.
        count: u64,
        /// Index of the last.
        last: u64,
    },
}

/// The server's message, or the cause of a connection error.
fn words(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return said.message().to_owned();
    }
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}
