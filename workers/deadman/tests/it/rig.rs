//! A real deadman process, a real paper venue on a thread, and a supervisor played by the test.

use holdfast_core::ids::{Epoch, Generation, JobId, Role};
use holdfast_core::registry::TradingMode;
use holdfast_core::report::{JobKind, JobProgress};
use holdfast_ipc::bootstrap::{Bootstrap, Home, PROTOCOL, Token};
use holdfast_ipc::clock;
use holdfast_ipc::conn::Conn;
use holdfast_ipc::listen::Door;
use holdfast_ipc::message::{FromWorker, ToWorker};
use holdfast_ipc::settings::Settings;
use holdfast_paper_venue::market::MarketSource;
use holdfast_paper_venue::{PaperConfig, serve};
use holdfast_venue_reduce::client::{Venue as VenueClient, VenueConfig};
use holdfast_venue_reduce::nonce::Nonces;
use holdfast_venue_reduce::reduce::ReduceClient;
use holdfast_venue_reduce::sign::{AgentKey, Context, signed_body};
use holdfast_venue_reduce::wire::Network;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

pub(crate) const BUILD: &str = "test-build";
/// Set in the child that is to be the worker.
pub(crate) const WORKER: &str = "HOLDFAST_TEST_DEADMAN";
/// Nothing here takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test on a current-thread runtime with local tasks.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// One request to the venue; the body of a 200.
pub(crate) fn http(addr: SocketAddr, method: &str, path: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{path} {body}: {text}");
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// The paper venue.
pub(crate) struct Venue {
    pub addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Venue {
    fn start(home: &Path) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (tx, rx) = std::sync::mpsc::channel();
        let config =
            PaperConfig { home: home.to_owned(), port: 0, market: MarketSource::Bundled { seed: 1 }, speed: Some(1) };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let served =
                serve(config, move |addr| tx.send(addr).unwrap(), async { stopped.await.unwrap_or(()) }, || ());
            runtime.block_on(served).unwrap();
        });
        let addr = rx.recv_timeout(Duration::from_secs(30)).expect("the venue did not start");
        Self { addr, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn fault(&self, body: Value) {
        http(self.addr, "POST", "/sim/fault", &body.to_string());
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How a rig differs from the plain one.
#[derive(Default)]
pub(crate) struct Setup {
    pub settings: Settings,
    /// Injected before the worker starts.
    pub faults: Vec<Value>,
    /// The configured account is the agent's address.
    pub agent_as_account: bool,
}

/// The played supervisor's end of a connection.
struct Link {
    from: mpsc::Receiver<FromWorker>,
    to: mpsc::Sender<ToWorker>,
    cut: oneshot::Sender<()>,
}

/// Starts a worker, takes its hello and beats for it.
async fn employ(door: &Door, boot: &Bootstrap) -> (Child, Link) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker_process", "--nocapture"])
        .env(WORKER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = serde_json::to_string(boot).unwrap();
    line.push('\n');
    child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    let stream = tokio::time::timeout(PATIENCE, door.accept()).await.unwrap().unwrap();
    let mut conn = Conn::<FromWorker, ToWorker>::over(stream).unwrap();
    assert!(matches!(conn.reader.recv_within(PATIENCE).await.unwrap(), FromWorker::Hello(_)));
    conn.writer.send(&ToWorker::Welcome { epoch: Epoch(3) }).await.unwrap();
    let (from_tx, from) = mpsc::channel(4096);
    let (to, mut to_rx) = mpsc::channel::<ToWorker>(16);
    let (cut, mut cutting) = oneshot::channel();
    tokio::task::spawn_local(async move {
        let mut beat = tokio::time::interval(Duration::from_millis(250));
        let mut seq = 0;
        loop {
            let message = tokio::select! {
                _ = &mut cutting => return,
                _ = beat.tick() => {
                    seq += 1;
                    ToWorker::Beat { seq, sent: clock::now(), mode: TradingMode::ReduceOnly }
                }
                message = to_rx.recv() => match message { Some(message) => message, None => return },
                report = conn.reader.recv() => {
                    match report {
                        Ok(report) => { let _ = from_tx.send(report).await; }
                        Err(_) => return,
                    }
                    continue;
                }
            };
            if conn.writer.send(&message).await.is_err() {
                return;
            }
        }
    });
    (child, Link { from, to, cut })
}

/// All of it.
pub(crate) struct Rig {
    pub dir: tempfile::TempDir,
    pub home: Home,
    pub venue: Venue,
    pub child: Child,
    /// A process that stands for the supervisor's.
    pub pid: Child,
    pub account: String,
    engine: AgentKey,
    door: Door,
    boot: Bootstrap,
    from: mpsc::Receiver<FromWorker>,
    to: mpsc::Sender<ToWorker>,
    cut: Option<oneshot::Sender<()>>,
    nonce: u64,
}

impl Rig {
    /// Starts venue and worker and waits for its hello.
    pub(crate) async fn start(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().to_owned());
        for folder in ["run", "keys", "data", "logs", "venue"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let (master, engine, own) =
            (AgentKey::generate().unwrap(), AgentKey::generate().unwrap(), AgentKey::generate().unwrap());
        own.save_new(&home.deadman_key()).unwrap();
        engine.save_new(&home.engine_key()).unwrap();
        let account = master.address().to_string();
        let agents = json!({"engine": engine.address().to_string(), "deadman": own.address().to_string()});
        let file = json!({"account": account, "agents": agents, "start_usd": "1000000"});
        std::fs::write(home.venue_account(), file.to_string()).unwrap();
        let venue = Venue::start(dir.path());
        for fault in &setup.faults {
            venue.fault(fault.clone());
        }
        let pid = Command::new("sleep").arg("600").spawn().unwrap();
        let door = Door::open(&home.worker_sock()).unwrap();
        let boot = Bootstrap {
            role: Role::Deadman,
            generation: Generation(1),
            epoch: Epoch(3),
            build_id: BUILD.to_owned(),
            protocol: PROTOCOL,
            token: Token::new([1; 32]),
            feed_token: Token::new([2; 32]),
            supervisor_pid: pid.id(),
            socket: home.worker_sock(),
            home: dir.path().to_owned(),
            settings: setup.settings,
            venue_url: Some(format!("http://{}", venue.addr)),
            venue_port: None,
            api_port: None,
            account: Some(if setup.agent_as_account { engine.address().to_string() } else { account.clone() }),
            permit: None,
        };
        let (child, link) = employ(&door, &boot).await;
        let Link { from, to, cut } = link;
        let nonce = clock::wall_ms();
        Self { dir, home, venue, child, pid, account, engine, door, boot, from, to, cut: Some(cut), nonce }
    }

    /// Another worker in the place of one that is gone.
    pub(crate) async fn restart(&mut self) {
        let (child, link) = employ(&self.door, &self.boot).await;
        self.child = child;
        (self.from, self.to, self.cut) = (link.from, link.to, Some(link.cut));
    }

    pub(crate) async fn tell(&self, message: ToWorker) {
        self.to.send(message).await.unwrap();
    }

    /// The next report that fits, within the patience.
    pub(crate) async fn until<T>(&mut self, what: &str, mut fits: impl FnMut(FromWorker) -> Option<T>) -> T {
        let wait = async {
            loop {
                let report = self.from.recv().await.unwrap_or_else(|| panic!("link ended before: {what}"));
                if let Some(found) = fits(report) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never happened: {what}"))
    }

    pub(crate) async fn ready(&mut self) {
        self.until("ready", |r| matches!(r, FromWorker::Ready { .. }).then_some(())).await;
    }

    /// Orders a job and answers its verdicts, the last of which is flat.
    pub(crate) async fn reduce(&mut self, job: u64, kind: JobKind) -> Vec<JobProgress> {
        self.tell(ToWorker::Reduce { job: JobId(job), kind }).await;
        let mut verdicts = Vec::new();
        loop {
            let verdict = self
                .until("a verdict", |report| match report {
                    FromWorker::Job(p) if p.job == JobId(job) && p.state.is_verdict() => Some(p),
                    _ => None,
                })
                .await;
            let flat = verdict.state == holdfast_core::report::JobState::Flat;
            verdicts.push(verdict);
            if flat {
                return verdicts;
            }
        }
    }

    /// A position from nowhere.
    pub(crate) fn hold(&self, coin: &str, size: &str) {
        self.venue.fault(json!({"kind": "foreign_position", "coin": coin, "value": size}));
    }

    /// A resting BTC order of the engine's, 5 % below the market; not reduce-only.
    pub(crate) fn rest(&mut self) {
        let book = http(self.venue.addr, "POST", "/info", &json!({"type": "l2Book", "coin": "BTC"}).to_string());
        let bid: f64 = book["levels"][0][0]["px"].as_str().unwrap().parse().unwrap();
        let px = format!("{}", (bid * 0.95).floor());
        let action = Place {
            kind: "order",
            orders: [Entry { a: 0, b: true, p: px, s: "0.01", r: false, t: Tif { limit: Limit { tif: "Gtc" } } }],
            grouping: "na",
        };
        self.nonce += 1;
        let context = Context { network: Network::Testnet, nonce: self.nonce, vault: None, expires_after: None };
        let body = signed_body(&self.engine, &action, &context).unwrap();
        let answer = http(self.venue.addr, "POST", "/exchange", std::str::from_utf8(&body).unwrap());
        assert!(answer["response"]["data"]["statuses"][0]["resting"].is_object(), "{answer}");
    }

    /// A client of the test's own, with the engine's key.
    pub(crate) fn bare_client(&self) -> ReduceClient {
        let key = AgentKey::load(&self.home.engine_key()).unwrap();
        let url = format!("http://{}", self.venue.addr);
        let config = VenueConfig::new(&url, Network::Testnet, self.account.parse().unwrap(), clock::now);
        ReduceClient::new(&VenueClient::new(config).unwrap(), Arc::new(key), Arc::new(Nonces::unstored()))
    }

    /// Positions and orders as the venue itself shows them, over all dexes.
    pub(crate) fn open(&self) -> (usize, usize) {
        let ask = |body: Value| http(self.venue.addr, "POST", "/info", &body.to_string());
        let dexes = ask(json!({"type": "perpDexs"}));
        let (mut positions, mut orders) = (0, 0);
        for dex in dexes.as_array().unwrap() {
            let dex = dex["name"].as_str().unwrap_or("");
            let state = ask(json!({"type": "clearinghouseState", "user": self.account, "dex": dex}));
            positions += state["assetPositions"].as_array().unwrap().len();
            let open = ask(json!({"type": "frontendOpenOrders", "user": self.account, "dex": dex}));
            orders += open.as_array().unwrap().len();
        }
        (positions, orders)
    }

    /// Lines of the witness.
    pub(crate) fn witness(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("venue/orders.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Nothing any client ever sent raised exposure.
    pub(crate) fn nothing_grew(&self) {
        for line in self.witness() {
            let injected = line["origin"] == "injected";
            assert!(injected || line["increased_exposure"] != true, "{line}");
        }
    }

    /// The supervisor dies: process and connection.
    pub(crate) fn lose_supervisor(&mut self) {
        self.pid.kill().unwrap();
        self.pid.wait().unwrap();
        self.cut_link();
    }

    pub(crate) fn cut_link(&mut self) {
        self.cut.take().map(|cut| cut.send(()));
    }

    /// Waits for the worker to end; its exit code.
    pub(crate) async fn ended(&mut self) -> i32 {
        let end = clock::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("an exit code");
            }
            assert!(clock::now().since(end).as_ms() < 60_000, "the worker did not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn report(&self) -> Value {
        let text = std::fs::read_to_string(self.home.run().join("deadman-report.json")).expect("a report");
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for child in [&mut self.child, &mut self.pid] {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let logs = std::fs::read_dir(self.home.logs()).unwrap().flatten();
            for log in logs {
                eprintln!("{}", std::fs::read_to_string(log.path()).unwrap_or_default());
            }
        }
    }
}

#[derive(serde::Serialize)]
struct Place<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    orders: [Entry<'a>; 1],
    grouping: &'a str,
}

#[derive(serde::Serialize)]
struct Entry<'a> {
    a: u32,
    b: bool,
    p: String,
    s: &'a str,
    r: bool,
    t: Tif<'a>,
}

#[derive(serde::Serialize)]
struct Tif<'a> {
    limit: Limit<'a>,
}

#[derive(serde::Serialize)]
struct Limit<'a> {
    tif: &'a str,
}
