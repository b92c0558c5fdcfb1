//! What a failure means for risk: one sentence, true in the state the failure leaves behind.

use super::{Trouble, deadman};
use holdfast_core::ids::Role;

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
}
