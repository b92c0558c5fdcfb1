//! `engine stop`: returns when the process is gone, or says that it is not. What stays open is named, and who watches it.

use crate::cli::StopArgs;
use crate::error::Trouble;
use crate::link::{self, Gone, Link, Seen};
use crate::out::{Out, Tone, plain};
use crate::process::Watched;
use crate::risk::{progress_line, residue};
use crate::status::exposure;
use holdfast_core::command::{ControlReply, ControlRequest};
use holdfast_core::ids::Role;
use holdfast_core::registry::{Profile, VenueDeadMan};
use holdfast_core::report::JobState;
use holdfast_core::status::{ExposureStatus, StatusDoc};
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_supervisor::instance::{self, Instance};
use serde::Serialize;
use std::time::Duration;

/// How long the supervisor may take to take the order, and the kernel to carry out a SIGKILL.
const ANSWER: Duration = Duration::from_secs(2);

/// The JSON form.
#[derive(Debug, Serialize)]
struct Stopped<'a> {
    schema: &'static str,
    stopped: bool,
    pid: u32,
    killed: bool,
    exposure: Option<&'a ExposureStatus>,
    watched_by: &'a str,
}

/// How the conversation ended.
#[derive(Debug)]
enum Heard {
    /// The door closed, as it does when the supervisor goes. Whether the account was proven flat on the way.
    Going(bool),
    /// No word in time, or nobody at the door.
    Nothing(Gone),
    /// Positions could not be closed in time.
    Open(String),
    /// It said no.
    Refused(Trouble),
}

/// Runs the command.
pub(crate) fn stop(out: Out, home: &Home, args: &StopArgs) -> Result<u8, Trouble> {
    let process = hold(home)?;
    let pid = process.pid;
    let deadline = clock::now().after(Span::from_ms(args.timeout.saturating_mul(1000)));
    let (before, heard) = link::block(async {
        let before = match link::look(home).await {
            Seen::Live(doc) => Some(doc),
            Seen::NotRunning { .. } | Seen::Unknown { .. } => None,
        };
        (before, converse(out, home, args.flatten, deadline).await)
    })?;
    let flat = match heard {
        Heard::Refused(trouble) => return Err(trouble),
        Heard::Open(residue) => {
            out.note("the engine was not stopped: it is still closing");
            return Err(Trouble::NotFlat { residue, trying: true });
        }
        // What may still be closing is never killed: whoever wants that says `engine stop` without --flatten.
        Heard::Nothing(why) if args.flatten => {
            let residue = format!("no proof, exposure is unknown: the supervisor did not take the order ({why})");
            return Err(Trouble::NotFlat { residue, trying: false });
        }
        Heard::Going(false) if args.flatten => {
            let gone = process.wait(Duration::from_nanos(clock::now().until(deadline).0));
            return Err(unproven(home, pid, gone, before.as_deref()));
        }
        Heard::Going(flat) => flat,
        Heard::Nothing(why) => {
            out.note(&format!("the supervisor did not take the order ({why}); waiting for the time-out"));
            false
        }
    };
    let gone = process.wait(Duration::from_nanos(clock::now().until(deadline).0));
    if !gone {
        out.note(&format!("still there after {} s: SIGKILL", args.timeout));
        if !process.kill() || !process.wait(ANSWER) {
            return Err(Trouble::StillThere { pid, why: "it does not end, not even by SIGKILL".to_owned() });
        }
    }
    if let Instance::NotRunning { stale_pidfile: true } = instance::probe(home) {
        // What a killed supervisor leaves behind; the next start would clear it as well.
        let _ = instance::clear_stale(home);
    }
    report(out, pid, before.as_deref(), flat, !gone);
    if args.flatten {
        out.line("paused: the next start manages what is open and opens nothing until `engine resume`");
    }
    Ok(0)
}

/// The conversation about a flatten ended without its proof.
fn unproven(home: &Home, pid: u32, gone: bool, before: Option<&StatusDoc>) -> Trouble {
    let known = before.map_or_else(|| "exposure UNKNOWN".to_owned(), |doc| exposure(&doc.exposure));
    let end = if gone { format!("pid {pid} is gone") } else { format!("pid {pid} is still there") };
    let deadman = instance::survivors(home).iter().any(|(role, _)| *role == Role::Deadman);
    Trouble::NotFlat {
        residue: format!("no proof came before the conversation ended, {end}; before the order: {known}"),
        trying: !gone || deadman,
    }
}

/// Takes hold of the home's supervisor.
fn hold(home: &Home) -> Result<Watched, Trouble> {
    // Twice: it may go away, or appear, between two looks.
    for _ in 0..2 {
        match instance::probe(home) {
            Instance::Running { pid } => {
                if let Some(process) = Watched::hold(home, pid) {
                    return Ok(process);
                }
            }
            Instance::NotRunning { stale_pidfile } => return Err(link::absent(home, stale_pidfile)),
            // The pidfile is lost; one that answers at the door tells its pid itself.
            Instance::Unknown { why } => {
                return link::block(Watched::hold_answering(home))?.ok_or(Trouble::Unknown { why });
            }
        }
    }
    Err(Trouble::Unknown { why: "the kernel gives no hold on the supervisor's process".to_owned() })
}

async fn converse(out: Out, home: &Home, flatten: bool, deadline: Tick) -> Heard {
    let mut link = match Link::ask(&home.control_sock(), &ControlRequest::Stop { flatten }, ANSWER).await {
        Ok(link) => link,
        Err(gone) => return Heard::Nothing(gone),
    };
    let mut last = None;
    loop {
        let left = Duration::from_nanos(clock::now().until(deadline).0);
        match link.reply(left).await {
            Ok(ControlReply::Progress(progress)) => {
                out.note(&progress_line(&progress));
                last = Some(progress);
            }
            Ok(ControlReply::Done { message }) => out.detail(&plain(&message)),
            Ok(ControlReply::Unsaved { message }) => out.note(&plain(&message)),
            Ok(ControlReply::Refused { code, .. }) if flatten && code == "not_flat" => {
                let words = || "the account is not flat".to_owned();
                return Heard::Open(last.as_ref().map_or_else(words, residue));
            }
            Ok(ControlReply::Refused { code, message, risk, next }) => {
                return Heard::Refused(Trouble::Refused { code, message, risk, next });
            }
            Ok(ControlReply::Status { .. } | ControlReply::ResumeOffer { .. }) => {}
            Err(Gone::Closed | Gone::Broken(_) | Gone::Absent) => {
                return Heard::Going(last.is_some_and(|p| p.state == JobState::Flat));
            }
            Err(gone @ Gone::Silent(_)) => {
                return match last {
                    Some(progress) if progress.state == JobState::Flat => Heard::Going(true),
                    Some(progress) if flatten => Heard::Open(residue(&progress)),
                    Some(_) | None => Heard::Nothing(gone),
                };
            }
        }
    }
}

fn report(out: Out, pid: u32, before: Option<&StatusDoc>, flat: bool, killed: bool) {
    let watched_by = match (killed, before) {
        (true, _) => "deadman acts by itself five seconds after its supervisor was killed, as configured; after that, \
                      nothing of Holdfast runs"
            .to_owned(),
        (false, Some(doc)) => watcher(doc),
        (false, None) => {
            "nothing of Holdfast runs; whether the venue's own dead-man switch is armed is not known".to_owned()
        }
    };
    out.doc(&Stopped {
        schema: "holdfast.stop.v1",
        stopped: true,
        pid,
        killed,
        exposure: before.map(|doc| &doc.exposure),
        watched_by: &watched_by,
    });
    out.line(&format!("stopped · pid {pid} is gone{}", if killed { " (SIGKILL)" } else { "" }));
    match before {
        _ if flat => {
            out.line("flat: a fresh venue read proved it before the end");
        }
        Some(doc) if doc.exposure.known && doc.exposure.flat => {
            out.line("flat: the last account reading showed no position and no order");
        }
        Some(doc) => {
            out.line(&format!("{} {}", out.paint(Tone::Careful, "left as it is:"), exposure(&doc.exposure)));
            out.line(&format!("watched now by: {watched_by}"));
        }
        None => {
            out.line(&format!("{} the last exposure is not known; {watched_by}", out.paint(Tone::Careful, "careful:")));
        }
    }
}

fn watcher(doc: &StatusDoc) -> String {
    if doc.profile == Profile::Paper {
        return "the paper venue's own books: it stopped with the engine, and nothing fills until the next start"
            .to_owned();
    }
    match doc.dead_man.venue {
        VenueDeadMan::Active => format!(
            "the venue's own dead-man switch (ACTIVE, fires {}): it cancels resting orders and closes no position",
            doc.dead_man.venue_fires_at.as_deref().unwrap_or("at an unknown time")
        ),
        VenueDeadMan::Ineligible | VenueDeadMan::Unknown => {
            format!("nobody: the venue's own dead-man switch is {}", doc.dead_man.venue)
        }
    }
}
