//! Event streams: at most so many clients, each with a bounded queue; one that does not keep up is dropped.

use axum::response::sse::Event;
use holdfast_core::limits::PEER_QUEUE_MAX;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Streams served at once.
pub(crate) const CLIENTS_MAX: usize = 16;

/// The streams of the moment.
#[derive(Default)]
pub(crate) struct Hub {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    clients: Vec<mpsc::Sender<Event>>,
    dropped: u64,
    closed: bool,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new stream; `None` when there are as many as are allowed.
    pub(crate) fn join(&self) -> Option<mpsc::Receiver<Event>> {
        let mut inner = self.lock();
        inner.clients.retain(|client| !client.is_closed());
        if inner.closed || inner.clients.len() >= CLIENTS_MAX {
            return None;
        }
        let (tx, rx) = mpsc::channel(PEER_QUEUE_MAX);
        inner.clients.push(tx);
        Some(rx)
    }

    /// Whether anybody listens: nothing is encoded for nobody.
    pub(crate) fn has_clients(&self) -> bool {
        !self.lock().clients.is_empty()
    }

    /// Sends to all; never waits.
    pub(crate) fn publish(&self, event: &Event) {
        let mut inner = self.lock();
        let mut dropped = 0;
        inner.clients.retain(|client| match client.try_send(event.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                dropped += 1;
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        });
        inner.dropped += dropped;
    }

    /// Streams open and streams dropped for slowness since the start.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let inner = self.lock();
        (u64::try_from(inner.clients.len()).unwrap_or(u64::MAX), inner.dropped)
    }

    /// Ends every stream and takes no more.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.clients.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_does_not_keep_up_is_dropped_and_others_are_not() {
        let hub = Hub::default();
        let mut quick = hub.join().expect("room");
        let slow = hub.join().expect("room");
        for _ in 0..=PEER_QUEUE_MAX {
            hub.publish(&Event::default().event("status").data("{}"));
            assert!(quick.try_recv().is_ok());
        }
        assert_eq!(hub.counts(), (1, 1));
        drop(slow);
    }

    #[test]
    fn only_so_many_streams_and_none_after_closing() {
        let hub = Hub::default();
        let mut held: Vec<_> = (0..CLIENTS_MAX).filter_map(|_| hub.join()).collect();
        assert_eq!(held.len(), CLIENTS_MAX);
        assert!(hub.join().is_none());
        held.pop();
        assert!(hub.join().is_some());
        hub.close();
        assert!(hub.join().is_none());
    }
}
