//! The control door: one request per connection, a stream of replies, closed.

use super::Input;
use holdfast_core::command::{ControlReply, ControlRequest};
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
    let refuse = |code: &str, message: String| ControlReply::Refused {
        code: code.to_owned(),
        message,
        risk: "unchanged: nothing was done".to_owned(),
        next: "use the `engine` command of this build".to_owned(),
    };
    let request = match conn.reader.recv_within(ASK_WITHIN).await {
        Ok(request) => request,
        Err(IpcError::Malformed(why)) => {
            let reply = refuse("unreadable_request", format!("the request does not read: {why}"));
            return conn.writer.send_within(&reply, ASK_WITHIN).await;
        }
        Err(error) => return Err(error),
    };
    drop(guest);
    let Ok(_place) = places.clone().try_acquire_owned() else {
        let reply = refuse("busy", "too many commands are being answered at once".to_owned());
        return conn.writer.send_within(&reply, ASK_WITHIN).await;
    };
    let (replies, mut queue) = mpsc::channel(PEER_QUEUE_MAX);
    inputs.send(Input::Asked { request, replies }).await.map_err(|_| IpcError::Closed)?;
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
