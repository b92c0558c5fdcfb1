//! What this host offers: clocks, kernel features, who keeps the program running.

use super::{Check, fail, ok, warn};
use holdfast_ipc::clock;
use std::fs;
use std::path::{Path, PathBuf};

/// Everything about the host.
pub(super) fn checks() -> Vec<Check> {
    vec![clock_check(), sleep_check(), user(), memfd(), pidfd(), sandbox(), service()]
}

fn clock_check() -> Check {
    // 2025-01-01: older than any build of this program.
    const OLDEST_MS: u64 = 1_735_689_600_000;
    if clock::now().0 == 0 {
        return fail("clock", "the boot clock cannot be read", "run on a kernel with CLOCK_BOOTTIME");
    }
    let wall = clock::wall_ms();
    if wall < OLDEST_MS {
        let detail = format!("wall clock says {}", clock::rfc3339(wall));
        return fail("clock", detail, "set the time; orders carry an expiry in venue time");
    }
    let kept = if Path::new("/run/systemd/timesync/synchronized").exists() {
        "kept by a time service"
    } else {
        "who keeps it cannot be told from here; see the venue's skew below"
    };
    ok("clock", format!("wall clock says {}; {kept}", clock::rfc3339(wall)))
}

/// The boot clock counts sleep, the monotonic one does not: their difference is the time asleep.
#[cfg(target_os = "linux")]
fn sleep_check() -> Check {
    use nix::time::{ClockId, clock_gettime};
    const NEXT: &str = "while it sleeps nothing is managed: the venue's dead-man switch must be ACTIVE, or use a host that stays awake";
    let awake = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| u64::try_from(t.tv_sec()).unwrap_or(0));
    let asleep = (clock::now().0 / 1_000_000_000).saturating_sub(awake);
    if asleep >= 2 {
        return warn("suspend", format!("this host has slept {asleep} s since boot"), NEXT);
    }
    if names(Path::new("/sys/class/power_supply")).iter().any(|name| name.starts_with("BAT")) {
        return warn("suspend", "has not slept since boot, but has a battery: a closed lid may put it to sleep", NEXT);
    }
    ok("suspend", "this host has not slept since boot")
}

#[cfg(not(target_os = "linux"))]
fn sleep_check() -> Check {
    warn("suspend", "not examined on this system", "use a host that stays awake")
}

fn user() -> Check {
    if nix::unistd::geteuid().is_root() {
        warn(
            "user",
            "running as root: the read-only permit record and file modes do not bind root",
            "run as a user of its own",
        )
    } else {
        ok("user", "not root")
    }
}

#[cfg(target_os = "linux")]
fn memfd() -> Check {
    match nix::sys::memfd::memfd_create(c"holdfast-doctor", nix::sys::memfd::MFdFlags::MFD_CLOEXEC) {
        Ok(_) => ok("memfd", "the permit record lives in sealed memory"),
        Err(e) => warn("memfd", format!("not available: {e}"), "none: a 0400 file in run/ takes its place"),
    }
}

#[cfg(not(target_os = "linux"))]
fn memfd() -> Check {
    warn("memfd", "not on this system", "none: a 0400 file in run/ takes its place")
}

#[cfg(target_os = "linux")]
fn pidfd() -> Check {
    match rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()) {
        Ok(_) => ok("pidfd", "processes are held by descriptor"),
        Err(e) => fail(
            "pidfd",
            format!("not available: {e}"),
            "use Linux 5.3 or later, and a container that allows pidfd_open",
        ),
    }
}

#[cfg(not(target_os = "linux"))]
fn pidfd() -> Check {
    warn("pidfd", "not on this system", "none: workers end at end of file on their link")
}

fn sandbox() -> Check {
    match fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(list) if list.split(',').any(|name| name.trim() == "landlock") => {
            ok("sandbox", "the kernel offers landlock; this version does not use it yet")
        }
        Ok(_) | Err(_) => warn("sandbox", "landlock is not offered here", "none needed in this version"),
    }
}

/// Unit files that name this program, wherever service managers look.
fn service() -> Check {
    let user = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let config = std::env::var_os("XDG_CONFIG_HOME").map_or_else(|| user.join(".config"), PathBuf::from);
    let folders = [
        config.join("systemd/user"),
        "/etc/systemd/system".into(),
        "/etc/systemd/user".into(),
        "/usr/lib/systemd/system".into(),
        user.join("Library/LaunchAgents"),
        "/Library/LaunchDaemons".into(),
    ];
    let found: Vec<String> = folders
        .iter()
        .flat_map(|folder| names(folder).into_iter().map(|name| folder.join(name)))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("holdfast")))
        .map(|path| path.display().to_string())
        .collect();
    if found.is_empty() {
        ok("service", "no unit: after a reboot nothing starts until `engine start`")
    } else {
        ok("service", format!("unit files: {}", found.join(", ")))
    }
}

/// Names in a folder; none when it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect()
}
