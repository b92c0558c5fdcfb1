//! Orders that arrive as files, for when nothing else works: `run/KILL` means `engine kill`, `run/PAUSE` means
//! `engine pause`. A file is obeyed once each time it appears, and removed only when what it ordered is on disk.

use holdfast_core::command::ControlRequest;
use holdfast_ipc::bootstrap::Home;
use std::path::PathBuf;

/// One file that is an order.
struct OrderFile {
    path: PathBuf,
    name: &'static str,
    /// It was there when it was last looked for.
    there: bool,
    obeyed: bool,
}

/// Every file that is an order.
pub(crate) struct OrderFiles {
    kill: OrderFile,
    pause: OrderFile,
}

impl OrderFile {
    const fn new(path: PathBuf, name: &'static str) -> Self {
        Self { path, name, there: false, obeyed: false }
    }

    /// Whether it is there. What cannot be looked at counts as there: reducing needs no certainty.
    fn present(&self) -> bool {
        match self.path.symlink_metadata() {
            Ok(_) => true,
            Err(e) => e.kind() != std::io::ErrorKind::NotFound,
        }
    }

    /// `true` once for each time it appears. `on_disk`: everything ordered so far is written down.
    fn appeared(&mut self, on_disk: bool) -> bool {
        self.there = self.present();
        if !self.there {
            self.obeyed = false;
            return false;
        }
        if !self.obeyed {
            self.obeyed = true;
            return true;
        }
        if on_disk {
            // It stays if it cannot be removed, and is named when the operator wants to resume.
            self.there = std::fs::remove_file(&self.path).is_err();
        }
        false
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
        if self.kill.appeared(on_disk) {
            let reason = Some(format!("the file {}", self.kill.name));
            orders.push(ControlRequest::Kill { flatten: true, reason });
        }
        if self.pause.appeared(on_disk) {
            orders.push(ControlRequest::Pause {});
        }
        orders
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
}
