//! What a bundle says of itself.

use crate::bus::HeadVerdict;
use crate::ledger::Count;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The form of a manifest.
pub(super) const SCHEMA: &str = "holdfast.bundle.v1";
/// The manifest's file.
pub(super) const MANIFEST: &str = "manifest.json";
/// The list of checksums, in the form of `sha256sum -c`.
pub(super) const SUMS: &str = "SHA256SUMS";
/// Largest manifest or list that is read, in bytes.
pub(super) const DOC_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A copy; the engine may have gone on.
    Backup,
    /// The state itself: its source is marked and stays down.
    Migrate,
}

/// An order that was filed while nobody ran, and that the next start is to obey. It travels: a move must not lift it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filed {
    /// The kill.
    Kill,
    /// The pause.
    Pause,
}

/// How a file is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The ledger.
    Ledger,
    /// A two-slot cell.
    Cell,
    /// A decision journal.
    Journal,
    /// A file of the runtime bus.
    Bus,
    /// Anything else.
    Plain,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Relative to the bundle and to the home, `/` between parts.
    pub path: String,
    /// How to read it.
    pub form: Form,
    /// Its size.
    pub bytes: u64,
    /// SHA-256, hex.
    pub sha256: String,
    /// When the original was changed last, milliseconds since 1970 UTC.
    pub modified_ms: u64,
}

/// Where a chain of lines or events ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// How many.
    pub count: u64,
    /// Checksum of the last one.
    pub last: String,
}

/// What the runtime bus says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusFacts {
    /// Which bus; absent without a head.
    pub bus_id: Option<String>,
    /// How many events.
    pub count: u64,
    /// Checksum of the last one; absent for none.
    pub last: Option<String>,
    /// What its head proves where its key is not: at most [`HeadVerdict::Unsigned`].
    pub head: HeadVerdict,
}

/// A recorded position that is not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenPosition {
    /// Its number.
    pub id: i64,
    /// What it is.
    pub description: String,
}

/// The lifecycle's absolute instants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// The phase's word.
    pub phase: String,
    /// End of the cooldown.
    pub cooldown_until_ms: Option<u64>,
    /// End of the backoff.
    pub backoff_until_ms: Option<u64>,
    /// The newest run.
    pub last_run_id: Option<String>,
}

/// What is in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerFacts {
    /// Its schema.
    pub schema: i64,
    /// Made once, the same after every move.
    pub state_dir: String,
    /// Rows and newest instant of each table.
    pub tables: BTreeMap<String, Count>,
    /// Deadlines; absent when no lifecycle was ever recorded.
    pub lifecycle: Option<Deadlines>,
    /// Recorded positions that are not over.
    pub positions: Vec<OpenPosition>,
    /// Watches that are open.
    pub running_runs: Vec<String>,
    /// The knobs of the newest run, JSON text.
    pub knobs: Option<String>,
    /// The chain of lifecycle events.
    pub events: Chain,
}

/// The whole manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The form of this document.
    pub schema: String,
    /// 32 hex digits.
    pub bundle: String,
    /// Why it was made.
    pub kind: Kind,
    /// Release of the program that made it.
    pub tool: String,
    /// The host it was made on.
    pub host: String,
    /// `paper`, `monitor` or `live`.
    pub profile: String,
    /// When, milliseconds since 1970 UTC.
    pub created_ms: u64,
    /// The same for people.
    pub created_utc: String,
    /// Address of the account whose positions these are.
    pub account: Option<String>,
    /// The last epoch of the source.
    pub epoch: Option<u64>,
    /// Latches in force at the next start, as the durable cells of the judge and of deadman have them, each with its extent.
    pub latches: Vec<String>,
    /// Orders that wait for the next start.
    pub filed: Vec<Filed>,
    /// What is in the ledger.
    pub ledger: LedgerFacts,
    /// Each decision journal.
    pub journals: BTreeMap<String, Chain>,
    /// The runtime bus, if there is one.
    pub bus: Option<BusFacts>,
    /// SHA-256 of `config.toml`; absent when the defaults are in use.
    pub config_sha256: Option<String>,
    /// Every file but this one and the list of checksums.
    pub files: Vec<FileEntry>,
}
