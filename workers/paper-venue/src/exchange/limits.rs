//! Nonces and the address quota: who may be heard, and how often.

use super::types::{Account, Now};
use super::{Exchange, n};
use crate::addr::Addr;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// Nonces kept per signer.
const KEPT: usize = 100;
const DAY_MS: u64 = 86_400_000;

/// Requests an address may make in all: 10,000 and one more for every USD traded.
#[must_use]
pub fn quota(account: &Account) -> u64 {
    n::add(account.volume.get(), Decimal::from(10_000)).trunc().to_u64().unwrap_or(u64::MAX)
}

impl Exchange {
    /// Takes a nonce of a signer, or says why not. A nonce counts as used once this returned `Ok`.
    pub(crate) fn take_nonce(&mut self, signer: Addr, nonce: u64, now: Now) -> Result<(), String> {
        if nonce <= now.ms.saturating_sub(2 * DAY_MS) {
            return Err(format!("Invalid nonce: too low, {nonce} is more than two days behind {}", now.ms));
        }
        if nonce >= now.ms.saturating_add(DAY_MS) {
            return Err(format!("Invalid nonce: too high, {nonce} is more than a day ahead of {}", now.ms));
        }
        let kept = self.nonces.entry(signer).or_default();
        if kept.contains(&nonce) {
            return Err(format!("Invalid nonce: duplicate nonce {nonce}"));
        }
        if kept.len() >= KEPT {
            if let Some(smallest) = kept.first().copied().filter(|smallest| nonce <= *smallest) {
                return Err(format!("Invalid nonce: too low, {nonce} is not above {smallest}"));
            }
            kept.pop_first();
        }
        kept.insert(nonce);
        self.dirty.signers.insert(signer);
        Ok(())
    }

    /// Counts requests against the quota of an account, or says that it is spent. While it is, one action per 10 s passes.
    pub(crate) fn take_quota(
        &mut self,
        address: &Addr,
        cost: u64,
        is_cancel: bool,
        spent: bool,
        now: Now,
    ) -> Result<(), String> {
        let Some(account) = self.accounts.get_mut(address) else { return Ok(()) };
        let cap = quota(account);
        let limit = if is_cancel { cap.saturating_add(100_000).min(cap.saturating_mul(2)) } else { cap };
        self.dirty.accounts.insert(*address);
        if spent || account.requests.saturating_add(cost) > limit {
            // A clock that starts again with the host must not lock the account out.
            let waited = now.boot_ms().checked_sub(account.last_slow_ms).unwrap_or(u64::MAX);
            if account.last_slow_ms != 0 && waited < 10_000 {
                return Err(format!(
                    "Too many cumulative requests sent ({} > {limit}) for cumulative volume traded ${}. Place taker \
                     orders to free up 1 request per USDC traded.",
                    account.requests, account.volume
                ));
            }
            account.last_slow_ms = now.boot_ms().max(1);
        }
        account.requests = account.requests.saturating_add(cost);
        Ok(())
    }
}
