//! Typed questions, on a connection that cannot write. A second process may ask them while the owner writes.

use super::error::{LedgerError, sqlite};
use super::events::{self, Tail};
use super::record::Phase;
use super::record::{
    Event, Lifecycle, LossBaseline, LossBreach, PositionOpened, ProposalAction, Run, RunStatus, Sample,
};
use super::{copy, open};
use holdfast_core::conflict::{Latch, LatchRow, LatchRows};
use holdfast_core::ids::{Epoch, Role};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, OptionalExtension, Params, Row};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every table, and the column that says how new a row is.
pub const TABLES: [(&str, Option<&str>); 14] = [
    ("latches", Some("since_ms")),
    ("lifecycle_events", Some("at_ms")),
    ("lifecycle_state", Some("updated_ms")),
    ("loss_baselines", Some("recorded_ms")),
    ("manual_position_closings", Some("closed_ms")),
    ("manual_positions", Some("opened_ms")),
    ("market_snapshots", Some("at_ms")),
    ("meta", None),
    ("ocean_snapshots", Some("at_ms")),
    ("proposals", Some("at_ms")),
    ("ratchet_steps", Some("at_ms")),
    ("restart_budgets", Some("wall_ms")),
    ("runs", Some("started_ms")),
    ("samples", Some("wall_ms")),
];

/// Who this state is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Made once, 32 hex digits; the same after every move.
    pub state_dir: String,
    /// The bundle it was exported into.
    pub exported_to: Option<String>,
}

/// A recorded position and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its number.
    pub id: i64,
    /// How it was recorded.
    pub opened: PositionOpened,
    /// When it was closed; absent while active.
    pub closed_ms: Option<u64>,
    /// It was closed before it was expected to be over.
    pub closed_before_maturity: bool,
}

/// How many rows a table has, and the newest instant in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// Rows.
    pub rows: u64,
    /// Milliseconds since 1970 UTC; absent for an empty table.
    pub newest_ms: Option<u64>,
}

/// A connection that reads.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

/// A stored word this version does not know.
fn unknown(column: usize, word: &str) -> rusqlite::Error {
    let why = FromSqlError::Other(format!("`{word}` is not known here").into());
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(why))
}

fn parsed<T>(row: &Row<'_>, column: usize, parse: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let word: String = row.get(column)?;
    parse(&word).ok_or_else(|| unknown(column, &word))
}

impl Reader {
    /// Opens the ledger of a home; never makes or changes it.
    ///
    /// # Errors
    /// [`LedgerError`]: absent, damaged, foreign or newer.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let connection = open::reader(path)?;
        open::examine(&connection, path, false)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Opens a finished copy, examined to the last index and event. Writes nothing, not even beside it.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open_copy(path: &Path) -> Result<Self, LedgerError> {
        let connection = open::copy(path)?;
        open::examine(&connection, path, true)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Copies the whole ledger as it is now into a new file (mode 0600), by SQLite's own online copy: complete and
    /// consistent also while its owner writes. The copy stands alone, with nothing beside it, synced and examined.
    ///
    /// # Errors
    /// [`LedgerError`]; an existing target is refused.
    pub fn copy_into(&self, target: &Path) -> Result<(), LedgerError> {
        copy::online(&self.connection, target)
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        let fail = sqlite(&self.path, "read it");
        let mut query = self.connection.prepare_cached(sql).map_err(&fail)?;
        query.query_map(params, row).and_then(Iterator::collect).map_err(&fail)
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, LedgerError> {
        let fail = sqlite(&self.path, "read it");
        let mut query = self.connection.prepare_cached(sql).map_err(&fail)?;
        query.query_row(params, row).optional().map_err(&fail)
    }

    /// Who this state is.
    ///
    /// # Errors
    /// [`LedgerError`]; so for every question here.
    pub fn meta(&self) -> Result<Meta, LedgerError> {
        let meta = self.one("SELECT state_dir, exported_to FROM meta WHERE id = 1", [], |row| {
            Ok(Meta { state_dir: row.get(0)?, exported_to: row.get(1)? })
        })?;
        meta.ok_or_else(|| LedgerError::Damaged { path: self.path.clone(), said: "it does not say whose it is".into() })
    }

    /// Every latch that was ever recorded.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn latches(&self) -> Result<LatchRows, LedgerError> {
        let rows =
            self.all("SELECT name, in_force, since_ms, until_ms, cause, reason, detail FROM latches", [], |row| {
                let latch = LatchRow {
                    in_force: row.get(1)?,
                    since_wall_ms: row.get(2)?,
                    until_wall_ms: row.get(3)?,
                    cause: row.get(4)?,
                    reason: row.get(5)?,
                    detail: row.get(6)?,
                };
                Ok((parsed(row, 0, Latch::parse)?, latch))
            })?;
        Ok(rows.into_iter().collect())
    }

    /// The newest baseline of the loss limit.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn loss_baseline(&self) -> Result<Option<LossBaseline>, LedgerError> {
        self.one(
            "SELECT utc_day, baseline_usd, recorded_ms, breach_equity_usd, breach_epoch, breach_lifted_ms
             FROM loss_baselines ORDER BY utc_day DESC LIMIT 1",
            [],
            |row| {
                let usd = |column: usize| parsed(row, column, |word| word.parse().ok());
                let breach = match row.get::<_, Option<u64>>(4)? {
                    Some(epoch) => {
                        Some(LossBreach { equity_usd: usd(3)?, epoch: Epoch(epoch), lifted_ms: row.get(5)? })
                    }
                    None => None,
                };
                Ok(LossBaseline { utc_day: row.get(0)?, baseline_usd: usd(1)?, recorded_ms: row.get(2)?, breach })
            },
        )
    }

    /// The deaths of a role that still count, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn deaths(&self, role: Role) -> Result<Vec<u64>, LedgerError> {
        let sql = "SELECT wall_ms FROM restart_budgets WHERE role = ? ORDER BY wall_ms";
        self.all(sql, [role.as_str()], |row| row.get(0))
    }

    /// Recorded positions, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn positions(&self, only_active: bool, limit: u32) -> Result<Vec<Position>, LedgerError> {
        self.all(
            "SELECT id, opened_ms, venue, description, expected_maturity_ms, payload_json, closed_ms,
                    coalesce(closed_before_maturity, 0)
             FROM manual_positions LEFT JOIN manual_position_closings ON position_id = id
             WHERE NOT ?1 OR closed_ms IS NULL ORDER BY id DESC LIMIT ?2",
            (only_active, limit),
            |row| {
                let opened = PositionOpened {
                    opened_ms: row.get(1)?,
                    venue: row.get(2)?,
                    description: row.get(3)?,
                    expected_maturity_ms: row.get(4)?,
                    payload_json: row.get(5)?,
                };
                let (closed_ms, closed_before_maturity) = (row.get(6)?, row.get(7)?);
                Ok(Position { id: row.get(0)?, opened, closed_ms, closed_before_maturity })
            },
        )
    }

    /// The deadlines.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn lifecycle(&self) -> Result<Option<Lifecycle>, LedgerError> {
        self.one(
            "SELECT phase, next_action_ms, cooldown_until_ms, backoff_until_ms, last_run_id, message, updated_ms,
                    updated_by FROM lifecycle_state WHERE id = 1",
            [],
            |row| {
                Ok(Lifecycle {
                    phase: parsed(row, 0, Phase::parse)?,
                    next_action_ms: row.get(1)?,
                    cooldown_until_ms: row.get(2)?,
                    backoff_until_ms: row.get(3)?,
                    last_run_id: row.get(4)?,
                    message: row.get(5)?,
                    updated_ms: row.get(6)?,
                    updated_by: row.get(7)?,
                })
            },
        )
    }

    /// Events after this number, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn events(&self, after: i64, limit: u32) -> Result<Vec<(i64, Event)>, LedgerError> {
        self.all(
            "SELECT id, at_ms, event_type, payload_json FROM lifecycle_events WHERE id > ? ORDER BY id LIMIT ?",
            (after, limit),
            |row| {
                let event = Event { at_ms: row.get(1)?, event_type: row.get(2)?, payload_json: row.get(3)? };
                Ok((row.get(0)?, event))
            },
        )
    }

    /// Walks the chain of events to its end.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] names the first event that does not fit.
    pub fn events_tail(&self) -> Result<Tail, LedgerError> {
        let walked = events::walk(&self.connection).map_err(sqlite(&self.path, "read it"))?;
        walked.map_err(|said| LedgerError::Damaged { path: self.path.clone(), said })
    }

    /// Watches, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn runs(&self, limit: u32) -> Result<Vec<Run>, LedgerError> {
        self.all(
            "SELECT run_id, started_ms, ended_ms, status, planned_cycles, interval_s, good_cycles, failed_cycles,
                    last_error, hypothesis, knobs_json, config_sha256, report
             FROM runs ORDER BY started_ms DESC, run_id DESC LIMIT ?",
            [limit],
            |row| {
                Ok(Run {
                    run_id: row.get(0)?,
                    started_ms: row.get(1)?,
                    ended_ms: row.get(2)?,
                    status: parsed(row, 3, RunStatus::parse)?,
                    planned_cycles: row.get(4)?,
                    interval_s: row.get(5)?,
                    good_cycles: row.get(6)?,
                    failed_cycles: row.get(7)?,
                    last_error: row.get(8)?,
                    hypothesis: row.get(9)?,
                    knobs_json: row.get(10)?,
                    config_sha256: row.get(11)?,
                    report: row.get(12)?,
                })
            },
        )
    }

    /// Samples of a run, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn samples(&self, run_id: &str, limit: u32) -> Result<Vec<Sample>, LedgerError> {
        self.all(
            "SELECT run_id, kind, wall_ms, payload_json FROM samples WHERE run_id = ? ORDER BY wall_ms, id LIMIT ?",
            (run_id, limit),
            |row| {
                let (run_id, kind) = (row.get(0)?, row.get(1)?);
                Ok(Sample { run_id, kind, wall_ms: row.get(2)?, payload_json: row.get(3)? })
            },
        )
    }

    /// The newest proposal: when, what and why.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn latest_proposal(&self) -> Result<Option<(u64, ProposalAction, String)>, LedgerError> {
        let sql = "SELECT at_ms, action, reason FROM proposals ORDER BY at_ms DESC, id DESC LIMIT 1";
        self.one(sql, [], |row| Ok((row.get(0)?, parsed(row, 1, ProposalAction::parse)?, row.get(2)?)))
    }

    /// Rows and newest instant of every table.
    ///
    /// # Errors
    /// [`LedgerError`]
    pub fn counts(&self) -> Result<BTreeMap<String, Count>, LedgerError> {
        let count = |(table, newest): (&str, Option<&str>)| {
            // Table and column come from the list above, never from outside.
            let newest = newest.map_or_else(|| "NULL".to_owned(), |column| format!("max({column})"));
            let found = self.one(&format!("SELECT count(*), {newest} FROM {table}"), [], |row| {
                Ok(Count { rows: row.get(0)?, newest_ms: row.get(1)? })
            })?;
            Ok((table.to_owned(), found.unwrap_or(Count { rows: 0, newest_ms: None })))
        };
        TABLES.into_iter().map(count).collect()
    }
}
