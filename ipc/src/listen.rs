//! Listening sockets in a folder only the owner can enter: mode 0600 from the first instant, no takeover of a live one.

use crate::error::IpcError;
use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
#[cfg(target_os = "linux")]
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use std::path::Path;

/// A listening socket.
pub struct Door(Listener);

impl Door {
    /// Opens the socket. The caller holds the lock that makes it the only owner, so a leftover file is removed first.
    ///
    /// # Errors
    /// [`IpcError::Listen`] with the kernel's reason.
    pub fn open(path: &Path) -> Result<Self, IpcError> {
        let fail = |source| IpcError::Listen { path: path.display().to_string(), source };
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(fail(e)),
        }
        let name = path.to_fs_name::<GenericFilePath>().map_err(fail)?;
        let options = ListenerOptions::new().name(name);
        #[cfg(target_os = "linux")]
        let options = options.mode(0o600);
        options.create_tokio().map(Self).map_err(fail)
    }

    /// The next connection.
    ///
    /// # Errors
    /// The kernel's reason; the door stays open.
    pub async fn accept(&self) -> std::io::Result<Stream> {
        self.0.accept().await
    }
}
