//! What must survive: as a whole (snapshot) or only what changed since the last call (delta). Both have one shape, so that
//! reading a snapshot and replaying deltas is the same upsert.

use super::Exchange;
use super::types::{Account, Fill, Order};
use crate::addr::Addr;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Accounts, orders, nonces and fills to be put in the place of what is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// Counts up by one with every delta.
    pub seq: u64,
    /// Next order id.
    pub next_oid: u64,
    /// Next trade id.
    pub next_tid: u64,
    /// Accounts.
    pub accounts: Vec<Account>,
    /// Orders, live and done.
    pub orders: Vec<Order>,
    /// Nonces kept, by signer.
    pub nonces: Vec<(Addr, BTreeSet<u64>)>,
    /// Fills, oldest first.
    pub fills: Vec<Fill>,
}

impl Exchange {
    /// What changed since the last call; none if nothing did.
    pub fn take_delta(&mut self) -> Option<Delta> {
        let dirty = std::mem::take(&mut self.dirty);
        if dirty.accounts.is_empty() && dirty.orders.is_empty() && dirty.signers.is_empty() && dirty.fills.is_empty() {
            return None;
        }
        self.seq = self.seq.saturating_add(1);
        Some(Delta {
            seq: self.seq,
            next_oid: self.next_oid,
            next_tid: self.next_tid,
            accounts: dirty.accounts.iter().filter_map(|a| self.accounts.get(a)).cloned().collect(),
            orders: dirty.orders.iter().filter_map(|o| self.orders.get(o)).cloned().collect(),
            nonces: dirty.signers.iter().filter_map(|s| self.nonces.get(s).map(|n| (*s, n.clone()))).collect(),
            fills: dirty.fills,
        })
    }

    /// Everything.
    #[must_use]
    pub fn snapshot(&self) -> Delta {
        Delta {
            seq: self.seq,
            next_oid: self.next_oid,
            next_tid: self.next_tid,
            accounts: self.accounts.values().cloned().collect(),
            orders: self.orders.values().cloned().collect(),
            nonces: self.nonces.iter().map(|(s, n)| (*s, n.clone())).collect(),
            fills: self.fills.values().flatten().cloned().collect(),
        }
    }

    /// Puts a snapshot or delta in place. One that is not newer than what is there is skipped.
    pub fn restore(&mut self, delta: Delta) {
        if delta.seq <= self.seq && self.seq != 0 {
            return;
        }
        self.seq = delta.seq;
        self.next_oid = delta.next_oid.max(self.next_oid);
        self.next_tid = delta.next_tid.max(self.next_tid);
        for account in delta.accounts {
            for agent in account.agents.values() {
                self.signers.insert(*agent, account.address);
            }
            self.accounts.insert(account.address, account);
        }
        for (signer, nonces) in delta.nonces {
            self.nonces.insert(signer, nonces);
        }
        for fill in delta.fills {
            self.keep_fill(fill);
        }
        for order in delta.orders {
            if let Some(cloid) = order.cloid {
                self.cloids.insert((order.account, cloid), order.oid);
            }
            let was_done = self.orders.get(&order.oid).is_some_and(|old| !old.status.is_live());
            self.orders.insert(order.oid, order.clone());
            if order.status.is_live() {
                self.live.insert(order.oid);
            } else {
                self.live.remove(&order.oid);
                if !was_done {
                    self.remember_done(&order);
                }
            }
        }
    }
}
