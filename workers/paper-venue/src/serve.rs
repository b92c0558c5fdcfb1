//! From a home folder to a running venue, and down again: the shell around the exchange.

use crate::addr::Addr;
use crate::exchange::Exchange;
use crate::http::{App, router};
use crate::listen::{self, Line};
use crate::market::{Market, MarketError, MarketSource};
use crate::play::Player;
use crate::store::{BooksError, Store};
use crate::venue::Venue;
use crate::witness::Witness;
use crate::ws;
use holdfast_core::ids::Role;
use holdfast_core::money::Usd;
use holdfast_ipc::message::{FromWorker, ToWorker};
use holdfast_kit::{Ctx, Exit, Order};
use rust_decimal::Decimal;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often the market is played and switches are looked at: with the supervisor's beats, which wake this process anyway,
/// and where none come by a timer. An idle tree costs what its wakings cost.
const TICK: Duration = Duration::from_millis(250);
/// A beat this soon after a tick is not one more tick.
const APART: Duration = Duration::from_millis(125);
/// After a beat the next one is waited for this much longer than a tick.
const SLACK: Duration = Duration::from_millis(100);
/// Market messages go out on every so many ticks: one book of a coin each half second.
const TICKS_PER_ROUND: u64 = 2;
/// Longest wait for requests in flight when ending.
const DRAIN: Duration = Duration::from_secs(2);

/// Where a venue lives and what it plays.
#[derive(Clone, Debug)]
pub struct PaperConfig {
    /// Home folder; books and witness go to its `venue` folder.
    pub home: PathBuf,
    /// Port on 127.0.0.1; 0 = any free one.
    pub port: u16,
    /// The market.
    pub market: MarketSource,
    /// Scenario ms per wall ms; absent = what suits the market.
    pub speed: Option<u32>,
}

/// Why a venue cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PaperError {
    /// The market cannot be opened, or never shows a price.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// The market shows no price for a coin.
    #[error("the market shows no book and mark for every coin within its first 100000 events")]
    NoPrices,
    /// The books cannot be opened.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// The account file is unreadable.
    #[error("paper account {path}: {detail}")]
    Account {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The port or the folder cannot be had.
    #[error("{what}: {source}")]
    Os {
        /// What was tried.
        what: String,
        /// The reason.
        source: io::Error,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountFile {
    account: Addr,
    #[serde(default)]
    agents: BTreeMap<String, Addr>,
    start_usd: Usd,
}

fn register_main(ex: &mut Exchange, dir: &std::path::Path) -> Result<(), PaperError> {
    let path = dir.join("account.json");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        // A venue without an account of its own still serves those opened at `/sim/account`.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(PaperError::Account { path, detail: e.to_string() }),
    };
    let file: AccountFile =
        serde_json::from_slice(&bytes).map_err(|e| PaperError::Account { path, detail: e.to_string() })?;
    // Enough traded volume for the dead-man switch to be available.
    let volume = Usd::new(Decimal::from(2_000_000)).unwrap_or(Usd::ZERO);
    let agents: Vec<(String, Addr)> = file.agents.into_iter().collect();
    ex.register(file.account, file.start_usd, volume, &agents);
    ex.set_main(file.account);
    Ok(())
}

/// Runs a venue until `shutdown` ends. `on_ready` hears the bound address; `progress` is called once per matching tick.
///
/// # Errors
/// [`PaperError`] when it cannot start; once it runs it ends only by `shutdown`.
pub async fn serve(
    config: PaperConfig,
    on_ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
    progress: impl Fn(),
) -> Result<(), PaperError> {
    paced(config, on_ready, shutdown, progress, &Notify::new()).await
}

/// As [`serve`], ticking with whoever rings `pulse`.
async fn paced(
    config: PaperConfig,
    on_ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
    progress: impl Fn(),
    pulse: &Notify,
) -> Result<(), PaperError> {
    let dir = config.home.join("venue");
    std::fs::create_dir_all(&dir)
        .map_err(|source| PaperError::Os { what: format!("cannot create {}", dir.display()), source })?;
    // A long recording takes seconds to read; on this thread that would look like a worker that hangs.
    let source = config.market.clone();
    let market = tokio::task::spawn_blocking(move || Market::open(&source)).await.map_err(|e| PaperError::Os {
        what: "the reading of the market broke off".to_owned(),
        source: io::Error::other(e),
    })??;
    let mut ex = Exchange::new(market.coins());
    let store = Store::open(&dir, &mut ex)?;
    register_main(&mut ex, &dir)?;
    let witness = Witness::open(&dir);
    let mut venue = Venue::new(ex, witness, store);
    let mut player = Player::new(market, config.speed);
    if !player.warm_up(&mut venue) {
        return Err(PaperError::NoPrices);
    }
    venue.settle();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port))
        .await
        .map_err(|source| PaperError::Os { what: format!("cannot listen on 127.0.0.1:{}", config.port), source })?;
    let address =
        listener.local_addr().map_err(|source| PaperError::Os { what: "no local address".to_owned(), source })?;
    let app = App::new(venue, player);
    let (doors, http_side, mut sockets) = listen::sides();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let service = router(app.clone()).into_make_service_with_connect_info::<Line>();
    let server = axum::serve(http_side, service).with_graceful_shutdown(async {
        // Either word, or the sender's end, means stop.
        let _ = stopped.await;
    });
    let mut server = tokio::spawn(server.into_future());
    let accepting = tokio::spawn(listen::accept(listener, doors));
    let socket_app = app.clone();
    let socket_side = tokio::spawn(async move {
        while let Some(conn) = sockets.recv().await {
            tokio::spawn(ws::serve(conn, socket_app.clone()));
        }
    });
    on_ready(address);
    let mut shutdown = std::pin::pin!(shutdown);
    let mut ticks = 0_u64;
    let mut ticked = Instant::now();
    let mut next = TICK;
    loop {
        next = tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = pulse.notified() => {
                if ticked.elapsed() < APART {
                    continue;
                }
                TICK + SLACK
            }
            () = tokio::time::sleep_until(ticked + next) => TICK,
        };
        ticked = Instant::now();
        app.play(None).await;
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(TICKS_PER_ROUND) {
            app.venue().publish_market();
        }
        progress();
    }
    accepting.abort();
    app.venue().hub.end_all(&crate::hub::Push::Close("Expired"));
    let _ = stop.send(());
    if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
        server.abort();
    }
    socket_side.abort();
    let mut venue = app.venue();
    venue.settle();
    let Venue { store, ex, .. } = &mut *venue;
    store.compact(ex);
    Ok(())
}

/// The venue as a worker of the tree.
pub async fn work(mut ctx: Ctx) -> Exit {
    let paper = ctx.boot.settings.paper.clone();
    let config = PaperConfig {
        home: ctx.home.root().to_owned(),
        port: ctx.boot.venue_port.or(paper.port).unwrap_or(0),
        market: paper.market.map_or(MarketSource::Bundled { seed: paper.seed }, |path| MarketSource::File { path }),
        speed: paper.speed,
    };
    let (ready, beat) = (ctx.link(), ctx.link());
    let deadman_lock = ctx.home.role_lock(Role::Deadman);
    let pulse = Rc::new(Notify::new());
    let beats = pulse.clone();
    let drained = async move {
        loop {
            match ctx.order().await {
                Order::Message(message) if is_end(&message) => return,
                Order::SupervisorGone => return until_deadman_is_done(&deadman_lock).await,
                Order::Message(_) => {}
                Order::Beat(_) => beats.notify_one(),
            }
        }
    };
    let on_ready = move |address: SocketAddr| {
        if !ready.report(FromWorker::Ready { endpoint: Some(format!("http://{address}")) }) {
            tracing::error!("the supervisor could not be told where the venue listens");
        }
    };
    match paced(config, on_ready, drained, move || beat.progress(), &pulse).await {
        Ok(()) => Exit::Drained,
        Err(error) => Exit::Failed(error.to_string()),
    }
}

/// A real exchange does not die with us. This one stays until deadman, acting alone, has finished with it; deadman holds
/// its role lock for as long as it lives.
async fn until_deadman_is_done(lock: &std::path::Path) {
    tracing::warn!("the supervisor is gone; the paper venue stays until deadman has ended");
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if std::fs::File::open(lock).is_ok_and(|file| file.try_lock_shared().is_ok()) {
            return;
        }
    }
}

fn is_end(message: &ToWorker) -> bool {
    matches!(message, ToWorker::Drain { .. })
}
