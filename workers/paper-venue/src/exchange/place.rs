//! One order: is it legal, may it add what it adds, and what does it meet in the book.

use super::action::WireOrder;
use super::execute::Context;
use super::fill::Match;
use super::margin::Extra;
use super::n;
use super::types::{Kind, Order, Status, Tif, Tpsl};
use super::{Exchange, Out, book};
use crate::faults::{self, Kind as Fault};
use crate::witness::Line;
use holdfast_core::money::{Px, Sz, Szi};
use rust_decimal::Decimal;

/// How an order belongs to others of its action.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Belongs {
    pub(crate) parent: Option<u64>,
    pub(crate) waiting: bool,
    pub(crate) position_tpsl: bool,
    /// The order this one takes the place of.
    pub(crate) replaces: Option<u64>,
}

/// What the client is told about one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    Resting(u64),
    Filled { oid: u64, total: Sz, avg: Px },
    WaitingForFill,
    WaitingForTrigger,
    Refused(String),
}

type Refusal = (String, Status);

fn refuse<T>(text: impl Into<String>, asset: u32, status: Status) -> Result<T, Refusal> {
    Err((format!("{} asset={asset}", text.into()), status))
}

impl Exchange {
    /// Places one order and writes its witness line before the lines of its fills.
    pub(crate) fn place(&mut self, ctx: &Context, w: &WireOrder, belongs: Belongs) -> (Placed, Option<u64>) {
        let at = self.out.len();
        let coin = self.coin_at(w.a).map(str::to_owned);
        let mut line = self.line(ctx.now, ctx.kind, Some(ctx.account), coin.as_deref());
        let (placed, oid) = match coin.as_deref() {
            None => (Placed::Refused(format!("Invalid asset index. asset={}", w.a)), None),
            Some(coin) => self.place_in(ctx, coin, w, belongs),
        };
        line.position_after =
            self.account(&ctx.account).zip(coin.as_deref()).map_or(Szi::FLAT, |(account, coin)| account.szi(coin));
        let filled = oid.map_or(Sz::ZERO, |oid| self.filled_of(at, oid));
        let line = Line {
            increased_exposure: line.position_before.increases_to(line.position_after),
            oid,
            filled_sz: Some(filled),
            outcome: match &placed {
                Placed::Resting(_) => "resting".to_owned(),
                Placed::Filled { .. } => "filled".to_owned(),
                Placed::WaitingForFill | Placed::WaitingForTrigger => "waiting".to_owned(),
                Placed::Refused(text) => format!("rejected:{text}"),
            },
            ..ctx.order_line(line, w)
        };
        self.out.insert(at, Out::Witness(Box::new(line)));
        (placed, oid)
    }

    fn filled_of(&self, from: usize, oid: u64) -> Sz {
        let sum = self.out.iter().skip(from).fold(Decimal::ZERO, |sum, out| match out {
            Out::Fill(fill) if fill.oid == oid => n::add(sum, fill.sz.get()),
            Out::Fill(_)
            | Out::Witness(_)
            | Out::Order(_)
            | Out::NonUserCancel(..)
            | Out::Liquidated(..)
            | Out::Print(_)
            | Out::Account(_) => sum,
        });
        n::sz(sum)
    }

    fn place_in(&mut self, ctx: &Context, coin: &str, w: &WireOrder, belongs: Belongs) -> (Placed, Option<u64>) {
        let oid = self.fresh_oid();
        let verdict = self.check(ctx, coin, w, belongs);
        let status = verdict.as_ref().map_or_else(|(_, status)| *status, |_| Status::Open);
        let effective = verdict.as_ref().copied().unwrap_or(w.s);
        let order = Order {
            oid,
            account: ctx.account,
            coin: coin.to_owned(),
            is_buy: w.b,
            px: w.p,
            sz: effective,
            orig_sz: w.s,
            reduce_only: w.r,
            kind: w.t,
            cloid: w.c,
            placed_ms: ctx.now.ms,
            status,
            status_ms: ctx.now.ms,
            parent: belongs.parent,
            waiting: belongs.waiting,
            position_tpsl: belongs.position_tpsl,
        };
        let duplicate = w.c.is_some_and(|c| self.cloids.contains_key(&(ctx.account, c)));
        if let Some(cloid) = w.c
            && (verdict.is_ok() || !duplicate)
        {
            self.cloids.insert((ctx.account, cloid), oid);
        }
        self.orders.insert(oid, order.clone());
        self.dirty.orders.insert(oid);
        if let Err((text, _)) = verdict {
            self.remember_done(&order);
            self.out.push(Out::Order(Box::new(order)));
            return (Placed::Refused(text), Some(oid));
        }
        self.live.insert(oid);
        self.out.push(Out::Order(Box::new(order)));
        let placed = match w.t {
            Kind::Trigger { .. } if belongs.waiting => Placed::WaitingForFill,
            Kind::Trigger { .. } if belongs.parent.is_some() => Placed::WaitingForTrigger,
            Kind::Trigger { .. } => Placed::Resting(oid),
            Kind::Limit { tif } => self.enter(ctx, oid, w.a, tif),
        };
        (placed, Some(oid))
    }

    fn enter(&mut self, ctx: &Context, oid: u64, asset: u32, tif: Tif) -> Placed {
        let (filled, ntl) = self.take(oid, ctx.now, "client");
        let avg = Px::new(n::div(ntl, filled).round_dp(8));
        let live = self.live.contains(&oid);
        match (tif, avg) {
            (Tif::Ioc, Ok(avg)) => {
                if live {
                    self.set_status(oid, Status::Canceled, ctx.now);
                }
                Placed::Filled { oid, total: n::sz(filled), avg }
            }
            (Tif::Ioc, Err(_)) => {
                self.set_status(oid, Status::IocCancelRejected, ctx.now);
                Placed::Refused(format!("Order could not immediately match against any resting orders. asset={asset}"))
            }
            // Fully executed on arrival.
            (Tif::Gtc | Tif::Alo, Ok(avg)) if !live => Placed::Filled { oid, total: n::sz(filled), avg },
            (Tif::Gtc | Tif::Alo, Ok(_) | Err(_)) => Placed::Resting(oid),
        }
    }

    /// The best paper order a taker could meet.
    fn best_paper(&self, coin: &str, taker_buys: bool) -> Option<(Px, u64)> {
        let resting = self.resting(coin, !taker_buys).into_iter().filter(|o| !o.waiting).map(|o| (o.px, o.oid));
        if taker_buys {
            resting.min_by(|a, b| a.0.cmp(&b.0).then(a.1.cmp(&b.1)))
        } else {
            resting.min_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)))
        }
    }

    /// Best price on the side a taker meets, paper orders included.
    pub(crate) fn best_opposite(&self, coin: &str, taker_buys: bool) -> Option<Px> {
        let market = self.markets.get(coin).and_then(|m| m.opposite(taker_buys).first()).map(|l| l.px);
        let paper = self.best_paper(coin, taker_buys).map(|(px, _)| px);
        match (market, paper) {
            (Some(a), Some(b)) => Some(if taker_buys { a.min(b) } else { a.max(b) }),
            (a, b) => a.or(b),
        }
    }

    /// Lets a live order take what it can reach; returns size and notional.
    pub(crate) fn take(&mut self, oid: u64, now: super::types::Now, origin: &'static str) -> (Decimal, Decimal) {
        let (mut filled, mut ntl) = (Decimal::ZERO, Decimal::ZERO);
        let Some(order) = self.orders.get(&oid).cloned() else { return (filled, ntl) };
        let crosses = |px: Px| if order.is_buy { px <= order.px } else { px >= order.px };
        let mut cap = order.sz.get();
        let reachable = self.best_opposite(&order.coin, order.is_buy).is_some_and(crosses);
        if reachable && let Some(value) = self.faults.take(Fault::PartialFill, Some(&order.coin), now.boot_ms()) {
            let decimals = self.markets.get(&order.coin).map_or(0, |m| m.spec.sz_decimals);
            cap = n::sz(n::mul(cap, faults::decimal(&value).unwrap_or_default())).floor_to(decimals).get();
        }
        loop {
            let left = self
                .orders
                .get(&oid)
                .filter(|o| o.status.is_live())
                .map_or(Decimal::ZERO, |o| o.sz.get().min(n::sub(cap, filled)));
            if left <= Decimal::ZERO {
                return (filled, ntl);
            }
            let market_px = self.markets.get(&order.coin).and_then(|m| m.opposite(order.is_buy).first()).map(|l| l.px);
            let paper = self.best_paper(&order.coin, order.is_buy);
            let paper_first = match (market_px, paper) {
                (Some(market), Some((px, _))) => {
                    if order.is_buy {
                        px < market
                    } else {
                        px > market
                    }
                }
                (None, Some(_)) => true,
                (_, None) => false,
            };
            let got = if let Some((px, maker)) = paper.filter(|_| paper_first) {
                if !crosses(px) {
                    return (filled, ntl);
                }
                let Some((maker_account, maker_sz)) = self.orders.get(&maker).map(|o| (o.account, o.sz)) else {
                    return (filled, ntl);
                };
                if maker_account == order.account {
                    self.set_status(maker, Status::SelfTradeCanceled, now);
                    self.out.push(Out::NonUserCancel(order.account, order.coin.clone(), maker));
                    continue;
                }
                let sz = n::sz(left.min(maker_sz.get()));
                let tid = self.fresh_tid();
                self.fill_order(maker, &Match { px, sz, crossed: false, tid, origin: "client" }, now);
                Some((px, sz, tid))
            } else {
                if !market_px.is_some_and(crosses) {
                    return (filled, ntl);
                }
                let taken = self.markets.get_mut(&order.coin).and_then(|m| m.consume_best(order.is_buy, n::sz(left)));
                taken.map(|(px, sz)| (px, sz, self.fresh_tid()))
            };
            let Some((px, sz, tid)) = got else { return (filled, ntl) };
            self.fill_order(oid, &Match { px, sz, crossed: true, tid, origin }, now);
            filled = n::add(filled, sz.get());
            ntl = n::add(ntl, n::mul(sz.get(), px.get()));
            if let Some(market) = self.markets.get_mut(&order.coin) {
                market.print(book::Print { px, sz, is_buy: order.is_buy, time: now.ms, tid });
                self.out.push(Out::Print(order.coin.clone()));
            }
        }
    }

    /// Everything that can be wrong with an order, in the order the venue looks. Returns the size that will be worked.
    fn check(&mut self, ctx: &Context, coin: &str, w: &WireOrder, belongs: Belongs) -> Result<Sz, Refusal> {
        let market = self.markets.get(coin).ok_or_else(|| ("Invalid asset index.".to_owned(), Status::Rejected))?;
        let decimals = market.spec.sz_decimals;
        let (mark, szi) = (market.mark(), self.account(&ctx.account).map_or(Szi::FLAT, |a| a.szi(coin)));
        if w.s.is_zero() {
            return refuse("Order has zero size.", w.a, Status::Rejected);
        }
        if w.s.floor_to(decimals) != w.s || w.s.get() > n::MAX_SZ {
            return refuse("Order has invalid size.", w.a, Status::Rejected);
        }
        let legal = n::legal_px(w.p, decimals)
            && match w.t {
                Kind::Trigger { trigger_px, .. } => n::legal_px(trigger_px, decimals),
                Kind::Limit { .. } => true,
            };
        if !legal {
            return refuse("Price must be divisible by tick size.", w.a, Status::TickRejected);
        }
        if let Some(cloid) = w.c
            && let Some(old) = self.order_by_cloid(&ctx.account, cloid)
            && belongs.replaces != Some(old.oid)
            && was_accepted(old.status)
        {
            return refuse("Client order id has been used already.", w.a, Status::Rejected);
        }
        let Some(mark) = mark else {
            return refuse("No liquidity available for market order.", w.a, Status::MarketOrderNoLiquidityRejected);
        };
        if !matches!(w.t, Kind::Trigger { .. }) && w.p.bps_from(mark).is_none_or(|bps| bps.abs() > 8_000) {
            return refuse("Order price too far from oracle.", w.a, Status::OracleRejected);
        }
        let after = n::szi(n::add(szi.get(), w.s.signed(w.b).get()));
        let opposite = if w.b { szi.is_short() } else { szi.is_long() };
        let mut effective = w.s;
        if w.r && !belongs.waiting {
            if !opposite {
                return refuse("Reduce only order would increase position.", w.a, Status::ReduceOnlyRejected);
            }
            effective = effective.min(szi.abs());
        }
        let is_trigger = matches!(w.t, Kind::Trigger { .. });
        let opens = !w.r && szi.increases_to(after);
        let boot_ms = ctx.now.boot_ms();
        if opens && let Some(value) = self.faults.take(Fault::RejectOpen, Some(coin), boot_ms) {
            let text = value.as_str().unwrap_or("Order would increase open interest too quickly.").to_owned();
            return refuse(text, w.a, Status::OpenInterestIncreaseRejected);
        }
        let post_only = matches!(w.t, Kind::Limit { tif: Tif::Alo });
        if !post_only && !is_trigger && self.faults.take(Fault::PostOnlyWindow, Some(coin), boot_ms).is_some() {
            let text = "Only post-only orders allowed immediately after a network upgrade.";
            return refuse(text, w.a, Status::Rejected);
        }
        self.check_count(ctx, w, is_trigger)?;
        // A close of the whole position is exempt, so that no dust is locked in.
        let whole = opposite && (w.s == szi.abs() || (w.r && w.s >= szi.abs()));
        if !whole && !belongs.waiting && n::mul(w.s.get(), w.p.get()) < Decimal::TEN {
            return refuse("Order must have minimum value of $10.", w.a, Status::MinTradeNtlRejected);
        }
        if let Kind::Trigger { trigger_px, tpsl, .. } = w.t {
            let rises = (tpsl == Tpsl::Tp) != w.b;
            let right_side = if rises { trigger_px > mark } else { trigger_px < mark };
            return if right_side {
                Ok(effective)
            } else {
                refuse("Invalid TP/SL price.", w.a, Status::BadTriggerPxRejected)
            };
        }
        let extra = Extra { coin, is_buy: w.b, sz: w.s.get() };
        if opens && !self.carries(&ctx.account, Some(extra)) {
            return refuse("Insufficient margin to place order.", w.a, Status::PerpMarginRejected);
        }
        if n::add(szi.get().abs(), w.s.get()) > n::MAX_SZ {
            return refuse("Order has invalid size.", w.a, Status::Rejected);
        }
        let best = self.best_opposite(coin, w.b);
        if post_only && best.is_some_and(|px| if w.b { w.p >= px } else { w.p <= px }) {
            let (bid, ask) = (self.best_opposite(coin, false), self.best_opposite(coin, true));
            let show = |px: Option<Px>| px.map_or_else(|| "none".to_owned(), |px| px.to_string());
            let text = format!("Post only order would have immediately matched, bbo was {}@{}.", show(bid), show(ask));
            return refuse(text, w.a, Status::BadAloPxRejected);
        }
        Ok(effective)
    }

    fn check_count(&self, ctx: &Context, w: &WireOrder, is_trigger: bool) -> Result<(), Refusal> {
        let open = self.live_orders(&ctx.account).len();
        if open < 1_000 {
            return Ok(());
        }
        if w.r || is_trigger {
            let text = "Reduce only and trigger orders are not allowed with 1000 or more open orders.";
            return refuse(text, w.a, Status::Rejected);
        }
        let volume = self.account(&ctx.account).map_or(Decimal::ZERO, |a| a.volume.get());
        let more = n::div(volume, Decimal::from(5_000_000)).trunc();
        let cap = n::add(Decimal::from(1_000), more).min(Decimal::from(5_000));
        if Decimal::from(open) >= cap {
            return refuse("Too many open orders.", w.a, Status::Rejected);
        }
        Ok(())
    }
}

/// Whether an order with this status was ever on the venue's books; a refused one leaves its client id free.
const fn was_accepted(status: Status) -> bool {
    match status {
        Status::Open
        | Status::Triggered
        | Status::Filled
        | Status::Canceled
        | Status::MarginCanceled
        | Status::SelfTradeCanceled
        | Status::ReduceOnlyCanceled
        | Status::SiblingFilledCanceled
        | Status::LiquidatedCanceled
        | Status::ScheduledCancel
        | Status::IocCancelRejected => true,
        Status::Rejected
        | Status::TickRejected
        | Status::MinTradeNtlRejected
        | Status::PerpMarginRejected
        | Status::ReduceOnlyRejected
        | Status::BadAloPxRejected
        | Status::BadTriggerPxRejected
        | Status::MarketOrderNoLiquidityRejected
        | Status::OpenInterestIncreaseRejected
        | Status::OracleRejected => false,
    }
}
