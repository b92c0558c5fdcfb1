//! The rungs: which close comes next, which orders are in the way, and how the touch is followed.

use super::{Close, Held, How, Ladder, Live, Next, Objection, Phase, Reading, Said, Touch, Turn, pace};
use holdfast_core::money::Px;
use holdfast_core::report::{JobKind, JobState};
use holdfast_core::time::Tick;

/// How the next close is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    /// Immediate, with the bound at this place of [`pace::BOUNDS_BPS`].
    Ioc(usize),
    /// Resting across the book.
    Gtc,
    /// Post-only at the touch.
    Alo,
    /// Every rung was tried.
    End,
}

impl Rung {
    pub(super) const FIRST: Self = Self::Ioc(0);

    const fn next(self) -> Self {
        match self {
            Self::Ioc(place) if place + 1 < pace::BOUNDS_BPS.len() => Self::Ioc(place + 1),
            Self::Ioc(_) => Self::Gtc,
            Self::Gtc | Self::End => Self::End,
            Self::Alo => Self::Alo,
        }
    }
}

/// Whether an order can only shrink this position and is on the book.
fn closes(live: &Live, held: &Held) -> bool {
    live.reduce_only && live.market == held.market && live.is_buy == held.size.is_short()
}

impl Ladder {
    /// Orders that must go before the next rung. Protective triggers stay while their position stands, unless there are
    /// so many orders that the venue would refuse a close; resting closes of ours stay while only post-only is taken.
    pub(super) fn to_cancel(&self, reading: &Reading) -> Vec<Live> {
        let crowded = reading.live.len() >= pace::ORDERS_CROWDED;
        let stays = |live: &Live| {
            let shrinks = self.kind == JobKind::Flatten && reading.held.iter().any(|held| closes(live, held));
            let protects = live.trigger && self.keep_protective && !crowded;
            let working = !live.trigger && self.rung == Rung::Alo;
            shrinks && (protects || working)
        };
        reading.live.iter().filter(|live| !stays(live)).cloned().collect()
    }

    /// Sends what the present rung calls for.
    pub(super) fn climb(&mut self, now: Tick) -> Turn {
        let held = self.last.as_ref().map(|reading| reading.held.clone()).unwrap_or_default();
        let last_bound = pace::BOUNDS_BPS.last().copied().unwrap_or(0);
        let how = match self.rung {
            Rung::Ioc(place) => How::Ioc { bps: pace::BOUNDS_BPS.get(place).copied().unwrap_or(last_bound) },
            Rung::Gtc => How::Gtc { bps: last_bound },
            Rung::Alo => {
                self.phase = Phase::Touching;
                let markets = held.into_iter().map(|held| held.market).collect();
                let say =
                    Some(self.on_the_way(JobState::Closing, "following the touch with post-only closes".to_owned()));
                return Turn { say, next: Next::Touch(markets) };
            }
            Rung::End => return self.not_flat(now),
        };
        let orders = held.into_iter().map(|held| Close { market: held.market, position: held.size, how }).collect();
        self.close(now, orders)
    }

    fn close(&mut self, now: Tick, orders: Vec<Close>) -> Turn {
        self.phase = Phase::Closing { sent: now };
        self.passes = 0;
        let say = Some(self.on_the_way(JobState::Closing, format!("closing {} positions", orders.len())));
        Turn { say, next: Next::Close { orders, valid: self.valid } }
    }

    /// A batch of closes was answered.
    pub(super) fn closed(
        &mut self,
        now: Tick,
        sent: Tick,
        said: &[Said],
        words: Option<String>,
        outdated: bool,
    ) -> Turn {
        self.note(words);
        let any = |objection| said.contains(&Said::Refused(objection));
        let unknown = said.contains(&Said::Unknown);
        if unknown {
            self.doubtful = true;
            self.unsettled_until = self.unsettled_until.max(sent.after(self.valid).after(pace::SETTLE_SLACK));
        }
        if any(Objection::Expired) || (unknown && self.unknown_before) {
            self.lengthen();
        }
        self.unknown_before = unknown;
        if any(Objection::InTheWay) {
            self.keep_protective = false;
        }
        if outdated {
            return self.quiet_read();
        }
        if self.quota(said) {
            return self.spaced(now);
        }
        let rung = self.rung;
        self.rung = match rung {
            Rung::Ioc(_) | Rung::Gtc if any(Objection::PostOnly) => Rung::Alo,
            // Nobody looked at the bound: it is not the bound that must change.
            Rung::Ioc(_) | Rung::Gtc | Rung::Alo if any(Objection::Expired) => rung,
            Rung::Ioc(_) | Rung::Gtc | Rung::Alo | Rung::End => rung.next(),
        };
        if any(Objection::Other) {
            return Turn { say: None, next: self.wait(now.after(pace::ODD_REFUSAL)) };
        }
        match (rung, self.rung) {
            (Rung::Gtc, Rung::End) => Turn { say: None, next: self.wait(now.after(pace::GTC_PATIENCE)) },
            (Rung::Alo, _) => self.poll_later(now),
            (Rung::Ioc(_) | Rung::Gtc | Rung::End, _) => self.quiet_read(),
        }
    }

    fn poll_later(&mut self, now: Tick) -> Turn {
        self.alo_polls = self.alo_polls.saturating_add(1);
        if self.alo_polls >= pace::ALO_POLLS_MAX {
            // The next read ends the round, unless it is clean; what rests goes on working meanwhile.
            self.rung = Rung::End;
        }
        Turn { say: None, next: self.wait(now.after(pace::ALO_POLL)) }
    }

    /// The best prices are known: pull closes the touch left behind, place those that are missing.
    pub(super) fn touched(&mut self, now: Tick, touches: &[Touch]) -> Turn {
        let Some(reading) = self.last.clone() else { return self.quiet_read() };
        let touch_of = |held: &Held| -> Option<Px> {
            let touch = touches.iter().find(|touch| touch.market == held.market)?;
            if held.size.is_long() { touch.ask } else { touch.bid }
        };
        let mut behind = Vec::new();
        let mut missing = Vec::new();
        for held in &reading.held {
            let Some(px) = touch_of(held) else { continue };
            let mut working = reading.live.iter().filter(|live| !live.trigger && closes(live, held)).peekable();
            if working.peek().is_none() {
                missing.push(Close { market: held.market.clone(), position: held.size, how: How::Alo { px } });
            }
            behind.extend(working.filter(|live| live.px != Some(px)).cloned());
        }
        if !behind.is_empty() && self.passes < pace::PASSES_MAX {
            self.passes = self.passes.saturating_add(1);
            self.phase = Phase::Cancelling;
            return Turn { say: None, next: Next::Cancel { orders: behind, valid: self.valid } };
        }
        if missing.is_empty() {
            return self.poll_later(now);
        }
        self.close(now, missing)
    }
}
