//! Making a bundle: copy each part in its own consistent way, look for secrets, describe what was copied, publish.

use super::bus;
use super::error::BundleError;
use super::facts::{self, Facts};
use super::files::{self, Draft};
use super::manifest::{FileEntry, Filed, Form, Kind, MANIFEST, Manifest, SCHEMA, SUMS};
use super::scan::Scanner;
use crate::ledger::{Ledger, Reader};
use holdfast_core::slot::{self, CELL_BYTES};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// How often a folder whose files change places while they are copied is begun anew.
const TRIES: u32 = 5;

/// How a part of a home is copied. What is absent is left out, but for the ledger, which is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The ledger.
    Ledger,
    /// A two-slot cell: its newest whole slot.
    Cell,
    /// A decision journal and its older segments beside it (`NAME*.jsonl`), up to the end of a line.
    Journal,
    /// The runtime bus: snapshots and heads first, then each segment up to the end of a line, so that the log can be
    /// ahead of what describes it and never behind.
    Bus,
    /// A file of lines, up to the end of a line.
    Lines,
    /// A file.
    File,
    /// Every file below a folder.
    Tree,
}

/// One part of a home.
#[derive(Clone, Debug)]
pub struct Part {
    /// The file or folder.
    pub path: PathBuf,
    /// How to copy it.
    pub what: What,
}

/// What is to be carried.
#[derive(Clone, Debug)]
pub struct Source {
    /// The home.
    pub root: PathBuf,
    /// Its parts, copied in this order.
    pub parts: Vec<Part>,
    /// Names that are left out of folders.
    pub skipped: Vec<String>,
    /// Key and token files: their content must not be in any part.
    pub secrets: Vec<PathBuf>,
    /// The configuration file.
    pub config: PathBuf,
    /// Files that are orders to the next start. One that cannot be looked at counts as there.
    pub orders: Vec<(Filed, PathBuf)>,
}

/// What the manifest says of where it comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// A fresh id, 32 hex digits.
    pub bundle: String,
    /// Backup or migration.
    pub kind: Kind,
    /// Release of this program.
    pub tool: String,
    /// This host.
    pub host: String,
    /// `paper`, `monitor` or `live`.
    pub profile: String,
    /// Now, milliseconds since 1970 UTC.
    pub created_ms: u64,
    /// The same for people.
    pub created_utc: String,
    /// The account's address.
    pub account: Option<String>,
}

/// Makes a bundle at `target`. `last` is done when everything is ready and before it appears: its failure undoes all.
///
/// # Errors
/// [`BundleError`]; nothing is left at the target.
pub fn create(
    source: &Source,
    target: &Path,
    origin: Origin,
    last: impl FnOnce(&Manifest) -> Result<(), BundleError>,
) -> Result<Manifest, BundleError> {
    if target.starts_with(&source.root) {
        return Err(BundleError::Inside { path: target.to_owned() });
    }
    let draft = Draft::beside(target)?;
    let mut copier = Copier { source, to: draft.path(), files: Vec::new() };
    for part in &source.parts {
        copier.part(part)?;
    }
    let mut files = copier.files;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let scanner = Scanner::new(&source.secrets)?;
    for file in &files {
        scanner.file(&draft.path().join(&file.path), &source.root.join(&file.path), file.form)?;
    }
    let Facts { epoch, latches, ledger, journals, bus } = facts::gather(draft.path(), &files)?;
    let config = source.config.strip_prefix(&source.root).ok().and_then(Path::to_str).unwrap_or_default();
    let config_sha256 = files.iter().find(|file| file.path == config).map(|file| file.sha256.clone());
    let Origin { bundle, kind, tool, host, profile, created_ms, created_utc, account } = origin;
    let manifest = Manifest {
        schema: SCHEMA.to_owned(),
        bundle,
        kind,
        tool,
        host,
        profile,
        created_ms,
        created_utc,
        account,
        epoch,
        latches,
        filed: source.orders.iter().filter(|(_, path)| present(path)).map(|(order, _)| *order).collect(),
        ledger,
        journals,
        bus,
        config_sha256,
        files,
    };
    let document = draft.path().join(MANIFEST);
    let mut text = serde_json::to_vec_pretty(&manifest).map_err(|e| BundleError::bad(&document, e.to_string()))?;
    text.push(b'\n');
    files::write_new(&document, &text)?;
    let (_, own) = files::measure(&document)?;
    let mut sums = format!("{own}  {MANIFEST}\n");
    for file in &manifest.files {
        sums.push_str(&format!("{}  {}\n", file.sha256, file.path));
    }
    files::write_new(&draft.path().join(SUMS), sums.as_bytes())?;
    last(&manifest)?;
    draft.publish()?;
    Ok(manifest)
}

/// What cannot be looked at counts as there: an order restricts.
fn present(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(e) => e.kind() != std::io::ErrorKind::NotFound,
    }
}

struct Copier<'a> {
    source: &'a Source,
    to: &'a Path,
    files: Vec<FileEntry>,
}

impl Copier<'_> {
    fn part(&mut self, part: &Part) -> Result<(), BundleError> {
        let path = part.path.as_path();
        match part.what {
            What::Ledger => self.ledger(path),
            _ if !path.exists() => Ok(()),
            What::Cell => self.cell(path),
            What::Journal => self.journal(path),
            What::Bus => self.bus(path),
            What::Lines => self.file(path, Form::Plain, true),
            What::File => self.file(path, Form::Plain, false),
            What::Tree => files::below(path)?
                .iter()
                .filter(|path| !self.skips(path))
                .cloned()
                .collect::<Vec<_>>()
                .iter()
                .try_for_each(|path| self.file(path, Form::Plain, false)),
        }
    }

    fn skips(&self, path: &Path) -> bool {
        path.file_name().and_then(OsStr::to_str).is_none_or(|name| self.source.skipped.iter().any(|skip| skip == name))
    }

    /// Where a file of the home goes.
    fn target(&self, path: &Path) -> Result<(String, PathBuf), BundleError> {
        let inside = path.strip_prefix(&self.source.root).ok().and_then(Path::to_str);
        let name = inside.filter(|name| files::safe(name).is_some() && !name.contains(['\n', '\r', '\\']));
        let name = name.ok_or_else(|| BundleError::bad(path, "its name cannot be carried"))?;
        Ok((name.to_owned(), self.to.join(name)))
    }

    fn note(&mut self, path: String, form: Form, from: &Path, (bytes, sha256): (u64, String)) {
        self.files.push(FileEntry { path, form, bytes, sha256, modified_ms: files::modified_ms(from) });
    }

    fn file(&mut self, from: &Path, form: Form, lines: bool) -> Result<(), BundleError> {
        let (name, to) = self.target(from)?;
        let length = if lines { Some(files::whole_lines(from)?) } else { None };
        let copied = files::copy(from, &to, length)?;
        self.note(name, form, from, copied);
        Ok(())
    }

    fn ledger(&mut self, from: &Path) -> Result<(), BundleError> {
        let (name, to) = self.target(from)?;
        if !from.exists() {
            drop(Ledger::open(from)?);
        }
        if let Some(folder) = to.parent() {
            files::make_folder(folder)?;
        }
        Reader::open(from)?.copy_into(&to)?;
        let measured = files::measure(&to)?;
        self.note(name, Form::Ledger, from, measured);
        Ok(())
    }

    fn cell(&mut self, from: &Path) -> Result<(), BundleError> {
        let (name, to) = self.target(from)?;
        let mut bytes = vec![0; CELL_BYTES];
        if let Some(found) = facts::cell(from)? {
            let slot = slot::encode(found.seq, &found.payload).map_err(|e| BundleError::bad(from, e.to_string()))?;
            let at = usize::try_from(slot::offset_of(found.seq)).unwrap_or(0);
            if let Some(place) = bytes.get_mut(at..at.saturating_add(slot.len())) {
                place.copy_from_slice(&slot);
            }
        }
        files::write_new(&to, &bytes)?;
        let measured = files::measure(&to)?;
        self.note(name, Form::Cell, from, measured);
        Ok(())
    }

    fn journal(&mut self, open: &Path) -> Result<(), BundleError> {
        let folder = open.parent().unwrap_or(&self.source.root);
        let stem = open.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let ours = |path: &PathBuf| {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            path.parent() == Some(folder) && name.starts_with(stem) && name.ends_with(".jsonl")
        };
        let segments: Vec<PathBuf> = files::below(folder)?.into_iter().filter(ours).collect();
        segments.iter().try_for_each(|path| self.file(path, Form::Journal, true))
    }

    fn bus(&mut self, folder: &Path) -> Result<(), BundleError> {
        for _ in 0..TRIES {
            let before = self.files.len();
            let epoch = bus::head(folder)?.map(|head| head.epoch);
            let mut all = files::below(folder)?;
            let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jsonl");
            all.sort_by_key(|path| (is_log(path), path.clone()));
            for path in all.iter().filter(|path| !self.skips(path)).cloned().collect::<Vec<_>>() {
                self.file(&path, Form::Bus, is_log(&path))?;
            }
            let mut after = files::below(folder)?;
            after.sort_by_key(|path| (is_log(path), path.clone()));
            // A head that closed the log would deny what the next writer adds.
            if after == all && bus::head(folder)?.map(|head| head.epoch) == epoch {
                return Ok(());
            }
            // A segment or the whole log was closed meanwhile.
            for file in self.files.drain(before..) {
                let path = self.to.join(file.path);
                std::fs::remove_file(&path).map_err(BundleError::io("remove it", &path))?;
            }
        }
        Err(BundleError::bad(folder, "its files change places faster than they can be copied"))
    }
}
