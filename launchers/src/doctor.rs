//! `engine doctor`: examines this host and this home. Changes nothing, starts nothing, and prints no secret: key files are
//! looked at from outside, and the user's home folder is written `~`, so that the answer can be pasted.

use crate::cli::{BUILD_ID, MarketArgs};
use crate::error::Trouble;
use crate::link::{self, Seen};
use crate::out::{Out, Tone, plain};
use crate::{config, home};
use holdfast_core::limits::HOME_PATH_BYTES_MAX;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_supervisor::instance::{self, Instance};
use serde::Serialize;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Grade {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Warn,
    /// Must be mended.
    Fail,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    grade: Grade,
    detail: String,
    next: Option<String>,
}

/// The JSON form.
#[derive(Debug, Serialize)]
struct DoctorDoc<'a> {
    schema: &'static str,
    ok: bool,
    build: &'static str,
    checks: &'a [Check],
}

fn ok(check: &'static str, detail: impl Into<String>) -> Check {
    Check { check, grade: Grade::Ok, detail: detail.into(), next: None }
}

fn warn(check: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Check {
    Check { check, grade: Grade::Warn, detail: detail.into(), next: Some(next.into()) }
}

fn fail(check: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Check {
    Check { check, grade: Grade::Fail, detail: detail.into(), next: Some(next.into()) }
}

/// Runs the command; exit code 1 when something must be mended.
pub(crate) fn doctor(out: Out, home: &Home) -> Result<u8, Trouble> {
    let seen = link::block(link::look(home))?;
    let mut checks = vec![clock_check(), sleep_check(), user(), memfd(), pidfd(), sandbox(), paths(home)];
    checks.extend([disk(home), room(home), configuration(home)]);
    checks.extend(keys(home));
    checks.push(lock(home));
    checks.push(latched(home));
    checks.extend(tree(&seen));
    for check in &mut checks {
        check.detail = redact(&check.detail);
        check.next = check.next.as_deref().map(redact);
    }
    let failed = checks.iter().filter(|c| c.grade == Grade::Fail).count();
    out.doc(&DoctorDoc { schema: "holdfast.doctor.v1", ok: failed == 0, build: BUILD_ID, checks: &checks });
    out.line(&format!("engine {BUILD_ID} on {} {}", std::env::consts::OS, std::env::consts::ARCH));
    for check in &checks {
        let (tone, word) = match check.grade {
            Grade::Ok => (Tone::Good, "ok  "),
            Grade::Warn => (Tone::Careful, "warn"),
            Grade::Fail => (Tone::Bad, "FAIL"),
        };
        let next = check.next.as_ref().map_or_else(String::new, |next| format!("\n                next: {next}"));
        out.line(&format!("{} {:<10} {}{next}", out.paint(tone, word), check.check, check.detail));
    }
    // The document has said it all; a second one would not be one document.
    if failed > 0 && !out.json {
        return Err(Trouble::Unfit(failed));
    }
    Ok(u8::from(failed > 0))
}

fn redact(text: &str) -> String {
    let user = std::env::var("HOME").unwrap_or_default();
    let text = plain(text);
    if user.len() > 1 { text.replace(&user, "~") } else { text }
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
    ok("clock", format!("wall clock says {}", clock::rfc3339(wall)))
}

/// The boot clock counts sleep, the monotonic one does not: their difference is the time asleep.
#[cfg(target_os = "linux")]
fn sleep_check() -> Check {
    use nix::time::{ClockId, clock_gettime};
    let awake = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| u64::try_from(t.tv_sec()).unwrap_or(0));
    let asleep = (clock::now().0 / 1_000_000_000).saturating_sub(awake);
    if asleep < 2 {
        ok("suspend", "this host has not slept since boot")
    } else {
        warn(
            "suspend",
            format!("this host has slept {asleep} s since boot"),
            "while it sleeps nothing is managed: the venue's dead-man switch must be ACTIVE, or use a host that stays awake",
        )
    }
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

fn paths(home: &Home) -> Check {
    let len = home.root().as_os_str().as_bytes().len();
    ok("sockets", format!("home path {} is {len} bytes, {HOME_PATH_BYTES_MAX} fit", home.root().display()))
}

fn disk(home: &Home) -> Check {
    // The nearest folder that is there.
    let Some(there) = home.root().ancestors().find(|path| path.exists()) else {
        return fail("disk", "no folder of the home's path is there", "choose another with --home");
    };
    match home::free_mib(there) {
        Err(e) => fail("disk", e.to_string(), e.next()),
        Ok(mib) if mib < home::START_FREE_MIB => {
            fail("disk", format!("{mib} MiB free; a start needs {}", home::START_FREE_MIB), "free some space")
        }
        Ok(mib) if mib < 512 => {
            warn("disk", format!("{mib} MiB free"), "free some space: a week of logs may take more")
        }
        Ok(mib) => ok("disk", format!("{mib} MiB free")),
    }
}

fn room(home: &Home) -> Check {
    let next = |path: &std::path::Path| format!("chmod 0700 {}", path.display());
    let root = home.root();
    match home::exists(home) {
        Err(e) => return fail("home", e.to_string(), e.next()),
        Ok(false) => return ok("home", format!("{} does not exist yet; engine start makes it", root.display())),
        Ok(true) => {}
    }
    for (path, forbidden) in [(root.to_path_buf(), 0o022), (home.keys(), 0o077), (home.run(), 0o077)] {
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return fail("home", format!("{}: {e}", path.display()), next(&path)),
        };
        if let Err(e) = home::owned(&path, &meta) {
            return fail("home", e.to_string(), e.next());
        }
        if meta.mode() & forbidden != 0 {
            let detail = format!("{} has mode {:04o}", path.display(), meta.mode() & 0o7777);
            return fail("home", detail, next(&path));
        }
    }
    ok("home", format!("{} and its private folders are for their owner alone", root.display()))
}

fn configuration(home: &Home) -> Check {
    let checked = config::load(home, &MarketArgs::default()).and_then(|loaded| {
        config::runnable(&loaded.settings)?;
        Ok(loaded.from_file)
    });
    match checked {
        Ok(true) => ok("config", "config.toml is accepted"),
        Ok(false) => ok("config", "no config.toml: paper defaults"),
        Err(e) => fail("config", e.to_string(), e.next()),
    }
}

fn keys(home: &Home) -> Vec<Check> {
    let one = |(name, path): (&'static str, std::path::PathBuf)| match home::check_key(&path) {
        Err(e) => fail(name, e.to_string(), e.next()),
        Ok(()) if path.exists() => ok(name, "there, 0600, its owner's alone"),
        Ok(()) => ok(name, "not there yet; a paper start makes it"),
    };
    [("key engine", home.engine_key()), ("key deadman", home.deadman_key())].into_iter().map(one).collect()
}

fn lock(home: &Home) -> Check {
    match instance::probe(home) {
        Instance::Running { pid } => ok("instance", format!("supervisor runs, pid {pid}")),
        Instance::NotRunning { stale_pidfile: false } => ok("instance", "no supervisor, no leftovers"),
        Instance::NotRunning { stale_pidfile: true } => {
            warn("instance", "a stale pidfile of a dead supervisor", "none: the next status or start clears it")
        }
        Instance::Unknown { why } => {
            fail("instance", why, "engine status; if nothing runs, remove run/supervisor.pid by hand")
        }
    }
}

fn latched(home: &Home) -> Check {
    if home.kill_file().exists() {
        warn(
            "kill file",
            "run/KILL is there: a supervisor of this home kills on sight of it",
            "engine status; then resume",
        )
    } else {
        ok("kill file", "none")
    }
}

/// What a running tree says of itself and of the venue.
fn tree(seen: &Seen) -> Vec<Check> {
    let doc = match seen {
        Seen::Live(doc) => doc,
        Seen::NotRunning { .. } => return vec![ok("venue", "not examined: no engine runs")],
        Seen::Unknown { why, .. } => {
            return vec![fail("tree", why.clone(), "engine kill works without the supervisor; engine logs supervisor")];
        }
    };
    let mut checks: Vec<Check> = doc
        .workers
        .iter()
        .filter(|w| w.state != "ready")
        .map(|w| fail("worker", format!("{} is {}", w.role, w.state), format!("engine logs {}", w.role)))
        .collect();
    if checks.is_empty() {
        checks.push(ok("tree", format!("{} workers ready, mode {}", doc.workers.len(), doc.trading_mode)));
    }
    let read = doc.exposure.as_of.as_deref().unwrap_or("never");
    checks.push(if doc.exposure.known {
        ok("venue", format!("answers; account last read {read}"))
    } else {
        fail("venue", format!("no fresh account reading (last: {read})"), "engine logs sensor; engine logs deadman")
    });
    if !doc.journal.durable {
        checks.push(fail("journal", "the last append did not reach the disk", "engine logs engine; check the disk"));
    }
    checks
}
