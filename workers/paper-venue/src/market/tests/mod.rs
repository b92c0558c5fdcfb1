//! What the market promises, on our own scenario, on every recording, and on files that must be refused.

mod files;
mod refused;
mod scenario;
mod variants;

use std::path::{Path, PathBuf};

use rust_decimal::Decimal;

use super::{CoinSpec, Market, MarketEvent, MarketKind, MarketSource};

/// A sample that is committed.
pub(super) fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/market/samples").join(name)
}

/// Opens a file that must be accepted.
pub(super) fn open(path: &Path) -> Market {
    match Market::open(&MarketSource::File { path: path.to_path_buf() }) {
        Ok(market) => market,
        Err(error) => panic!("{error}; {}", error.advice()),
    }
}

/// Writes a file and tries to open it.
pub(super) fn open_bytes(bytes: &[u8]) -> Result<Market, super::MarketError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("market");
    std::fs::write(&path, bytes).unwrap();
    Market::open(&MarketSource::File { path })
}

/// The venue's rule for a legal price, written a second time and another way than in the code.
pub(super) fn legal(px: Decimal, sz_decimals: u32) -> bool {
    let plain = px.normalize();
    let figures = plain.mantissa().unsigned_abs().to_string().len();
    plain.scale() == 0 || (figures <= 5 && plain.scale() <= 6 - sz_decimals)
}

/// Everything every event must be, whatever the source; answers the events.
pub(super) fn checked(market: &mut Market, count: usize) -> Vec<MarketEvent> {
    let coins: Vec<CoinSpec> = market.coins().to_vec();
    let mut now = 0;
    (0..count)
        .map(|_| {
            let event = market.next_event();
            assert!(event.at_ms >= now, "time went backwards");
            now = event.at_ms;
            let spec = coins.iter().find(|c| c.name == event.coin).expect("a listed coin");
            match &event.kind {
                MarketKind::Book { bids, asks } => {
                    assert!(bids.len() <= 20 && asks.len() <= 20);
                    assert!(bids.windows(2).all(|w| w[0].px > w[1].px), "bids out of order {bids:?}");
                    assert!(asks.windows(2).all(|w| w[0].px < w[1].px), "asks out of order {asks:?}");
                    if let (Some(bid), Some(ask)) = (bids.first(), asks.first()) {
                        assert!(bid.px < ask.px, "crossed: {bid:?} {ask:?}");
                    }
                    for level in bids.iter().chain(asks) {
                        assert!(legal(level.px.get(), spec.sz_decimals), "{} {}", spec.name, level.px);
                        assert!(!level.sz.is_zero() && level.sz.floor_to(spec.sz_decimals) == level.sz);
                    }
                }
                MarketKind::Trade { px, sz, .. } => {
                    assert!(legal(px.get(), spec.sz_decimals), "{} {px}", spec.name);
                    assert!(!sz.is_zero() && sz.floor_to(spec.sz_decimals) == *sz, "{} {sz}", spec.name);
                }
                MarketKind::Mark { px } => assert!(legal(px.get(), spec.sz_decimals), "{} {px}", spec.name),
            }
            event
        })
        .collect()
}
