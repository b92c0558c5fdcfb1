//! Exits of workers, seen through the kernel's process descriptors. Their last words are read aside, and not waited for
//! when the disk hangs: an exit is told at once.

use super::Input;
use crate::perform::aside::Aside;
use holdfast_core::ids::Role;
use holdfast_ipc::clock;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};

/// Bytes kept of a worker's standard error.
const WORDS_MAX: u64 = 300;
/// Longest wait for them.
const WORDS_WITHIN: Duration = Duration::from_millis(100);

/// Waits for the end of one child and reports it.
pub(crate) fn watch(
    role: Role,
    mut child: Child,
    pid: u32,
    (words, aside): (PathBuf, Rc<Aside>),
    inputs: mpsc::Sender<Input>,
) {
    tokio::task::spawn_local(async move {
        let status = child.wait().await;
        let seen = clock::now();
        let how = status.map_or_else(|e| format!("cannot be waited for: {e}"), describe);
        let note = match last_words(&aside, words).await {
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

async fn last_words(aside: &Aside, path: PathBuf) -> Option<String> {
    let (tell, told) = oneshot::channel();
    aside.hand(move || {
        let _ = tell.send(read(&path));
    });
    tokio::time::timeout(WORDS_WITHIN, told).await.ok()?.ok()?
}

fn read(path: &Path) -> Option<String> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(WORDS_MAX).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text).trim().replace('\n', "; ");
    (!text.is_empty()).then_some(text)
}
