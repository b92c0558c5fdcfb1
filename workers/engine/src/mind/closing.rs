//! A close from its first wish to the venue showing the position gone: when it is tried, and when again.

use super::{Draft, Mind};
use crate::strategy::Why;
use holdfast_core::money::{Px, Szi};
use holdfast_core::time::{Span, Tick};

/// Pause after the first failed close; each further one doubles it.
const CLOSE_RETRY_FIRST: Span = Span::from_ms(250);
/// Longest pause between attempts to close.
pub(super) const CLOSE_RETRY_MAX: Span = Span::from_ms(4000);
/// Pause after the venue said that our requests are spent: it grants one action every ten seconds.
const THROTTLED_RETRY: Span = Span::from_ms(11_500);
/// A close under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Why.
    pub why: Why,
    /// Attempts made so far.
    pub attempt: u32,
    /// Not before.
    pub due: Tick,
    /// Whether the cockpit was told.
    pub draft: Option<Draft>,
    /// Attempts in a row that moved nothing.
    pub fruitless: u32,
}

/// How an attempt to close ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseEnd {
    /// The venue shows no position.
    Flat,
    /// Part or nothing was executed, or it is not known.
    Again,
    /// The venue counts our requests as spent.
    Throttled,
}

impl Mind {
    pub(super) fn begin_close(&mut self, why: Why, px: Px, now: Tick) {
        if self.closing.is_some() {
            return;
        }
        let (bar, signal_bps) = self.last.as_ref().map_or((self.bar_count, 0), |d| (d.bar, d.signal_bps));
        let is_buy = self.position().map(Szi::is_short);
        let draft = Draft { bar, close: px, signal_bps, is_buy, detail: why.as_str().to_owned() };
        self.closing = Some(Closing { why, attempt: 0, due: now, draft: Some(draft), fruitless: 0 });
    }

    /// The close to try now, if one is due.
    pub fn close_due(&mut self, now: Tick) -> Option<Closing> {
        let closing = self.closing.as_mut().filter(|c| now >= c.due)?;
        let due = closing.clone();
        closing.attempt = closing.attempt.saturating_add(1);
        closing.draft = None;
        Some(due)
    }

    /// How that attempt ended, and whether it moved anything. It is tried again, wider, until the venue shows the
    /// position gone.
    pub fn on_close_end(&mut self, end: CloseEnd, moved: bool, now: Tick) {
        let Some(closing) = self.closing.as_mut() else { return };
        closing.fruitless = if moved { 0 } else { closing.fruitless.saturating_add(1) };
        let pause = match end {
            CloseEnd::Flat => {
                self.closing = None;
                self.since_bar = None;
                return;
            }
            CloseEnd::Throttled => THROTTLED_RETRY,
            CloseEnd::Again => {
                let doubled = CLOSE_RETRY_FIRST.0.saturating_mul(1 << closing.attempt.min(6));
                Span(doubled).min(CLOSE_RETRY_MAX)
            }
        };
        closing.due = now.after(pause);
    }
}
