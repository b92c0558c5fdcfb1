//! A snapshot in the words the rest of the program speaks.
//!
//! What cannot be put into them makes the whole reading unknown: leaving something out would be a claim.

use super::snapshot::AccountSnapshot;
use holdfast_core::money::Usd;
use holdfast_core::report::{AccountView, OrderView, PositionView};
use thiserror::Error;

/// Why a snapshot could not be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Untellable {
    /// A sum does not fit.
    #[error("the account's figures cannot be added up")]
    Sum,
    /// An order has neither limit nor trigger price, and its coin no mark.
    #[error("an open order has no price")]
    Price,
}

impl AccountSnapshot {
    /// This reading for the sensor's feed, the status and the gate. It is as old as its first question.
    ///
    /// # Errors
    /// [`Untellable`]: the account is unknown then.
    pub fn view(&self, requests_left: Option<u64>) -> Result<AccountView, Untellable> {
        let margins = self.dexes().iter().map(|dex| dex.account.margin.total_margin_used);
        let margin_used_usd = margins.into_iter().try_fold(Usd::ZERO, Usd::checked_add).ok_or(Untellable::Sum)?;
        let positions = self.positions().map(|(dex, position)| PositionView {
            dex: dex.as_str().to_owned(),
            coin: position.coin().to_owned(),
            size: position.szi(),
            entry_px: position.entry_px(),
            mark_px: position.mark_px(),
            notional_usd: position.value(),
        });
        let orders = self.open_orders().into_iter().map(|(dex, order)| {
            let mark = || self.position(&order.coin).and_then(|position| position.mark_px());
            Ok(OrderView {
                dex: dex.as_str().to_owned(),
                coin: order.coin.clone(),
                oid: order.oid.0,
                cloid: order.cloid.map(|cloid| cloid.to_string()),
                is_buy: order.side.is_buy(),
                px: order.limit_px.or(order.trigger_px).or_else(mark).ok_or(Untellable::Price)?,
                size: order.sz,
                reduce_only: order.reduce_only,
            })
        });
        Ok(AccountView {
            read_at: self.sent,
            venue_ms: self.venue_time_ms,
            equity_usd: self.equity().ok_or(Untellable::Sum)?,
            margin_used_usd,
            positions: positions.collect(),
            orders: orders.collect::<Result<_, _>>()?,
            requests_left,
        })
    }
}
