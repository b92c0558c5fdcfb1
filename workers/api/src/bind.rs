//! Which port the API listens on, and what happens when it is taken. Always 127.0.0.1.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;

/// The port used when none is configured and it is free.
pub(crate) const USUAL_PORT: u16 = 8765;
/// Attempts on a port that must be had, before giving up.
const ATTEMPTS: u32 = 5;
/// Pause between them.
const PAUSE: Duration = Duration::from_millis(200);

/// Why the API cannot listen.
#[derive(Debug, Error)]
pub(crate) enum BindError {
    /// The configured port (or the one held before a restart) cannot be had.
    #[error(
        "port {port} on 127.0.0.1 cannot be used ({source}); stop what holds it, or set another `api.port` and restart"
    )]
    Port {
        /// The port.
        port: u16,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Not even a free one.
    #[error("no port on 127.0.0.1 can be used: {0}")]
    Any(io::Error),
}

/// A listening socket and its port.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The socket.
    pub(crate) listener: TcpListener,
    /// The port it got.
    pub(crate) port: u16,
}

/// Listens on the port held before a restart, else the configured one, else the usual one, else any.
///
/// # Errors
/// [`BindError`]; a port that was asked for is never silently replaced by another.
pub(crate) async fn bind(held: Option<u16>, configured: Option<u16>) -> Result<Bound, BindError> {
    if let Some(port) = held.or(configured) {
        let mut attempt = 1;
        return loop {
            match listen(port).await {
                Ok(bound) => break Ok(bound),
                // The process that held it before may be dying just now.
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                Err(source) => break Err(BindError::Port { port, source }),
            }
            tokio::time::sleep(PAUSE).await;
        };
    }
    match listen(USUAL_PORT).await {
        Ok(bound) => Ok(bound),
        Err(_) => listen(0).await.map_err(BindError::Any),
    }
}

async fn listen(port: u16) -> io::Result<Bound> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let port = listener.local_addr()?.port();
    Ok(Bound { listener, port })
}
