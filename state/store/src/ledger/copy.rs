//! A consistent copy of a ledger that may be in use: SQLite's online copy, never a copy of files.

use super::error::{LedgerError, sqlite};
use super::open;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::path::Path;

/// How often a copy that meets a lock is tried again; each try waits for the lock as long as any statement does.
const TRIES: u32 = 10;

pub(super) fn online(source: &Connection, target: &Path) -> Result<(), LedgerError> {
    open::create(target)?;
    let fail = sqlite(target, "copy the ledger into it");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(target, flags).map_err(&fail)?;
    let done = {
        let backup = Backup::new(source, &mut copy).map_err(&fail)?;
        // All pages in one step: a writer beside us would make a copy in several steps begin anew.
        (0..TRIES).find_map(|_| match backup.step(-1) {
            Ok(StepResult::Busy | StepResult::Locked | StepResult::More) => None,
            Ok(_) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        })
    };
    match done {
        Some(result) => result.map_err(&fail)?,
        None => {
            let said = "the ledger stays locked".to_owned();
            return Err(LedgerError::Failed { path: target.to_owned(), what: "copy the ledger into it", said });
        }
    }
    // The copy says of itself that it is written ahead; alone on a disk that nobody may write it must not.
    copy.pragma_update(None, "journal_mode", "DELETE").map_err(&fail)?;
    open::examine(&copy, target, true)?;
    drop(copy);
    let io = |source| LedgerError::Io { path: target.to_owned(), what: "sync it", source };
    File::open(target).and_then(|file| file.sync_all()).map_err(io)?;
    crate::cell::sync_folder(target).map_err(io)
}
