//! The kill and flatten ladder, as a pure machine: cancel → read → close → read → wider → resting → post-only.
//!
//! * It only ever asks for cancels and for closes of exactly the position last read; one close per market and batch.
//! * No close is asked for while an earlier one may still be on its way.
//! * Flat is said only after two consecutive complete clean reads, the second newer in venue time, both begun after
//!   everything unanswered had expired. After that it looks twice more for late fills and begins again if it finds any.
//! * Every round is bounded and ends in a verdict; NOT FLAT names what is left and is followed by another round, for ever.

mod event;
pub mod pace;
mod rungs;
#[cfg(test)]
mod tests;

pub use event::{Close, Event, Held, How, Live, Market, Next, Objection, ReadFailed, Reading, Said, Touch, Turn};

use holdfast_core::ids::JobId;
use holdfast_core::limits::JOB_RETRY;
use holdfast_core::report::{JobKind, JobProgress, JobState, Residue};
use holdfast_core::time::{Span, Tick};
use rungs::Rung;
use std::collections::BTreeMap;

/// What is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    Cancelling,
    Closing { sent: Tick },
    Touching,
    Waiting(Tick),
    Done,
}

/// One job on its way to flat.
#[derive(Clone, Debug)]
pub struct Ladder {
    job: JobId,
    kind: JobKind,
    round: u32,
    round_began: Tick,
    phase: Phase,
    /// The action that is out was asked for by an older job: only what it leaves unsettled counts.
    outdated: bool,
    rung: Rung,
    passes: u32,
    alo_polls: u32,
    keep_protective: bool,
    valid: Span,
    unknown_before: bool,
    unsettled_until: Tick,
    doubtful: bool,
    quota_spent: bool,
    first_clean: Option<u64>,
    failures: u32,
    failing_since: Option<Tick>,
    last: Option<Reading>,
    words: Option<String>,
    /// Looks taken after the proof; `None` before it.
    vigil: Option<usize>,
}

impl Ladder {
    /// Begins a job with a fresh read.
    #[must_use]
    pub fn begin(now: Tick, job: JobId, kind: JobKind) -> (Self, Turn) {
        let mut ladder = Self {
            job,
            kind,
            round: 1,
            round_began: now,
            phase: Phase::Done,
            outdated: false,
            rung: Rung::FIRST,
            passes: 0,
            alo_polls: 0,
            keep_protective: true,
            valid: pace::VALID,
            unknown_before: false,
            unsettled_until: Tick(0),
            doubtful: false,
            quota_spent: false,
            first_clean: None,
            failures: 0,
            failing_since: None,
            last: None,
            words: None,
            vigil: None,
        };
        let turn = ladder.renew(now, job, kind);
        (ladder, turn)
    }

    /// A newer job takes over. What may still be on its way stays accounted for; what is known is forgotten.
    pub fn renew(&mut self, now: Tick, job: JobId, kind: JobKind) -> Turn {
        self.job = job;
        self.kind = kind;
        self.round = 1;
        self.vigil = None;
        self.last = None;
        self.words = None;
        self.failing_since = None;
        self.failures = 0;
        self.new_round(now);
        let say = Some(self.progress(JobState::Cancelling, Vec::new(), None, "reading the account".to_owned()));
        match self.phase {
            // A read of the older job is dropped, not waited for: it would prove nothing.
            Phase::Waiting(_) | Phase::Done | Phase::Reading | Phase::Touching => Turn { say, next: self.read() },
            Phase::Cancelling | Phase::Closing { .. } => {
                self.outdated = true;
                Turn { say, next: Next::Await }
            }
        }
    }

    /// Not proven, and the last read gave nothing.
    #[must_use]
    pub const fn blind(&self) -> bool {
        self.failing_since.is_some() && !self.proven()
    }

    /// The job.
    #[must_use]
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// What it is to reach.
    #[must_use]
    pub const fn kind(&self) -> JobKind {
        self.kind
    }

    /// Whether flat has been proven (it may still be looking for late fills).
    #[must_use]
    pub const fn proven(&self) -> bool {
        self.vigil.is_some()
    }

    /// Whether nothing more is to be done.
    #[must_use]
    pub fn done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Whether every request counts: the address quota is spent.
    #[must_use]
    pub const fn quota_spent(&self) -> bool {
        self.quota_spent
    }

    /// Opening is allowed again by a judge that saw the proof: stop looking for late fills, they may be wanted now.
    pub fn release(&mut self) {
        if self.vigil.is_some() && matches!(self.phase, Phase::Waiting(_)) {
            self.phase = Phase::Done;
        }
    }

    /// One step. Never blocks and never fails; an event nobody asked for leads to a read.
    pub fn step(&mut self, now: Tick, event: Event) -> Turn {
        let phase = self.phase;
        let outdated = std::mem::replace(&mut self.outdated, false);
        match (phase, event) {
            (Phase::Done, _) => Turn { say: None, next: Next::Done },
            (Phase::Waiting(until), Event::Timer) if now < until => Turn { say: None, next: Next::Wait(until) },
            (Phase::Waiting(_), Event::Timer) => self.quiet_read(),
            (Phase::Closing { sent }, Event::Closed { said, words }) => self.closed(now, sent, &said, words, outdated),
            (Phase::Cancelling, Event::Cancelled { said, words }) => {
                if outdated {
                    self.doubtful |= said.contains(&Said::Unknown);
                    return self.quiet_read();
                }
                self.cancelled(now, &said, words)
            }
            (Phase::Reading, Event::Read(Ok(reading))) => self.decide(now, reading),
            (Phase::Reading, Event::Read(Err(failed))) => self.unreadable(now, failed),
            (Phase::Touching, Event::Touched(touches)) => self.touched(now, &touches),
            (Phase::Reading | Phase::Cancelling | Phase::Closing { .. } | Phase::Touching, Event::Timer) => {
                self.outdated = outdated;
                Turn { say: None, next: Next::Await }
            }
            (
                Phase::Waiting(_) | Phase::Reading | Phase::Cancelling | Phase::Closing { .. } | Phase::Touching,
                Event::Read(_) | Event::Cancelled { .. } | Event::Closed { .. } | Event::Touched(_),
            ) => self.quiet_read(),
        }
    }

    fn read(&mut self) -> Next {
        self.phase = Phase::Reading;
        Next::Read
    }

    fn quiet_read(&mut self) -> Turn {
        Turn { say: None, next: self.read() }
    }

    fn wait(&mut self, until: Tick) -> Next {
        self.phase = Phase::Waiting(until);
        Next::Wait(until)
    }

    fn new_round(&mut self, began: Tick) {
        self.round_began = began;
        self.rung = Rung::FIRST;
        self.passes = 0;
        self.alo_polls = 0;
        self.first_clean = None;
        self.doubtful = false;
        self.quota_spent = false;
        self.keep_protective = true;
    }

    /// The heart: what a complete fresh read calls for.
    fn decide(&mut self, now: Tick, reading: Reading) -> Turn {
        self.failures = 0;
        self.failing_since = None;
        let positions = self.kind == JobKind::Flatten && !reading.held.is_empty();
        if !positions && reading.live.is_empty() {
            let turn = self.clean(now, &reading);
            self.last = Some(reading);
            return turn;
        }
        self.first_clean = None;
        if self.vigil.take().is_some() {
            self.round = self.round.saturating_add(1);
            self.new_round(now);
            self.words = Some("something appeared after the account was flat".to_owned());
        }
        let cancels = self.to_cancel(&reading);
        self.last = Some(reading);
        if (positions && self.rung == Rung::End) || now.since(self.round_began) > pace::ROUND_MAX {
            return self.not_flat(now);
        }
        if !cancels.is_empty() && self.passes < pace::PASSES_MAX {
            self.passes = self.passes.saturating_add(1);
            self.phase = Phase::Cancelling;
            let say = Some(self.on_the_way(JobState::Cancelling, format!("cancelling {} orders", cancels.len())));
            return Turn { say, next: Next::Cancel { orders: cancels, valid: self.valid } };
        }
        if !positions {
            return self.not_flat(now);
        }
        if now < self.unsettled_until {
            let until = self.unsettled_until;
            let say = Some(self.on_the_way(JobState::Closing, "waiting for an unanswered close to expire".to_owned()));
            return Turn { say, next: self.wait(until) };
        }
        self.climb(now)
    }

    fn clean(&mut self, now: Tick, reading: &Reading) -> Turn {
        if reading.sent < self.unsettled_until {
            // What is still on its way might yet execute: this read proves nothing.
            let until = self.unsettled_until.max(now);
            return Turn { say: None, next: self.wait(until) };
        }
        if let Some(looks) = self.vigil {
            return match pace::VIGIL.get(looks) {
                Some(pause) => {
                    self.vigil = Some(looks.saturating_add(1));
                    Turn { say: None, next: self.wait(now.after(*pause)) }
                }
                None => {
                    self.phase = Phase::Done;
                    Turn { say: None, next: Next::Done }
                }
            };
        }
        match self.first_clean {
            None => {
                self.first_clean = Some(reading.venue_ms);
                let next = if self.doubtful { self.wait(now.after(pace::LOOK_LONG)) } else { self.read() };
                Turn { say: None, next }
            }
            Some(first) if reading.venue_ms > first => {
                let detail = match self.kind {
                    JobKind::Flatten => "flat: two fresh reads of every dex show no position and no order".to_owned(),
                    JobKind::CancelAll => {
                        format!("no orders left on any dex; {} positions untouched", reading.held.len())
                    }
                };
                let proof = Some(reading.venue_ms);
                let say = Some(self.progress(JobState::Flat, Vec::new(), proof, detail));
                self.vigil = Some(1);
                let pause = pace::VIGIL.first().copied().unwrap_or(pace::LOOK_LONG);
                Turn { say, next: self.wait(now.after(pause)) }
            }
            Some(_) if now.since(self.round_began) > pace::ROUND_MAX => {
                self.words = Some("the venue's clock stands still: its reads prove nothing".to_owned());
                self.not_flat(now)
            }
            Some(_) => Turn { say: None, next: self.wait(now.after(pace::LOOK_SHORT)) },
        }
    }

    fn unreadable(&mut self, now: Tick, failed: ReadFailed) -> Turn {
        self.first_clean = None;
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        let doublings = self.failures.saturating_sub(1).min(10);
        let (first, longest, words) = match failed {
            ReadFailed::Throttled => (pace::THROTTLED, pace::QUOTA_SPACING, "the venue throttles us".to_owned()),
            ReadFailed::Other(words) => (pace::READ_RETRY, pace::READ_RETRY_MAX, words),
        };
        let pause = Span(first.0.saturating_mul(1 << doublings).min(longest.0));
        if self.vigil.is_none() && now.since(since) >= pace::UNREADABLE {
            // Nothing is known: an old residue would claim knowledge.
            self.last = None;
            self.failing_since = Some(now);
            let detail = format!("NOT FLAT: the venue cannot be read: {words}");
            let say = Some(self.progress(JobState::NotFlat, Vec::new(), None, detail));
            self.round = self.round.saturating_add(1);
            self.new_round(now);
            return Turn { say, next: self.wait(now.after(pause)) };
        }
        self.words = Some(words);
        Turn { say: None, next: self.wait(now.after(pause)) }
    }

    fn cancelled(&mut self, now: Tick, said: &[Said], words: Option<String>) -> Turn {
        self.note(words);
        self.doubtful |= said.contains(&Said::Unknown);
        if self.quota(said) {
            return self.spaced(now);
        }
        if said.contains(&Said::Refused(Objection::Expired)) {
            self.lengthen();
        }
        if !said.is_empty() && said.iter().all(|one| *one != Said::Accepted) {
            // A venue that takes no cancel is given a moment; one that does is read at once.
            return Turn { say: None, next: self.wait(now.after(pace::ODD_REFUSAL)) };
        }
        self.quiet_read()
    }

    fn quota(&mut self, said: &[Said]) -> bool {
        self.quota_spent = said.contains(&Said::Refused(Objection::Quota));
        self.quota_spent
    }

    fn spaced(&mut self, now: Tick) -> Turn {
        let state = match self.kind {
            JobKind::Flatten => JobState::Closing,
            JobKind::CancelAll => JobState::Cancelling,
        };
        let say = Some(self.on_the_way(state, "request quota spent: one action per 11 s".to_owned()));
        // A round is measured in attempts the venue looked at.
        self.round_began = now;
        Turn { say, next: self.wait(now.after(pace::QUOTA_SPACING)) }
    }

    fn lengthen(&mut self) {
        self.valid = Span(self.valid.0.saturating_mul(2).min(pace::VALID_MAX.0));
    }

    fn note(&mut self, words: Option<String>) {
        if words.is_some() {
            self.words = words;
        }
    }

    /// Ends the round loudly and schedules the next.
    fn not_flat(&mut self, now: Tick) -> Turn {
        let residue = self.residue();
        let why = self.words.take().map_or_else(String::new, |words| format!(" ({words})"));
        let detail = match self.kind {
            JobKind::Flatten => format!("NOT FLAT: something is open on {} markets{why}; trying on", residue.len()),
            JobKind::CancelAll => format!("NOT CANCELLED: orders stand on {} markets{why}; trying on", residue.len()),
        };
        let say = Some(self.progress(JobState::NotFlat, residue, None, detail));
        self.round = self.round.saturating_add(1);
        let again = now.after(JOB_RETRY);
        self.new_round(again);
        Turn { say, next: self.wait(again) }
    }

    fn on_the_way(&self, state: JobState, detail: String) -> JobProgress {
        self.progress(state, self.residue(), None, detail)
    }

    fn progress(
        &self,
        state: JobState,
        residue: Vec<Residue>,
        proof_venue_ms: Option<u64>,
        detail: String,
    ) -> JobProgress {
        JobProgress { job: self.job, state, round: self.round, residue, proof_venue_ms, detail }
    }

    fn residue(&self) -> Vec<Residue> {
        let Some(reading) = &self.last else { return Vec::new() };
        let mut left: BTreeMap<&Market, Residue> = BTreeMap::new();
        let empty = |market: &Market| Residue {
            dex: market.dex.clone(),
            coin: market.coin.clone(),
            size: holdfast_core::money::Szi::FLAT,
            orders: 0,
        };
        if self.kind == JobKind::Flatten {
            for held in &reading.held {
                left.entry(&held.market).or_insert_with(|| empty(&held.market)).size = held.size;
            }
        }
        for live in &reading.live {
            let entry = left.entry(&live.market).or_insert_with(|| empty(&live.market));
            entry.orders = entry.orders.saturating_add(1);
        }
        left.into_values().collect()
    }
}
