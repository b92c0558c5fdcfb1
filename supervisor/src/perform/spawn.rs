//! Making a worker: from the very file this process runs, with exactly what its role needs and nothing in its
//! environment or on its command line.
//!
//! The process itself must be made on the loop's own thread: the parent-death signal belongs to the thread that spawns.
//! Its files are opened aside, so that a disk that hangs costs the loop a bounded moment and the worker this start.

use crate::error::SupervisorError;
use crate::leftovers::RoleLock;
use crate::os::handover::Inherited;
use crate::os::process::Process;
use crate::perform::aside::Aside;
use crate::source::peers::Expected;
use holdfast_core::ids::Role;
use holdfast_ipc::bootstrap::{Bootstrap, Home};
use std::fs::File;
use std::io::Write;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// The program: the running image itself, even while the file on disk is being replaced.
#[cfg(target_os = "linux")]
const PROGRAM: &str = "/proc/self/exe";

/// A process that was just made.
pub(crate) struct Made {
    pub(crate) child: Child,
    pub(crate) process: Process,
    pub(crate) expected: Expected,
}

/// Spawns one worker. Must run on the main thread: the parent-death signal belongs to the thread that spawns.
pub(crate) fn spawn(
    home: &Home,
    aside: &Aside,
    mut boot: Bootstrap,
    permit: Option<File>,
) -> Result<Made, SupervisorError> {
    let role = boot.role;
    let path = home.role_lock(role);
    let theirs = home.clone();
    // Whoever still holds the role is ended over there too; a later attempt finds it free.
    let taken = aside.ask(move || RoleLock::take(&theirs, role));
    let lock = taken.ok_or_else(|| SupervisorError::Silent { path: path.clone() })??;
    let fail = |what: &'static str| SupervisorError::io(what, &path);
    let inherited_lock = Inherited::new(lock.share().map_err(fail("share"))?).map_err(fail("hand over"))?;
    let inherited_permit = permit.map(Inherited::new).transpose().map_err(fail("hand over the permit beside"))?;
    if let (Some(file), Some(handover)) = (&inherited_permit, boot.permit.as_mut()) {
        handover.fd = file.number();
    }
    let mut line = serde_json::to_vec(&boot).map_err(|e| fail("describe")(std::io::Error::other(e)))?;
    line.push(b'\n');
    let mut command = Command::new(program());
    command.arg("worker").arg(role.as_str()).env_clear().stdin(Stdio::piped()).stdout(Stdio::null());
    command.stderr(stderr_of(home, aside, role)).arg0("engine").current_dir("/");
    for name in ["ENGINE_LOG", "TZ"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let mut child = command.spawn().map_err(fail("spawn the holder of"))?;
    drop((inherited_lock, inherited_permit));
    let pid = child.id().ok_or_else(|| fail("name the holder of")(std::io::Error::other("already gone")))?;
    let process = Process::open(pid).map_err(fail("watch the holder of"))?;
    // For a successor, which finds a holder without a name as well, only slower. Our handle on the lock goes over there.
    aside.hand(move || lock.name(pid));
    hand_over(&mut child, &line).map_err(fail("tell who it is to the holder of"))?;
    let expected = Expected { role, pid, generation: boot.generation, token: boot.token };
    Ok(Made { child, process, expected })
}

/// Writes the bootstrap into the child's standard input and closes it. The line is far smaller than a pipe's buffer, so
/// this never waits.
fn hand_over(child: &mut Child, line: &[u8]) -> std::io::Result<()> {
    let stdin = child.stdin.take().ok_or_else(|| std::io::Error::other("no pipe"))?;
    let mut pipe = File::from(stdin.into_owned_fd()?);
    pipe.write_all(line)
}

#[cfg(target_os = "linux")]
fn program() -> std::path::PathBuf {
    PROGRAM.into()
}

#[cfg(not(target_os = "linux"))]
fn program() -> std::path::PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "engine".into())
}

/// Last words go to a file that each start begins anew; on a disk that is full or hangs they go nowhere.
fn stderr_of(home: &Home, aside: &Aside, role: Role) -> Stdio {
    let path = words_path(home, role);
    aside.ask(move || File::create(path)).and_then(Result::ok).map_or_else(Stdio::null, Stdio::from)
}

/// Where a worker's last words are.
pub(crate) fn words_path(home: &Home, role: Role) -> std::path::PathBuf {
    home.logs().join(format!("{role}.stderr"))
}
