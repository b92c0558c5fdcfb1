//! What the next start of a home in which nothing runs will be bound by: latches, owed jobs and files that are orders. Read
//! without a lock and without changing anything; what cannot be read counts as a kill, as the start itself counts it.

use holdfast_core::durable::Durable;
use holdfast_core::duty::Duty;
use holdfast_core::report::JobKind;
use holdfast_core::slot;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Larger than any cell.
const CELL_BYTES_MAX: u64 = 1024 * 1024;

/// What is in force while nothing runs.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Latched {
    /// The next start is killed.
    pub(crate) kill: bool,
    /// Since when, RFC 3339; absent where only a file or a lost record says so.
    pub(crate) since: Option<String>,
    /// The operator's words, or what was lost.
    pub(crate) reason: Option<String>,
    /// New risk is paused.
    pub(crate) pause: bool,
    /// `flatten` or `cancel_all`: begun or ordered, and not proven.
    pub(crate) owed: Option<&'static str>,
}

impl Latched {
    /// Looks. `None`: nothing holds the next start back.
    pub(crate) fn of(home: &Home) -> Option<Self> {
        let mut found = Self::default();
        let judge = cell::<Durable>(&home.judge_cell());
        let used = !matches!(judge, Found::Absent);
        match judge {
            Found::Absent => {}
            Found::Lost(why) => found.lost(why),
            Found::Value(durable) => {
                found.owes(durable.to_reduce());
                found.pause |= durable.paused_since_wall_ms.is_some();
                if let Some(kill) = &durable.kill {
                    found.kill(Some(kill.since_wall_ms), kill.reason.clone());
                }
                if let Found::Value(duty) = cell::<Duty>(&home.deadman_cell()) {
                    found.duty(&durable.still_owed(duty));
                }
            }
        }
        if used && matches!(cell::<Duty>(&home.deadman_cell()), Found::Absent | Found::Lost(_)) {
            found.lost("deadman's record (data/deadman.cell) cannot be read: it may have held a kill".to_owned());
        }
        if home.kill_file().symlink_metadata().is_ok() {
            found.kill(None, Some("the file run/KILL".to_owned()));
        }
        found.pause |= home.pause_file().symlink_metadata().is_ok();
        (found != Self::default()).then_some(found)
    }

    fn duty(&mut self, duty: &Duty) {
        self.owes(duty.job);
        self.pause |= duty.paused_since_wall_ms.is_some();
        if let Some(kill) = &duty.kill {
            self.kill(Some(kill.since_wall_ms), kill.reason.clone());
        }
    }

    fn owes(&mut self, kind: Option<JobKind>) {
        match kind {
            Some(JobKind::Flatten) => self.owed = Some("flatten"),
            Some(JobKind::CancelAll) => {
                self.owed.get_or_insert("cancel_all");
            }
            None => {}
        }
    }

    fn kill(&mut self, since_wall_ms: Option<u64>, reason: Option<String>) {
        self.kill = true;
        self.since = self.since.take().or_else(|| since_wall_ms.map(clock::rfc3339));
        self.reason = self.reason.take().or(reason);
    }

    fn lost(&mut self, why: String) {
        self.owes(Some(JobKind::Flatten));
        self.kill(None, Some(why));
    }

    /// In one line, for people: what is in force and what the next start does.
    pub(crate) fn words(&self) -> String {
        if self.kill {
            let since = self.since.as_ref().map_or_else(String::new, |at| format!(" since {at}"));
            let why = self.reason.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
            return format!("KILL LATCHED{since}{why}: the next start is killed until engine resume");
        }
        let pause = if self.pause { "PAUSED: the next start opens nothing until engine resume" } else { "" };
        let owed = match self.owed {
            Some("flatten") => "FLATTEN OWED: the next start closes everything first",
            Some(_) => "CANCEL OWED: the next start cancels every order first",
            None => "",
        };
        let both = if pause.is_empty() || owed.is_empty() { "" } else { "; " };
        format!("{owed}{both}{pause}")
    }
}

enum Found<T> {
    Absent,
    Lost(String),
    Value(T),
}

/// The newest value of a cell, whoever holds it.
fn cell<T: DeserializeOwned>(path: &Path) -> Found<T> {
    let lost = |why: String| Found::Lost(format!("{} cannot be read ({why})", path.display()));
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(CELL_BYTES_MAX).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound => return Found::Absent,
        Err(e) => return lost(e.to_string()),
    }
    match slot::decode(&bytes) {
        Ok(Some(found)) => match serde_json::from_slice(&found.payload) {
            Ok(value) => Found::Value(value),
            Err(e) => lost(e.to_string()),
        },
        Ok(None) => lost("it is empty".to_owned()),
        Err(e) => lost(e.to_string()),
    }
}
