//! The files of a log that is cut in pieces: `STEM.NNNNNN.jsonl` for the closed ones, `STEM.jsonl` for the open one.

use crate::disk::Folder;
use std::io;

/// Name of the open segment.
pub(crate) fn active_name(stem: &str) -> String {
    format!("{stem}.jsonl")
}

/// Name of a closed segment; they are counted from 1.
pub(crate) fn closed_name(stem: &str, number: u64) -> String {
    format!("{stem}.{number:06}.jsonl")
}

/// Which closed segment has this name, if one has.
pub(crate) fn closed_number(stem: &str, name: &str) -> Option<u64> {
    let digits = name.strip_prefix(stem)?.strip_prefix('.')?.strip_suffix(".jsonl")?;
    let number: u64 = digits.parse().ok()?;
    (closed_name(stem, number) == name && number > 0).then_some(number)
}

/// Which segments of a log there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Census {
    /// The highest number of a closed one; 0 if there is none.
    pub(crate) closed: u64,
    /// Whether there is an open one.
    pub(crate) active: bool,
    /// The first number that is missing below a closed one.
    pub(crate) missing: Option<u64>,
}

impl Census {
    /// Looks.
    pub(crate) fn of<F: Folder>(folder: &F, stem: &str) -> io::Result<Self> {
        let names = folder.list()?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| closed_number(stem, name)).collect();
        numbers.sort_unstable();
        let missing = (1..).zip(&numbers).find(|(expected, number)| expected != *number).map(|(expected, _)| expected);
        let closed = numbers.last().copied().unwrap_or(0);
        Ok(Self { closed, active: names.contains(&active_name(stem)), missing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_segments() {
        let number = |name| closed_number("events", name);
        assert_eq!(number("events.000007.jsonl"), Some(7));
        assert_eq!(number("events.1000000.jsonl"), Some(1_000_000));
        for name in ["events.jsonl", "events.7.jsonl", "events.000000.jsonl", "events.torn-1", "events.0000007.jsonl"] {
            assert_eq!(number(name), None, "{name}");
        }
        assert_eq!(closed_number("decisions", "events.000007.jsonl"), None);
    }
}
