//! What an order's status string says: still alive, done, ended, never accepted, or unknown.

use serde::{Deserialize, Deserializer, Serialize};

/// How a status string is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// On the book, or triggered and about to be.
    Live,
    /// Wholly executed.
    Filled,
    /// Ended by cancellation. It may have filled in part: count fills separately.
    Cancelled,
    /// Never accepted.
    Rejected,
    /// A string this program does not know: the outcome is unknown.
    Unknown,
}

/// The status strings the venue is known to use.
const CANCELLED: [&str; 11] = [
    "canceled",
    "marginCanceled",
    "vaultWithdrawalCanceled",
    "openInterestCapCanceled",
    "selfTradeCanceled",
    "reduceOnlyCanceled",
    "siblingFilledCanceled",
    "delistedCanceled",
    "liquidatedCanceled",
    "scheduledCancel",
    "outcomeSettledCanceled",
];
const REJECTED: [&str; 17] = [
    "rejected",
    "tickRejected",
    "minTradeNtlRejected",
    "minTradeSpotNtlRejected",
    "perpMarginRejected",
    "reduceOnlyRejected",
    "badAloPxRejected",
    "iocCancelRejected",
    "badTriggerPxRejected",
    "marketOrderNoLiquidityRejected",
    "positionIncreaseAtOpenInterestCapRejected",
    "positionFlipAtOpenInterestCapRejected",
    "tooAggressiveAtOpenInterestCapRejected",
    "openInterestIncreaseRejected",
    "insufficientSpotBalanceRejected",
    "oracleRejected",
    "perpMaxPositionRejected",
];

impl OrderState {
    /// Classifies a status string of the venue. Exact match only.
    #[must_use]
    pub fn of(status: &str) -> Self {
        match status {
            "open" | "triggered" => Self::Live,
            "filled" => Self::Filled,
            other if CANCELLED.contains(&other) => Self::Cancelled,
            other if REJECTED.contains(&other) => Self::Rejected,
            _ => Self::Unknown,
        }
    }
}

/// A status string as received, with what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderStatusText {
    /// What it means.
    pub state: OrderState,
    /// The venue's own word.
    pub text: String,
}

impl<'de> Deserialize<'de> for OrderStatusText {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Ok(Self { state: OrderState::of(&text), text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_string_has_its_class_and_any_other_is_unknown() {
        for (text, state) in [
            ("open", OrderState::Live),
            ("triggered", OrderState::Live),
            ("filled", OrderState::Filled),
            ("scheduledCancel", OrderState::Cancelled),
            ("iocCancelRejected", OrderState::Rejected),
            ("", OrderState::Unknown),
            ("Filled", OrderState::Unknown),
            ("cancelled", OrderState::Unknown),
            ("someNewCanceled", OrderState::Unknown),
        ] {
            assert_eq!(OrderState::of(text), state, "{text:?}");
        }
    }
}
