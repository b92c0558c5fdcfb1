//! The last document the supervisor pushed, and whether it may still be shown. No mode is computed here.

use holdfast_core::limits::STATUS_MAX_AGE;
use holdfast_core::registry::{LatchReason, ModeReason, TradingMode};
use holdfast_core::status::StatusDoc;
use holdfast_core::time::Tick;
use serde::Serialize;

/// Largest document served, in bytes (the contract's bound).
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A pushed document.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The document.
    pub(crate) doc: StatusDoc,
}

impl Snapshot {
    /// Whether it may be shown at `now`. One from the future is as wrong as an old one: it would never grow old.
    pub(crate) fn is_fresh(&self, now: Tick) -> bool {
        let made = Tick(self.doc.generated_boot_ns);
        made <= now && now.since(made) <= STATUS_MAX_AGE
    }

    /// The document as served; absent when it is over the contract's size.
    pub(crate) fn body(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(&self.doc).ok().filter(|body| body.len() <= BODY_BYTES_MAX)
    }

    /// The document and its reasons in words, as the event stream carries it.
    pub(crate) fn event(&self) -> Option<String> {
        let event = StatusEvent { doc: &self.doc, why: why(&self.doc) };
        serde_json::to_string(&event).ok().filter(|body| body.len() <= 2 * BODY_BYTES_MAX)
    }
}

#[derive(Serialize)]
struct StatusEvent<'a> {
    doc: &'a StatusDoc,
    why: Vec<Why>,
}

/// A reason for people.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Why {
    code: &'static str,
    text: &'static str,
}

fn latch_words(code: LatchReason) -> Why {
    Why { code: code.as_str(), text: code.display_text() }
}

/// The active codes of the owner's view: the latch's own codes stand where the mode only says "latched", and come
/// last in Kill (status contract, section 12).
pub(crate) fn why(doc: &StatusDoc) -> Vec<Why> {
    let mut words = Vec::new();
    let latches = &doc.open_permission_reason_codes;
    for reason in &doc.mode_reasons {
        if *reason == ModeReason::ReduceonlyOpenPermissionLatched && !latches.is_empty() {
            words.extend(latches.iter().copied().map(latch_words));
        } else {
            words.push(Why { code: reason.as_str(), text: reason.display_text() });
        }
    }
    if doc.trading_mode == TradingMode::Kill {
        words.extend(latches.iter().copied().map(latch_words));
    }
    words
}
