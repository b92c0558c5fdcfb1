//! The real engine in a process of its own, the real paper venue, and a made-up supervisor and sensor between them.

use holdfast_core::ids::{Epoch, Generation, Role};
use holdfast_core::limits::PERMIT_LEASE;
use holdfast_core::money::{Px, Sz};
use holdfast_core::permit::{Grant, PermitKey};
use holdfast_core::report::{AccountView, JournalHealth, LossDay, MarketState, Standing};
use holdfast_core::time::Span;
use holdfast_core::trade::Trade;
use holdfast_ipc::bootstrap::{Bootstrap, Home, PROTOCOL, PermitHandover, Token};
use holdfast_ipc::clock;
use holdfast_ipc::conn::{Conn, Writer};
use holdfast_ipc::feed::{FromSensor, MarketView, Publisher};
use holdfast_ipc::listen::Door;
use holdfast_ipc::message::{FromWorker, ToWorker};
use holdfast_ipc::permit::PermitWriter;
use holdfast_ipc::settings::Settings;
use holdfast_paper_venue::market::MarketSource;
use holdfast_paper_venue::{PaperConfig, serve};
use holdfast_venue_reduce::client::{Venue, VenueConfig};
use holdfast_venue_reduce::read::DexScope;
use holdfast_venue_reduce::sign::AgentKey;
use holdfast_venue_reduce::wire::{Address, Dex, Network};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

/// Set for the process that is the engine.
pub const CHILD: &str = "HOLDFAST_TEST_ENGINE";
const BUILD: &str = "test-build";
const ACCOUNT: &str = "0x1111111111111111111111111111111111111111";
/// Longest any test waits for anything.
const PATIENCE: Span = Span::from_ms(40_000);

/// Runs a body as the tree's loops run: one thread, local tasks.
pub fn live<F: Future<Output = ()>>(body: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, body);
}

/// Waits for a condition.
pub async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = clock::now().after(PATIENCE);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(clock::now() < end, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A home, a venue, a sensor.
pub struct World {
    pub folder: tempfile::TempDir,
    pub home: Home,
    pub settings: Settings,
    /// The sensor publishes only while this is set.
    pub sensing: Rc<Cell<bool>>,
    /// The sensor makes up a moving market from what it saw last, without asking a venue that is slow.
    pub forging: Rc<Cell<bool>>,
    port: u16,
    _venue_ends: tokio::sync::oneshot::Sender<()>,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().to_owned());
        for dir in [home.run(), home.data(), home.keys(), home.venue(), home.logs()] {
            std::fs::create_dir_all(dir).unwrap();
        }
        let key = AgentKey::generate().unwrap();
        key.save_new(&home.engine_key()).unwrap();
        let account =
            format!(r#"{{"account":"{ACCOUNT}","agents":{{"engine":"{}"}},"start_usd":"10000"}}"#, key.address());
        std::fs::write(home.venue_account(), account).unwrap();
        let config = PaperConfig {
            home: folder.path().to_owned(),
            port: 0,
            market: MarketSource::Bundled { seed: 1 },
            speed: None,
        };
        let (ready, bound) = tokio::sync::oneshot::channel();
        let (venue_ends, ended) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let shutdown = async {
                let _ = ended.await;
            };
            let served = runtime.block_on(serve(config, |at| ready.send(at.port()).unwrap(), shutdown, || {}));
            if let Err(error) = served {
                println!("venue: {error}");
            }
        });
        let port = bound.await.unwrap();
        let mut settings = Settings::default();
        settings.strategy.bar_ms = 250;
        settings.strategy.fast_bars = 2;
        settings.strategy.slow_bars = 4;
        settings.strategy.enter_bps = 1;
        settings.strategy.hold_bars = 6;
        settings.limits.orders_per_minute = 1000;
        let sensing = Rc::new(Cell::new(true));
        let forging = Rc::new(Cell::new(false));
        let world = Self { folder, home, settings, sensing, forging, port, _venue_ends: venue_ends };
        world.sense();
        world
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A client that only reads.
    pub fn venue(&self) -> Venue {
        let account: Address = ACCOUNT.parse().unwrap();
        Venue::new(VenueConfig::new(&self.url(), Network::Testnet, account, clock::now)).unwrap().for_reducing()
    }

    fn sense(&self) {
        let out =
            Publisher::<FromSensor>::open(&self.home.sensor_sock(), Epoch(7), Token::new([2; 32]), &[Role::Engine])
                .unwrap();
        let (venue, sensing, forging) = (self.venue(), Rc::clone(&self.sensing), Rc::clone(&self.forging));
        tokio::task::spawn_local(async move {
            let (mut market, mut account, mut steps) = (None::<MarketView>, None::<AccountView>, 0_i64);
            for turn in 0_u64.. {
                if forging.get() {
                    steps += 1;
                    if let (Some(view), Some(account)) = (&market, &account) {
                        // Up and down for as long as it takes, well inside the bound of an order.
                        let bps = (steps % 60 - 30).abs();
                        let up = |(px, sz): (Px, Sz)| (px.moved_bps(bps).unwrap(), sz);
                        out.publish(
                            &FromSensor::Market(MarketView {
                                venue_ms: clock::wall_ms(),
                                received: clock::now(),
                                bid: view.bid.map(up),
                                ask: view.ask.map(up),
                                ..view.clone()
                            }),
                            None,
                        );
                        let account = AccountView { read_at: clock::now(), ..account.clone() };
                        out.publish(&FromSensor::Account(Box::new(account)), None);
                    }
                } else if sensing.get() {
                    if let Ok(Some(book)) = venue.l2_book("BTC").await {
                        let view = MarketView {
                            coin: "BTC".to_owned(),
                            state: MarketState::Fresh,
                            venue_ms: book.time,
                            received: clock::now(),
                            bid: book.best_bid().map(|l| (l.px, l.sz)),
                            ask: book.best_ask().map(|l| (l.px, l.sz)),
                            mark: None,
                            skew_ms: 0,
                        };
                        out.publish(&FromSensor::Market(view.clone()), Some("BTC"));
                        market = Some(view);
                    }
                    if turn % 2 == 0
                        && let Ok(snapshot) = venue.account_snapshot(&DexScope::Only(vec![Dex::first()])).await
                        && let Ok(view) = snapshot.view(None)
                    {
                        out.publish(&FromSensor::Account(Box::new(view.clone())), Some("account"));
                        account = Some(view);
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }

    /// Injects a fault at the venue.
    pub fn fault(&self, body: &str) {
        self.say("POST /sim/fault", body);
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.say("DELETE /sim/faults", "");
    }

    fn say(&self, what: &str, body: &str) {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        let head = format!(
            "{what} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    }

    /// What the independent witness saw.
    pub fn witness(&self) -> Vec<serde_json::Value> {
        lines(&self.home.venue().join("orders.jsonl"))
    }

    /// Orders the witness saw, with the answer they got.
    pub fn orders(&self) -> Vec<(String, bool, String)> {
        self.witness()
            .iter()
            .filter(|line| line["kind"] == "order")
            .map(|line| {
                let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
                (text("cloid"), line["reduce_only"] == true, text("outcome"))
            })
            .collect()
    }

    /// Openings that were executed.
    pub fn openings(&self) -> usize {
        self.witness().iter().filter(|line| line["increased_exposure"] == true && line["kind"] == "fill").count()
    }

    /// The journal's lines.
    pub fn journal(&self) -> Vec<serde_json::Value> {
        lines(&self.home.decisions())
    }

    /// Every order of the witness is in the journal, and none was sent twice.
    pub fn check_written_and_once(&self) {
        let mut seen = std::collections::BTreeSet::new();
        let journal = self.journal();
        for (cloid, _, outcome) in self.orders() {
            assert!(seen.insert(cloid.clone()), "{cloid} was sent twice ({outcome})");
            let written = journal.iter().any(|line| line["entry"]["intent"]["cloid"] == cloid.as_str());
            assert!(written, "{cloid} was sent without having been written down");
        }
    }

    /// The position in BTC as the venue holds it.
    pub async fn position(&self) -> String {
        let snapshot = self.venue().account_snapshot(&DexScope::Every).await.unwrap();
        snapshot.position("BTC").map_or("0".to_owned(), |p| p.szi().to_string())
    }
}

fn lines(path: &std::path::Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// What an engine has reported.
#[derive(Default)]
pub struct Said {
    pub ready: bool,
    pub journal: Option<JournalHealth>,
    pub reconciled: Vec<(u64, bool, String)>,
    pub trips: Vec<String>,
    pub limits: Vec<String>,
    /// The standing cause last told, after the first word about it.
    pub standing: Option<Option<Standing>>,
    /// What it wants recorded.
    pub trades: Vec<Trade>,
    pub baselines: Vec<LossDay>,
    pub progress: u64,
    pub ended: bool,
}

/// An engine process and its supervisor's side.
pub struct Engine {
    pub said: Rc<RefCell<Said>>,
    /// The permit is granted at every tick while this is set.
    pub permitted: Rc<Cell<bool>>,
    child: Child,
    orders: Writer<ToWorker>,
    _stdin: std::process::ChildStdin,
}

impl Engine {
    /// Starts an engine and greets it.
    pub async fn start(world: &World, generation: u32) -> Self {
        let home = &world.home;
        let door = Door::open(&home.worker_sock()).unwrap();
        let writer = PermitWriter::create(&home.run().join("permit")).unwrap();
        let reader = writer.reader().unwrap();
        rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::empty()).unwrap();
        let key = PermitKey::new([generation.to_le_bytes()[0]; 32]);
        let boot = Bootstrap {
            role: Role::Engine,
            generation: Generation(generation),
            epoch: Epoch(7),
            build_id: BUILD.to_owned(),
            protocol: PROTOCOL,
            token: Token::new([1; 32]),
            feed_token: Token::new([2; 32]),
            supervisor_pid: std::process::id(),
            socket: home.worker_sock(),
            home: world.folder.path().to_owned(),
            settings: world.settings.clone(),
            venue_url: Some(world.url()),
            venue_port: None,
            api_port: None,
            account: Some(ACCOUNT.to_owned()),
            permit: Some(PermitHandover { fd: reader.as_raw_fd(), key: key.clone() }),
        };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_engine_process", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        drop(reader);
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(format!("{}\n", serde_json::to_string(&boot).unwrap()).as_bytes()).unwrap();
        let stream = tokio::time::timeout(Duration::from_secs(15), door.accept()).await.unwrap().unwrap();
        let mut conn = Conn::<FromWorker, ToWorker>::over(stream).unwrap();
        let hello = conn.reader.recv_within(Duration::from_secs(5)).await.unwrap();
        assert!(matches!(hello, FromWorker::Hello(_)));
        conn.writer.send(&ToWorker::Welcome { epoch: Epoch(7) }).await.unwrap();
        let said = Rc::new(RefCell::new(Said::default()));
        let heard = Rc::clone(&said);
        let mut reports = conn.reader;
        tokio::task::spawn_local(async move {
            while let Ok(report) = reports.recv().await {
                let mut said = heard.borrow_mut();
                match report {
                    FromWorker::Ready { .. } => said.ready = true,
                    FromWorker::Journal(health) => said.journal = Some(health),
                    FromWorker::Reconciled(r) => said.reconciled.push((r.asked, r.clean, r.detail)),
                    FromWorker::Trip(trip) => said.trips.push(trip.detail),
                    FromWorker::LimitHit { detail } => said.limits.push(detail),
                    FromWorker::Record(trade) => said.trades.push(*trade),
                    FromWorker::Standing(standing) => said.standing = Some(standing),
                    FromWorker::Baseline(day) => said.baselines.push(day),
                    FromWorker::Beat { progress, .. } => said.progress = progress,
                    other => panic!("an engine does not say {other:?}"),
                }
            }
            heard.borrow_mut().ended = true;
        });
        let permitted = Rc::new(Cell::new(false));
        let granted = Rc::clone(&permitted);
        tokio::task::spawn_local(async move {
            loop {
                if granted.get() {
                    let deadline = clock::now().after(PERMIT_LEASE);
                    let grant = Grant { epoch: Epoch(7), generation: Generation(generation), deadline };
                    writer.grant(grant, &key).unwrap();
                } else {
                    writer.revoke().unwrap();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { said, permitted, child, orders: conn.writer, _stdin: stdin }
    }

    /// Asks for a reconciliation and waits until it is clean.
    pub async fn reconcile(&mut self, asked: u64) {
        self.orders.send(&ToWorker::Reconcile { asked }).await.unwrap();
        let said = Rc::clone(&self.said);
        until("a clean reconcile", || {
            said.borrow().reconciled.iter().any(|(n, clean, _)| *n == asked && *clean).then_some(())
        })
        .await;
    }

    pub async fn order(&mut self, message: ToWorker) {
        self.orders.send(&message).await.unwrap();
    }

    /// SIGKILL, and gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The exit code, when it has ended.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().and_then(|status| status.code())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
