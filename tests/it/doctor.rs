//! What `engine doctor` finds in the records of a home in which nothing runs, and that it changes nothing.

use holdfast_core::ids::Role;
use holdfast_ipc::clock;
use holdfast_store::ledger::{Ledger, Record};
use holdfast_tests::wait::s;
use holdfast_tests::{Home, Tree, until};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every file under `data/`, with its bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), fs::read(&path).expect("a file")));
        }
    }
    found.sort();
    found
}

fn spoil(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[at] ^= 0x20;
    fs::write(path, bytes).expect("written");
}

#[test]
fn each_record_that_does_not_hold_is_named_and_nothing_is_changed() {
    let tree = Tree::exposed();
    let ran = tree.run(&["doctor"]).expect_code(0);
    for words in ["ok   ledger", "ok   bus", "ok   decided", "ok   records"] {
        assert!(ran.out.contains(words), "{words}, while it runs: {ran:?}");
    }
    assert!(tree.run(&["status"]).expect_code(0).out.contains("\nrecords "), "the status tells how long they are");
    let _ = tree.run(&["stop"]);
    until("nobody", s(30), || tree.processes().is_empty().then_some(()));
    let kept = files(&tree.home.paths().data());
    type Change = fn(&Home);
    let cases: [(&str, Change, u8, &str); 8] = [
        ("nothing", |_| {}, 0, "ok   ledger"),
        ("the ledger spoilt", |home| spoil(&home.paths().ledger(), 105), 1, "FAIL ledger"),
        ("the ledger gone", |home| fs::remove_file(home.paths().ledger()).expect("gone"), 1, "FAIL ledger"),
        (
            "restarts that only the ledger knows",
            |home| {
                let deaths = Record::Deaths(Role::Sensor, vec![clock::wall_ms()]);
                let ledger = Ledger::open(&home.paths().ledger()).expect("a ledger");
                ledger.wait(clock::wall_ms(), vec![deaths], Duration::from_secs(20)).expect("written");
            },
            0,
            "warn ledger",
        ),
        (
            "a head that nobody signed",
            |home| {
                let head = home.paths().bus().join("head.json");
                let text = fs::read_to_string(&head).expect("a head").replace("\"clean\":true", "\"clean\":false");
                fs::write(&head, text).expect("written");
                spoil(&head, 20);
                spoil(&head, 512 + 20);
            },
            1,
            "FAIL bus",
        ),
        ("the bus gone", |home| fs::remove_dir_all(home.paths().bus()).expect("gone"), 1, "FAIL bus"),
        ("the witness spoilt", |home| spoil_cell(&home.paths().witness()), 1, "FAIL bus"),
        ("the journal spoilt", |home| spoil(&home.paths().decisions(), 40), 1, "FAIL decided"),
    ];
    for (name, change, code, words) in cases {
        change(&tree.home);
        let before = files(&tree.home.paths().data());
        let ran = tree.run(&["doctor"]);
        assert!(ran.code == i32::from(code) && ran.out.contains(words), "{name}: {ran:?}");
        let after = files(&tree.home.paths().data());
        // SQLite's own files beside the ledger come with every look at it, and hold nothing.
        let ours = |all: &[(PathBuf, Vec<u8>)]| -> Vec<(PathBuf, Vec<u8>)> {
            all.iter().filter(|(path, _)| !path.to_string_lossy().contains("sqlite-")).cloned().collect()
        };
        assert!(ours(&before) == ours(&after), "{name}: a look changes nothing");
        fs::remove_dir_all(tree.home.paths().data()).expect("gone");
        for (path, bytes) in &kept {
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, bytes).expect("put back");
        }
    }
}

/// Both slots of a cell.
fn spoil_cell(path: &Path) {
    for slot in [0, 8192] {
        spoil(path, slot + 24);
    }
}
