//! The paper venue's own record: what really arrived, when, and what it did to the position.

use holdfast_core::money::Szi;
use holdfast_core::time::Tick;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// One line of `venue/orders.jsonl`; fields that no test needs are ignored.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    /// Boot-clock instant.
    pub boot_ns: u64,
    /// Venue time in milliseconds.
    #[serde(default)]
    pub wall_ms: u64,
    /// What arrived or happened.
    pub kind: String,
    /// Address of the key that signed; none for what the venue did by itself.
    pub signer: Option<String>,
    /// The coin.
    pub coin: Option<String>,
    /// Direction.
    pub is_buy: Option<bool>,
    /// Size asked for, or filled.
    pub sz: Option<String>,
    /// The client order id.
    pub cloid: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Whether the venue was told never to let it increase a position.
    pub reduce_only: Option<bool>,
    /// The action's own expiry, venue milliseconds.
    pub expires_after: Option<u64>,
    /// Position after it.
    pub position_after: Option<String>,
    /// Whether it made |position| larger or flipped it.
    #[serde(default)]
    pub increased_exposure: bool,
    /// Who caused it, when that is not a client.
    pub origin: Option<String>,
}

/// The whole file.
#[derive(Clone, Debug, Default)]
pub struct Witness(pub Vec<Line>);

impl Witness {
    /// Reads the file; absent means nothing has happened. A last line that is still being written is left out.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut lines = Vec::new();
        for (at, line) in text.split_inclusive('\n').enumerate() {
            if !line.ends_with('\n') {
                break;
            }
            lines.push(serde_json::from_str(line).unwrap_or_else(|e| panic!("witness line {at}: {e}: {line}")));
        }
        Self(lines)
    }

    /// Lines that increased exposure by a client's order within `(from, to]`.
    #[must_use]
    pub fn increases(&self, from: Tick, to: Tick) -> Vec<&Line> {
        let within = |line: &&Line| line.boot_ns > from.0 && line.boot_ns <= to.0;
        let ours = |line: &&Line| !matches!(line.origin.as_deref(), Some("injected" | "liquidation"));
        self.0.iter().filter(|line| line.increased_exposure).filter(within).filter(ours).collect()
    }

    /// Position per coin after the last fill.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<String, Szi> {
        let mut positions = BTreeMap::new();
        for line in self.0.iter().filter(|line| line.kind == "fill") {
            if let (Some(coin), Some(after)) = (&line.coin, &line.position_after) {
                positions.insert(coin.clone(), after.parse().expect("a position is a decimal"));
            }
        }
        positions.retain(|_, size: &mut Szi| !size.is_zero());
        positions
    }

    /// Orders that may open: none of them may have been taken after its own expiry, nor twice under one name.
    ///
    /// # Panics
    /// When one was.
    pub fn check_openings(&self) {
        let mut seen = std::collections::BTreeSet::new();
        for line in self.0.iter().filter(|line| line.kind == "order") {
            if let Some(cloid) = &line.cloid {
                assert!(seen.insert(cloid.clone()), "the venue saw {cloid} twice: {line:?}");
            }
            if line.increased_exposure && line.origin.as_deref() == Some("client") {
                let expires = line.expires_after.unwrap_or_else(|| panic!("an opening without an expiry: {line:?}"));
                assert!(line.wall_ms <= expires, "an opening was taken after its expiry: {line:?}");
            }
        }
    }

    /// Lines of this kind after an instant.
    #[must_use]
    pub fn of_kind(&self, kind: &str, after: Tick) -> Vec<&Line> {
        self.0.iter().filter(|line| line.kind == kind && line.boot_ns > after.0).collect()
    }
}
