//! One connection: length-delimited JSON frames, a closed enum each way.
//!
//! `Conn<R, W>` reads only `R` and writes only `W`, so a frame of the wrong direction does not parse.
//!
//! The runtime is asked to tell when a socket can be read, and only a writer that must wait asks for more. A socket that is
//! watched for writing wakes its process each time the peer reads a frame, which for a tree that exchanges beats is as
//! many wakings again, for nothing.

use crate::error::IpcError;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use holdfast_core::limits::FRAME_BYTES_MAX;
use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::StreamCommon;
use interprocess::local_socket::traits::tokio::Stream as _;
use interprocess::local_socket::{GenericFilePath, ToFsName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{ErrorKind, Write};
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use tokio::net::unix::pipe;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

/// Who is at the other end, by the kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user id.
    pub uid: u32,
    /// Process id at connect time; absent where the kernel does not say (macOS).
    pub pid: Option<u32>,
}

/// A connection that reads `R` and writes `W`.
pub struct Conn<R, W> {
    /// The reading half.
    pub reader: Reader<R>,
    /// The writing half.
    pub writer: Writer<W>,
    peer: Peer,
}

/// The reading half of a connection.
pub struct Reader<R> {
    /// Named after pipes, but it is what watches any descriptor for reading and for nothing else.
    frames: FramedRead<pipe::Receiver, LengthDelimitedCodec>,
    kind: PhantomData<fn() -> R>,
}

/// The writing half of a connection.
pub struct Writer<W> {
    socket: UnixStream,
    /// What of a frame has not been taken yet; goes first.
    rest: BytesMut,
    kind: PhantomData<fn(W)>,
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec()
}

impl<R: DeserializeOwned, W: Serialize> Conn<R, W> {
    /// Wraps an accepted or opened socket and asks the kernel who is at the other end.
    ///
    /// # Errors
    /// [`IpcError::Stranger`] when the kernel does not say, or it is another user.
    pub fn over(stream: Stream) -> Result<Self, IpcError> {
        let creds = stream.peer_creds().map_err(|e| IpcError::Stranger(format!("no peer credentials: {e}")))?;
        let uid = creds.euid().ok_or_else(|| IpcError::Stranger("the kernel names no user".into()))?;
        let own = nix::unistd::geteuid().as_raw();
        if uid != own {
            return Err(IpcError::Stranger(format!("user {uid} is not user {own}")));
        }
        let pid = creds.pid().and_then(|pid| u32::try_from(pid).ok());
        let Stream::UdSocket(socket) = stream;
        let socket = UnixStream::from(OwnedFd::try_from(socket)?);
        let read = pipe::Receiver::from_owned_fd_unchecked(socket.try_clone()?.into())?;
        Ok(Self {
            reader: Reader { frames: FramedRead::new(read, codec()), kind: PhantomData },
            writer: Writer { socket, rest: BytesMut::new(), kind: PhantomData },
            peer: Peer { uid, pid },
        })
    }

    /// Connects to a socket in our home.
    ///
    /// # Errors
    /// [`IpcError::Unreachable`] when nobody listens, [`IpcError::Timeout`], [`IpcError::Stranger`].
    pub async fn connect(path: &Path, deadline: Duration) -> Result<Self, IpcError> {
        let shown = path.display().to_string();
        let name = path
            .to_fs_name::<GenericFilePath>()
            .map_err(|source| IpcError::Unreachable { path: shown.clone(), source })?;
        let stream = tokio::time::timeout(deadline, Stream::connect(name))
            .await
            .map_err(|_| IpcError::Timeout(millis(deadline)))?
            .map_err(|source| IpcError::Unreachable { path: shown, source })?;
        Self::over(stream)
    }

    /// The other end, by the kernel's word.
    #[must_use]
    pub const fn peer(&self) -> Peer {
        self.peer
    }
}

impl<R: DeserializeOwned> Reader<R> {
    /// The next message. Safe to cancel: a half-read frame is kept.
    ///
    /// # Errors
    /// [`IpcError::Closed`] at end of file, [`IpcError::Malformed`] for anything that is not an `R`.
    pub async fn recv(&mut self) -> Result<R, IpcError> {
        match self.frames.next().await {
            None => Err(IpcError::Closed),
            Some(Err(e)) if e.kind() == std::io::ErrorKind::InvalidData => Err(IpcError::Malformed(e.to_string())),
            Some(Err(e)) => Err(IpcError::Broken(e)),
            Some(Ok(frame)) => serde_json::from_slice(&frame).map_err(|e| IpcError::Malformed(e.to_string())),
        }
    }

    /// The next message, or an error when none comes in time.
    ///
    /// # Errors
    /// As [`Reader::recv`], and [`IpcError::Timeout`].
    pub async fn recv_within(&mut self, deadline: Duration) -> Result<R, IpcError> {
        tokio::time::timeout(deadline, self.recv()).await.map_err(|_| IpcError::Timeout(millis(deadline)))?
    }
}

impl<W: Serialize> Writer<W> {
    /// Sends one message. The caller bounds the wait.
    ///
    /// # Errors
    /// [`IpcError::TooLarge`] before anything is written, [`IpcError::Broken`] when the peer is gone.
    pub async fn send(&mut self, message: &W) -> Result<(), IpcError> {
        let body = serde_json::to_vec(message).map_err(|e| IpcError::Malformed(e.to_string()))?;
        self.send_encoded(Bytes::from(body)).await
    }

    /// Sends a message that was encoded once for several peers. What was begun and not taken goes before the
    /// next one; a peer that reads nothing cannot make it grow.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn send_encoded(&mut self, body: Bytes) -> Result<(), IpcError> {
        if body.len() > FRAME_BYTES_MAX {
            return Err(IpcError::TooLarge(body.len()));
        }
        if self.rest.len() > FRAME_BYTES_MAX {
            return Err(IpcError::Broken(ErrorKind::StorageFull.into()));
        }
        let length = u32::try_from(body.len()).map_err(|_| IpcError::TooLarge(body.len()))?;
        self.rest.reserve(size_of::<u32>().saturating_add(body.len()));
        self.rest.put_u32(length);
        self.rest.put_slice(&body);
        self.flush().await.map_err(IpcError::Broken)
    }

    /// Safe to cancel: what is left of a frame goes before the next one.
    async fn flush(&mut self) -> std::io::Result<()> {
        while !self.rest.is_empty() {
            match (&self.socket).write(&self.rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => self.rest.advance(taken),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    pipe::Sender::from_owned_fd_unchecked(self.socket.try_clone()?.into())?.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends one message within a deadline.
    ///
    /// # Errors
    /// As [`Writer::send`], and [`IpcError::Timeout`].
    pub async fn send_within(&mut self, message: &W, deadline: Duration) -> Result<(), IpcError> {
        tokio::time::timeout(deadline, self.send(message)).await.map_err(|_| IpcError::Timeout(millis(deadline)))?
    }
}

fn millis(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)
}
