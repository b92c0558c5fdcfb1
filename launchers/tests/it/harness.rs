//! Runs the binary in a folder of its own and compares what it says.

use assert_cmd::Command;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A home that does not exist yet, inside a folder that goes away with this value.
pub(crate) struct Place {
    dir: TempDir,
}

/// What a run left behind, with the home written as `HOME`.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        // Short: a home path has a longest length.
        Self { dir: tempfile::Builder::new().prefix("hf").tempdir_in("/tmp").unwrap() }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("h")
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) fn config(&self, text: &str) -> PathBuf {
        self.file("h/config.toml", text)
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::cargo_bin("engine").unwrap();
        command.env_clear().env("HOME", self.dir.path()).env("ENGINE_HOME", self.home());
        command.current_dir(self.dir.path()).timeout(Duration::from_secs(60));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Ran {
        self.take(self.command().args(args).write_stdin(input))
    }

    pub(crate) fn take(&self, command: &mut Command) -> Ran {
        let output = command.output().unwrap();
        let clean = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let home = self.home().display().to_string();
            text.replace(&home, "HOME").replace(&self.dir.path().display().to_string(), "DIR")
        };
        Ran {
            code: output.status.code().expect("ended by itself"),
            out: clean(&output.stdout),
            err: clean(&output.stderr),
        }
    }

    /// Nothing was started: no pidfile, no socket, no key.
    pub(crate) fn assert_untouched(&self) {
        for path in ["run/supervisor.pid", "run/control.sock", "keys/engine.key", "venue/account.json"] {
            assert!(!self.home().join(path).exists(), "{path} was made");
        }
    }
}

impl Ran {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("not one JSON document: {e}\n{self:?}"))
    }
}

/// What a pidfile or a role lock says of this living process.
pub(crate) fn identity(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let started = stat[stat.rfind(')').unwrap() + 1..].split_whitespace().nth(19).unwrap().to_owned();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    format!("{pid}\n{started}\n{boot}")
}

/// Compares with `fixtures/cli/NAME`.
pub(crate) fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/cli").join(name);
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let kept =
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}; HOLDFAST_BLESS=1 writes it", path.display()));
    assert!(kept == text, "{} differs\n--- kept\n{kept}\n--- now\n{text}", path.display());
}
