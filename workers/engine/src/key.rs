//! Idempotency keys and the client order ids made from them. Pure.
//!
//! The same decision has the same key in any process and epoch, so a decision that was written down is never sent again.

use holdfast_store::journal::IntentKind;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// A key (64 hex digits) and its client order id (`0x` and the key's first 32).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub key: String,
    /// Client order id, first 16 bytes of the key.
    pub cloid: String,
    /// The same as bytes.
    pub cloid_bytes: [u8; 16],
}

/// The key of a decision: which account, coin, side and purpose, decided on which venue time (for an opening: the
/// begin of the bar; for a closing attempt: its own millisecond, because a closing may always be tried again).
#[must_use]
pub fn key(account: &str, coin: &str, kind: IntentKind, is_buy: bool, venue_ms: u64) -> Key {
    let mut hash = Sha256::new();
    let purpose = match kind {
        IntentKind::Open => "open",
        IntentKind::Close => "close",
    };
    let side = if is_buy { "buy" } else { "sell" };
    for part in ["holdfast intent 1", account, coin, purpose, side, &venue_ms.to_string()] {
        // Lengths keep neighbouring parts apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut cloid_bytes = [0; 16];
    cloid_bytes.copy_from_slice(&digest[..16]);
    Key { key: hex(&digest), cloid: format!("0x{}", hex(&cloid_bytes)), cloid_bytes }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_decision_changes_its_key_and_nothing_else_does() {
        let base = || key("0xab", "BTC", IntentKind::Open, true, 1000);
        assert_eq!(base(), base());
        let others = [
            key("0xac", "BTC", IntentKind::Open, true, 1000),
            key("0xab", "ETH", IntentKind::Open, true, 1000),
            key("0xab", "BTC", IntentKind::Close, true, 1000),
            key("0xab", "BTC", IntentKind::Open, false, 1000),
            key("0xab", "BTC", IntentKind::Open, true, 2000),
            key("0xabB", "TC", IntentKind::Open, true, 1000),
        ];
        assert!(others.iter().all(|o| o.key != base().key && o.cloid != base().cloid));
        assert_eq!(base().cloid.len(), 34);
        assert!(base().key.starts_with(&base().cloid[2..]));
    }
}
