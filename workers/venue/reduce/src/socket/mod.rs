//! The venue's WebSocket: market and account streams, reconnecting by itself.
//!
//! A connection that says nothing for 60 s is dead. After every reconnect an [`Event::Reconnected`] comes first: state
//! must be read over HTTP before anything counts as fresh. The channel out is bounded; what a slow reader missed is
//! announced by [`Event::Lagged`], never silently dropped.

mod driver;
mod message;

pub use driver::{Event, Events, Socket, SocketConfig, Timed};
pub use message::{Bbo, Mids, OrderUpdate, Stream, Trade, UserEvent, UserFills, WireMessage, parse_message};
