//! Names the build: release version and a digest of the source it was made from.
//!
//! A worker of another build is refused, so two binaries share an id only when they come from the same text. No
//! version-control program is asked: a source archive without history gets the same id.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Folders of the workspace whose text ends up in the binary.
const ROOMS: [&str; 5] = ["ipc", "launchers", "state", "supervisor", "workers"];
/// Kinds of text that do.
const KINDS: [&str; 5] = ["css", "html", "js", "rs", "toml"];

fn main() -> io::Result<()> {
    let version = env::var("CARGO_PKG_VERSION").map_err(io::Error::other)?;
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let root = here.parent().ok_or_else(|| io::Error::other("the launchers live in a workspace"))?.to_path_buf();
    let mut files = vec![root.join("Cargo.lock"), root.join("Cargo.toml")];
    for room in ROOMS {
        collect(&root.join(room), &mut files)?;
    }
    files.sort();
    let mut digest = Sha256::new();
    for file in &files {
        let name = file.strip_prefix(&root).unwrap_or(file).display().to_string();
        let text = fs::read(file)?;
        digest.update(format!("{name}\n{}\n", text.len()));
        digest.update(&text);
        println!("cargo::rerun-if-changed={}", file.display());
    }
    let mut id = format!("{version}+");
    for byte in digest.finalize().iter().take(6) {
        write!(id, "{byte:02x}").map_err(io::Error::other)?;
    }
    println!("cargo::rustc-env=HOLDFAST_BUILD_ID={id}");
    Ok(())
}

/// Adds every file of a known kind below `folder`; tests are not part of the binary. A folder of source is watched as a
/// whole, so that a new file is noticed.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            if name == "tests" || name == "target" {
                continue;
            }
            if folder.join("Cargo.toml").exists() {
                println!("cargo::rerun-if-changed={}", path.display());
            }
            collect(&path, files)?;
        } else if path.extension().and_then(|e| e.to_str()).is_some_and(|kind| KINDS.contains(&kind)) {
            files.push(path);
        }
    }
    Ok(())
}
