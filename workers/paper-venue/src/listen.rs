//! The door: loopback only, a bounded number of connections, a deadline on every read, HTTP and sockets on one port.
//!
//! The first bytes decide: `GET /ws` is handed to the socket side, all else to the HTTP side. Nothing is consumed in
//! looking. A connection can be cut from inside a handler, which is how an answer gets lost on purpose.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep};

/// Connections at a time.
const MAX_CONNECTIONS: usize = 128;
/// Longest wait for the first bytes.
const FIRST_BYTES: Duration = Duration::from_secs(10);
/// Longest silence on an HTTP connection.
const IDLE: Duration = Duration::from_secs(120);

/// A handle on a connection, given to every handler.
#[derive(Clone, Debug)]
pub(crate) struct Line(Arc<AtomicBool>);

impl Line {
    /// Cuts the connection: nothing more is written to it.
    pub(crate) fn cut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Connected<IncomingStream<'_, HttpSide>> for Line {
    fn connect_info(stream: IncomingStream<'_, HttpSide>) -> Self {
        stream.remote_addr().clone()
    }
}

/// An HTTP connection with an idle deadline and a cut.
#[derive(Debug)]
pub(crate) struct HttpIo {
    stream: TcpStream,
    cut: Arc<AtomicBool>,
    idle: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::BrokenPipe)
}

impl AsyncRead for HttpIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() {
            self.idle.as_mut().reset(Instant::now() + IDLE);
            return polled;
        }
        if self.idle.as_mut().poll(cx).is_ready() { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { polled }
    }
}

impl AsyncWrite for HttpIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.cut.load(Ordering::Relaxed) {
            return Poll::Ready(Err(gone()));
        }
        self.idle.as_mut().reset(Instant::now() + IDLE);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where the HTTP server takes its connections from.
#[derive(Debug)]
pub(crate) struct HttpSide(mpsc::Receiver<(HttpIo, Line)>);

impl Listener for HttpSide {
    type Io = HttpIo;
    type Addr = Line;

    async fn accept(&mut self) -> (HttpIo, Line) {
        match self.0.recv().await {
            Some(pair) => pair,
            // The door is closed; the server ends by its shutdown signal.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Line> {
        Ok(Line(Arc::new(AtomicBool::new(false))))
    }
}

/// A socket connection and its place among the bounded number.
pub(crate) type SocketConn = (TcpStream, OwnedSemaphorePermit);

/// The two sides the door leads to.
pub(crate) fn sides() -> (Doors, HttpSide, mpsc::Receiver<SocketConn>) {
    let (http, http_rx) = mpsc::channel(MAX_CONNECTIONS);
    let (ws, ws_rx) = mpsc::channel(MAX_CONNECTIONS);
    (Doors { http, ws, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }, HttpSide(http_rx), ws_rx)
}

/// The senders of both sides.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    http: mpsc::Sender<(HttpIo, Line)>,
    ws: mpsc::Sender<SocketConn>,
    places: Arc<Semaphore>,
}

/// Takes connections in for as long as it is polled.
pub(crate) async fn accept(listener: TcpListener, doors: Doors) {
    loop {
        // Without a free place the next caller waits in the kernel's queue.
        let Ok(permit) = Arc::clone(&doors.places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(sort(stream, permit, doors.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn sort(stream: TcpStream, permit: OwnedSemaphorePermit, doors: Doors) {
    let _ = stream.set_nodelay(true);
    let mut first = [0_u8; 7];
    let looked = tokio::time::timeout(FIRST_BYTES, async {
        loop {
            let n = stream.peek(&mut first).await?;
            if n == 0 || n == first.len() || first.get(..n) != b"GET /ws".get(..n) {
                return Ok::<usize, io::Error>(n);
            }
            // Fewer than seven bytes that may still become the request line: let the rest arrive.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    if !matches!(looked, Ok(Ok(1..))) {
        return;
    }
    let sent = if &first == b"GET /ws" {
        doors.ws.send((stream, permit)).await.is_ok()
    } else {
        let cut = Arc::new(AtomicBool::new(false));
        let idle = Box::pin(tokio::time::sleep(IDLE));
        let io = HttpIo { stream, cut: Arc::clone(&cut), idle, _permit: permit };
        doors.http.send((io, Line(cut))).await.is_ok()
    };
    if !sent {
        tracing::debug!("a connection came after closing time");
    }
}
