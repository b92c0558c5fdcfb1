//! The control door: one request per connection, a stream of replies, closed.
//!
//! Nobody keeps a reducing request out: who says nothing makes room for who does, and with every place taken by clients
//! that wait for a verdict a reducing request is taken all the same, only its verdict is not told.

use super::Input;
use holdfast_core::command::{Class, ControlReply, ControlRequest};
use holdfast_core::limits::{CONTROL_CLIENTS_MAX, PEER_QUEUE_MAX};
use holdfast_ipc::IpcError;
use holdfast_ipc::conn::Conn;
use holdfast_ipc::listen::{Door, Guest, Lobby};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// A client that has connected must ask within this time.
const ASK_WITHIN: Duration = Duration::from_secs(1);

/// Serves the control socket until the process ends.
pub(crate) fn listen(door: Door, inputs: mpsc::Sender<Input>) {
    // Clients that wait for a verdict do not use up the places of those who have something to order, and clients that
    // say nothing use up none at all.
    let places = Arc::new(Semaphore::new(CONTROL_CLIENTS_MAX * 4));
    let lobby = Lobby::new(CONTROL_CLIENTS_MAX * 4);
    tokio::task::spawn_local(async move {
        loop {
            let Ok(stream) = door.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (inputs, places) = (inputs.clone(), places.clone());
            let client = move |guest| async move {
                if let Err(error) = serve(stream, guest, &places, inputs).await {
                    tracing::debug!(%error, "control connection ended");
                }
            };
            lobby.serve(client).await;
        }
    });
}

async fn serve(
    stream: interprocess::local_socket::tokio::Stream,
    guest: Guest,
    places: &Arc<Semaphore>,
    inputs: mpsc::Sender<Input>,
) -> Result<(), IpcError> {
    let mut conn = Conn::<ControlRequest, ControlReply>::over(stream)?;
    let uid = conn.peer().uid;
    // Written down if there is room: who floods the door only drops what it says of itself.
    let noted = |command, class, code| drop(inputs.try_send(Input::Refused { command, class, uid, code }));
    let refuse = |code: &str, message: String| ControlReply::Refused {
        code: code.to_owned(),
        message,
        risk: "unchanged: nothing was done".to_owned(),
        next: "use the `engine` command of this build".to_owned(),
    };
    let request = match conn.reader.recv_within(ASK_WITHIN).await {
        Ok(request) => request,
        Err(IpcError::Malformed(why)) => {
            noted("unreadable", Class::Read, "unreadable_request");
            let reply = refuse("unreadable_request", format!("the request does not read: {why}"));
            return conn.writer.send_within(&reply, ASK_WITHIN).await;
        }
        Err(error) => return Err(error),
    };
    let (replies, mut queue) = mpsc::channel(PEER_QUEUE_MAX);
    let Ok(_place) = places.clone().try_acquire_owned() else {
        // Answered from the lobby, which is bounded too.
        let reply = match request.class() {
            Class::Read | Class::Increase => {
                if !matches!(request, ControlRequest::Status {}) {
                    noted(request.word(), request.class(), "busy");
                }
                refuse("busy", "too many commands are being answered at once".to_owned())
            }
            Class::Reduce => {
                inputs.send(Input::Asked { request, uid, replies }).await.map_err(|_| IpcError::Closed)?;
                let message = "accepted; too many are waiting already: watch `engine status`".to_owned();
                ControlReply::Done { message }
            }
        };
        return conn.writer.send_within(&reply, ASK_WITHIN).await;
    };
    drop(guest);
    inputs.send(Input::Asked { request, uid, replies }).await.map_err(|_| IpcError::Closed)?;
    loop {
        tokio::select! {
            reply = queue.recv() => match reply {
                Some(reply) => conn.writer.send_within(&reply, ASK_WITHIN).await?,
                None => return Ok(()),
            },
            // A client that goes away frees its place; anything more it says is refused.
            _ = conn.reader.recv() => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::report::{JobProgress, JobState};

    const WAIT: Duration = Duration::from_secs(10);

    type Client = Conn<ControlReply, ControlRequest>;

    #[tokio::test]
    async fn neither_silent_clients_nor_waiting_ones_keep_a_reducing_request_out() {
        let all = async {
            let dir = tempfile::tempdir().expect("a folder");
            let path = dir.path().join("s");
            let (inputs, mut queue) = mpsc::channel(1024);
            listen(Door::open(&path).expect("a door"), inputs);
            let client = || async { Client::connect(&path, WAIT).await.expect("a connection") };
            let mut silent = Vec::new();
            for _ in 0..CONTROL_CLIENTS_MAX * 8 {
                silent.push(client().await);
            }
            let (mut waiting, mut held) = (Vec::new(), Vec::new());
            for _ in 0..CONTROL_CLIENTS_MAX * 4 {
                let mut asks = client().await;
                asks.writer.send(&ControlRequest::Flatten {}).await.expect("sent");
                waiting.push(asks);
                match tokio::time::timeout(WAIT, queue.recv()).await.expect("in time") {
                    Some(Input::Asked { request: ControlRequest::Flatten {}, replies, .. }) => held.push(replies),
                    _ => panic!("not the request"),
                }
            }
            let mut looks = client().await;
            looks.writer.send(&ControlRequest::Status {}).await.expect("sent");
            let reply = looks.reader.recv_within(WAIT).await.expect("an answer");
            assert!(matches!(&reply, ControlReply::Refused { code, .. } if code == "busy"), "{reply:?}");
            let mut kills = client().await;
            let kill = ControlRequest::Kill { flatten: true, reason: None };
            kills.writer.send(&kill).await.expect("sent");
            let taken = tokio::time::timeout(WAIT, queue.recv()).await.expect("in time");
            assert!(matches!(taken, Some(Input::Asked { request, .. }) if request == kill), "the kill got through");
            let reply = kills.reader.recv_within(WAIT).await.expect("an answer");
            assert!(matches!(reply, ControlReply::Done { .. }), "{reply:?}");
            // Who waited is still told.
            let verdict = JobProgress {
                job: holdfast_core::ids::JobId(1),
                state: JobState::Flat,
                round: 1,
                residue: Vec::new(),
                proof_venue_ms: Some(1),
                detail: String::new(),
            };
            let first = held.first().expect("somebody waits");
            first.try_send(ControlReply::Progress(verdict)).expect("room");
            let reply = waiting.first_mut().expect("somebody waits").reader.recv_within(WAIT).await;
            assert!(matches!(reply, Ok(ControlReply::Progress(_))), "{reply:?}");
        };
        tokio::task::LocalSet::new().run_until(all).await;
    }
}
