//! The program under test, built once per run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `engine` binary of this source tree. `ENGINE_BIN` names another one.
///
/// # Panics
/// When it cannot be built: a missing program fails, it is never skipped.
#[must_use]
pub fn engine() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var_os("ENGINE_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--locked", "--package", "holdfast", "--bin", "engine", "--message-format", "json"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "engine does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "engine")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the program it built")
}
