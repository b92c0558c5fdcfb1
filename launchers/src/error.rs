//! Every way a command fails, with the three sentences an operator needs: what happened, what it means for risk, what
//! to do next. Exit codes follow the table of the operator's surface.

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

/// Deadman's pid, if it is among them.
fn deadman(left: &[(Role, u32)]) -> Option<u32> {
    left.iter().find(|(role, _)| *role == Role::Deadman).map(|(_, pid)| *pid)
}

/// What is true of risk when no supervisor is there, given who outlived it.
fn left_behind(left: &[(Role, u32)]) -> String {
    match (deadman(left), left.first()) {
        (Some(pid), _) => format!(
            "the supervisor is gone; deadman (pid {pid}) is at work and closes what is open, as configured; \
             `engine kill` reaches it"
        ),
        (None, Some((role, pid))) => format!(
            "the supervisor is gone and {role} (pid {pid}) outlives it; a permit nobody renews lapses within one \
             second, and what is open is closed by nobody"
        ),
        (None, None) => "nothing of Holdfast trades here; what is open on the venue is watched only by the venue's \
                         own dead-man switch"
            .to_owned(),
    }
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

    /// What it means for risk.
    pub(crate) fn risk(&self) -> String {
        match self {
            Self::Refused { risk, .. } => risk.clone(),
            Self::Usage(_)
            | Self::NoHome
            | Self::HomeTooLong { .. }
            | Self::Home { .. }
            | Self::DiskFull { .. }
            | Self::Config { .. }
            | Self::Exposed { .. }
            | Self::SameKey { .. }
            | Self::Profile { .. }
            | Self::Market { .. }
            | Self::Port { .. }
            | Self::Account { .. }
            | Self::Exists { .. }
            | Self::NoRecord { .. }
            | Self::Decisions(_)
            | Self::EngineRuns { .. }
            | Self::Os { .. } => "nothing was started and nothing was changed; no risk was added".to_owned(),
            #[cfg(not(feature = "mirror"))]
            Self::NotBuilt { .. } => "none: nothing was done".to_owned(),
            #[cfg(feature = "mirror")]
            Self::Mirror { .. } => "none: the tree does not know of its mirror".to_owned(),
            Self::Evidence { .. } | Self::Bus(_) | Self::LossNotAccepted { .. } => {
                "an engine on a record that does not hold opens no risk; it still closes, kills and flattens".to_owned()
            }
            Self::Unfit(_) => "none by itself; what fails here can stop a start or hide a fault".to_owned(),
            Self::NotRunning { left, .. } | Self::KillFiled { left, .. } | Self::PauseFiled { left, .. } => {
                left_behind(left)
            }
            Self::Unknown { .. } => "treat it as Kill: a permit that is not renewed lapses within one second, but \
                                     positions may be open"
                .to_owned(),
            Self::StartBusy { .. } | Self::StartFailed { .. } => {
                "nothing may add risk until every worker is ready and books are reconciled".to_owned()
            }
            Self::NotReady { .. } => "nothing may add risk until every worker is ready; the supervisor runs and keeps \
                                      trying"
                .to_owned(),
            Self::PhraseNeeded { allows, .. } => format!("unchanged; with the phrase this is allowed: {allows}"),
            Self::NotCancelled { trying, .. } => {
                if *trying {
                    "new risk stays blocked; orders stand and the tree keeps trying to cancel them".to_owned()
                } else {
                    "orders stand or are unknown, and nothing here is known to be cancelling them".to_owned()
                }
            }
            Self::NotFlat { trying, .. } => {
                if *trying {
                    "new risk stays blocked; exposure remains and the tree keeps trying to close it".to_owned()
                } else {
                    "exposure remains or is unknown, and nothing here is known to be closing it".to_owned()
                }
            }
            Self::LatchNotOnDisk { spare: Some(spare), .. } => format!(
                "nothing may add risk now; until the disk is mended only {} tells a later start so",
                spare.display()
            ),
            Self::LatchNotOnDisk { spare: None, .. } => {
                "nothing may add risk now; a restart could forget it and trade again".to_owned()
            }
            Self::StillThere { .. } => "its permit is revoked or lapses within one second; positions stay managed by \
                                        whatever of it still runs"
                .to_owned(),
        }
    }

    /// What to do next.
    pub(crate) fn next(&self) -> String {
        match self {
            Self::Usage(_) => "see `engine --help`".to_owned(),
            Self::NoHome => "give a folder: engine --home DIR …".to_owned(),
            Self::HomeTooLong { .. } => "choose a shorter path with --home".to_owned(),
            Self::Home { path, .. } => {
                format!("make {} a folder you own and can write, or choose another with --home", path.display())
            }
            Self::DiskFull { .. } => "free some space, or choose another disk with --home".to_owned(),
            Self::Config { .. } => {
                "mend the file, then `engine config check`; `engine config init` in an empty home shows every key"
                    .to_owned()
            }
            Self::Exposed { path, want, .. } => {
                format!(
                    "look at who changed it, then: chmod {want:03o} {} (and chown it to the user who runs the engine)",
                    path.display()
                )
            }
            Self::SameKey { deadman, .. } => format!(
                "deadman needs a key of its own, or the engine's nonces can void its closing orders: move {} aside, and the \
                 next start makes and registers a new one",
                deadman.display()
            ),
            Self::Profile { profile } => match *profile {
                "live" => "real money needs a preflight and a typed confirmation that this version does not have; \
                           set profile = \"paper\""
                    .to_owned(),
                _ => "it comes later; set profile = \"paper\"".to_owned(),
            },
            Self::Market { advice, .. } => (*advice).to_owned(),
            Self::Port { key, .. } => {
                format!(
                    "end what listens there, or change or drop {key} in config.toml (without it a free port is taken)"
                )
            }
            Self::Account { path, .. } => format!(
                "restore {} or, to begin with new paper books, move the venue folder of this home aside",
                path.display()
            ),
            Self::NotRunning { left, .. } if deadman(left).is_some() => {
                "engine kill reaches deadman at once; engine status tells how far it is".to_owned()
            }
            Self::NotRunning { .. } => "engine start".to_owned(),
            Self::PauseFiled { .. } => {
                "look at the venue itself; engine start manages what is open and stays paused until engine resume"
                    .to_owned()
            }
            Self::KillFiled { .. } => {
                "look at the venue itself; engine start carries out the kill and stays killed until \
                                       engine resume"
                    .to_owned()
            }
            Self::Unknown { .. } => {
                "to be safe: engine kill (works without the supervisor); to look: engine logs supervisor".to_owned()
            }
            Self::StartBusy { .. } => "engine status; engine logs supervisor".to_owned(),
            Self::StartFailed { .. } => "engine doctor; engine logs supervisor".to_owned(),
            Self::NotReady { .. } => "engine status; engine logs; engine stop ends it".to_owned(),
            Self::Refused { next, .. } => next.clone(),
            Self::PhraseNeeded { phrase, .. } => format!("engine resume --confirm '{phrase}'"),
            Self::NotFlat { trying, .. } | Self::NotCancelled { trying, .. } => {
                if *trying {
                    "engine status --watch; engine kill again is a new attempt; or close it on the venue by hand"
                        .to_owned()
                } else {
                    "engine stop --timeout 5 ends a supervisor that hangs, and deadman then acts by itself; or close it on \
                     the venue by hand"
                        .to_owned()
                }
            }
            Self::LatchNotOnDisk { data, spare, .. } => {
                let keep = spare.as_ref().map_or_else(
                    || "do not restart; ".to_owned(),
                    |spare| format!("leave {} where it is; ", spare.display()),
                );
                format!(
                    "{keep}mend the disk under {} (full, read-only, gone?): it is written then by itself, and engine status \
                     no longer says that latches could not be written down",
                    data.display()
                )
            }
            Self::StillThere { pid, .. } => format!("engine status; engine kill; as a last resort: kill -9 {pid}"),
            Self::Exists { .. } => "edit it, or move it away first".to_owned(),
            Self::Unfit(_) => "do what the failed lines say, then `engine doctor` again".to_owned(),
            Self::NoRecord { .. } => "engine start begins a record".to_owned(),
            Self::Evidence { .. } => "keep a copy of the folder as evidence; `engine stop`, then `engine audit repair` \
                                      shows what a repair of the bus would lose; a damaged decision journal is restored \
                                      or moved away while flat"
                .to_owned(),
            Self::Bus(_) | Self::Decisions(_) => "mend what the message names, then `engine audit verify`".to_owned(),
            Self::EngineRuns { .. } => "engine stop, then repair; `engine audit verify` works meanwhile".to_owned(),
            Self::LossNotAccepted { phrase, .. } => {
                format!("keep a copy of the folder as evidence, then: engine audit repair --accept-loss '{phrase}'")
            }
            #[cfg(not(feature = "mirror"))]
            Self::NotBuilt { feature, .. } => format!("cargo install --path launchers --features {feature}"),
            #[cfg(feature = "mirror")]
            Self::Mirror { .. } => "mend what the message names; it goes on where it was".to_owned(),
            Self::Os { .. } => "engine doctor".to_owned(),
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
