//! Opening the file: private from its first instant, one writer, examined before anything is changed.

use super::error::{LedgerError, sqlite};
use crate::cell::sync_folder;
use holdfast_core::limits::LEDGER_ROW_MAX;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The schema's steps; the file's `user_version` says how many it has taken.
const STEPS: &[M<'static>] = &[M::up(include_str!("schema_1.sql"))];
/// The newest schema known here.
pub const SCHEMA: i64 = STEPS.len() as i64;
/// `application_id` of a ledger.
const OURS: i64 = 1_212_566_610;
/// Another connection may hold the file for the length of a checkpoint.
const BUSY: Duration = Duration::from_secs(2);

/// The right to write: a lock file beside the ledger. Not the ledger itself, because closing any descriptor of a file
/// drops the locks SQLite holds on it.
#[derive(Debug)]
pub(super) struct Right {
    _lock: File,
}

impl Right {
    pub(super) fn take(ledger: &Path) -> Result<Self, LedgerError> {
        let path = lock_path(ledger);
        let io = |what| move |e: rustix::io::Errno| LedgerError::Io { path: lock_path(ledger), what, source: e.into() };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = File::from(open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(io("open it"))?);
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LedgerError::Busy { path: ledger.to_owned() }),
            Err(e) => Err(io("lock it")(e)),
        }
    }
}

fn lock_path(ledger: &Path) -> PathBuf {
    ledger.with_extension("lock")
}

/// Opens for writing: makes the file if there is none, examines one that is there, then brings its schema up to date.
pub(super) fn writer(path: &Path) -> Result<Connection, LedgerError> {
    if present(path)? {
        forget_cache(path);
        examine(&reader(path)?, path, false)?;
    } else {
        create(path)?;
    }
    let fail = sqlite(path, "open it");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(&fail)?;
    harden(&connection, path)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(&fail)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(&fail)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(&fail)?;
    connection.pragma_update(None, "journal_size_limit", 4 * 1024 * 1024).map_err(&fail)?;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(&fail)?;
    if mode != "wal" {
        let said = format!("its journal mode stays {mode}");
        return Err(LedgerError::Failed { path: path.to_owned(), what: "write it ahead", said });
    }
    Migrations::from_slice(STEPS).to_latest(&mut connection).map_err(|error| {
        let what = "bring its schema up to date";
        if let rusqlite_migration::Error::RusqliteError { err, .. } = error {
            return sqlite(path, what)(err);
        }
        LedgerError::Failed { path: path.to_owned(), what, said: error.to_string() }
    })?;
    let most = i32::try_from(LEDGER_ROW_MAX).unwrap_or(i32::MAX);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, most).map_err(&fail)?;
    Ok(connection)
}

/// Opens for reading; never makes, repairs or changes the file.
pub(super) fn reader(path: &Path) -> Result<Connection, LedgerError> {
    let fail = sqlite(path, "open it");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(&fail)?;
    harden(&connection, path)?;
    Ok(connection)
}

/// Opens a finished copy for reading: no lock, no file beside it, even on a disk that cannot be written.
pub(super) fn copy(path: &Path) -> Result<Connection, LedgerError> {
    let fail = sqlite(path, "open it");
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags).map_err(&fail)?;
    harden(&connection, path)?;
    Ok(connection)
}

fn harden(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let fail = sqlite(path, "prepare it");
    connection.busy_timeout(BUSY).map_err(&fail)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(&fail)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(&fail)?;
    connection.pragma_update(None, "cell_size_check", true).map_err(&fail)
}

/// Refuses what is damaged, foreign or newer. `deep` reads every index too and walks the chain of events.
pub(super) fn examine(connection: &Connection, path: &Path, deep: bool) -> Result<(), LedgerError> {
    let fail = sqlite(path, "examine it");
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(&fail);
    let (version, application) = (number("user_version")?, number("application_id")?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(&fail)?;
    // A creation that was interrupted leaves an empty database.
    if version == 0 && application == 0 && tables == 0 {
        return Ok(());
    }
    if application != OURS {
        let why = format!("its application id is {application}");
        return Err(LedgerError::Foreign { path: path.to_owned(), why });
    }
    if version > SCHEMA {
        return Err(LedgerError::Newer { path: path.to_owned(), found: version, known: SCHEMA });
    }
    let damaged = |said: String| LedgerError::Damaged { path: path.to_owned(), said };
    let check = if deep { "integrity_check" } else { "quick_check" };
    let said: String = connection.pragma_query_value(None, check, |row| row.get(0)).map_err(&fail)?;
    if said != "ok" {
        return Err(damaged(said));
    }
    let mut orphans = connection.prepare("PRAGMA foreign_key_check").map_err(&fail)?;
    if orphans.exists([]).map_err(&fail)? {
        return Err(damaged("a row refers to one that is not there".to_owned()));
    }
    if deep {
        super::events::walk(connection).map_err(&fail)?.map_err(damaged)?;
    }
    Ok(())
}

fn present(path: &Path) -> Result<bool, LedgerError> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => Ok(true),
        Ok(_) => Err(LedgerError::Foreign { path: path.to_owned(), why: "it is not a plain file".to_owned() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(LedgerError::Io { path: path.to_owned(), what: "look at it", source }),
    }
}

/// SQLite gives the files beside it the mode it has.
pub(super) fn create(path: &Path) -> Result<(), LedgerError> {
    let io = |what| move |source| LedgerError::Io { path: path.to_owned(), what, source };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| io("make it")(e.into()))?;
    sync_folder(path).map_err(io("sync its folder"))
}

/// What an unclean end left in the page cache may not be on the disk: the examination reads the disk. Done before any
/// connection of this process exists.
#[cfg(target_os = "linux")]
fn forget_cache(path: &Path) {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    for path in [path.as_os_str(), wal.as_os_str()] {
        if let Ok(file) = File::open(path) {
            // Advice: a kernel that ignores it leaves us where every other program is.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn forget_cache(_: &Path) {}
