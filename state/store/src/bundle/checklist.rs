//! The list to go through after an import and before the first start. Looks, and changes nothing.

use super::bus;
use super::error::BundleError;
use super::facts;
use super::files;
use super::import::Import;
use super::manifest::{BusFacts, Form, Manifest};
use super::scan::Scanner;
use crate::journal;
use crate::ledger::Reader;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How a point of the list came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it must be.
    Pass,
    /// For the owner to know; does not stand in the way.
    Note,
    /// Stands in the way of a start.
    Fail,
}

/// One point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// What was looked at.
    pub name: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
}

impl Item {
    /// A point that must hold.
    #[must_use]
    pub fn must(name: &'static str, holds: bool, detail: impl Into<String>) -> Self {
        Self { name, outcome: if holds { Outcome::Pass } else { Outcome::Fail }, detail: detail.into() }
    }

    fn of(name: &'static str, result: Result<String, BundleError>) -> Self {
        match result {
            Ok(detail) => Self { name, outcome: Outcome::Pass, detail },
            Err(error) => Self { name, outcome: Outcome::Fail, detail: error.to_string() },
        }
    }
}

/// Compares a home that was imported and not started yet with its bundle. `leftovers` are files that must not be there.
#[must_use]
pub fn check(
    root: &Path,
    ledger: &Path,
    import: &Import,
    leftovers: &[PathBuf],
    secrets: &[PathBuf],
    now_ms: u64,
) -> Vec<Item> {
    let manifest = &import.manifest;
    let mut items = Vec::new();
    match Reader::open_copy(ledger).map_err(BundleError::from).and_then(|reader| facts::of_ledger(&reader)) {
        Err(error) => items.push(Item::must("ledger integrity", false, error.to_string())),
        Ok(found) => {
            let told = &manifest.ledger;
            let rows: u64 = found.tables.values().map(|count| count.rows).sum();
            items.push(Item::must("ledger integrity", true, "SQLite and the chain of events hold"));
            items.push(Item::must("row counts", found.tables == told.tables, format!("{rows} rows")));
            let last = format!("{} events, last {}", found.events.count, found.events.last);
            items.push(Item::must("last event", found.events == told.events, last));
            let listed: Vec<String> = found.positions.iter().map(|p| format!("#{} {}", p.id, p.description)).collect();
            let listed = if listed.is_empty() { "none recorded".to_owned() } else { listed.join("; ") };
            items.push(Item::must("recorded positions", found.positions == told.positions, listed));
            let phase = found.lifecycle.as_ref().map_or("none recorded", |state| state.phase.as_str());
            items.push(Item::must("phase and deadlines", found.lifecycle == told.lifecycle, phase));
            let running = found.running_runs.join(", ");
            let none = if running.is_empty() { "none".to_owned() } else { running.clone() };
            items.push(Item::must("no open watch", running.is_empty(), none));
            let newest = found.tables.values().filter_map(|count| count.newest_ms).max().unwrap_or(0);
            let newest = newest.max(manifest.created_ms);
            let behind = newest.saturating_sub(now_ms);
            items.push(Item::must("clock", behind <= 5000, format!("{behind} ms behind the newest instant")));
        }
    }
    items.push(Item::of("files", same_files(root, import)));
    items.push(Item::of("journals", chains(root, import)));
    if let Some(told) = &manifest.bus {
        items.push(Item::of("runtime bus", bus_holds(root, manifest, told)));
    }
    items.push(Item::must("kill, pause and deadlines", true, latched(manifest, import.epoch)));
    let left: Vec<String> = leftovers.iter().filter(|path| path.exists()).map(|p| p.display().to_string()).collect();
    let shown = if left.is_empty() { "no pidfile, socket or marker".to_owned() } else { left.join(", ") };
    items.push(Item::must("nothing left over", left.is_empty(), shown));
    items.push(Item::of("no secrets", clean(root, import, secrets)));
    items
}

fn latched(manifest: &Manifest, epoch: Option<u64>) -> String {
    let set = if manifest.latches.is_empty() { "none set".to_owned() } else { manifest.latches.join(", ") };
    let filed =
        if manifest.filed.is_empty() { String::new() } else { format!("; filed for the start: {:?}", manifest.filed) };
    let epoch = epoch.map_or_else(|| "no epoch travelled".to_owned(), |epoch| format!("goes on above epoch {epoch}"));
    format!("{set}{filed}; {epoch}; a start is latched until books are reconciled")
}

fn bus_holds(root: &Path, manifest: &Manifest, told: &BusFacts) -> Result<String, BundleError> {
    let file = manifest.files.iter().find(|file| file.form == Form::Bus);
    let folder = file.and_then(|file| Path::new(&file.path).parent()).unwrap_or(Path::new(""));
    let events = bus::contains(&root.join(folder), told)?;
    Ok(format!("{events} events verified; without its key its head is {}", told.head))
}

/// Everything is as it was but for cells (the judge's holds a later epoch since the import) and the bus, which has a
/// point of its own and may have been adopted by a start that came no further.
fn same_files(root: &Path, import: &Import) -> Result<String, BundleError> {
    let mut count = 0_usize;
    for file in import.manifest.files.iter().filter(|file| !matches!(file.form, Form::Cell | Form::Bus)) {
        let path = root.join(&file.path);
        if files::measure(&path)? != (file.bytes, file.sha256.clone()) {
            return Err(BundleError::bad(&path, "it is not as it was in the bundle"));
        }
        count += 1;
    }
    Ok(format!("{count} files as in the bundle"))
}

fn chains(root: &Path, import: &Import) -> Result<String, BundleError> {
    let mut lines = 0_u64;
    for (name, told) in &import.manifest.journals {
        let path = root.join(name);
        let found = facts::chain(&journal::verify(&path)?);
        if found != *told {
            return Err(BundleError::bad(&path, "it ends elsewhere than in the bundle"));
        }
        lines = lines.saturating_add(found.count);
    }
    Ok(format!("{lines} entries verified"))
}

fn clean(root: &Path, import: &Import, secrets: &[PathBuf]) -> Result<String, BundleError> {
    let scanner = Scanner::new(secrets)?;
    for file in &import.manifest.files {
        let path = root.join(&file.path);
        scanner.file(&path, &path, file.form)?;
    }
    Ok("nothing that looks like one".to_owned())
}
