//! Where events come from: signals, children, workers' connections, operators, people who only look.

pub(crate) mod children;
pub(crate) mod files;
pub(crate) mod operators;
pub(crate) mod peers;
pub(crate) mod signals;
pub(crate) mod viewers;

use crate::source::peers::PeerId;
use bytes::Bytes;
use holdfast_core::command::{Class, ControlReply, ControlRequest};
use holdfast_core::ids::Role;
use holdfast_core::time::Tick;
use holdfast_ipc::message::{FromWorker, ToWorker};
use tokio::sync::mpsc;

/// Events waiting for the driver. A source that finds it full waits; the driver never does.
pub(crate) const QUEUE: usize = 1024;

/// What a source tells the driver.
pub(crate) enum Input {
    /// A worker authenticated.
    Greeted { role: Role, peer: PeerId, born: Tick, writer: mpsc::Sender<Bytes> },
    /// A worker said something.
    Said { role: Role, peer: PeerId, message: Box<FromWorker> },
    /// A worker's connection broke, or it broke the protocol.
    Lost { role: Role, peer: PeerId, detail: String },
    /// A worker's process is gone.
    Gone { role: Role, pid: u32, note: String, seen: Tick },
    /// An operator asks.
    Asked { request: ControlRequest, uid: u32, replies: mpsc::Sender<ControlReply> },
    /// An operator asked and was refused at the door.
    Refused { command: &'static str, class: Class, uid: u32, code: &'static str },
    /// `run/KILL` is there.
    Ordered(ControlRequest),
    /// A signal.
    Signal(signals::Meaning),
}

/// Encodes a message for a worker once.
pub(crate) fn encode(message: &ToWorker) -> Option<Bytes> {
    serde_json::to_vec(message).ok().map(Bytes::from)
}
