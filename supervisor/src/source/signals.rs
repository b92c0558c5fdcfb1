//! What signals mean: TERM and INT stop, USR1 kills, HUP asks for the status to be written down at once.

use super::Input;
use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_tokio::Signals;
use std::io;
use tokio::sync::mpsc;

/// The meaning of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Orderly stop.
    Stop,
    /// The same as `engine kill`.
    Kill,
    /// Write the status down and say so in the log.
    Report,
}

/// Listens until the process ends.
pub(crate) fn listen(inputs: mpsc::Sender<Input>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    tokio::task::spawn_local(async move {
        while let Some(signal) = signals.next().await {
            let meaning = match signal {
                SIGUSR1 => Meaning::Kill,
                SIGHUP => Meaning::Report,
                _ => Meaning::Stop,
            };
            if inputs.send(Input::Signal(meaning)).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}
