//! Keys and tokens are where they belong and nowhere else.

use crate::stale::trading;
use holdfast_tests::{Home, Tree};
use std::path::Path;

/// Every place of 64 hex digits in a row: what a key or a token looks like.
/// What could be a key or a token. A checksum says that it is one: it is left out, and nothing else.
fn long_hex(text: &str) -> Vec<String> {
    let hex = |c: char| c.is_ascii_hexdigit();
    let mut pieces = text.split("sha256:");
    let before = pieces.next();
    let after = pieces.map(|piece| {
        let digits = piece.len() - piece.trim_start_matches(hex).len();
        if digits == 64 { &piece[64..] } else { piece }
    });
    let runs = before.into_iter().chain(after).flat_map(|piece| piece.split(|c| !hex(c)));
    runs.filter(|run| run.len() == 64).map(str::to_owned).collect()
}

fn files(folder: &Path) -> Vec<(String, String)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let plain = entries.flatten().map(|e| e.path()).filter(|path| path.is_file());
    plain
        .map(|p| (p.display().to_string(), String::from_utf8_lossy(&std::fs::read(&p).unwrap()).into_owned()))
        .collect()
}

#[test]
fn no_secret_leaves_its_file() {
    let tree = Tree::start_in(Home::busy());
    trading(&tree);
    let paths = tree.home.paths();
    let keys = files(&paths.keys());
    assert_eq!(keys.len(), 4, "three signers and the bus");
    assert!(keys.iter().all(|(_, text)| !long_hex(text).is_empty()), "keys are 64 hex digits");
    let mut secrets: Vec<String> = keys.iter().flat_map(|(_, text)| long_hex(text)).collect();
    secrets.push(std::fs::read_to_string(paths.api_token()).unwrap().trim().to_owned());
    let mut seen: Vec<(String, String)> = Vec::new();
    for (name, pid) in tree.processes() {
        for what in ["cmdline", "environ"] {
            let bytes = std::fs::read(format!("/proc/{pid}/{what}")).unwrap();
            seen.push((format!("{what} of {name}"), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    for args in [
        &["status"][..],
        &["--json", "status"],
        &["mode"],
        &["logs", "-n", "1000"],
        &["doctor"],
        &["--json", "doctor"],
        &["config", "show"],
        &["--json", "config", "show"],
        &["resume"],
        &["-v", "--json", "start"],
        &["kill", "--reason", "drill"],
    ] {
        let ran = tree.run(args);
        seen.push((format!("engine {args:?}"), format!("{}\\n{}", ran.out, ran.err)));
    }
    seen.extend(files(&paths.logs()));
    let token = paths.api_token().display().to_string();
    seen.extend(files(&paths.run()).into_iter().filter(|(path, _)| *path != token));
    assert!(seen.len() > 20, "{}", seen.len());
    // Besides the known ones: one-time tokens of workers, which nobody here can know, look the same.
    for (place, text) in &seen {
        assert_eq!(long_hex(text), Vec::<String>::new(), "in {place}");
    }
    seen.extend(files(&paths.data()));
    seen.extend(files(&paths.venue()));
    for secret in &secrets {
        let found = seen.iter().find(|(_, text)| text.contains(secret.as_str()));
        assert!(found.is_none(), "a secret is in {}", found.map_or("", |(place, _)| place));
    }
}
