//! The runtime bus in a bundle and after an import: verified by its own library, without a key, because keys do not travel.

use super::error::BundleError;
use super::import::Import;
use super::manifest::BusFacts;
use crate::bus::{Adopted, Anchor, Head, Options, Questions, Report, Sum, Vouched, adopt, key_place, shown, verify};
use crate::disk::RealFolder;
use std::path::Path;

/// Verifies the bus in this folder.
pub(super) fn facts(folder: &Path) -> Result<BusFacts, BundleError> {
    let report = whole(folder, None)?;
    Ok(BusFacts {
        bus_id: head(folder)?.map(|head| head.bus_id),
        count: report.events,
        last: report.last_checksum,
        head: report.head,
    })
}

/// Verifies that the bus in this folder is still the one that was told, or has only grown since.
pub(super) fn contains(folder: &Path, told: &BusFacts) -> Result<u64, BundleError> {
    let bus_id = head(folder)?.map(|head| head.bus_id).unwrap_or_default();
    let sum = told.last.as_deref().and_then(Sum::parse);
    let anchor = sum.map(|sum| Anchor { bus_id, count: told.count, sum });
    Ok(whole(folder, anchor)?.events)
}

/// What its head says, if it has one.
pub(super) fn head(path: &Path) -> Result<Option<Head>, BundleError> {
    RealFolder::existing(path).and_then(|folder| shown(&folder)).map_err(BundleError::io("read its head", path))
}

fn whole(path: &Path, anchor: Option<Anchor>) -> Result<Report, BundleError> {
    let folder = RealFolder::existing(path).map_err(BundleError::io("open it", path))?;
    let report = verify::<_, RealFolder>(&folder, None, &Questions { anchor, ..Questions::default() })?;
    match report.finding {
        None => Ok(report),
        Some(finding) => {
            let at = Some(finding.byte);
            Err(BundleError::Bad { path: path.join(&finding.file), at, why: finding.to_string() })
        }
    }
}

/// Makes an imported bus one of this home, before its first start. The key that came along, if one did, stays in force;
/// without it the chain is adopted under a new one, and the adoption recorded in it.
///
/// # Errors
/// [`BundleError`]; a bus that is not the one of the bundle stays as it is.
pub fn adopt_bus(
    folder: &Path,
    key: &Path,
    seed: [u8; 32],
    import: &Import,
    at_ms: u64,
) -> Result<Adopted, BundleError> {
    let Some(told) = import.manifest.bus.as_ref().filter(|_| folder.exists()) else { return Ok(Adopted::Needless) };
    let last = told.last.as_deref().and_then(Sum::parse);
    let vouched = Vouched { count: told.count, last, by: import.manifest.bundle.clone() };
    let place = RealFolder::existing(folder).map_err(BundleError::io("open it", folder))?;
    #[expect(clippy::cast_precision_loss, reason = "a wall time, exact to the millisecond for 285,000 years")]
    let as_of = at_ms as f64 / 1000.0;
    Ok(adopt(place, key_place(key)?, Options::new(seed), as_of, &vouched)?)
}
