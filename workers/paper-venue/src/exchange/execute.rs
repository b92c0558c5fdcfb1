//! Signed actions: who may act, whether in time, and what each entry is told.

use super::action::{Action, Grouping, OidOrCloid, WireOrder};
use super::place::{Belongs, Placed};
use super::types::{Leverage, Now, Status};
use super::{Exchange, Out, n};
use crate::addr::{Addr, Cloid};
use crate::faults::{self, Kind as Fault};
use crate::witness::Line;
use holdfast_core::money::Szi;
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// Cancels in one action.
const MAX_CANCELS: usize = 200;
/// Volume the dead-man switch asks for.
const DEAD_MAN_VOLUME: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
/// Firings a day.
const DEAD_MAN_TRIGGERS: u32 = 10;
const ALREADY_GONE: &str = "Order was never placed, already canceled, or filled.";

/// An action with who sent it and when.
#[derive(Clone, Debug)]
pub struct Signed<'a> {
    /// The address its signature recovers to.
    pub signer: Addr,
    /// What is asked for.
    pub action: &'a Action,
    /// Its nonce.
    pub nonce: u64,
    /// The vault it names.
    pub vault: Option<Addr>,
    /// Its own expiry, venue ms.
    pub expires_after: Option<u64>,
}

/// What every entry of an action shares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    pub(crate) account: Addr,
    pub(crate) signer: Addr,
    pub(crate) expires_after: Option<u64>,
    pub(crate) now: Now,
    pub(crate) kind: &'static str,
}

impl Context {
    /// Fills the fields of an order into a witness line.
    pub(crate) fn order_line(&self, line: Line, w: &WireOrder) -> Line {
        Line {
            signer: Some(self.signer),
            is_buy: Some(w.b),
            sz: Some(w.s),
            px: Some(w.p),
            reduce_only: Some(w.r),
            cloid: w.c,
            expires_after: self.expires_after,
            ..line
        }
    }
}

fn refused(text: &str) -> Value {
    json!({"status": "err", "response": text})
}

fn done() -> Value {
    json!({"status": "ok", "response": {"type": "default"}})
}

fn statuses(kind: &str, list: &[Value]) -> Value {
    json!({"status": "ok", "response": {"type": kind, "data": {"statuses": list}}})
}

impl Placed {
    fn wire(&self, cloid: Option<Cloid>) -> Value {
        let with_cloid = |mut value: Value| {
            if let (Some(cloid), Some(map)) = (cloid, value.as_object_mut()) {
                map.insert("cloid".to_owned(), json!(cloid));
            }
            value
        };
        match self {
            Self::Resting(oid) => json!({"resting": with_cloid(json!({"oid": oid}))}),
            Self::Filled { oid, total, avg } => {
                json!({"filled": with_cloid(json!({"oid": oid, "totalSz": total, "avgPx": avg}))})
            }
            Self::WaitingForFill => json!("waitingForFill"),
            Self::WaitingForTrigger => json!("waitingForTrigger"),
            Self::Refused(text) => json!({"error": text}),
        }
    }
}

impl Exchange {
    /// Whether any order of the action could leave more risk than there is, by arithmetic on the position.
    #[must_use]
    pub fn would_open(&self, signer: &Addr, action: &Action) -> bool {
        let account = self.acting_for(signer).and_then(|a| self.account(&a));
        action.orders().iter().any(|w| {
            let before = account.zip(self.coin_at(w.a)).map_or(Szi::FLAT, |(account, coin)| account.szi(coin));
            !w.r && before.increases_to(n::szi(n::add(before.get(), w.s.signed(w.b).get())))
        })
    }

    /// Writes that every entry of an action was received and refused, and builds the refusal.
    pub fn refuse(&mut self, s: &Signed<'_>, text: &str, outcome: &str, now: Now) -> Value {
        let account = self.acting_for(&s.signer);
        let context = Context {
            account: account.unwrap_or(s.signer),
            signer: s.signer,
            expires_after: s.expires_after,
            now,
            kind: s.action.name(),
        };
        let outcome = if outcome.is_empty() { format!("rejected:{text}") } else { outcome.to_owned() };
        let mut lines: Vec<Line> = Vec::new();
        for w in s.action.orders() {
            let line = self.line(now, context.kind, account, self.coin_at(w.a));
            lines.push(Line { outcome: outcome.clone(), ..context.order_line(line, w) });
        }
        match s.action {
            Action::Cancel { cancels } => {
                for c in cancels.iter().take(1_000) {
                    let line = self.line(now, context.kind, account, self.coin_at(c.a));
                    lines.push(Line { oid: Some(c.o), outcome: outcome.clone(), ..line });
                }
            }
            Action::CancelByCloid { cancels } => {
                for c in cancels.iter().take(1_000) {
                    let line = self.line(now, context.kind, account, self.coin_at(c.asset));
                    lines.push(Line { cloid: Some(c.cloid), outcome: outcome.clone(), ..line });
                }
            }
            Action::Order { .. }
            | Action::ScheduleCancel { .. }
            | Action::UpdateLeverage { .. }
            | Action::BatchModify { .. }
            | Action::Modify { .. }
            | Action::Noop {} => {}
        }
        if lines.is_empty() {
            lines.push(Line { outcome, ..self.line(now, context.kind, account, None) });
        }
        for line in lines {
            let line = Line { signer: Some(s.signer), expires_after: s.expires_after, ..line };
            self.witness(line);
        }
        refused(text)
    }

    /// Carries out a signed action and says what the venue answers (always with HTTP 200).
    pub fn execute(&mut self, s: &Signed<'_>, now: Now) -> Value {
        let Some(account) = self.acting_for(&s.signer) else {
            return self.refuse(s, &format!("User or API Wallet {} does not exist.", s.signer), "", now);
        };
        if let Some(vault) = s.vault.filter(|v| *v != account) {
            return self.refuse(s, &format!("Vault not registered: {vault}"), "", now);
        }
        if let Err(text) = self.take_nonce(s.signer, s.nonce, now) {
            return self.refuse(s, &text, "", now);
        }
        let late = s.expires_after.is_some_and(|expires| now.ms > expires);
        let boot_ms = now.boot_ms();
        let spent = self.faults.peek(Fault::RateLimit, None, boot_ms).and_then(Value::as_str) == Some("address")
            && self.faults.take(Fault::RateLimit, None, boot_ms).is_some();
        // An expired action costs five times as much.
        let cost = s.action.entries().saturating_mul(if late { 5 } else { 1 });
        let quota = self.take_quota(&account, cost, s.action.is_cancel(), spent, now);
        if late {
            return self.refuse(s, "Action already expired", "expired", now);
        }
        if let Err(text) = quota {
            return self.refuse(s, &text, "", now);
        }
        if let Some(value) = self.faults.take(Fault::RejectAll, None, boot_ms) {
            return self.refuse(s, value.as_str().unwrap_or("Trading is halted."), "", now);
        }
        let ctx = Context { account, signer: s.signer, expires_after: s.expires_after, now, kind: s.action.name() };
        match s.action {
            Action::Order { orders, grouping, .. } => self.place_all(s, &ctx, orders, *grouping),
            Action::Cancel { cancels } if cancels.len() > MAX_CANCELS => {
                self.refuse(s, &too_many(cancels.len()), "", now)
            }
            Action::CancelByCloid { cancels } if cancels.len() > MAX_CANCELS => {
                self.refuse(s, &too_many(cancels.len()), "", now)
            }
            Action::Cancel { cancels } => {
                let list: Vec<Value> =
                    cancels.iter().map(|c| self.cancel_one(&ctx, c.a, OidOrCloid::Oid(c.o))).collect();
                statuses("cancel", &list)
            }
            Action::CancelByCloid { cancels } => {
                let list: Vec<Value> =
                    cancels.iter().map(|c| self.cancel_one(&ctx, c.asset, OidOrCloid::Cloid(c.cloid))).collect();
                statuses("cancel", &list)
            }
            Action::ScheduleCancel { time } => self.schedule(s, &ctx, *time),
            Action::UpdateLeverage { asset, is_cross, leverage } => {
                self.choose_leverage(s, &ctx, *asset, Leverage { value: *leverage, cross: *is_cross })
            }
            Action::BatchModify { modifies } => {
                let list: Vec<Value> = modifies.iter().map(|m| self.modify_one(&ctx, m.oid, &m.order)).collect();
                statuses("order", &list)
            }
            Action::Modify { oid, order } => {
                let status = self.modify_one(&ctx, *oid, order);
                status.get("error").and_then(Value::as_str).map_or_else(done, refused)
            }
            Action::Noop {} => {
                let line = self.line(now, ctx.kind, Some(account), None);
                self.witness(Line { signer: Some(s.signer), outcome: "ok".to_owned(), ..line });
                done()
            }
        }
    }

    fn place_all(&mut self, s: &Signed<'_>, ctx: &Context, orders: &[WireOrder], grouping: Grouping) -> Value {
        // Errors found before validation give one error for the whole batch.
        if let Some(w) = orders.iter().find(|w| self.market_at(w.a).is_none()) {
            let text = format!("Invalid asset index. asset={}", w.a);
            self.refuse(s, &text, "", ctx.now);
            return statuses("order", &[json!({"error": text})]);
        }
        let mut list = Vec::new();
        let mut parent: Option<(u64, bool)> = None;
        for (at, w) in orders.iter().enumerate() {
            let child = grouping == Grouping::NormalTpsl && at > 0;
            let belongs = Belongs {
                parent: parent.filter(|_| child).map(|(oid, _)| oid),
                waiting: child && parent.is_some_and(|(_, filled)| !filled),
                position_tpsl: grouping == Grouping::PositionTpsl,
                replaces: None,
            };
            if child && parent.is_none() {
                list.push(json!({"error": format!("Parent order was refused. asset={}", w.a)}));
                let line = self.line(ctx.now, ctx.kind, Some(ctx.account), self.coin_at(w.a));
                self.witness(Line {
                    outcome: "rejected:Parent order was refused.".to_owned(),
                    ..ctx.order_line(line, w)
                });
                continue;
            }
            let (placed, oid) = self.place(ctx, w, belongs);
            if at == 0 && grouping == Grouping::NormalTpsl {
                parent = oid.zip(match placed {
                    Placed::Filled { .. } => Some(true),
                    Placed::Resting(_) => Some(false),
                    Placed::WaitingForFill | Placed::WaitingForTrigger | Placed::Refused(_) => None,
                });
            }
            list.push(placed.wire(w.c));
        }
        statuses("order", &list)
    }

    fn find(&self, account: &Addr, id: OidOrCloid) -> Option<u64> {
        match id {
            OidOrCloid::Oid(oid) => self.order(account, oid).map(|o| o.oid),
            OidOrCloid::Cloid(cloid) => self.order_by_cloid(account, cloid).map(|o| o.oid),
        }
    }

    fn cancel_one(&mut self, ctx: &Context, asset: u32, id: OidOrCloid) -> Value {
        let coin = self.coin_at(asset).map(str::to_owned);
        let found = self
            .find(&ctx.account, id)
            .and_then(|oid| self.orders.get(&oid))
            .filter(|o| o.status.is_live() && Some(&o.coin) == coin.as_ref())
            .cloned();
        let line = self.line(ctx.now, ctx.kind, Some(ctx.account), coin.as_deref());
        let (named_oid, named_cloid) = match id {
            OidOrCloid::Oid(oid) => (Some(oid), None),
            OidOrCloid::Cloid(cloid) => (None, Some(cloid)),
        };
        self.witness(Line {
            signer: Some(ctx.signer),
            expires_after: ctx.expires_after,
            oid: named_oid.or(found.as_ref().map(|o| o.oid)),
            cloid: named_cloid.or(found.as_ref().and_then(|o| o.cloid)),
            outcome: found.as_ref().map_or_else(|| format!("rejected:{ALREADY_GONE}"), |_| "success".to_owned()),
            ..line
        });
        match found {
            None => json!({"error": format!("{ALREADY_GONE} asset={asset}")}),
            Some(order) => {
                self.cancel(order.oid, Status::Canceled, ctx.now);
                json!("success")
            }
        }
    }

    /// Takes a live order off the books. An injected late fill is remembered here.
    pub(crate) fn cancel(&mut self, oid: u64, status: Status, now: Now) {
        let Some((coin, sz)) = self.orders.get(&oid).map(|o| (o.coin.clone(), o.sz)) else { return };
        if let Some(value) = self.faults.take(Fault::LateFill, Some(&coin), now.boot_ms()) {
            let delay = value.as_u64().unwrap_or(1_000);
            self.late.push(super::LateFill { at_boot_ms: now.boot_ms().saturating_add(delay), oid, sz });
        }
        self.set_status(oid, status, now);
        self.end_children(oid, now);
    }

    fn modify_one(&mut self, ctx: &Context, id: OidOrCloid, w: &WireOrder) -> Value {
        let old = self.find(&ctx.account, id).filter(|oid| self.live.contains(oid));
        let Some(old) = old else {
            let line = self.line(ctx.now, ctx.kind, Some(ctx.account), self.coin_at(w.a));
            let text = "Cannot modify canceled or filled order";
            self.witness(Line { outcome: format!("rejected:{text}"), ..ctx.order_line(line, w) });
            return json!({"error": text});
        };
        self.set_status(old, Status::Canceled, ctx.now);
        let (placed, _) = self.place(ctx, w, Belongs { replaces: Some(old), ..Belongs::default() });
        placed.wire(w.c)
    }

    fn choose_leverage(&mut self, s: &Signed<'_>, ctx: &Context, asset: u32, leverage: Leverage) -> Value {
        let coin = self.coin_at(asset).map(str::to_owned);
        let highest = coin.as_deref().and_then(|c| self.market(c)).map_or(0, |m| m.spec.max_leverage);
        let Some(coin) = coin.filter(|_| (1..=highest).contains(&leverage.value)) else {
            return self.refuse(s, "Invalid leverage value", "", ctx.now);
        };
        let old = self.accounts.get_mut(&ctx.account).and_then(|a| a.leverage.insert(coin.clone(), leverage));
        if !self.carries(&ctx.account, None) {
            if let Some(account) = self.accounts.get_mut(&ctx.account) {
                match old {
                    Some(old) => account.leverage.insert(coin, old),
                    None => account.leverage.remove(&coin),
                };
            }
            return self.refuse(s, "Cross margin is insufficient for this leverage", "", ctx.now);
        }
        self.dirty.accounts.insert(ctx.account);
        let line = self.line(ctx.now, ctx.kind, Some(ctx.account), Some(&coin));
        self.witness(Line { signer: Some(ctx.signer), outcome: "ok".to_owned(), ..line });
        done()
    }

    fn schedule(&mut self, s: &Signed<'_>, ctx: &Context, time: Option<u64>) -> Value {
        let now = ctx.now;
        let ineligible = self.faults.take(Fault::DeadManIneligible, None, now.boot_ms());
        let Some(account) = self.accounts.get(&ctx.account) else { return refused("no such account") };
        let traded = ineligible.as_ref().and_then(faults::decimal).unwrap_or(account.volume.get());
        let refusal = match time {
            Some(_) if traded < DEAD_MAN_VOLUME => Some(format!(
                "Cannot set scheduled cancel time until enough volume traded. Required: $1000000. Traded: ${traded}."
            )),
            Some(time) if time < now.ms.saturating_add(5_000) => {
                Some("Scheduled cancel time too early, must be at least 5 seconds from now.".to_owned())
            }
            Some(_) if account.trigger_day == now.ms / 86_400_000 && account.triggers >= DEAD_MAN_TRIGGERS => {
                Some("Scheduled cancel triggered too many times today.".to_owned())
            }
            Some(_) | None => None,
        };
        if let Some(text) = refusal {
            return self.refuse(s, &text, "", now);
        }
        if let Some(account) = self.accounts.get_mut(&ctx.account) {
            account.scheduled = time;
        }
        self.dirty.accounts.insert(ctx.account);
        let line = self.line(now, ctx.kind, Some(ctx.account), None);
        let outcome = time.map_or_else(|| "cleared".to_owned(), |time| format!("armed:{time}"));
        self.witness(Line { signer: Some(ctx.signer), expires_after: ctx.expires_after, outcome, ..line });
        done()
    }

    /// Cancels every order of an account because the venue decided so.
    pub(crate) fn cancel_all(&mut self, account: Addr, status: Status, now: Now) -> usize {
        let live: Vec<(u64, String)> =
            self.live_orders(&account).into_iter().map(|o| (o.oid, o.coin.clone())).collect();
        let count = live.len();
        for (oid, coin) in live {
            self.cancel(oid, status, now);
            self.out.push(Out::NonUserCancel(account, coin, oid));
        }
        count
    }
}

fn too_many(count: usize) -> String {
    format!("Too many cancels in one action: {count} > {MAX_CANCELS}")
}
