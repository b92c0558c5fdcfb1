//! Spot pairs: only what is needed to cancel an order that rests in one. This program neither trades nor sells spot.

use super::parse;
use crate::client::ReadError;
use crate::wire::AssetIndex;
use serde::Deserialize;
use std::collections::BTreeMap;

/// First index of spot pairs.
const SPOT_BASE: u32 = 10_000;
/// Pairs beyond which an index would leave its range.
const PAIRS_MAX: u32 = 100_000;

/// Asset indices of the venue's spot pairs, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpotPairs {
    pairs: BTreeMap<String, AssetIndex>,
}

/// Whether an order of this coin rests in a spot pair: `@7`, or two tokens with a slash between them.
#[must_use]
pub fn is_spot(coin: &str) -> bool {
    coin.starts_with('@') || coin.contains('/')
}

impl SpotPairs {
    /// The index of the pair with this name, or of `@N`.
    #[must_use]
    pub fn index(&self, coin: &str) -> Option<AssetIndex> {
        self.pairs.get(coin).copied()
    }
}

#[derive(Deserialize)]
struct MetaWire {
    universe: Vec<PairWire>,
}

#[derive(Deserialize)]
struct PairWire {
    name: String,
    index: u32,
}

/// Reads `spotMeta`. A pair's place in the list means nothing; its `index` does.
///
/// # Errors
/// [`ReadError::Shape`].
pub fn parse_spot_meta(body: &[u8]) -> Result<SpotPairs, ReadError> {
    let meta: MetaWire = parse("spotMeta", body)?;
    let mut pairs = BTreeMap::new();
    for pair in meta.universe {
        if pair.index >= PAIRS_MAX {
            return Err(ReadError::Shape(format!("spotMeta: {} has index {}", pair.name, pair.index)));
        }
        let asset = AssetIndex(SPOT_BASE.saturating_add(pair.index));
        pairs.insert(format!("@{}", pair.index), asset);
        pairs.insert(pair.name, asset);
    }
    Ok(SpotPairs { pairs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_pair_is_its_own_and_not_its_place() {
        let body = br#"{"tokens":[],"universe":[
            {"name":"PURR/USDC","tokens":[1,0],"index":0,"isCanonical":true},
            {"name":"@107","tokens":[150,0],"index":107,"isCanonical":false}]}"#;
        let pairs = parse_spot_meta(body).unwrap();
        for (coin, index) in
            [("PURR/USDC", Some(10_000)), ("@0", Some(10_000)), ("@107", Some(10_107)), ("@1", None), ("BTC", None)]
        {
            assert_eq!(pairs.index(coin).map(|asset| asset.0), index, "{coin}");
        }
        for bad in [&br#"{"universe":[{"name":"x"}]}"#[..], br#"{"universe":[{"name":"x","index":100000}]}"#, b"{}"] {
            assert!(parse_spot_meta(bad).is_err());
        }
    }

    #[test]
    fn what_is_spot_shows_in_the_name() {
        for (coin, spot) in [("@1", true), ("PURR/USDC", true), ("BTC", false), ("alt:GOLD", false), ("kPEPE", false)] {
            assert_eq!(is_spot(coin), spot, "{coin}");
        }
    }
}
