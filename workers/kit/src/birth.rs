//! From the first instruction of `main` to the accepted hello.

use crate::ctx::Ctx;
use crate::logs;
use crate::orphan::{ORPHANED, outlives_supervisor};
use holdfast_core::ids::Role;
use holdfast_core::limits::HELLO_DEADLINE;
use holdfast_ipc::IpcError;
use holdfast_ipc::bootstrap::{Bootstrap, Home, PROTOCOL};
use holdfast_ipc::clock;
use holdfast_ipc::conn::Conn;
use holdfast_ipc::message::{FromWorker, Hello, ToWorker};
use std::future::Future;
use std::io::BufRead;
use std::io::Read;
use std::time::Duration;
use thiserror::Error;

/// Longest bootstrap line accepted.
const BOOTSTRAP_BYTES_MAX: u64 = 256 * 1024;

/// Why a worker did not come to life.
#[derive(Debug, Error)]
pub enum BirthError {
    /// Not started by a supervisor.
    #[error("no bootstrap on standard input: workers are started by the supervisor, not by hand")]
    NoBootstrap,
    /// The bootstrap does not parse.
    #[error("unreadable bootstrap: {0}")]
    BadBootstrap(String),
    /// Started as something else.
    #[error("started as {started} but told to be {told}")]
    WrongRole {
        /// On the command line.
        started: Role,
        /// In the bootstrap.
        told: Role,
    },
    /// The supervisor is of another build.
    #[error("this is build {own}, the supervisor is build {supervisor}")]
    MixedBuild {
        /// Ours.
        own: String,
        /// The supervisor's.
        supervisor: String,
    },
    /// The supervisor died in between.
    #[error("the supervisor is gone")]
    Orphan,
    /// The link failed.
    #[error("cannot reach the supervisor: {0}")]
    Link(#[from] IpcError),
    /// The kernel refused something basic.
    #[error("{what}: {source}")]
    Os {
        /// What was asked.
        what: &'static str,
        /// The kernel's reason.
        source: std::io::Error,
    },
}

/// How a worker ended by itself.
#[derive(Debug)]
pub enum Exit {
    /// Asked to, and finished.
    Drained,
    /// Cannot go on; the words go to the log and the exit code tells the supervisor.
    Failed(String),
}

/// Runs a worker: the whole body of `engine worker ROLE`. Returns the process exit code.
pub fn run<F, Fut>(build_id: &str, role: Role, work: F) -> i32
where
    F: FnOnce(Ctx) -> Fut,
    Fut: Future<Output = Exit>,
{
    let born = clock::now();
    install_panic_hook();
    match live(build_id, role, born, work) {
        Ok(Exit::Drained) => 0,
        Ok(Exit::Failed(why)) => {
            tracing::error!(why, "worker failed");
            say(role, &why);
            1
        }
        Err(error) => {
            tracing::error!(%error, "worker did not start");
            say(role, &error.to_string());
            match error {
                BirthError::NoBootstrap => 2,
                BirthError::MixedBuild { .. } => 76,
                BirthError::Orphan => ORPHANED,
                BirthError::BadBootstrap(_)
                | BirthError::WrongRole { .. }
                | BirthError::Link(_)
                | BirthError::Os { .. } => 1,
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "the supervisor keeps a worker's standard error as its last words")]
fn say(role: Role, words: &str) {
    eprintln!("{role}: {words}");
}

fn live<F, Fut>(build_id: &str, role: Role, born: holdfast_core::time::Tick, work: F) -> Result<Exit, BirthError>
where
    F: FnOnce(Ctx) -> Fut,
    Fut: Future<Output = Exit>,
{
    let boot = read_bootstrap()?;
    if boot.role != role {
        return Err(BirthError::WrongRole { started: role, told: boot.role });
    }
    if boot.build_id != build_id || boot.protocol != PROTOCOL {
        return Err(BirthError::MixedBuild { own: build_id.to_owned(), supervisor: boot.build_id });
    }
    settle(&boot)?;
    // A full disk takes no new file: whoever reduces works without a diary.
    let _guard = logs::start(&Home::new(boot.home.clone()).logs(), role.as_str());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| BirthError::Os { what: "cannot start the event loop", source })?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let deadline = Duration::from_nanos(HELLO_DEADLINE.0);
        let mut conn = Conn::<ToWorker, FromWorker>::connect(&boot.socket, deadline).await?;
        let hello = Hello {
            role,
            generation: boot.generation,
            epoch: boot.epoch,
            build_id: build_id.to_owned(),
            protocol: PROTOCOL,
            token: boot.token.clone(),
            born,
        };
        conn.writer.send_within(&FromWorker::Hello(hello), deadline).await?;
        let welcome = conn.reader.recv_within(deadline).await?;
        if !matches!(welcome, ToWorker::Welcome { epoch } if epoch == boot.epoch) {
            return Err(BirthError::BadBootstrap(format!("expected a welcome, got {welcome:?}")));
        }
        tracing::info!(epoch = boot.epoch.0, generation = boot.generation.0, "worker begins");
        let exit = work(Ctx::start(boot, conn)).await;
        tracing::info!(?exit, "worker ends");
        Ok(exit)
    })
}

fn read_bootstrap() -> Result<Bootstrap, BirthError> {
    use std::io::IsTerminal;
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(BirthError::NoBootstrap);
    }
    let mut line = String::new();
    let read = stdin
        .lock()
        .take(BOOTSTRAP_BYTES_MAX)
        .read_line(&mut line)
        .map_err(|e| BirthError::BadBootstrap(e.to_string()))?;
    if read == 0 {
        return Err(BirthError::NoBootstrap);
    }
    serde_json::from_str(&line).map_err(|e| BirthError::BadBootstrap(e.to_string()))
}

/// Own session (a terminal's Ctrl-C is the supervisor's business), no core files, a name, the parent-death signal.
fn settle(boot: &Bootstrap) -> Result<(), BirthError> {
    // Fails only for a session leader, which then already has what is wanted.
    let _ = nix::unistd::setsid();
    let core = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
    core.map_err(|e| BirthError::Os { what: "cannot forbid core files", source: e.into() })?;
    platform(boot)
}

#[cfg(target_os = "linux")]
fn platform(boot: &Bootstrap) -> Result<(), BirthError> {
    use nix::sys::prctl;
    // Fifteen bytes is what the kernel keeps.
    let name = std::ffi::CString::new(format!("hf-{}", boot.role)).unwrap_or_default();
    let _ = prctl::set_name(&name);
    // `set_dumpable` is not used: it would hide /proc/PID from the owner's own doctor and drills.
    let _ = prctl::set_no_new_privs();
    if !outlives_supervisor(boot.role) {
        prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
            .map_err(|e| BirthError::Os { what: "cannot arm the parent-death signal", source: e.into() })?;
        let parent = u32::try_from(nix::unistd::getppid().as_raw()).unwrap_or(0);
        if parent != boot.supervisor_pid {
            return Err(BirthError::Orphan);
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn platform(_boot: &Bootstrap) -> Result<(), BirthError> {
    Ok(())
}

fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        tracing::error!(panic = %info, "a bug ended this worker");
        say_panic(info);
        std::process::abort();
    }));
}

#[expect(clippy::print_stderr, reason = "the supervisor keeps a worker's standard error as its last words")]
fn say_panic(info: &std::panic::PanicHookInfo<'_>) {
    eprintln!("panic: {info}");
}
