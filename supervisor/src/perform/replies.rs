//! Answers to operators. A client that does not read its answers loses them; nobody waits for it.

use holdfast_core::command::ControlReply;
use holdfast_core::durable::Durable;
use holdfast_core::event::CommandId;
use holdfast_store::Keeper;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long an answer that promises durability waits for the disk.
const DISK_PATIENCE: Duration = Duration::from_secs(1);

/// What a restart might forget.
const UNSAVED: &str = "in force now, but NOT YET ON DISK: a restart could forget it; check the disk";
/// What the record lacks.
const UNRECORDED: &str = "in force and remembered, but NOT YET ON DISK in the runtime bus: see `engine status`";

/// What an answer that promises durability waits for.
pub(crate) struct Safe<'k> {
    /// The latches.
    pub(crate) latches: &'k Keeper<Durable>,
    /// The command's own record; absent if it was not taken.
    pub(crate) recorded: Option<oneshot::Receiver<bool>>,
}

/// Who waits for what.
#[derive(Default)]
pub(crate) struct Replies {
    last: u64,
    open: BTreeMap<CommandId, mpsc::Sender<ControlReply>>,
}

impl Replies {
    /// A new request.
    pub(crate) fn open(&mut self, replies: mpsc::Sender<ControlReply>) -> CommandId {
        self.open.retain(|_, client| !client.is_closed());
        self.last += 1;
        let id = CommandId(self.last);
        self.open.insert(id, replies);
        id
    }

    /// Sends one answer at once, or once the disk has what it promises.
    pub(crate) fn send(&mut self, id: CommandId, reply: ControlReply, last: bool, after: Option<Safe<'_>>) {
        let client = if last { self.open.remove(&id) } else { self.open.get(&id).cloned() };
        let Some(client) = client else { return };
        let Some(Safe { latches, recorded }) = after else {
            let _ = client.try_send(reply);
            return;
        };
        let (seq, mut written) = latches.asked();
        tokio::task::spawn_local(async move {
            let until = tokio::time::Instant::now() + DISK_PATIENCE;
            let waited = tokio::time::timeout_at(until, written.wait_for(|w| w.seq >= seq)).await;
            let kept = matches!(waited, Ok(Ok(written)) if written.ok);
            if !kept {
                let _ = client.try_send(ControlReply::Unsaved { message: UNSAVED.to_owned() });
            }
            let mut reply = reply;
            // A verdict has records of its own, of which nothing was promised.
            if let ControlReply::Done { message } = &mut reply
                && kept
                && !told(recorded, until).await
            {
                *message = format!("{message} ({UNRECORDED})");
            }
            let _ = client.try_send(reply);
        });
    }
}

async fn told(recorded: Option<oneshot::Receiver<bool>>, until: tokio::time::Instant) -> bool {
    let Some(recorded) = recorded else { return false };
    matches!(tokio::time::timeout_at(until, recorded).await, Ok(Ok(true)))
}
