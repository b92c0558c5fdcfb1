//! The supervisor's hand on the runtime bus: it hands over what happened, never waits for the disk, and says how the bus
//! stands.
//!
//! * A bus that does not verify is left as it is: nothing is written, nothing may open risk, everything else goes on.
//! * A bus that failed is verified again from the device, on a thread of its own, until it takes events again.
//! * A bus that lacks what deadman saw of it does not verify. Its head is noted outside as it grows (`notary`).
//! * What restricts goes by itself, so that the bus finds room for it where it has none for the rest.

use crate::Launch;
use crate::perform::cycle;
use crate::perform::notary::Notary;
use holdfast_core::command::Class;
use holdfast_core::ids::Epoch;
use holdfast_core::record::Record;
use holdfast_core::registry::Profile;
use holdfast_core::report::{BusHead, BusHealth};
use holdfast_core::status::JournalStatus;
use holdfast_core::time::{Span, Tick};
use holdfast_core::trade::Trade;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_store::bus::{self, Anchor, Bus, BusError, Durability, NewEvent, Opened, Options, Priority};
use holdfast_store::canon;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;
use tokio::sync::oneshot;

/// Events that wait longer than this for the disk restrict.
const PATIENCE_MS: u64 = 1000;
/// Pause between attempts to open or reopen it.
const MEND_EVERY: Span = Span::from_ms(5000);
/// Longest a reopening may take before the next attempt is due.
const MEND_WITHIN: Duration = Duration::from_secs(60);
/// Free space below which a bus that found its disk full is not tried again: its reserve, its padding and room to go on.
const MEND_FREE_BYTES: u64 = 4 << 20;
/// Events kept for a bus that cannot be opened yet.
const EARLY_MAX: usize = 256;
/// A snapshot is taken after so many events.
const SNAPSHOT_EVENTS: u64 = 1000;

/// Where events go.
enum State {
    /// To the bus.
    Open(Arc<Bus>),
    /// Into memory until it can be opened.
    Shut { why: String, early: VecDeque<NewEvent> },
    /// Nowhere: what is there does not verify.
    Refused { why: String },
}

/// What an attempt to mend ended with.
type Mended = Result<Option<(Bus, Opened)>, BusError>;

/// See the module.
pub(crate) struct Journal {
    state: State,
    place: Place,
    /// Something was not taken because too much waited; until the queue is short again.
    overflowed: bool,
    /// An attempt to mend that is under way, and when the last one began.
    mending: Option<Receiver<Mended>>,
    mended_at: Tick,
    /// Tells when the last command's record is on the disk.
    pledge: Option<oneshot::Receiver<bool>>,
    /// Events at the last snapshot.
    snapshot_at: u64,
    /// The last cycle that was told whole.
    cycle: u64,
    notary: Notary,
}

#[derive(Clone)]
struct Place {
    folder: PathBuf,
    key: PathBuf,
    seed: [u8; 32],
    witness: Option<Anchor>,
}

impl Place {
    fn open(&self) -> Result<(Bus, Opened), BusError> {
        let clock = Arc::new(|| clock::now().0 / 1_000_000);
        let options = Options { witness: self.witness.clone(), ..Options::new(self.seed) };
        Bus::open(&self.folder, &self.key, options, clock, wall_s())
    }

    /// Whether there is room to go on: for bytes, and for files where the disk counts them.
    fn roomy(&self) -> bool {
        let stat = rustix::fs::statvfs(&self.folder);
        stat.is_ok_and(|stat| {
            let bytes = stat.f_bavail.saturating_mul(stat.f_frsize) >= MEND_FREE_BYTES;
            bytes && (stat.f_files == 0 || stat.f_favail > 0)
        })
    }
}

/// The wall clock as events carry it: seconds since 1970.
fn wall_s() -> f64 {
    Duration::from_millis(clock::wall_ms()).as_secs_f64()
}

impl Journal {
    /// Opens the bus of a home; `seed` is random and used only when there is none yet. Never fails: what cannot be
    /// opened is said by [`Journal::health`].
    pub(crate) fn open(home: &Home, seed: [u8; 32]) -> (Self, Option<Opened>) {
        let witness = bus::witness(&home.witness());
        let unreadable = witness.as_ref().err().map(shut);
        let place = Place { folder: home.bus(), key: home.bus_key(), seed, witness: witness.ok().flatten() };
        let (state, opened) = match unreadable.map_or_else(|| place.open().map_err(|error| shut(&error)), Err) {
            Ok((bus, opened)) => (State::Open(Arc::new(bus)), Some(opened)),
            Err(shut) => (shut, None),
        };
        let snapshot_at = opened.as_ref().map_or(0, |opened| opened.events);
        let journal = Self {
            state,
            place,
            overflowed: false,
            mending: None,
            mended_at: clock::now(),
            pledge: None,
            snapshot_at,
            cycle: 0,
            notary: Notary::new(home, snapshot_at),
        };
        (journal, opened)
    }

    /// Records a beginning: which epoch, what lies between it and the last event, and what it runs with.
    pub(crate) fn begin(&mut self, launch: &Launch, opened: Option<&Opened>, epoch: Epoch, previous_epoch: Epoch) {
        let last = opened.and_then(|opened| opened.last_as_of);
        let gap = |last: f64| Duration::try_from_secs_f64(wall_s() - last).map_or(0, |gap| gap.as_millis());
        self.record(&Record::SupervisorEpoch {
            epoch,
            previous_epoch,
            gap_ms: last.map(|last| u64::try_from(gap(last)).unwrap_or(u64::MAX)),
            clean_end: opened.is_some_and(|opened| opened.clean_end),
            profile: launch.settings.profile,
            pid: std::process::id(),
            build: format!("{} {}", launch.version, launch.build_id),
        });
        match canon::checksum(&launch.settings) {
            Ok(checksum) => self.record(&Record::ConfigLoaded { checksum }),
            Err(error) => tracing::error!(%error, "the configuration has no checksum"),
        }
    }

    /// Hands over what happened.
    pub(crate) fn record(&mut self, record: &Record) {
        let pledged = matches!(record, Record::OperatorCommand { .. });
        match NewEvent::new(record.event_type(), wall_s(), &record.payload()) {
            // A check-in is told like the rest, but a thousand of them must not crowd out the kill that follows.
            Ok(event) if reads(record) => self.append(vec![event.routine()], pledged),
            Ok(event) => self.append(vec![event], pledged),
            Err(error) => tracing::error!(%error, kind = record.event_type(), "an event was not recorded"),
        }
    }

    /// Hands over what the engine has to tell.
    pub(crate) fn trade(&mut self, trade: &Trade, profile: Profile) {
        if let Trade::Cycle(cycle) = trade {
            self.cycle = cycle.id;
        }
        match cycle::events(trade, profile, wall_s()) {
            Ok(events) => self.append(events, false),
            Err(error) => tracing::error!(%error, "an event of the engine was not recorded"),
        }
    }

    fn append(&mut self, events: Vec<NewEvent>, pledged: bool) {
        let taken = match &mut self.state {
            State::Open(bus) => {
                if pledged {
                    let (tell, told) = oneshot::channel();
                    self.pledge = Some(told);
                    bus.append_then(events, move |done| {
                        // Nobody waits any more, which is their business.
                        let _ = tell.send(done.is_ok());
                    })
                } else {
                    bus.append(events, Durability::Note).map(drop)
                }
            }
            State::Shut { early, .. } => {
                for event in events {
                    if early.len() < EARLY_MAX {
                        early.push_back(event);
                    } else if event.priority() == Priority::Safety {
                        tracing::error!(kind = event.event_type(), "not recorded: the runtime bus is not open");
                    }
                }
                return;
            }
            State::Refused { .. } => return,
        };
        if let Err(error) = taken {
            self.overflowed = true;
            tracing::error!(%error, "an event was not recorded");
        }
    }

    /// Tells when the last command is on the disk; absent when it was not taken. Given away once.
    pub(crate) fn pledge(&mut self) -> Option<oneshot::Receiver<bool>> {
        self.pledge.take()
    }

    /// How it stands, for the mode. The words of one state do not change from look to look.
    pub(crate) fn health(&self) -> BusHealth {
        let bus = match &self.state {
            State::Open(bus) => bus.health(),
            State::Shut { why, .. } => return BusHealth::Unavailable { why: why.clone() },
            State::Refused { why } => return BusHealth::Refused { why: why.clone() },
        };
        match bus.why {
            Some(why) => BusHealth::Unavailable { why },
            None if self.overflowed => BusHealth::Unavailable { why: "events were lost: too many waited".to_owned() },
            None if bus.queue_age_ms > PATIENCE_MS => {
                BusHealth::Unavailable { why: "the disk does not answer in time".to_owned() }
            }
            None => BusHealth::Good,
        }
    }

    /// For the status document, with the health that the judge was told, so that it never contradicts the mode.
    /// `latches`: what must not be forgotten reaches the disk as well.
    pub(crate) fn status(&self, told: Option<&BusHealth>, latches: bool) -> JournalStatus {
        let (events, head) = match &self.state {
            State::Open(bus) => {
                let health = bus.health();
                (health.events, health.head.map_or_else(String::new, |sum| sum.to_string()))
            }
            State::Shut { .. } | State::Refused { .. } => (0, String::new()),
        };
        let detail = match told {
            Some(BusHealth::Good) if latches => String::new(),
            Some(BusHealth::Good) => "latches do not reach the disk".to_owned(),
            Some(BusHealth::Unavailable { why } | BusHealth::Refused { why }) => why.clone(),
            None => "not looked at yet".to_owned(),
        };
        JournalStatus { events, head, durable: detail.is_empty(), detail }
    }

    /// Mends what can be mended without anybody: at once returns, and says what came of it at a later call.
    pub(crate) fn tend(&mut self, now: Tick) {
        if let Some(mending) = &self.mending {
            match mending.try_recv() {
                Ok(mended) => self.mended(mended),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {}
            }
            self.mending = None;
        }
        let broken = match &self.state {
            State::Open(bus) => {
                if let Some(head) = bus.anchor() {
                    self.notary.mind_the_day(clock::wall_ms(), &head);
                }
                let health = bus.health();
                self.overflowed &= health.queue_len > 0;
                !health.durable
            }
            State::Shut { .. } => true,
            State::Refused { .. } => false,
        };
        if broken && now.since(self.mended_at) >= MEND_EVERY {
            self.mended_at = now;
            self.mend();
        }
    }

    fn mend(&mut self) {
        let (tell, told) = sync_channel(1);
        let place = self.place.clone();
        let bus = match &self.state {
            State::Open(bus) => Some(Arc::clone(bus)),
            State::Shut { .. } | State::Refused { .. } => None,
        };
        let mend = move || {
            let mended = match bus {
                _ if !place.roomy() => Err(BusError::Full),
                Some(bus) => bus.reopen(wall_s(), MEND_WITHIN).map(|_| None),
                None => place.open().map(Some),
            };
            // Fails only when the process ends.
            let _ = tell.send(mended);
        };
        match std::thread::Builder::new().name("bus-mend".into()).spawn(mend) {
            Ok(_) => self.mending = Some(told),
            Err(error) => tracing::error!(%error, "no thread to mend the runtime bus with"),
        }
    }

    fn mended(&mut self, mended: Mended) {
        match mended {
            Ok(None) => tracing::warn!("the runtime bus was verified and takes events again"),
            Ok(Some((bus, opened))) => {
                tracing::warn!(events = opened.events, "the runtime bus is open");
                let early = match std::mem::replace(&mut self.state, State::Open(Arc::new(bus))) {
                    State::Shut { early, .. } => early,
                    State::Open(_) | State::Refused { .. } => VecDeque::new(),
                };
                for event in early {
                    self.append(vec![event], false);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the runtime bus cannot be mended yet");
                if matches!(error, BusError::Corrupt { .. } | BusError::Key { .. }) {
                    self.state = shut(&error);
                }
            }
        }
    }

    /// What deadman is to be told of how far the bus goes, every few seconds.
    pub(crate) fn witness(&mut self, now: Tick) -> Option<BusHead> {
        let State::Open(bus) = &self.state else { return None };
        self.notary.tell(now, &bus.anchor()?)
    }

    /// Whether enough happened since the last snapshot.
    pub(crate) fn snapshot_due(&self) -> bool {
        let State::Open(bus) = &self.state else { return false };
        let health = bus.health();
        health.durable && health.events.saturating_sub(self.snapshot_at) >= SNAPSHOT_EVENTS
    }

    /// Has the state written beside the log.
    pub(crate) fn snapshot(&mut self, mut state: serde_json::Value) {
        let State::Open(bus) = &self.state else { return };
        self.snapshot_at = bus.health().events;
        state["cycle"] = self.cycle.into();
        if let Err(error) = bus.snapshot(wall_s(), None, state) {
            tracing::warn!(%error, "no snapshot of the runtime bus");
        }
    }

    /// Writes what waits and closes the log in order, within a bound: a thread stuck in a stalled disk is left to the
    /// kernel, the process is about to end.
    pub(crate) async fn finish(self, within: Duration) {
        let State::Open(bus) = self.state else { return };
        let Ok(bus) = Arc::try_unwrap(bus) else {
            tracing::error!("the runtime bus is being mended: it is not closed in order");
            return;
        };
        let (end, ended) = oneshot::channel();
        let seal = self.notary.seal();
        let close = move || {
            if let Some(head) = bus.close() {
                seal.set(&head, clock::wall_ms());
            }
            let _ = end.send(());
        };
        let closing = std::thread::Builder::new().name("bus-close".into()).spawn(close);
        if closing.is_err() || tokio::time::timeout(within, ended).await.is_err() {
            tracing::error!("the runtime bus was not closed in order: the disk does not answer");
        }
    }
}

/// A command that can neither lower nor raise risk.
const fn reads(record: &Record) -> bool {
    matches!(record, Record::OperatorCommand { class: Class::Read, .. })
}

/// Why it cannot be opened, and whether trying again may help.
fn shut(error: &BusError) -> State {
    let why = error.to_string();
    tracing::error!(why, "the runtime bus is not open: nothing may open risk");
    match error {
        BusError::Corrupt { .. }
        | BusError::Key { .. }
        | BusError::Witness { .. }
        | BusError::LossNotAccepted { .. } => State::Refused { why },
        BusError::Io { .. }
        | BusError::Busy { .. }
        | BusError::Latched { .. }
        | BusError::Full
        | BusError::QueueFull { .. }
        | BusError::Slow
        | BusError::Closed
        | BusError::Event(_) => State::Shut { why, early: VecDeque::new() },
    }
}
