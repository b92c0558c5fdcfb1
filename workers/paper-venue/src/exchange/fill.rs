//! What an execution does to an account: position, realised profit, fee, record, and the reduce-only orders that rested on it.

use super::types::{Account, Defaulted, Fill, Liquidation, Now, Order, Status};
use super::{Exchange, Out, n};
use crate::addr::{Addr, Cloid};
use crate::witness::Line;
use holdfast_core::money::{Px, Sz, Szi, Usd};
use rust_decimal::Decimal;

/// Most fills kept for an account.
const MAX_FILLS: usize = 10_000;

/// Everything about an execution that the account does not know itself.
#[derive(Clone, Debug)]
pub(crate) struct Execution<'a> {
    pub(crate) account: Addr,
    pub(crate) coin: &'a str,
    pub(crate) is_buy: bool,
    pub(crate) px: Px,
    pub(crate) sz: Sz,
    pub(crate) oid: u64,
    pub(crate) cloid: Option<Cloid>,
    pub(crate) crossed: bool,
    pub(crate) tid: u64,
    pub(crate) liquidation: Option<Liquidation>,
    pub(crate) origin: &'static str,
    pub(crate) signer: Option<Addr>,
}

/// A meeting of two orders, or of one and the market.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Match {
    pub(crate) px: Px,
    pub(crate) sz: Sz,
    pub(crate) crossed: bool,
    pub(crate) tid: u64,
    pub(crate) origin: &'static str,
}

/// The display string of a fill.
fn dir(before: Szi, after: Szi) -> &'static str {
    match (before.is_long(), before.is_short(), after.is_long(), after.is_short()) {
        (true, _, _, true) => "Long > Short",
        (_, true, true, _) => "Short > Long",
        (true, ..) if after.abs() < before.abs() => "Close Long",
        (_, true, ..) if after.abs() < before.abs() => "Close Short",
        (_, _, true, _) => "Open Long",
        (true | false, true | false, false, true | false) => "Open Short",
    }
}

/// Moves a position by a signed size at a price; returns the profit realised.
pub(crate) fn move_position(account: &mut Account, coin: &str, change: Szi, px: Px) -> (Szi, Szi, Usd) {
    let position = account.positions.entry(coin.to_owned()).or_default();
    let before = position.szi.0;
    let after = n::szi(n::add(before.get(), change.get()));
    let opening = before.is_zero() || (before.is_short() == change.is_short());
    let pnl = if opening {
        position.entry_ntl =
            Defaulted(n::usd(n::add(position.entry_ntl.0.get(), n::mul(change.abs().get(), px.get()))));
        Decimal::ZERO
    } else {
        let closed = change.abs().min(before.abs()).get();
        let cost = if closed == before.abs().get() {
            position.entry_ntl.0.get()
        } else {
            n::mul(n::div(position.entry_ntl.0.get(), before.abs().get()), closed).round_dp(8)
        };
        let value = n::mul(closed, px.get());
        let rest = n::sub(change.abs().get(), closed);
        let left = if rest.is_zero() { n::sub(position.entry_ntl.0.get(), cost) } else { n::mul(rest, px.get()) };
        position.entry_ntl = Defaulted(n::usd(left));
        if before.is_short() { n::sub(cost, value) } else { n::sub(value, cost) }
    };
    position.szi = Defaulted(after);
    if after.is_zero() {
        account.positions.remove(coin);
    }
    (before, after, n::usd6(pnl))
}

impl Exchange {
    /// Carries out one execution of one account.
    pub(crate) fn execute_fill(&mut self, e: &Execution<'_>, now: Now) {
        let Some(account) = self.accounts.get_mut(&e.account) else { return };
        let ntl = n::mul(e.sz.get(), e.px.get());
        // 4.5 basis points for the taker, 1.5 for the maker.
        let rate = if e.crossed { Decimal::new(45, 5) } else { Decimal::new(15, 5) };
        let fee = n::usd6(n::mul(ntl, rate));
        let (before, after, pnl) = move_position(account, e.coin, e.sz.signed(e.is_buy), e.px);
        account.realised = n::usd(n::add(account.realised.get(), pnl.get()));
        account.fees = n::usd(n::add(account.fees.get(), fee.get()));
        account.cash = n::usd(n::sub(n::add(account.cash.get(), pnl.get()), fee.get()));
        account.volume = n::usd6(n::add(account.volume.get(), ntl));
        let fill = Fill {
            account: e.account,
            coin: e.coin.to_owned(),
            px: e.px,
            sz: e.sz,
            is_buy: e.is_buy,
            time: now.ms,
            start_position: before,
            dir: dir(before, after).to_owned(),
            closed_pnl: pnl,
            oid: e.oid,
            crossed: e.crossed,
            fee,
            tid: e.tid,
            cloid: e.cloid,
            liquidation: e.liquidation.clone(),
        };
        let line = Line {
            signer: e.signer,
            is_buy: Some(e.is_buy),
            sz: Some(e.sz),
            px: Some(e.px),
            cloid: e.cloid,
            oid: Some(e.oid),
            reduce_only: self.orders.get(&e.oid).map(|o| o.reduce_only),
            outcome: "filled".to_owned(),
            filled_sz: Some(e.sz),
            position_before: before,
            position_after: after,
            increased_exposure: before.increases_to(after),
            origin: e.origin,
            ..self.line(now, "fill", Some(e.account), Some(e.coin))
        };
        self.witness(line);
        self.out.push(Out::Fill(Box::new(fill.clone())));
        self.out.push(Out::Account(e.account));
        self.dirty.accounts.insert(e.account);
        self.dirty.fills.push(fill.clone());
        self.keep_fill(fill);
    }

    pub(crate) fn keep_fill(&mut self, fill: Fill) {
        let fills = self.fills.entry(fill.account).or_default();
        fills.push_back(fill);
        while fills.len() > MAX_FILLS {
            fills.pop_front();
        }
    }

    /// Fills part of an order the exchange knows, and settles what follows for it.
    pub(crate) fn fill_order(&mut self, oid: u64, m: &Match, now: Now) {
        let Match { px, sz, crossed, tid, origin } = *m;
        let Some(order) = self.orders.get_mut(&oid) else { return };
        order.sz = n::sz(n::sub(order.sz.get(), sz.get()));
        let order: Order = order.clone();
        self.dirty.orders.insert(oid);
        let execution = Execution {
            account: order.account,
            coin: &order.coin,
            is_buy: order.is_buy,
            px,
            sz,
            oid,
            cloid: order.cloid,
            crossed,
            tid,
            liquidation: None,
            origin,
            signer: None,
        };
        self.execute_fill(&execution, now);
        if order.sz.is_zero() {
            self.set_status(oid, Status::Filled, now);
            self.wake_children(oid, now);
            self.end_siblings(&order, now);
        } else if self.live.contains(&oid) {
            self.out.push(Out::Order(Box::new(order.clone())));
        }
        self.settle_reduce_only(order.account, &order.coin, now);
    }

    /// Shrinks or ends reduce-only orders after the position they lean on has changed.
    pub(crate) fn settle_reduce_only(&mut self, account: Addr, coin: &str, now: Now) {
        let szi = self.accounts.get(&account).map_or(Szi::FLAT, |a| a.szi(coin));
        let leaning: Vec<u64> = self
            .live_orders(&account)
            .into_iter()
            .filter(|o| o.reduce_only && o.coin == coin && !o.waiting)
            .map(|o| o.oid)
            .collect();
        for oid in leaning {
            let Some(order) = self.orders.get_mut(&oid) else { continue };
            let reduces = if order.is_buy { szi.is_short() } else { szi.is_long() };
            if !reduces {
                self.set_status(oid, Status::ReduceOnlyCanceled, now);
                self.out.push(Out::NonUserCancel(account, coin.to_owned(), oid));
            } else if order.sz > szi.abs() {
                order.sz = szi.abs();
                self.dirty.orders.insert(oid);
            }
        }
    }

    fn wake_children(&mut self, parent: u64, now: Now) {
        let children: Vec<u64> = self
            .live
            .iter()
            .filter_map(|oid| self.orders.get(oid))
            .filter(|o| o.parent == Some(parent) && o.waiting)
            .map(|o| o.oid)
            .collect();
        for oid in children {
            if let Some(child) = self.orders.get_mut(&oid) {
                child.waiting = false;
                child.status_ms = now.ms;
                self.dirty.orders.insert(oid);
            }
        }
    }

    fn end_siblings(&mut self, order: &Order, now: Now) {
        let Some(parent) = order.parent else { return };
        let siblings: Vec<u64> = self
            .live
            .iter()
            .filter_map(|oid| self.orders.get(oid))
            .filter(|o| o.parent == Some(parent) && o.oid != order.oid)
            .map(|o| o.oid)
            .collect();
        for oid in siblings {
            self.set_status(oid, Status::SiblingFilledCanceled, now);
            self.out.push(Out::NonUserCancel(order.account, order.coin.clone(), oid));
        }
    }

    /// Ends the children of an order that will not fill any more.
    pub(crate) fn end_children(&mut self, parent: u64, now: Now) {
        let children: Vec<u64> = self
            .live
            .iter()
            .filter_map(|oid| self.orders.get(oid))
            .filter(|o| o.parent == Some(parent) && o.waiting)
            .map(|o| o.oid)
            .collect();
        for oid in children {
            self.set_status(oid, Status::Canceled, now);
        }
    }
}
