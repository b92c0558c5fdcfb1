//! The numbers of the ladder, each with its reason.

use holdfast_core::time::Span;

/// Bounds of the immediate rungs, hundredths of a percent through the mark. The last one also bounds the resting rung.
pub const BOUNDS_BPS: [u32; 3] = [100, 300, 800];
/// How long the venue may accept one of our actions; doubled when it arrives late.
pub const VALID: Span = Span::from_ms(2500);
/// Longest validity.
pub const VALID_MAX: Span = Span::from_ms(10_000);
/// Added to an expiry before an unanswered action counts as settled: the two clocks are compared over a network.
pub const SETTLE_SLACK: Span = Span::from_ms(250);
/// Pause between the two clean reads when something was answered unclearly.
pub const LOOK_LONG: Span = Span::from_ms(300);
/// Pause when the second read shows the same venue millisecond as the first.
pub const LOOK_SHORT: Span = Span::from_ms(1);
/// After the proof: when to look again for late fills. The last look lies beyond the longest open permit, so an order
/// that was on the wire when its sender was ended has arrived or expired by then.
pub const VIGIL: [Span; 2] = [Span::from_ms(300), Span::from_ms(1200)];
/// How long a resting close may wait before the round ends.
pub const GTC_PATIENCE: Span = Span::from_ms(1000);
/// How often the touch is followed while only post-only orders are taken.
pub const ALO_POLL: Span = Span::from_ms(1500);
/// Polls of the touch in one round.
pub const ALO_POLLS_MAX: u32 = 5;
/// Cancel passes between two closes: somebody may place orders as fast as we cancel them.
pub const PASSES_MAX: u32 = 4;
/// A round that takes longer than this ends in a verdict.
pub const ROUND_MAX: Span = Span::from_ms(30_000);
/// First pause after a failed read; doubles.
pub const READ_RETRY: Span = Span::from_ms(100);
/// Longest pause after a failed read.
pub const READ_RETRY_MAX: Span = Span::from_ms(1000);
/// First pause when the venue throttles reads; doubles.
pub const THROTTLED: Span = Span::from_ms(1100);
/// Spacing of actions while the address quota is spent: the venue takes one per ten seconds.
pub const QUOTA_SPACING: Span = Span::from_ms(11_500);
/// Unreadable this long is a verdict: NOT FLAT, nothing known.
pub const UNREADABLE: Span = Span::from_ms(8000);
/// Pause after a refusal that no rung explains.
pub const ODD_REFUSAL: Span = Span::from_ms(250);
/// From this many open orders on protective ones go too: at 1000 the venue refuses new reduce-only orders.
pub const ORDERS_CROWDED: usize = 900;

const _: () = assert!(VALID.0 < VALID_MAX.0, "validity grows");
const _: () = assert!(READ_RETRY.0 < READ_RETRY_MAX.0 && READ_RETRY_MAX.0 < UNREADABLE.0, "several tries per verdict");
const _: () = assert!(QUOTA_SPACING.0 > 11_000_000_000, "more than eleven seconds while the quota is spent");
const _: () =
    assert!(VIGIL[0].0 + VIGIL[1].0 > holdfast_core::limits::PERMIT_LEASE.0, "the vigil outlasts an open permit");
