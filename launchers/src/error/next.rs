//! What to do next after a failure: a command or a deed, for the person who reads it.

use super::{Trouble, deadman};

impl Trouble {
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
}
