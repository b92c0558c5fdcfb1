//! The pure exchange: tables for matching and reduce-only, triggers, margin, liquidation, and random order streams.

use holdfast_core::money::{Px, Sz, Szi, Usd};
use holdfast_paper_venue::addr::Addr;
use holdfast_paper_venue::exchange::action::Action;
use holdfast_paper_venue::exchange::execute::Signed;
use holdfast_paper_venue::exchange::types::Now;
use holdfast_paper_venue::exchange::{Exchange, Out};
use holdfast_paper_venue::market::{CoinSpec, Level, MarketEvent, MarketKind};
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Value, json};

const ME: Addr = Addr([1; 20]);
const OTHER: Addr = Addr([2; 20]);

struct World {
    ex: Exchange,
    now: Now,
    nonce: u64,
    lines: Vec<(String, Szi, Szi, bool, bool)>,
}

fn px(v: &str) -> Px {
    v.parse().unwrap()
}

impl World {
    fn new(usd: &str) -> Self {
        let spec = CoinSpec { name: "BTC".to_owned(), sz_decimals: 3, max_leverage: 50 };
        let mut ex = Exchange::new(&[spec]);
        for address in [ME, OTHER] {
            ex.register(address, usd.parse().unwrap(), Usd::ZERO, &[]);
        }
        let mut this =
            Self { ex, now: Now { boot_ns: 1_000_000_000, ms: 1_790_000_000_000 }, nonce: 0, lines: Vec::new() };
        this.market(1000, 5);
        this
    }
    /// A mark and a book of three levels a side, `size` coins each, one dollar apart.
    fn market(&mut self, mid: i64, size: i64) {
        let side = |sign: i64| -> Vec<Level> {
            (1..=3)
                .map(|i| Level {
                    px: Px::new(Decimal::from(mid + sign * i)).unwrap(),
                    sz: Sz::new(Decimal::from(size)).unwrap(),
                    n: 1,
                })
                .collect()
        };
        self.event(MarketKind::Book { bids: side(-1), asks: side(1) });
        self.event(MarketKind::Mark { px: Px::new(Decimal::from(mid)).unwrap() });
    }
    fn event(&mut self, kind: MarketKind) {
        self.now.ms += 1;
        self.ex.market_event(MarketEvent { at_ms: 0, coin: "BTC".to_owned(), kind }, self.now);
        self.collect();
    }
    fn collect(&mut self) {
        for out in self.ex.drain() {
            if let Out::Witness(l) = out {
                let reduce = l.reduce_only == Some(true);
                self.lines.push((l.kind.clone(), l.position_before, l.position_after, l.increased_exposure, reduce));
            }
        }
    }
    fn act(&mut self, who: Addr, action: Value) -> Value {
        let action: Action = serde_json::from_value(action).unwrap();
        self.nonce += 1;
        let signed =
            Signed { signer: who, action: &action, nonce: self.now.ms + self.nonce, vault: None, expires_after: None };
        let answer = self.ex.execute(&signed, self.now);
        self.collect();
        answer
    }
    fn place(&mut self, who: Addr, is_buy: bool, px: &str, sz: &str, r: bool, tif: &str) -> Value {
        let order = json!({"a": 0, "b": is_buy, "p": px, "s": sz, "r": r, "t": {"limit": {"tif": tif}}});
        let answer = self.act(who, json!({"type": "order", "orders": [order], "grouping": "na"}));
        answer["response"]["data"]["statuses"][0].clone()
    }
    fn szi(&self, who: &Addr) -> String {
        self.ex.account(who).unwrap().szi("BTC").to_string()
    }
    fn status(&self, who: &Addr, oid: u64) -> String {
        json!(self.ex.order(who, oid).unwrap().status).as_str().unwrap().to_owned()
    }
}

/// One word for an answer: what filled, that it rests, or how the error begins.
fn word(v: &Value) -> String {
    if let Some(sz) = v["filled"]["totalSz"].as_str() {
        format!("filled {sz} at {}", v["filled"]["avgPx"].as_str().unwrap())
    } else if v["resting"].is_object() {
        "resting".to_owned()
    } else {
        v["error"].as_str().unwrap().split_once(" asset=").unwrap().0.to_owned()
    }
}

#[test]
fn matching_table() {
    let none = "Order could not immediately match against any resting orders.";
    for (is_buy, px, sz, tif, want) in [
        (true, "1001", "1", "Ioc", "filled 1 at 1001"),
        (true, "1003", "10", "Ioc", "filled 10 at 1001.5"),
        (true, "1003", "100", "Ioc", "filled 15 at 1002"),
        (false, "999", "1", "Ioc", "filled 1 at 999"),
        (true, "1000", "1", "Ioc", none),
        (true, "1000", "1", "Gtc", "resting"),
        (true, "1002", "12", "Gtc", "resting"),
        (true, "1002", "6", "Gtc", "filled 6 at 1001.16666667"),
        (true, "1000", "1", "Alo", "resting"),
        (true, "1001", "1", "Alo", "Post only order would have immediately matched, bbo was 999@1001."),
        (true, "1001.55", "1", "Gtc", "Price must be divisible by tick size."),
        (true, "1001", "0.0001", "Gtc", "Order has invalid size."),
        (true, "1001", "0", "Gtc", "Order has zero size."),
        (true, "1000", "0.009", "Gtc", "Order must have minimum value of $10."),
        (true, "1900", "1", "Ioc", "Order price too far from oracle."),
        (true, "1001", "2010", "Gtc", "Insufficient margin to place order."),
        (true, "1001", "1", "Ioc", "filled 1 at 1001"),
    ] {
        let mut w = World::new("100000");
        let got = w.place(ME, is_buy, px, sz, false, tif);
        assert_eq!(word(&got), want, "{is_buy} {px} {sz} {tif}");
    }
}

#[test]
fn reduce_only_table() {
    let refused = "Reduce only order would increase position.";
    let dust = "Order must have minimum value of $10.";
    for (held, is_buy, sz, reduce, want, after) in [
        ("0", false, "1", true, refused, "0"),
        ("1", true, "1", true, refused, "1"),
        ("1", false, "1", true, "filled 1 at 999", "0"),
        ("1", false, "5", true, "filled 1 at 999", "0"),
        ("1", false, "2", false, "filled 2 at 999", "-1"),
        ("1", false, "0.4", true, "filled 0.4 at 999", "0.6"),
        ("-1", true, "9", true, "filled 1 at 1001", "0"),
        ("-1", false, "1", true, refused, "-1"),
        // Dust: a part is refused, the whole is not.
        ("1", false, "0.001", true, dust, "1"),
        ("0.012", false, "0.003", true, dust, "0.012"),
    ] {
        let mut w = World::new("100000");
        let size = held.trim_start_matches('-');
        if held != "0" {
            let long = !held.starts_with('-');
            w.place(ME, long, if long { "1001" } else { "999" }, size, false, "Ioc");
        }
        let got = w.place(ME, is_buy, if is_buy { "1003" } else { "997" }, sz, reduce, "Ioc");
        assert_eq!((word(&got).as_str(), w.szi(&ME).as_str()), (want, after), "{held} {is_buy} {sz} {reduce}");
    }
    // What is left over may be below ten dollars and still be closed whole.
    let mut w = World::new("100000");
    w.place(ME, true, "1001", "0.015", false, "Ioc");
    w.place(ME, false, "997", "0.011", true, "Ioc");
    assert_eq!(word(&w.place(ME, false, "997", "0.004", true, "Ioc")), "filled 0.004 at 999");
    // A resting one shrinks with the position and ends with it.
    let mut w = World::new("100000");
    w.place(ME, true, "1001", "2", false, "Ioc");
    let oid = w.place(ME, false, "1100", "2", true, "Gtc")["resting"]["oid"].as_u64().unwrap();
    w.place(ME, false, "997", "1", true, "Ioc");
    assert_eq!(w.ex.order(&ME, oid).unwrap().sz.to_string(), "1");
    assert_eq!(w.ex.order(&ME, oid).unwrap().orig_sz.to_string(), "2");
    w.place(ME, false, "997", "1", true, "Ioc");
    assert_eq!(w.status(&ME, oid), "reduceOnlyCanceled");
}

#[test]
fn resting_orders_meet_the_market_each_other_and_never_their_owner() {
    let mut w = World::new("100000");
    let oid = w.place(ME, true, "995", "2", false, "Gtc")["resting"]["oid"].as_u64().unwrap();
    w.event(MarketKind::Trade { px: px("995"), sz: "1".parse().unwrap(), aggressor_is_buy: false });
    assert_eq!(w.status(&ME, oid), "open", "a print at the price may have met others in the queue");
    w.event(MarketKind::Trade { px: px("994"), sz: "1".parse().unwrap(), aggressor_is_buy: false });
    assert_eq!((w.status(&ME, oid).as_str(), w.szi(&ME).as_str()), ("filled", "2"));
    let sell = w.place(ME, false, "1010", "2", false, "Gtc")["resting"]["oid"].as_u64().unwrap();
    w.market(1015, 1);
    assert_eq!((w.status(&ME, sell).as_str(), w.szi(&ME).as_str()), ("filled", "0"));
    // Between two accounts, inside the spread of the scenario.
    w.market(1000, 5);
    let maker = w.place(ME, true, "1000", "1", false, "Alo")["resting"]["oid"].as_u64().unwrap();
    assert_eq!(word(&w.place(OTHER, false, "999", "3", false, "Ioc")), "filled 3 at 999.33333333");
    assert_eq!((w.status(&ME, maker).as_str(), w.szi(&ME).as_str(), w.szi(&OTHER).as_str()), ("filled", "1", "-3"));
    let own = w.place(ME, true, "1000", "1", false, "Alo")["resting"]["oid"].as_u64().unwrap();
    w.place(ME, false, "999", "1", true, "Ioc");
    assert_eq!((w.status(&ME, own).as_str(), w.szi(&ME).as_str()), ("selfTradeCanceled", "0"));
}

#[test]
fn triggers_wake_on_the_mark_and_siblings_end() {
    let mut w = World::new("100000");
    let trigger = |px: &str, tpsl: &str| json!({"a": 0, "b": false, "p": px, "s": "1", "r": true, "t": {"trigger": {"isMarket": true, "triggerPx": px, "tpsl": tpsl}}});
    let parent = json!({"a": 0, "b": true, "p": "1001", "s": "1", "r": false, "t": {"limit": {"tif": "Gtc"}}});
    let orders = json!([parent, trigger("1100", "tp"), trigger("900", "sl")]);
    let answer = w.act(ME, json!({"type": "order", "orders": orders, "grouping": "normalTpsl"}));
    let statuses = &answer["response"]["data"]["statuses"];
    assert!(statuses[0]["filled"].is_object());
    assert_eq!((&statuses[1], &statuses[2]), (&json!("waitingForTrigger"), &json!("waitingForTrigger")));
    let children: Vec<u64> = w.ex.live_orders(&ME).iter().map(|o| o.oid).collect();
    w.market(901, 5);
    assert_eq!(w.szi(&ME), "1");
    // The stop sells at 900 or better; the book around 899 has no such buyer, so it ends unfilled.
    w.market(899, 5);
    assert_eq!((w.szi(&ME).as_str(), w.status(&ME, children[1]).as_str()), ("1", "canceled"));
    w.market(1100, 5);
    assert_eq!(w.szi(&ME), "1", "the take-profit's bound is not met either: best buyer is 1099");
    let wrong = w.act(ME, json!({"type": "order", "orders": [trigger("1200", "sl")], "grouping": "na"}));
    let text = wrong["response"]["data"]["statuses"][0]["error"].as_str().unwrap().to_owned();
    assert!(text.starts_with("Invalid TP/SL price"), "{text}");
    let mut stop = trigger("1000", "sl");
    stop["p"] = json!("950");
    let resting = w.act(ME, json!({"type": "order", "orders": [stop], "grouping": "na"}));
    assert!(resting["response"]["data"]["statuses"][0]["resting"].is_object());
    w.market(999, 5);
    assert_eq!(w.szi(&ME), "0");
}

#[test]
fn a_breached_account_is_liquidated_and_its_orders_end() {
    let mut w = World::new("1000");
    assert_eq!(word(&w.place(ME, true, "1003", "15", false, "Ioc")), "filled 15 at 1002");
    let oid = w.place(ME, true, "900", "1", false, "Gtc")["resting"]["oid"].as_u64().unwrap();
    w.market(940, 5);
    assert_eq!((w.szi(&ME).as_str(), w.status(&ME, oid).as_str()), ("0", "liquidatedCanceled"));
    let fill = w.ex.fills(&ME).unwrap().back().unwrap();
    assert_eq!(fill.liquidation.as_ref().unwrap().method, "market");
    assert!(w.ex.account(&ME).unwrap().cash >= Usd::ZERO);
}

#[test]
fn a_client_id_is_used_once_and_finds_its_order() {
    let mut w = World::new("100000");
    let order = json!({"a": 0, "b": true, "p": "990", "s": "1", "r": false, "t": {"limit": {"tif": "Gtc"}}, "c": "0x000000000000000000000000000000aa"});
    let action = json!({"type": "order", "orders": [order, order], "grouping": "na"});
    let statuses = w.act(ME, action)["response"]["data"]["statuses"].clone();
    assert!(statuses[0]["resting"].is_object());
    assert!(statuses[1]["error"].as_str().unwrap().starts_with("Client order id has been used"));
    let oid = statuses[0]["resting"]["oid"].as_u64().unwrap();
    let modify = json!({"type": "batchModify", "modifies": [{"oid": oid, "order": order}]});
    let new = w.act(ME, modify.clone())["response"]["data"]["statuses"][0]["resting"]["oid"].as_u64().unwrap();
    assert_ne!(new, oid);
    assert_eq!(w.ex.order_by_cloid(&ME, "0x000000000000000000000000000000aa".parse().unwrap()).unwrap().oid, new);
    assert_eq!(w.act(ME, modify)["response"]["data"]["statuses"][0]["error"], "Cannot modify canceled or filled order");
}

#[derive(Clone, Debug)]
enum Step {
    Place { who: bool, is_buy: bool, off: i64, milli: u32, reduce: bool, tif: u8 },
    Cancel { who: bool, nth: usize },
    Market { mid: i64, size: i64 },
    Print { px: i64, buy: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<bool>(), any::<bool>(), -20..20_i64, 1..8000_u32, any::<bool>(), 0..3_u8)
            .prop_map(|(who, is_buy, off, milli, reduce, tif)| Step::Place { who, is_buy, off, milli, reduce, tif }),
        1 => (any::<bool>(), 0..8_usize).prop_map(|(who, nth)| Step::Cancel { who, nth }),
        2 => (950..1050_i64, 1..6_i64).prop_map(|(mid, size)| Step::Market { mid, size }),
        1 => (950..1050_i64, any::<bool>()).prop_map(|(px, buy)| Step::Print { px, buy }),
    ]
}

fn check(w: &World) {
    for who in [ME, OTHER] {
        let account = w.ex.account(&who).unwrap();
        let (mut szi, mut pnl, mut fees) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
        for f in w.ex.fills(&who).into_iter().flatten() {
            assert_eq!(f.start_position.get(), szi, "a fill starts where the last one ended");
            szi += f.sz.signed(f.is_buy).get();
            pnl += f.closed_pnl.get();
            fees += f.fee.get();
        }
        assert_eq!(account.szi("BTC").get(), szi, "fills add up to the position");
        assert_eq!((account.realised.get(), account.fees.get()), (pnl, fees));
        assert_eq!(account.cash.get(), account.deposits.get() + pnl - fees, "no money appears or vanishes");
        let live = w.ex.live_orders(&who);
        for o in live {
            assert!(!o.sz.is_zero(), "a live order has something left");
            if o.reduce_only {
                let szi = account.szi("BTC");
                assert!(o.sz <= szi.abs() && if o.is_buy { szi.is_short() } else { szi.is_long() }, "{o:?} {szi}");
            }
        }
    }
    for (kind, before, after, up, reduce) in &w.lines {
        assert_eq!(*up, before.increases_to(*after), "{kind}");
        assert!(!(*reduce && *up), "a reduce-only {kind} raised exposure from {before} to {after}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_stream_of_orders_keeps_the_books_straight(steps in proptest::collection::vec(step(), 1..80)) {
        let mut w = World::new("3000");
        for step in steps {
            match step {
                Step::Place { who, is_buy, off, milli, reduce, tif } => {
                    let px = (1000 + off).to_string();
                    let sz = Decimal::new(i64::from(milli), 3).normalize().to_string();
                    let tif = ["Gtc", "Ioc", "Alo"][usize::from(tif)];
                    w.place(if who { ME } else { OTHER }, is_buy, &px, &sz, reduce, tif);
                }
                Step::Cancel { who, nth } => {
                    let who = if who { ME } else { OTHER };
                    if let Some(oid) = w.ex.live_orders(&who).get(nth).map(|o| o.oid) {
                        w.act(who, json!({"type": "cancel", "cancels": [{"a": 0, "o": oid}]}));
                    }
                }
                Step::Market { mid, size } => w.market(mid, size),
                Step::Print { px, buy } => {
                    let kind = MarketKind::Trade { px: Px::new(Decimal::from(px)).unwrap(), sz: "1".parse().unwrap(), aggressor_is_buy: buy };
                    w.event(kind);
                }
            }
            check(&w);
        }
        // What is on disk is what is in memory.
        let whole = w.ex.snapshot();
        let mut again = Exchange::new(&[CoinSpec { name: "BTC".to_owned(), sz_decimals: 3, max_leverage: 50 }]);
        again.restore(serde_json::from_str(&serde_json::to_string(&whole).unwrap()).unwrap());
        prop_assert_eq!(again.snapshot(), whole);
    }
}

fn text(answer: &Value) -> &str {
    answer["response"].as_str().unwrap_or("")
}

#[test]
fn a_spent_quota_lets_one_action_through_every_ten_seconds() {
    let mut w = World::new("1000");
    // An account that traded nothing has ten thousand requests; cancels may go twice as far.
    let orders: Vec<Value> =
        vec![json!({"a": 0, "b": true, "p": "1", "s": "1", "r": false, "t": {"limit": {"tif": "Gtc"}}}); 1000];
    for _ in 0..10 {
        w.act(ME, json!({"type": "order", "orders": orders, "grouping": "na"}));
    }
    assert_eq!(w.ex.account(&ME).unwrap().requests, 10_000);
    assert_eq!(w.act(ME, json!({"type": "cancel", "cancels": [{"a": 0, "o": 1}]}))["status"], "ok");
    assert_eq!(w.act(ME, json!({"type": "noop"}))["status"], "ok", "the first one over");
    assert!(text(&w.act(ME, json!({"type": "noop"}))).starts_with("Too many cumulative requests sent"));
    w.now.boot_ns += 9_900_000_000;
    assert!(text(&w.act(ME, json!({"type": "noop"}))).starts_with("Too many cumulative requests sent"));
    w.now.boot_ns += 200_000_000;
    assert_eq!(w.act(ME, json!({"type": "noop"}))["status"], "ok");
}

#[test]
fn a_thousand_open_orders_shut_out_reduce_only_and_triggers() {
    let mut w = World::new("1000000");
    w.place(ME, true, "1003", "5", false, "Ioc");
    let order = json!({"a": 0, "b": true, "p": "900", "s": "0.1", "r": false, "t": {"limit": {"tif": "Gtc"}}});
    for _ in 0..10 {
        w.act(ME, json!({"type": "order", "orders": vec![order.clone(); 100], "grouping": "na"}));
    }
    assert_eq!(w.ex.live_orders(&ME).len(), 1000);
    let closing = w.place(ME, false, "997", "5", true, "Ioc");
    assert!(word(&closing).starts_with("Reduce only and trigger orders are not allowed"));
    assert_eq!(word(&w.place(ME, true, "900", "0.1", false, "Gtc")), "Too many open orders.");
    // Cancel first, two hundred at a time: then the exit is open again.
    let oids: Vec<Value> = w.ex.live_orders(&ME).iter().take(200).map(|o| json!({"a": 0, "o": o.oid})).collect();
    let answer = w.act(ME, json!({"type": "cancel", "cancels": oids}));
    assert!(answer["response"]["data"]["statuses"].as_array().unwrap().iter().all(|s| s == "success"));
    assert_eq!(word(&w.place(ME, false, "997", "5", true, "Ioc")), "filled 5 at 999");
}

#[test]
fn only_the_hundred_highest_nonces_are_kept() {
    let mut w = World::new("1000");
    let action: Action = serde_json::from_value(json!({"type": "noop"})).unwrap();
    let base = w.now.ms;
    let mut send = |nonce: u64| {
        let signed = Signed { signer: ME, action: &action, nonce, vault: None, expires_after: None };
        text(&w.ex.execute(&signed, w.now)).to_owned()
    };
    for i in (0..200).step_by(2) {
        assert_eq!(send(base + i), "");
    }
    assert_eq!(send(base + 1), "", "between two that are kept, and unused");
    assert!(send(base).starts_with("Invalid nonce: too low"), "pushed out, so below the smallest kept");
    assert!(send(base + 1).starts_with("Invalid nonce: duplicate"));
}

#[test]
fn one_bad_asset_refuses_the_whole_batch() {
    let mut w = World::new("1000");
    let good = json!({"a": 0, "b": true, "p": "990", "s": "1", "r": false, "t": {"limit": {"tif": "Gtc"}}});
    let mut bad = good.clone();
    bad["a"] = json!(55);
    let answer = w.act(ME, json!({"type": "order", "orders": [good, bad], "grouping": "na"}));
    assert_eq!(answer["response"]["data"]["statuses"].as_array().unwrap().len(), 1);
    assert!(w.ex.live_orders(&ME).is_empty());
    assert_eq!(w.lines.iter().filter(|l| l.0 == "order").count(), 2, "both were received, so both are witnessed");
}
