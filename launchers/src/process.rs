//! One process held by a descriptor, so that a recycled pid is never waited for or killed.

use crate::link::{self, Seen};
use holdfast_ipc::bootstrap::Home;
use holdfast_supervisor::instance::{self, Instance};
use std::time::Duration;

/// A supervisor that is known to be the home's.
pub(crate) struct Watched {
    /// Its pid.
    pub(crate) pid: u32,
    #[cfg(target_os = "linux")]
    fd: std::os::fd::OwnedFd,
    #[cfg(not(target_os = "linux"))]
    home: Home,
}

#[cfg(target_os = "linux")]
impl Watched {
    /// Takes hold of the supervisor with this pid. The descriptor comes first and the check by lock and start time
    /// second: what passes the check afterwards is what the descriptor names.
    pub(crate) fn hold(home: &Home, pid: u32) -> Option<Self> {
        let raw = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
        let fd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()).ok()?;
        matches!(instance::probe(home), Instance::Running { pid: now } if now == pid).then_some(Self { pid, fd })
    }

    /// Takes hold of the supervisor that answers at the door, when no pidfile names it. It is asked twice: one that says
    /// the same after the descriptor was opened is what the descriptor names.
    pub(crate) async fn hold_answering(home: &Home) -> Option<Self> {
        let pid = answering(home).await?;
        let raw = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
        let fd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()).ok()?;
        (answering(home).await? == pid).then_some(Self { pid, fd })
    }

    /// Waits for its end; `false` when it is still there after this long.
    pub(crate) fn wait(&self, within: Duration) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let deadline = holdfast_ipc::clock::now().after(holdfast_core::time::Span::from_ms(millis(within)));
        loop {
            let left = holdfast_ipc::clock::now().until(deadline).as_ms();
            let timeout = PollTimeout::try_from(i32::try_from(left).unwrap_or(i32::MAX)).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) if left == 0 => return false,
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Ends it at once; `false` when the kernel refuses.
    pub(crate) fn kill(&self) -> bool {
        rustix::process::pidfd_send_signal(&self.fd, rustix::process::Signal::KILL).is_ok()
    }
}

#[cfg(not(target_os = "linux"))]
impl Watched {
    /// Takes note of the supervisor with this pid.
    pub(crate) fn hold(home: &Home, pid: u32) -> Option<Self> {
        matches!(instance::probe(home), Instance::Running { pid: now } if now == pid)
            .then(|| Self { pid, home: home.clone() })
    }

    /// Takes note of the supervisor that answers at the door, when no pidfile names it. It can be waited for; without a
    /// pidfile it is not killed by number.
    pub(crate) async fn hold_answering(home: &Home) -> Option<Self> {
        Some(Self { pid: answering(home).await?, home: home.clone() })
    }

    /// Waits for its end; `false` when it is still there after this long.
    pub(crate) fn wait(&self, within: Duration) -> bool {
        let polls = millis(within) / 50 + 1;
        link::block(async {
            for _ in 0..polls {
                if self.gone() {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.gone()
        })
        .unwrap_or(false)
    }

    /// Ends it at once; `false` when the kernel refuses.
    pub(crate) fn kill(&self) -> bool {
        let Ok(pid) = i32::try_from(self.pid) else { return false };
        self.there()
            && nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).is_ok()
    }

    /// Doubt is not an end.
    fn gone(&self) -> bool {
        match instance::probe(&self.home) {
            Instance::Running { pid } => pid != self.pid,
            Instance::NotRunning { .. } => true,
            Instance::Unknown { .. } => false,
        }
    }

    fn there(&self) -> bool {
        matches!(instance::probe(&self.home), Instance::Running { pid } if pid == self.pid)
    }
}

/// The pid of the supervisor that answers now, in its own words. Its door is in a folder of the owner's alone.
async fn answering(home: &Home) -> Option<u32> {
    match link::look(home).await {
        Seen::Live(doc) => Some(doc.pid),
        Seen::NotRunning { .. } | Seen::Unknown { .. } => None,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
