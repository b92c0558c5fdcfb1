//! `engine status` and `engine mode`: am I safe, in one line, in one second.
//!
//! What is not known is never shown as flat or as Active; a document from disk is marked stale.

use crate::error::{NOT_RUNNING, Trouble, UNKNOWN};
use crate::growth::{self, Growth};
use crate::latched::Latched;
use crate::link::{self, DeadmanReport, Seen};
use crate::out::{Out, Tone, plain};
use crate::risk::{progress_line, residue};
use holdfast_core::ids::Role;
use holdfast_core::limits::STATUS_MAX_AGE;
use holdfast_core::registry::TradingMode;
use holdfast_core::status::{ExposureStatus, STATUS_SCHEMA, StatusDoc, WorkerStatus};
use holdfast_ipc::bootstrap::Home;
use holdfast_supervisor::instance;
use serde::Serialize;
use std::time::Duration;

/// The JSON form when no document of now exists. `running` is null when it is not known.
#[derive(Debug, Serialize)]
struct Absent<'a> {
    schema: &'static str,
    running: Option<bool>,
    pid: Option<u32>,
    detail: &'a str,
    last_known: Option<Stale<'a>>,
    /// Workers that live without a supervisor: after its sudden death, deadman until it has done its duty.
    survivors: Vec<Survivor>,
    /// What is open now, in a few words: `UNKNOWN` unless something proves more.
    exposure: Option<&'a str>,
    /// What the next start is bound by; null when nothing is, or a supervisor may be there.
    latched: Option<&'a Latched>,
    /// What deadman did when the last supervisor was lost.
    deadman_report: Option<DeadmanReport>,
}

/// A worker without a supervisor.
#[derive(Debug, Serialize)]
struct Survivor {
    role: Role,
    pid: u32,
}

/// An old document, marked so.
#[derive(Debug, Serialize)]
struct Stale<'a> {
    stale: bool,
    #[serde(flatten)]
    doc: &'a StatusDoc,
}

/// The JSON form of `mode`.
#[derive(Debug, Serialize)]
struct ModeDoc<'a> {
    schema: &'static str,
    mode: Option<TradingMode>,
    reason: Option<&'a str>,
    detail: &'a str,
}

/// `engine status`.
pub(crate) fn status(out: Out, home: &Home, watch: bool) -> Result<u8, Trouble> {
    link::block(async {
        loop {
            let seen = link::look(home).await;
            if watch && out.terminal() {
                // Home and clear, so that what is shown is only ever one moment.
                out.raw(b"\x1b[H\x1b[2J");
            }
            let (code, read) = show(out, home, &seen);
            if !watch || !read {
                return code;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
}

/// Prints one reading; gives the exit code, and whether anybody still reads.
fn show(out: Out, home: &Home, seen: &Seen) -> (u8, bool) {
    let (running, pid, detail, code) = match seen {
        Seen::Live(doc) => {
            let records = growth::measure(home);
            return (0, out.doc(doc.as_ref()) && out.line(text(out, doc, records).trim_end()));
        }
        Seen::NotRunning { stale_pidfile } => {
            let stale = if *stale_pidfile { " (a stale pidfile was found and cleared)" } else { "" };
            if *stale_pidfile {
                let _ = link::absent(home, true);
            }
            (Some(false), None, format!("no engine runs in {}{stale}", home.root().display()), NOT_RUNNING)
        }
        Seen::Unknown { why, pid } => (None, *pid, why.clone(), UNKNOWN),
    };
    let last = link::last_known(home);
    let last_known = last.as_ref().map(|doc| Stale { stale: true, doc });
    let survivors: Vec<Survivor> = match running {
        Some(_) => instance::survivors(home).into_iter().map(|(role, pid)| Survivor { role, pid }).collect(),
        None => Vec::new(),
    };
    let deadman_report = link::deadman_report(home, last.as_ref());
    let acting = survivors.iter().any(|s| s.role == Role::Deadman);
    let open = running.and_then(|_| left_open(acting, last.as_ref(), deadman_report.as_ref()));
    let head = match (running, &open) {
        (Some(_), Some(open)) if open.lost => out.paint(Tone::Bad, "supervisor lost · treat as Kill"),
        (Some(_), _) => out.paint(Tone::Careful, "not running"),
        (None, _) => out.paint(Tone::Bad, "UNKNOWN, treat as Kill"),
    };
    let latched = running.and_then(|_| Latched::of(home));
    let mut words = match &open {
        // The exposure is the news; where it is about comes after it.
        Some(open) if open.lost => format!("{head} · {} · {}", open.words, plain(&detail)),
        Some(open) => format!("{head} · {} · {}", plain(&detail), open.words),
        None if running.is_none() => format!("{head} · exposure UNKNOWN · {}", plain(&detail)),
        None => format!("{head} · {}", plain(&detail)),
    };
    if let Some(latched) = &latched {
        words.push_str(&format!(" · {}", out.paint(Tone::Bad, &plain(&latched.words()))));
    }
    if let Some(doc) = &last {
        let (at, open) = (plain(&doc.generated_at), exposure(&doc.exposure));
        words.push_str(&format!("\nlast known {at} (stale): {}, {open}", doc.trading_mode));
    }
    if let Some(report) = &deadman_report {
        words.push_str(&format!("\ndeadman    {}: {}", plain(&report.at), plain(&report.note)));
        if let Some(progress) = &report.progress {
            words.push_str(&format!(" ({})", progress_line(progress)));
        }
    }
    words.push_str(match running {
        Some(_) if acting => {
            "\nnext       wait: deadman is still there and acts by itself five seconds after its supervisor was lost; \
             engine kill reaches it at once"
        }
        Some(_) => "\nnext       engine start",
        None => "\nnext       engine kill (works without the supervisor), or engine logs supervisor",
    });
    let exposure = open.as_ref().map(|open| open.words.as_str());
    let doc = Absent {
        schema: STATUS_SCHEMA,
        running,
        pid,
        detail: &detail,
        last_known,
        survivors,
        exposure,
        latched: latched.as_ref(),
        deadman_report,
    };
    (code, out.doc(&doc) && out.line(&words))
}

/// What is open when no supervisor is there to read it.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    /// The supervisor went without an orderly end, and nothing has proven the account flat since.
    lost: bool,
    words: String,
}

/// Judges what is open after a supervisor. An orderly stop leaves its last reading; a sudden death leaves nothing that
/// may be called flat but deadman's proof. `None` when nothing of an earlier tree is there.
fn left_open(acting: bool, last: Option<&StatusDoc>, report: Option<&DeadmanReport>) -> Option<Left> {
    // An orderly end after the report has read the account later than it.
    let newer = |report: &&DeadmanReport| acting || last.is_none_or(|doc| doc.running || doc.generated_at <= report.at);
    if let Some(report) = report.filter(newer) {
        let words = match &report.progress {
            Some(_) if report.proves_flat() => format!("flat, proven by deadman at {}", plain(&report.at)),
            Some(progress) if !progress.residue.is_empty() => format!("NOT FLAT: {}", residue(progress)),
            Some(_) | None => "exposure UNKNOWN".to_owned(),
        };
        return Some(Left { lost: acting || !report.proves_flat(), words });
    }
    // An orderly stop takes deadman down with it and marks the document.
    if acting || last.is_some_and(|doc| doc.running) {
        return Some(Left { lost: true, words: "exposure UNKNOWN".to_owned() });
    }
    last.map(|doc| Left { lost: false, words: format!("{} when last read", exposure(&doc.exposure)) })
}

/// `engine mode`: the exit code says it all.
pub(crate) fn mode(out: Out, home: &Home) -> Result<u8, Trouble> {
    let seen = link::block(link::look(home))?;
    let unreachable = |detail: &str| {
        out.doc(&ModeDoc { schema: "holdfast.mode.v1", mode: None, reason: None, detail });
        out.line(&format!("{} {}", out.paint(Tone::Bad, "unknown"), plain(detail)));
        5
    };
    Ok(match seen {
        Seen::Live(doc) if link::age_ms(&doc) > STATUS_MAX_AGE.as_ms() => {
            unreachable(&format!("the newest status is {} ms old", link::age_ms(&doc)))
        }
        Seen::Live(doc) => {
            let reason = doc.mode_reasons.first();
            let detail = reason.map_or("no restriction", |r| r.display_text());
            out.doc(&ModeDoc {
                schema: "holdfast.mode.v1",
                mode: Some(doc.trading_mode),
                reason: reason.map(|r| r.as_str()),
                detail,
            });
            let code = reason.map_or_else(String::new, |r| format!(" {r}: {detail}"));
            out.line(&format!("{}{code}", out.paint(tone(doc.trading_mode), doc.trading_mode.as_str())));
            match doc.trading_mode {
                TradingMode::Active => 0,
                TradingMode::ReduceOnly => 3,
                TradingMode::Kill => 4,
            }
        }
        Seen::NotRunning { stale_pidfile } => unreachable(&link::absent(home, stale_pidfile).to_string()),
        Seen::Unknown { why, .. } => unreachable(&why),
    })
}

/// The colour of a mode.
pub(crate) const fn tone(mode: TradingMode) -> Tone {
    match mode {
        TradingMode::Active => Tone::Good,
        TradingMode::ReduceOnly => Tone::Careful,
        TradingMode::Kill => Tone::Bad,
    }
}

/// Exposure in a few words.
pub(crate) fn exposure(exposure: &ExposureStatus) -> String {
    if !exposure.known {
        return "exposure UNKNOWN".to_owned();
    }
    if exposure.flat {
        return "flat".to_owned();
    }
    let mut parts: Vec<String> = exposure
        .positions
        .iter()
        .filter(|p| !p.size.is_zero())
        .take(5)
        .map(|p| format!("{} {} ({} USD)", plain(&p.coin), p.size, p.notional_usd))
        .collect();
    let open = exposure.positions.iter().filter(|p| !p.size.is_zero()).count();
    if open > parts.len() {
        parts.push(format!("and {} more", open - parts.len()));
    }
    let orders = match exposure.open_orders {
        0 => String::new(),
        1 => "1 order".to_owned(),
        n => format!("{n} orders"),
    };
    if !orders.is_empty() {
        parts.push(orders);
    }
    format!("open: {}", parts.join(", "))
}

/// The whole document for people; the first line answers "am I safe?".
fn text(out: Out, doc: &StatusDoc, records: Option<Growth>) -> String {
    let reason = doc.mode_reasons.first().map_or_else(
        || "the engine may open and close".to_owned(),
        |r| format!("{} [{r}]", r.display_text().trim_end_matches('.')),
    );
    let mut rows: Vec<(&str, String)> = Vec::new();
    let head = format!(
        "{} · {reason} · {}",
        out.paint(tone(doc.trading_mode), doc.trading_mode.as_str()),
        exposure(&doc.exposure)
    );
    if !doc.next_step.is_empty() {
        rows.push(("next", plain(&doc.next_step)));
    }
    if doc.kill.active || doc.kill.state != "none" {
        rows.push(("kill", kill(doc)));
    }
    if let Some(words) = &doc.kill.taken_over {
        rows.push(("taken", plain(words)));
    }
    if doc.mode_reasons.len() > 1 {
        rows.push(("also", doc.mode_reasons.iter().skip(1).map(|r| r.as_str()).collect::<Vec<_>>().join(" ")));
    }
    if doc.open_permission_blocked_latch {
        let codes: Vec<&str> = doc.open_permission_reason_codes.iter().map(|r| r.as_str()).collect();
        rows.push(("latched", codes.join(" ")));
    }
    for worker in &doc.workers {
        rows.push(("worker", worker_line(out, worker, fenced(doc, worker))));
    }
    let permit = if doc.permit.live { "live" } else { "none" };
    rows.push(("permit", format!("{permit}, epoch {}", doc.permit.epoch)));
    let fires = doc.dead_man.venue_fires_at.as_ref().map_or_else(String::new, |at| format!(" (fires {at})"));
    let operator = doc.dead_man.operator_expires_at.as_deref().unwrap_or("off");
    rows.push(("dead-man", format!("venue {}{fires}, operator {operator}", doc.dead_man.venue)));
    if let Some(why) = &doc.dead_man.unrecorded {
        let words = format!("NOT KEPT ({}): deadman works on, its successor may not know what it began", plain(why));
        rows.push(("record", out.paint(Tone::Bad, &words).to_string()));
    }
    if let Some(equity) = &doc.exposure.equity_usd {
        rows.push(("equity", format!("{} USD", plain(equity))));
    }
    rows.push(("journal", journal(doc)));
    if doc.disk.short {
        let free = doc.disk.free_mib.map_or_else(String::new, |mib| format!(", {mib} MiB free"));
        rows.push(("disk", out.paint(Tone::Bad, &format!("FULL{free}")).to_string()));
    }
    if let Some(records) = records {
        rows.push(("records", records.to_string()));
    }
    if !doc.api.cockpit.is_empty() {
        rows.push(("cockpit", plain(&doc.api.cockpit)));
    }
    rows.push((
        "engine",
        format!(
            "pid {}, {}, {}, up {} s, {}",
            doc.pid,
            doc.profile,
            plain(&doc.version),
            doc.uptime_s.ms / 1000,
            plain(&doc.home)
        ),
    ));
    rows.iter()
        .fold(head, |text, (name, words)| format!("{text}\n{} {words}", out.paint(Tone::Faint, &format!("{name:<9}"))))
}

/// The runtime bus and the decision journal. Of the second nothing is known without the engine, its only writer.
fn journal(doc: &StatusDoc) -> String {
    let bus = if doc.journal.durable {
        format!("{} events, durable", doc.journal.events)
    } else {
        format!("{} events, NOT DURABLE ({})", doc.journal.events, plain(&doc.journal.detail))
    };
    if decisions_unknown(doc) {
        return format!("{bus}; decisions: not known while the engine is down");
    }
    let durable = if doc.decisions.durable { "durable" } else { "NOT DURABLE" };
    format!("{bus}; decisions: {} entries, {durable}, {} unsettled", doc.decisions.entries, doc.decisions.unsettled)
}

/// Whether nobody is there to say how the decision journal is.
pub(crate) fn decisions_unknown(doc: &StatusDoc) -> bool {
    let engine = doc.workers.iter().find(|worker| worker.role == Role::Engine);
    !doc.decisions.durable && engine.is_none_or(|engine| engine.state != "ready" && engine.state != "degraded")
}

/// The engine, kept down by a kill: no fault.
pub(crate) fn fenced(doc: &StatusDoc, worker: &WorkerStatus) -> bool {
    doc.kill.active && worker.role == Role::Engine && worker.state == "exited"
}

fn kill(doc: &StatusDoc) -> String {
    let latched = if doc.kill.active { "latched, " } else { "" };
    let proof = doc.kill.proof_at.as_ref().map_or_else(String::new, |at| format!(", proven at venue time {at}"));
    let left: Vec<String> =
        doc.kill.residue.iter().map(|r| format!("{} {} and {} orders", plain(&r.coin), r.size, r.orders)).collect();
    let left = if left.is_empty() { String::new() } else { format!(", left: {}", left.join(", ")) };
    let why = doc.kill.reason.as_ref().map_or_else(String::new, |why| format!(" ({})", plain(why)));
    format!("{latched}{}{proof}{left}{why}", doc.kill.state)
}

/// One worker in one line.
pub(crate) fn worker_line(out: Out, worker: &WorkerStatus, fenced: bool) -> String {
    let tone = match worker.state.as_str() {
        "ready" => Tone::Good,
        _ if fenced => Tone::Careful,
        _ => Tone::Bad,
    };
    let pid = worker.pid.map_or_else(|| "no pid".to_owned(), |pid| format!("pid {pid}"));
    let beat = worker.last_beat_ms.map_or_else(String::new, |ms| format!(", beat {ms} ms ago"));
    let probation = if worker.probation { ", on probation" } else { "" };
    let restarts = if worker.restarts == 0 { String::new() } else { format!(", {} restarts", worker.restarts) };
    let exit = match (&worker.last_exit, worker.state.as_str()) {
        _ if fenced => ", kept down by the kill".to_owned(),
        (Some(exit), state) if state != "ready" => format!(", last exit: {}", plain(exit)),
        _ => String::new(),
    };
    // Padded before painting: colour codes have no width.
    let state = out.paint(tone, &format!("{:<8}", worker.state));
    format!("{:<8} {state} {pid}{beat}{restarts}{probation}{exit}", worker.role.as_str())
}
