//! What `backup` and `migrate` answer, as text and as JSON, and what a refusal means.

use super::plan;
use crate::error::Trouble;
use crate::out::{Out, Tone, plain};
use holdfast_ipc::bootstrap::Home;
use holdfast_store::bundle::{BundleError as Refusal, BusFacts, Exported, Import, Item, Kind, Manifest, Outcome};
use serde::Serialize;
use std::path::Path;

/// The JSON form of a bundle that was made or verified.
#[derive(Serialize)]
struct BundleDoc<'a> {
    schema: &'static str,
    path: String,
    bundle: &'a str,
    kind: Kind,
    files: usize,
    bytes: u64,
    created_utc: &'a str,
    profile: &'a str,
    account: Option<&'a str>,
    epoch: Option<u64>,
    latches: &'a [String],
    bus: Option<&'a BusFacts>,
    positions: Vec<i64>,
    next: &'a str,
}

/// The JSON form of the checklist.
#[derive(Serialize)]
struct ChecklistDoc<'a> {
    schema: &'static str,
    home: String,
    bundle: &'a str,
    ok: bool,
    epoch: Option<u64>,
    items: &'a [Item],
    next: &'static str,
}

/// The JSON form of a mark taken off.
#[derive(Serialize)]
struct ReopenedDoc<'a> {
    schema: &'static str,
    bundle: &'a str,
    was_exported: bool,
}

/// A bundle was made.
pub(super) fn made(out: Out, path: &Path, manifest: &Manifest) {
    let next = match manifest.kind {
        Kind::Backup => {
            format!("engine backup verify {0}; keys/ is not in it: keep a copy of your own", path.display())
        }
        Kind::Migrate => format!(
            "copy {0} and, by hand, keys/ to the new host; there: engine migrate verify, engine migrate import. This home \
             does not start again; if the bundle will never be used: engine migrate reopen --i-will-not-use {1}",
            path.display(),
            manifest.bundle
        ),
    };
    tell(out, "holdfast.bundle.made.v1", path, manifest, &next);
}

/// A bundle is whole.
pub(super) fn verified(out: Out, path: &Path, manifest: &Manifest) {
    let next = match manifest.kind {
        Kind::Backup => "engine backup restore PATH --into DIR --accept-fork: its source may have gone on since",
        Kind::Migrate => {
            "engine migrate import PATH --into DIR, on one host only: a second import elsewhere cannot be noticed"
        }
    };
    tell(out, "holdfast.bundle.verified.v1", path, manifest, next);
}

fn tell(out: Out, schema: &'static str, path: &Path, manifest: &Manifest, next: &str) {
    let bytes = manifest.files.iter().map(|file| file.bytes).fold(0, u64::saturating_add);
    out.doc(&BundleDoc {
        schema,
        path: path.display().to_string(),
        bundle: &manifest.bundle,
        kind: manifest.kind,
        files: manifest.files.len(),
        bytes,
        created_utc: &manifest.created_utc,
        profile: &manifest.profile,
        account: manifest.account.as_deref(),
        epoch: manifest.epoch,
        latches: &manifest.latches,
        bus: manifest.bus.as_ref(),
        positions: manifest.ledger.positions.iter().map(|position| position.id).collect(),
        next,
    });
    let kind = match manifest.kind {
        Kind::Backup => "backup",
        Kind::Migrate => "migration",
    };
    let what = if schema.contains("made") { "written" } else { "whole" };
    out.line(&format!(
        "{} · {kind} {} · {} files, {bytes} bytes · {}",
        out.paint(Tone::Good, what),
        manifest.bundle,
        manifest.files.len(),
        plain(&manifest.created_utc)
    ));
    let latches = if manifest.latches.is_empty() { "none".to_owned() } else { manifest.latches.join(", ") };
    out.line(&format!("  latches set {latches} · epoch {}", manifest.epoch.unwrap_or(0)));
    if let Some(bus) = &manifest.bus {
        out.line(&format!(
            "  bus {} events, every one verified; head {} (its key does not travel)",
            bus.count, bus.head
        ));
    }
    for position in &manifest.ledger.positions {
        out.line(&format!("  recorded position #{} {}", position.id, plain(&position.description)));
    }
    out.line(&format!("{} {next}", out.paint(Tone::Faint, "next")));
}

/// The checklist, point by point.
pub(super) fn checklist(out: Out, home: &Home, import: &Import, items: &[Item], now: bool) {
    let ok = items.iter().all(|item| item.outcome != Outcome::Fail);
    let next = if ok {
        "engine start: it is latched until books are reconciled; engine status shows what is open"
    } else {
        "mend what failed, then engine migrate check; engine start refuses until then"
    };
    out.doc(&ChecklistDoc {
        schema: "holdfast.import.checklist.v1",
        home: home.root().display().to_string(),
        bundle: &import.manifest.bundle,
        ok,
        epoch: import.epoch,
        items,
        next,
    });
    let done = if now { "imported into" } else { "imported before into" };
    out.line(&format!("{done} {} · bundle {} · stopped", home.root().display(), import.manifest.bundle));
    for item in items {
        let (tone, word) = match item.outcome {
            Outcome::Pass => (Tone::Good, "pass"),
            Outcome::Note => (Tone::Careful, "note"),
            Outcome::Fail => (Tone::Bad, "FAIL"),
        };
        out.line(&format!("  {} {}: {}", out.paint(tone, word), item.name, plain(&item.detail)));
    }
    out.line(&format!("{} {next}", out.paint(Tone::Faint, "next")));
}

/// A mark is off.
pub(super) fn reopened(out: Out, bundle: &str, was_exported: bool) {
    out.doc(&ReopenedDoc { schema: "holdfast.reopened.v1", bundle, was_exported });
    let what =
        if was_exported { "reopened: this home may start again; destroy every copy of" } else { "was not exported to" };
    out.line(&format!("{what} bundle {}", plain(bundle)));
}

/// The state lives elsewhere.
pub(super) fn exported(exported: &Exported) -> Trouble {
    let when =
        if exported.exported_ms == 0 { String::new() } else { format!(" at {}", plan::utc(exported.exported_ms)) };
    Trouble::Refused {
        code: "state_exported".into(),
        message: format!("this state was exported{when} into bundle {}", plain(&exported.bundle)),
        risk:
            "nothing was started here; whoever imported the bundle trades this account, and two engines on one account \
               undo each other"
                .into(),
        next: format!(
            "work where the bundle was imported; only if it never will be used: engine migrate reopen --i-will-not-use {}",
            plain(&exported.bundle)
        ),
    }
}

/// What the store refused.
pub(super) fn trouble(error: Refusal) -> Trouble {
    let (code, next) = match &error {
        Refusal::Io { .. } => ("bundle_io", "mend what the kernel says, then again"),
        Refusal::Occupied { .. } => ("target_not_empty", "name a folder that does not exist yet"),
        Refusal::Inside { .. } => ("target_inside_home", "name a folder outside the home"),
        Refusal::Secret { .. } => (
            "secret_found",
            "take it out of that file and change it where it was issued: it has been lying there; then again",
        ),
        Refusal::Bad { .. } => ("bundle_bad", "use another copy of the bundle; keep this one as evidence"),
        Refusal::Newer { .. } => ("bundle_newer", "use the version of engine that made it, or a later one"),
        Refusal::Fork { .. } => (
            "fork_not_accepted",
            "make sure that its source is stopped for good, then add --accept-fork; to move an engine use migrate export",
        ),
        Refusal::OtherBundle { .. } => ("other_bundle", "give the id that the refused start names"),
        Refusal::Ledger(_) => {
            ("ledger", "engine doctor; a damaged ledger is replaced by importing the last good bundle")
        }
        Refusal::Cell(_) => ("cell", "engine doctor; do not start before it is settled"),
        Refusal::Bus(_) => ("bus", "engine audit verify shows all; use another copy, and keep this one as evidence"),
        Refusal::Journal(_) => ("journal", "use another copy; keep this one as evidence"),
    };
    let risk = "nothing was carried and nothing was started; what was there before is as it was".to_owned();
    Trouble::Refused { code: code.into(), message: plain(&error.to_string()), risk, next: next.into() }
}
