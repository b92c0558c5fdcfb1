//! A client that keeps no rules: raw bytes to our sockets.

use crate::wait::{attempt, s};
use serde::Serialize;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// What came back from a socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A whole frame.
    Frame(Value),
    /// The other end closed or reset the connection.
    Closed,
    /// Nothing within the time.
    Silence,
}

/// Length and body.
#[must_use]
pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len()).expect("a short body").to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// A message as a frame.
#[must_use]
pub fn message(message: &impl Serialize) -> Vec<u8> {
    frame(&serde_json::to_vec(message).expect("it serialises"))
}

/// Connects, trying for a while: a door may be busy throwing somebody else out.
#[must_use]
pub fn connect(path: &Path) -> UnixStream {
    let stream = attempt(s(10), || UnixStream::connect(path).ok());
    let stream = stream.unwrap_or_else(|| panic!("nobody listens at {}", path.display()));
    stream.set_read_timeout(Some(Duration::from_secs(8))).expect("a timeout");
    stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    stream
}

/// Writes; an error means the other end has had enough, which is fine.
pub fn say(stream: &mut UnixStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

/// The next frame.
pub fn hear(stream: &mut UnixStream) -> Heard {
    fn whole(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap_or(0).min(1 << 20)];
        stream.read_exact(&mut body)?;
        Ok(body)
    }
    match whole(stream) {
        Ok(body) => Heard::Frame(serde_json::from_slice(&body).expect("a frame of ours is JSON")),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => Heard::Silence,
        Err(_) => Heard::Closed,
    }
}

/// Says one thing and hears the answer.
#[must_use]
pub fn ask(path: &Path, bytes: &[u8]) -> Heard {
    let mut stream = connect(path);
    say(&mut stream, bytes);
    hear(&mut stream)
}
