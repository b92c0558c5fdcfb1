//! Typed actions, their keys in the order that is hashed. The same value is signed as MessagePack and sent as JSON.
//!
//! What goes on the book from here is always reduce-only: the order entry has no field that could say otherwise, and
//! is private to this crate.

use crate::wire::{AssetIndex, Cloid, Oid, Tif};
use serde::{Serialize, Serializer};

/// One cancel by venue order id. Works for every order, also those placed by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CancelOid {
    /// The market.
    #[serde(rename = "a")]
    pub asset: AssetIndex,
    /// The order.
    #[serde(rename = "o")]
    pub oid: Oid,
}

/// One cancel by client order id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CancelCloid {
    /// The market.
    pub asset: AssetIndex,
    /// The order.
    pub cloid: Cloid,
}

/// Cancel by order ids.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "cancel")]
pub(crate) struct CancelAction<'a> {
    pub(crate) cancels: &'a [CancelOid],
}

/// Cancel by client order ids.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "cancelByCloid")]
pub(crate) struct CancelByCloidAction<'a> {
    pub(crate) cancels: &'a [CancelCloid],
}

/// Sets (`Some`) or clears (`None`) the venue's dead-man switch, in venue milliseconds.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "scheduleCancel")]
pub(crate) struct ScheduleCancelAction {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<u64>,
}

/// Burns its nonce: an action in flight under the same nonce is void.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "noop")]
pub(crate) struct NoopAction {}

/// A batch of reduce-only orders.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "order")]
pub(crate) struct ReduceAction<'a> {
    pub(crate) orders: &'a [ReduceOrder],
    pub(crate) grouping: Grouping,
}

/// No grouping: each order stands alone.
#[derive(Debug, Serialize)]
pub(crate) enum Grouping {
    #[serde(rename = "na")]
    Na,
}

/// One reduce-only order.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReduceOrder {
    #[serde(rename = "a")]
    pub(crate) asset: AssetIndex,
    #[serde(rename = "b")]
    pub(crate) is_buy: bool,
    #[serde(rename = "p")]
    pub(crate) px: String,
    #[serde(rename = "s")]
    pub(crate) sz: String,
    #[serde(rename = "r")]
    pub(crate) reduce_only: Always,
    #[serde(rename = "t")]
    pub(crate) kind: LimitKind,
    #[serde(rename = "c")]
    pub(crate) cloid: Cloid,
}

/// `true`, and nothing else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Always;

impl Serialize for Always {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bool(true)
    }
}

/// `{limit: {tif}}`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct LimitKind {
    pub(crate) limit: Limit,
}

/// `{tif}`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Limit {
    pub(crate) tif: Tif,
}

impl LimitKind {
    pub(crate) const fn of(tif: Tif) -> Self {
        Self { limit: Limit { tif } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::message_pack;
    use crate::wire::hex_encode;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct File {
        vectors: Vec<Row>,
    }

    #[derive(Deserialize)]
    struct Row {
        name: String,
        msgpack_hex: String,
    }

    fn packed<A: Serialize>(action: &A) -> String {
        hex_encode(&message_pack(action).unwrap())
    }

    /// The typed actions pack to the very bytes of the published vectors.
    #[test]
    fn typed_actions_are_byte_exact() {
        let file: File =
            serde_json::from_str(include_str!("../../../../fixtures/venue/hyperliquid-signing.json")).unwrap();
        let vector = |name: &str| file.vectors.iter().find(|row| row.name == name).unwrap().msgpack_hex.clone();
        let cloid = |text: &str| -> Cloid { text.parse().unwrap() };

        let order = ReduceOrder {
            asset: AssetIndex(4),
            is_buy: false,
            px: "2289.7".to_owned(),
            sz: "0.5".to_owned(),
            reduce_only: Always,
            kind: LimitKind::of(Tif::Ioc),
            cloid: cloid("0x000000000000000000000000000a11ce"),
        };
        let close = ReduceAction { orders: &[order], grouping: Grouping::Na };
        assert_eq!(packed(&close), vector("flatten_ioc_reduce_only_sell_cloid"));

        let cancels = [CancelOid { asset: AssetIndex(0), oid: Oid(127) }];
        assert_eq!(packed(&CancelAction { cancels: &cancels }), vector("cancel_one_small_oid"));
        let many: Vec<CancelOid> =
            (0..17).map(|i| CancelOid { asset: AssetIndex(i % 3), oid: Oid(569_017_209_592 + u64::from(i)) }).collect();
        assert_eq!(packed(&CancelAction { cancels: &many }), vector("cancel_seventeen_big_oids_array16"));

        let cancels = [CancelCloid { asset: AssetIndex(4), cloid: cloid("0x000000000000000000000000000a11ce") }];
        assert_eq!(packed(&CancelByCloidAction { cancels: &cancels }), vector("cancel_by_cloid_expires_testnet"));
        let time = Some(1_790_000_060_010);
        assert_eq!(packed(&ScheduleCancelAction { time }), vector("schedule_cancel_set"));
        assert_eq!(packed(&ScheduleCancelAction { time: None }), vector("schedule_cancel_clear"));
        assert_eq!(packed(&NoopAction {}), vector("noop_burns_a_nonce"));
    }
}
