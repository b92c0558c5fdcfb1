//! The two clocks of the venue, read in this one file: boot time for spans, wall time for records.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since the host booted, suspended time included.
#[must_use]
pub(crate) fn boot_ns() -> u64 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let id = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let id = ClockId::CLOCK_MONOTONIC;
    clock_gettime(id).map_or(0, |t| {
        let secs = u64::try_from(t.tv_sec()).unwrap_or(0);
        secs.saturating_mul(1_000_000_000).saturating_add(u64::try_from(t.tv_nsec()).unwrap_or(0))
    })
}

/// Milliseconds since the epoch, for records and for the venue's own time stamps.
#[must_use]
pub(crate) fn wall_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}
