//! `engine logs`: the newest lines of every process, merged by time, followed across file rotation, in bounded memory.
//!
//! Logs are for people and are never evidence: a line that cannot be read is shown as it is.

use crate::cli::{LogsArgs, Source};
use crate::error::Trouble;
use crate::link;
use crate::out::{Out, Tone, plain};
use holdfast_ipc::bootstrap::Home;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Read from the end of one file at most.
const TAIL_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Read in one turn of following at most; the rest comes with the next turn.
const TURN_BYTES_MAX: u64 = 1024 * 1024;
/// A longer line is cut.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// How often followed files are looked at.
const POLL: Duration = Duration::from_millis(200);

/// A line of `tracing`'s JSON form.
#[derive(Debug, Deserialize)]
struct Parsed {
    timestamp: String,
    level: String,
    #[serde(default)]
    fields: Map<String, Value>,
}

/// A line and whose it is.
struct Line {
    source: Source,
    text: String,
    parsed: Option<Parsed>,
}

impl Line {
    fn new(source: Source, bytes: &[u8]) -> Self {
        let cut = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
        let text = String::from_utf8_lossy(cut).into_owned();
        let parsed = serde_json::from_str(&text).ok();
        Self { source, text, parsed }
    }

    /// RFC 3339 in UTC from one writer sorts as text.
    fn time(&self) -> &str {
        self.parsed.as_ref().map_or("", |p| &p.timestamp)
    }

    fn print(&self, out: Out) -> bool {
        let name = self.source.as_str();
        if out.json {
            // Whose it is goes first; what was written stays byte for byte.
            let line = match (&self.parsed, self.text.strip_prefix('{')) {
                (Some(_), Some(rest)) => format!("{{\"worker\":\"{name}\",{rest}\n"),
                _ => format!("{}\n", serde_json::json!({ "worker": name, "text": self.text })),
            };
            return out.raw(line.as_bytes());
        }
        let Some(parsed) = &self.parsed else {
            return out.line(&format!("{name:<10} {}", plain(&self.text)));
        };
        let tone = match parsed.level.as_str() {
            "ERROR" => Tone::Bad,
            "WARN" => Tone::Careful,
            _ => Tone::Faint,
        };
        let level = out.paint(tone, &format!("{:<5}", plain(&parsed.level)));
        let time = parsed.timestamp.get(..23).unwrap_or(&parsed.timestamp);
        out.line(&format!("{} {level} {name:<10} {}", plain(time), parsed.words()))
    }
}

impl Parsed {
    /// The message, then the fields.
    fn words(&self) -> String {
        let show = |value: &Value| match value {
            Value::String(text) => plain(text),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                plain(&other.to_string())
            }
        };
        let mut words = self.fields.get("message").map_or_else(String::new, show);
        for (name, value) in self.fields.iter().filter(|(name, _)| *name != "message") {
            words.push_str(&format!(" {}={}", plain(name), show(value)));
        }
        words
    }
}

/// Runs the command.
pub(crate) fn logs(out: Out, home: &Home, args: &LogsArgs) -> Result<u8, Trouble> {
    let sources: Vec<Source> = args.worker.map_or_else(|| Source::ALL.to_vec(), |one| vec![one]);
    let lines = usize::try_from(args.lines).unwrap_or(usize::MAX);
    let mut shown = Vec::new();
    let mut followed = Vec::new();
    for source in sources {
        let (lines, at) = newest(home, source, lines)?;
        shown.extend(lines);
        followed.push(Followed { source, at, partial: Vec::new() });
    }
    shown.sort_by(|a, b| a.time().cmp(b.time()));
    let skip = shown.len().saturating_sub(lines);
    if shown.is_empty() && !args.follow {
        out.note(&format!("no log lines in {} yet", home.logs().display()));
    }
    for line in shown.iter().skip(skip) {
        if !line.print(out) {
            return Ok(0);
        }
    }
    if !args.follow {
        return Ok(0);
    }
    link::block(async {
        loop {
            for log in &mut followed {
                for line in log.turn(home)? {
                    if !line.print(out) {
                        return Ok(0);
                    }
                }
            }
            tokio::time::sleep(POLL).await;
        }
    })?
}

/// The last line of a process's log, for an error message.
pub(crate) fn last_line(home: &Home, source: Source) -> Option<String> {
    let (lines, _) = newest(home, source, 1).ok()?;
    let line = lines.into_iter().next()?;
    let words = line.parsed.as_ref().map_or_else(|| plain(&line.text), Parsed::words);
    Some(words.chars().take(300).collect())
}

/// A file and how far it has been read.
type Place = Option<(PathBuf, u64)>;

/// Log files of one process, oldest first: their names end in the date.
fn files(home: &Home, source: Source) -> Result<Vec<PathBuf>, Trouble> {
    let folder = home.logs();
    let fail = |source| Trouble::Home { what: "read", path: folder.clone(), source };
    let prefix = format!("{}.log", source.as_str());
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The last lines of one process over as many files as needed, and where the newest file was read up to.
fn newest(home: &Home, source: Source, wanted: usize) -> Result<(VecDeque<Line>, Place), Trouble> {
    let mut lines = VecDeque::new();
    let mut place = None;
    for path in files(home, source)?.into_iter().rev() {
        let fail = |source| Trouble::Home { what: "read", path: path.clone(), source };
        let (bytes, end) = tail(&path, wanted - lines.len()).map_err(fail)?;
        place = place.or(Some((path.clone(), end)));
        for line in bytes.split(|b| *b == b'\n').rev().filter(|line| !line.is_empty()) {
            if lines.len() < wanted {
                lines.push_front(Line::new(source, line));
            }
        }
        if lines.len() >= wanted {
            break;
        }
    }
    Ok((lines, place))
}

/// The end of a file with at least this many whole lines, if it has them within bounds; and where its last whole line
/// ends.
fn tail(path: &Path, lines: usize) -> io::Result<(Vec<u8>, u64)> {
    let mut file = File::open(path)?;
    let len = file.seek(SeekFrom::End(0))?;
    let mut size = (64 * 1024).min(len);
    loop {
        file.seek(SeekFrom::Start(len - size))?;
        let mut bytes = Vec::new();
        (&mut file).take(size).read_to_end(&mut bytes)?;
        // What follows the last newline is still being written.
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let end = len - size + whole as u64;
        bytes.truncate(whole);
        let enough = bytes.iter().filter(|b| **b == b'\n').count() > lines;
        if enough || size == len || size >= TAIL_BYTES_MAX {
            if size < len {
                // The first line is cut in front.
                let first = bytes.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1);
                bytes.drain(..first);
            }
            return Ok((bytes, end));
        }
        size = (size * 4).min(len).min(TAIL_BYTES_MAX);
    }
}

/// One log that is being followed.
struct Followed {
    source: Source,
    at: Place,
    partial: Vec<u8>,
}

impl Followed {
    /// What was written since the last turn.
    fn turn(&mut self, home: &Home) -> Result<Vec<Line>, Trouble> {
        let Some(newest) = files(home, self.source)?.pop() else { return Ok(Vec::new()) };
        let (path, offset) = self.at.take().unwrap_or_else(|| (newest.clone(), 0));
        let (bytes, offset) = match read_on(&path, offset) {
            Ok(read) => read,
            // Rotated away and pruned between two turns.
            Err(e) if e.kind() == ErrorKind::NotFound => (Vec::new(), offset),
            Err(source) => return Err(Trouble::Home { what: "read", path, source }),
        };
        // The old file is read to its end before the new one is begun.
        self.at = Some(if bytes.is_empty() && path != newest { (newest, 0) } else { (path, offset) });
        self.partial.extend_from_slice(&bytes);
        let Some(last) = self.partial.iter().rposition(|b| *b == b'\n') else {
            // A line without an end does not grow without an end.
            self.partial.truncate(LINE_BYTES_MAX);
            return Ok(Vec::new());
        };
        let whole: Vec<u8> = self.partial.drain(..=last).collect();
        let lines = whole.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(|line| Line::new(self.source, line)).collect())
    }
}

fn read_on(path: &Path, offset: u64) -> io::Result<(Vec<u8>, u64)> {
    let mut file = File::open(path)?;
    let len = file.seek(SeekFrom::End(0))?;
    // A shorter file was begun anew.
    let from = if len < offset { 0 } else { offset };
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TURN_BYTES_MAX).read_to_end(&mut bytes)?;
    let read = bytes.len() as u64;
    Ok((bytes, from + read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().into());
        fs::create_dir(home.logs()).unwrap();
        (dir, home)
    }

    fn append(home: &Home, name: &str, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(home.logs().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn texts(lines: impl IntoIterator<Item = Line>) -> Vec<String> {
        lines.into_iter().map(|l| l.text).collect()
    }

    #[test]
    fn the_newest_lines_span_files_and_leave_out_what_is_half_written() {
        let (_dir, home) = home();
        append(&home, "engine.log.2026-01-01", "a\nb\n");
        append(&home, "engine.log.2026-01-02", "c\nd\nhalf");
        let (lines, place) = newest(&home, Source::Engine, 3).unwrap();
        assert_eq!(texts(lines), ["b", "c", "d"]);
        assert_eq!(place.unwrap().1, 4);
        assert_eq!(texts(newest(&home, Source::Api, 3).unwrap().0), Vec::<String>::new());
    }

    #[test]
    fn following_goes_on_in_the_next_days_file() {
        let (_dir, home) = home();
        append(&home, "engine.log.2026-01-01", "a\n");
        let (_, at) = newest(&home, Source::Engine, 1).unwrap();
        let mut log = Followed { source: Source::Engine, at, partial: Vec::new() };
        assert!(log.turn(&home).unwrap().is_empty());
        append(&home, "engine.log.2026-01-01", "b\nha");
        assert_eq!(texts(log.turn(&home).unwrap()), ["b"]);
        append(&home, "engine.log.2026-01-01", "lf\n");
        append(&home, "engine.log.2026-01-02", "c\n");
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.extend(texts(log.turn(&home).unwrap()));
        }
        assert_eq!(seen, ["half", "c"]);
    }

    #[test]
    fn a_long_file_is_read_from_its_end_only() {
        let (_dir, home) = home();
        let many: String = (0..40_000).map(|n| format!("line {n:05}\n")).collect();
        append(&home, "api.log.2026-01-01", &many);
        assert_eq!(texts(newest(&home, Source::Api, 2).unwrap().0), ["line 39998", "line 39999"]);
        assert_eq!(newest(&home, Source::Api, 10_000).unwrap().0.len(), 10_000);
    }
}
