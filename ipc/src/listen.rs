//! Listening sockets in a folder only the owner can enter: mode 0600 from the first instant, no takeover of a live one.

use crate::error::IpcError;
use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
#[cfg(target_os = "linux")]
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use tokio::task::AbortHandle;

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

/// Clients that have connected and said nothing understandable yet: a bounded number, of whom the oldest makes room.
///
/// Whoever speaks at once is therefore heard, however many others open connections and say nothing. Needs a `LocalSet`.
#[derive(Clone)]
pub struct Lobby {
    silent: Rc<RefCell<VecDeque<(u64, AbortHandle)>>>,
    last: Rc<Cell<u64>>,
    max: usize,
}

/// A place in the lobby, given up when dropped.
pub struct Guest {
    lobby: Lobby,
    id: u64,
}

impl Lobby {
    /// A lobby with so many places.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { silent: Rc::default(), last: Rc::default(), max }
    }

    /// Serves a client in a task of its own, which drops its [`Guest`] once it has heard who it is. The caller's loop
    /// gives way, so that a client that has spoken already is heard before the next one is taken.
    pub async fn serve<F: Future<Output = ()> + 'static>(&self, client: impl FnOnce(Guest) -> F) {
        let id = self.last.get().wrapping_add(1);
        self.last.set(id);
        let task = tokio::task::spawn_local(client(Guest { lobby: self.clone(), id }));
        let oldest = {
            let mut silent = self.silent.borrow_mut();
            silent.push_back((id, task.abort_handle()));
            if silent.len() > self.max { silent.pop_front() } else { None }
        };
        if let Some((_, oldest)) = oldest {
            oldest.abort();
        }
        tokio::task::yield_now().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.lobby.silent.borrow_mut().retain(|(id, _)| *id != self.id);
    }
}
