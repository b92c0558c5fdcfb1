//! Every way a command fails, with the three sentences an operator needs: what happened, what it means for risk, what
//! to do next. Here is what happened, its word and its exit code (the table of the operator's surface); what it means
//! for risk and what to do next are told beside it.

mod next;
mod risk;

use crate::out::plain;
use holdfast_core::ids::Role;
use holdfast_store::bus::BusError;
use holdfast_store::journal::JournalError;
use serde::Serialize;
use std::path::PathBuf;
use thiserror::Error;

/// It failed, and said why.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage.
pub(crate) const USAGE: u8 = 2;
/// Needs a running engine, and none runs.
pub(crate) const NOT_RUNNING: u8 = 3;
/// The supervisor does not answer, or the evidence disagrees.
pub(crate) const UNKNOWN: u8 = 4;
/// The configuration is refused; service units do not restart on it.
pub(crate) const CONFIG: u8 = 78;

/// The JSON form of an error.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorDoc {
    schema: &'static str,
    code: String,
    message: String,
    risk: String,
    next: String,
}

/// One objection to the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Dotted path of the key; empty when the text does not parse at all.
    pub(crate) key: String,
    /// Line and column in the file, from 1, when it comes from there.
    pub(crate) at: Option<(usize, usize)>,
    /// What is wrong.
    pub(crate) why: String,
}

/// A failed command.
#[derive(Debug, Error)]
pub(crate) enum Trouble {
    /// Not a command line of ours.
    #[error("{0}")]
    Usage(String),
    /// No folder to work in.
    #[error("no home folder: neither --home, ENGINE_HOME, XDG_STATE_HOME nor HOME is set")]
    NoHome,
    /// Socket names would not fit.
    #[error("the home path {} is {len} bytes long; {max} is the most that leaves room for socket names", .path.display())]
    HomeTooLong {
        /// The home.
        path: PathBuf,
        /// Its length.
        len: usize,
        /// The longest.
        max: usize,
    },
    /// Something in the home cannot be read, written or made.
    #[error("cannot {what} {}: {source}", .path.display())]
    Home {
        /// The verb.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// Too little space for the first writes.
    #[error(
        "only {free_mib} MiB are free for {}; a first start writes keys, books and records and needs {need_mib}; it is \
         refused, because nothing that was ever traded here waits to be managed", .path.display()
    )]
    DiskFull {
        /// The home.
        path: PathBuf,
        /// What is there.
        free_mib: u64,
        /// What is needed.
        need_mib: u64,
    },
    /// The configuration says something that is not accepted.
    #[error("the configuration {} is refused: {}", .path.display(), show(.faults))]
    Config {
        /// The file.
        path: PathBuf,
        /// Every objection.
        faults: Vec<Fault>,
    },
    /// Somebody else could have changed or read this file.
    #[error("{} is refused: {why}", .path.display())]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The mode it should have.
        want: u32,
    },
    /// The engine and deadman would sign with one key.
    #[error("{} and {} hold the same key", .deadman.display(), .engine.display())]
    SameKey {
        /// The engine's.
        engine: PathBuf,
        /// Deadman's.
        deadman: PathBuf,
    },
    /// A profile this version does not run.
    #[error("the {profile} profile is not in this version")]
    Profile {
        /// Which.
        profile: &'static str,
    },
    /// The recorded market cannot be used.
    #[error("market file {}: {}", .path.display(), brief(.why))]
    Market {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What the owner can do about it.
        advice: &'static str,
        /// It was named in the configuration file, not on the command line.
        configured: bool,
    },
    /// A port given by name is taken.
    #[error("port {port} on 127.0.0.1 ({key}) cannot be taken: {why}")]
    Port {
        /// The configuration key.
        key: &'static str,
        /// The port.
        port: u16,
        /// The kernel's reason.
        why: String,
    },
    /// Paper account files disagree.
    #[error("the paper account in {} is unusable: {why}", .path.display())]
    Account {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No supervisor.
    #[error("no engine runs in {}{}", .home.display(), if *.stale { " (a stale pidfile was found and cleared)" } else { "" })]
    NotRunning {
        /// The home.
        home: PathBuf,
        /// A stale pidfile was cleared.
        stale: bool,
        /// Workers that outlived their supervisor.
        left: Vec<(Role, u32)>,
    },
    /// Nothing runs; the kill waits for the next start.
    #[error("no engine runs in {}; run/KILL was written, so the next start is killed", .home.display())]
    KillFiled {
        /// The home.
        home: PathBuf,
        /// Workers that outlived their supervisor.
        left: Vec<(Role, u32)>,
    },
    /// Nothing runs; the pause waits for the next start.
    #[error("no engine runs in {}; run/PAUSE was written, so the next start opens nothing", .home.display())]
    PauseFiled {
        /// The home.
        home: PathBuf,
        /// Workers that outlived their supervisor.
        left: Vec<(Role, u32)>,
    },
    /// A supervisor that does not answer, or evidence that disagrees.
    #[error("the engine's state is unknown: {why}")]
    Unknown {
        /// Why.
        why: String,
    },
    /// Another start is under way and does not come to an end.
    #[error("another start of this home has been under way for {secs} s")]
    StartBusy {
        /// How long it was waited for.
        secs: u64,
    },
    /// The supervisor ended before it was up.
    #[error("the supervisor ended while starting ({exit}): {words}")]
    StartFailed {
        /// How.
        exit: String,
        /// Its last words.
        words: String,
        /// Its exit code was that of a refused configuration.
        refused: bool,
    },
    /// Up, but not every worker is.
    #[error("not ready after {secs} s: {}", .waiting.join("; "))]
    NotReady {
        /// How long it was waited.
        secs: u64,
        /// Which worker, in which state, and its last words.
        waiting: Vec<String>,
    },
    /// The supervisor said no.
    #[error("{message}")]
    Refused {
        /// Stable word.
        code: String,
        /// What happened.
        message: String,
        /// What it means for risk.
        risk: String,
        /// What to do next.
        next: String,
    },
    /// The phrase was not given.
    #[error("nothing was resumed: {}", if *.given { "that is not the phrase, or it has changed since it was shown" } else { "the phrase is needed" })]
    PhraseNeeded {
        /// A phrase was given, and it is not the one.
        given: bool,
        /// Type this.
        phrase: String,
        /// What will be allowed then.
        allows: String,
    },
    /// A reduce job ended, or went silent, with something open.
    #[error("NOT FLAT: {residue}")]
    NotFlat {
        /// What is left.
        residue: String,
        /// Somebody keeps trying.
        trying: bool,
    },
    /// A cancel-only job ended, or went silent, with orders standing.
    #[error("NOT CANCELLED: {residue}")]
    NotCancelled {
        /// What is left.
        residue: String,
        /// Somebody keeps trying.
        trying: bool,
    },
    /// It is in force, and a restart could forget it.
    #[error("{what}; but the latch is NOT YET ON DISK: {} does not take it", .data.display())]
    LatchNotOnDisk {
        /// What is true now.
        what: String,
        /// The folder that should hold it.
        data: PathBuf,
        /// The file that holds it meanwhile.
        spare: Option<PathBuf>,
    },
    /// It did not end.
    #[error("the engine (pid {pid}) is still there: {why}")]
    StillThere {
        /// Its pid.
        pid: u32,
        /// Why it was not ended.
        why: String,
    },
    /// The file exists.
    #[error("{} exists and is left as it is", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The examination found something that must be mended.
    #[error("{0} of the checks failed")]
    Unfit(usize),
    /// Nothing was ever recorded here.
    #[error("nothing is recorded in {}", .home.display())]
    NoRecord {
        /// The home.
        home: PathBuf,
    },
    /// The record does not hold.
    #[error("the record does not hold: {what}")]
    Evidence {
        /// Which event, which byte, what was expected, what was found.
        what: String,
    },
    /// The runtime bus cannot be read, or not be mended.
    #[error("{0}")]
    Bus(BusError),
    /// The decision journal cannot be read.
    #[error("{0}")]
    Decisions(JournalError),
    /// A repair would take the record away from under a running engine.
    #[error("the engine (pid {pid}) runs, and writes the record")]
    EngineRuns {
        /// Its pid.
        pid: u32,
    },
    /// A repair loses something, and nobody agreed to it.
    #[error("nothing was mended: {}; {what}", if *.given { "that is not the phrase" } else { "the phrase is needed" })]
    LossNotAccepted {
        /// What does not hold.
        what: String,
        /// Type this.
        phrase: String,
        /// A phrase was given, and it is not the one.
        given: bool,
    },
    /// This binary was built without it.
    #[cfg(not(feature = "mirror"))]
    #[error("{what} is not in this build")]
    NotBuilt {
        /// What was asked for.
        what: &'static str,
        /// The cargo feature that adds it.
        feature: &'static str,
    },
    /// The second record cannot be kept.
    #[cfg(feature = "mirror")]
    #[error("the mirror: {why}")]
    Mirror {
        /// Why.
        why: String,
    },
    /// The kernel refused something basic.
    #[error("cannot {what}: {source}")]
    Os {
        /// What was asked.
        what: &'static str,
        /// The kernel's reason.
        source: std::io::Error,
    },
}

/// Deadman's pid, if it is among them.
fn deadman(left: &[(Role, u32)]) -> Option<u32> {
    left.iter().find(|(role, _)| *role == Role::Deadman).map(|(_, pid)| *pid)
}

/// Longest quotation of what a file says, in characters.
const QUOTE_MAX: usize = 240;

/// A text with its middle left out when it is long, and with nothing a terminal would obey.
fn brief(text: &str) -> String {
    let text = plain(text);
    let count = text.chars().count();
    if count <= QUOTE_MAX {
        return text;
    }
    let side = QUOTE_MAX / 2;
    let (head, tail): (String, String) = (text.chars().take(side).collect(), text.chars().skip(count - side).collect());
    format!("{head} … {tail}")
}

fn show(faults: &[Fault]) -> String {
    let one = |fault: &Fault| {
        let place = fault.at.map_or_else(String::new, |(line, column)| format!("line {line}, column {column}: "));
        let key = if fault.key.is_empty() { String::new() } else { format!("{}: ", fault.key) };
        format!("{place}{}{}", brief(&key), brief(&fault.why))
    };
    faults.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl Trouble {
    /// The exit code.
    pub(crate) fn exit(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Config { .. } | Self::Exposed { .. } | Self::SameKey { .. } | Self::Profile { .. } => CONFIG,
            Self::Market { configured, .. } => {
                if *configured {
                    CONFIG
                } else {
                    FAILED
                }
            }
            Self::StartFailed { refused, .. } => {
                if *refused {
                    CONFIG
                } else {
                    FAILED
                }
            }
            Self::NotRunning { .. } | Self::KillFiled { .. } | Self::PauseFiled { .. } => NOT_RUNNING,
            Self::NoHome
            | Self::HomeTooLong { .. }
            | Self::Home { .. }
            | Self::DiskFull { .. }
            | Self::Port { .. }
            | Self::Account { .. }
            | Self::Unknown { .. }
            | Self::StartBusy { .. }
            | Self::NotReady { .. }
            | Self::Refused { .. }
            | Self::PhraseNeeded { .. }
            | Self::NotFlat { .. }
            | Self::NotCancelled { .. }
            | Self::LatchNotOnDisk { .. }
            | Self::StillThere { .. }
            | Self::Exists { .. }
            | Self::Unfit(_)
            | Self::NoRecord { .. }
            | Self::Evidence { .. }
            | Self::Bus(_)
            | Self::Decisions(_)
            | Self::EngineRuns { .. }
            | Self::LossNotAccepted { .. }
            | Self::Os { .. } => FAILED,
            #[cfg(not(feature = "mirror"))]
            Self::NotBuilt { .. } => FAILED,
            #[cfg(feature = "mirror")]
            Self::Mirror { .. } => FAILED,
        }
    }

    /// The stable word of `--json`.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Usage(_) => "usage",
            Self::NoHome => "no_home",
            Self::HomeTooLong { .. } => "home_too_long",
            Self::Home { .. } => "home_unusable",
            Self::DiskFull { .. } => "disk_full",
            Self::Config { .. } => "config_refused",
            Self::Exposed { .. } => "permissions_refused",
            Self::SameKey { .. } => "keys_equal",
            Self::Profile { .. } => "profile_unsupported",
            Self::Market { .. } => "market_refused",
            Self::Port { .. } => "port_busy",
            Self::Account { .. } => "account_unusable",
            Self::NotRunning { .. } | Self::KillFiled { .. } | Self::PauseFiled { .. } => "not_running",
            Self::Unknown { .. } => "unknown",
            Self::StartBusy { .. } => "start_busy",
            Self::StartFailed { .. } => "start_failed",
            Self::NotReady { .. } => "not_ready",
            Self::Refused { code, .. } => code,
            Self::PhraseNeeded { given: false, .. } => "phrase_needed",
            Self::PhraseNeeded { given: true, .. } => "phrase_wrong",
            Self::NotFlat { .. } => "not_flat",
            Self::NotCancelled { .. } => "not_cancelled",
            Self::LatchNotOnDisk { .. } => "latch_not_on_disk",
            Self::StillThere { .. } => "still_there",
            Self::Exists { .. } => "exists",
            Self::Unfit(_) => "unfit",
            Self::NoRecord { .. } => "no_record",
            Self::Evidence { .. } => "evidence_broken",
            Self::Bus(_) => "bus_unusable",
            Self::Decisions(_) => "decisions_unusable",
            Self::EngineRuns { .. } => "engine_runs",
            Self::LossNotAccepted { given: false, .. } => "phrase_needed",
            Self::LossNotAccepted { given: true, .. } => "phrase_wrong",
            #[cfg(not(feature = "mirror"))]
            Self::NotBuilt { .. } => "not_built",
            #[cfg(feature = "mirror")]
            Self::Mirror { .. } => "mirror_unusable",
            Self::Os { .. } => "os",
        }
    }

    /// The JSON form.
    pub(crate) fn doc(&self) -> ErrorDoc {
        ErrorDoc {
            schema: "holdfast.error.v1",
            code: self.code().to_owned(),
            message: self.to_string(),
            risk: self.risk(),
            next: self.next(),
        }
    }
}
