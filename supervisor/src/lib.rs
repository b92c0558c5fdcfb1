//! The supervisor: a thin driver around the judge of `holdfast-core`.
//!
//! It turns exits, beats, frames, signals and deadlines into events, and carries out the actions that come back. It
//! decides nothing, waits for no worker, and never blocks on a disk.

mod driver;
mod error;
pub mod instance;
mod leftovers;
mod os;
mod perform;
mod records;
mod source;
mod takeover;

pub use error::SupervisorError;

use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::settings::Settings;

/// What a supervisor is started with.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The home it owns.
    pub home: Home,
    /// The effective configuration.
    pub settings: Settings,
    /// Identity of this build; workers of another are refused.
    pub build_id: String,
    /// Release version, for people.
    pub version: String,
    /// Address of the account that holds the positions.
    pub account: Option<String>,
}

/// Exit code of a supervisor that found another one in the same home.
pub const ALREADY_RUNNING: i32 = 10;

/// The whole life of a supervisor. Returns the process exit code: 0 after an orderly stop, [`ALREADY_RUNNING`] when the
/// home is taken, 1 for anything else.
#[must_use]
pub fn run(launch: Launch) -> i32 {
    match driver::live(launch) {
        Ok(()) => 0,
        Err(SupervisorError::AlreadyRunning { .. }) => ALREADY_RUNNING,
        Err(error) => {
            tracing::error!(%error, "the supervisor cannot run");
            say(&error);
            1
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a process whose log may not exist yet")]
fn say(error: &SupervisorError) {
    eprintln!("supervisor: {error}");
}
