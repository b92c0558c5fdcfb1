//! What can be typed: the command tree. Names and flags here are a contract with scripts and service units.

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use holdfast_core::ids::Role;
use std::path::PathBuf;

/// The build this binary is of.
pub(crate) const BUILD_ID: &str = env!("HOLDFAST_BUILD_ID");
/// The release this binary is of.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

const AFTER: &str =
    "While any part is dead, hung, stale or unknown, nothing here can increase risk, and reducing risk \
always works: kill, flatten and pause ask for no confirmation.

Exit codes: 0 done, 1 failed, 2 usage, 3 not running, 4 unknown, 78 configuration refused.
For `mode`: 0 Active, 3 ReduceOnly, 4 Kill, 5 unreachable or stale.";

/// Supervised, self-custodial trading engine.
#[derive(Debug, Parser)]
#[command(name = "engine", version = BUILD_ID, after_help = AFTER, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Everything one instance owns; two homes are two independent engines
    #[arg(long, global = true, env = "ENGINE_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// One JSON document on standard output (streams: one per line), nothing else
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more on standard error
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say only errors on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// No colour, even on a terminal
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring the engine up and wait until every worker is ready
    Start(StartArgs),
    /// Revoke the permit, stop every worker in order, and return when the process is gone
    Stop(StopArgs),
    /// Stop, then start
    Restart(StartArgs),
    /// Whether the engine may add risk: one word and the primary reason, also as the exit code
    Mode,
    /// Am I safe: mode, reason, exposure, workers
    Status {
        /// Show it again every second
        #[arg(long)]
        watch: bool,
    },
    /// Revoke the permit, end the engine process, cancel and close everything, and prove it (latched)
    Kill(KillArgs),
    /// Cancel and close everything without ending the engine; new risk stays blocked until resumed
    Flatten,
    /// No new risk; positions stay managed
    Pause,
    /// Allow new risk again after a pause, flatten or kill; needs the exact phrase it shows
    Resume {
        /// The phrase shown by `engine resume`
        #[arg(long, value_name = "PHRASE")]
        confirm: Option<String>,
    },
    /// The operator is here: renews the operator dead-man
    Heartbeat,
    /// Show what the processes wrote
    Logs(LogsArgs),
    /// Validate, show or write the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Examine, export and mend the record of what happened
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Examine this host and home; redacted, so it can be pasted
    Doctor,
    /// Copy this home's state into a bundle, check one, bring one back; works while the engine runs
    Backup(BackupArgs),
    /// Move the engine to another host: its state goes, and this home does not start again
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Answer questions about signing and number forms, one JSON value per line; needs no home
    #[command(subcommand)]
    Probe(ProbeCommand),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Run one worker; only the supervisor calls this
    #[command(hide = true)]
    Worker {
        /// Which
        #[arg(value_parser = role)]
        role: Role,
    },
    /// Be the supervisor, detached; only `engine start` calls this
    #[command(hide = true)]
    Supervise(MarketArgs),
}

/// Flags of `start` and `restart`.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Stay attached (service units)
    #[arg(long)]
    pub(crate) foreground: bool,
    /// Seconds to wait until every worker is ready
    #[arg(long, value_name = "SECS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub(crate) wait: u64,
    /// The paper market.
    #[command(flatten)]
    pub(crate) market: MarketArgs,
}

/// Flags that override the configuration of the paper market.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct MarketArgs {
    /// A recorded market: candles, trades or books
    #[arg(long, value_name = "FILE")]
    pub(crate) market: Option<PathBuf>,
    /// Scenario milliseconds per wall millisecond
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) speed: Option<u32>,
    /// Seed of the generated market
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// The coin to trade instead of the configured one
    #[arg(long, value_name = "NAME")]
    pub(crate) coin: Option<String>,
}

/// Flags of `stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Close every position first
    #[arg(long)]
    pub(crate) flatten: bool,
    /// Seconds after which stragglers are killed
    #[arg(long, value_name = "SECS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) timeout: u64,
}

/// Flags of `kill`.
#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// Cancel orders but leave positions
    #[arg(long)]
    pub(crate) no_flatten: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: Option<String>,
}

/// Flags of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Whose; absent = everybody's, merged by time
    #[arg(value_enum)]
    pub(crate) worker: Option<Source>,
    /// Go on as lines are written, across file rotation
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Lines to show first
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) lines: u32,
}

/// Who writes a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// The judge.
    Supervisor,
    /// Market and account reader.
    Sensor,
    /// The trader.
    Engine,
    /// HTTP API.
    Api,
    /// The dead-man heartbeat.
    Deadman,
    /// The paper venue.
    Venue,
}

impl Source {
    /// Every log, in the order ties are shown.
    pub(crate) const ALL: [Self; 6] =
        [Self::Supervisor, Self::Venue, Self::Deadman, Self::Sensor, Self::Api, Self::Engine];

    /// The word in file names.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Sensor => "sensor",
            Self::Engine => "engine",
            Self::Api => "api",
            Self::Deadman => "deadman",
            Self::Venue => "venue",
        }
    }
}

/// The `config` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Would the engine start with this configuration?
    Check(MarketArgs),
    /// The effective configuration and where each value came from; secrets are never shown
    Show(MarketArgs),
    /// Write a commented file with the defaults; refuses to overwrite
    Init,
}

/// The `audit` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Does the record hold? If not: which event, which byte, what was expected; works beside a running engine
    Verify(VerifyArgs),
    /// Stream the record to standard output; private unless --public
    Export(ExportArgs),
    /// Cut a record that does not hold and write down the loss; refuses while an engine runs
    Repair {
        /// Agree to the loss with the phrase that `engine audit repair` shows
        #[arg(long, value_name = "PHRASE", num_args = 0..=1)]
        accept_loss: Option<Option<String>>,
    },
    /// A line to keep elsewhere: it proves how far the record goes now
    Anchor,
    /// Read the decision journal from its first entry: does it hold, and what does it add up to?
    Replay,
    /// Keep a second record in PostgreSQL; runs until ended, and nothing waits for it (needs the feature `mirror`)
    Mirror(MirrorArgs),
}

/// Flags of `audit mirror`.
#[derive(Debug, Args)]
pub(crate) struct MirrorArgs {
    /// A file (0600) that holds the address: postgres://user:password@localhost/database
    #[arg(long, value_name = "FILE")]
    pub(crate) url_file: PathBuf,
    /// Bring it up to date and end
    #[arg(long)]
    pub(crate) once: bool,
}

/// Flags of `audit verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A bus folder, an exported file or a decision journal; absent = everything of this home
    pub(crate) file: Option<PathBuf>,
    /// Every line must also be canonical, strictly read
    #[arg(long)]
    pub(crate) deep: bool,
    /// A line of `engine audit anchor` that must be in the record
    #[arg(long, value_name = "LINE")]
    pub(crate) anchor: Option<String>,
}

/// Flags of `audit export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// First event
    #[arg(long, value_name = "N")]
    pub(crate) from: Option<u64>,
    /// Last event
    #[arg(long, value_name = "N")]
    pub(crate) to: Option<u64>,
    /// Only these event types, separated by commas
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    pub(crate) types: Vec<String>,
    /// At most so many: the newest, or the first after --from
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Counts and hashes only
    #[arg(long, conflicts_with_all = ["from", "to", "types", "limit"])]
    pub(crate) public: bool,
    /// The raw lines of all segments as one file, for any verifier of such a log
    #[arg(long, conflicts_with_all = ["from", "to", "types", "limit", "public"])]
    pub(crate) single_file: bool,
}

/// `backup`, with a command or as the short spelling of `backup create`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct BackupArgs {
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Option<BackupCommand>,
    /// The same as `backup create --to`
    #[arg(long, value_name = "PATH", required = true)]
    pub(crate) to: Option<PathBuf>,
    /// Take the logs along
    #[arg(long)]
    pub(crate) logs: bool,
}

/// The `backup` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Write a bundle; keys are never in it
    Create(BundleArgs),
    /// Is every byte of a bundle as it was?
    Verify {
        /// The bundle
        path: PathBuf,
    },
    /// Lay a bundle out as a stopped home
    Restore(ImportArgs),
}

/// The `migrate` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum MigrateCommand {
    /// Write a bundle of a stopped engine; this home does not start again
    Export(BundleArgs),
    /// Is every byte of a bundle as it was?
    Verify {
        /// The bundle
        path: PathBuf,
    },
    /// Lay a bundle out as a stopped home
    Import(ImportArgs),
    /// Go through the list between an import and the first start
    Check,
    /// Let this home start again after an export: the bundle is destroyed or never to be used
    Reopen {
        /// The bundle's id, as the refused start names it
        #[arg(long = "i-will-not-use", value_name = "BUNDLE_ID")]
        bundle: String,
    },
}

/// Flags of making a bundle.
#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// The bundle: a folder that does not exist yet
    #[arg(long, value_name = "PATH")]
    pub(crate) to: PathBuf,
    /// Take the logs along
    #[arg(long)]
    pub(crate) logs: bool,
}

/// Flags of taking a bundle in.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The bundle
    pub(crate) path: PathBuf,
    /// The new home, absent or empty, instead of --home
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
    /// The source of a backup may have gone on; both must not trade
    #[arg(long)]
    pub(crate) accept_fork: bool,
}

/// The `probe` commands.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ProbeCommand {
    /// `{action, nonce, vault, expires_after, is_mainnet, key}` to `{msgpack_hex, action_hash, r, s, v, address}`;
    /// only for keys marked as test keys by ENGINE_PROBE_TEST_KEY=1
    Sign,
    /// `{value, sz_decimals?, kind: "size"|"price"|"raw"}` to `{wire}` or `{error}`
    Wire,
    /// The boot clock as a worker reads it first, in nanoseconds; the performance harness spawns this
    #[command(hide = true)]
    Born,
}

fn role(word: &str) -> Result<Role, String> {
    Role::parse(word).ok_or_else(|| "not a worker of the tree".to_owned())
}

fn reason(text: &str) -> Result<String, String> {
    if text.len() > 500 { Err("at most 500 bytes".to_owned()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_is_consistent() {
        Cli::command().debug_assert();
    }
}
