//! Every bound and interval, each with its reason, and the relations between them asserted at compile time.
//!
//! The table in `ops/ARCHITECTURE.md` quotes these numbers.

use crate::time::Span;

/// How often the supervisor steps and each worker beats.
pub const TICK: Span = Span::from_ms(250);
/// Length of the open permit, renewed at each tick while all is well.
pub const PERMIT_LEASE: Span = Span::from_ms(1000);
/// A beat this late restricts at once: restricting is cheap and reversible.
pub const BEAT_LATE: Span = Span::from_ms(750);
/// A worker silent this long (own lag subtracted) is hung and killed.
pub const WORKER_HUNG: Span = Span::from_ms(2000);
/// A beating worker whose progress counter stands still this long is degraded.
pub const PROGRESS_LATE: Span = Span::from_ms(5000);
/// ... and this long is hung: a live thread in a wedged worker does not count.
pub const PROGRESS_HUNG: Span = Span::from_ms(15_000);
/// From spawn to the first good beat; slower is a failed start.
pub const START_DEADLINE: Span = Span::from_ms(10_000);
/// From spawn to the first hello.
pub const HELLO_DEADLINE: Span = Span::from_ms(5000);
/// A restarted worker must run this long before Active is possible again.
pub const PROBATION: Span = Span::from_ms(10_000);
/// Supervisor gone this long and no successor: deadman acts.
pub const DEADMAN_GRACE: Span = Span::from_ms(5000);
/// How often deadman renews the venue's own dead-man switch, and how far ahead it sets it.
pub const VENUE_DEADMAN_RENEW: Span = Span::from_ms(5000);
/// See [`VENUE_DEADMAN_RENEW`].
pub const VENUE_DEADMAN_AHEAD: Span = Span::from_ms(30_000);
/// A status snapshot older than this is not served.
pub const STATUS_MAX_AGE: Span = Span::from_ms(2000);
/// A gap in the supervisor's own steps longer than this means host sleep or stall: reconcile before opening.
pub const OWN_GAP: Span = Span::from_ms(1500);
/// Market data older than this is stale.
pub const MARKET_MAX_AGE: Span = Span::from_ms(3000);
/// An account reading older than this leaves exposure unknown.
pub const ACCOUNT_MAX_AGE: Span = Span::from_ms(5000);
/// The engine reports its journal every second; a report older than this counts as an unhealthy journal.
pub const JOURNAL_MAX_AGE: Span = Span::from_ms(3000);
/// How long a broken link keeps new risk blocked after it was mended.
pub const IPC_CLEAN: Span = Span::from_ms(10_000);
/// First restart after the immediate one waits this long; each further one doubles.
pub const BACKOFF_FIRST: Span = Span::from_ms(250);
/// Longest wait between restarts.
pub const BACKOFF_MAX: Span = Span::from_ms(30_000);
/// A worker that stayed ready this long starts its backoff afresh.
pub const BACKOFF_FORGET: Span = Span::from_ms(60_000);
/// At most this many deaths ...
pub const RESTARTS_MAX: u32 = 10;
/// ... within this window, then the worker is failed. Deadman is exempt: it is never given up on.
pub const RESTARTS_WINDOW: Span = Span::from_ms(300_000);
/// A worker asked to stop has this long before SIGKILL.
pub const STOP_GRACE: Span = Span::from_ms(2000);
/// Emergency reduce-only lasts this long after the last request.
pub const EMERGENCY_COOLDOWN: Span = Span::from_ms(300_000);
/// A killed engine whose end the kernel does not report is waited for this long; then deadman begins all the same.
pub const FENCE_PATIENCE: Span = Span::from_ms(2000);
/// A stop waits this long for a reduce job that is under way, before it takes deadman down with the job unfinished.
pub const STOP_JOB_PATIENCE: Span = Span::from_ms(8000);
/// After a proof of flat deadman is left in peace this long, so that it sees a fill that arrives late.
pub const STOP_VIGIL: Span = Span::from_ms(2000);
/// A kill job whose worker says nothing for this long is handed out again.
pub const JOB_SILENCE: Span = Span::from_ms(10_000);
/// Pause between a NOT FLAT verdict and the next attempt.
pub const JOB_RETRY: Span = Span::from_ms(3000);

/// Largest frame on any of our sockets, in bytes.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Frames waiting for one peer; a slower reader is dropped, never waited for.
pub const PEER_QUEUE_MAX: usize = 64;
/// Connections served at once on the control door.
pub const CONTROL_CLIENTS_MAX: usize = 16;
/// Connections served at once on the status door.
pub const STATUS_CLIENTS_MAX: usize = 8;
/// Orders of the last reading that a reduce job is handed out with: they fit into one frame.
pub const KNOWN_ORDERS_MAX: usize = 200;
/// With less than this free on the home's disk, in MiB, nothing opens and a first start is refused: room for the
/// preallocated cells, the journal and a day's logs.
pub const DISK_FREE_MIB: u64 = 16;
/// A disk that was short counts as roomy again from here: at the edge the mode must not flap with every line written.
pub const DISK_ROOMY_MIB: u64 = 20;
/// Longest home path that leaves room for the socket names (108 bytes on Linux, 104 on macOS).
pub const HOME_PATH_BYTES_MAX: usize = 80;
/// Of the words of a kill so many characters are kept: with every one of them escaped they still fit a slot.
pub const KILL_REASON_CHARS_MAX: usize = 500;
/// One slot of a two-slot durable cell, in bytes.
pub const SLOT_BYTES: usize = 8192;
/// Writes waiting for the ledger's one writer; a full queue is told to the caller, never waited for.
pub const LEDGER_QUEUE_MAX: usize = 256;
/// Records of one ledger transaction.
pub const LEDGER_BATCH_MAX: usize = 256;
/// Largest ledger row, in bytes.
pub const LEDGER_ROW_MAX: usize = 256 * 1024;

const _: () = assert!(PERMIT_LEASE.0 > 2 * TICK.0 + TICK.0 / 2, "a lease outlives two ticks and a scheduling slip");
const _: () = assert!(BEAT_LATE.0 > 2 * TICK.0, "one lost beat does not restrict");
const _: () = assert!(BEAT_LATE.0 < PERMIT_LEASE.0, "lateness is seen before the lease would lapse by itself");
const _: () = assert!(WORKER_HUNG.0 > 2 * BEAT_LATE.0, "degrade early, kill late");
const _: () =
    assert!(WORKER_HUNG.0 + STOP_GRACE.0 <= 4_000_000_000, "a stopped worker is replaced within four seconds");
const _: () =
    assert!(FENCE_PATIENCE.0 > PERMIT_LEASE.0, "what a killed engine had sent has expired before it is not waited for");
const _: () =
    assert!(STOP_VIGIL.0 > PERMIT_LEASE.0, "an order on the wire has arrived or expired before deadman leaves");
const _: () = assert!(
    STOP_JOB_PATIENCE.0 + 5 * STOP_GRACE.0 < 20_000_000_000,
    "an orderly stop with a job under way ends within the patience of the command line"
);
const _: () = assert!(PROGRESS_HUNG.0 > 2 * PROGRESS_LATE.0, "degrade early, kill late, for progress too");
const _: () = assert!(DEADMAN_GRACE.0 > 2 * WORKER_HUNG.0, "a replaced supervisor gets there before deadman acts");
const _: () =
    assert!(VENUE_DEADMAN_AHEAD.0 >= 5 * VENUE_DEADMAN_RENEW.0, "five renewals may fail before the switch fires");
const _: () = assert!(VENUE_DEADMAN_RENEW.0 >= 5_000_000_000, "the venue wants at least five seconds ahead");
const _: () = assert!(STATUS_MAX_AGE.0 > 4 * TICK.0, "a served status may miss a few ticks, not a stall");
const _: () =
    assert!(OWN_GAP.0 > 4 * TICK.0 && OWN_GAP.0 < WORKER_HUNG.0, "a stall is noticed before others are blamed for it");
const _: () = assert!(HELLO_DEADLINE.0 < START_DEADLINE.0, "hello comes before ready");
const _: () =
    assert!(BACKOFF_FIRST.0 < BACKOFF_MAX.0 && BACKOFF_MAX.0 < BACKOFF_FORGET.0, "backoff grows, then forgets");
const _: () = assert!(SLOT_BYTES >= 4096 && SLOT_BYTES.is_multiple_of(4096), "a slot is whole pages");
