//! A made-up supervisor around the real worker: real sockets, real HTTP, loopback only.

use holdfast_api::run;
use holdfast_core::ids::{Epoch, Generation, Role};
use holdfast_core::registry::{LatchReason, ModeReason, Profile, TradingMode, VenueDeadMan};
use holdfast_core::report::PositionView;
use holdfast_core::status::{
    ApiStatus, DeadManStatus, DecisionsStatus, DiskStatus, ExposureStatus, JournalStatus, KillStatus, LifecycleStatus,
    PermitStatus, STATUS_SCHEMA, Seconds, StatusDoc, WorkerStatus,
};
use holdfast_ipc::bootstrap::{Bootstrap, Home, PROTOCOL, Token};
use holdfast_ipc::clock;
use holdfast_ipc::conn::{Conn, Writer};
use holdfast_ipc::feed::Publisher;
use holdfast_ipc::listen::Door;
use holdfast_ipc::message::{FromWorker, ToWorker};
use holdfast_ipc::settings::Settings;
use holdfast_kit::{Ctx, Exit};
use serde::Serialize;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Longest any test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Runs a body as the tree's loops run: one thread, local tasks, bounded time.
pub(crate) fn live<F: Future<Output = ()>>(body: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async { tokio::time::timeout(3 * PATIENCE, body).await.unwrap() });
}

/// The worker and what stands around it.
pub(crate) struct Rig {
    /// The home folder; removed at the end.
    pub(crate) folder: tempfile::TempDir,
    /// To the worker.
    pub(crate) orders: Writer<ToWorker>,
    /// From the worker, beats left out.
    pub(crate) said: mpsc::UnboundedReceiver<FromWorker>,
    /// The worker's end.
    pub(crate) worker: JoinHandle<Exit>,
    /// Where it listens; 0 when it failed.
    pub(crate) port: u16,
}

/// What a birth may vary.
#[derive(Default)]
pub(crate) struct Given {
    /// `boot.api_port`.
    pub(crate) held: Option<u16>,
    /// `settings.api.port`.
    pub(crate) configured: Option<u16>,
}

/// A token known to both ends of the data plane.
pub(crate) fn feed_token() -> Token {
    Token::new([9; 32])
}

impl Rig {
    /// Brings a worker up in a fresh home.
    pub(crate) async fn up(given: Given) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().to_owned());
        std::fs::create_dir_all(home.run()).unwrap();
        let mut settings = Settings::default();
        settings.api.port = given.configured;
        let boot = Bootstrap {
            role: Role::Api,
            generation: Generation(1),
            epoch: Epoch(7),
            build_id: "test-build".into(),
            protocol: PROTOCOL,
            token: Token::new([1; 32]),
            feed_token: feed_token(),
            supervisor_pid: std::process::id(),
            socket: home.worker_sock(),
            home: folder.path().to_owned(),
            settings,
            venue_url: None,
            venue_port: None,
            api_port: given.held,
            account: None,
            permit: None,
        };
        let door = Door::open(&boot.socket).unwrap();
        let conn = Conn::<ToWorker, FromWorker>::connect(&boot.socket, PATIENCE).await.unwrap();
        let own = Conn::<FromWorker, ToWorker>::over(door.accept().await.unwrap()).unwrap();
        let (tx, mut said) = mpsc::unbounded_channel();
        let mut reader = own.reader;
        tokio::task::spawn_local(async move {
            while let Ok(message) = reader.recv().await {
                if !matches!(message, FromWorker::Beat { .. }) && tx.send(message).is_err() {
                    return;
                }
            }
        });
        let worker = tokio::task::spawn_local(run(Ctx::start(boot, conn)));
        let ready = tokio::time::timeout(Duration::from_secs(3), said.recv()).await;
        let port = match ready {
            Ok(Some(FromWorker::Ready { endpoint: Some(url) })) => {
                url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0)
            }
            _ => 0,
        };
        Self { folder, orders: own.writer, said, worker, port }
    }

    /// The worker's home.
    pub(crate) fn home(&self) -> Home {
        Home::new(self.folder.path().to_owned())
    }

    /// A publisher in the sensor's or engine's place.
    pub(crate) fn publisher<T: Serialize + 'static>(&self, role: Role) -> Publisher<T> {
        let path = if role == Role::Sensor { self.home().sensor_sock() } else { self.home().engine_sock() };
        Publisher::open(&path, Epoch(7), feed_token(), &[Role::Api]).unwrap()
    }

    /// Pushes a document.
    pub(crate) async fn push(&mut self, doc: StatusDoc) {
        self.orders.send_within(&ToWorker::Status { doc: Box::new(doc) }, PATIENCE).await.unwrap();
    }

    /// One request by hand, the answer's head and body.
    pub(crate) async fn raw(&self, request: &[u8]) -> (String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        // A refused request may be answered before all of it is read.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.to_ascii_lowercase(), body.to_owned())
    }

    /// One request with the right host.
    pub(crate) async fn ask(&self, method: &str, path: &str, extra: &str) -> (String, String) {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{extra}\r\n", self.port);
        self.raw(request.as_bytes()).await
    }

    /// Opens the event stream and leaves it open.
    pub(crate) async fn stream(&self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let request = format!("GET /api/v1/events HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", self.port);
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Asks until the answer satisfies; panics when it never does.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&str, &str) -> bool) -> String {
        let all = async {
            loop {
                let (head, body) = self.ask("GET", path, "").await;
                if wanted(&head, &body) {
                    return body;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap()
    }
}

/// Reads until the text holds what is wanted.
pub(crate) async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut all = String::new();
    let mut part = vec![0; 16 * 1024];
    while !all.contains(wanted) {
        let n = tokio::time::timeout(PATIENCE, stream.read(&mut part)).await.unwrap().unwrap();
        assert!(n > 0, "stream ended before {wanted:?}: {all}");
        all.push_str(&String::from_utf8_lossy(&part[..n]));
    }
    all
}

/// A worker's row.
fn worker(role: Role, pid: u32, state: &str) -> WorkerStatus {
    WorkerStatus {
        role,
        pid: Some(pid),
        state: state.into(),
        probation: false,
        restarts: 0,
        last_beat_ms: Some(48),
        since: clock::rfc3339(clock::wall_ms()),
        last_exit: None,
        version: "test-build".into(),
    }
}

/// A document made now: all well, flat.
pub(crate) fn active() -> StatusDoc {
    let now = clock::wall_ms();
    let at = |ms: u64| clock::rfc3339(ms);
    StatusDoc {
        schema: STATUS_SCHEMA.into(),
        running: true,
        pid: 4242,
        started_at: at(now.saturating_sub(754_300)),
        uptime_s: Seconds { ms: 754_300 },
        version: "0.1.0".into(),
        build_id: "test-build".into(),
        home: "/home/me/.holdfast".into(),
        profile: Profile::Paper,
        venue_url: "http://127.0.0.1:40001".into(),
        trading_mode: TradingMode::Active,
        mode_reasons: vec![],
        open_permission_blocked_latch: false,
        open_permission_reason_codes: vec![],
        permit: PermitStatus { live: true, epoch: 17, deadline_in_ms: 980 },
        lifecycle: LifecycleStatus { phase: "idle".into(), until: None, run_id: None },
        dead_man: DeadManStatus {
            venue: VenueDeadMan::Active,
            venue_fires_at: Some(at(now.saturating_add(28_000))),
            venue_detail: String::new(),
            operator_expires_at: Some(at(now.saturating_add(11_532_000))),
            unrecorded: None,
        },
        exposure: ExposureStatus {
            flat: true,
            known: true,
            as_of: Some(at(now)),
            positions: vec![],
            open_orders: 0,
            equity_usd: Some("10012.4471".into()),
        },
        kill: KillStatus {
            active: false,
            since: None,
            state: "none".into(),
            residue: vec![],
            reason: None,
            proof_at: None,
            taken_over: None,
        },
        workers: vec![
            worker(Role::Venue, 4243, "ready"),
            worker(Role::Deadman, 4244, "ready"),
            worker(Role::Sensor, 4245, "ready"),
            worker(Role::Api, 4246, "ready"),
            worker(Role::Engine, 4247, "ready"),
        ],
        api: ApiStatus { url: "http://127.0.0.1:8765".into(), cockpit: "http://127.0.0.1:8765/".into() },
        journal: JournalStatus {
            events: 1234,
            head: format!("sha256:{}", "ab".repeat(32)),
            durable: true,
            detail: String::new(),
        },
        disk: DiskStatus { short: false, free_mib: Some(4096) },
        decisions: DecisionsStatus {
            entries: 567,
            head: format!("sha256:{}", "cd".repeat(32)),
            durable: true,
            unsettled: 0,
        },
        generated_at: at(now),
        generated_boot_ns: clock::now().0,
        opening_blocked: None,
        next_step: String::new(),
    }
}

/// The engine died with a position open.
pub(crate) fn restricted() -> StatusDoc {
    let mut doc = active();
    doc.trading_mode = TradingMode::ReduceOnly;
    doc.mode_reasons = vec![ModeReason::ReduceonlyWorkerDegraded, ModeReason::ReduceonlyOpenPermissionLatched];
    doc.open_permission_blocked_latch = true;
    doc.open_permission_reason_codes = vec![LatchReason::RestartReconcileRequired];
    doc.permit = PermitStatus { live: false, epoch: 18, deadline_in_ms: 0 };
    doc.exposure.flat = false;
    doc.exposure.open_orders = 1;
    doc.exposure.positions = vec![PositionView {
        dex: String::new(),
        coin: "BTC".into(),
        size: "-0.00186".parse().unwrap(),
        entry_px: Some("107421.5".parse().unwrap()),
        mark_px: Some("107309".parse().unwrap()),
        notional_usd: "199.594740".parse().unwrap(),
    }];
    if let Some(engine) = doc.workers.last_mut() {
        engine.state = "starting".into();
        engine.probation = true;
        engine.restarts = 1;
        engine.last_exit = Some("signal 9 (SIGKILL)".into());
    }
    doc.next_step = "Wait: the engine restarts and reconciles by itself; Active is possible again in 9 s.".into();
    doc
}

/// The operator killed it and it is flat.
pub(crate) fn killed() -> StatusDoc {
    let mut doc = active();
    doc.trading_mode = TradingMode::Kill;
    doc.mode_reasons = vec![ModeReason::KillRiskstateKill];
    doc.open_permission_blocked_latch = true;
    doc.open_permission_reason_codes = vec![LatchReason::RestartReconcileRequired];
    doc.permit = PermitStatus { live: false, epoch: 19, deadline_in_ms: 0 };
    doc.kill.active = true;
    doc.kill.state = "flat".into();
    doc.kill.since = Some(doc.generated_at.clone());
    doc.kill.reason = Some("going on holiday".into());
    doc.kill.proof_at = Some(doc.generated_at.clone());
    if let Some(engine) = doc.workers.last_mut() {
        engine.state = "exited".into();
        engine.pid = None;
        engine.last_beat_ms = None;
        engine.last_exit = Some("fenced: SIGKILL".into());
    }
    doc.next_step = "Everything is closed. To trade again: `engine resume`.".into();
    doc
}
