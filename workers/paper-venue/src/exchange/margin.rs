//! Equity, margin and what an account could still carry. Cross margin over all dexes: one pool of collateral.

use super::types::{Account, Leverage, Order};
use super::{Exchange, n};
use crate::addr::Addr;
use holdfast_core::money::Px;
use rust_decimal::Decimal;

/// Leverage of a coin nobody chose one for.
const DEFAULT_LEVERAGE: u32 = 20;

/// An order that is about to be placed, for the margin check.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extra<'a> {
    pub(crate) coin: &'a str,
    pub(crate) is_buy: bool,
    pub(crate) sz: Decimal,
}

impl Exchange {
    /// Leverage in force for a coin of an account.
    #[must_use]
    pub fn leverage(&self, account: &Account, coin: &str) -> Leverage {
        let highest = self.markets.get(coin).map_or(1, |m| m.spec.max_leverage);
        account.leverage.get(coin).copied().unwrap_or(Leverage { value: DEFAULT_LEVERAGE.min(highest), cross: true })
    }

    fn mark_of(&self, coin: &str) -> Decimal {
        self.markets.get(coin).and_then(super::book::CoinMarket::mark).map_or(Decimal::ZERO, Px::get)
    }

    /// Value of a position at the mark, unsigned.
    #[must_use]
    pub fn position_value(&self, account: &Account, coin: &str) -> Decimal {
        n::mul(account.szi(coin).abs().get(), self.mark_of(coin))
    }

    /// Unrealised profit of a position.
    #[must_use]
    pub fn upnl(&self, account: &Account, coin: &str) -> Decimal {
        let Some(position) = account.positions.get(coin) else { return Decimal::ZERO };
        let value = self.position_value(account, coin);
        if position.szi.0.is_short() {
            n::sub(position.entry_ntl.0.get(), value)
        } else {
            n::sub(value, position.entry_ntl.0.get())
        }
    }

    /// Cash plus unrealised profit.
    #[must_use]
    pub fn equity(&self, account: &Account) -> Decimal {
        account.positions.keys().fold(account.cash.get(), |sum, coin| n::add(sum, self.upnl(account, coin)))
    }

    /// Initial margin of the open positions.
    #[must_use]
    pub fn margin_used(&self, account: &Account) -> Decimal {
        account.positions.keys().fold(Decimal::ZERO, |sum, coin| n::add(sum, self.coin_margin(account, coin)))
    }

    /// Initial margin of one position.
    #[must_use]
    pub fn coin_margin(&self, account: &Account, coin: &str) -> Decimal {
        n::div(self.position_value(account, coin), Decimal::from(self.leverage(account, coin).value.max(1)))
    }

    /// Below this equity the venue closes the account's positions.
    #[must_use]
    pub fn maintenance(&self, account: &Account) -> Decimal {
        account.positions.keys().fold(Decimal::ZERO, |sum, coin| {
            let highest = self.markets.get(coin).map_or(1, |m| m.spec.max_leverage);
            let divisor = Decimal::from(highest.max(1).saturating_mul(2));
            n::add(sum, n::div(self.position_value(account, coin), divisor))
        })
    }

    /// Whether the account could carry all its opening orders and `extra`, whichever side fills in full.
    pub(crate) fn carries(&self, address: &Addr, extra: Option<Extra<'_>>) -> bool {
        let Some(account) = self.accounts.get(address) else { return false };
        let live: Vec<&Order> = self.live_orders(address);
        let mut needed = Decimal::ZERO;
        for (coin, market) in &self.markets {
            let (mut buys, mut sells) = (Decimal::ZERO, Decimal::ZERO);
            for order in live.iter().filter(|o| o.coin == *coin && !o.reduce_only && !o.is_sleeping()) {
                let side = if order.is_buy { &mut buys } else { &mut sells };
                *side = n::add(*side, order.sz.get());
            }
            if let Some(extra) = extra.filter(|e| e.coin == coin) {
                let side = if extra.is_buy { &mut buys } else { &mut sells };
                *side = n::add(*side, extra.sz);
            }
            let szi = account.szi(coin).get();
            let worst = szi.abs().max(n::add(szi, buys).abs()).max(n::sub(szi, sells).abs());
            if worst.is_zero() {
                continue;
            }
            let mark = market.mark().map_or(Decimal::ZERO, Px::get);
            let leverage = Decimal::from(self.leverage(account, coin).value.max(1));
            needed = n::add(needed, n::div(n::mul(worst, mark), leverage));
        }
        self.equity(account) >= needed
    }

    /// The mark price at which the venue would close a position, all else equal; none if there is no such price.
    #[must_use]
    pub fn liquidation_px(&self, account: &Account, coin: &str) -> Option<Px> {
        let szi = account.szi(coin).get();
        let market = self.markets.get(coin)?;
        let mark = market.mark()?.get();
        // equity + szi (p - mark) = maintenance + |szi| (p - mark) / (2 max), solved for p.
        let rate = n::div(Decimal::ONE, Decimal::from(market.spec.max_leverage.max(1).saturating_mul(2)));
        let slope = n::sub(szi, n::mul(szi.abs(), rate));
        if slope.is_zero() {
            return None;
        }
        let room = n::sub(self.equity(account), self.maintenance(account));
        Px::new(n::sub(mark, n::div(room, slope)).round_dp(6)).ok()
    }
}
