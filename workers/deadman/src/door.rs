//! Deadman's own door, `run/deadman.sock`: `kill` and `flatten` when no supervisor answers.
//!
//! Same user only, one request per connection, few connections at once; a slow reader is dropped, never waited for.

use holdfast_core::command::{ControlReply, ControlRequest};
use holdfast_core::duty::Duty;
use holdfast_core::kill::{KillCause, KillLatch};
use holdfast_core::report::{JobKind, JobProgress};
use holdfast_ipc::clock;
use holdfast_ipc::conn::Conn;
use holdfast_ipc::listen::{Door, Guest, Lobby};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};

/// Clients that have asked and are answered at once; further ones wait their turn.
const CLIENTS_MAX: usize = 4;
/// Connections that have not asked yet: the oldest makes room.
const LOBBY_MAX: usize = 64;
/// A client that has not asked by then is dropped.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// A client that does not take a reply by then is dropped.
const TAKE_WITHIN: Duration = Duration::from_secs(2);
/// Longest a client is told about one attempt; the attempt itself goes on.
const TELL_FOR: Duration = Duration::from_secs(600);

/// Progress, with the number of the attempt it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Counts attempts of this process.
    pub attempt: u64,
    /// What happened.
    pub progress: JobProgress,
    /// Why a successor may not know of it, if it may not.
    pub unsaved: Option<String>,
}

/// A wish from the door.
#[derive(Debug)]
pub(crate) struct Wish {
    /// What to reach.
    pub kind: JobKind,
    /// The latch a supervisor would have set.
    pub duty: Duty,
    /// Where the attempt's number goes.
    pub reply: oneshot::Sender<u64>,
}

/// Opens the door and serves it in the background.
///
/// # Errors
/// The socket cannot be opened.
pub(crate) fn serve(
    path: &Path,
    wishes: mpsc::Sender<Wish>,
    told: broadcast::Sender<Told>,
) -> Result<(), holdfast_ipc::IpcError> {
    let door = Door::open(path)?;
    tokio::task::spawn_local(async move {
        let room = Arc::new(Semaphore::new(CLIENTS_MAX));
        let lobby = Lobby::new(LOBBY_MAX);
        loop {
            match door.accept().await {
                Ok(stream) => {
                    let (wishes, told, room) = (wishes.clone(), told.clone(), Arc::clone(&room));
                    let serve = move |guest| async move {
                        match Conn::over(stream) {
                            Ok(conn) => client(conn, guest, &room, wishes, &told).await,
                            Err(error) => tracing::warn!(%error, "refused at the door"),
                        }
                    };
                    lobby.serve(serve).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "door");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(())
}

/// What a request asks of deadman, with the latch a supervisor would have set; `None` = not deadman's business.
#[must_use]
pub(crate) fn wanted(request: &ControlRequest, wall_ms: u64) -> Option<(JobKind, Duty)> {
    match request {
        ControlRequest::Kill { flatten, reason } => {
            let kind = if *flatten { JobKind::Flatten } else { JobKind::CancelAll };
            let kill = KillLatch::new(wall_ms, KillCause::Operator, reason.as_deref(), kind);
            Some((kind, Duty { kill: Some(kill), ..Duty::default() }))
        }
        ControlRequest::Flatten {} => {
            Some((JobKind::Flatten, Duty { paused_since_wall_ms: Some(wall_ms), ..Duty::default() }))
        }
        ControlRequest::Status {}
        | ControlRequest::Pause {}
        | ControlRequest::Resume { .. }
        | ControlRequest::Heartbeat {}
        | ControlRequest::Stop { .. } => None,
    }
}

async fn client(
    mut conn: Conn<ControlRequest, ControlReply>,
    guest: Guest,
    room: &Semaphore,
    wishes: mpsc::Sender<Wish>,
    told: &broadcast::Sender<Told>,
) {
    let request = match conn.reader.recv_within(ASK_WITHIN).await {
        Ok(request) => request,
        Err(error) => {
            tracing::debug!(%error, "nothing understood at the door");
            return;
        }
    };
    drop(guest);
    // In the lobby nobody listens: what is told there is of no use.
    let Ok(_place) = room.acquire().await else { return };
    let mut told = told.subscribe();
    let Some((kind, duty)) = wanted(&request, clock::wall_ms()) else {
        let _ = conn.writer.send_within(&not_here(), TAKE_WITHIN).await;
        return;
    };
    let (reply, number) = oneshot::channel();
    if wishes.send(Wish { kind, duty, reply }).await.is_err() {
        return;
    }
    let Ok(attempt) = number.await else { return };
    let tell = async {
        let mut warned = false;
        loop {
            let told = match told.recv().await {
                Ok(told) => told,
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return,
            };
            if told.attempt > attempt {
                // A newer attempt took over; its asker is told.
                return;
            }
            if told.attempt < attempt {
                continue;
            }
            let verdict = told.progress.state.is_verdict();
            // Once, and at once: a supervisor that takes the job over ends this talk before its verdict.
            if let Some(message) = told.unsaved.filter(|_| !warned) {
                warned = true;
                if conn.writer.send_within(&ControlReply::Unsaved { message }, TAKE_WITHIN).await.is_err() {
                    return;
                }
            }
            if conn.writer.send_within(&ControlReply::Progress(told.progress), TAKE_WITHIN).await.is_err() || verdict {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(TELL_FOR, tell).await;
}

fn not_here() -> ControlReply {
    ControlReply::Refused {
        code: "not_here".to_owned(),
        message: "this is deadman's own door: it takes kill and flatten only".to_owned(),
        risk: "nothing changed".to_owned(),
        next: "ask the supervisor (engine status); if it is gone, engine kill works here".to_owned(),
    }
}
