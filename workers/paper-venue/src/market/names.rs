//! Coin names and the rules that go with them: from the symbols of other venues to the venue's own coin names, size
//! decimals that make the recorded prices legal, and the scale of coins that are quoted by the thousand.

use super::number::{Fx, PX_ONE};

/// The coin of a file that does not name one.
pub(super) const DEFAULT_COIN: &str = "BTC";

/// What is appended to a coin in other venues' symbols; the longest match goes first.
const QUOTES: [&str; 9] = ["FDUSD", "USDT", "USDC", "PERP", "SWAP", "USD", "EUR", "GBP", "DAI"];

/// The venue's coin name for a symbol such as `BTCUSDT`, `BTC-PERP`, `BTC/USD`, `XBTUSD`, `1000PEPEUSDT`, `kPEPE`.
/// `None` when nothing usable is left.
pub(super) fn coin_of(symbol: &str) -> Option<String> {
    let symbol = symbol.trim();
    let base = symbol.rsplit(':').next().unwrap_or(symbol);
    let mut base = base.split(['-', '/', '_', ' ', '.']).find(|part| !part.is_empty()).unwrap_or("");
    for quote in QUOTES {
        if base.len() > quote.len() && base.to_ascii_uppercase().ends_with(quote) && base.is_ascii() {
            base = &base[..base.len() - quote.len()];
            break;
        }
    }
    if base.is_empty() || base.len() > 16 || !base.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    if let Some(rest) = base.strip_prefix("1000").filter(|r| !r.is_empty() && !r.starts_with('0')) {
        return Some(format!("k{}", rest.to_ascii_uppercase()));
    }
    // The venue's own spelling: a small k, then capitals.
    if base.starts_with('k') && base.len() > 1 && base[1..].bytes().all(|b| !b.is_ascii_lowercase()) {
        return Some(base.to_string());
    }
    let name = base.to_ascii_uppercase();
    Some(if name == "XBT" { DEFAULT_COIN.to_string() } else { name })
}

/// A coin named by a column such as `quantity_atom` or `volume_btc`; quote currencies are not coins.
pub(super) fn coin_of_column(column: &str) -> Option<String> {
    let tail = ["quantity_", "volume_", "amount_", "qty_", "size_"].iter().find_map(|p| column.strip_prefix(p))?;
    let upper = tail.to_ascii_uppercase();
    let word = ["BASE", "QUOTE", "ASSET", "FROM", "TO", "USDT", "USDC", "COIN", "CONTRACTS", "CCY", "CURRENCY"];
    if word.contains(&upper.as_str()) || QUOTES.contains(&upper.as_str()) || tail.contains('_') || tail.len() > 6 {
        return None;
    }
    coin_of(tail)
}

/// How a coin is listed, given a typical price: name, size decimals, leverage, and by how much recorded prices are
/// multiplied (1000 for coins so cheap that the venue lists them by the thousand, with a `k` before the name).
pub(super) fn listing(name: &str, typical: Fx) -> (String, u32, u32, i64) {
    let by_thousand = typical < PX_ONE / 2_000 && !name.starts_with('k');
    let (name, scale) = if by_thousand { (format!("k{name}"), 1_000) } else { (name.to_string(), 1) };
    let px = typical.saturating_mul(scale);
    let mut whole_digits = 0_u32;
    let mut left = px / PX_ONE;
    while left > 0 {
        whole_digits += 1;
        left /= 10;
    }
    // One decimal of size for each whole digit of price leaves prices five significant figures; never more than 5.
    let sz_decimals = match (name.as_str(), whole_digits) {
        ("ATOM", 1) => 2,
        (_, digits) => digits.min(5),
    };
    let leverage = match name.as_str() {
        "BTC" => 40,
        "ETH" => 25,
        _ => 10,
    };
    (name, sz_decimals, leverage, scale)
}

#[cfg(test)]
mod tests {
    use super::super::number::price;
    use super::*;

    #[test]
    fn symbols_become_coins() {
        for (symbol, coin) in [
            ("BTCUSDT", Some("BTC")),
            ("BTC-PERP", Some("BTC")),
            ("BTC/USD", Some("BTC")),
            ("BTC_USDC_PERP", Some("BTC")),
            ("BINANCE:ETHUSDT", Some("ETH")),
            ("XBTUSD", Some("BTC")),
            ("kPEPE", Some("kPEPE")),
            ("1000PEPEUSDT", Some("kPEPE")),
            ("pepe", Some("PEPE")),
            ("KAS", Some("KAS")),
            ("", None),
            ("§", None),
            ("a-very-long", Some("A")),
        ] {
            assert_eq!(coin_of(symbol).as_deref(), coin, "{symbol}");
        }
        assert_eq!(coin_of_column("quantity_atom").as_deref(), Some("ATOM"));
        assert_eq!(coin_of_column("volume_usdt"), None);
        assert_eq!(coin_of_column("volume"), None);
    }

    #[test]
    fn listings_make_prices_legal() {
        for (name, px, want, decimals, scale) in [
            ("BTC", "61800", "BTC", 5, 1),
            ("ETH", "2500", "ETH", 4, 1),
            ("ATOM", "1.688", "ATOM", 2, 1),
            ("DYDX", "2.111", "DYDX", 1, 1),
            ("PEPE", "0.0000016", "kPEPE", 0, 1_000),
            ("kPEPE", "0.0016", "kPEPE", 0, 1),
        ] {
            let (name, sz_decimals, _, by) = listing(name, price(px).unwrap());
            assert_eq!((name.as_str(), sz_decimals, by), (want, decimals, scale));
        }
    }
}
