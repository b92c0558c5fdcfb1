//! What this process took on, in `data/deadman.cell`, so that whoever comes after it goes on with it.
//!
//! * A job is on the disk before its first order leaves, and taken back when it is proven.
//! * A kill or flatten that no supervisor ordered is owed to the supervisor's latches until it certainly holds them.
//! * A disk that does not take the record delays a job once, by [`PATIENCE`]; nothing more.
//! * That it does not is never silent: [`Ledger::trouble`] goes to the supervisor and to whoever asks at the door.

use holdfast_core::duty::Duty;
use holdfast_core::registry::TradingMode;
use holdfast_core::report::JobKind;
use holdfast_core::time::Tick;
use holdfast_ipc::bootstrap::Home;
use holdfast_store::{Cell, CellError, Keeper, Written};
use std::time::Duration;
use tokio::sync::watch;

/// Longest wait for the disk before the first order of a job leaves all the same.
const PATIENCE: Duration = Duration::from_millis(250);

/// A write that something waits for.
#[derive(Debug)]
pub(crate) struct Awaited {
    seq: u64,
    written: watch::Receiver<Written>,
}

impl Awaited {
    /// Returns once it was dealt with, or when waiting longer would hold up the job.
    pub(crate) async fn settled(mut self) {
        let dealt_with = self.written.wait_for(|written| written.seq >= self.seq);
        if tokio::time::timeout(PATIENCE, dealt_with).await.is_err() {
            tracing::error!("the disk does not take what was begun: going on; a successor may not know of it");
        }
    }
}

/// The record and where it is kept.
#[derive(Debug)]
pub(crate) struct Ledger {
    duty: Duty,
    keeper: Result<Keeper<Duty>, String>,
    /// Everything up to here was waited for.
    awaited: u64,
    /// A latch is owed of which the supervisor was not told yet.
    untold: bool,
    /// The supervisor has ordered a job since it was told.
    answered: bool,
}

impl Ledger {
    /// Opens the record that the former process of this role left to this one. Without a usable file it goes on in memory.
    pub(crate) fn open(home: &Home) -> Self {
        let opened = Cell::<Duty>::open(&home.deadman_cell());
        let kept = opened.and_then(|(cell, duty)| {
            let start = |source| CellError::Io { path: home.deadman_cell(), what: "start the writer of it", source };
            Ok((Keeper::start("hf-duty", cell).map_err(start)?, duty))
        });
        match kept {
            Ok((keeper, duty)) => Self::with(duty.unwrap_or_default(), Ok(keeper)),
            Err(error) => {
                tracing::error!(%error, "what is begun cannot be written down; reducing goes on without");
                Self::with(Duty::default(), Err(error.to_string()))
            }
        }
    }

    const fn with(duty: Duty, keeper: Result<Keeper<Duty>, String>) -> Self {
        let untold = duty.owes_a_latch();
        Self { duty, keeper, awaited: 0, untold, answered: false }
    }

    /// A job that was begun, by this process or by one before it, and is not proven.
    pub(crate) const fn begun(&self) -> Option<JobKind> {
        self.duty.job
    }

    /// The job that is begun and not proven now, if any is.
    pub(crate) fn job(&mut self, now: Tick, job: Option<JobKind>) {
        self.update(now, Duty { job, ..self.duty.clone() });
    }

    /// A kill or a flatten that no supervisor ordered: its latch. Its job is recorded as it goes.
    pub(crate) fn owe(&mut self, now: Tick, latch: Duty) {
        self.untold = true;
        self.answered = false;
        let held = self.duty.clone();
        let kill = latch.kill.or(held.kill);
        let paused_since_wall_ms = held.paused_since_wall_ms.or(latch.paused_since_wall_ms);
        self.update(now, Duty { job: held.job, kill, paused_since_wall_ms });
    }

    /// What the supervisor must be told; it is asked for until [`Ledger::told`].
    pub(crate) fn to_tell(&self) -> Option<Duty> {
        self.untold.then(|| self.duty.clone())
    }

    /// The link took it.
    pub(crate) const fn told(&mut self) {
        self.untold = false;
    }

    /// The supervisor ordered a job.
    pub(crate) const fn ordered(&mut self) {
        self.answered |= !self.untold;
    }

    /// The supervisor beat. Active after a job of its own means that an operator lifted what we owed: it held the latch.
    pub(crate) fn beat(&mut self, now: Tick, mode: TradingMode) {
        if mode == TradingMode::Active && self.answered && self.duty.owes_a_latch() {
            self.update(now, Duty { job: self.duty.job, ..Duty::default() });
        }
    }

    fn update(&mut self, now: Tick, duty: Duty) {
        if duty != self.duty {
            self.duty = duty.clone();
            if let Ok(keeper) = &mut self.keeper {
                keeper.store(now, duty);
            }
        }
    }

    /// Why what is begun is not written down, for people; `None` while it is.
    pub(crate) fn trouble(&self, now: Tick) -> Option<String> {
        match &self.keeper {
            Err(why) => Some(why.clone()),
            Ok(keeper) => (!keeper.healthy(now)).then(|| "the disk does not take data/deadman.cell".to_owned()),
        }
    }

    /// The newest write, for the first who must not run ahead of it.
    pub(crate) fn awaited(&mut self) -> Option<Awaited> {
        let (seq, written) = self.keeper.as_ref().ok()?.asked();
        let first = seq > self.awaited;
        self.awaited = seq;
        first.then_some(Awaited { seq, written })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::kill::{KillCause, KillLatch};

    const NOW: Tick = Tick(1);

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().to_path_buf());
        std::fs::create_dir(home.data()).unwrap();
        (dir, home)
    }

    /// The record as the disk holds it once nobody writes any more.
    async fn stored(ledger: Ledger, home: &Home) -> Option<Duty> {
        if let Ok(keeper) = ledger.keeper {
            keeper.finish(Duration::from_secs(10)).await;
        }
        Cell::open(&home.deadman_cell()).unwrap().1
    }

    #[tokio::test]
    async fn a_job_is_on_the_disk_before_its_first_order_and_taken_back_with_its_proof() {
        let (_dir, home) = home();
        let mut ledger = Ledger::open(&home);
        ledger.job(NOW, Some(JobKind::Flatten));
        ledger.awaited().expect("a write to wait for").settled().await;
        assert!(ledger.awaited().is_none(), "waited for once");
        let on_disk = std::fs::read(home.deadman_cell()).unwrap();
        let slot = holdfast_core::slot::decode(&on_disk).unwrap().unwrap();
        let begun: Duty = serde_json::from_slice(&slot.payload).unwrap();
        assert_eq!(begun.job, Some(JobKind::Flatten));
        assert_eq!(stored(ledger, &home).await, Some(begun));

        let mut next = Ledger::open(&home);
        assert_eq!((next.begun(), next.to_tell()), (Some(JobKind::Flatten), None));
        next.job(NOW, None);
        assert_eq!(stored(next, &home).await, Some(Duty::default()));
    }

    #[tokio::test]
    async fn a_latch_is_owed_until_the_supervisor_has_held_it_and_an_operator_lifted_it() {
        let (_dir, home) = home();
        let kill = KillLatch::new(5, KillCause::Operator, None, JobKind::Flatten);
        let mut ledger = Ledger::open(&home);
        let owed = Duty { kill: Some(kill), ..Duty::default() };
        ledger.owe(NOW, owed.clone());
        ledger.job(NOW, Some(JobKind::Flatten));
        ledger.job(NOW, None);
        // An order from before it was told, and beats from before it was heard, prove nothing.
        ledger.ordered();
        ledger.beat(NOW, TradingMode::Active);
        assert_eq!(ledger.to_tell(), Some(owed.clone()));
        ledger.told();
        ledger.beat(NOW, TradingMode::Active);
        assert_eq!(stored(ledger, &home).await, Some(owed.clone()));
        // The next process tells it again.
        let mut next = Ledger::open(&home);
        assert_eq!(next.to_tell(), Some(owed));
        next.told();
        next.ordered();
        next.beat(NOW, TradingMode::Kill);
        assert!(next.duty.owes_a_latch());
        next.beat(NOW, TradingMode::Active);
        assert_eq!(stored(next, &home).await, Some(Duty::default()));
    }

    #[test]
    fn without_a_file_it_goes_on_in_memory_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&Home::new(dir.path().join("nowhere")));
        ledger.job(NOW, Some(JobKind::Flatten));
        assert!(ledger.awaited().is_none());
        assert_eq!(ledger.begun(), Some(JobKind::Flatten));
        assert!(ledger.trouble(NOW).is_some_and(|why| why.contains("deadman.cell")), "and it says so");
        let (_dir, home) = home();
        assert_eq!(Ledger::open(&home).trouble(NOW), None);
    }
}
