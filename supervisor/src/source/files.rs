//! Orders that arrive as files, for when nothing else works: `run/KILL` means `engine kill`, `run/PAUSE` means
//! `engine pause`. A file is obeyed once each time it appears, and removed only when what it ordered is on disk.
//!
//! The same files are the second place of latches that the disk under `data/` does not take: left by the supervisor
//! itself, no order to itself, and removed like the others once the latches are on disk.

use holdfast_core::command::ControlRequest;
use holdfast_core::durable::Durable;
use holdfast_core::report::JobKind;
use holdfast_ipc::bootstrap::Home;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// The whole first line of a `run/KILL` that cancels and leaves positions. Anything else, and no word at all, closes.
const CANCEL: &str = "cancel";
/// Of a file that is an order this much is looked at.
const WORDS_MAX: u64 = 64;

/// Latches that the disk does not take, as the files that hold them meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spare {
    /// The kill latch and what it is to reach.
    kill: Option<JobKind>,
    pause: bool,
}

impl Spare {
    pub(crate) fn of(durable: &Durable) -> Self {
        Self { kill: durable.kill.as_ref().map(|kill| kill.kind), pause: durable.paused_since_wall_ms.is_some() }
    }
}

/// One file that is an order.
struct OrderFile {
    path: PathBuf,
    name: &'static str,
    /// It was there when it was last looked for.
    there: bool,
    /// What it was obeyed as.
    obeyed: Option<JobKind>,
}

/// Every file that is an order.
pub(crate) struct OrderFiles {
    kill: OrderFile,
    pause: OrderFile,
}

impl OrderFile {
    const fn new(path: PathBuf, name: &'static str) -> Self {
        Self { path, name, there: false, obeyed: None }
    }

    /// Whether it is there. What cannot be looked at counts as there: reducing needs no certainty.
    fn present(&self) -> bool {
        match self.path.symlink_metadata() {
            Ok(_) => true,
            Err(e) => e.kind() != ErrorKind::NotFound,
        }
    }

    /// What it orders, of a file that is a kill. What does not say `cancel` closes.
    fn kind(&self) -> JobKind {
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path);
        let mut words = String::new();
        let read = file.and_then(|file| match file.metadata()?.is_file() {
            true => file.take(WORDS_MAX).read_to_string(&mut words),
            false => Ok(0),
        });
        match read {
            Ok(_) if words.lines().next() == Some(CANCEL) => JobKind::CancelAll,
            Ok(_) | Err(_) => JobKind::Flatten,
        }
    }

    /// What it orders, once for each time it appears or orders more. `on_disk`: everything ordered so far is written
    /// down.
    fn appeared(&mut self, on_disk: bool) -> Option<JobKind> {
        self.there = self.present();
        if !self.there {
            self.obeyed = None;
            return None;
        }
        let kind = self.kind();
        if self.obeyed.is_none_or(|before| kind.stronger(Some(before)) != before) {
            self.obeyed = Some(kind);
            return Some(kind);
        }
        if on_disk {
            // It stays if it cannot be removed, and is named when the operator wants to resume.
            self.there = std::fs::remove_file(&self.path).is_err();
        }
        None
    }

    /// Leaves it, unless one is there already: that one is an order of somebody else and is obeyed as such.
    fn leave(&mut self, kind: JobKind, words: &str) {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
        match file.and_then(|mut file| file.write_all(words.as_bytes()).and_then(|()| file.sync_all())) {
            Ok(()) => {
                tracing::warn!(file = self.name, "left: the disk does not take the latches, a restart obeys this file");
                self.there = true;
                self.obeyed = Some(kind);
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => tracing::error!(%error, file = self.name, "latches have no second place either"),
        }
    }
}

impl OrderFiles {
    pub(crate) fn of(home: &Home) -> Self {
        Self {
            kill: OrderFile::new(home.kill_file(), "run/KILL"),
            pause: OrderFile::new(home.pause_file(), "run/PAUSE"),
        }
    }

    /// The orders of files that have just appeared.
    pub(crate) fn orders(&mut self, on_disk: bool) -> Vec<ControlRequest> {
        let mut orders = Vec::new();
        if let Some(kind) = self.kill.appeared(on_disk) {
            let reason = Some(format!("the file {}", self.kill.name));
            orders.push(ControlRequest::Kill { flatten: kind == JobKind::Flatten, reason });
        }
        if self.pause.appeared(on_disk).is_some() {
            orders.push(ControlRequest::Pause {});
        }
        orders
    }

    /// A second place for latches that are in force and not on the disk.
    pub(crate) fn leave(&mut self, spare: Spare) {
        if let Some(kind) = spare.kill {
            let words = if kind == JobKind::CancelAll { CANCEL } else { "flatten" };
            self.kill.leave(kind, &format!("{words}\nleft by the supervisor: data/ does not take its latches\n"));
        }
        if spare.pause {
            self.pause.leave(JobKind::Flatten, "left by the supervisor: data/ does not take its latches\n");
        }
    }

    /// A file that still orders the opposite of a resume, as of the last look.
    pub(crate) fn against_resume(&self) -> Option<&'static str> {
        [&self.kill, &self.pause].into_iter().find(|file| file.there).map(|file| file.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_obeyed_once_and_removed_only_when_its_order_is_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().to_owned());
        std::fs::create_dir(home.run()).unwrap();
        let mut files = OrderFiles::of(&home);
        assert!(files.orders(true).is_empty() && files.against_resume().is_none());
        std::os::unix::fs::symlink("/nowhere", home.kill_file()).unwrap();
        assert_eq!(files.orders(false).len(), 1, "even a dangling link is an order");
        assert!(files.orders(false).is_empty() && files.against_resume() == Some("run/KILL"));
        assert!(home.kill_file().symlink_metadata().is_ok(), "not on disk yet");
        assert!(files.orders(true).is_empty());
        assert!(home.kill_file().symlink_metadata().is_err());
        assert!(files.orders(true).is_empty());
        std::fs::create_dir(home.kill_file()).unwrap();
        assert_eq!(files.orders(true).len(), 1, "a new one is a new order");
        assert!(files.orders(true).is_empty(), "one that cannot be removed is not obeyed for ever");
        assert_eq!(files.against_resume(), Some("run/KILL"), "but named");
    }

    #[test]
    fn what_a_kill_file_orders_is_in_its_first_line_and_more_is_a_new_order() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().to_owned());
        std::fs::create_dir(home.run()).unwrap();
        let cases =
            [("cancel\n2026 words", false), ("cancel", false), ("", true), ("cancel all", true), ("flatten", true)];
        for (words, wanted) in cases {
            std::fs::write(home.kill_file(), words).unwrap();
            let orders = OrderFiles::of(&home).orders(false);
            assert!(matches!(orders[..], [ControlRequest::Kill { flatten, .. }] if flatten == wanted), "{words:?}");
        }
        let mut files = OrderFiles::of(&home);
        std::fs::write(home.kill_file(), CANCEL).unwrap();
        assert_eq!(files.orders(false).len(), 1);
        std::fs::write(home.kill_file(), "").unwrap();
        assert!(matches!(files.orders(true)[..], [ControlRequest::Kill { flatten: true, .. }]), "a stronger one");
    }

    #[test]
    fn latches_that_are_not_on_disk_are_left_as_files_that_only_the_next_supervisor_obeys() {
        use holdfast_core::kill::{KillCause, KillLatch};
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().to_owned());
        std::fs::create_dir(home.run()).unwrap();
        for kind in [JobKind::CancelAll, JobKind::Flatten] {
            let kill = KillLatch::new(1, KillCause::Operator, None, kind);
            let durable = Durable { kill: Some(kill), paused_since_wall_ms: Some(1), ..Durable::fresh() };
            let mut files = OrderFiles::of(&home);
            files.leave(Spare::of(&durable));
            files.leave(Spare::of(&durable));
            assert!(files.orders(false).is_empty(), "no order to who left it");
            let next = OrderFiles::of(&home).orders(false);
            let kills = |order: &ControlRequest| matches!(order, ControlRequest::Kill { flatten, .. } if *flatten == (kind == JobKind::Flatten));
            assert!(next.len() == 2 && kills(&next[0]) && next[1] == ControlRequest::Pause {}, "{next:?}");
            assert!(files.orders(true).is_empty() && files.against_resume().is_none(), "gone once they are on disk");
            assert!(!home.kill_file().exists() && !home.pause_file().exists());
        }
        let mut files = OrderFiles::of(&home);
        files.leave(Spare::of(&Durable::fresh()));
        assert!(!home.kill_file().exists() && !home.pause_file().exists());
    }
}
