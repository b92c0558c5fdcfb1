//! A home folder of its own for each test, and commands run in it.

use crate::binary::engine;
use crate::wait::pause;
use holdfast_core::time::Span;
use holdfast_ipc::bootstrap::Home as Paths;
use holdfast_ipc::clock;
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Standard output as one JSON document.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("not one JSON document ({e}): {self:?}"))
    }

    /// Fails unless the command ended with this code.
    #[must_use]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

/// A strategy that opens and closes all the time.
pub const BUSY: &str = "[strategy]\nbar_ms = 500\nfast_bars = 1\nslow_bars = 3\nenter_bps = 1\nhold_bars = 2\n\
                        [limits]\norders_per_minute = 60\ndaily_loss_usd = \"5000\"\n";

/// A home folder that goes away with the test.
pub struct Home {
    dir: TempDir,
    paths: Paths,
}

impl Home {
    /// A fresh home with free ports.
    #[must_use]
    pub fn new() -> Self {
        Self::with("")
    }

    /// A fresh home with more configuration.
    #[must_use]
    pub fn with(config: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("hf").tempdir().expect("a temporary folder");
        Self::at(dir, config)
    }

    /// A home whose strategy trades every second or two, so that a test that waits for "no opening" can fail.
    #[must_use]
    pub fn busy() -> Self {
        Self::with(BUSY)
    }

    /// A home in a folder the caller made.
    #[must_use]
    pub fn at(dir: TempDir, config: &str) -> Self {
        use std::os::unix::fs::OpenOptionsExt;
        let root = dir.path().join("h");
        std::fs::create_dir(&root).expect("a folder");
        let paths = Paths::new(root);
        if !config.is_empty() {
            use std::io::Write;
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(paths.config());
            file.and_then(|mut file| file.write_all(config.as_bytes())).expect("a configuration");
        }
        Self { dir, paths }
    }

    /// Its paths.
    #[must_use]
    pub const fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The folder that holds it.
    #[must_use]
    pub fn outside(&self) -> &Path {
        self.dir.path()
    }

    /// A command in this home, ready to run.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(engine());
        command.arg("--home").arg(self.paths.root()).args(args).env_remove("ENGINE_HOME").env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end, within a minute.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ran {
        finish(self.command(args).spawn().expect("engine runs"), Span::from_ms(60_000))
    }

    /// Starts a command and returns without waiting.
    #[must_use]
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).spawn().expect("engine runs")
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits for a command and collects what it printed.
pub fn finish(mut child: Child, within: Span) -> Ran {
    fn collect(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
    let (out, err) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let deadline = clock::now().after(within);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if clock::now() >= deadline => break None,
            Ok(None) => pause(5),
            Err(e) => panic!("cannot wait for a command: {e}"),
        }
    };
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let ran = Ran {
        code: status.and_then(|s| s.code()).unwrap_or(-1),
        out: out.join().unwrap_or_default(),
        err: err.join().unwrap_or_default(),
    };
    assert!(status.is_some(), "a command did not end within {} ms: {ran:?}", within.as_ms());
    ran
}
