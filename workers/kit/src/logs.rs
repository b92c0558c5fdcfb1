//! Logs: JSON lines, one file per process and day, bounded in number; lossy rather than slow. Logs are never evidence.

use std::io;
use std::path::Path;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Daily files kept per process.
const FILES_MAX: usize = 7;
/// Bytes one process may log before it falls silent until the next day's file; bounds the disk.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Starts logging to `folder/NAME.log.DATE`. Hold the guard in `main`: dropping it flushes.
///
/// # Errors
/// The folder cannot be written.
pub fn start(folder: &Path, name: &str) -> io::Result<WorkerGuard> {
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(format!("{name}.log"))
        .max_log_files(FILES_MAX)
        .build(folder)
        .map_err(io::Error::other)?;
    let (writer, guard) = tracing_appender::non_blocking::NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(4096)
        .finish(Capped { inner: appender, left: BYTES_MAX, day: 0 });
    let filter = EnvFilter::try_from_env("ENGINE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second start in one process (tests) keeps the first subscriber.
    let _ = tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_current_span(false)
        .with_writer(move || writer.make_writer())
        .try_init();
    Ok(guard)
}

/// Stops writing after a number of bytes per day.
struct Capped<W> {
    inner: W,
    left: u64,
    day: u64,
}

impl<W: io::Write> io::Write for Capped<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let today = holdfast_ipc::clock::wall_ms() / 86_400_000;
        if today != self.day {
            self.day = today;
            self.left = BYTES_MAX;
        }
        let len = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if len > self.left {
            return Ok(line.len());
        }
        self.left -= len;
        // A full disk loses log lines, never time: the caller is the log thread.
        let _ = self.inner.write_all(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.inner.flush();
        Ok(())
    }
}
