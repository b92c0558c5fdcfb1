//! The operator's door `run/control.sock`: one request, a stream of replies, closed. The words are the core's.

pub use holdfast_core::command::{Class, ControlReply, ControlRequest};
