//! A process's log as a test reads it: JSON lines in the order they were written. Logs are no evidence of what happened
//! on the venue; they are the evidence of the order in which the supervisor acted.

use crate::tree::Tree;
use holdfast_core::time::Tick;
use serde_json::Value;

/// The lines of one process, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Diary(pub Vec<Value>);

impl Tree {
    /// What a process has written so far, over all days; a line still being written is left out.
    #[must_use]
    pub fn diary(&self, name: &str) -> Diary {
        let Ok(entries) = std::fs::read_dir(self.home.paths().logs()) else { return Diary::default() };
        let prefix = format!("{name}.log.");
        let ours = |path: &std::path::PathBuf| {
            path.file_name().and_then(|file| file.to_str()).is_some_and(|file| file.starts_with(&prefix))
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(ours).collect();
        paths.sort();
        let text: String = paths.iter().map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect();
        Diary(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

impl Diary {
    /// The first line at or after `from` that satisfies a condition.
    pub fn find(&self, from: usize, holds: impl Fn(&Value) -> bool) -> Option<usize> {
        (from..self.0.len()).find(|at| holds(&self.0[*at]["fields"]))
    }

    /// The first line at or after `from` whose message contains a text.
    #[must_use]
    pub fn says(&self, from: usize, text: &str) -> Option<usize> {
        self.find(from, |fields| fields["message"].as_str().is_some_and(|message| message.contains(text)))
    }

    /// A boot-clock field of a line.
    #[must_use]
    pub fn tick(&self, at: usize, field: &str) -> Option<Tick> {
        self.0.get(at)?["fields"][field].as_u64().map(Tick)
    }

    /// Lines that carry this boot-clock field, with its value, from `from` on.
    #[must_use]
    pub fn ticks(&self, from: usize, field: &str) -> Vec<(usize, Tick)> {
        (from..self.0.len()).filter_map(|at| Some((at, self.tick(at, field)?))).collect()
    }
}
