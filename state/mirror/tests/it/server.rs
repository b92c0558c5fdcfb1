//! A PostgreSQL of the test's own, on a Unix socket in its own folder. Loudly skipped where there is none.

use holdfast_mirror::Target;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Ends with the value.
pub(crate) struct Server {
    folder: TempDir,
    tools: PathBuf,
}

/// Where the server's own tools are: on the path, or where Debian puts them.
fn tools() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let all = debian.map(|entry| entry.path().join("bin")).chain(on_path);
    all.into_iter().find(|folder| ["initdb", "pg_ctl", "psql"].iter().all(|tool| folder.join(tool).exists()))
}

/// The server refuses to run as root.
fn unprivileged(tool: &Path) -> Command {
    if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(tool);
        return command;
    }
    Command::new(tool)
}

fn done(command: &mut Command) -> Output {
    let output = command.current_dir("/").output().expect("the tool runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

impl Server {
    /// Makes a cluster and starts it.
    pub(crate) fn start() -> Option<Self> {
        let Some(tools) = tools() else {
            eprintln!("SKIPPED: no PostgreSQL here (Debian: postgresql); the mirror was not tested against a server");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("ours");
        let data = folder.path().join("data");
        done(unprivileged(&tools.join("initdb")).args(["-A", "trust", "-U", "holdfast", "-N", "-D"]).arg(&data));
        let options = format!("-k {} -c listen_addresses= -c fsync=off", folder.path().display());
        let log = folder.path().join("log");
        done(
            unprivileged(&tools.join("pg_ctl"))
                .args(["-w", "-t", "60", "-D"])
                .arg(&data)
                .arg("-l")
                .arg(&log)
                .args(["-o", &options, "start"]),
        );
        Some(Self { folder, tools })
    }

    /// Where it is.
    pub(crate) fn target(&self) -> Target {
        let text = format!("host={} user=holdfast dbname=postgres", self.folder.path().display());
        text.parse().expect("a target")
    }

    /// What it answers to a question, as plain text.
    pub(crate) fn ask(&self, sql: &str) -> String {
        let mut psql = Command::new(self.tools.join("psql"));
        psql.arg("-h").arg(self.folder.path()).args(["-U", "holdfast", "-d", "postgres", "-At", "-c", sql]);
        String::from_utf8_lossy(&done(&mut psql).stdout).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.folder.path().join("data");
        let stop = unprivileged(&self.tools.join("pg_ctl"))
            .args(["-w", "-m", "immediate", "-D"])
            .arg(data)
            .arg("stop")
            .current_dir("/")
            .output();
        if let Err(error) = stop {
            eprintln!("the server was not stopped: {error}");
        }
    }
}
