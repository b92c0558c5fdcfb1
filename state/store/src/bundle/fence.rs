//! The fence around a state that was exported: no engine starts on it until its owner takes the fence down.
//!
//! It stands in a small file of its own, so that it is seen when the ledger cannot be read, and in the ledger. Either
//! of them is enough; a file that cannot be understood is a fence too.

use super::error::BundleError;
use super::files;
use crate::ledger::{Ledger, Reader, Record};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// How long the ledger may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the fence says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fence {
    /// The bundle the state went into.
    pub bundle: String,
    /// When, milliseconds since 1970 UTC.
    pub exported_ms: u64,
}

/// Puts the fence up: the file first, then the ledger.
///
/// # Errors
/// [`BundleError`]; what already stands stays.
pub fn raise(marker: &Path, ledger: &Path, fence: &Fence) -> Result<(), BundleError> {
    let text = serde_json::to_vec(fence).map_err(|e| BundleError::bad(marker, e.to_string()))?;
    files::write_new(marker, &text)?;
    crate::cell::sync_folder(marker).map_err(BundleError::io("sync the folder of it", marker))?;
    note(ledger, Some(&fence.bundle), fence.exported_ms)
}

/// The fence, if either place has one.
///
/// # Errors
/// The kernel's reason when the file cannot be looked at. A ledger that cannot be read is not this question's business.
pub fn standing(marker: &Path, ledger: &Path) -> Result<Option<Fence>, BundleError> {
    match fs::symlink_metadata(marker) {
        Ok(_) => {
            let known = files::read(marker, 4096).ok().and_then(|text| serde_json::from_slice(&text).ok());
            return Ok(Some(known.unwrap_or_else(|| Fence { bundle: "unknown".to_owned(), exported_ms: 0 })));
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(BundleError::io("look at it", marker)(e)),
    }
    if !ledger.exists() {
        return Ok(None);
    }
    let exported = Reader::open(ledger).and_then(|reader| reader.meta()).ok().and_then(|meta| meta.exported_to);
    Ok(exported.map(|bundle| Fence { bundle, exported_ms: 0 }))
}

/// Takes the fence down for this bundle: the ledger first, then the file.
///
/// # Errors
/// [`BundleError::OtherBundle`] when the fence names another one; what stands stays.
pub fn lift(marker: &Path, ledger: &Path, bundle: &str, at_ms: u64) -> Result<(), BundleError> {
    let Some(fence) = standing(marker, ledger)? else { return Ok(()) };
    if fence.bundle != bundle {
        return Err(BundleError::OtherBundle { standing: fence.bundle, given: bundle.to_owned() });
    }
    note(ledger, None, at_ms)?;
    match fs::remove_file(marker) {
        Ok(()) => crate::cell::sync_folder(marker).map_err(BundleError::io("sync the folder of it", marker)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(BundleError::io("remove it", marker)(e)),
    }
}

fn note(ledger: &Path, bundle: Option<&str>, at_ms: u64) -> Result<(), BundleError> {
    let record = Record::Exported { bundle: bundle.map(str::to_owned), at_ms };
    Ledger::open(ledger)?.wait(at_ms, vec![record], PATIENCE)?;
    Ok(())
}
