//! A venue read as the account view other processes know.

use holdfast_core::money::{Px, Usd};
use holdfast_core::report::{AccountView, OrderView, PositionView};
use holdfast_venue_reduce::read::AccountSnapshot;

/// Translates a complete read. `None` when a sum cannot be held: unknown, never zero.
#[must_use]
pub(crate) fn account_view(account: &AccountSnapshot) -> Option<AccountView> {
    let margin_used_usd =
        account.dexes().iter().try_fold(Usd::ZERO, |sum, dex| sum.checked_add(dex.account.margin.total_margin_used))?;
    let orders = account.open_orders().into_iter().map(|(dex, order)| {
        let mark = || account.position(&order.coin).and_then(|position| position.mark_px());
        // A market trigger has no limit: its trigger price is shown, or the smallest price rather than no order.
        let px = order.limit_px.or(order.trigger_px).or_else(mark).or_else(|| "1".parse::<Px>().ok())?;
        Some(OrderView {
            dex: dex.as_str().to_owned(),
            coin: order.coin.clone(),
            oid: order.oid.0,
            cloid: order.cloid.map(|cloid| cloid.to_string()),
            is_buy: order.side.is_buy(),
            px,
            size: order.sz,
            reduce_only: order.reduce_only,
        })
    });
    Some(AccountView {
        read_at: account.sent,
        venue_ms: account.venue_time_ms,
        equity_usd: account.equity()?,
        margin_used_usd,
        positions: account
            .positions()
            .map(|(dex, position)| PositionView {
                dex: dex.as_str().to_owned(),
                coin: position.coin().to_owned(),
                size: position.szi(),
                entry_px: position.entry_px(),
                mark_px: position.mark_px(),
                notional_usd: position.value(),
            })
            .collect(),
        orders: orders.collect::<Option<Vec<_>>>()?,
        requests_left: None,
    })
}
