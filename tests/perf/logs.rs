//! Instants that the processes write into their logs, by the boot clock all of them share.

use holdfast_tests::Tree;
use holdfast_tests::wait::{attempt, s};
use serde_json::Value;

/// Every line of a process's log whose message is this one, as its fields.
pub(crate) fn lines(tree: &Tree, process: &str, message: &str) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(tree.home.paths().logs()) else { return Vec::new() };
    let prefix = format!("{process}.log");
    let mut found = Vec::new();
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let fields = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        found.extend(fields.map(|mut line| line["fields"].take()).filter(|fields| fields["message"] == message));
    }
    found
}

/// The first instant under `field`, later than `after`, of a line with this message (and role). Waits until it is written:
/// logs lag by some milliseconds, the instants in them do not.
pub(crate) fn instant(tree: &Tree, message: &str, role: Option<&str>, field: &str, after: u64) -> u64 {
    let found = attempt(s(15), || {
        lines(tree, "supervisor", message)
            .iter()
            .filter(|fields| role.is_none_or(|role| fields["role"] == role))
            .filter_map(|fields| fields[field].as_u64())
            .filter(|at| *at > after)
            .min()
    });
    found.unwrap_or_else(|| panic!("no {message:?} of {role:?} after {after} in the supervisor's log\n{}", tree.logs()))
}
