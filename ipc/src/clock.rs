//! The machine's clocks. Nobody else reads them.
//!
//! Deadlines and ages come from [`now`], which counts time the host was asleep. Wall time is for people and for the
//! venue; no deadline of ours is computed from it.

use holdfast_core::time::Tick;
use nix::time::{ClockId, clock_gettime};

#[cfg(target_os = "linux")]
const BOOT: ClockId = ClockId::CLOCK_BOOTTIME;
// On macOS the monotonic clock counts sleep.
#[cfg(not(target_os = "linux"))]
const BOOT: ClockId = ClockId::CLOCK_MONOTONIC;

fn read(clock: ClockId) -> Option<u64> {
    let t = clock_gettime(clock).ok()?;
    let seconds = u64::try_from(t.tv_sec()).ok()?;
    let nanos = u64::try_from(t.tv_nsec()).ok()?;
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// The boot clock, suspended time included.
#[must_use]
pub fn now() -> Tick {
    // A kernel without this clock cannot run Holdfast. The end of time makes every lease look expired: the safe reading.
    Tick(read(BOOT).unwrap_or(u64::MAX))
}

/// Wall-clock milliseconds since the epoch.
#[must_use]
pub fn wall_ms() -> u64 {
    read(ClockId::CLOCK_REALTIME).unwrap_or(0) / 1_000_000
}

/// A wall-clock instant as RFC 3339 with milliseconds, UTC.
#[must_use]
pub fn rfc3339(wall_ms: u64) -> String {
    i64::try_from(wall_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(String::new, |t| format!("{t:.3}"))
}

/// The wall-clock milliseconds at which a boot-clock instant lay or will lie, by both clocks as they are now.
#[must_use]
pub fn wall_of(tick: Tick) -> u64 {
    let (now, wall) = (now(), wall_ms());
    if tick >= now {
        wall.saturating_add(now.until(tick).as_ms())
    } else {
        wall.saturating_sub(now.since(tick).as_ms())
    }
}
