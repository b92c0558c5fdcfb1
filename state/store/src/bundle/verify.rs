//! Whether a bundle is whole: every hash, every chain, every count. Writes nothing, and needs no engine.

use super::error::BundleError;
use super::facts::{self, Facts};
use super::files;
use super::manifest::{DOC_BYTES_MAX, Form, MANIFEST, Manifest, SCHEMA, SUMS};
use crate::journal;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Checks everything and gives the manifest.
///
/// # Errors
/// [`BundleError`] names the first file that does not hold, and the byte where that can be told.
pub fn verify(bundle: &Path) -> Result<Manifest, BundleError> {
    let meta = std::fs::symlink_metadata(bundle).map_err(BundleError::io("look at it", bundle))?;
    if !meta.is_dir() {
        return Err(BundleError::bad(bundle, "a bundle is a folder"));
    }
    let manifest = read_manifest(bundle)?;
    let mut sums = read_sums(bundle)?;
    let document = bundle.join(MANIFEST);
    let (_, own) = files::measure(&document)?;
    if sums.remove(MANIFEST).as_ref() != Some(&own) {
        return Err(BundleError::bad(&document, format!("it is not the one that {SUMS} lists")));
    }
    let mut listed = BTreeMap::new();
    for file in &manifest.files {
        let path = bundle.join(&file.path);
        if files::safe(&file.path).is_none() {
            return Err(BundleError::bad(&path, "its path leads out of the bundle, or to what never travels"));
        }
        if sums.remove(&file.path).as_ref() != Some(&file.sha256) || listed.insert(path.clone(), file).is_some() {
            return Err(BundleError::bad(&path, format!("{MANIFEST} and {SUMS} do not agree about it")));
        }
    }
    if let Some(extra) = sums.keys().next() {
        return Err(BundleError::bad(&bundle.join(extra), format!("{SUMS} lists it and {MANIFEST} does not")));
    }
    for path in files::below(bundle)? {
        let ours = path == document || path == bundle.join(SUMS);
        if !ours && !listed.contains_key(&path) {
            return Err(BundleError::bad(&path, "it is not listed"));
        }
    }
    for file in &manifest.files {
        let path = bundle.join(&file.path);
        let (bytes, sha256) = files::measure(&path)?;
        if bytes == file.bytes && sha256 == file.sha256 {
            continue;
        }
        // A chain can tell where.
        if file.form == Form::Journal {
            journal::verify(&facts::open_segment(&path))?;
        }
        let at = (bytes != file.bytes).then(|| bytes.min(file.bytes));
        let why = if at.is_some() {
            format!("it has {bytes} bytes instead of {}", file.bytes)
        } else {
            "its SHA-256 is not the listed one".to_owned()
        };
        return Err(BundleError::Bad { path, at, why });
    }
    agree(bundle, &manifest)?;
    Ok(manifest)
}

/// What the manifest claims against what the files say.
fn agree(bundle: &Path, manifest: &Manifest) -> Result<(), BundleError> {
    let Facts { epoch, latches, ledger, journals, bus } = facts::gather(bundle, &manifest.files)?;
    let config = manifest.files.iter().find(|file| file.path == "config.toml").map(|file| file.sha256.clone());
    let claims = [
        ("the ledger's content", ledger == manifest.ledger),
        ("the journals", journals == manifest.journals),
        ("the bus", bus == manifest.bus),
        ("the epoch", epoch == manifest.epoch),
        ("the latches", latches == manifest.latches),
        ("the configuration", config == manifest.config_sha256),
    ];
    match claims.into_iter().find(|(_, holds)| !holds) {
        Some((what, _)) => {
            Err(BundleError::bad(&bundle.join(MANIFEST), format!("what it says of {what} is not what the files say")))
        }
        None => Ok(()),
    }
}

/// Reads the manifest; one of a newer form is told apart from one that is damaged.
fn read_manifest(bundle: &Path) -> Result<Manifest, BundleError> {
    #[derive(Deserialize)]
    struct Form {
        schema: String,
    }
    let path = bundle.join(MANIFEST);
    let text = files::read(&path, DOC_BYTES_MAX)?;
    let form: Form = serde_json::from_slice(&text).map_err(|e| BundleError::bad(&path, e.to_string()))?;
    if form.schema != SCHEMA {
        return Err(BundleError::Newer { path, found: form.schema, known: SCHEMA });
    }
    serde_json::from_slice(&text).map_err(|e| BundleError::bad(&path, e.to_string()))
}

/// File to hash, as listed.
fn read_sums(bundle: &Path) -> Result<BTreeMap<String, String>, BundleError> {
    let path = bundle.join(SUMS);
    let text =
        String::from_utf8(files::read(&path, DOC_BYTES_MAX)?).map_err(|_| BundleError::bad(&path, "it is not text"))?;
    let mut sums = BTreeMap::new();
    let mut at = 0_u64;
    for line in text.split_inclusive('\n') {
        let bad = |why: &str| BundleError::Bad { path: path.clone(), at: Some(at), why: why.to_owned() };
        let (sum, name) = line
            .strip_suffix('\n')
            .and_then(|line| line.split_once("  "))
            .ok_or_else(|| bad("not a line of a list of checksums"))?;
        if sums.insert(name.to_owned(), sum.to_owned()).is_some() {
            return Err(bad("it lists a file twice"));
        }
        at = at.saturating_add(line.len() as u64);
    }
    Ok(sums)
}
