//! What becomes of a worker whose supervisor is gone.

use holdfast_core::ids::Role;

/// Exit code of a worker whose supervisor went away.
pub(crate) const ORPHANED: i32 = 75;

/// Deadman acts when the supervisor is gone; the paper venue stands for an exchange that does not die with us, so that
/// deadman has something to act on. Everything else ends at once.
pub(crate) const fn outlives_supervisor(role: Role) -> bool {
    matches!(role, Role::Deadman | Role::Venue)
}

/// Ends this process without unwinding or waiting.
pub(crate) fn end_now() {
    #[expect(clippy::exit, reason = "the one place a worker ends from inside a task: its supervisor is gone")]
    std::process::exit(ORPHANED)
}
