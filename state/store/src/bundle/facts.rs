//! What is true of a folder laid out like a home: read from the files themselves, for the manifest and against it.

use super::bus;
use super::error::BundleError;
use super::files;
use super::manifest::{BusFacts, Chain, Deadlines, FileEntry, Form, LedgerFacts, OpenPosition};
use crate::hex::hex;
use crate::journal::{self, Audit};
use crate::ledger::{self, Reader};
use crate::segments::{active_name, closed_number};
use holdfast_core::conflict::rows_of;
use holdfast_core::durable::Durable;
use holdfast_core::duty::Duty;
use holdfast_core::slot::{self, CELL_BYTES, Slot};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Most positions and runs a manifest lists.
const LISTED_MAX: u32 = 10_000;

/// Facts that several files tell together.
pub(super) struct Facts {
    pub(super) epoch: Option<u64>,
    pub(super) latches: Vec<String>,
    pub(super) ledger: LedgerFacts,
    pub(super) journals: BTreeMap<String, Chain>,
    pub(super) bus: Option<BusFacts>,
}

/// Reads them all. The first file that does not hold is the error.
pub(super) fn gather(root: &Path, files: &[FileEntry]) -> Result<Facts, BundleError> {
    let (mut durable, mut ledger, mut journals, mut bus) = (None, None, BTreeMap::new(), None);
    // What is missing here is missing for the next start too, and counts there as it does here.
    let mut duty = Duty::unreadable(0);
    for file in files {
        let path = root.join(&file.path);
        match file.form {
            Form::Ledger => ledger = Some(of_ledger(&Reader::open_copy(&path)?)?),
            Form::Cell => {
                let found = cell(&path)?;
                if file.path.ends_with("judge.cell") {
                    durable = found.map(|slot| document::<Durable>(&path, &slot)).transpose()?;
                } else if let Some(slot) = found.filter(|_| file.path.ends_with("deadman.cell")) {
                    duty = document(&path, &slot)?;
                }
            }
            Form::Journal => {
                // The open segment speaks for the closed ones before it.
                if open_segment(&path) == path {
                    journals.insert(file.path.clone(), chain(&journal::verify(&path)?));
                }
            }
            Form::Bus => {
                if bus.is_none() {
                    bus = Some(bus::facts(path.parent().unwrap_or(root))?);
                }
            }
            Form::Plain => {}
        }
    }
    let ledger = ledger.ok_or_else(|| BundleError::bad(root, "there is no ledger in it"))?;
    let in_force = |durable: &Durable| {
        // As the next start will: it takes deadman's job over before anything else.
        let mut durable = durable.clone();
        durable.take_over(&duty);
        let rows = rows_of(&durable, 0).into_iter().filter(|(_, row)| row.in_force);
        rows.map(|(latch, row)| row.detail.map_or_else(|| latch.to_string(), |kind| format!("{latch} ({kind})")))
            .collect()
    };
    Ok(Facts {
        epoch: durable.as_ref().map(|durable| durable.epoch.0),
        latches: durable.as_ref().map(in_force).unwrap_or_default(),
        ledger,
        journals,
        bus,
    })
}

/// The open segment of the journal that a file belongs to: itself, or the one its closed segments lead up to. A closed
/// segment says nothing by itself, because it continues another.
pub(super) fn open_segment(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    closed_number(stem, name).map_or_else(|| path.to_owned(), |_| path.with_file_name(active_name(stem)))
}

/// How far a journal goes.
pub(super) fn chain(audit: &Audit) -> Chain {
    Chain { count: audit.entries, last: audit.head.map_or_else(String::new, |head| head.to_string()) }
}

/// The newest whole slot of a cell; `None` for one that was never written.
pub(super) fn cell(path: &Path) -> Result<Option<Slot>, BundleError> {
    let bytes = files::read(path, CELL_BYTES as u64)?;
    slot::decode(&bytes).map_err(|e| BundleError::bad(path, e.to_string()))
}

fn document<T: DeserializeOwned>(path: &Path, slot: &Slot) -> Result<T, BundleError> {
    let why = |e: serde_json::Error| BundleError::bad(path, format!("it verifies but does not read: {e}"));
    serde_json::from_slice(&slot.payload).map_err(why)
}

/// What the ledger says.
pub(super) fn of_ledger(reader: &Reader) -> Result<LedgerFacts, BundleError> {
    let runs = reader.runs(LISTED_MAX)?;
    let running = runs.iter().filter(|run| run.status == ledger::RunStatus::Running);
    let lifecycle = reader.lifecycle()?.map(|state| Deadlines {
        phase: state.phase.as_str().to_owned(),
        cooldown_until_ms: state.cooldown_until_ms,
        backoff_until_ms: state.backoff_until_ms,
        last_run_id: state.last_run_id,
    });
    let tail = reader.events_tail()?;
    let positions = reader.positions(true, LISTED_MAX)?.into_iter();
    Ok(LedgerFacts {
        schema: ledger::SCHEMA,
        state_dir: reader.meta()?.state_dir,
        tables: reader.counts()?,
        lifecycle,
        positions: positions.map(|p| OpenPosition { id: p.id, description: p.opened.description }).collect(),
        running_runs: running.map(|run| run.run_id.clone()).collect(),
        knobs: runs.first().map(|run| run.knobs_json.clone()),
        events: Chain { count: tail.count, last: hex(&tail.sum) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_segment_leads_to_the_open_one() {
        for (file, open) in [
            ("data/decisions.jsonl", "data/decisions.jsonl"),
            ("data/decisions.000001.jsonl", "data/decisions.jsonl"),
            ("data/decisions.1.jsonl", "data/decisions.1.jsonl"),
            ("data/other.000012.jsonl", "data/other.jsonl"),
        ] {
            assert_eq!(open_segment(Path::new(file)), Path::new(open), "{file}");
        }
    }
}
