//! Opening: sign, read the permit once more, let the bytes go.

use crate::action::{LeverageAction, OpenOrder};
use crate::send::Sender;
use holdfast_core::permit::{Holder, NoPermit, PermitSource, RiskPermit};
use holdfast_venue_reduce::budget::Purpose;
use holdfast_venue_reduce::client::{ConfigError, Venue};
use holdfast_venue_reduce::clock::VenueClock;
use holdfast_venue_reduce::nonce::Nonces;
use holdfast_venue_reduce::outcome::{Expect, Outcome};
use holdfast_venue_reduce::read::Asset;
use holdfast_venue_reduce::sign::{AgentKey, Context, signed_body};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Why an opener cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum OpenerError {
    /// The venue's configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What became of an attempt to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenResult {
    /// The verdict. `NotSent` refusals never left this host.
    pub outcome: Outcome,
    /// Set when it was the permit that was missing.
    pub no_permit: Option<NoPermit>,
    /// Until when (venue ms) the venue can still take it: reconcile an unknown outcome until this has passed.
    pub expires_after_ms: u64,
    /// The nonce it carried; 0 when none was taken.
    pub nonce: u64,
}

/// A change of leverage. It adds no position and yet can add risk, so it needs a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeverageChange {
    /// Shares the account's collateral, or has its own.
    pub is_cross: bool,
    /// From 1 to the market's highest.
    pub leverage: u32,
}

/// The only thing in this program that can add risk.
pub struct Opener {
    venue: Venue,
    sender: Sender,
    key: Arc<AgentKey>,
    nonces: Arc<Nonces>,
    source: Box<dyn PermitSource + Send + Sync>,
    holder: Holder,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("key", &self.key).field("holder", &self.holder).finish_non_exhaustive()
    }
}

impl Opener {
    /// Signs with `key`; reads permits from `source` as `holder`.
    ///
    /// # Errors
    /// [`OpenerError`].
    pub fn new(
        venue: &Venue,
        key: Arc<AgentKey>,
        nonces: Arc<Nonces>,
        source: Box<dyn PermitSource + Send + Sync>,
        holder: Holder,
    ) -> Result<Self, OpenerError> {
        let sender = Sender::new(venue.config())?;
        Ok(Self { venue: venue.clone(), sender, key, nonces, source, holder })
    }

    /// Mints a permit from the record as it is now.
    ///
    /// # Errors
    /// [`NoPermit`].
    pub fn permit(&self) -> Result<RiskPermit, NoPermit> {
        RiskPermit::mint(self.source.as_ref(), &self.holder)
    }

    /// Keeps a connection open, so that no handshake lies between the permit and the order: call it every 10 s or so.
    /// Sends a harmless read. True when the venue answered.
    pub async fn warm(&self) -> bool {
        let weight = 2;
        self.venue.budget().take(self.source.now(), weight, Purpose::Open).is_ok() && self.sender.warm().await
    }

    /// Sends one order. `clock` maps the permit's deadline into venue time; the venue refuses the order after it.
    pub async fn open(&self, permit: RiskPermit, order: OpenOrder, clock: &VenueClock) -> OpenResult {
        self.spend(permit, &order.action(), clock, Expect::Orders(1), std::future::ready(true)).await
    }

    /// Sends one order whose intent is being written down meanwhile: signing overlaps with the disk. Nothing leaves
    /// unless `written` says that the intent is durable; the permit is read again after that.
    pub async fn open_after<W: Future<Output = bool>>(
        &self,
        permit: RiskPermit,
        order: OpenOrder,
        clock: &VenueClock,
        written: W,
    ) -> OpenResult {
        self.spend(permit, &order.action(), clock, Expect::Orders(1), written).await
    }

    /// Changes the leverage of one market.
    pub async fn update_leverage(
        &self,
        permit: RiskPermit,
        asset: &Asset,
        change: LeverageChange,
        clock: &VenueClock,
    ) -> OpenResult {
        if change.leverage == 0 || change.leverage > asset.max_leverage || (change.is_cross && asset.only_isolated) {
            return not_sent(&"leverage is not allowed in this market", None, 0, 0);
        }
        let action = LeverageAction { asset: asset.index, is_cross: change.is_cross, leverage: change.leverage };
        self.spend(permit, &action, clock, Expect::Plain, std::future::ready(true)).await
    }

    /// The order path. Signing comes first because it takes longest; between the second look at the permit and the
    /// first byte on the socket there is nothing but the send itself (on a connection [`Opener::warm`] keeps open). What
    /// is stopped or delayed in that gap meets the expiry.
    async fn spend<A: Serialize, W: Future<Output = bool>>(
        &self,
        permit: RiskPermit,
        action: &A,
        clock: &VenueClock,
        expect: Expect,
        written: W,
    ) -> OpenResult {
        let now = self.source.now();
        let expires = clock.venue_ms(permit.deadline());
        if let Err(over) = self.venue.budget().take(now, 1, Purpose::Open) {
            return not_sent(&over, None, expires, 0);
        }
        let nonce = self.nonces.next(clock.venue_ms(now));
        if !nonce.stored {
            return not_sent(&"the nonce could not be stored", None, expires, nonce.value);
        }
        let context = Context {
            network: self.venue.network(),
            nonce: nonce.value,
            vault: self.venue.config().vault,
            expires_after: Some(expires),
        };
        let body = match signed_body(&self.key, action, &context) {
            Ok(body) => body,
            Err(error) => return not_sent(&error, None, expires, nonce.value),
        };
        let request = match self.sender.prepare(body) {
            Ok(request) => request,
            Err(error) => return not_sent(&error, None, expires, nonce.value),
        };
        if !written.await {
            return not_sent(&"the intent is not on the disk", None, expires, nonce.value);
        }
        if let Err(missing) = permit.recheck(self.source.as_ref(), &self.holder) {
            return not_sent(&missing, Some(missing), expires, nonce.value);
        }
        let outcome = self.sender.send(request, expect).await;
        OpenResult { outcome, no_permit: None, expires_after_ms: expires, nonce: nonce.value }
    }
}

fn not_sent(why: &dyn fmt::Display, no_permit: Option<NoPermit>, expires_after_ms: u64, nonce: u64) -> OpenResult {
    OpenResult { outcome: Outcome::not_sent(why), no_permit, expires_after_ms, nonce }
}
