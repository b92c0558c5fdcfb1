//! The limits that need no tree: what this machine takes for the same kernel work without any of our program around it.

use holdfast_ipc::clock;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

/// The process descriptor of a process that exists.
pub(crate) fn pidfd(pid: u32) -> OwnedFd {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    pidfd_open(pid, PidfdFlags::empty()).expect("a process descriptor")
}

/// Waits for the end of a process and says when it was seen.
pub(crate) fn ended(pidfd: &OwnedFd) -> u64 {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    while !matches!(poll(&mut fds, PollTimeout::from(5_000_u16)), Ok(1..)) {}
    clock::now().0
}

/// SIGKILL to a process of this very binary, its end seen by pidfd, another spawned, its first reading of the clock: the
/// least a supervisor could take. Nanoseconds.
pub(crate) fn respawn(engine: &Path) -> u64 {
    let mut victim = Command::new(engine);
    victim.args(["probe", "wire"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut victim = victim.spawn().expect("engine runs");
    let watched = pidfd(victim.id());
    // A death comes out of the blue, here as in the tree: cores and caches that just woke are part of both.
    holdfast_tests::pause(400);
    let killed = clock::now().0;
    victim.kill().expect("ours to kill");
    ended(&watched);
    let born = born(engine);
    let _ = victim.wait();
    born - killed
}

/// Spawns the binary and gives its first reading of the boot clock.
pub(crate) fn born(engine: &Path) -> u64 {
    let mut child = Command::new(engine);
    child.args(["probe", "born"]).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = child.spawn().expect("engine runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("an answer");
    let _ = child.wait();
    line.trim().parse().expect("an instant")
}

/// A bare connect and read of a status door. Nanoseconds.
pub(crate) fn status_door(door: &Path) -> u64 {
    let began = clock::now().0;
    let mut text = Vec::new();
    UnixStream::connect(door).expect("a status door").read_to_end(&mut text).expect("a document");
    assert!(text.len() > 100, "a document is longer than {} bytes", text.len());
    clock::now().0 - began
}

/// Appends so many bytes to a file beside `folder`'s files and waits for the disk. Nanoseconds each.
pub(crate) fn appends(folder: &Path, bytes: usize, count: usize) -> Vec<u64> {
    let path = folder.join("perf.append");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("a file");
    let block = vec![b'x'; bytes];
    let taken = (0..count)
        .map(|_| {
            let began = clock::now().0;
            file.write_all(&block).and_then(|()| file.sync_data()).expect("a disk");
            clock::now().0 - began
        })
        .collect();
    let _ = std::fs::remove_file(path);
    taken
}
