//! Who a process is: pid, start time and boot id together. A pid alone names nobody.

use holdfast_core::ids::Role;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A process that cannot be confused with a later one of the same pid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// Clock ticks after boot at which it started.
    pub(crate) started: u64,
    /// The kernel's id of this boot.
    pub(crate) boot: String,
}

impl Identity {
    /// This process.
    pub(crate) fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// The process that has this pid now, unless it is dead already.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold spaces and parentheses; the fields after the last one do not.
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
        let dead = matches!(*fields.first()?, "Z" | "X" | "x");
        let started = fields.get(19)?.parse().ok()?;
        (!dead).then(|| Self { pid, started, boot: boot_id() })
    }

    /// Whether exactly this process still lives.
    pub(crate) fn lives(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// As stored in pidfiles and role locks: one fact per line, the pid first.
    pub(crate) fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.pid, self.started, self.boot)
    }

    /// Reads what [`Identity::to_text`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let started = lines.next()?.trim().parse().ok()?;
        let boot = lines.next()?.trim().to_owned();
        (!boot.is_empty()).then_some(Self { pid, started, boot })
    }
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// A living or dead process, named by a descriptor: never another one that got its pid later.
pub(crate) struct Process {
    pub(crate) pid: u32,
    fd: OwnedFd,
}

impl Process {
    /// Opens a child that was not waited for yet.
    pub(crate) fn open(pid: u32) -> std::io::Result<Self> {
        let fd = open(pid).ok_or_else(|| std::io::Error::other("the kernel gives no process descriptor"))?;
        Ok(Self { pid, fd })
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) -> std::io::Result<()> {
        pidfd_send_signal(&self.fd, Signal::KILL).map_err(std::io::Error::from)
    }

    /// Whether it has ended.
    pub(crate) fn ended(&self) -> bool {
        gone_within(&self.fd, Duration::ZERO)
    }
}

/// Sends SIGKILL to exactly this process and waits until it is gone. `true` when it is.
pub(crate) fn end(process: &Identity, wait: Duration) -> bool {
    let Some(fd) = open(process.pid) else { return !process.lives() };
    // The descriptor names one process for good; only now is its identity checked.
    if !process.lives() {
        return true;
    }
    let _ = pidfd_send_signal(&fd, Signal::KILL);
    gone_within(&fd, wait) || !process.lives()
}

fn open(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn gone_within(fd: &OwnedFd, wait: Duration) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, timeout), Ok(n) if n > 0)
}

/// Words for a killed process that is not gone: why, and what to do about it.
pub(crate) fn stuck(role: Role, pid: u32) -> String {
    words_of(role, pid, state_of(pid))
}

fn words_of(role: Role, pid: u32, state: Option<char>) -> String {
    match state {
        Some('D') => format!(
            "pid {pid} of {role} cannot be ended by the kernel (state D): its disk or driver is stuck; mend or detach that \
             device, or reboot the host; until then nothing can take its place"
        ),
        Some(state) => format!(
            "pid {pid} of {role} was killed and is still there (state {state}): look at it with `ps -L -p {pid}`"
        ),
        None => format!("pid {pid} of {role} was killed and is only now gone: try again"),
    }
}

/// The kernel's letter for what this process does; `D` if any of its threads waits for a disk or a driver.
fn state_of(pid: u32) -> Option<char> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let letter = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).ok()?;
        stat.get(stat.rfind(')')? + 1..)?.trim_start().chars().next()
    };
    let letters: Vec<char> = threads.filter_map(letter).collect();
    letters.iter().find(|letter| **letter == 'D').or(letters.first()).copied()
}

/// Pids of processes that hold an open descriptor on this file. Slow; only for leftovers that left no identity.
pub(crate) fn holders(path: &std::path::Path) -> Vec<u32> {
    let Ok(path) = path.canonicalize() else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd"));
        fds.is_ok_and(|fds| fds.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == path)))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recycled_pid_is_another_process() {
        let own = Identity::own().expect("this process is alive");
        assert!(own.lives());
        let other = Identity { started: own.started + 1, ..own.clone() };
        assert!(!other.lives());
        assert!(end(&other, Duration::ZERO), "ending somebody who is gone ends nobody");
        assert_eq!(Identity::parse(&own.to_text()), Some(own));
    }

    #[test]
    fn a_process_that_cannot_be_ended_is_named_with_the_reason_and_the_remedy() {
        assert!(matches!(state_of(std::process::id()), Some('R' | 'S' | 'D')), "this process lives");
        assert_eq!(state_of(u32::MAX), None);
        let cases = [
            (
                Some('D'),
                "pid 7 of engine cannot be ended by the kernel (state D): its disk or driver is stuck; mend or",
            ),
            (Some('Z'), "pid 7 of engine was killed and is still there (state Z): look at it with `ps -L -p 7`"),
            (None, "pid 7 of engine was killed and is only now gone: try again"),
        ];
        for (state, words) in cases {
            assert!(words_of(Role::Engine, 7, state).starts_with(words), "{state:?}");
        }
    }

    #[test]
    fn garbage_is_nobody() {
        for text in ["", "12", "x\ny\nz", "12\n34\n", "12\n34\n\n", "-1\n2\nb"] {
            assert_eq!(Identity::parse(text), None, "{text:?}");
        }
    }
}
