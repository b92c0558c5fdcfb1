//! Commands that act on risk: kill, flatten, pause, resume, heartbeat.
//!
//! Reducing commands ask for nothing and find another way when the supervisor does not answer: deadman's own door,
//! and for kill the file that every later supervisor obeys. Only a verdict with proof is called flat.

use crate::cli::KillArgs;
use crate::error::{FAILED, Trouble};
use crate::link::{self, Gone, Link, Seen};
use crate::out::{Out, Tone, plain};
use holdfast_core::limits::JOB_SILENCE;
use holdfast_core::report::{JobProgress, JobState};
use holdfast_core::time::Span;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_ipc::control::{ControlReply, ControlRequest};
use holdfast_supervisor::instance::{self, Instance};
use serde::Serialize;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// How long the supervisor may take before another way is tried.
const ANSWER: Duration = Duration::from_secs(2);
/// Longest silence between two words about a job: a silent worker is replaced well before.
const SILENCE: Duration = Duration::from_nanos(3 * JOB_SILENCE.0);
/// Longest a command follows a job.
const FOLLOW: Span = Span::from_ms(15 * 60 * 1000);

/// One line of a JSON stream about a job.
#[derive(Debug, Serialize)]
struct ProgressDoc<'a> {
    schema: &'static str,
    #[serde(flatten)]
    progress: &'a JobProgress,
}

/// The last line of a JSON stream about a job.
#[derive(Debug, Serialize)]
struct Verdict<'a> {
    schema: &'static str,
    flat: bool,
    by: &'static str,
    venue_time: Option<String>,
    message: &'a str,
}

/// The JSON form of a command without a stream.
#[derive(Debug, Serialize)]
struct DoneDoc<'a> {
    schema: &'static str,
    message: &'a str,
}

/// Which door a job was ordered at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Supervisor,
    Deadman,
}

impl Door {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Deadman => "deadman",
        }
    }
}

/// What came of following a job.
#[derive(Debug)]
enum Followed {
    /// Proven.
    Flat(JobProgress),
    /// A round ended with something open; the tree keeps trying.
    NotFlat(JobProgress),
    /// Done, and there was no job to follow.
    Done(String),
    /// It was taken, then the words stopped.
    Lost(Option<JobProgress>, Gone),
}

/// `engine pause`, `engine heartbeat` and `engine resume`: one request, one answer.
pub(crate) fn simple(out: Out, home: &Home, request: &ControlRequest) -> Result<u8, Trouble> {
    let given = matches!(request, ControlRequest::Resume { confirm: Some(_) });
    let message = outcome(link::block(ask(home, request))??, given)?;
    out.doc(&DoneDoc { schema: "holdfast.done.v1", message: &message });
    out.line(&plain(&message));
    Ok(0)
}

/// `engine flatten`.
pub(crate) fn flatten(out: Out, home: &Home) -> Result<u8, Trouble> {
    link::block(async {
        match order(out, home, Door::Supervisor, &ControlRequest::Flatten {}).await {
            Ok(followed) => conclude(out, followed, Door::Supervisor, true),
            Err(Gone::Absent) if !alive(home) => {
                match order(out, home, Door::Deadman, &ControlRequest::Flatten {}).await {
                    Ok(followed) => conclude(out, followed, Door::Deadman, true),
                    Err(_) => Err(nobody(home)),
                }
            }
            Err(why) => {
                out.note(&format!("the supervisor does not answer ({why}); asking deadman itself"));
                match order(out, home, Door::Deadman, &ControlRequest::Flatten {}).await {
                    Ok(followed) => conclude(out, followed, Door::Deadman, true),
                    Err(deaf) => Err(Trouble::Unknown {
                        why: format!("neither the supervisor ({why}) nor deadman ({deaf}) took the order"),
                    }),
                }
            }
        }
    })?
}

/// `engine kill`.
pub(crate) fn kill(out: Out, home: &Home, args: &KillArgs) -> Result<u8, Trouble> {
    let flatten = !args.no_flatten;
    let request = ControlRequest::Kill { flatten, reason: args.reason.clone() };
    link::block(async {
        match order(out, home, Door::Supervisor, &request).await {
            Ok(Followed::Lost(last, why)) => {
                out.note(&format!("the supervisor took the order and went silent ({why})"));
                last_resort(out, home, &request, args, last).await
            }
            Ok(followed) => conclude(out, followed, Door::Supervisor, flatten),
            Err(why) => {
                out.note(&format!("the supervisor does not answer: {why}"));
                last_resort(out, home, &request, args, None).await
            }
        }
    })?
}

/// The ways that are left without a supervisor that answers, each said plainly.
async fn last_resort(
    out: Out,
    home: &Home,
    request: &ControlRequest,
    args: &KillArgs,
    last: Option<JobProgress>,
) -> Result<u8, Trouble> {
    let filed = leave_kill_file(home, args.reason.as_deref());
    let file = home.kill_file().display().to_string();
    match &filed {
        Ok(true) => {
            out.note(&format!("wrote {file}: every supervisor of this home obeys it, now or at its next start"))
        }
        Ok(false) => {}
        Err(e) => out.note(&format!("could not write {file}: {e}")),
    }
    match order(out, home, Door::Deadman, request).await {
        Ok(followed) => {
            out.note(
                "deadman took the order itself; the engine's permit lapses within one second without its supervisor",
            );
            conclude(out, followed, Door::Deadman, !args.no_flatten)
        }
        Err(deaf) if alive(home) => {
            let known = last.as_ref().map_or_else(|| "exposure is unknown".to_owned(), residue);
            let filed = if filed.is_ok() { format!("; {file} is in place") } else { String::new() };
            let residue =
                format!("{known}; the supervisor is there and does not answer, deadman took no order ({deaf}){filed}");
            Err(Trouble::NotFlat { residue, trying: false })
        }
        Err(_) => Err(match filed {
            Ok(true) => Trouble::KillFiled { home: home.root().into() },
            Ok(false) | Err(_) => nobody(home),
        }),
    }
}

/// Whether some supervisor is there, answering or not. What cannot be told counts as there.
fn alive(home: &Home) -> bool {
    match instance::probe(home) {
        Instance::NotRunning { .. } => false,
        Instance::Running { .. } | Instance::Unknown { .. } => true,
    }
}

fn nobody(home: &Home) -> Trouble {
    link::absent(home, matches!(instance::probe(home), Instance::NotRunning { stale_pidfile: true }))
}

/// Orders a job at a door and follows it. `Err` when the order was not taken there.
async fn order(out: Out, home: &Home, door: Door, request: &ControlRequest) -> Result<Followed, Gone> {
    let path = match door {
        Door::Supervisor => home.control_sock(),
        Door::Deadman => home.deadman_sock(),
    };
    let mut link = Link::ask(&path, request, ANSWER).await?;
    let mut reply = first(home, door, &mut link).await?;
    let deadline = clock::now().after(FOLLOW);
    let (mut last, mut said) = (None, None);
    loop {
        match reply {
            ControlReply::Progress(progress) => {
                out.doc(&ProgressDoc { schema: "holdfast.progress.v1", progress: &progress });
                out.line(&progress_line(&progress));
                match progress.state {
                    JobState::Flat => return Ok(Followed::Flat(progress)),
                    JobState::NotFlat => return Ok(Followed::NotFlat(progress)),
                    JobState::Fencing | JobState::Cancelling | JobState::Closing => last = Some(progress),
                }
            }
            ControlReply::Done { message } => said = Some(message),
            ControlReply::Refused { code, message, .. } => {
                return Err(Gone::Broken(format!("refused ({code}): {message}")));
            }
            ControlReply::Status { .. } | ControlReply::ResumeOffer { .. } => {}
        }
        let left = Duration::from_nanos(clock::now().until(deadline).0).min(SILENCE);
        reply = match link.reply(left).await {
            Ok(reply) => reply,
            Err(gone) => {
                return Ok(match said {
                    Some(message) => Followed::Done(message),
                    None => Followed::Lost(last, gone),
                });
            }
        };
    }
}

/// The first word about a job. A supervisor that answers others is at work on it: only a deaf one is given up.
async fn first(home: &Home, door: Door, link: &mut Link) -> Result<ControlReply, Gone> {
    match link.reply(ANSWER).await {
        Err(Gone::Silent(_)) if door == Door::Supervisor && matches!(link::look(home).await, Seen::Live(_)) => {
            link.reply(SILENCE).await
        }
        other => other,
    }
}

fn conclude(out: Out, followed: Followed, door: Door, flatten: bool) -> Result<u8, Trouble> {
    let by = door.as_str();
    match followed {
        Followed::Flat(progress) => {
            let venue_time = progress.proof_venue_ms.map(clock::rfc3339);
            let at = venue_time.clone().map_or_else(String::new, |at| format!(" at venue time {at}"));
            let what = if flatten { "PROVEN FLAT" } else { "ALL ORDERS CANCELLED" };
            let message = format!("{what}{at}");
            out.doc(&Verdict { schema: "holdfast.verdict.v1", flat: true, by, venue_time, message: &message });
            out.line(&out.paint(Tone::Good, &message));
            Ok(0)
        }
        Followed::NotFlat(progress) => Err(Trouble::NotFlat { residue: residue(&progress), trying: true }),
        Followed::Done(message) => {
            // Without --no-flatten a word without proof is no proof.
            out.doc(&Verdict { schema: "holdfast.verdict.v1", flat: false, by, venue_time: None, message: &message });
            out.line(&plain(&message));
            Ok(if flatten { FAILED } else { 0 })
        }
        Followed::Lost(last, why) => {
            let known = last.as_ref().map_or_else(|| "no verdict".to_owned(), residue);
            Err(Trouble::NotFlat { residue: format!("{known}; then {why}"), trying: door == Door::Supervisor })
        }
    }
}

/// Leaves the file that means kill. `Ok(false)` when there is no such home, which is then not made.
fn leave_kill_file(home: &Home, reason: Option<&str>) -> std::io::Result<bool> {
    if !home.root().is_dir() {
        return Ok(false);
    }
    make_private(&home.run())?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(home.kill_file());
    let mut file = file?;
    // Its being there is the order; on a full disk the words may be missing.
    let _ = writeln!(file, "{} {}", clock::rfc3339(clock::wall_ms()), reason.map(plain).unwrap_or_default());
    Ok(true)
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// One question, one answer.
async fn ask(home: &Home, request: &ControlRequest) -> Result<ControlReply, Trouble> {
    let conversation = async { Link::ask(&home.control_sock(), request, ANSWER).await?.reply(ANSWER).await };
    match conversation.await {
        Ok(reply) => Ok(reply),
        Err(gone) => Err(match link::look(home).await {
            Seen::NotRunning { stale_pidfile } => link::absent(home, stale_pidfile),
            Seen::Unknown { why, .. } => Trouble::Unknown { why },
            Seen::Live(_) => Trouble::Unknown { why: format!("the supervisor did not answer this: {gone}") },
        }),
    }
}

/// What was done, or why it was not.
fn outcome(reply: ControlReply, given: bool) -> Result<String, Trouble> {
    match reply {
        ControlReply::Done { message } => Ok(message),
        ControlReply::Refused { code, message, risk, next } => Err(Trouble::Refused { code, message, risk, next }),
        ControlReply::ResumeOffer { phrase, allows } => Err(Trouble::PhraseNeeded { given, phrase, allows }),
        ControlReply::Status { .. } | ControlReply::Progress(_) => {
            Err(Trouble::Unknown { why: "the supervisor answered something else".to_owned() })
        }
    }
}

/// A step of a job in one line.
pub(crate) fn progress_line(progress: &JobProgress) -> String {
    format!("round {} · {} · {}", progress.round, progress.state.as_str(), plain(&progress.detail))
}

/// What a job could not remove, in words.
pub(crate) fn residue(progress: &JobProgress) -> String {
    if progress.residue.is_empty() {
        return format!("the venue could not be read, exposure is unknown ({})", plain(&progress.detail));
    }
    let one = |r: &holdfast_core::report::Residue| {
        let dex = if r.dex.is_empty() { String::new() } else { format!("{}:", plain(&r.dex)) };
        format!("{dex}{} position {}, {} orders", plain(&r.coin), r.size, r.orders)
    };
    progress.residue.iter().map(one).collect::<Vec<_>>().join("; ")
}
