//! The exchange itself, pure: accounts, orders, matching, margin. The clock is passed in and nothing here does I/O.
//!
//! Whatever happens leaves through [`Exchange::drain`] (witness lines and messages for sockets) and
//! [`Exchange::take_delta`] (what must be on disk before anyone is answered).

pub mod action;
pub mod book;
pub mod execute;
mod fill;
mod limits;
mod margin;
pub(crate) mod n;
mod persist;
mod place;
mod tick;
pub mod types;

pub use limits::quota;
pub use persist::Delta;

use crate::addr::{Addr, Cloid};
use crate::faults::Faults;
use crate::market::CoinSpec;
use crate::witness::Line;
use book::CoinMarket;
use holdfast_core::money::{Sz, Szi, Usd};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use types::{Account, Fill, Now, Order, Status};

/// The second dex and its one coin, so that a position can hide where a careless client does not look.
pub const SECOND_DEX: &str = "alt";
/// Coin of the second dex.
pub const SECOND_COIN: &str = "alt:GOLD";
/// Asset index of the first coin of the second dex.
pub const SECOND_ASSET: u32 = 110_000;

/// The one spot pair. It has no market and takes no order from a client: an injected one can rest in it, to be cancelled.
pub const SPOT_COIN: &str = "@107";
/// Its asset index.
pub const SPOT_ASSET: u32 = 10_107;

/// Something others must hear of.
#[derive(Clone, Debug)]
pub enum Out {
    /// A line for the witness.
    Witness(Box<Line>),
    /// An account's execution.
    Fill(Box<Fill>),
    /// An order changed.
    Order(Box<Order>),
    /// The venue cancelled an order by itself.
    NonUserCancel(Addr, String, u64),
    /// The venue closed positions: account, notional, account value.
    Liquidated(Addr, Usd, Usd),
    /// A public trade of a coin.
    Print(String),
    /// Positions or money of an account changed.
    Account(Addr),
}

#[derive(Debug, Default)]
struct Dirty {
    accounts: BTreeSet<Addr>,
    orders: BTreeSet<u64>,
    signers: BTreeSet<Addr>,
    fills: Vec<Fill>,
}

#[derive(Clone, Debug)]
struct LateFill {
    at_boot_ms: u64,
    oid: u64,
    sz: Sz,
}

/// Every account, order and price of the venue.
#[derive(Debug)]
pub struct Exchange {
    markets: BTreeMap<String, CoinMarket>,
    by_asset: BTreeMap<u32, String>,
    accounts: BTreeMap<Addr, Account>,
    signers: BTreeMap<Addr, Addr>,
    orders: BTreeMap<u64, Order>,
    live: BTreeSet<u64>,
    done: BTreeMap<Addr, VecDeque<u64>>,
    cloids: BTreeMap<(Addr, Cloid), u64>,
    fills: BTreeMap<Addr, VecDeque<Fill>>,
    nonces: BTreeMap<Addr, BTreeSet<u64>>,
    late: Vec<LateFill>,
    next_oid: u64,
    next_tid: u64,
    seq: u64,
    /// Injected faults.
    pub faults: Faults,
    main: Option<Addr>,
    dirty: Dirty,
    out: Vec<Out>,
}

impl Exchange {
    /// An exchange that trades `coins`, plus the one coin of the second dex.
    #[must_use]
    pub fn new(coins: &[CoinSpec]) -> Self {
        let mut this = Self {
            markets: BTreeMap::new(),
            by_asset: BTreeMap::new(),
            accounts: BTreeMap::new(),
            signers: BTreeMap::new(),
            orders: BTreeMap::new(),
            live: BTreeSet::new(),
            done: BTreeMap::new(),
            cloids: BTreeMap::new(),
            fills: BTreeMap::new(),
            nonces: BTreeMap::new(),
            late: Vec::new(),
            // Real order ids exceed 32 bits; a client that truncates them should notice here.
            next_oid: 90_000_000_001,
            next_tid: 1_000_000_000_001,
            seq: 0,
            faults: Faults::default(),
            main: None,
            dirty: Dirty::default(),
            out: Vec::new(),
        };
        for (asset, spec) in (0_u32..).zip(coins) {
            this.add_coin(spec.clone(), asset, "");
        }
        let gold = CoinSpec { name: SECOND_COIN.to_owned(), sz_decimals: 2, max_leverage: 20 };
        this.add_coin(gold, SECOND_ASSET, SECOND_DEX);
        this.by_asset.insert(SPOT_ASSET, SPOT_COIN.to_owned());
        this
    }

    fn add_coin(&mut self, spec: CoinSpec, asset: u32, dex: &str) {
        self.by_asset.insert(asset, spec.name.clone());
        self.markets.insert(spec.name.clone(), CoinMarket::new(spec, asset, dex));
    }

    /// Opens an account, or adds agents to one that is there; money of an account that exists is left alone.
    pub fn register(&mut self, address: Addr, deposits: Usd, volume: Usd, agents: &[(String, Addr)]) {
        let account = self.accounts.entry(address).or_insert_with(|| Account::new(address, deposits, volume));
        for (name, agent) in agents {
            if let Some(old) = account.agents.insert(name.clone(), *agent)
                && old != *agent
            {
                self.signers.remove(&old);
            }
            self.signers.insert(*agent, address);
        }
        self.dirty.accounts.insert(address);
    }

    /// Names the account of this home: the one a `foreign_position` lands in.
    pub fn set_main(&mut self, address: Addr) {
        self.main = Some(address);
    }

    /// The account of this home, or the first there is.
    #[must_use]
    pub fn main(&self) -> Option<Addr> {
        self.main.or_else(|| self.accounts.keys().next().copied())
    }

    /// An account by its own address.
    #[must_use]
    pub fn account(&self, address: &Addr) -> Option<&Account> {
        self.accounts.get(address)
    }

    /// The account an agent signs for.
    #[must_use]
    pub fn master_of(&self, agent: &Addr) -> Option<Addr> {
        self.signers.get(agent).copied()
    }

    /// The account a signature acts for: the signer's own, or its master's.
    #[must_use]
    pub fn acting_for(&self, signer: &Addr) -> Option<Addr> {
        if self.accounts.contains_key(signer) { Some(*signer) } else { self.master_of(signer) }
    }

    /// Coins of a dex in index order.
    #[must_use]
    pub fn coins_of(&self, dex: &str) -> Vec<&CoinMarket> {
        self.by_asset.values().filter_map(|name| self.markets.get(name)).filter(|m| m.dex == dex).collect()
    }

    /// One coin.
    #[must_use]
    pub fn market(&self, coin: &str) -> Option<&CoinMarket> {
        self.markets.get(coin)
    }

    /// All coins.
    pub fn markets(&self) -> impl Iterator<Item = &CoinMarket> {
        self.by_asset.values().filter_map(|name| self.markets.get(name))
    }

    /// The coin behind an asset index.
    #[must_use]
    pub fn coin_at(&self, asset: u32) -> Option<&str> {
        self.by_asset.get(&asset).map(String::as_str)
    }

    /// The market behind an asset index; a spot pair has none.
    #[must_use]
    pub fn market_at(&self, asset: u32) -> Option<&CoinMarket> {
        self.coin_at(asset).and_then(|coin| self.market(coin))
    }

    /// Whether an order of this coin shows up on this dex; orders in spot pairs show up on the first.
    #[must_use]
    pub fn shows_on(&self, coin: &str, dex: &str) -> bool {
        if coin == SPOT_COIN { dex.is_empty() } else { self.market(coin).is_some_and(|m| m.dex == dex) }
    }

    /// Live orders of an account, oldest first.
    #[must_use]
    pub fn live_orders(&self, account: &Addr) -> Vec<&Order> {
        self.live.iter().filter_map(|oid| self.orders.get(oid)).filter(|o| o.account == *account).collect()
    }

    /// An account's order by venue id.
    #[must_use]
    pub fn order(&self, account: &Addr, oid: u64) -> Option<&Order> {
        self.orders.get(&oid).filter(|o| o.account == *account)
    }

    /// An account's order by client id; the newest that carried it.
    #[must_use]
    pub fn order_by_cloid(&self, account: &Addr, cloid: Cloid) -> Option<&Order> {
        self.cloids.get(&(*account, cloid)).and_then(|oid| self.orders.get(oid))
    }

    /// Every remembered order of an account, newest first.
    #[must_use]
    pub fn all_orders(&self, account: &Addr) -> Vec<&Order> {
        self.orders.values().rev().filter(|o| o.account == *account).collect()
    }

    /// Fills of an account, oldest first.
    #[must_use]
    pub fn fills(&self, account: &Addr) -> Option<&VecDeque<Fill>> {
        self.fills.get(account)
    }

    /// Size resting at each price of paper orders on one side of a coin.
    #[must_use]
    pub fn resting(&self, coin: &str, is_buy: bool) -> Vec<&Order> {
        self.live
            .iter()
            .filter_map(|oid| self.orders.get(oid))
            .filter(|o| o.coin == coin && o.is_buy == is_buy && !o.is_sleeping())
            .collect()
    }

    /// How many accounts and live orders there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.accounts.len(), self.live.len())
    }

    /// Takes everything that happened since the last call.
    pub fn drain(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    fn set_status(&mut self, oid: u64, status: Status, now: Now) {
        let Some(order) = self.orders.get_mut(&oid) else { return };
        order.status = status;
        order.status_ms = now.ms;
        let order = order.clone();
        if !status.is_live() && self.live.remove(&oid) {
            self.remember_done(&order);
        }
        self.dirty.orders.insert(oid);
        self.out.push(Out::Order(Box::new(order)));
    }

    /// Most finished orders kept for an account.
    const MAX_DONE: usize = 2_000;

    fn remember_done(&mut self, order: &Order) {
        let done = self.done.entry(order.account).or_default();
        done.push_back(order.oid);
        while done.len() > Self::MAX_DONE {
            let Some(old) = done.pop_front() else { break };
            if let Some(gone) = self.orders.remove(&old)
                && let Some(cloid) = gone.cloid
                && self.cloids.get(&(gone.account, cloid)) == Some(&old)
            {
                self.cloids.remove(&(gone.account, cloid));
            }
        }
    }

    fn line(&self, now: Now, kind: &str, account: Option<Addr>, coin: Option<&str>) -> Line {
        let szi = account
            .and_then(|a| self.accounts.get(&a))
            .zip(coin)
            .map_or(Szi::FLAT, |(account, coin)| account.szi(coin));
        Line {
            boot_ns: now.boot_ns,
            wall_ms: now.ms,
            signer: None,
            account,
            kind: kind.to_owned(),
            coin: coin.map(str::to_owned),
            dex: coin.and_then(|c| self.markets.get(c)).map(|m| m.dex.clone()),
            is_buy: None,
            sz: None,
            px: None,
            reduce_only: None,
            cloid: None,
            oid: None,
            expires_after: None,
            outcome: String::new(),
            filled_sz: None,
            position_before: szi,
            position_after: szi,
            increased_exposure: false,
            origin: "client",
        }
    }

    fn witness(&mut self, line: Line) {
        self.out.push(Out::Witness(Box::new(line)));
    }

    fn fresh_oid(&mut self) -> u64 {
        let oid = self.next_oid;
        self.next_oid = oid.saturating_add(1);
        oid
    }

    fn fresh_tid(&mut self) -> u64 {
        let tid = self.next_tid;
        self.next_tid = tid.saturating_add(1);
        tid
    }
}
