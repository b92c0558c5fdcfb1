//! Taking a bundle in: verified first, laid out beside the target, moved to its place as a whole. Leaves it stopped.

use super::error::BundleError;
use super::files::{self, Draft};
use super::manifest::{Filed, Form, Kind, Manifest};
use super::verify::verify;
use crate::Cell;
use holdfast_core::durable::Durable;
use holdfast_core::ids::Epoch;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// On what terms.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The owner knows that the source of a backup may have gone on.
    pub accept_fork: bool,
    /// Now, milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// Where the record of this import goes, relative to the home.
    pub record: &'a Path,
    /// Folders the home needs beside what the bundle brings, relative.
    pub rooms: &'a [&'a Path],
    /// Where an order to the next start is filed, relative.
    pub orders: &'a [(Filed, &'a Path)],
}

/// The record of an import: what the checklist compares with until the first start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// When, milliseconds since 1970 UTC.
    pub imported_ms: u64,
    /// The epoch it goes on from: above everything the source can have used.
    pub epoch: Option<u64>,
    /// What was imported.
    pub manifest: Manifest,
}

/// Imports a bundle into an absent or empty folder.
///
/// # Errors
/// [`BundleError`]; the target is as it was.
pub fn import(bundle: &Path, target: &Path, terms: Terms<'_>) -> Result<Import, BundleError> {
    let manifest = verify(bundle)?;
    if manifest.kind == Kind::Backup && !terms.accept_fork {
        return Err(BundleError::Fork { bundle: manifest.bundle });
    }
    let draft = Draft::beside(target)?;
    let mut epoch = None;
    for file in &manifest.files {
        let (from, to) = (bundle.join(&file.path), draft.path().join(&file.path));
        let copied = files::copy(&from, &to, None)?;
        if copied != (file.bytes, file.sha256.clone()) {
            return Err(BundleError::bad(&from, "it changed while it was read"));
        }
        if file.form == Form::Cell && file.path.ends_with("judge.cell") {
            epoch = raise_epoch(&to, manifest.kind, terms.at_ms)?;
        }
        files::set_modified(&to, file.modified_ms)?;
    }
    for room in terms.rooms {
        files::make_folder(&draft.path().join(room))?;
    }
    for (_, order) in terms.orders.iter().filter(|(order, _)| manifest.filed.contains(order)) {
        files::write_new(&draft.path().join(order), b"")?;
    }
    let import = Import { imported_ms: terms.at_ms, epoch, manifest };
    let path = draft.path().join(terms.record);
    let text = serde_json::to_vec_pretty(&import).map_err(|e| BundleError::bad(&path, e.to_string()))?;
    files::write_new(&path, &text)?;
    draft.publish()?;
    Ok(import)
}

/// The imported home goes on strictly above the source. A source that is not marked may have used epochs since the
/// copy: the wall clock is above anything that counts starts.
fn raise_epoch(path: &Path, kind: Kind, at_ms: u64) -> Result<Option<u64>, BundleError> {
    let (mut cell, durable) = Cell::<Durable>::open(path)?;
    let Some(mut durable) = durable else { return Ok(None) };
    durable.epoch = match kind {
        Kind::Migrate => durable.epoch.next(),
        Kind::Backup => durable.epoch.next().max(Epoch(at_ms)),
    };
    cell.store(&durable)?;
    Ok(Some(durable.epoch.0))
}

/// The import that has not been followed by a start; `None` when there is none.
///
/// # Errors
/// [`BundleError`] when its record cannot be read: then it cannot be checked, and nothing may start on it.
pub fn pending(record: &Path) -> Result<Option<Import>, BundleError> {
    match fs::symlink_metadata(record) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(BundleError::io("look at it", record)(e)),
        Ok(_) => {}
    }
    let text = files::read(record, super::manifest::DOC_BYTES_MAX.saturating_mul(2))?;
    serde_json::from_slice(&text).map(Some).map_err(|e| BundleError::bad(record, e.to_string()))
}

/// The first start follows: the record steps aside, under the name of its bundle.
///
/// # Errors
/// [`BundleError`]
pub fn finish(record: &Path, import: &Import) -> Result<(), BundleError> {
    let done = record.with_extension(format!("{}.json", import.manifest.bundle));
    fs::rename(record, &done).map_err(BundleError::io("rename it", record))?;
    crate::cell::sync_folder(record).map_err(BundleError::io("sync the folder of it", record))
}
