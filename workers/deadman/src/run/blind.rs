//! A job whose reads do not answer: what is known from the last read is cancelled all the same, and the venue's own switch
//! is set as near as it goes, for the orders that nobody here knows of.
//!
//! * Only cancels: they can raise no risk, however old the read is. Closing rests on a fresh read, always.
//! * It runs beside the ladder, which goes on trying to read and proves what was reached.

use super::{Deadman, Later};
use crate::ladder::{Market, Said, pace};
use holdfast_core::time::{Span, Tick};
use holdfast_venue_reduce::outcome::Outcome;
use std::collections::BTreeSet;
use std::rc::Rc;

/// A read that has not come this long after the job began is not waited for.
const BLIND_AFTER: Span = Span::from_ms(1500);
/// Pause between two attempts while nothing can be read.
const AGAIN: Span = Span::from_ms(10_000);
/// The venue takes no instant nearer than five seconds.
const SWITCH_AHEAD: Span = Span::from_ms(6000);

/// How long a job has seen nothing.
#[derive(Default)]
pub(super) struct Blind {
    /// When to cancel unread, or again; `None` while reads come.
    pub(super) due: Option<Tick>,
    /// The switch was set near in this spell of blindness: a renewal would put it off.
    switched: bool,
    /// What is out.
    pub(super) shot: Option<Later<Shot>>,
}

/// The venue's answers.
pub(super) struct Shot {
    said: Vec<Said>,
    armed: Option<(Tick, u64, Outcome)>,
}

impl Blind {
    /// Nothing is read from here on, unless a read comes.
    pub(super) fn unread(&mut self, now: Tick) {
        self.due.get_or_insert(now.after(BLIND_AFTER));
    }

    /// The account was read.
    pub(super) const fn seen(&mut self) {
        self.due = None;
        self.switched = false;
    }

    /// Whether the switch is to fire.
    pub(super) const fn acted(&self) -> bool {
        self.switched
    }
}

impl Deadman {
    /// Acts when it is time to.
    pub(super) fn cancel_blindly(&mut self, now: Tick) {
        if self.unproven().is_none() {
            self.blind.seen();
            return;
        }
        if self.blind.due.is_none_or(|due| now < due) || self.blind.shot.is_some() {
            return;
        }
        // A renewal that is out would put the switch off: it is set after that one.
        let switch = !self.blind.switched && self.arming.is_none();
        self.blind.switched |= switch;
        self.blind.due = Some(now.after(if self.blind.switched { AGAIN } else { BLIND_AFTER }));
        let mut orders = BTreeSet::new();
        for order in &self.known {
            orders.insert((Market { dex: order.dex.clone(), coin: order.coin.clone() }, order.oid));
        }
        for (dex, order) in self.desk.account().iter().flat_map(|account| account.open_orders()) {
            let market = Market { dex: dex.as_str().to_owned(), coin: order.coin.clone() };
            orders.insert((market, order.oid.0));
        }
        tracing::error!(known = orders.len(), "the venue does not answer reads: cancelling what the last read showed");
        let desk = Rc::clone(&self.desk);
        let orders: Vec<_> = orders.into_iter().collect();
        self.blind.shot = Some(Box::pin(async move {
            let arm = async { if switch { Some(desk.arm_unread(SWITCH_AHEAD).await) } else { None } };
            let (said, armed) = futures_util::future::join(desk.cancel_unread(orders, pace::VALID), arm).await;
            Shot { said, armed: armed.map(|(fires, outcome)| (now, fires, outcome)) }
        }));
    }

    /// What came of it.
    pub(super) fn shot(&mut self, now: Tick, shot: Shot) {
        tracing::warn!(said = ?shot.said, switch = ?shot.armed, "cancelled without a read");
        if let Some((sent, fires, outcome)) = shot.armed {
            self.switch.answered(now, sent, fires, &outcome);
            self.switch.no_longer_than(sent.after(SWITCH_AHEAD));
            self.report_switch(now, true);
        }
    }
}
