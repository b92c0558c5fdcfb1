//! `run/deadman-report.json`: what deadman did when nobody was there to be told. Best effort: a full disk stops nothing.

use holdfast_core::report::JobProgress;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use serde::Serialize;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use tokio::sync::oneshot;

/// The document.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Record {
    /// `holdfast.deadman-report.v1`.
    pub schema: &'static str,
    /// When it was written, RFC 3339.
    pub at: String,
    /// The supervisor that was lost.
    pub supervisor_pid: u32,
    /// Its epoch.
    pub epoch: u64,
    /// `cancel` or `flatten`.
    pub policy: String,
    /// The last progress: a proof, or what is left.
    pub progress: Option<JobProgress>,
    /// One line for people.
    pub note: String,
}

/// Writes it by rename, so that a reader sees a whole document or none. On a thread of its own: a disk that hangs holds
/// up nothing. The answer comes when it is written, or the sender's end tells that it will not be.
pub(crate) fn write(home: &Home, record: Record) -> oneshot::Receiver<()> {
    let (done, written) = oneshot::channel();
    let home = home.clone();
    let spawned = std::thread::Builder::new().name("hf-record".to_owned()).spawn(move || {
        if let Err(error) = try_write(&home, &record) {
            tracing::warn!(%error, "the report could not be written");
        }
        let _ = done.send(());
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread to write the report");
    }
    written
}

fn try_write(home: &Home, record: &Record) -> std::io::Result<()> {
    let folder = home.run();
    let new = folder.join("deadman-report.json.new");
    let body = serde_json::to_vec_pretty(record).map_err(std::io::Error::other)?;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&body)?;
    file.write_all(b"\n")?;
    std::fs::rename(&new, folder.join("deadman-report.json"))
}

/// Whether no paper venue lives in this home: its role lock can be had. Unreadable = assume it lives.
#[must_use]
pub(crate) fn paper_venue_is_gone(home: &Home) -> bool {
    match std::fs::File::open(home.role_lock(holdfast_core::ids::Role::Venue)) {
        // The lock goes with the file when it is closed at once.
        Ok(file) => file.try_lock().is_ok(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// The time for [`Record::at`].
#[must_use]
pub(crate) fn now() -> String {
    clock::rfc3339(clock::wall_ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_means_the_venue_lives() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().to_path_buf());
        std::fs::create_dir(home.run()).unwrap();
        assert!(paper_venue_is_gone(&home), "never started");
        let lock = std::fs::File::create(home.role_lock(holdfast_core::ids::Role::Venue)).unwrap();
        lock.lock().unwrap();
        assert!(!paper_venue_is_gone(&home));
        drop(lock);
        assert!(paper_venue_is_gone(&home));
    }
}
