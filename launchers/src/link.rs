//! The way to a running tree: the control door, the status door, and what their silence means.
//!
//! Nobody listening and nobody answering are two findings. Every wait here has an end.

use crate::error::Trouble;
use holdfast_core::command::{ControlReply, ControlRequest};
use holdfast_core::limits::STATUS_MAX_AGE;
use holdfast_core::report::{JobProgress, JobState};
use holdfast_core::status::StatusDoc;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_ipc::conn::Conn;
use holdfast_ipc::error::IpcError;
use holdfast_supervisor::instance::{self, Instance};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// How long the control door may take for a status document; with [`STATUS_DOOR`] less than a second.
const CONTROL_DOOR: Duration = Duration::from_millis(450);
/// How long the status door may take.
const STATUS_DOOR: Duration = Duration::from_millis(250);
/// Largest status document read.
const DOC_BYTES_MAX: u64 = 1024 * 1024;

/// Why a conversation with the tree ended.
#[derive(Debug)]
pub(crate) enum Gone {
    /// Nobody listens.
    Absent,
    /// Somebody listens and says nothing.
    Silent(Duration),
    /// The other end closed.
    Closed,
    /// It broke, or what came is not ours.
    Broken(String),
}

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("nobody listens"),
            Self::Silent(waited) => write!(f, "no answer within {} ms", waited.as_millis()),
            Self::Closed => f.write_str("the connection was closed without an answer"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// One request on a control door, and its replies.
pub(crate) struct Link(Conn<ControlReply, ControlRequest>);

impl Link {
    /// Connects and asks.
    pub(crate) async fn ask(door: &Path, request: &ControlRequest, within: Duration) -> Result<Self, Gone> {
        let mut conn = Conn::connect(door, within).await.map_err(|e| gone(e, within))?;
        conn.writer.send_within(request, within).await.map_err(|e| gone(e, within))?;
        Ok(Self(conn))
    }

    /// The next reply.
    pub(crate) async fn reply(&mut self, within: Duration) -> Result<ControlReply, Gone> {
        self.0.reader.recv_within(within).await.map_err(|e| gone(e, within))
    }
}

fn gone(error: IpcError, within: Duration) -> Gone {
    match error {
        IpcError::Unreachable { source, .. } => {
            let kind = source.kind();
            if matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
                Gone::Absent
            } else if kind == ErrorKind::WouldBlock {
                // A door whose waiting room is full belongs to somebody who does not come.
                Gone::Silent(within)
            } else {
                Gone::Broken(source.to_string())
            }
        }
        IpcError::Timeout(_) => Gone::Silent(within),
        IpcError::Closed => Gone::Closed,
        IpcError::Broken(source) if source.kind() == ErrorKind::UnexpectedEof => Gone::Closed,
        other @ (IpcError::Broken(_)
        | IpcError::Listen { .. }
        | IpcError::Malformed(_)
        | IpcError::Stranger(_)
        | IpcError::TooLarge(_)) => Gone::Broken(other.to_string()),
    }
}

/// Runs one conversation on this thread.
pub(crate) fn block<F: Future>(conversation: F) -> Result<F::Output, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Trouble::Os { what: "start an event loop", source })?;
    Ok(runtime.block_on(conversation))
}

/// What can be known of an instance from outside.
#[derive(Debug)]
pub(crate) enum Seen {
    /// It answered, just now.
    Live(Box<StatusDoc>),
    /// There is none.
    NotRunning {
        /// A pidfile lies there all the same.
        stale_pidfile: bool,
    },
    /// It does not answer, or the evidence disagrees.
    Unknown {
        /// Why.
        why: String,
        /// Its pid, as far as known.
        pid: Option<u32>,
    },
}

/// Looks: control door, then status door, then lock, pidfile and process table. Ends within a second.
pub(crate) async fn look(home: &Home) -> Seen {
    let control = control_status(home).await;
    let control = match control {
        Ok(doc) => return Seen::Live(doc),
        Err(gone) => gone,
    };
    match door_status(home).await {
        Ok(doc) if age_ms(&doc) <= STATUS_MAX_AGE.as_ms() => return Seen::Live(doc),
        Ok(_) | Err(_) => {}
    }
    judge(&control, instance::probe(home))
}

/// What silence means, given the lock, the pidfile and the process table.
fn judge(control: &Gone, instance: Instance) -> Seen {
    match instance {
        Instance::NotRunning { stale_pidfile } => match control {
            Gone::Absent => Seen::NotRunning { stale_pidfile },
            Gone::Silent(_) | Gone::Closed | Gone::Broken(_) => Seen::Unknown {
                why: format!("no supervisor holds the lock, yet its control door is there: {control}"),
                pid: None,
            },
        },
        Instance::Running { pid } => {
            Seen::Unknown { why: format!("the supervisor (pid {pid}) does not answer: {control}"), pid: Some(pid) }
        }
        Instance::Unknown { why } => Seen::Unknown { why, pid: None },
    }
}

async fn control_status(home: &Home) -> Result<Box<StatusDoc>, Gone> {
    let conversation = async {
        let mut link = Link::ask(&home.control_sock(), &ControlRequest::Status {}, CONTROL_DOOR).await?;
        match link.reply(CONTROL_DOOR).await? {
            ControlReply::Status { doc } => Ok(doc),
            other @ (ControlReply::Done { .. }
            | ControlReply::Unsaved { .. }
            | ControlReply::Progress(_)
            | ControlReply::ResumeOffer { .. }
            | ControlReply::Refused { .. }) => Err(Gone::Broken(format!("not a status document: {other:?}"))),
        }
    };
    tokio::time::timeout(CONTROL_DOOR, conversation).await.unwrap_or(Err(Gone::Silent(CONTROL_DOOR)))
}

/// The status door writes one document and closes; nothing is sent to it.
async fn door_status(home: &Home) -> Result<Box<StatusDoc>, Gone> {
    let text = tokio::time::timeout(STATUS_DOOR, read_all(&home.status_sock()))
        .await
        .map_err(|_| Gone::Silent(STATUS_DOOR))?
        .map_err(|e| Gone::Broken(e.to_string()))?;
    serde_json::from_slice(&text).map(Box::new).map_err(|e| Gone::Broken(e.to_string()))
}

async fn read_all(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    tokio::net::UnixStream::connect(path).await?.take(DOC_BYTES_MAX).read_to_end(&mut text).await?;
    Ok(text)
}

/// How old a document is by the boot clock; a document of another boot is as old as can be.
pub(crate) fn age_ms(doc: &StatusDoc) -> u64 {
    let now = clock::now().0;
    if doc.generated_boot_ns > now { u64::MAX } else { (now - doc.generated_boot_ns) / 1_000_000 }
}

/// The document a supervisor left on disk. Never current.
pub(crate) fn last_known(home: &Home) -> Option<StatusDoc> {
    let mut text = Vec::new();
    std::fs::File::open(home.status_json()).ok()?.take(DOC_BYTES_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// What deadman wrote down about its last duty, done when no supervisor was there to be told.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct DeadmanReport {
    /// When it was written, RFC 3339.
    pub(crate) at: String,
    /// The supervisor that was lost.
    pub(crate) supervisor_pid: u32,
    /// What it was to do by itself: `cancel` or `flatten`.
    #[serde(default)]
    pub(crate) policy: String,
    /// One line for people.
    pub(crate) note: String,
    /// The last progress: a proof, or what is left.
    pub(crate) progress: Option<JobProgress>,
}

impl DeadmanReport {
    /// Whether it proves that neither order nor position was left. A job that only cancels ends in the same state, and
    /// proves nothing of positions: its own words tell how many it left.
    pub(crate) fn proves_flat(&self) -> bool {
        let Some(progress) = &self.progress else { return false };
        let left = progress.detail.contains("positions untouched") && !progress.detail.contains("; 0 positions");
        progress.state == JobState::Flat && progress.proof_venue_ms.is_some() && !left
    }
}

/// Deadman's report about the last supervisor of this home; none when a later one has run since.
pub(crate) fn deadman_report(home: &Home, last: Option<&StatusDoc>) -> Option<DeadmanReport> {
    let mut text = Vec::new();
    let file = std::fs::File::open(home.run().join("deadman-report.json")).ok()?;
    file.take(DOC_BYTES_MAX).read_to_end(&mut text).ok()?;
    let report: DeadmanReport = serde_json::from_slice(&text).ok()?;
    last.is_none_or(|doc| doc.pid == report.supervisor_pid).then_some(report)
}

/// The error for a command that needs a running tree; clears a stale pidfile on the way.
pub(crate) fn absent(home: &Home, stale_pidfile: bool) -> Trouble {
    let stale = stale_pidfile && instance::clear_stale(home).is_ok();
    Trouble::NotRunning { home: home.root().into(), stale, left: instance::survivors(home) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_agreeing_evidence_says_not_running() {
        let silent = || Gone::Silent(Duration::from_millis(1));
        let down = || Instance::NotRunning { stale_pidfile: true };
        let up = || Instance::Running { pid: 7 };
        assert!(matches!(judge(&Gone::Absent, down()), Seen::NotRunning { stale_pidfile: true }));
        assert!(matches!(judge(&silent(), down()), Seen::Unknown { pid: None, .. }));
        assert!(matches!(judge(&Gone::Absent, up()), Seen::Unknown { pid: Some(7), .. }));
        assert!(matches!(judge(&silent(), up()), Seen::Unknown { pid: Some(7), .. }));
        let odd = Instance::Unknown { why: "two answers".into() };
        assert!(matches!(judge(&Gone::Absent, odd), Seen::Unknown { .. }));
    }
}
