//! `engine doctor`: examines this host and this home. Changes nothing, starts nothing, and prints no secret: of key files
//! only mode, owner and whether two are the same are told, and the user's home folder is written `~`, so that the answer
//! can be pasted.

use crate::cli::{BUILD_ID, MarketArgs};
use crate::error::Trouble;
use crate::link::{self, Seen};
use crate::out::{Out, Tone, plain};
use crate::{account, carry, config, home};
use holdfast_core::limits::HOME_PATH_BYTES_MAX;
use holdfast_ipc::bootstrap::Home;
use holdfast_supervisor::instance::{self, Instance};
use serde::Serialize;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

mod host;
mod record;
mod tree;

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
    let (seen, venue, records) = link::block(async {
        let seen = link::look(home).await;
        let venue = tree::venue(&seen).await;
        let records = record::checks(home, matches!(seen, Seen::Live(_))).await;
        (seen, venue, records)
    })?;
    let mut checks = host::checks();
    checks.extend([paths(home), sockets(home, &seen), disk(home), room(home), configuration(home)]);
    checks.extend(keys(home));
    checks.push(lock(home, &seen));
    checks.extend([latched(home), moved(home)]);
    checks.extend(records);
    checks.extend(tree::tree(&seen));
    checks.push(venue);
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
        let next = check.next.as_ref().map_or_else(String::new, |next| format!("\n                 next: {next}"));
        out.line(&format!("{} {:<11} {}{next}", out.paint(tone, word), check.check, check.detail));
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

fn paths(home: &Home) -> Check {
    let len = home.root().as_os_str().as_bytes().len();
    ok("paths", format!("home path {} is {len} bytes, {HOME_PATH_BYTES_MAX} fit", home.root().display()))
}

/// The doors of a running tree are there and for their owner alone.
fn sockets(home: &Home, seen: &Seen) -> Check {
    if !matches!(seen, Seen::Live(_)) {
        return ok("sockets", "none needed: no engine answers");
    }
    let mut found = 0_u32;
    let next = "engine restart makes them anew; then see who changes files in run/";
    for path in [home.control_sock(), home.status_sock(), home.worker_sock(), home.deadman_sock(), home.sensor_sock()] {
        match fs::symlink_metadata(&path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                return fail("sockets", format!("{} is not a socket", path.display()), next);
            }
            Ok(meta) if meta.mode() & 0o077 != 0 => {
                let detail = format!("{} has mode {:04o}", path.display(), meta.mode() & 0o7777);
                return fail("sockets", detail, format!("chmod 0600 {}", path.display()));
            }
            Ok(_) => found += 1,
            Err(e) => return fail("sockets", format!("{}: {e}", path.display()), next),
        }
    }
    ok("sockets", format!("{found} doors, for their owner alone"))
}

fn disk(home: &Home) -> Check {
    // The nearest folder that is there.
    let Some(there) = home.root().ancestors().find(|path| path.exists()) else {
        return fail("disk", "no folder of the home's path is there", "choose another with --home");
    };
    match home::free_mib(there) {
        Err(e) => fail("disk", e.to_string(), e.next()),
        Ok(mib) if mib < home::START_FREE_MIB => {
            let detail = format!(
                "{mib} MiB free; with less than {} nothing opens risk, closing goes on, and a first start is refused",
                home::START_FREE_MIB
            );
            fail("disk", detail, "free some space")
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
    let account = home.keys().join("account.key");
    let files = [("key engine", home.engine_key()), ("key deadman", home.deadman_key()), ("key account", account)];
    let mut checks: Vec<Check> = files.into_iter().map(one).collect();
    // A key that cannot be read has been said above.
    if let Err(e @ Trouble::SameKey { .. }) = account::distinct(home) {
        checks.push(fail("keys", e.to_string(), e.next()));
    }
    checks
}

fn lock(home: &Home, seen: &Seen) -> Check {
    match (instance::probe(home), seen) {
        (Instance::Unknown { .. }, Seen::Live(doc)) => warn(
            "instance",
            format!("supervisor runs, pid {} by its own word; run/supervisor.pid does not name it", doc.pid),
            "none: stop and kill work; it writes the file anew, or engine restart does",
        ),
        (instance, _) => lock_alone(home, instance),
    }
}

fn lock_alone(home: &Home, instance: Instance) -> Check {
    match instance {
        Instance::Running { pid } => ok("instance", format!("supervisor runs, pid {pid}")),
        Instance::NotRunning { .. } if !instance::survivors(home).is_empty() => {
            let left: Vec<String> =
                instance::survivors(home).iter().map(|(role, pid)| format!("{role} (pid {pid})")).collect();
            warn(
                "instance",
                format!("no supervisor, but {} still there", left.join(", ")),
                "wait ten seconds: deadman does its duty and ends; engine start ends what is left",
            )
        }
        Instance::NotRunning { stale_pidfile: false } => ok("instance", "no supervisor, no leftovers"),
        Instance::NotRunning { stale_pidfile: true } => {
            warn("instance", "a stale pidfile of a dead supervisor", "none: the next status or start clears it")
        }
        Instance::Unknown { why } => {
            fail("instance", why, "engine status; if nothing runs, remove run/supervisor.pid by hand")
        }
    }
}

fn moved(home: &Home) -> Check {
    match carry::admit(home) {
        Ok(None) => ok("moves", "not exported, and no import waits for its first start"),
        Ok(Some(_)) => warn("moves", "imported and not started yet; its checklist passes", "engine start"),
        Err(trouble) => fail("moves", trouble.to_string(), trouble.next()),
    }
}

fn latched(home: &Home) -> Check {
    if home.kill_file().exists() {
        warn(
            "kill file",
            "run/KILL is there: a supervisor of this home kills on sight of it",
            "engine status; then resume",
        )
    } else if home.pause_file().exists() {
        warn(
            "kill file",
            "run/PAUSE is there, left by a flatten: a supervisor of this home opens nothing on sight of it",
            "engine status; then resume",
        )
    } else {
        ok("kill file", "none")
    }
}
