//! What the former tree's deadman had taken on, taken over by this supervisor before anything is spawned.
//!
//! * A job that was begun and not proven becomes a job of ours, at whatever instant its process was ended.
//! * A kill or a flatten asked at deadman's own door becomes our latch.
//! * A record that is missing in a used home, or cannot be read, counts as a flatten that was begun.
//! * The record is taken back only once the judge's own cell holds what it said.

use holdfast_core::durable::Durable;
use holdfast_core::duty::Duty;
use holdfast_core::ids::Epoch;
use holdfast_core::kill::KillCause;
use holdfast_core::report::JobKind;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_store::{Cell, CellError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::SystemTime;

/// Takes over. Deadman's process is gone, so that nobody else holds its cell. `used`: this home had a judge before.
///
/// Fails never: what cannot be written down is in force all the same, and stays in deadman's record for the next one.
/// Gives what was taken over, in words for people.
pub(crate) fn take(
    home: &Home,
    judge: &mut Cell<Durable>,
    durable: &mut Durable,
    (used, former): (bool, Epoch),
) -> Option<String> {
    let path = home.deadman_cell();
    let written = std::fs::metadata(&path).and_then(|meta| meta.modified()).ok();
    let (record, duty) = match Cell::<Duty>::open(&path) {
        Ok((record, Some(duty))) => (Some(record), duty),
        Ok((record, None)) if !used => (Some(record), Duty::default()),
        Ok((record, None)) => {
            tracing::error!(record = %path.display(), "what deadman had begun is not known any more: starting killed");
            (Some(record), Duty::unreadable(clock::wall_ms()))
        }
        Err(error) => {
            tracing::error!(%error, "what deadman had begun cannot be read: starting killed");
            (renewed(&path, &error), Duty::unreadable(clock::wall_ms()))
        }
    };
    let duty = durable.still_owed(duty);
    let words = (duty != Duty::default()).then(|| said(&duty, former, written));
    if let Some(said) = &words {
        tracing::warn!(?duty, said, "taking over from the former deadman");
        durable.take_over(&duty);
        if let Err(error) = judge.store(durable) {
            tracing::error!(%error, "taken over, but not written down: deadman's record stays for the next start");
            return words;
        }
    }
    let Some(mut record) = record else { return words };
    if let Err(error) = record.store(&Duty::default()) {
        tracing::error!(%error, "deadman's record could not be taken back: the next start takes it over once more");
    }
    words
}

/// What was taken over, from whom, and why.
fn said(duty: &Duty, former: Epoch, written: Option<SystemTime>) -> String {
    let since = written.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let at = since.and_then(|since| u64::try_from(since.as_millis()).ok());
    let at = at.map_or_else(String::new, |ms| format!(", written down {}", clock::rfc3339(ms)));
    let what = match (&duty.kill, duty.job, duty.paused_since_wall_ms) {
        (Some(kill), ..) if kill.cause == KillCause::LatchesLost => "a kill, assumed: deadman's record was lost",
        (Some(kill), ..) if kill.cause == KillCause::OperatorDeadMan => "a kill: the operator did not check in",
        (Some(_), ..) => "a kill asked at deadman's own door",
        (None, _, Some(_)) => "a flatten asked at deadman's own door",
        (None, Some(JobKind::Flatten), None) => "a flatten that was begun and not proven when its process ended",
        (None, Some(JobKind::CancelAll), None) => "a cancelling of every order that was begun and not proven",
        (None, None, None) => "nothing",
    };
    format!("taken over from the deadman of epoch {}: {what}{at}", former.0)
}

/// The record of a home that was never used, made before anything else leaves a trace: missing later, it is a loss.
pub(crate) fn begin(home: &Home) {
    match Cell::<Duty>::open(&home.deadman_cell()) {
        Ok((mut record, None)) => {
            if let Err(error) = record.store(&Duty::default()) {
                tracing::error!(%error, "deadman's record could not be made: a start that is cut short now ends killed");
            }
        }
        Ok((_, Some(_))) => {}
        Err(error) => tracing::error!(%error, "deadman's record could not be made"),
    }
}

/// An empty cell in the place of a damaged one, which is kept beside it.
pub(crate) fn renewed<T: Serialize + DeserializeOwned>(path: &Path, error: &CellError) -> Option<Cell<T>> {
    match error {
        CellError::Damaged { .. } => {
            std::fs::rename(path, path.with_extension("cell.damaged")).ok()?;
            Cell::open(path).ok().map(|(record, _)| record)
        }
        CellError::Io { .. } | CellError::Busy { .. } | CellError::TooLarge { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::kill::KillLatch;

    /// A home whose deadman left this record (`Err`: these bytes); what the next start makes of it, and the one after.
    fn starts(record: Option<Result<Duty, &[u8]>>, used: bool) -> [Durable; 2] {
        let dir = tempfile::tempdir().expect("a folder");
        let home = Home::new(dir.path().to_owned());
        std::fs::create_dir(home.data()).expect("a folder");
        match record {
            None => {}
            Some(Ok(duty)) => Cell::open(&home.deadman_cell()).expect("a cell").0.store(&duty).expect("stored"),
            Some(Err(bytes)) => std::fs::write(home.deadman_cell(), bytes).expect("written"),
        }
        [used, true].map(|used| {
            let (mut judge, _) = Cell::<Durable>::open(&home.judge_cell()).expect("a cell");
            let mut durable = Durable::fresh();
            let _ = take(&home, &mut judge, &mut durable, (used, Epoch(3)));
            drop(judge);
            let stored = Cell::<Durable>::open(&home.judge_cell()).expect("a cell").1;
            assert!(
                stored.is_none_or(|stored| stored == durable || durable == Durable::fresh()),
                "written down as taken"
            );
            durable
        })
    }

    #[test]
    fn what_was_begun_is_taken_over_once_and_what_cannot_be_read_is_a_kill() {
        let kill = KillLatch::new(7, KillCause::Operator, Some("door"), JobKind::Flatten);
        let fresh = Durable::fresh;
        let owing = |kind| Durable { owed: Some(kind), ..fresh() };
        let lost = || Durable { owed: Some(JobKind::Flatten), kill: Duty::unreadable(9).kill, ..fresh() };
        let begun = |job| Some(Ok(Duty { job: Some(job), ..Duty::default() }));
        let killed = Some(Ok(Duty { kill: Some(kill.clone()), ..Duty::default() }));
        type Case<'a> = (&'a str, Option<Result<Duty, &'a [u8]>>, bool, Durable);
        let cases: [Case<'_>; 8] = [
            ("the first start", None, false, fresh()),
            ("nothing left", Some(Ok(Duty::default())), true, fresh()),
            ("a flatten begun", begun(JobKind::Flatten), true, owing(JobKind::Flatten)),
            ("a cancel begun", begun(JobKind::CancelAll), true, owing(JobKind::CancelAll)),
            ("a kill at the door, proven", killed, true, Durable { kill: Some(kill), ..fresh() }),
            ("lost", None, true, lost()),
            ("emptied", Some(Err(b"")), true, lost()),
            ("damaged", Some(Err(b"what is this")), true, lost()),
        ];
        for (name, record, used, expect) in cases {
            let [first, second] = starts(record, used);
            let mut first = first;
            if let Some(kill) = first.kill.as_mut().filter(|kill| kill.cause == KillCause::LatchesLost) {
                kill.since_wall_ms = 9;
            }
            assert_eq!(first, expect, "{name}");
            assert_eq!(second, fresh(), "{name}: taken over once");
        }
    }
}
