//! Orders that may add risk, and leverage: their legal form and their keys in the order that is hashed.

use holdfast_core::money::{Px, Sz, Usd};
use holdfast_venue_reduce::read::Asset;
use holdfast_venue_reduce::wire::{AssetIndex, BadWire, Cloid, Side, Tif, wire_px, wire_sz};
use rust_decimal::Decimal;
use serde::Serialize;

/// Why an order would be refused by the venue, found before sending.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOrder {
    /// The market is no longer traded.
    #[error("this market is delisted")]
    Delisted,
    /// The price is not on the market's grid.
    #[error("price {0} is not legal in this market")]
    Price(Px),
    /// The size is not on the market's grid, or zero.
    #[error("size {0} is not legal in this market")]
    Size(Sz),
    /// Below the venue's minimum.
    #[error("notional {0} USD is below the venue's minimum of 10")]
    Notional(Usd),
    /// A number has no wire form.
    #[error("number cannot be sent: {0}")]
    Number(#[from] BadWire),
}

/// One limit order that may add risk. Checked against its market when made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    entry: Entry,
    cloid: Cloid,
}

impl OpenOrder {
    /// Makes an order; `cloid` is already written to disk by the caller.
    ///
    /// # Errors
    /// [`BadOrder`].
    pub fn new(asset: &Asset, side: Side, px: Px, sz: Sz, tif: Tif, cloid: Cloid) -> Result<Self, BadOrder> {
        if asset.delisted {
            return Err(BadOrder::Delisted);
        }
        if !asset.rule.is_legal(px) {
            return Err(BadOrder::Price(px));
        }
        if !asset.rule.is_legal_size(sz) {
            return Err(BadOrder::Size(sz));
        }
        let notional = sz.notional(px).ok_or(BadWire::Unreadable)?;
        if notional.get() < Decimal::TEN {
            return Err(BadOrder::Notional(notional));
        }
        let entry = Entry {
            asset: asset.index,
            is_buy: side.is_buy(),
            px: wire_px(px)?,
            sz: wire_sz(sz)?,
            reduce_only: false,
            kind: Kind { limit: Limit { tif } },
            cloid,
        };
        Ok(Self { entry, cloid })
    }

    /// Its client order id.
    #[must_use]
    pub const fn cloid(&self) -> Cloid {
        self.cloid
    }

    pub(crate) fn action(&self) -> OrderAction<'_> {
        OrderAction { orders: [&self.entry], grouping: "na" }
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "order")]
pub(crate) struct OrderAction<'a> {
    orders: [&'a Entry; 1],
    grouping: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Entry {
    #[serde(rename = "a")]
    asset: AssetIndex,
    #[serde(rename = "b")]
    is_buy: bool,
    #[serde(rename = "p")]
    px: String,
    #[serde(rename = "s")]
    sz: String,
    #[serde(rename = "r")]
    reduce_only: bool,
    #[serde(rename = "t")]
    kind: Kind,
    #[serde(rename = "c")]
    cloid: Cloid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Kind {
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Limit {
    tif: Tif,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "updateLeverage", rename_all = "camelCase")]
pub(crate) struct LeverageAction {
    pub(crate) asset: AssetIndex,
    pub(crate) is_cross: bool,
    pub(crate) leverage: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_venue_reduce::read::parse_meta;
    use holdfast_venue_reduce::sign::message_pack;
    use holdfast_venue_reduce::wire::Dex;

    fn asset() -> Asset {
        let meta = br#"{"universe":[{"name":"BTC","szDecimals":5,"maxLeverage":40}]}"#;
        parse_meta(meta, &Dex::first(), 0).unwrap().asset("BTC").unwrap().clone()
    }

    fn order(px: &str, sz: &str) -> Result<OpenOrder, BadOrder> {
        let (px, sz) = (px.parse().unwrap(), sz.parse().unwrap());
        OpenOrder::new(&asset(), Side::Buy, px, sz, Tif::Gtc, Cloid::new([0; 16]))
    }

    #[test]
    fn what_the_venue_would_refuse_is_not_made() {
        assert!(order("80459", "0.0012").is_ok());
        assert!(matches!(order("80459.5", "0.0012"), Err(BadOrder::Price(_))));
        assert!(matches!(order("80459", "0.000001"), Err(BadOrder::Size(_))));
        assert!(matches!(order("80459", "0"), Err(BadOrder::Size(_))));
        assert!(matches!(order("80459", "0.0001"), Err(BadOrder::Notional(_))));
    }

    #[test]
    fn keys_are_packed_in_the_order_that_is_hashed() {
        let packed = message_pack(&order("80459", "0.0012").unwrap().action()).unwrap();
        let cloid: String = "0x00000000000000000000000000000000".bytes().map(|b| format!("{b:02x}")).collect();
        // The first published vector, with a client order id added as the seventh key.
        let expect = format!(
            "83a474797065a56f72646572a66f72646572739187a16100a162c3a170a53830343539a173a6302e30303132a172c2a17481a56c696d697481a3746966a3477463a163d922{cloid}a867726f7570696e67a26e61"
        );
        assert_eq!(packed.iter().map(|b| format!("{b:02x}")).collect::<String>(), expect);
        let leverage = LeverageAction { asset: AssetIndex(0), is_cross: true, leverage: 5 };
        assert_eq!(
            serde_json::to_string(&leverage).unwrap(),
            r#"{"type":"updateLeverage","asset":0,"isCross":true,"leverage":5}"#
        );
    }
}
