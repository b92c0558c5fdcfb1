//! The mark of a state that was exported: no engine starts on it until its owner takes the mark off.
//!
//! It is in a small file of its own, so that it is seen when the ledger cannot be read, and in the ledger. Either
//! of them is enough; a file that cannot be understood is a mark too.

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

/// What the mark says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// The bundle the state went into.
    pub bundle: String,
    /// When, milliseconds since 1970 UTC.
    pub exported_ms: u64,
}

/// Marks the state: the file first, then the ledger.
///
/// # Errors
/// [`BundleError`]; what already stands stays.
pub fn mark(marker: &Path, ledger: &Path, exported: &Exported) -> Result<(), BundleError> {
    let text = serde_json::to_vec(exported).map_err(|e| BundleError::bad(marker, e.to_string()))?;
    files::write_new(marker, &text)?;
    crate::cell::sync_folder(marker).map_err(BundleError::io("sync the folder of it", marker))?;
    note(ledger, Some(&exported.bundle), exported.exported_ms)
}

/// The mark, if either place has one.
///
/// # Errors
/// The kernel's reason when the file cannot be looked at. A ledger that cannot be read is not this question's business.
pub fn marked(marker: &Path, ledger: &Path) -> Result<Option<Exported>, BundleError> {
    match fs::symlink_metadata(marker) {
        Ok(_) => {
            let known = files::read(marker, 4096).ok().and_then(|text| serde_json::from_slice(&text).ok());
            return Ok(Some(known.unwrap_or_else(|| Exported { bundle: "unknown".to_owned(), exported_ms: 0 })));
        }
        // A file in the place of the folder holds no mark; the start refuses it for what it is.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
        Err(e) => return Err(BundleError::io("look at it", marker)(e)),
    }
    if !ledger.exists() {
        return Ok(None);
    }
    let bundle = Reader::open(ledger).and_then(|reader| reader.meta()).ok().and_then(|meta| meta.exported_to);
    Ok(bundle.map(|bundle| Exported { bundle, exported_ms: 0 }))
}

/// Takes the mark of this bundle off: the ledger first, then the file.
///
/// # Errors
/// [`BundleError::OtherBundle`] when the mark names another one; it stays.
pub fn unmark(marker: &Path, ledger: &Path, bundle: &str, at_ms: u64) -> Result<(), BundleError> {
    let Some(exported) = marked(marker, ledger)? else { return Ok(()) };
    if exported.bundle != bundle {
        return Err(BundleError::OtherBundle { standing: exported.bundle, given: bundle.to_owned() });
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
