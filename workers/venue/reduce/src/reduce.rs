//! Sending what reduces: cancels, the venue's dead-man switch, closes. Needs no permit and refuses for no mode.
//!
//! Every order and cancel carries `expiresAfter`, so a late one is a refusal and not a surprise. A nonce that cannot be
//! stored does not stop a reduction; it is reported.

use crate::action::{
    CancelAction, CancelByCloidAction, CancelCloid, CancelOid, Grouping, NoopAction, ReduceAction, ReduceOrder,
    ScheduleCancelAction,
};
use crate::client::Venue;
use crate::nonce::Nonces;
use crate::outcome::{Expect, Outcome};
use crate::reduction::Reduction;
use crate::sign::{AgentKey, Context, signed_body};
use serde::Serialize;
use std::sync::Arc;

/// Entries of one batch; the venue refuses a larger one whole.
pub const BATCH_MAX: usize = 200;

/// When an action is sent, in venue milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Now: the nonce's floor.
    pub now_ms: u64,
    /// The venue refuses what it processes later than this.
    pub expires_after_ms: u64,
}

/// What became of a call: one verdict per entry, in the order they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The verdicts.
    pub outcomes: Vec<Outcome>,
    /// False when a nonce could not be stored: sent all the same, and worth an alarm.
    pub nonces_stored: bool,
}

impl Sent {
    /// Whether any verdict is unknown.
    #[must_use]
    pub fn any_unknown(&self) -> bool {
        self.outcomes.iter().any(Outcome::is_unknown)
    }

    /// The verdict of a call that has exactly one.
    #[must_use]
    pub fn single(&self) -> Option<&Outcome> {
        match self.outcomes.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

/// A client that can cancel, close and arm the dead-man switch, and nothing else.
#[derive(Clone, Debug)]
pub struct ReduceClient {
    venue: Venue,
    key: Arc<AgentKey>,
    nonces: Arc<Nonces>,
}

impl ReduceClient {
    /// Signs with `key`, whose nonces are `nonces`. Its reads and sends are never refused by our own budget.
    #[must_use]
    pub fn new(venue: &Venue, key: Arc<AgentKey>, nonces: Arc<Nonces>) -> Self {
        Self { venue: venue.for_reducing(), key, nonces }
    }

    /// The venue, for the reads a reduction rests on.
    #[must_use]
    pub const fn venue(&self) -> &Venue {
        &self.venue
    }

    /// Cancels by venue order id, in batches of at most [`BATCH_MAX`].
    pub async fn cancel(&self, cancels: &[CancelOid], at: Timing) -> Sent {
        let mut sent = Sent { outcomes: Vec::with_capacity(cancels.len()), nonces_stored: true };
        for cancels in cancels.chunks(BATCH_MAX) {
            let expect = Expect::Cancels(cancels.len());
            sent.absorb(self.send(&CancelAction { cancels }, at, expect).await);
        }
        sent
    }

    /// Cancels by client order id, in batches of at most [`BATCH_MAX`].
    pub async fn cancel_by_cloid(&self, cancels: &[CancelCloid], at: Timing) -> Sent {
        let mut sent = Sent { outcomes: Vec::with_capacity(cancels.len()), nonces_stored: true };
        for cancels in cancels.chunks(BATCH_MAX) {
            let expect = Expect::Cancels(cancels.len());
            sent.absorb(self.send(&CancelByCloidAction { cancels }, at, expect).await);
        }
        sent
    }

    /// Arms the venue's dead-man switch for `fires_at_ms` (venue time, at least 5 s ahead), or clears it.
    /// `RefusalClass::DeadManVolume` = not available to this account.
    pub async fn schedule_cancel(&self, fires_at_ms: Option<u64>, at: Timing) -> Sent {
        self.send(&ScheduleCancelAction { time: fires_at_ms }, at, Expect::Plain).await
    }

    /// Burns a nonce, so that an action in flight under the same nonce is void.
    pub async fn noop(&self, at: Timing) -> Sent {
        self.send(&NoopAction {}, at, Expect::Plain).await
    }

    /// Sends one close.
    pub async fn close(&self, reduction: Reduction, at: Timing) -> Sent {
        self.close_many(vec![reduction], at).await
    }

    /// Sends all closes in one batch (more than [`BATCH_MAX`]: several). A reduction that rests on an old read, or a
    /// second one for the same coin, is not sent: together they could do what each alone cannot.
    pub async fn close_many(&self, reductions: Vec<Reduction>, at: Timing) -> Sent {
        let now = self.venue.now();
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(reductions.len());
        let mut entries: Vec<ReduceOrder> = Vec::with_capacity(reductions.len());
        for (place, reduction) in reductions.iter().enumerate() {
            let twice = reductions.iter().take(place).any(|earlier| earlier.coin() == reduction.coin());
            let entry = match (reduction.is_fresh(now), twice, reduction.entry()) {
                (false, _, _) => Err(Outcome::not_sent(&"the account read behind this close is too old")),
                (true, true, _) => Err(Outcome::not_sent(&"a second close of the same coin in one batch")),
                (true, false, Err(bad)) => Err(Outcome::not_sent(&bad)),
                (true, false, Ok(entry)) => Ok(entry),
            };
            match entry {
                Ok(entry) => {
                    entries.push(entry);
                    outcomes.push(None);
                }
                Err(outcome) => outcomes.push(Some(outcome)),
            }
        }
        let mut sent = Sent { outcomes: Vec::with_capacity(entries.len()), nonces_stored: true };
        for orders in entries.chunks(BATCH_MAX) {
            let action = ReduceAction { orders, grouping: Grouping::Na };
            sent.absorb(self.send(&action, at, Expect::Orders(orders.len())).await);
        }
        let mut verdicts = sent.outcomes.into_iter();
        let missing = || Outcome::not_sent(&"no verdict");
        let outcomes = outcomes.into_iter().map(|o| o.or_else(|| verdicts.next()).unwrap_or_else(missing)).collect();
        Sent { outcomes, nonces_stored: sent.nonces_stored }
    }

    async fn send<A: Serialize>(&self, action: &A, at: Timing, expect: Expect) -> Sent {
        let nonce = self.nonces.next(at.now_ms);
        let context = Context {
            network: self.venue.network(),
            nonce: nonce.value,
            vault: self.venue.config().vault,
            expires_after: Some(at.expires_after_ms),
        };
        let outcomes = match signed_body(&self.key, action, &context) {
            Ok(body) => self.venue.post_exchange(body, weight_of(expect), expect).await,
            Err(error) => expect.all(&Outcome::not_sent(&error)),
        };
        Sent { outcomes, nonces_stored: nonce.stored }
    }
}

impl Sent {
    fn absorb(&mut self, other: Self) {
        self.outcomes.extend(other.outcomes);
        self.nonces_stored &= other.nonces_stored;
    }
}

/// 1 + floor(batch / 40).
fn weight_of(expect: Expect) -> u32 {
    u32::try_from(expect.entries() / 40).unwrap_or(u32::MAX).saturating_add(1)
}
