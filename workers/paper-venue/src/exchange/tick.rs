//! What happens without a client: the market moves, triggers wake, switches fire, accounts are liquidated.

use super::book::Shape;
use super::fill::{Execution, Match, move_position};
use super::types::{Kind, Liquidation, Now, Order, Status, Tif, Tpsl};
use super::{Exchange, Out, SPOT_COIN, n};
use crate::addr::Addr;
use crate::faults::{self, Fault, Kind as FaultKind};
use crate::market::{MarketEvent, MarketKind};
use crate::witness::Line;
use holdfast_core::money::{Px, Sz, Szi};
use rust_decimal::Decimal;
use serde_json::Value;

impl Exchange {
    /// Takes one market event in.
    pub fn market_event(&mut self, event: MarketEvent, now: Now) {
        if self.faults.peek(FaultKind::FeedFreeze, Some(&event.coin), now.boot_ms()).is_some() {
            return;
        }
        let tid = self.fresh_tid();
        let (is_mark, is_book) = match event.kind {
            MarketKind::Mark { .. } => (true, false),
            MarketKind::Book { .. } => (false, true),
            MarketKind::Trade { .. } => (false, false),
        };
        let Some(market) = self.markets.get_mut(&event.coin) else { return };
        let print = market.apply(event.kind, now, tid);
        if let Some(print) = print {
            self.out.push(Out::Print(event.coin.clone()));
            self.print_through(&event.coin, print.px, print.is_buy, now);
        }
        if is_book {
            self.settle_resting(&event.coin, now);
        }
        if is_mark {
            self.after_mark(&event.coin, now);
        }
    }

    /// What is due by the clock alone.
    pub fn tick(&mut self, now: Now) {
        self.faults.sweep(now.boot_ms());
        let coins: Vec<String> = self.by_asset.values().cloned().collect();
        for coin in &coins {
            let bps = self.faults.peek(FaultKind::PriceJump, Some(coin), now.boot_ms()).and_then(Value::as_i64);
            let shape = self.faults.peek(FaultKind::FeedFreeze, Some(coin), now.boot_ms()).and_then(Value::as_str);
            let shape = match shape {
                Some("crossed") => Shape::Crossed,
                Some("one_sided") => Shape::OneSided,
                Some(_) | None => Shape::Straight,
            };
            let moved = self.markets.get_mut(coin).is_some_and(|m| m.bend(bps.unwrap_or(0), shape, now));
            if moved {
                self.settle_resting(coin, now);
                self.after_mark(coin, now);
            }
        }
        self.fire_scheduled(now);
        let boot_ms = now.boot_ms();
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.late).into_iter().partition(|l| l.at_boot_ms <= boot_ms);
        self.late = later;
        for late in due {
            let Some(order) = self.orders.get(&late.oid).cloned() else { continue };
            let szi = self.account(&order.account).map_or(Szi::FLAT, |a| a.szi(&order.coin));
            let reduces = if order.is_buy { szi.is_short() } else { szi.is_long() };
            // Even a late fill keeps the venue's own promise about reduce-only.
            let sz = match (order.reduce_only, reduces) {
                (false, _) => late.sz,
                (true, true) => late.sz.min(szi.abs()),
                (true, false) => continue,
            };
            let tid = self.fresh_tid();
            self.fill_order(late.oid, &Match { px: order.px, sz, crossed: false, tid, origin: "injected" }, now);
            // A cancelled order is no longer among the live ones, so its final word is spoken here.
            if self.orders.get(&late.oid).is_some_and(|o| o.status != Status::Filled) {
                self.set_status(late.oid, Status::Filled, now);
            }
        }
    }

    fn fire_scheduled(&mut self, now: Now) {
        let due: Vec<Addr> =
            self.accounts.values().filter(|a| a.scheduled.is_some_and(|t| t <= now.ms)).map(|a| a.address).collect();
        for address in due {
            let count = self.cancel_all(address, Status::ScheduledCancel, now);
            if let Some(account) = self.accounts.get_mut(&address) {
                let day = now.ms / 86_400_000;
                if account.trigger_day != day {
                    account.trigger_day = day;
                    account.triggers = 0;
                }
                account.triggers = account.triggers.saturating_add(1);
                account.scheduled = None;
            }
            self.dirty.accounts.insert(address);
            let line = self.line(now, "dead_man_fired", Some(address), None);
            self.witness(Line { outcome: format!("canceled:{count}"), ..line });
        }
    }

    /// Fills resting orders that the scenario's book has come to.
    pub(crate) fn settle_resting(&mut self, coin: &str, now: Now) {
        for is_buy in [true, false] {
            let mut resting: Vec<(Px, u64)> =
                self.resting(coin, is_buy).into_iter().filter(|o| !o.waiting).map(|o| (o.px, o.oid)).collect();
            resting.sort_by(|a, b| if is_buy { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) }.then(a.1.cmp(&b.1)));
            for (px, oid) in resting {
                loop {
                    let left = self.orders.get(&oid).filter(|o| o.status.is_live()).map_or(Sz::ZERO, |o| o.sz);
                    let market_px = self.markets.get(coin).and_then(|m| m.opposite(is_buy).first()).map(|l| l.px);
                    let crossed = market_px.is_some_and(|m| if is_buy { m <= px } else { m >= px });
                    if left.is_zero() || !crossed || !self.maker_can(oid, now) {
                        break;
                    }
                    let taken = self.markets.get_mut(coin).and_then(|m| m.consume_best(is_buy, left));
                    let Some((_, sz)) = taken else { break };
                    let tid = self.fresh_tid();
                    self.fill_order(oid, &Match { px, sz, crossed: false, tid, origin: "client" }, now);
                }
            }
        }
    }

    /// A trade beyond an order's price must have met the order first.
    fn print_through(&mut self, coin: &str, px: Px, aggressor_buys: bool, now: Now) {
        let through: Vec<(u64, Px, Sz)> = self
            .resting(coin, !aggressor_buys)
            .into_iter()
            .filter(|o| !o.waiting && if o.is_buy { px < o.px } else { px > o.px })
            .map(|o| (o.oid, o.px, o.sz))
            .collect();
        for (oid, px, _) in through {
            let left = self.orders.get(&oid).filter(|o| o.status.is_live()).map_or(Sz::ZERO, |o| o.sz);
            if !left.is_zero() && self.maker_can(oid, now) {
                let tid = self.fresh_tid();
                self.fill_order(oid, &Match { px, sz: left, crossed: false, tid, origin: "client" }, now);
            }
        }
    }

    /// Whether the account can still carry a resting order; ends the order if not.
    fn maker_can(&mut self, oid: u64, now: Now) -> bool {
        let Some(order) = self.orders.get(&oid).cloned() else { return false };
        let opens = self.account(&order.account).is_some_and(|a| {
            let before = a.szi(&order.coin);
            before.increases_to(n::szi(n::add(before.get(), order.sz.signed(order.is_buy).get())))
        });
        if opens && !order.reduce_only && !self.carries(&order.account, None) {
            self.set_status(oid, Status::MarginCanceled, now);
            self.out.push(Out::NonUserCancel(order.account, order.coin, oid));
            return false;
        }
        true
    }

    fn after_mark(&mut self, coin: &str, now: Now) {
        let Some(mark) = self.markets.get(coin).and_then(super::book::CoinMarket::mark) else { return };
        let woken: Vec<Order> = self
            .live
            .iter()
            .filter_map(|oid| self.orders.get(oid))
            .filter(|o| o.coin == coin && o.is_sleeping() && !o.waiting && wakes(o, mark))
            .cloned()
            .collect();
        for order in woken {
            if self.live.contains(&order.oid) {
                self.wake(&order, now);
            }
        }
        let holders: Vec<Addr> =
            self.accounts.values().filter(|a| a.positions.contains_key(coin)).map(|a| a.address).collect();
        for address in holders {
            self.liquidate_if_due(address, now);
        }
    }

    fn wake(&mut self, order: &Order, now: Now) {
        self.set_status(order.oid, Status::Triggered, now);
        if order.reduce_only {
            self.settle_reduce_only(order.account, &order.coin, now);
        } else if !self.carries(&order.account, None) {
            self.set_status(order.oid, Status::MarginCanceled, now);
        }
        if !self.live.contains(&order.oid) {
            return;
        }
        self.take(order.oid, now, "client");
        let market = matches!(order.kind, Kind::Trigger { is_market: true, .. });
        if market && self.live.contains(&order.oid) {
            self.set_status(order.oid, Status::Canceled, now);
        }
    }

    fn liquidate_if_due(&mut self, address: Addr, now: Now) {
        let Some(account) = self.accounts.get(&address) else { return };
        let equity = self.equity(account);
        if equity >= self.maintenance(account) {
            return;
        }
        let held: Vec<(String, bool, Sz)> =
            account.positions.iter().map(|(c, p)| (c.clone(), p.szi.0.is_short(), p.szi.0.abs())).collect();
        let mut closed = Decimal::ZERO;
        self.cancel_all(address, Status::LiquidatedCanceled, now);
        for (coin, is_buy, sz) in held {
            let Some(mark) = self.markets.get(&coin).and_then(super::book::CoinMarket::mark) else { continue };
            // The venue's liquidator gives up half a percent.
            let px = mark.moved_bps(if is_buy { 50 } else { -50 }).unwrap_or(mark);
            closed = n::add(closed, n::mul(sz.get(), px.get()));
            let (oid, tid) = (self.fresh_oid(), self.fresh_tid());
            let liquidation =
                Some(Liquidation { liquidated_user: address, mark_px: mark, method: "market".to_owned() });
            let execution = Execution {
                account: address,
                coin: &coin,
                is_buy,
                px,
                sz,
                oid,
                cloid: None,
                crossed: true,
                tid,
                liquidation,
                origin: "liquidation",
                signer: None,
            };
            self.execute_fill(&execution, now);
        }
        if let Some(account) = self.accounts.get_mut(&address)
            && account.cash.get().is_sign_negative()
        {
            // The backstop absorbs what is left of the loss; it counts as paid in.
            account.deposits = n::usd(n::sub(account.deposits.get(), account.cash.get()));
            account.cash = holdfast_core::money::Usd::ZERO;
        }
        self.out.push(Out::Liquidated(address, n::usd6(closed), n::usd6(equity)));
    }

    /// Says in the witness that a fault was injected, and carries out the one that needs no occasion.
    pub fn note_fault(&mut self, fault: &Fault, now: Now) {
        let account = self.main();
        let mut line = self.line(now, "fault", account, fault.coin.as_deref());
        line.outcome = format!("{}:{}", fault.kind.name(), fault.value);
        line.origin = "injected";
        if fault.kind == FaultKind::ForeignPosition
            && let Some(value) = self.faults.take(FaultKind::ForeignPosition, fault.coin.as_deref(), now.boot_ms())
            && let Some(address) = account
        {
            let first = self.by_asset.values().next().cloned().unwrap_or_default();
            let coin = fault.coin.clone().unwrap_or(first);
            let mark = self.markets.get(&coin).and_then(super::book::CoinMarket::mark);
            let change = n::szi(faults::decimal(&value).unwrap_or_default());
            if let (Some(px), Some(account)) = (mark, self.accounts.get_mut(&address)) {
                let (before, after, pnl) = move_position(account, &coin, change, px);
                account.realised = n::usd(n::add(account.realised.get(), pnl.get()));
                account.cash = n::usd(n::add(account.cash.get(), pnl.get()));
                line = Line {
                    coin: Some(coin.clone()),
                    dex: self.markets.get(&coin).map(|m| m.dex.clone()),
                    sz: Some(change.abs()),
                    is_buy: Some(change.is_long()),
                    px: Some(px),
                    position_before: before,
                    position_after: after,
                    increased_exposure: before.increases_to(after),
                    ..line
                };
                self.dirty.accounts.insert(address);
                self.settle_reduce_only(address, &coin, now);
                self.out.push(Out::Account(address));
            }
        }
        if fault.kind == FaultKind::ForeignSpotOrder
            && let Some(value) = self.faults.take(FaultKind::ForeignSpotOrder, None, now.boot_ms())
            && let (Some(address), Ok(px)) = (account, Px::new(Decimal::ONE))
        {
            let size = n::szi(faults::decimal(&value).unwrap_or_default());
            let order = self.rest_in_spot(address, size, px, now);
            line = Line {
                coin: Some(order.coin),
                oid: Some(order.oid),
                sz: Some(order.sz),
                is_buy: Some(order.is_buy),
                px: Some(order.px),
                ..line
            };
        }
        self.witness(line);
    }

    /// An order placed by hand in the spot pair. No market matches it; only a cancel ends it.
    fn rest_in_spot(&mut self, account: Addr, size: Szi, px: Px, now: Now) -> Order {
        let order = Order {
            oid: self.fresh_oid(),
            account,
            coin: SPOT_COIN.to_owned(),
            is_buy: size.is_long(),
            px,
            sz: size.abs(),
            orig_sz: size.abs(),
            reduce_only: false,
            kind: Kind::Limit { tif: Tif::Gtc },
            cloid: None,
            placed_ms: now.ms,
            status: Status::Open,
            status_ms: now.ms,
            parent: None,
            waiting: false,
            position_tpsl: false,
        };
        self.orders.insert(order.oid, order.clone());
        self.live.insert(order.oid);
        self.dirty.orders.insert(order.oid);
        self.out.push(Out::Order(Box::new(order.clone())));
        order
    }
}

/// Whether a sleeping order's condition holds at this mark.
fn wakes(order: &Order, mark: Px) -> bool {
    match order.kind {
        Kind::Limit { .. } => false,
        Kind::Trigger { trigger_px, tpsl, .. } => {
            if (tpsl == Tpsl::Tp) != order.is_buy {
                mark >= trigger_px
            } else {
                mark <= trigger_px
            }
        }
    }
}
