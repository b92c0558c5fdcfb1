//! Becoming a supervisor of its own session, with nothing inherited but three standard streams, and a log of its own.

use crate::cli::{BUILD_ID, MarketArgs, VERSION};
use crate::error::{CONFIG, FAILED, Trouble};
use crate::out::Out;
use crate::{account, carry, config, home};
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::settings::Settings;
use holdfast_supervisor::Launch;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Where a detached supervisor's own standard error goes; begun anew at each start.
fn stderr_path(home: &Home) -> PathBuf {
    home.logs().join("supervisor.stderr")
}

/// Starts this very binary as the supervisor of the home.
pub(crate) fn spawn(out: Out, home: &Home, flags: &MarketArgs) -> Result<Child, Trouble> {
    let path = stderr_path(home);
    let fail = |what| move |source| Trouble::Os { what, source };
    let stderr = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(|source| Trouble::Home { what: "write", path, source })?;
    let stdout = stderr.try_clone().map_err(fail("share the supervisor's log"))?;
    // The running image, even while the file on disk is being replaced.
    let exe = if cfg!(target_os = "linux") {
        PathBuf::from("/proc/self/exe")
    } else {
        std::env::current_exe().map_err(fail("find this program"))?
    };
    let mut command = Command::new(exe);
    command.arg0("engine").arg("--home").arg(home.root()).arg("supervise");
    if let Some(market) = &flags.market {
        command.arg("--market").arg(std::path::absolute(market).map_err(fail("find the market"))?);
    }
    if let Some(speed) = flags.speed {
        command.arg("--speed").arg(speed.to_string());
    }
    if let Some(seed) = flags.seed {
        command.arg("--seed").arg(seed.to_string());
    }
    if let Some(coin) = &flags.coin {
        command.arg("--coin").arg(coin);
    }
    if out.verbose && std::env::var_os("ENGINE_LOG").is_none() {
        command.env("ENGINE_LOG", "debug");
    }
    // The home given here is the home meant; an inherited one must not say otherwise.
    command.env_remove("ENGINE_HOME").current_dir(home.root());
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    command.spawn().map_err(fail("start the supervisor"))
}

/// `engine supervise`: the body of the detached process.
pub(crate) fn supervise(home: &Home, flags: &MarketArgs) -> Result<u8, Trouble> {
    close_inherited();
    // A closed terminal is none of its business. Fails only for one that has its own session already.
    let _ = nix::unistd::setsid();
    home::private_umask();
    name();
    let loaded = config::load(home, flags)?;
    config::runnable(&loaded.settings)?;
    home::prepare(home)?;
    carry::admit(home)?;
    let account = account::prepare(home, &loaded.settings)?;
    Ok(live(home, loaded.settings, account))
}

/// The whole life of a supervisor in this process; gives its exit code.
pub(crate) fn live(home: &Home, settings: Settings, account: String) -> u8 {
    // A judge without a diary is still a judge: a full disk must not keep it from running. Dropping the guard flushes.
    let _log = holdfast_kit::logs::start(&home.logs(), "supervisor");
    let code = holdfast_supervisor::run(Launch {
        home: home.clone(),
        settings,
        build_id: BUILD_ID.to_owned(),
        version: VERSION.to_owned(),
        account: Some(account),
    });
    u8::try_from(code).unwrap_or(FAILED)
}

/// The last lines a detached supervisor wrote to its standard error.
pub(crate) fn last_words(home: &Home) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(stderr_path(home))?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(end.saturating_sub(4096)))?;
        let mut bytes = Vec::new();
        file.take(4096).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join(" / ");
    if last.is_empty() { "it wrote nothing".to_owned() } else { crate::out::plain(&last) }
}

/// Whether an exit code means the configuration was refused.
pub(crate) fn refused(code: Option<i32>) -> bool {
    code == Some(i32::from(CONFIG))
}

/// Closes what a careless parent left open above the standard streams. Called before this process opens anything.
fn close_inherited() {
    let listing = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let Ok(entries) = std::fs::read_dir(listing) else { return };
    let open: Vec<i32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect();
    for fd in open {
        // The listing's own descriptor is among them and closed already.
        let _ = nix::unistd::close(fd);
    }
}

#[cfg(target_os = "linux")]
fn name() {
    let _ = nix::sys::prctl::set_name(c"hf-supervisor");
}

#[cfg(not(target_os = "linux"))]
fn name() {}
