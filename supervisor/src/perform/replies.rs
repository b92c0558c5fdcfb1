//! Answers to operators. A client that does not read its answers loses them; nobody waits for it.

use holdfast_core::command::ControlReply;
use holdfast_core::durable::Durable;
use holdfast_core::event::CommandId;
use holdfast_store::Keeper;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long an answer that promises durability waits for the disk.
const DISK_PATIENCE: Duration = Duration::from_secs(1);

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

    /// Sends one answer at once, or once the disk has it.
    pub(crate) fn send(&mut self, id: CommandId, reply: ControlReply, last: bool, after: Option<&Keeper<Durable>>) {
        let client = if last { self.open.remove(&id) } else { self.open.get(&id).cloned() };
        let Some(client) = client else { return };
        let Some(keeper) = after else {
            let _ = client.try_send(reply);
            return;
        };
        let (seq, mut written) = keeper.asked();
        tokio::task::spawn_local(async move {
            let waited = tokio::time::timeout(DISK_PATIENCE, written.wait_for(|w| w.seq >= seq)).await;
            let safe = matches!(waited, Ok(Ok(written)) if written.ok);
            let reply = if safe { reply } else { not_on_disk(reply) };
            let _ = client.try_send(reply);
        });
    }
}

/// In force, but a restart might forget it: the person must know.
fn not_on_disk(reply: ControlReply) -> ControlReply {
    match reply {
        ControlReply::Done { message } => ControlReply::Done {
            message: format!(
                "{message} (in force now, but NOT YET ON DISK: a restart could forget it; check the disk)"
            ),
        },
        other @ (ControlReply::Status { .. }
        | ControlReply::Progress(_)
        | ControlReply::ResumeOffer { .. }
        | ControlReply::Refused { .. }) => other,
    }
}
