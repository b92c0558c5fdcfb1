//! A disk that fills up under a trading tree.

use crate::stale::{resume, trading};
use holdfast_core::ids::Role;
use holdfast_core::registry::{ModeReason, TradingMode};
use holdfast_core::report::JobKind;
use holdfast_tests::home::{BUSY, Home, finish};
use holdfast_tests::tree::send;
use holdfast_tests::wait::{now, s, throughout};
use holdfast_tests::{Tree, until};
use nix::sys::signal::Signal;
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

/// A disk in a file, mounted over a folder, that can be broken and mended.
struct Fragile {
    image: PathBuf,
    mount: Mount,
}

impl Fragile {
    /// `None` (loudly) where this user may not.
    fn new(image: PathBuf, at: &Path) -> Option<Self> {
        File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("an image");
        let made = Command::new("mkfs.ext4").arg("-q").arg(&image).status();
        if !made.is_ok_and(|made| made.success()) || !Self::attach(&image, at) {
            eprintln!("SKIPPED: a disk in a file cannot be mounted here");
            return None;
        }
        std::fs::set_permissions(at, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("private");
        Some(Self { image, mount: Mount(at.to_owned()) })
    }

    fn attach(image: &Path, at: &Path) -> bool {
        Command::new("mount").args(["-o", "loop"]).arg(image).arg(at).status().is_ok_and(|ran| ran.success())
    }

    /// As after an error of the device: what is open can be read, and nothing is written any more.
    fn break_it(&self) {
        let ran = Command::new("mount").args(["-o", "remount,abort"]).arg(&self.mount.0).status();
        assert!(ran.is_ok_and(|ran| ran.success()), "it cannot be broken");
    }

    /// Repaired, as it was when it broke. Nobody may use it meanwhile.
    fn mend(&self) {
        let ran = Command::new("umount").arg(&self.mount.0).status();
        assert!(ran.is_ok_and(|ran| ran.success()), "somebody uses it");
        let _ = Command::new("fsck.ext4").arg("-fy").arg(&self.image).output();
        assert!(Self::attach(&self.image, &self.mount.0), "it is mounted again");
    }
}

#[test]
fn a_latch_the_disk_does_not_take_is_said_and_kept_in_a_second_place() {
    let home = Home::busy();
    let data = home.paths().data();
    std::fs::create_dir(&data).expect("a folder");
    let Some(disk) = Fragile::new(home.outside().join("image"), &data) else { return };
    // Kept whole: taken apart, the disk would go before the tree.
    let kept = (Tree::start_in(home), disk);
    let (tree, disk) = (&kept.0, &kept.1);
    trading(tree);
    disk.break_it();
    let paused = tree.run(&["--json", "pause"]).expect_code(1);
    assert!(paused.out.contains("latch_not_on_disk") && tree.home.paths().pause_file().exists(), "{paused:?}");
    let ran = finish(tree.home.spawn(&["--json", "kill"]), s(60)).expect_code(1);
    let lines: Vec<serde_json::Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    let [.., verdict, error] = &lines[..] else { panic!("{ran:?}") };
    assert_eq!((&verdict["flat"], &verdict["latch_on_disk"]), (&true.into(), &false.into()), "{ran:?}");
    assert_eq!(error["code"], "latch_not_on_disk", "{ran:?}");
    assert!(error["message"].as_str().is_some_and(|words| words.contains("NOT YET ON DISK")), "{ran:?}");
    let kill = tree.home.paths().kill_file();
    assert!(kill.exists(), "a second place");
    let job = tree.status().kill.proof_at;
    throughout("it is no new order to who left it", s(2), || kill.exists() && tree.status().kill.proof_at == job);
    for (_, pid) in tree.processes().iter().filter(|(name, _)| name == "supervisor").chain(&tree.processes()) {
        send(*pid, Signal::SIGKILL);
    }
    until("nobody", s(10), || tree.processes().is_empty().then_some(()));
    disk.mend();
    let restarted = now();
    let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
    let doc = tree.until("killed and flat", s(30), |doc| doc.kill.active && doc.kill.state == "flat");
    assert_eq!(doc.trading_mode, TradingMode::Kill, "{doc:#?}");
    until("the file to go once its order is on disk", s(10), || (!kill.exists()).then_some(()));
    assert!(tree.witness().increases(restarted, now()).is_empty());
    resume(tree);
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

    /// Gives this many bytes back.
    pub(crate) fn leave(&self, bytes: u64) {
        let len = self.1.metadata().expect("its length").len();
        self.1.set_len(len.saturating_sub(bytes)).expect("it can be cut");
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
fn a_start_on_a_full_disk_carries_out_what_is_owed_and_opens_nothing() {
    // Kept whole: taken apart, the disk would go before the tree, and nobody would find the processes again.
    let Some(small) = small() else { return };
    let tree = &small.tree;
    trading(tree);
    let ballast_at = tree.home.paths().root().join("ballast");
    // What is owed, and how many bytes are left.
    for (owed, left) in [("kill", 0), ("kill", 8 << 20), ("flatten", 8 << 20), ("nothing", 8 << 20)] {
        let what = format!("{owed} owed, {left} bytes left");
        // Held by nobody's order: it is there at the start whatever the engine did last.
        tree.foreign_position("BTC", "0.02");
        tree.until("a position", s(20), |doc| doc.exposure.known && !doc.exposure.flat);
        crate::ledger::end_all(tree);
        match owed {
            "kill" => assert!(tree.run(&["--json", "kill"]).expect_code(3).out.contains("not_running"), "{what}"),
            "flatten" => crate::ledger::rewrite(&tree.home, |durable| durable.owe(JobKind::Flatten)),
            _ => {}
        }
        let mut ballast = Ballast::new(ballast_at.clone());
        ballast.fill();
        ballast.leave(left);
        let started = now();
        let ran = tree.run(&["start", "--wait", "30"]);
        assert!(ran.code == 0 && ran.out.contains("THE DISK IS FULL"), "{what}: {ran:?}\n{}", tree.logs());
        let doc = tree.until("the disk to be said", s(5), |doc| doc.disk.short);
        assert!(doc.next_step.contains("free some space"), "{what}: {doc:#?}");
        assert!(tree.run(&["status"]).expect_code(0).out.contains("FULL"), "{what}");
        if owed != "nothing" {
            let doc = tree.until("flat, with proof", s(60), |doc| doc.kill.state == "flat");
            assert!(doc.kill.proof_at.is_some() && doc.kill.active == (owed == "kill"), "{what}: {doc:#?}");
            assert!(tree.books().flat(), "{what}: the venue holds something");
        }
        throughout("restriction", s(8), || {
            let doc = tree.status();
            let right = if owed == "kill" { TradingMode::Kill } else { TradingMode::ReduceOnly };
            doc.trading_mode == right
        });
        assert!(tree.witness().increases(started, now()).is_empty(), "{what}: opened on a full disk");
        ballast.free();
        tree.until("room", s(5), |doc| !doc.disk.short);
        // Without room for the ledger it was not opened: it is by the next start, and an operator looks.
        let _ = tree.run(&["restart"]).expect_code(0);
        if owed == "kill" {
            tree.until("proof of flat after the restart", s(30), |doc| doc.kill.state == "flat");
        }
        let doc = tree.status();
        if doc.kill.active || doc.next_step.contains("RECORDS DISAGREED") {
            resume(tree);
        }
        trading(tree);
    }
    let _ = tree.run(&["flatten"]).expect_code(0);
    let _ = tree.run(&["stop"]).expect_code(0);
    tree.witness().check_openings();
}

#[test]
fn a_first_start_on_a_full_disk_is_refused_and_leaves_nothing_running() {
    let home = Home::new();
    let Some(_mount) = Mount::tmpfs(home.paths().root(), "size=8m,mode=0700") else { return };
    let error = home.run(&["--json", "start"]).expect_code(1).json();
    assert_eq!(error["code"], "disk_full", "{error}");
    assert!(error["message"].as_str().is_some_and(|words| words.contains("first start")), "{error}");
    assert_eq!(holdfast_tests::tree::processes_of(home.paths().root()), []);
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
