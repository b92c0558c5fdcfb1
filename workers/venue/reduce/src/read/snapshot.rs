//! The whole account: positions and open orders, dex by dex.
//!
//! Only a snapshot that asked the venue for its list of dexes and then read each of them can prove that an account is flat.

use super::account::{DexAccount, Position};
use super::orders::OpenOrder;
use crate::client::{ReadError, Venue};
use crate::wire::Dex;
use futures_util::future::try_join_all;
use holdfast_core::money::Usd;
use holdfast_core::time::{Span, Tick};
use std::collections::BTreeSet;

/// Which dexes to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DexScope {
    /// Every dex the venue names. Needed for a proof of flat.
    Every,
    /// Only these; for frequent watching between full reads.
    Only(Vec<Dex>),
}

/// One dex of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DexView {
    /// Which dex.
    pub dex: Dex,
    /// Positions and margin.
    pub account: DexAccount,
    /// Open orders, read before the positions.
    pub orders: Vec<OpenOrder>,
}

/// The account as it was between `sent` and `received`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSnapshot {
    /// When the first question left: the snapshot is at least as new as this.
    pub sent: Tick,
    /// When the last answer was there.
    pub received: Tick,
    /// Oldest venue time among the answers, ms.
    pub venue_time_ms: u64,
    every_dex: bool,
    dexes: Vec<DexView>,
}

impl AccountSnapshot {
    /// The dexes read.
    #[must_use]
    pub fn dexes(&self) -> &[DexView] {
        &self.dexes
    }

    /// Every position.
    pub fn positions(&self) -> impl Iterator<Item = (&Dex, &Position)> {
        self.dexes.iter().flat_map(|view| view.account.positions().iter().map(move |p| (&view.dex, p)))
    }

    /// The position in one coin.
    #[must_use]
    pub fn position(&self, coin: &str) -> Option<&Position> {
        self.positions().map(|(_, position)| position).find(|position| position.coin() == coin)
    }

    /// Every open order, each once: children that also stand by themselves are not repeated.
    #[must_use]
    pub fn open_orders(&self) -> Vec<(&Dex, &OpenOrder)> {
        let mut seen = BTreeSet::new();
        let mut all = Vec::new();
        for view in &self.dexes {
            let mut stack: Vec<&OpenOrder> = view.orders.iter().rev().collect();
            while let Some(order) = stack.pop() {
                if seen.insert((&view.dex, order.oid)) {
                    all.push((&view.dex, order));
                    stack.extend(&order.children);
                }
            }
        }
        all
    }

    /// Equity over the dexes read, USD; `None` when the sum cannot be held.
    #[must_use]
    pub fn equity(&self) -> Option<Usd> {
        self.dexes.iter().try_fold(Usd::ZERO, |sum, view| sum.checked_add(view.account.margin.account_value))
    }

    /// Age at `now`, counted from the first question.
    #[must_use]
    pub const fn age(&self, now: Tick) -> Span {
        now.since(self.sent)
    }

    /// Whether this read covers every dex of the venue.
    #[must_use]
    pub const fn covers_every_dex(&self) -> bool {
        self.every_dex
    }

    /// Whether it proves the account flat: every dex read, no position, no open order.
    #[must_use]
    pub fn proves_flat(&self) -> bool {
        self.every_dex && self.positions().next().is_none() && self.open_orders().is_empty()
    }

    /// Builds a snapshot from answers already parsed. `every_dex` is not a parameter: such a snapshot proves nothing flat.
    ///
    /// # Errors
    /// [`ReadError::Shape`] when an answer lacks its venue time or there is none.
    pub fn of_parts(dexes: Vec<DexView>, received: Tick) -> Result<Self, ReadError> {
        let sent = dexes.iter().map(|view| view.account.read_at).min().unwrap_or(Tick(0));
        Self::build(dexes, sent, received, false)
    }

    fn build(dexes: Vec<DexView>, sent: Tick, received: Tick, every_dex: bool) -> Result<Self, ReadError> {
        let missing = || ReadError::Shape("clearinghouseState: no venue time".to_owned());
        let times = dexes.iter().map(|view| view.account.time).collect::<Option<Vec<u64>>>().ok_or_else(missing)?;
        let venue_time_ms = times.into_iter().min().ok_or_else(missing)?;
        Ok(Self { sent, received, venue_time_ms, every_dex, dexes })
    }
}

impl Venue {
    /// Reads open orders, then positions, of each dex in scope, the dexes side by side. One failed read fails the whole
    /// snapshot.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn account_snapshot(&self, scope: &DexScope) -> Result<AccountSnapshot, ReadError> {
        let sent = self.now();
        let (dexes, every) = match scope {
            DexScope::Every => (self.perp_dexs().await?, true),
            DexScope::Only(dexes) => (dexes.clone(), false),
        };
        let views = try_join_all(dexes.into_iter().map(|dex| async move {
            // Orders first: one that fills between the two reads then shows in the position, not in neither.
            let orders = self.open_orders(&dex).await?;
            let account = self.clearinghouse(&dex).await?;
            Ok::<_, ReadError>(DexView { dex, account, orders })
        }));
        let views = views.await?;
        AccountSnapshot::build(views, sent, self.now(), every)
    }
}
