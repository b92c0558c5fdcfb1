//! Open orders and order status.

use super::market::px_or_none;
use super::parse;
use crate::client::ReadError;
use crate::status::OrderStatusText;
use crate::wire::{Cloid, Oid, Side};
use holdfast_core::money::{Px, Sz};
use serde::Deserialize;

/// One open order, in the form of `frontendOpenOrders`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenOrder {
    /// The market.
    pub coin: String,
    /// Its side.
    pub side: Side,
    /// Limit price; absent where the venue shows zero (market triggers).
    #[serde(deserialize_with = "px_or_none")]
    pub limit_px: Option<Px>,
    /// Size still open.
    pub sz: Sz,
    /// Size asked for.
    pub orig_sz: Sz,
    /// Venue order id.
    pub oid: Oid,
    /// When it was placed, ms.
    pub timestamp: u64,
    /// Our id; orders placed by hand have none.
    #[serde(default)]
    pub cloid: Option<Cloid>,
    /// Reduce-only. Taken as false where absent: the cautious reading.
    #[serde(default)]
    pub reduce_only: bool,
    /// A trigger order that is not on the book yet.
    #[serde(default)]
    pub is_trigger: bool,
    /// Where it triggers.
    #[serde(default, deserialize_with = "px_or_none")]
    pub trigger_px: Option<Px>,
    /// The venue's words for its kind.
    #[serde(default)]
    pub order_type: Option<String>,
    /// Time in force, in the venue's words.
    #[serde(default)]
    pub tif: Option<String>,
    /// Stop or target tied to the position.
    #[serde(default)]
    pub is_position_tpsl: bool,
    /// Orders tied to this one; some also stand in the list by themselves.
    #[serde(default)]
    pub children: Vec<OpenOrder>,
}

/// Reads `frontendOpenOrders` (or `openOrders`).
///
/// # Errors
/// [`ReadError::Shape`] when any order cannot be read: an unread order is not an absent one.
pub fn parse_open_orders(body: &[u8]) -> Result<Vec<OpenOrder>, ReadError> {
    parse("frontendOpenOrders", body)
}

/// What the venue says about one order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "status")]
pub enum OrderStatus {
    /// It knows the order.
    #[serde(rename = "order")]
    Order {
        /// The order and its state.
        order: Box<StatusedOrder>,
    },
    /// It does not know the order, or not yet.
    #[serde(rename = "unknownOid")]
    UnknownOid {},
}

/// An order with its state.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusedOrder {
    /// The order.
    pub order: OpenOrder,
    /// Its state.
    pub status: OrderStatusText,
    /// Since when, ms.
    pub status_timestamp: u64,
}
