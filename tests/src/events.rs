//! The runtime bus as an outsider reads it: every line's checksum and link computed again here.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;

/// One verified event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place, from 1.
    pub index: u64,
    /// Its type.
    pub kind: String,
    /// What it says.
    pub payload: Value,
    /// The cycle it belongs to; empty when it belongs to none.
    pub trace: String,
}

impl Event {
    /// A text member of what it says; empty when it has none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.payload[name].as_str().unwrap_or_default()
    }
}

/// The whole log of one segment, verified.
///
/// # Panics
/// When a line does not hold.
#[must_use]
pub fn read(folder: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(folder.join("events.jsonl")).expect("a readable log");
    let mut events = Vec::new();
    let mut last = Value::Null;
    // Behind the last event there is only padding.
    for line in text.lines().take_while(|line| !line.trim().is_empty()) {
        let all: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let sum = all["checksum"].as_str().expect("a checksum").to_owned();
        let bare = line.replacen(&format!("\"checksum\":\"{sum}\","), "", 1);
        let digits: String = Sha256::digest(bare).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum, format!("sha256:{digits}"), "{line}");
        assert_eq!(all["previous_checksum"], last, "{line}");
        let index = events.len() as u64 + 1;
        assert_eq!(all["event_index"], index, "{line}");
        last = sum.into();
        events.push(Event {
            index,
            kind: all["event_type"].as_str().expect("a type").to_owned(),
            payload: all["payload"].clone(),
            trace: all["trace_id"].as_str().unwrap_or_default().to_owned(),
        });
    }
    events
}
