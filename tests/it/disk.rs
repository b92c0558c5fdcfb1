//! A disk that fills up under a trading tree.

use crate::stale::{resume, trading};
use holdfast_core::ids::Role;
use holdfast_core::registry::{ModeReason, TradingMode};
use holdfast_tests::home::{BUSY, Home, finish};
use holdfast_tests::wait::{now, s, throughout};
use holdfast_tests::{Tree, until};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small disk that goes away with the test.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts one over a folder; `None` (loudly) where this user may not.
    pub(crate) fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        let ran = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        match ran {
            Ok(ran) if ran.status.success() => Some(Self(at.to_owned())),
            other => {
                eprintln!("SKIPPED: a small disk cannot be mounted here ({other:?})");
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A file that takes every byte that is left, again and again.
pub(crate) struct Ballast(PathBuf, File);

impl Ballast {
    pub(crate) fn new(path: PathBuf) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(&path).expect("a file");
        Self(path, file)
    }

    pub(crate) fn fill(&mut self) {
        for size in [1 << 20, 1 << 12, 1 << 6, 1] {
            let block = vec![b'x'; size];
            while self.1.write_all(&block).is_ok() {}
        }
    }

    pub(crate) fn free(self) {
        std::fs::remove_file(&self.0).expect("it can be removed");
    }
}

/// A trading tree on a small disk of its own. The disk goes last.
pub(crate) struct Small {
    pub(crate) tree: Tree,
    pub(crate) _mount: Mount,
}

pub(crate) fn small() -> Option<Small> {
    let home = Home::new();
    let mount = Mount::tmpfs(home.paths().root(), "size=48m,mode=0700")?;
    std::fs::write(home.paths().config(), BUSY).unwrap();
    Command::new("chmod").arg("600").arg(home.paths().config()).status().unwrap();
    Some(Small { tree: Tree::start_in(home), _mount: mount })
}

#[test]
fn a_full_disk_restricts_and_kill_still_ends_flat_and_is_remembered() {
    // Kept whole: taken apart, the disk would go before the tree, and nobody would find the processes again.
    let Some(small) = small() else { return };
    let tree = &small.tree;
    trading(tree);
    let before: Vec<_> = tree.status().workers.iter().map(|w| (w.role, w.pid)).collect();
    let mut ballast = Ballast::new(tree.home.paths().root().join("ballast"));
    let doc = until("a journal that cannot be written", s(90), || {
        ballast.fill();
        tree.try_status().filter(|doc| !doc.decisions.durable)
    });
    let full = now();
    assert_ne!(doc.trading_mode, TradingMode::Active, "{doc:#?}");
    throughout("beats and restriction", s(5), || {
        ballast.fill();
        let doc = tree.status();
        let beating = doc.workers.iter().all(|w| w.state == "ready" && w.last_beat_ms.is_some_and(|ms| ms < 2000));
        let same = doc.workers.iter().map(|w| (w.role, w.pid)).collect::<Vec<_>>() == before;
        assert!(beating && same, "{:#?}", doc.workers);
        doc.trading_mode != TradingMode::Active
            && doc.mode_reasons.contains(&ModeReason::ReduceonlyIntentLedgerUnavailable)
    });
    let late = tree.witness();
    assert!(late.increases(full.after(s(1)), now()).is_empty(), "opened without a journal");
    // Something to close in any case.
    tree.fault(r#"{"kind":"foreign_position","coin":"BTC","value":"0.02"}"#);
    ballast.fill();
    let ran = finish(tree.home.spawn(&["kill"]), s(30));
    assert!(ran.code == 0 && ran.out.contains("PROVEN FLAT"), "{ran:?}\n{}", tree.logs());
    // The door shows what was published last: within a tick it is this.
    tree.until("killed and flat", s(5), |doc| doc.kill.active && doc.exposure.known && doc.exposure.flat);
    ballast.fill();
    let ran = tree.run(&["stop"]);
    assert_eq!(ran.code, 0, "{ran:?}\n{}", tree.logs());
    assert_eq!(tree.processes(), []);
    // Nothing starts on a full disk, and it is said why.
    ballast.fill();
    let error = tree.run(&["--json", "start"]).expect_code(1).json();
    assert_eq!(error["code"], "disk_full", "{error}");
    assert_eq!(tree.processes(), []);
    ballast.free();
    let _ = tree.run(&["start"]).expect_code(0);
    let doc = tree.wait_mode(TradingMode::Kill, s(10));
    assert!(doc.kill.active, "the kill was forgotten: {doc:#?}");
    let killed = now();
    tree.until("proof of flat after the restart", s(30), |doc| doc.kill.state == "flat");
    assert!(tree.witness().increases(full.after(s(1)), now()).is_empty());
    resume(tree);
    trading(tree);
    let doc = tree.status();
    assert!(doc.journal.durable && doc.decisions.durable, "{doc:#?}");
    until("records of the latches that agree", s(10), || crate::ledger::agree(&tree.home).then_some(()));
    assert!(now() > killed);
    tree.witness().check_openings();
}

#[test]
fn a_disk_with_room_again_is_written_again() {
    // Kept whole: taken apart, the disk would go before the tree, and nobody would find the processes again.
    let Some(small) = small() else { return };
    let tree = &small.tree;
    trading(tree);
    let mut ballast = Ballast::new(tree.home.paths().root().join("ballast"));
    until("a journal that cannot be written", s(90), || {
        ballast.fill();
        tree.try_status().filter(|doc| !doc.decisions.durable)
    });
    let engine = tree.pid(Role::Engine);
    ballast.free();
    trading(tree);
    let doc = tree.status();
    assert!(doc.journal.durable && doc.decisions.durable, "{doc:#?}");
    assert_eq!(tree.pid(Role::Engine), engine, "nobody had to be replaced");
    let _ = holdfast_tests::journal::Decisions::read(&tree.home.paths().decisions());
}
