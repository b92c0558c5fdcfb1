//! The engine's decision journal as an outsider reads it: every line's checksum and link computed again here.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One verified line.
#[derive(Clone, Debug)]
pub struct Written {
    /// Wall clock at the append, milliseconds.
    pub at_ms: u64,
    /// The name of the entry (`intent`, `outcome`, `settled`, `fill`, …).
    pub kind: String,
    /// Its content.
    pub body: Value,
}

impl Written {
    /// A text member of the content; empty when it has none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// Whether this is an intent to open.
    #[must_use]
    pub fn opens(&self) -> bool {
        self.kind == "intent" && self.text("kind") == "open"
    }

    /// Whether this says that nobody knows what became of an order.
    #[must_use]
    pub fn unknown(&self) -> bool {
        self.kind == "outcome" && self.body["outcome"]["unknown"].is_object()
    }
}

/// All segments, verified.
#[derive(Clone, Debug, Default)]
pub struct Decisions(pub Vec<Written>);

impl Decisions {
    /// Reads and verifies every segment of the journal whose open one has this path; a last line without its end is left
    /// out.
    ///
    /// # Panics
    /// When a line does not verify.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let closed = (1..).map(|n| path.with_extension(format!("{n:06}.jsonl"))).take_while(|path| path.exists());
        let files = closed.chain([path.to_owned()]);
        let text: String = files.map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect();
        let (mut lines, mut last, mut seq) = (Vec::new(), "0".repeat(64), 0);
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let (head, tail) = line.rsplit_once(",\"sum\":\"").unwrap_or_else(|| panic!("no checksum: {line}"));
            let sum = tail.strip_suffix("\"}\n").unwrap_or_else(|| panic!("no end: {line}"));
            let body = format!("{head}}}");
            assert_eq!(hex(&Sha256::digest(body.as_bytes())), sum, "the checksum of {line}");
            let value: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {line}"));
            seq += 1;
            assert_eq!(value["seq"].as_u64(), Some(seq), "the number of {line}");
            assert_eq!(value["prev"].as_str(), Some(last.as_str()), "the link of {line}");
            sum.clone_into(&mut last);
            let entry = value["entry"].as_object().unwrap_or_else(|| panic!("no entry: {line}"));
            let (kind, body) = entry.iter().next().unwrap_or_else(|| panic!("an empty entry: {line}"));
            let at_ms = value["at_ms"].as_u64().unwrap_or_else(|| panic!("no time: {line}"));
            lines.push(Written { at_ms, kind: kind.clone(), body: body.clone() });
        }
        Self(lines)
    }

    /// Where an entry of this kind about this order is.
    #[must_use]
    pub fn find(&self, kind: &str, cloid: &str) -> Option<usize> {
        self.0.iter().position(|line| line.kind == kind && line.text("cloid") == cloid)
    }

    /// Intents by client order id.
    ///
    /// # Panics
    /// When one key or one client order id was used twice.
    #[must_use]
    pub fn intents(&self) -> BTreeMap<String, Written> {
        let (mut intents, mut keys) = (BTreeMap::new(), BTreeSet::new());
        for line in self.0.iter().filter(|line| line.kind == "intent") {
            assert!(keys.insert(line.text("key").to_owned()), "a key was used twice: {line:?}");
            let old = intents.insert(line.text("cloid").to_owned(), line.clone());
            assert!(old.is_none(), "a client order id was used twice: {line:?}");
        }
        intents
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
