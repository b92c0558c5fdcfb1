//! What is refused before anything is started: in three sentences, with the right exit code, and leaving no trace.

use holdfast_tests::home::Ran;
use holdfast_tests::tree::processes_of;
use holdfast_tests::{Home, Tree};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Every file of a home with its bytes and mode.
fn contents(root: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let meta = std::fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                folders.push(path.clone());
            }
            let bytes = if meta.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            found.insert(path.display().to_string(), (meta.permissions().mode(), bytes));
        }
    }
    found
}

/// The error must have its three parts in both forms, and nothing may have been started or changed.
fn refused(home: &Home, args: &[&str], code: i32, word: &str, mention: &str) {
    let before = contents(home.outside());
    let json: Vec<&str> = std::iter::once("--json").chain(args.iter().copied()).collect();
    let ran: Ran = home.run(&json).expect_code(code);
    let doc = ran.json();
    assert_eq!(doc["schema"], "holdfast.error.v1", "{ran:?}");
    assert_eq!(doc["code"], word, "{ran:?}");
    for part in ["message", "risk", "next"] {
        assert!(doc[part].as_str().is_some_and(|text| text.len() > 8), "{part} of {ran:?}");
    }
    assert!(doc["message"].as_str().unwrap().contains(mention), "{mention:?} is not in {ran:?}");
    let text = home.run(args).expect_code(code);
    for part in ["message", "risk", "next"] {
        let said = doc[part].as_str().unwrap();
        assert!(text.err.contains(said), "{said:?} is not in {text:?}");
    }
    assert_eq!(text.out, "", "an error goes to standard error");
    assert_eq!(processes_of(home.paths().root()), [], "nothing was started");
    let after = contents(home.outside());
    for (path, was) in &before {
        assert_eq!(after.get(path), Some(was), "{path} was changed or lost");
    }
    let made: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    let secret = made.iter().any(|path| path.contains("/keys/") || path.ends_with(".cell") || path.ends_with(".jsonl"));
    assert!(!secret, "a refused start made {made:?}");
}

#[test]
fn a_configuration_that_does_not_read_is_refused_and_named() {
    for (text, mention) in [
        ("nonsense = 1\n", "nonsense"),
        ("[strategy]\ncoin = \"BTC\"\nspeeed = 3\n", "speeed"),
        ("[limits]\norder_usd = 12.5\n", "limits.order_usd"),
        ("[limits]\norder_usd = \"-5\"\n", "limits.order_usd"),
        ("[paper\n", "line 1"),
        ("profile = \"yolo\"\n", "profile"),
        ("[strategy]\nfast_bars = 9\nslow_bars = 3\n", "strategy.slow_bars"),
        ("profile = \"paper\"\nprofile = \"paper\"\n", "line 2"),
        ("[api]\nport = 70000\n", "api.port"),
    ] {
        let home = Home::with(text);
        refused(&home, &["start"], 78, "config_refused", mention);
        refused(&home, &["config", "check"], 78, "config_refused", mention);
        refused(&home, &["start", "--foreground"], 78, "config_refused", mention);
    }
}

#[test]
fn a_configuration_others_could_have_written_is_refused() {
    for mode in [0o620, 0o602, 0o666] {
        let home = Home::with("profile = \"paper\"\n");
        std::fs::set_permissions(home.paths().config(), PermissionsExt::from_mode(mode)).unwrap();
        refused(&home, &["start"], 78, "permissions_refused", "config.toml");
    }
    let home = Home::new();
    std::os::unix::fs::symlink("/nowhere/at/all", home.paths().config()).unwrap();
    refused(&home, &["start"], 1, "home_unusable", "config.toml");
    let home = Home::new();
    std::fs::create_dir(home.paths().config()).unwrap();
    refused(&home, &["start"], 78, "config_refused", "config.toml");
    let home = Home::new();
    std::fs::write(home.paths().config(), b"profile = \"\xff\xfe\"\n").unwrap();
    refused(&home, &["start"], 78, "config_refused", "UTF-8");
}

#[test]
fn keys_and_rooms_that_others_can_reach_are_refused() {
    let tree = Tree::start();
    let _ = tree.run(&["stop"]).expect_code(0);
    let home = &tree.home;
    for key in [home.paths().engine_key(), home.paths().deadman_key(), home.paths().keys().join("account.key")] {
        let name = key.file_name().unwrap().to_str().unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
        if name != "account.key" {
            refused(home, &["start"], 78, "permissions_refused", name);
        }
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    }
    for room in [home.paths().keys(), home.paths().run()] {
        std::fs::set_permissions(&room, PermissionsExt::from_mode(0o755)).unwrap();
        refused(home, &["start"], 78, "permissions_refused", room.to_str().unwrap());
        std::fs::set_permissions(&room, PermissionsExt::from_mode(0o700)).unwrap();
    }
    let key = std::fs::read(home.paths().engine_key()).unwrap();
    for spoilt in [&b""[..], b"not a key", &key[..40]] {
        std::fs::write(home.paths().engine_key(), spoilt).unwrap();
        refused(home, &["start"], 78, "permissions_refused", "engine.key");
        assert_eq!(std::fs::read(home.paths().engine_key()).unwrap(), spoilt, "it was not replaced");
    }
    std::fs::write(home.paths().engine_key(), &key).unwrap();
    let ran = home.run(&["start"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_home_that_cannot_be_used_is_refused() {
    let home = Home::new();
    let file = home.outside().join("file");
    std::fs::write(&file, "precious").unwrap();
    let at = |path: &Path, code: i32, word: &str| {
        let mut command = home.command(&["--json", "start"]);
        command.env("ENGINE_HOME", path);
        let mut fresh = std::process::Command::new(command.get_program());
        let ran = fresh.args(["--json", "--home"]).arg(path).arg("start").output().unwrap();
        let doc: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
        assert_eq!((ran.status.code(), doc["code"].as_str()), (Some(code), Some(word)), "{ran:?}");
        assert!(!doc["risk"].as_str().unwrap().is_empty() && !doc["next"].as_str().unwrap().is_empty(), "{doc}");
    };
    at(&file, 1, "home_unusable");
    at(&file.join("below"), 1, "home_unusable");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let long = home.outside().join("x".repeat(90));
    at(&long, 1, "home_too_long");
    assert!(!long.exists(), "nothing was made");
    // A room taken by a file: also true for root, whom modes do not stop.
    std::fs::write(home.paths().root().join("data"), "precious").unwrap();
    at(home.paths().root(), 1, "home_unusable");
    assert_eq!(std::fs::read_to_string(home.paths().root().join("data")).unwrap(), "precious");
    assert_eq!(processes_of(home.paths().root()), []);
}

#[test]
fn a_home_on_a_disk_that_only_reads_is_refused() {
    let home = Home::new();
    let at = home.paths().root().to_owned();
    let Some(_mount) = crate::disk::Mount::tmpfs(&at, "size=32m,ro") else { return };
    refused(&home, &["start"], 1, "home_unusable", &at.display().to_string());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for key in ["api", "paper"] {
        let home = Home::with(&format!("[{key}]\nport = {port}\n"));
        refused(&home, &["start"], 1, "port_busy", &format!("{key}.port"));
    }
}

#[test]
fn a_market_that_cannot_be_read_is_refused() {
    let candles = "timestamp,open,high,low,close,volume\n1700000000000,100,101,99,100.5,3\n1700000060000,100.5,1";
    for (name, text) in [
        ("empty.csv", ""),
        ("blank.csv", "\n\n"),
        ("truncated.csv", candles),
        ("unknown.csv", "name,colour\nanna,blue\n"),
        ("unknown.json", "{\"hello\":\"world\"}"),
        ("truncated.json", "[{\"t\":1700000000000,\"o\":\"1\",\"h\":"),
        ("noise.bin", "\u{0}\u{1}\u{2}PK\u{3}\u{4}"),
    ] {
        let home = Home::new();
        let file = home.outside().join(name);
        std::fs::write(&file, text).unwrap();
        refused(&home, &["start", "--market", file.to_str().unwrap()], 1, "market_refused", name);
        let home = Home::with(&format!("[paper]\nmarket = \"{}\"\n", file.display()));
        refused(&home, &["start"], 78, "market_refused", name);
    }
    let home = Home::new();
    refused(&home, &["start", "--market", "/nowhere/at/all.csv"], 1, "market_refused", "/nowhere/at/all.csv");
}

#[test]
fn usage_is_two_and_nothing_running_is_three() {
    let home = Home::new();
    for args in [&["strat"][..], &["start", "--wait", "soon"], &["kill", "--hard"], &[]] {
        let ran = home.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
    }
    let doc = home.run(&["--json", "strat"]).expect_code(2).json();
    assert_eq!((doc["schema"].as_str(), doc["code"].as_str()), (Some("holdfast.error.v1"), Some("usage")));
    for args in [&["pause"][..], &["flatten"], &["heartbeat"], &["stop"], &["resume", "--confirm", "x"]] {
        let json: Vec<&str> = std::iter::once("--json").chain(args.iter().copied()).collect();
        let doc = home.run(&json).expect_code(3).json();
        assert_eq!((doc["schema"].as_str(), doc["code"].as_str()), (Some("holdfast.error.v1"), Some("not_running")));
    }
    assert_eq!(processes_of(home.paths().root()), []);
}
