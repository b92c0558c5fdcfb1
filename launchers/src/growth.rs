//! How long the records are, how fast they grow, and for how long there is room. They are kept for ever: evidence is not
//! thinned out. Where the room gets short the whole home moves to a larger disk, in time.

use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

const DAY_MS: u64 = 86_400_000;
/// Over less than this nothing is known of a rate.
const SHORTEST_MS: u64 = DAY_MS / 24;
/// Fewer days than these are to be looked at.
pub(crate) const DAYS_MIN: u64 = 30;

/// The bus and the decision journal together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Bytes of all their segments.
    pub(crate) bytes: u64,
    /// Bytes a day of late; unknown in the first hour.
    pub(crate) per_day: Option<u64>,
    /// Days until the disk is full at that rate.
    pub(crate) days_left: Option<u64>,
}

/// Measures; `None` while there is nothing.
pub(crate) fn measure(home: &Home) -> Option<Growth> {
    let mut files = segments(&home.bus(), "events");
    files.extend(segments(&home.data(), "decisions"));
    let first = files.iter().map(|file| file.changed_ms).min()?;
    let begun = begun_ms(&home.bus()).unwrap_or(first);
    let stat = rustix::fs::statvfs(home.data().as_path()).ok()?;
    Some(judge(&files, begun, clock::wall_ms(), stat.f_bavail.saturating_mul(stat.f_frsize)))
}

impl std::fmt::Display for Growth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} recorded", size(self.bytes))?;
        match (self.per_day, self.days_left) {
            (Some(per_day), Some(days)) if days >= 36_500 => write!(f, ", {} a day: room for a century", size(per_day)),
            (Some(per_day), Some(days)) => write!(f, ", {} a day: room for {days} days", size(per_day)),
            (Some(_), None) => f.write_str(", nothing added of late"),
            (None, _) => f.write_str(", too young for a rate"),
        }
    }
}

fn size(bytes: u64) -> String {
    let mib = bytes / (1 << 20);
    if mib < 10 { format!("{} KiB", bytes.div_ceil(1024)) } else { format!("{mib} MiB") }
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    bytes: u64,
    changed_ms: u64,
}

fn segments(folder: &Path, stem: &str) -> Vec<Segment> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let ours =
        |name: &str| name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".jsonl"));
    let one = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let meta = entry.metadata().ok().filter(|_| name.to_str().is_some_and(ours))?;
        let changed = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(Segment { bytes: meta.len(), changed_ms: u64::try_from(changed.as_millis()).ok()? })
    };
    entries.flatten().filter_map(one).collect()
}

/// When the first event that is still here was recorded, wall-clock milliseconds.
fn begun_ms(bus: &Path) -> Option<u64> {
    let mut names: Vec<_> = fs::read_dir(bus).ok()?.flatten().map(|entry| entry.path()).collect();
    names.sort();
    let first = names.into_iter().find(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("events.0") || name == "events.jsonl"
    })?;
    let mut text = String::new();
    File::open(first).ok()?.take(64).read_to_string(&mut text).ok()?;
    let seconds: f64 = text.strip_prefix("{\"as_of\":")?.split(',').next()?.parse().ok()?;
    u64::try_from(std::time::Duration::try_from_secs_f64(seconds).ok()?.as_millis()).ok()
}

/// The rate is that of the last day at least: what was added since the newest file that was last changed before it.
fn judge(files: &[Segment], begun_ms: u64, now_ms: u64, free: u64) -> Growth {
    let bytes = files.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
    let old = |file: &&Segment| file.changed_ms.saturating_add(DAY_MS) <= now_ms;
    let since = files.iter().filter(old).map(|file| file.changed_ms).max().unwrap_or(begun_ms);
    let before =
        files.iter().filter(|file| file.changed_ms <= since).map(|file| file.bytes).fold(0, u64::saturating_add);
    let span = now_ms.saturating_sub(since);
    let added = u128::from(bytes.saturating_sub(before));
    let per_day = (span >= SHORTEST_MS)
        .then(|| u64::try_from(added.saturating_mul(u128::from(DAY_MS)) / u128::from(span)).unwrap_or(u64::MAX));
    Growth { bytes, per_day, days_left: per_day.and_then(|per_day| free.checked_div(per_day)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_day_and_nothing_is_said_too_early() {
        const MIB: u64 = 1 << 20;
        let file = |mib: u64, days_ago: u64| Segment { bytes: mib * MIB, changed_ms: (1000 - days_ago) * DAY_MS };
        let now = 1000 * DAY_MS;
        // Files, days since the beginning, MiB free; MiB a day and days left.
        type Case<'a> = (&'a str, &'a [Segment], u64, u64, Option<u64>, Option<u64>);
        let cases: [Case<'_>; 5] = [
            ("one file, ten days old", &[file(20, 0)], 10, 100, Some(2), Some(50)),
            ("slow once, fast of late", &[file(64, 200), file(64, 2), file(20, 0)], 900, 100, Some(10), Some(10)),
            ("just begun", &[file(1, 0)], 0, 100, None, None),
            ("nobody has written for days", &[file(64, 5), file(20, 5)], 900, 100, Some(0), None),
            ("a full disk", &[file(20, 0)], 10, 0, Some(2), Some(0)),
        ];
        for (name, files, begun, free, per_day, days_left) in cases {
            let growth = judge(files, now - begun * DAY_MS, now, free * MIB);
            assert_eq!(
                (growth.per_day.map(|bytes| bytes / MIB), growth.days_left),
                (per_day, days_left),
                "{name}: {growth}"
            );
        }
    }
}
