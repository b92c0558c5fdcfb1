//! Accepting connections: how many at once, how long a request head may take, how long a reader may stall.
//!
//! One request per connection (every answer carries `connection: close`), so the rules are simple: the head arrives
//! within its deadline and size or the connection ends, and a peer that stops reading is dropped.

use axum::Router;
use axum::serve::Listener;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// Connections served at once, event streams included; further ones are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// A request head must be complete within this.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// Longest request head in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// A peer that takes nothing for this long is gone.
const WRITE_STALL: Duration = Duration::from_secs(5);

/// Serves until the task is aborted.
pub(crate) async fn serve(listener: TcpListener, router: Router) {
    let door = Door { listener, slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
    if let Err(error) = axum::serve(door, router).await {
        tracing::error!(%error, "the http server failed");
    }
}

struct Door {
    listener: TcpListener,
    slots: Arc<Semaphore>,
}

impl Listener for Door {
    type Io = Guarded;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guarded, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Ok(slot) = self.slots.clone().try_acquire_owned() {
                        // Events are small and wanted now; failing to say so costs a little delay only.
                        let _ = stream.set_nodelay(true);
                        return (Guarded::new(stream, slot), peer);
                    }
                }
                // Out of descriptors, or the peer left: a short pause, never a spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What is still owed by the client before the request is known.
enum Head {
    /// Still arriving.
    Due { deadline: Pin<Box<Sleep>>, seen: usize, ending: u8 },
    /// Complete.
    Done,
}

/// One connection under the rules of this file.
struct Guarded {
    stream: TcpStream,
    head: Head,
    stall: Option<Pin<Box<Sleep>>>,
    _slot: OwnedSemaphorePermit,
}

impl Guarded {
    fn new(stream: TcpStream, slot: OwnedSemaphorePermit) -> Self {
        let deadline = Box::pin(tokio::time::sleep(HEAD_DEADLINE));
        Self { stream, head: Head::Due { deadline, seen: 0, ending: 0 }, stall: None, _slot: slot }
    }

    fn stalled(&mut self, cx: &mut Context<'_>) -> bool {
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL)));
        stall.as_mut().poll(cx).is_ready()
    }
}

/// Counts bytes of the blank line that ends a head; 4 is all of it.
fn ending_after(mut ending: u8, bytes: &[u8]) -> u8 {
    for byte in bytes {
        if ending == 4 {
            break;
        }
        ending = match (ending, byte) {
            (0 | 2, b'\r') => ending + 1,
            (1 | 3, b'\n') => ending + 1,
            (1 | 3, b'\r') => 1,
            _ => 0,
        };
    }
    ending
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if let Head::Due { deadline, .. } = &mut this.head
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if let Head::Due { seen, ending, .. } = &mut this.head {
            let fresh = buf.filled().get(before..).unwrap_or_default();
            *seen = seen.saturating_add(fresh.len());
            *ending = ending_after(*ending, fresh);
            if *ending == 4 {
                this.head = Head::Done;
            } else if *seen > HEAD_BYTES_MAX {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_write(cx, bytes) {
            Poll::Ready(done) => {
                this.stall = None;
                Poll::Ready(done)
            }
            Poll::Pending if this.stalled(cx) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::ending_after;

    #[test]
    fn the_blank_line_is_found_across_reads() {
        for (pieces, done) in [
            (vec!["GET / HTTP/1.1\r\n\r\n"], true),
            (vec!["GET / HTTP/1.1\r", "\n", "\r", "\n"], true),
            (vec!["a\r\n\r\r\n\r\n"], true),
            (vec!["a\r\nb\r\n"], false),
            (vec!["\n\n\n\n"], false),
            (vec!["\r\r\r\r"], false),
        ] {
            let ending = pieces.iter().fold(0, |e, p| ending_after(e, p.as_bytes()));
            assert_eq!(ending == 4, done, "{pieces:?}");
        }
    }
}
