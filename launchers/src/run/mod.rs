//! The life of a tree as its operator commands it: start, be the supervisor, stop, restart.

pub(crate) mod detach;
pub(crate) mod start;
pub(crate) mod stop;

use crate::cli::{StartArgs, StopArgs};
use crate::error::Trouble;
use crate::out::Out;
use holdfast_ipc::bootstrap::Home;

/// `engine restart`: nothing to stop is no obstacle to a start.
pub(crate) fn restart(out: Out, home: &Home, args: &StartArgs) -> Result<u8, Trouble> {
    // What would refuse the start is found before the stop.
    let mut loaded = crate::config::load(home, &args.market)?;
    crate::config::runnable(&loaded.settings)?;
    crate::preflight::market(&mut loaded)?;
    crate::account::distinct(home)?;
    // With --json the start's document is the command's one document.
    let quiet = if out.json { out.silent() } else { out };
    match stop::stop(quiet, home, &StopArgs { flatten: false, timeout: 20 }) {
        Ok(0) | Err(Trouble::NotRunning { .. }) => start::start(out, home, args),
        other => other,
    }
}
