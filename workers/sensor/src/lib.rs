//! Watches: the market and the account, as they are at the venue. Holds no key and sends no action.
//!
//! What it guarantees:
//! * Nothing is called fresh that is not recent in venue time and in receive time, two-sided, uncrossed and near the
//!   mark; after any interruption it is a gap until market and account were read again over HTTP.
//! * An account that could not be read is reported as unknown, never as flat; an agent's own address is refused.
//! * Every read has a deadline, every queue a bound; a venue outage makes readings old, never this worker wedged.

pub mod judge;

mod account;
mod fills;
mod market;
mod publish;
mod trips;

use crate::account::{AccountReading, Bells};
use crate::fills::Fills;
use crate::judge::Judge;
use crate::market::MarketReading;
use crate::publish::Output;
use crate::trips::Trips;
use holdfast_core::ids::Role;
use holdfast_core::registry::Profile;
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::clock;
use holdfast_ipc::feed::Publisher;
use holdfast_ipc::message::{FromWorker, ToWorker};
use holdfast_ipc::settings::LiveNetwork;
use holdfast_kit::{Ctx, Exit, Order};
use holdfast_venue_reduce::budget;
use holdfast_venue_reduce::client::{Venue, VenueConfig};
use holdfast_venue_reduce::socket::{Event, Events, Socket, SocketConfig, Stream, Timed, WireMessage};
use holdfast_venue_reduce::wire::Network;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Who may follow the observations.
const FOLLOWERS: &[Role] = &[Role::Engine, Role::Api];
/// How often state is judged when nothing arrives; the supervisor's beats come more often than this.
const PULSE: Duration = Duration::from_millis(350);
/// Said ready after this even without a first reading; what is missing is then reported as missing.
const READY_AFTER: Span = Span::from_ms(5000);
/// Readings waiting to be looked at.
const READINGS: usize = 8;
/// Reconnecting to the market may not wait long: it is a gap for all that time.
const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// No message at all for this long: the connection is dead. Books come every half second or so.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// The body of `engine worker sensor`. Ends when drained, or when the configuration cannot work.
pub async fn run(mut ctx: Ctx) -> Exit {
    let (venue, config) = match connect(&ctx) {
        Ok(pair) => pair,
        Err(why) => return Exit::Failed(why),
    };
    let coin = ctx.boot.settings.strategy.coin.clone();
    let token = ctx.boot.feed_token.clone();
    let publisher = match Publisher::open(&ctx.home.sensor_sock(), ctx.boot.epoch, token, FOLLOWERS) {
        Ok(publisher) => publisher,
        Err(error) => return Exit::Failed(error.to_string()),
    };
    let (socket, events) = match Socket::new(config) {
        Ok(pair) => pair,
        Err(error) => return Exit::Failed(error.to_string()),
    };
    tokio::task::spawn_local(socket.run());
    let bells = Bells::default();
    let reread = Rc::new(Notify::new());
    let (account_tx, account_rx) = mpsc::channel(READINGS);
    let (market_tx, market_rx) = mpsc::channel(READINGS);
    let paper = ctx.boot.settings.profile == Profile::Paper;
    tokio::task::spawn_local(account::follow(venue.clone(), paper, bells.clone(), account_tx));
    tokio::task::spawn_local(market::follow(venue, coin.clone(), reread.clone(), market_tx));
    let sensor = Sensor {
        judge: Judge::default(),
        fills: Fills::default(),
        trips: Trips::default(),
        output: Output::new(ctx.link(), publisher, coin.clone()),
        coin,
        bells,
        reread,
        began: clock::now(),
        ready: false,
        account_seen: false,
    };
    sensor.attend(&mut ctx, events, account_rx, market_rx).await
}

/// The venue client and the socket's configuration, from the bootstrap.
fn connect(ctx: &Ctx) -> Result<(Venue, SocketConfig), String> {
    let boot = &ctx.boot;
    let url = boot.venue_url.as_deref().ok_or("no venue url was handed over")?;
    let account = boot.account.as_deref().ok_or("no account was handed over")?;
    let account = account.parse().map_err(|e| format!("account {account:?} is not an address: {e}"))?;
    let live = boot.settings.live.as_ref().filter(|_| boot.settings.profile == Profile::Live);
    let network = match live.map(|live| live.network) {
        Some(LiveNetwork::Mainnet) => Network::Mainnet,
        Some(LiveNetwork::Testnet) | None => Network::Testnet,
    };
    let mut config = VenueConfig::new(url, network, account, clock::now);
    config.share = if boot.settings.profile == Profile::Paper { budget::PAPER } else { budget::SENSOR };
    let coin = boot.settings.strategy.coin.clone();
    let streams = vec![
        Stream::L2Book { coin: coin.clone() },
        Stream::ActiveAssetCtx { coin },
        Stream::UserFills { user: account },
    ];
    let socket_url = config.socket_url().map_err(|e| e.to_string())?;
    let mut socket = SocketConfig::new(socket_url, streams, clock::now);
    socket.backoff_max = RECONNECT_MAX;
    socket.dead_after = SILENCE_MAX;
    socket.ping_every = SILENCE_MAX / 3;
    let venue = Venue::new(config).map_err(|e| e.to_string())?;
    Ok((venue, socket))
}

struct Sensor {
    judge: Judge,
    fills: Fills,
    trips: Trips,
    output: Output,
    coin: String,
    /// Asks for account readings.
    bells: Bells,
    /// Asks for a market reading now.
    reread: Rc<Notify>,
    began: Tick,
    ready: bool,
    account_seen: bool,
}

impl Sensor {
    async fn attend(
        mut self,
        ctx: &mut Ctx,
        mut events: Events,
        mut accounts: mpsc::Receiver<AccountReading>,
        mut markets: mpsc::Receiver<MarketReading>,
    ) -> Exit {
        loop {
            ctx.progress();
            let mut beat = false;
            tokio::select! {
                order = ctx.order() => match order {
                    Order::Message(ToWorker::Drain {}) => return Exit::Drained,
                    Order::SupervisorGone => return Exit::Failed("the supervisor is gone".into()),
                    // Its mode changes nothing about what is seen.
                    Order::Beat(_) => {
                        beat = true;
                        self.bells.beat.notify_one();
                    }
                    // Addressed to other roles.
                    Order::Message(
                        ToWorker::Welcome { .. }
                        | ToWorker::Beat { .. }
                        | ToWorker::Reconcile { .. }
                        | ToWorker::Reduce { .. } | ToWorker::Known { .. }
                        | ToWorker::OperatorDeadline { .. }
                        | ToWorker::Acknowledge {}
                        | ToWorker::Witness { .. }
                        | ToWorker::Status { .. }
                        | ToWorker::StandDown {},
                    ) => {}
                },
                Some(event) = events.recv() => self.event(event),
                Some(reading) = accounts.recv() => {
                    if let Some(exit) = self.account(reading) {
                        return exit;
                    }
                }
                Some(reading) = markets.recv() => self.market(reading),
                // Begun anew each time: whatever woke us did the pulse's work.
                () = tokio::time::sleep(PULSE) => {}
            }
            self.speak(ctx, beat);
        }
    }

    fn event(&mut self, Timed { at, event }: Timed) {
        match event {
            Event::Connected | Event::Reconnected => {
                self.judge.interrupted(at);
                self.read_again();
            }
            Event::Disconnected(why) => {
                tracing::warn!(why, "the venue's socket ended");
                self.judge.interrupted(at);
                self.trips.disconnected();
            }
            Event::Lagged(lost) => {
                tracing::warn!(lost, "messages of the venue were lost");
                self.interruption(at);
            }
            Event::Malformed(what) => {
                tracing::warn!(what, "a message of the venue is not understood");
                self.interruption(at);
            }
            Event::Message(message) => self.message(at, message),
        }
    }

    /// Something was lost while connected.
    fn interruption(&mut self, at: Tick) {
        self.judge.interrupted(at);
        self.trips.lost();
        self.read_again();
    }

    fn read_again(&self) {
        self.bells.poke.notify_one();
        self.reread.notify_one();
    }

    fn message(&mut self, at: Tick, message: WireMessage) {
        match message {
            WireMessage::L2Book(book) if book.coin == self.coin => {
                self.trips.connected();
                self.judge.book(at, &book);
            }
            WireMessage::ActiveAssetCtx { coin, ctx } if coin == self.coin => self.judge.mark(at, ctx.mark_px),
            WireMessage::UserFills(batch) => {
                let fresh = self.fills.take(&batch);
                if !fresh.is_empty() || !batch.is_snapshot {
                    self.bells.poke.notify_one();
                }
                for fill in fresh {
                    self.output.fill(fill);
                }
            }
            WireMessage::UserEvent(_) => self.bells.poke.notify_one(),
            WireMessage::Error(text) => tracing::warn!(text, "the venue refused something on the socket"),
            WireMessage::L2Book(_)
            | WireMessage::ActiveAssetCtx { .. }
            | WireMessage::Bbo(_)
            | WireMessage::Trades(_)
            | WireMessage::Candle(_)
            | WireMessage::AllMids(_)
            | WireMessage::OrderUpdates(_)
            | WireMessage::Subscribed
            | WireMessage::Pong
            | WireMessage::Other(_) => {}
        }
    }

    fn account(&mut self, reading: AccountReading) -> Option<Exit> {
        match reading {
            AccountReading::Agent { master } => {
                return Some(Exit::Failed(format!(
                    "the configured account is an agent (API wallet) of {master}: it holds nothing and every read of it \
                     looks flat; set live.account to the account that holds the positions"
                )));
            }
            AccountReading::Known { asked, view } => {
                self.account_seen = true;
                self.judge.account_read(asked);
                self.output.account(view);
            }
            AccountReading::Unknown(detail) => self.output.account_unknown(detail),
        }
        None
    }

    fn market(&mut self, reading: MarketReading) {
        match reading {
            MarketReading::Clock(sample) => self.judge.clock(sample),
            MarketReading::Market { asked, received, book, mark } => {
                self.judge.read_again(asked, received, &book, mark);
            }
            MarketReading::Changed => self.judge.instrument_changed(),
        }
    }

    fn speak(&mut self, ctx: &Ctx, beat: bool) {
        let now = clock::now();
        let wall_ms = clock::wall_ms();
        let state = self.judge.state(now, wall_ms);
        if self.judge.wants_reading(now) {
            self.reread.notify_one();
        }
        self.trips.judged(now, state);
        self.trips.report(ctx);
        self.output.market((now, wall_ms), state, &mut self.judge, beat);
        if !self.ready && ((self.account_seen && self.judge.has_book()) || now.since(self.began) >= READY_AFTER) {
            self.ready = ctx.report(FromWorker::Ready { endpoint: None });
        }
    }
}
