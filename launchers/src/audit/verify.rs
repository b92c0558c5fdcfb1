//! `engine audit verify` and `engine audit anchor`: whether the record holds, and if not, which event, which byte, and
//! what was expected there.

use super::place::{self, Kind, Source};
use crate::cli::VerifyArgs;
use crate::error::{FAILED, Trouble};
use crate::out::{Out, Tone, plain};
use holdfast_ipc::bootstrap::Home;
use holdfast_store::bus::{self, Anchor, HeadVerdict, KeyPlace, Questions, Report};
use holdfast_store::disk::RealFolder;
use holdfast_store::journal::{self, JournalError};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The whole answer.
#[derive(Debug, Serialize)]
struct Doc {
    schema: &'static str,
    ok: bool,
    /// Absent when it was not looked at.
    bus: Option<Report>,
    decisions: Option<Decisions>,
}

/// The decision journal.
#[derive(Debug, Default, Serialize)]
struct Decisions {
    ok: bool,
    entries: u64,
    head: Option<String>,
    unsettled: usize,
    /// Where, and what.
    finding: Option<Finding>,
}

#[derive(Debug, Serialize)]
struct Finding {
    file: PathBuf,
    byte: u64,
    entry: Option<u64>,
    expected: &'static str,
    found: String,
}

pub(super) fn verify(out: Out, home: &Home, args: &VerifyArgs) -> Result<u8, Trouble> {
    let anchor = args.anchor.as_deref().map(anchor_of).transpose()?;
    let questions = Questions { deep: args.deep, anchor, witness: None };
    let witnessed = || -> Result<Questions, Trouble> {
        Ok(Questions { witness: bus::witness(&home.witness()).map_err(Trouble::Bus)?, ..questions.clone() })
    };
    let (bus, decisions) = match args.file.as_deref().map(place::of_path).transpose()? {
        Some(Kind::Bus(source)) => {
            // The folder of this home has a key; a copy of it elsewhere has none at hand.
            let ours = args.file.as_deref().is_some_and(|path| path.starts_with(home.bus()));
            let keys = if ours { place::of_home(home)?.and_then(|(_, keys)| keys) } else { None };
            let questions = if ours { witnessed()? } else { questions };
            (Some(audit(&source, keys.as_ref(), &questions)?), None)
        }
        Some(Kind::Decisions(path)) => (None, Some(decisions(&path)?)),
        None => {
            let questions = witnessed()?;
            let Some((source, keys)) = place::of_home(home)? else {
                return Err(match questions.witness {
                    Some(seen) => Trouble::Evidence { what: format!("no bus, and deadman saw {seen}") },
                    None => Trouble::NoRecord { home: home.root().to_owned() },
                });
            };
            let journal = home.decisions();
            let there = journal::exists(&journal).map_err(Trouble::Decisions)?;
            let decisions = if there { Some(decisions(&journal)?) } else { None };
            (Some(audit(&source, keys.as_ref(), &questions)?), decisions)
        }
    };
    let ok = bus.as_ref().is_none_or(|bus| bus.ok) && decisions.as_ref().is_none_or(|decisions| decisions.ok);
    let doc = Doc { schema: "holdfast.audit.verify.v1", ok, bus, decisions };
    if out.json {
        out.doc(&doc);
        return Ok(if ok { 0 } else { FAILED });
    }
    show(out, &doc);
    if ok { Ok(0) } else { Err(trouble(&doc)) }
}

pub(super) fn audit(
    source: &Source,
    keys: Option<&KeyPlace<RealFolder>>,
    questions: &Questions,
) -> Result<Report, Trouble> {
    bus::verify(source, keys, questions).map_err(Trouble::Bus)
}

/// A line for the owner to keep elsewhere.
pub(super) fn anchor(out: Out, home: &Home) -> Result<u8, Trouble> {
    #[derive(Serialize)]
    struct Line<'a> {
        schema: &'static str,
        anchor: &'a str,
        events: u64,
    }
    let no_record = || Trouble::NoRecord { home: home.root().to_owned() };
    let (source, keys) = place::of_home(home)?.ok_or_else(no_record)?;
    let report = audit(&source, keys.as_ref(), &Questions::default())?;
    let Some(line) = report.anchor().map(|anchor| anchor.to_string()) else {
        return Err(report.finding.map_or_else(no_record, |finding| Trouble::Evidence { what: finding.to_string() }));
    };
    out.doc(&Line { schema: "holdfast.audit.anchor.v1", anchor: &line, events: report.events });
    out.line(&line);
    Ok(0)
}

fn anchor_of(text: &str) -> Result<Anchor, Trouble> {
    Anchor::parse(text).ok_or_else(|| Trouble::Usage("--anchor takes a line of `engine audit anchor`".to_owned()))
}

fn decisions(path: &Path) -> Result<Decisions, Trouble> {
    match journal::verify(path) {
        Ok(audit) => {
            let finding = audit.torn_at.map(|byte| Finding {
                file: path.to_owned(),
                byte,
                entry: Some(audit.entries + 1),
                expected: "a line with its newline",
                found: "an unfinished one; the next start cuts it and says so".to_owned(),
            });
            let head = audit.head.map(|head| head.to_string());
            Ok(Decisions { ok: finding.is_none(), entries: audit.entries, head, unsettled: audit.unsettled, finding })
        }
        Err(JournalError::Broken { path, at, why }) => {
            let expected = "the next entry of the chain";
            let finding = Some(Finding { file: path, byte: at, entry: None, expected, found: why });
            Ok(Decisions { finding, ..Decisions::default() })
        }
        Err(error) => Err(Trouble::Decisions(error)),
    }
}

fn show(out: Out, doc: &Doc) {
    let word = |ok: bool| if ok { out.paint(Tone::Good, "ok ") } else { out.paint(Tone::Bad, "BAD") };
    if let Some(bus) = &doc.bus {
        let head = match bus.head {
            HeadVerdict::OkSigned => "head agrees, signed",
            HeadVerdict::Unsigned => "head agrees, nobody checked its signature: no key at hand",
            HeadVerdict::Absent => "no head: a cut tail would not show",
            HeadVerdict::Disagrees => "head DISAGREES",
        };
        let last = bus.last_checksum.as_deref().unwrap_or("none");
        out.line(&format!("{} bus        {} events, last {last}; {head}", word(bus.ok), bus.events));
        if bus.snapshot.present {
            out.line(&format!("{} snapshot   {}", word(bus.snapshot.consistent), plain(&bus.snapshot.reason)));
        }
        if let Some(found) = bus.anchor {
            out.line(&format!(
                "{} anchor     {}",
                word(found),
                if found { "is in the log" } else { "is NOT in the log" }
            ));
        }
        match bus.witness {
            Some(true) => out.line(&format!("{} witness    what deadman saw last is in the log", word(true))),
            Some(false) => out.line(&format!(
                "{} witness    what deadman saw last is NOT in the log: it was cut or put back to an older state",
                word(false)
            )),
            None => true,
        };
        if bus.anchors > 0 {
            out.line(&format!("{} anchors    {} kept beside the log are in it", word(true), bus.anchors));
        }
        for warning in &bus.warnings {
            out.note(&format!("odd: {}", plain(&warning.to_string())));
        }
    }
    if let Some(decisions) = &doc.decisions {
        let last = decisions.head.as_deref().unwrap_or("none");
        let (entries, unsettled) = (decisions.entries, decisions.unsettled);
        out.line(&format!("{} decisions  {entries} entries, last {last}, {unsettled} unsettled", word(decisions.ok)));
    }
}

fn trouble(doc: &Doc) -> Trouble {
    let bus = doc.bus.as_ref().and_then(|bus| bus.finding.as_ref()).map(ToString::to_string);
    let decisions = doc.decisions.as_ref().and_then(|decisions| decisions.finding.as_ref());
    let decisions =
        decisions.map(|f| format!("{}, byte {}: expected {}, found {}", f.file.display(), f.byte, f.expected, f.found));
    let all: Vec<String> = bus.into_iter().chain(decisions).map(|text| plain(&text)).collect();
    Trouble::Evidence { what: all.join("; ") }
}
