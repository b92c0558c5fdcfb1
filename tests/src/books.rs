//! The account as the venue tells it, on every dex, and orders signed as its owner: what a drill needs beside the tree.

use crate::tree::Tree;
use crate::wait::{s, until};
use holdfast_ipc::clock;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;

/// Every dex of the paper venue.
pub const DEXES: [&str; 2] = ["", "alt"];

/// What is open on the venue, read from the venue itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Signed size per coin, as the venue writes it.
    pub positions: BTreeMap<String, String>,
    /// Resting orders over all dexes.
    pub orders: usize,
}

impl Books {
    /// No position and no order on any dex.
    #[must_use]
    pub fn flat(&self) -> bool {
        self.positions.is_empty() && self.orders == 0
    }
}

impl Tree {
    /// Address of the account that holds the positions.
    #[must_use]
    pub fn account(&self) -> String {
        let text = std::fs::read_to_string(self.home.paths().venue_account()).expect("a registration");
        let registration: Value = serde_json::from_str(&text).expect("a registration is JSON");
        registration["account"].as_str().expect("an account").to_owned()
    }

    /// A read of the venue; `None` when it does not answer with JSON.
    #[must_use]
    pub fn try_info(&self, body: &str) -> Option<Value> {
        let (status, answer) = self.venue_post("/info", body);
        if status == 200 { serde_json::from_str(&answer).ok() } else { None }
    }

    /// The account on every dex; `None` when any of the reads failed.
    #[must_use]
    pub fn try_books(&self) -> Option<Books> {
        let account = self.account();
        let mut books = Books::default();
        for dex in DEXES {
            let ask = |kind: &str| self.try_info(&format!(r#"{{"type":"{kind}","user":"{account}","dex":"{dex}"}}"#));
            for held in ask("clearinghouseState")?["assetPositions"].as_array()? {
                let position = &held["position"];
                books.positions.insert(position["coin"].as_str()?.to_owned(), position["szi"].as_str()?.to_owned());
            }
            books.orders += ask("openOrders")?.as_array()?.len();
        }
        Some(books)
    }

    /// The account on every dex.
    ///
    /// # Panics
    /// When the venue gives no whole answer for ten seconds.
    #[must_use]
    pub fn books(&self) -> Books {
        until("the venue's books", s(10), || self.try_books())
    }

    /// The mark of a coin, whole units only.
    #[must_use]
    pub fn mark(&self, coin: &str) -> u64 {
        let (status, answer) = crate::tree::http(self.venue(), "GET", "/sim/state", "");
        assert_eq!(status, 200, "{answer}");
        let state: Value = serde_json::from_str(&answer).expect("a state");
        let mark = state["marks"][coin].as_str().unwrap_or_else(|| panic!("no mark of {coin}: {answer}"));
        mark.split('.').next().and_then(|whole| whole.parse().ok()).expect("a mark is a decimal")
    }

    /// Sends an action signed with the account's own key; returns the venue's answer. `action` keeps its key order.
    #[must_use]
    pub fn owner_acts(&self, action: &str) -> Value {
        let key = std::fs::read_to_string(self.home.paths().keys().join("account.key")).expect("the owner's key");
        let nonce = clock::wall_ms();
        let ask = format!(
            r#"{{"action":{action},"nonce":{nonce},"vault":null,"expires_after":null,"is_mainnet":false,"key":"0x{}"}}"#,
            key.trim().trim_start_matches("0x")
        );
        let mut command = self.home.command(&["probe", "sign"]);
        let mut child = command.env("ENGINE_PROBE_TEST_KEY", "1").stdin(Stdio::piped()).spawn().expect("engine runs");
        let mut input = child.stdin.take().expect("a pipe");
        writeln!(input, "{ask}").expect("the probe reads");
        drop(input);
        let signed = crate::home::finish(child, s(20)).expect_code(0).json();
        let signature = serde_json::json!({"r": signed["r"], "s": signed["s"], "v": signed["v"]});
        let body = format!(r#"{{"action":{action},"nonce":{nonce},"signature":{signature},"vaultAddress":null}}"#);
        let (status, answer) = self.venue_post("/exchange", &body);
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"))
    }

    /// Rests two orders of the owner, a bid and an offer, far from the mark: asset 0 is BTC.
    pub fn rest_two_orders(&self) {
        let mark = self.mark("BTC");
        let order = |is_buy: bool, px: u64| {
            let side = format!(r#""a":0,"b":{is_buy},"p":"{px}","s":"0.001","r":false"#);
            format!(r#"{{{side},"t":{{"limit":{{"tif":"Gtc"}}}}}}"#)
        };
        let orders = format!("{},{}", order(true, mark * 7 / 10), order(false, mark * 13 / 10));
        let answer = self.owner_acts(&format!(r#"{{"type":"order","orders":[{orders}],"grouping":"na"}}"#));
        let statuses = &answer["response"]["data"]["statuses"];
        assert!(statuses[0]["resting"].is_object() && statuses[1]["resting"].is_object(), "{answer}");
    }

    /// A position appears without any order of the tree.
    pub fn foreign_position(&self, coin: &str, size: &str) {
        self.fault(&format!(r#"{{"kind":"foreign_position","coin":"{coin}","value":"{size}"}}"#));
    }
}
