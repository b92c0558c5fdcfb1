//! What is noted of the bus's head outside the bus: deadman is told every few seconds, an anchor is kept for each UTC day
//! and for an orderly end.
//!
//! * Nothing of it is on the way of a beat, a permit or an event: it looks at what the writer said last, and files are
//!   written on threads of their own.
//! * What cannot be noted restricts nothing: it is proof for later, and is said in the log.

use holdfast_core::report::BusHead;
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::bootstrap::Home;
use holdfast_store::bus::{self, Anchor};
use holdfast_store::disk::RealFolder;
use holdfast_store::{Cell, CellError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Deadman is told of a bus that grows this often.
const TELL_EVERY: Span = Span::from_ms(5000);
const DAY_MS: u64 = 86_400_000;

/// See the module.
pub(crate) struct Notary {
    folder: PathBuf,
    witness: PathBuf,
    told: Option<BusHead>,
    told_at: Option<Tick>,
    /// The UTC day of the newest anchor.
    day: Option<u64>,
    /// Events there were when that day had passed: the first one more is the first of its day.
    before: Option<u64>,
    /// An anchor is being written.
    busy: Arc<AtomicBool>,
}

impl Notary {
    /// Over the bus of a home that was opened with so many events.
    pub(crate) fn new(home: &Home, events: u64) -> Self {
        let folder = home.bus();
        let kept = RealFolder::existing(&folder).and_then(|folder| bus::kept(&folder));
        let last = kept.ok().and_then(|kept| kept.last_as_of);
        let last = last.and_then(|as_of| Duration::try_from_secs_f64(as_of).ok());
        Self {
            folder,
            witness: home.witness(),
            told: None,
            told_at: None,
            day: last.map(|last| last.as_secs() * 1000 / DAY_MS),
            before: Some(events),
            busy: Arc::default(),
        }
    }

    /// What deadman is to be told now, if it is time and there is anything new.
    pub(crate) fn tell(&mut self, now: Tick, head: &Anchor) -> Option<BusHead> {
        if self.told_at.is_some_and(|at| now.since(at) < TELL_EVERY) {
            return None;
        }
        let head = head.head();
        if self.told.as_ref() == Some(&head) {
            return None;
        }
        self.told_at = Some(now);
        self.told = Some(head.clone());
        Some(head)
    }

    /// Keeps an anchor once the first event of a UTC day is on the disk.
    pub(crate) fn mind_the_day(&mut self, wall_ms: u64, head: &Anchor) {
        let today = wall_ms / DAY_MS;
        if self.day.is_some_and(|day| day >= today) {
            self.before = None;
            return;
        }
        if head.count <= *self.before.get_or_insert(head.count) || self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        self.day = Some(today);
        let (folder, head, busy) = (self.folder.clone(), head.clone(), Arc::clone(&self.busy));
        let write = move || {
            anchored(&folder, &head, wall_ms);
            busy.store(false, Ordering::Release);
        };
        if let Err(error) = std::thread::Builder::new().name("bus-anchor".into()).spawn(write) {
            tracing::error!(%error, "no thread to write the day's anchor with");
            self.busy.store(false, Ordering::Release);
        }
    }

    /// Where the end of the bus is noted once nobody writes any more.
    pub(crate) fn seal(&self) -> Seal {
        Seal { folder: self.folder.clone(), witness: self.witness.clone() }
    }
}

/// The end of the bus, noted by whoever closes it.
pub(crate) struct Seal {
    folder: PathBuf,
    witness: PathBuf,
}

impl Seal {
    /// Notes where the bus was closed: as an anchor, and in the witness that deadman has left behind.
    pub(crate) fn set(&self, head: &Anchor, wall_ms: u64) {
        anchored(&self.folder, head, wall_ms);
        let stored = Cell::<BusHead>::open(&self.witness).and_then(|(mut cell, _)| cell.store(&head.head()));
        match stored {
            Ok(()) => {}
            // A deadman that outlives us keeps what it was told last.
            Err(CellError::Busy { .. }) => tracing::debug!("deadman still holds the witness of the bus"),
            Err(error) => tracing::error!(%error, "the end of the bus was not noted"),
        }
    }
}

fn anchored(folder: &Path, head: &Anchor, wall_ms: u64) {
    let as_of = Duration::from_millis(wall_ms).as_secs_f64();
    if let Err(error) = RealFolder::existing(folder).and_then(|folder| bus::keep(&folder, head, as_of)) {
        tracing::error!(%error, "an anchor of the bus was not kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_ipc::clock;
    use holdfast_store::bus::Sum;

    fn anchor(count: u64) -> Anchor {
        Anchor { bus_id: "b".repeat(32), count, sum: Sum([7; 32]) }
    }

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::new(dir.path().to_owned());
        std::fs::create_dir_all(home.bus()).expect("a folder");
        (dir, home)
    }

    /// The counts of the anchors once no thread is at work.
    fn kept(home: &Home, notary: &Notary) -> Vec<u64> {
        let deadline = clock::now().after(Span::from_ms(10_000));
        while notary.busy.load(Ordering::Acquire) {
            assert!(clock::now() < deadline, "the thread ends");
            std::thread::yield_now();
        }
        let kept = RealFolder::existing(&home.bus()).and_then(|folder| bus::kept(&folder)).expect("anchors");
        kept.anchors.iter().map(|anchor| anchor.count).collect()
    }

    #[test]
    fn the_first_event_of_each_day_is_anchored_once_also_over_restarts() {
        let (_dir, home) = home();
        let mut notary = Notary::new(&home, 5);
        let day = |day: u64| day * DAY_MS + 7;
        // The day, the events on the disk, the anchors then.
        let looks: [(u64, u64, &[u64]); 8] = [
            (100, 5, &[]),
            (100, 6, &[6]),
            (100, 9, &[6]),
            (101, 9, &[6]),
            (101, 11, &[6, 11]),
            (101, 12, &[6, 11]),
            (100, 13, &[6, 11]),
            (103, 13, &[6, 11]),
        ];
        for (today, events, expect) in looks {
            notary.mind_the_day(day(today), &anchor(events));
            assert_eq!(kept(&home, &notary), expect, "day {today}, {events} events");
        }
        let mut next = Notary::new(&home, 13);
        next.mind_the_day(day(101), &anchor(14));
        assert_eq!(kept(&home, &next), [6, 11], "anchored before the restart");
        next.mind_the_day(day(104), &anchor(14));
        next.mind_the_day(day(104), &anchor(15));
        assert_eq!(kept(&home, &next), [6, 11, 15]);
    }

    #[test]
    fn deadman_is_told_of_what_is_new_every_few_seconds_and_the_end_is_sealed() {
        let (_dir, home) = home();
        let mut notary = Notary::new(&home, 0);
        let at = |ms| Tick(0).after(Span::from_ms(ms));
        assert_eq!(notary.tell(at(0), &anchor(1)), Some(anchor(1).head()));
        assert_eq!(notary.tell(at(4999), &anchor(2)), None);
        assert_eq!(notary.tell(at(5000), &anchor(2)), Some(anchor(2).head()));
        assert_eq!(notary.tell(at(60_000), &anchor(2)), None, "nothing new");
        notary.seal().set(&anchor(3), 9);
        assert_eq!(bus::witness(&home.witness()).expect("readable"), Some(anchor(3)));
        assert_eq!(kept(&home, &notary), [3]);
        let held = Cell::<BusHead>::open(&home.witness()).expect("free");
        notary.seal().set(&anchor(4), 9);
        drop(held);
        assert_eq!(bus::witness(&home.witness()).expect("readable"), Some(anchor(3)), "its holder's word stays");
    }
}
