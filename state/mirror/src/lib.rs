//! The runtime bus, kept a second time in PostgreSQL.
//!
//! * It reads along; the writer does not know of it. A mirror that lags, stops or dies has no consequence for the tree.
//! * Every event is there once, in order, as the bytes that were stored. Bringing the same events again changes nothing.
//! * It is a witness: a log that no longer holds what the mirror took from it (cut, rewritten, of another host) is refused,
//!   named, and nothing of it is taken.
//! * Plain connections go to this host only: a password must not cross a network in the open.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a failed expectation is how a test speaks"
    )
)]

mod error;
mod rows;
mod table;
mod target;

pub use error::MirrorError;
pub use target::Target;

use holdfast_store::bus::Mirror;
use std::io;
use std::time::Duration;
use table::Table;
use tokio::runtime::Runtime;

/// Longest wait for a connection, and for one statement.
const WITHIN: Duration = Duration::from_secs(10);

/// A bus in a database. One connection, used by one thread.
pub struct Postgres {
    runtime: Runtime,
    table: Table,
    bus_id: String,
}

impl Postgres {
    /// Connects and makes the table if there is none.
    ///
    /// # Errors
    /// [`MirrorError`].
    pub fn connect(target: &Target, bus_id: &str) -> Result<Self, MirrorError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(MirrorError::Runtime)?;
        let table = runtime.block_on(within(Table::open(target)))?;
        Ok(Self { runtime, table, bus_id: bus_id.to_owned() })
    }

    /// Index and checksum of the last event it has; `None` for none.
    ///
    /// # Errors
    /// [`MirrorError`]; [`MirrorError::Gap`] when somebody took events out of it.
    pub fn last(&mut self) -> Result<Option<(u64, String)>, MirrorError> {
        self.runtime.block_on(within(self.table.last(&self.bus_id)))
    }

    /// Waits, and lets the connection be looked after meanwhile.
    pub fn rest(&mut self, pause: Duration) {
        self.runtime.block_on(tokio::time::sleep(pause));
    }

    fn take(&mut self, first_index: u64, raw_lines: &[u8]) -> Result<(), MirrorError> {
        let rows = rows::parse(first_index, raw_lines)?;
        self.runtime.block_on(within(self.table.take(&self.bus_id, &rows)))
    }
}

impl Mirror for Postgres {
    fn high_water(&mut self) -> io::Result<u64> {
        self.last().map(|last| last.map_or(0, |(index, _)| index)).map_err(io::Error::other)
    }

    fn apply(&mut self, first_index: u64, raw_lines: &[u8]) -> io::Result<()> {
        self.take(first_index, raw_lines).map_err(io::Error::other)
    }
}

async fn within<T>(work: impl Future<Output = Result<T, MirrorError>>) -> Result<T, MirrorError> {
    tokio::time::timeout(WITHIN, work).await.unwrap_or(Err(MirrorError::Slow))
}
