//! Waiting for a condition with a deadline.

use holdfast_core::time::{Span, Tick};
use holdfast_ipc::clock;

/// Gives others a moment between two looks.
pub fn pause(ms: u16) {
    let _ = nix::poll::poll(&mut [], ms);
}

/// Looks until there is something to see; panics with `what` when `within` is over.
pub fn until<T>(what: &str, within: Span, mut look: impl FnMut() -> Option<T>) -> T {
    match attempt(within, &mut look) {
        Some(seen) => seen,
        None => panic!("waited {} ms in vain for {what}", within.as_ms()),
    }
}

/// Looks until there is something to see or `within` is over.
pub fn attempt<T>(within: Span, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = clock::now().after(within);
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if clock::now() >= deadline {
            return None;
        }
        pause(15);
    }
}

/// Asserts that something stays true for a while.
pub fn throughout(what: &str, span: Span, mut holds: impl FnMut() -> bool) {
    let end = clock::now().after(span);
    while clock::now() < end {
        assert!(holds(), "{what} did not hold");
        pause(25);
    }
}

/// Seconds as a span.
#[must_use]
pub const fn s(seconds: u64) -> Span {
    Span::from_ms(seconds * 1000)
}

/// Milliseconds as a span.
#[must_use]
pub const fn ms(ms: u64) -> Span {
    Span::from_ms(ms)
}

/// The boot clock.
#[must_use]
pub fn now() -> Tick {
    clock::now()
}
