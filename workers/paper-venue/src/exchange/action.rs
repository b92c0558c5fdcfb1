//! Signed actions as closed types, read from the very value that was hashed.

use super::types::Kind;
use crate::addr::Cloid;
use holdfast_core::money::{Px, Sz};
use serde::Deserialize;

/// Everything the venue takes at `POST /exchange`.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "field names are the wire's own, described in the venue facts")]
pub enum Action {
    /// Place orders.
    Order {
        orders: Vec<WireOrder>,
        grouping: Grouping,
        #[serde(default)]
        builder: Option<Builder>,
    },
    /// Cancel by venue order id.
    Cancel { cancels: Vec<WireCancel> },
    /// Cancel by client order id.
    CancelByCloid { cancels: Vec<WireCancelByCloid> },
    /// Arm, move or clear the dead-man switch.
    ScheduleCancel {
        #[serde(default)]
        time: Option<u64>,
    },
    /// Choose leverage for a coin.
    UpdateLeverage { asset: u32, is_cross: bool, leverage: u32 },
    /// Cancel and replace several orders.
    BatchModify { modifies: Vec<WireModify> },
    /// Cancel and replace one order.
    Modify { oid: OidOrCloid, order: WireOrder },
    /// Burn a nonce.
    Noop {},
}

impl Action {
    /// The venue's name of it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Order { .. } => "order",
            Self::Cancel { .. } => "cancel",
            Self::CancelByCloid { .. } => "cancelByCloid",
            Self::ScheduleCancel { .. } => "scheduleCancel",
            Self::UpdateLeverage { .. } => "updateLeverage",
            Self::BatchModify { .. } => "batchModify",
            Self::Modify { .. } => "modify",
            Self::Noop {} => "noop",
        }
    }

    /// How many entries it has: what the address quota counts.
    #[must_use]
    pub fn entries(&self) -> u64 {
        let n = match self {
            Self::Order { orders, .. } => orders.len(),
            Self::Cancel { cancels } => cancels.len(),
            Self::CancelByCloid { cancels } => cancels.len(),
            Self::BatchModify { modifies } => modifies.len(),
            Self::ScheduleCancel { .. } | Self::UpdateLeverage { .. } | Self::Modify { .. } | Self::Noop {} => 1,
        };
        u64::try_from(n).unwrap_or(u64::MAX).max(1)
    }

    /// Whether it only takes orders away.
    #[must_use]
    pub const fn is_cancel(&self) -> bool {
        match self {
            Self::Cancel { .. } | Self::CancelByCloid { .. } | Self::ScheduleCancel { .. } => true,
            Self::Order { .. }
            | Self::UpdateLeverage { .. }
            | Self::BatchModify { .. }
            | Self::Modify { .. }
            | Self::Noop {} => false,
        }
    }

    /// The orders it would place.
    #[must_use]
    pub fn orders(&self) -> Vec<&WireOrder> {
        match self {
            Self::Order { orders, .. } => orders.iter().collect(),
            Self::BatchModify { modifies } => modifies.iter().map(|m| &m.order).collect(),
            Self::Modify { order, .. } => vec![order],
            Self::Cancel { .. }
            | Self::CancelByCloid { .. }
            | Self::ScheduleCancel { .. }
            | Self::UpdateLeverage { .. }
            | Self::Noop {} => Vec::new(),
        }
    }
}

/// How the orders of one action belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Grouping {
    /// Not at all.
    Na,
    /// The first is the parent of the rest.
    NormalTpsl,
    /// They protect the whole position.
    PositionTpsl,
}

/// A builder's share; read and ignored.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Builder {
    /// Address.
    pub b: String,
    /// Fee in tenths of a basis point.
    pub f: u64,
}

/// One order as it travels.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireOrder {
    /// Asset index.
    pub a: u32,
    /// Buy.
    pub b: bool,
    /// Limit price.
    pub p: Px,
    /// Size.
    pub s: Sz,
    /// Reduce-only.
    pub r: bool,
    /// Kind.
    pub t: Kind,
    /// Client order id.
    #[serde(default)]
    pub c: Option<Cloid>,
}

/// One cancel by order id.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireCancel {
    /// Asset index.
    pub a: u32,
    /// Order id.
    pub o: u64,
}

/// One cancel by client order id.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireCancelByCloid {
    /// Asset index.
    pub asset: u32,
    /// Client order id.
    pub cloid: Cloid,
}

/// One cancel-and-replace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireModify {
    /// Which order.
    pub oid: OidOrCloid,
    /// What takes its place.
    pub order: WireOrder,
}

/// An order named by either id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum OidOrCloid {
    /// Venue order id.
    Oid(u64),
    /// Client order id.
    Cloid(Cloid),
}
