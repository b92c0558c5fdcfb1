//! One connection: length-delimited JSON frames, a closed enum each way.
//!
//! `Conn<R, W>` reads only `R` and writes only `W`, so a frame of the wrong direction does not parse.

use crate::error::IpcError;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use holdfast_core::limits::FRAME_BYTES_MAX;
use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::StreamCommon;
use interprocess::local_socket::traits::tokio::Stream as _;
use interprocess::local_socket::{GenericFilePath, ToFsName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;
use tokio::io::{ReadHalf, WriteHalf};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

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
    frames: FramedRead<ReadHalf<Stream>, LengthDelimitedCodec>,
    kind: PhantomData<fn() -> R>,
}

/// The writing half of a connection.
pub struct Writer<W> {
    frames: FramedWrite<WriteHalf<Stream>, LengthDelimitedCodec>,
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
        let (read, write) = tokio::io::split(stream);
        Ok(Self {
            reader: Reader { frames: FramedRead::new(read, codec()), kind: PhantomData },
            writer: Writer { frames: FramedWrite::new(write, codec()), kind: PhantomData },
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

    /// Sends a message that was encoded once for several peers.
    ///
    /// # Errors
    /// As [`Writer::send`].
    pub async fn send_encoded(&mut self, body: Bytes) -> Result<(), IpcError> {
        if body.len() > FRAME_BYTES_MAX {
            return Err(IpcError::TooLarge(body.len()));
        }
        self.frames.send(body).await.map_err(IpcError::Broken)
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
