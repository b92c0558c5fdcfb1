//! The exchange with its witness, its books and its listeners: what one lock guards.
//!
//! [`Venue::settle`] is called after every change and before any answer: witness first, then books, then listeners.

use crate::addr::Addr;
use crate::exchange::action::Action;
use crate::exchange::execute::Signed;
use crate::exchange::types::Now;
use crate::exchange::{Exchange, Out};
use crate::faults::Kind as Fault;
use crate::hub::{Hub, Topic};
use crate::info::{self, shape};
use crate::sign::{self, Ordered, WireSignature};
use crate::store::Store;
use crate::witness::Witness;
use holdfast_ipc::clock;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A signed request as it travels. Fields the venue does not know are tolerated.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Envelope {
    action: Ordered,
    nonce: u64,
    signature: WireSignature,
    #[serde(default)]
    vault_address: Option<Addr>,
    #[serde(default)]
    expires_after: Option<u64>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// 200 with this.
    Json(Value),
    /// Another status with a text.
    Plain(u16, String),
}

/// What the real venue says to a body it cannot read.
const UNREADABLE: &str = "Failed to deserialize the JSON body into the target type";

/// Everything.
#[derive(Debug)]
pub(crate) struct Venue {
    pub(crate) ex: Exchange,
    pub(crate) witness: Witness,
    pub(crate) store: Store,
    pub(crate) hub: Hub,
    /// Trade id up to which each coin's prints have been sent.
    sent_trades: BTreeMap<String, u64>,
    prints: BTreeSet<String>,
    rounds: u64,
    /// Messages an injected fault keeps back until the next one has gone out.
    held: BTreeMap<Topic, String>,
}

impl Venue {
    pub(crate) fn new(ex: Exchange, witness: Witness, store: Store) -> Self {
        Self {
            ex,
            witness,
            store,
            hub: Hub::default(),
            sent_trades: BTreeMap::new(),
            prints: BTreeSet::new(),
            rounds: 0,
            held: BTreeMap::new(),
        }
    }

    /// The present, in venue time.
    pub(crate) fn now(&self) -> Now {
        let boot = clock::now();
        let skew = self.ex.faults.skew_ms(boot.0 / 1_000_000);
        Now { boot_ns: boot.0, ms: clock::wall_ms().saturating_add_signed(skew) }
    }

    /// Answers a read.
    pub(crate) fn info(&mut self, body: &[u8]) -> Answer {
        let now = self.now();
        match serde_json::from_slice::<info::Query>(body) {
            Ok(query) => Answer::Json(info::answer(&self.ex, &query, now)),
            Err(_) => Answer::Plain(422, UNREADABLE.to_owned()),
        }
    }

    /// Carries out a signed request, or (with `refuse_as`) only records that it came and was turned away.
    pub(crate) fn action(&mut self, body: &[u8], refuse_as: Option<(u16, &str)>) -> Answer {
        let unreadable = || Answer::Plain(422, UNREADABLE.to_owned());
        let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else { return unreadable() };
        let Ok(action) = Action::deserialize(&envelope.action) else { return unreadable() };
        let hash = sign::action_hash(
            &envelope.action,
            envelope.nonce,
            envelope.vault_address.as_ref(),
            envelope.expires_after,
        );
        // Like every network but the main one, this one signs with "b".
        let signer = hash.and_then(|hash| sign::recover(&sign::signing_digest(&hash, "b"), &envelope.signature));
        let Ok(signer) = signer else { return unreadable() };
        let signed = Signed {
            signer,
            action: &action,
            nonce: envelope.nonce,
            vault: envelope.vault_address,
            expires_after: envelope.expires_after,
        };
        let now = self.now();
        if let Some((status, text)) = refuse_as {
            self.ex.refuse(&signed, text, &format!("rejected:http {status}"), now);
            self.settle();
            return Answer::Plain(status, text.to_owned());
        }
        if self.ex.would_open(&signer, &action) && !self.can_record() {
            let text = "this order cannot be witnessed: the disk of the paper venue is full or failing";
            self.ex.refuse(&signed, text, "", now);
            self.settle();
            return Answer::Plain(503, text.to_owned());
        }
        let answer = self.ex.execute(&signed, now);
        self.settle();
        Answer::Json(answer)
    }

    fn can_record(&mut self) -> bool {
        let witness = self.witness.ready();
        self.store.ready(&self.ex) && witness
    }

    /// Writes down and passes on what happened.
    pub(crate) fn settle(&mut self) {
        let outs = self.ex.drain();
        let lines: Vec<_> = outs
            .iter()
            .filter_map(|out| match out {
                Out::Witness(line) => Some(line.as_ref().clone()),
                Out::Fill(_)
                | Out::Order(_)
                | Out::NonUserCancel(..)
                | Out::Liquidated(..)
                | Out::Print(_)
                | Out::Account(_) => None,
            })
            .collect();
        self.witness.write(&lines);
        if let Some(delta) = self.ex.take_delta() {
            self.store.record(&delta, &self.ex);
        }
        if !outs.is_empty() {
            self.tell(outs);
        }
    }

    fn tell(&mut self, outs: Vec<Out>) {
        let mut orders: BTreeMap<Addr, Vec<Value>> = BTreeMap::new();
        let mut fills: BTreeMap<Addr, Vec<Value>> = BTreeMap::new();
        let mut cancels: BTreeMap<Addr, Vec<Value>> = BTreeMap::new();
        let mut touched = BTreeSet::new();
        for out in outs {
            match out {
                Out::Witness(_) => {}
                Out::Order(o) => {
                    touched.insert(o.account);
                    orders.entry(o.account).or_default().push(shape::order_update(&o));
                }
                Out::Fill(f) => {
                    touched.insert(f.account);
                    fills.entry(f.account).or_default().push(shape::fill(&f));
                }
                Out::NonUserCancel(user, coin, oid) => {
                    cancels.entry(user).or_default().push(json!({"coin": coin, "oid": oid}));
                }
                Out::Liquidated(user, ntl, value) => {
                    let data = json!({"liquidation": {
                        "lid": 0, "liquidator": Addr([0; 20]), "liquidated_user": user, "liquidated_ntl_pos": ntl,
                        "liquidated_account_value": value,
                    }});
                    self.hub.publish(&Topic::UserEvents { user }, || data);
                    let text = json!({"notification": "Your positions were liquidated."});
                    self.hub.publish(&Topic::Notification { user }, || text);
                }
                Out::Print(coin) => {
                    self.prints.insert(coin);
                }
                Out::Account(user) => {
                    touched.insert(user);
                }
            }
        }
        for (user, list) in orders {
            self.hub.publish(&Topic::OrderUpdates { user }, || json!(list));
        }
        for (user, list) in fills {
            for aggregate_by_time in [false, true] {
                let topic = Topic::UserFills { user, aggregate_by_time };
                self.hub.publish(&topic, || json!({"user": user, "fills": list}));
            }
            self.hub.publish(&Topic::UserEvents { user }, || json!({"fills": list}));
        }
        for (user, list) in cancels {
            self.hub.publish(&Topic::UserEvents { user }, || json!({"nonUserCancel": list}));
        }
        let now = self.now();
        for topic in self.hub.topics() {
            let user = match &topic {
                Topic::ClearinghouseState { user, .. } | Topic::OpenOrders { user, .. } => *user,
                Topic::AllMids { .. }
                | Topic::L2Book { .. }
                | Topic::Bbo { .. }
                | Topic::Trades { .. }
                | Topic::Candle { .. }
                | Topic::ActiveAssetCtx { .. }
                | Topic::OrderUpdates { .. }
                | Topic::UserFills { .. }
                | Topic::UserEvents { .. }
                | Topic::Notification { .. }
                | Topic::UserFundings { .. }
                | Topic::UserNonFundingLedgerUpdates { .. } => continue,
            };
            if touched.contains(&user)
                && let Some(data) = self.current(&topic, now)
            {
                self.hub.publish(&topic, || data);
            }
        }
    }

    /// The whole present state of a topic as JSON, where it has one.
    pub(crate) fn current(&self, topic: &Topic, now: Now) -> Option<String> {
        let ex = &self.ex;
        let value = match topic {
            // Most of what is said: written as it is, without a tree of values in between.
            Topic::L2Book { coin, n_sig_figs, mantissa } => {
                return serde_json::to_string(&info::book(ex, coin, *n_sig_figs, *mantissa)).ok();
            }
            Topic::AllMids { dex } => json!({"mids": info::all_mids(ex, dex)}),
            Topic::Bbo { coin } => info::bbo(ex, coin),
            Topic::Trades { coin } => info::trades(ex.market(coin)?, 0),
            Topic::Candle { coin, interval } => info::candle(ex.market(coin)?, interval)?,
            Topic::ActiveAssetCtx { coin } => json!({"coin": coin, "ctx": info::asset_ctx(ex.market(coin)?)}),
            Topic::OrderUpdates { user } => {
                json!(ex.live_orders(user).into_iter().map(shape::order_update).collect::<Vec<_>>())
            }
            Topic::UserFills { user, .. } => {
                let fills: Vec<Value> = ex.fills(user).into_iter().flatten().rev().take(100).map(shape::fill).collect();
                json!({"isSnapshot": true, "user": user, "fills": fills})
            }
            Topic::ClearinghouseState { user, dex } => {
                json!({"dex": dex, "user": user, "clearinghouseState": shape::clearinghouse(ex, user, dex, now)})
            }
            Topic::OpenOrders { user, dex } => {
                json!({"dex": dex, "user": user, "orders": shape::open_orders(ex, user, dex, true)})
            }
            Topic::UserFundings { user } => json!({"isSnapshot": true, "user": user, "fundings": []}),
            Topic::UserNonFundingLedgerUpdates { user } => {
                json!({"isSnapshot": true, "user": user, "nonFundingLedgerUpdates": []})
            }
            Topic::UserEvents { .. } | Topic::Notification { .. } => return None,
        };
        Some(value.to_string())
    }

    /// One round of market messages: at most one book of a coin each.
    pub(crate) fn publish_market(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
        let now = self.now();
        let gap = |ex: &Exchange, coin: Option<&str>| ex.faults.peek(Fault::FeedGap, coin, now.boot_ms()).is_some();
        for topic in self.hub.topics() {
            // Slow topics go out every other round, an account's own state every tenth.
            let (coin, every) = match &topic {
                Topic::L2Book { coin, .. } | Topic::Bbo { coin } => (Some(coin.as_str()), 1),
                Topic::Trades { coin } => {
                    if self.prints.contains(coin) && !gap(&self.ex, Some(coin)) {
                        let after = self.sent_trades.get(coin).copied().unwrap_or(0);
                        if let Some(market) = self.ex.market(coin) {
                            let data = info::trades(market, after);
                            self.hub.publish(&topic, || data);
                        }
                    }
                    continue;
                }
                Topic::AllMids { .. } => (None, 2),
                Topic::Candle { coin, .. } | Topic::ActiveAssetCtx { coin } => (Some(coin.as_str()), 4),
                Topic::ClearinghouseState { .. } | Topic::OpenOrders { .. } => (None, 10),
                Topic::OrderUpdates { .. }
                | Topic::UserFills { .. }
                | Topic::UserEvents { .. }
                | Topic::Notification { .. }
                | Topic::UserFundings { .. }
                | Topic::UserNonFundingLedgerUpdates { .. } => continue,
            };
            let own = matches!(topic, Topic::ClearinghouseState { .. } | Topic::OpenOrders { .. });
            if !self.rounds.is_multiple_of(every) {
                continue;
            }
            let Some(data) = self.current(&topic, now) else { continue };
            let fault = self.ex.faults.peek(Fault::FeedGap, coin, now.boot_ms()).filter(|_| !own);
            match fault.map(|value| value.as_str().unwrap_or("silent").to_owned()).as_deref() {
                None => {
                    self.held.remove(&topic);
                    self.hub.publish(&topic, || data);
                }
                Some("duplicate") => {
                    self.hub.publish(&topic, || data.clone());
                    self.hub.publish(&topic, || data);
                }
                Some("reorder") => match self.held.remove(&topic) {
                    None => {
                        self.held.insert(topic, data);
                    }
                    Some(older) => {
                        self.hub.publish(&topic, || data);
                        self.hub.publish(&topic, || older);
                    }
                },
                Some(_) => {}
            }
        }
        for coin in std::mem::take(&mut self.prints) {
            if let Some(last) = self.ex.market(&coin).and_then(|m| m.trades.back()).map(|t| t.tid) {
                self.sent_trades.insert(coin, last);
            }
        }
    }
}
