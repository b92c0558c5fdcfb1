//! What the supervisor hands a worker at birth: one JSON line on the inherited standard input.
//!
//! Nothing of it appears on a command line or in the environment.

use crate::settings::Settings;
use holdfast_core::ids::{Epoch, Generation, Role};
use holdfast_core::permit::PermitKey;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// Version of every message in this crate. Both ends of a tree always agree; anything else is refused.
pub const PROTOCOL: u32 = 1;

/// A one-time secret as 64 hex digits. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Writes random bytes as a token.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        use fmt::Write;
        let mut text = String::with_capacity(64);
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// Compares without stopping at the first difference.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.bytes().zip(other.0.bytes()).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The permit record's descriptor and the key it is written with; handed to the engine alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermitHandover {
    /// Number of the inherited read-only descriptor.
    pub fd: i32,
    /// Key of this generation.
    pub key: PermitKey,
}

/// Everything a worker needs to begin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// What it is to be.
    pub role: Role,
    /// Which start of this role it is under this supervisor, from 1.
    pub generation: Generation,
    /// Fencing epoch; goes with every message and order.
    pub epoch: Epoch,
    /// Build of the supervisor; a worker of another build refuses to run.
    pub build_id: String,
    /// Must equal [`PROTOCOL`].
    pub protocol: u32,
    /// Proves to the supervisor that this is the process it spawned.
    pub token: Token,
    /// Shared by the workers of this epoch: proves them to each other on the data plane.
    pub feed_token: Token,
    /// The supervisor's pid.
    pub supervisor_pid: u32,
    /// The supervisor's worker socket.
    pub socket: PathBuf,
    /// The home folder.
    pub home: PathBuf,
    /// The effective configuration.
    pub settings: Settings,
    /// Base URL of the venue; absent for the venue itself.
    pub venue_url: Option<String>,
    /// Port the venue must take again after a restart; absent at its first start.
    pub venue_port: Option<u16>,
    /// Port the API must take again after a restart; absent at its first start.
    pub api_port: Option<u16>,
    /// Address of the account that holds the positions, `0x` and 40 hex digits.
    pub account: Option<String>,
    /// Only for the engine.
    pub permit: Option<PermitHandover>,
}

/// Paths inside a home folder; the one place that spells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

macro_rules! home_paths {
    ($($(#[$doc:meta])* $name:ident = $path:literal;)+) => {
        $($(#[$doc])* #[must_use] pub fn $name(&self) -> PathBuf { self.0.join($path) })+
    };
}

impl Home {
    /// Names a home folder; touches nothing.
    #[must_use]
    pub const fn new(root: PathBuf) -> Self {
        Self(root)
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &std::path::Path {
        &self.0
    }

    home_paths! {
        /// The configuration file.
        config = "config.toml";
        /// Key files, 0700.
        keys = "keys";
        /// The engine's agent key.
        engine_key = "keys/engine.key";
        /// Deadman's agent key.
        deadman_key = "keys/deadman.key";
        /// The key that signs the head of the runtime bus.
        bus_key = "keys/bus.key";
        /// Sockets, locks, pidfile; 0700.
        run = "run";
        /// Pid, start time and boot id of the supervisor.
        pidfile = "run/supervisor.pid";
        /// Held for as long as a supervisor lives.
        supervisor_lock = "run/supervisor.lock";
        /// Where workers report.
        worker_sock = "run/workers.sock";
        /// Where commands are taken.
        control_sock = "run/control.sock";
        /// Writes one status document and closes.
        status_sock = "run/status.sock";
        /// The last published status document.
        status_json = "run/status.json";
        /// The sensor's observations.
        sensor_sock = "run/sensor.sock";
        /// The engine's reports.
        engine_sock = "run/engine.sock";
        /// Deadman's own door: works without a supervisor.
        deadman_sock = "run/deadman.sock";
        /// A file that means `engine kill`.
        kill_file = "run/KILL";
        /// The bearer token of the API's controls, 0600.
        api_token = "run/api.token";
        /// A file that means `engine pause`.
        pause_file = "run/PAUSE";
        /// Durable state.
        data = "data";
        /// Epoch, latches, budgets: the supervisor's durable cell.
        judge_cell = "data/judge.cell";
        /// Deadman's durable cell: what it took on and has not proven.
        deadman_cell = "data/deadman.cell";
        /// What deadman saw last of the runtime bus.
        witness = "data/witness.cell";
        /// The runtime bus: every event, in one chain.
        bus = "data/bus";
        /// The engine's durable cell: loss baseline.
        engine_cell = "data/engine.cell";
        /// The decision journal.
        decisions = "data/decisions.jsonl";
        /// The ledger.
        ledger = "data/holdfast.sqlite";
        /// There when the state was exported: nothing starts here any more.
        exported = "data/EXPORTED";
        /// There between an import and the first start.
        import_record = "data/import.json";
        /// Reports about runs.
        reports = "reports";
        /// The engine signer's last nonce.
        engine_nonce = "data/engine.nonce";
        /// Deadman's signer's last nonce.
        deadman_nonce = "data/deadman.nonce";
        /// The paper venue's own books.
        venue = "venue";
        /// The paper account and its agents.
        venue_account = "venue/account.json";
        /// Log files.
        logs = "logs";
    }

    /// The lock a worker of this role holds for as long as it lives.
    #[must_use]
    pub fn role_lock(&self, role: Role) -> PathBuf {
        self.0.join(format!("run/{role}.lock"))
    }
}
