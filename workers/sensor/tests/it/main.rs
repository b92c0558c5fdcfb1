//! The sensor against a loopback venue, with a made-up supervisor and a follower in the engine's place.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test speaks")]

mod venue;

use holdfast_core::ids::{Epoch, Generation, Role};
use holdfast_core::registry::LatchReason;
use holdfast_core::report::MarketState;
use holdfast_ipc::bootstrap::{Bootstrap, Home, PROTOCOL, Token};
use holdfast_ipc::clock;
use holdfast_ipc::conn::{Conn, Reader, Writer};
use holdfast_ipc::feed::{FromSensor, Subscribe, subscribe};
use holdfast_ipc::listen::Door;
use holdfast_ipc::message::{FromWorker, ToWorker};
use holdfast_ipc::settings::Settings;
use holdfast_kit::{Ctx, Exit};
use holdfast_sensor::run;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use venue::FakeVenue;

const PATIENCE: Duration = Duration::from_secs(15);

fn live<F: Future<Output = ()>>(body: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async { tokio::time::timeout(3 * PATIENCE, body).await.unwrap() });
}

struct Rig {
    folder: tempfile::TempDir,
    orders: Writer<ToWorker>,
    said: mpsc::UnboundedReceiver<FromWorker>,
    worker: JoinHandle<Exit>,
}

impl Rig {
    async fn up(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().to_owned());
        std::fs::create_dir_all(home.run()).unwrap();
        let boot = Bootstrap {
            role: Role::Sensor,
            generation: Generation(1),
            epoch: Epoch(7),
            build_id: "test-build".into(),
            protocol: PROTOCOL,
            token: Token::new([1; 32]),
            feed_token: Token::new([9; 32]),
            supervisor_pid: std::process::id(),
            socket: home.worker_sock(),
            home: folder.path().to_owned(),
            settings: Settings::default(),
            venue_url: Some(url.to_owned()),
            venue_port: None,
            api_port: None,
            account: Some("0x1719884eb866cb12b2287399b15f7db5e7d775ea".into()),
            permit: None,
        };
        let door = Door::open(&boot.socket).unwrap();
        let conn = Conn::<ToWorker, FromWorker>::connect(&boot.socket, PATIENCE).await.unwrap();
        let own = Conn::<FromWorker, ToWorker>::over(door.accept().await.unwrap()).unwrap();
        let (tx, said) = mpsc::unbounded_channel();
        let mut reader = own.reader;
        tokio::task::spawn_local(async move {
            while let Ok(message) = reader.recv().await {
                if !matches!(message, FromWorker::Beat { .. }) && tx.send(message).is_err() {
                    return;
                }
            }
        });
        let worker = tokio::task::spawn_local(run(Ctx::start(boot, conn)));
        Self { folder, orders: own.writer, said, worker }
    }

    /// The next report that is wanted; others are passed over.
    async fn until<T>(&mut self, what: &str, wanted: impl Fn(&FromWorker) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = self.said.recv().await.as_ref().and_then(&wanted) {
                    return found;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(found) => found,
            Err(_) => panic!("never said: {what}"),
        }
    }

    async fn market(&mut self, state: MarketState) {
        self.until(&format!("{state:?}"), |m| matches!(m, FromWorker::Market(h) if h.state == state).then_some(()))
            .await;
    }

    async fn trip(&mut self) -> LatchReason {
        self.until("a trip", |m| if let FromWorker::Trip(trip) = m { Some(trip.reason) } else { None }).await
    }

    async fn follow(&self) -> Reader<FromSensor> {
        let path = Home::new(self.folder.path().to_owned()).sensor_sock();
        let ask = Subscribe { role: Role::Engine, epoch: Epoch(7), token: Token::new([9; 32]) };
        let all = async {
            loop {
                if let Ok(reader) = subscribe(&path, &ask).await {
                    return reader;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap()
    }
}

#[test]
fn says_what_it_sees_to_supervisor_and_followers() {
    live(async {
        let venue = FakeVenue::open().await;
        let mut rig = Rig::up(&venue.url).await;
        let mut feed = rig.follow().await;
        rig.until("ready", |m| matches!(m, FromWorker::Ready { endpoint: None }).then_some(())).await;
        rig.market(MarketState::Fresh).await;
        let account = rig
            .until("the account", |m| if let FromWorker::Account(view) = m { Some(view.clone()) } else { None })
            .await;
        assert_eq!(account.equity_usd.to_string(), "10000");
        assert_eq!(account.positions.first().map(|p| p.size.to_string()).as_deref(), Some("0.5"));
        assert_eq!(account.orders.first().map(|o| (o.oid, o.reduce_only)), Some((77, true)));
        assert_eq!(account.requests_left, Some(9990));
        assert!(!account.is_flat());

        // Followers: market at most a little over twice a second, each fill once, history not at all.
        venue.told.fills.borrow_mut().extend([11, 11, 12]);
        let (mut markets, mut tids, began) = (0_u32, Vec::new(), clock::now());
        while clock::now().since(began).as_ms() < 3000 {
            match feed.recv_within(PATIENCE).await.unwrap() {
                FromSensor::Market(view) => {
                    assert_eq!(view.coin, "BTC");
                    assert!(view.skew_ms.unsigned_abs() < 1000, "{}", view.skew_ms);
                    // Those from before are still in the queue.
                    markets += u32::from(view.received >= began);
                }
                FromSensor::Fill(fill) => tids.push(fill.tid),
                FromSensor::Account(_) => {}
                FromSensor::AccountUnknown { detail } => panic!("{detail}"),
            }
        }
        assert_eq!(tids, [11, 12]);
        assert!((4..=9).contains(&markets), "{markets} in three seconds");

        rig.orders.send_within(&ToWorker::Drain {}, PATIENCE).await.unwrap();
        let exit = tokio::time::timeout(PATIENCE, rig.worker).await.unwrap().unwrap();
        assert!(matches!(exit, Exit::Drained), "{exit:?}");
    });
}

#[test]
fn a_fill_is_followed_by_a_reading_at_once_but_not_by_many() {
    live(async {
        let venue = FakeVenue::open().await;
        let mut rig = Rig::up(&venue.url).await;
        rig.market(MarketState::Fresh).await;
        let (before, began) = (venue.told.asked.get(), clock::now());
        let mut tid = 100;
        while clock::now().since(began).as_ms() < 2000 {
            tid += 1;
            venue.told.fills.borrow_mut().push(tid);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let readings = venue.told.asked.get() - before;
        assert!((4..=11).contains(&readings), "{readings} readings in two seconds of fills");
    });
}

#[test]
fn an_agents_address_is_refused_in_clear_words() {
    live(async {
        let venue = FakeVenue::open().await;
        *venue.told.role.borrow_mut() =
            serde_json::json!({"role": "agent", "data": {"user": "0x00000000000000000000000000000000000000aa"}});
        let rig = Rig::up(&venue.url).await;
        let exit = tokio::time::timeout(PATIENCE, rig.worker).await.unwrap().unwrap();
        let Exit::Failed(why) = exit else { panic!("{exit:?}") };
        assert!(why.contains("agent") && why.contains("live.account"), "{why}");
    });
}

#[test]
fn a_closed_socket_is_a_gap_until_read_again_and_trips_once() {
    live(async {
        let venue = FakeVenue::open().await;
        let mut rig = Rig::up(&venue.url).await;
        rig.market(MarketState::Fresh).await;
        venue.told.hangups.set(1);
        rig.market(MarketState::Gap).await;
        rig.market(MarketState::Fresh).await;
        // With HTTP refused the socket alone does not make it fresh, and the account is unknown.
        venue.told.status.set(500);
        venue.told.hangups.set(2);
        rig.market(MarketState::Gap).await;
        rig.until("account unknown", |m| matches!(m, FromWorker::AccountUnknown { .. }).then_some(())).await;
        let mut gaps = 0;
        while gaps < 3 {
            let state = rig.until("health", |m| if let FromWorker::Market(h) = m { Some(h.state) } else { None }).await;
            assert_eq!(state, MarketState::Gap);
            gaps += 1;
        }
        venue.told.status.set(200);
        rig.market(MarketState::Fresh).await;
    });
}

#[test]
fn trips_are_said_on_a_lost_connection() {
    live(async {
        let venue = FakeVenue::open().await;
        let mut rig = Rig::up(&venue.url).await;
        rig.market(MarketState::Fresh).await;
        venue.told.hangups.set(1);
        assert_eq!(rig.trip().await, LatchReason::WsBookGapReconcileRequired);
    });
}

#[test]
fn silence_freezing_and_strange_prices_are_told_apart() {
    live(async {
        let venue = FakeVenue::open().await;
        let mut rig = Rig::up(&venue.url).await;
        rig.market(MarketState::Fresh).await;
        venue.told.bid.set(100);
        rig.market(MarketState::Unbelievable).await;
        venue.told.bid.set(100_000);
        rig.market(MarketState::Fresh).await;
        venue.told.frozen_ms.set(Some(clock::wall_ms()));
        rig.market(MarketState::Frozen).await;
        venue.told.frozen_ms.set(None);
        rig.market(MarketState::Fresh).await;
        venue.told.books.set(false);
        rig.market(MarketState::Stale).await;
        assert_eq!(rig.trip().await, LatchReason::WsDataStaleReconcileRequired);
    });
}

#[test]
fn a_venue_that_is_not_there_leaves_it_ready_honest_and_alive() {
    live(async {
        let mut rig = Rig::up("http://127.0.0.1:9").await;
        rig.until("account unknown", |m| matches!(m, FromWorker::AccountUnknown { .. }).then_some(())).await;
        rig.until("ready", |m| matches!(m, FromWorker::Ready { .. }).then_some(())).await;
        let state = rig.until("health", |m| if let FromWorker::Market(h) = m { Some(h.state) } else { None }).await;
        assert_ne!(state, MarketState::Fresh);
        assert!(!rig.worker.is_finished());
    });
}

#[test]
fn a_changed_instrument_or_clock_is_not_fresh() {
    live(async {
        let venue = FakeVenue::open().await;
        let mut rig = Rig::up(&venue.url).await;
        rig.market(MarketState::Fresh).await;
        venue.told.decimals.set(4);
        venue.told.hangups.set(1);
        rig.market(MarketState::Gap).await;
        let began = clock::now();
        while clock::now().since(began).as_ms() < 4000 {
            let state = rig.until("health", |m| if let FromWorker::Market(h) = m { Some(h.state) } else { None }).await;
            assert_eq!(state, MarketState::Gap);
        }

        let ahead = FakeVenue::open().await;
        ahead.told.ahead_ms.set(60_000);
        let mut rig = Rig::up(&ahead.url).await;
        rig.market(MarketState::ClockSkew).await;
    });
}
