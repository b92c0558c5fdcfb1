//! Exits of workers, seen through the kernel's process descriptors.

use super::Input;
use holdfast_core::ids::Role;
use holdfast_ipc::clock;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use tokio::process::Child;
use tokio::sync::mpsc;

/// Last words kept of a worker's standard error.
const WORDS_MAX: usize = 300;

/// Waits for the end of one child and reports it.
pub(crate) fn watch(role: Role, mut child: Child, pid: u32, words: PathBuf, inputs: mpsc::Sender<Input>) {
    tokio::task::spawn_local(async move {
        let status = child.wait().await;
        let seen = clock::now();
        let how = status.map_or_else(|e| format!("cannot be waited for: {e}"), describe);
        let note = match last_words(&words) {
            Some(words) => format!("{how}: {words}"),
            None => how,
        };
        let _ = inputs.send(Input::Gone { role, pid, note, seen }).await;
    });
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn last_words(path: &PathBuf) -> Option<String> {
    let text = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text[..text.len().min(WORDS_MAX)]).trim().replace('\n', "; ");
    (!text.is_empty()).then_some(text)
}
