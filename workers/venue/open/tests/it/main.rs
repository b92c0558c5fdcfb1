//! The opener against a loopback server: nothing leaves without a live permit, and what leaves expires with it.
#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test speaks")]

#[expect(dead_code, reason = "its other half is for the reading crate")]
#[path = "../../../reduce/tests/it/server.rs"]
mod server;

use holdfast_core::ids::{Epoch, Generation};
use holdfast_core::permit::{Grant, Holder, NoPermit, PermitKey, PermitSource, RECORD_BYTES, encode, revoked};
use holdfast_core::time::{Span, Tick};
use holdfast_venue_open::{LeverageChange, OpenOrder, OpenResult, Opener};
use holdfast_venue_reduce::client::{Venue, VenueConfig};
use holdfast_venue_reduce::clock::VenueClock;
use holdfast_venue_reduce::nonce::Nonces;
use holdfast_venue_reduce::outcome::{Accepted, Outcome, RefusalClass, Unknown};
use holdfast_venue_reduce::read::{Asset, parse_meta};
use holdfast_venue_reduce::sign::AgentKey;
use holdfast_venue_reduce::wire::{Address, Cloid, Dex, Network, Oid, Side, Tif};
use server::{Act, Server};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Now, in every test: 5 s after boot; the permit lasts another second.
const NOW: Tick = Tick(5_000_000_000);
const RESTING: &str =
    r#"{"status":"ok","response":{"type":"order","data":{"statuses":[{"resting":{"oid":77738308}}]}}}"#;

/// A permit record that tests change, and that can change by itself at the n-th look.
#[derive(Clone)]
struct Record(Arc<Mutex<State>>);

struct State {
    record: [u8; RECORD_BYTES],
    now: Tick,
    looks: u32,
    revoke_at_look: Option<u32>,
}

impl Record {
    fn live() -> Self {
        Self(Arc::new(Mutex::new(State { record: record(7, 2), now: NOW, looks: 0, revoke_at_look: None })))
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }
}

impl PermitSource for Record {
    fn record(&self) -> Result<[u8; RECORD_BYTES], NoPermit> {
        let mut state = self.0.lock().unwrap();
        state.looks += 1;
        if state.revoke_at_look.is_some_and(|look| state.looks >= look) {
            state.record = revoked();
        }
        Ok(state.record)
    }
    fn now(&self) -> Tick {
        self.0.lock().unwrap().now
    }
}

fn record(epoch: u64, generation: u32) -> [u8; RECORD_BYTES] {
    let grant =
        Grant { epoch: Epoch(epoch), generation: Generation(generation), deadline: NOW.after(Span::from_ms(1000)) };
    encode(grant, &PermitKey::new([9; 32]))
}

struct World {
    server: Server,
    record: Record,
    opener: Opener,
    venue: Venue,
    _home: tempfile::TempDir,
}

impl World {
    async fn new(act: Act) -> Self {
        let server = Server::start(&[act]).await;
        let mut config = VenueConfig::new(&server.url, Network::Testnet, Address::new([0xaa; 20]), || NOW);
        config.total_timeout = Duration::from_millis(400);
        let venue = Venue::new(config).unwrap();
        let key = AgentKey::from_hex(b"0123456789012345678901234567890123456789012345678901234567890123").unwrap();
        let home = tempfile::tempdir().unwrap();
        let nonces = Nonces::open(&home.path().join("nonce"), key.address()).unwrap();
        let record = Record::live();
        let opener = Opener::new(&venue, Arc::new(key), Arc::new(nonces), Box::new(record.clone()), holder()).unwrap();
        Self { server, record, opener, venue, _home: home }
    }

    async fn open(&self) -> OpenResult {
        let permit = self.opener.permit().unwrap();
        self.opener.open(permit, order(), &clock()).await
    }
}

fn holder() -> Holder {
    Holder { epoch: Epoch(7), generation: Generation(2), key: PermitKey::new([9; 32]) }
}

/// The venue's clock reads 1 790 000 000 000 at boot.
fn clock() -> VenueClock {
    VenueClock::fixed(1_790_000_000_000)
}

fn asset() -> Asset {
    let meta = br#"{"universe":[{"name":"BTC","szDecimals":5,"maxLeverage":40}]}"#;
    parse_meta(meta, &Dex::first(), 0).unwrap().asset("BTC").unwrap().clone()
}

fn order() -> OpenOrder {
    let (px, sz) = ("80459".parse().unwrap(), "0.0012".parse().unwrap());
    OpenOrder::new(&asset(), Side::Buy, px, sz, Tif::Gtc, Cloid::new([1; 16])).unwrap()
}

/// What the server does, and what that must be taken for.
type Row = (Act, fn(&Outcome) -> bool);

fn answer(body: &str) -> Act {
    Act::Answer(200, body.to_owned())
}

#[tokio::test]
async fn an_order_carries_the_permits_deadline_in_venue_time() {
    let world = World::new(answer(RESTING)).await;
    let result = world.open().await;
    assert_eq!(result.outcome, Outcome::Accepted(Accepted::Resting { oid: Oid(77_738_308) }));
    assert_eq!(result.expires_after_ms, 1_790_000_006_000);
    let seen = world.server.seen();
    assert_eq!((seen.len(), seen[0].path.as_str()), (1, "/exchange"));
    let body = &seen[0].body;
    assert!(body.starts_with(r#"{"action":{"type":"order","orders":[{"a":0,"b":true,"p":"80459","s":"0.0012","r":false,"t":{"limit":{"tif":"Gtc"}},"c":"0x0101"#), "{body}");
    assert!(body.contains(r#""nonce":1790000005000"#), "{body}");
    assert!(body.ends_with(r#""vaultAddress":null,"expiresAfter":1790000006000}"#), "{body}");
}

#[tokio::test]
async fn nothing_leaves_without_a_permit_that_is_live_at_the_last_moment() {
    type Change = fn(&mut State);
    let rows: [(&str, Change, NoPermit); 5] = [
        ("revoked", |s| s.record = revoked(), NoPermit::Absent),
        ("revoked between signing and sending", |s| s.revoke_at_look = Some(2), NoPermit::Absent),
        ("expired while signing", |s| s.now = NOW.after(Span::from_ms(1000)), NoPermit::Expired),
        ("another epoch", |s| s.record = record(8, 2), NoPermit::Stale),
        ("torn", |s| s.record[3] ^= 1, NoPermit::Invalid),
    ];
    for (name, change, expect) in rows {
        let world = World::new(answer(RESTING)).await;
        let permit = world.opener.permit().unwrap();
        world.record.set(change);
        let result = world.opener.open(permit, order(), &clock()).await;
        assert_eq!(result.no_permit, Some(expect), "{name}");
        assert_eq!(result.outcome.refusal(), Some(RefusalClass::NotSent), "{name}");
        assert!(world.server.seen().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn doubtful_answers_are_unknown_and_sent_once() {
    let rows: [Row; 6] = [
        (Act::Hang, |o| *o == Outcome::Unknown(Unknown::Timeout)),
        (Act::Close, |o| matches!(o, Outcome::Unknown(Unknown::Transport(_)))),
        (Act::Cut, Outcome::is_unknown),
        (Act::Answer(422, "no".into()), |o| matches!(o, Outcome::Unknown(Unknown::Status(422, _)))),
        (Act::Answer(500, String::new()), |o| matches!(o, Outcome::Unknown(Unknown::Status(500, _)))),
        (Act::Answer(429, String::new()), |o| *o == Outcome::Unknown(Unknown::Throttled)),
    ];
    for (act, is_right) in rows {
        let world = World::new(act.clone()).await;
        let result = world.open().await;
        assert!(is_right(&result.outcome), "{act:?} gave {:?}", result.outcome);
        assert_eq!(world.server.seen().len(), 1, "{act:?}");
    }
}

#[tokio::test]
async fn the_exit_reserve_and_an_unstored_nonce_stop_opening() {
    let world = World::new(answer(RESTING)).await;
    world.venue.budget().charge(NOW, 900);
    let result = world.open().await;
    assert_eq!(result.outcome.refusal(), Some(RefusalClass::NotSent));

    let key = AgentKey::from_hex(b"0123456789012345678901234567890123456789012345678901234567890123").unwrap();
    let nonces = Nonces::unstored();
    let fresh = World::new(answer(RESTING)).await;
    let opener =
        Opener::new(&fresh.venue, Arc::new(key), Arc::new(nonces), Box::new(fresh.record.clone()), holder()).unwrap();
    let result = opener.open(opener.permit().unwrap(), order(), &clock()).await;
    assert_eq!(result.outcome.refusal(), Some(RefusalClass::NotSent));
    assert!(world.server.seen().is_empty() && fresh.server.seen().is_empty());
}

#[tokio::test]
async fn warming_sends_a_read_and_nothing_else() {
    let world = World::new(answer(r#"{"time":1}"#)).await;
    assert!(world.opener.warm().await);
    let seen = world.server.seen();
    assert_eq!((seen.len(), seen[0].path.as_str()), (1, "/info"));
}

#[tokio::test]
async fn leverage_needs_a_permit_and_stays_within_the_market() {
    let world = World::new(answer(r#"{"status":"ok","response":{"type":"default"}}"#)).await;
    for (leverage, sent) in [(0, false), (41, false), (5, true)] {
        let permit = world.opener.permit().unwrap();
        let change = LeverageChange { is_cross: true, leverage };
        let result = world.opener.update_leverage(permit, &asset(), change, &clock()).await;
        assert_eq!(result.outcome.is_accepted(), sent, "{leverage}");
    }
    let seen = world.server.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].body.starts_with(r#"{"action":{"type":"updateLeverage","asset":0,"isCross":true,"leverage":5},"#));
}
