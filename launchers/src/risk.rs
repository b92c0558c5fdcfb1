//! Commands that act on risk: kill, flatten, pause, resume, heartbeat.
//!
//! Reducing commands ask for nothing and find another way when the supervisor does not answer: deadman's own door, and
//! the file that every later supervisor obeys (`run/KILL` for kill, `run/PAUSE` for flatten). Only a verdict with proof is
//! called flat, and a job that only cancels is never called so.

use crate::cli::KillArgs;
use crate::error::{FAILED, Trouble};
use crate::link::{self, Gone, Link, Seen};
use crate::out::{Out, Tone, plain};
use holdfast_core::command::{Class, ControlReply, ControlRequest};
use holdfast_core::ids::JobId;
use holdfast_core::limits::JOB_SILENCE;
use holdfast_core::report::{JobProgress, JobState, Residue};
use holdfast_core::time::Span;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
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

/// One line of a JSON stream about a job; the fields of [`JobProgress`], with the state in the words of its goal.
#[derive(Debug, Serialize)]
struct ProgressDoc<'a> {
    schema: &'static str,
    job: JobId,
    state: &'static str,
    round: u32,
    residue: &'a [Residue],
    proof_venue_ms: Option<u64>,
    detail: &'a str,
}

/// What a job is to reach, for the words about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// No order and no position.
    Flat,
    /// No order; positions stay as they are.
    Cancelled,
}

impl Goal {
    const fn of(flatten: bool) -> Self {
        if flatten { Self::Flat } else { Self::Cancelled }
    }

    /// The word for a state of the job.
    const fn word(self, state: JobState) -> &'static str {
        match (self, state) {
            (Self::Cancelled, JobState::Flat) => "cancelled",
            (Self::Cancelled, JobState::NotFlat) => "not_cancelled",
            (Self::Flat, JobState::Flat | JobState::NotFlat)
            | (_, JobState::Fencing | JobState::Cancelling | JobState::Closing) => state.as_str(),
        }
    }

    /// Deadman speaks of a venue it cannot read in one way for both goals.
    fn detail(self, progress: &JobProgress) -> String {
        match self {
            Self::Flat => progress.detail.clone(),
            Self::Cancelled => progress.detail.replace("NOT FLAT", "NOT CANCELLED"),
        }
    }

    /// The error for a job that did not reach it.
    const fn missed(self, residue: String, trying: bool) -> Trouble {
        match self {
            Self::Flat => Trouble::NotFlat { residue, trying },
            Self::Cancelled => Trouble::NotCancelled { residue, trying },
        }
    }
}

/// The last line of a JSON stream about a job.
#[derive(Debug, Serialize)]
struct Verdict<'a> {
    schema: &'static str,
    flat: bool,
    orders_cancelled: bool,
    /// A restart remembers what was latched. `false`: the disk has not taken it, see the error that follows.
    latch_on_disk: bool,
    by: &'static str,
    venue_time: Option<String>,
    message: &'a str,
}

/// The JSON form of a command without a stream.
#[derive(Debug, Serialize)]
struct DoneDoc<'a> {
    schema: &'static str,
    message: &'a str,
    /// A restart remembers it.
    on_disk: bool,
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

/// What came of an order that was taken.
#[derive(Debug)]
struct Taken {
    followed: Followed,
    /// Nothing was said of a latch that the disk has not taken.
    on_disk: bool,
}

/// `engine pause`, `engine heartbeat` and `engine resume`: one request, one answer.
pub(crate) fn simple(out: Out, home: &Home, request: &ControlRequest) -> Result<u8, Trouble> {
    let given = matches!(request, ControlRequest::Resume { confirm: Some(_) });
    let (reply, on_disk) = link::block(ask(home, request))??;
    let message = outcome(reply, given)?;
    out.doc(&DoneDoc { schema: "holdfast.done.v1", message: &message, on_disk });
    out.line(&plain(&message));
    match request.class() {
        _ if on_disk => Ok(0),
        Class::Reduce => Err(unsaved(home, &home.pause_file(), message)),
        // Forgotten, it blocks more than it would have: nothing to be afraid of.
        Class::Read | Class::Increase => {
            out.note("NOT YET ON DISK: a restart could forget it; check the disk under data/");
            Ok(0)
        }
    }
}

/// `engine flatten`.
pub(crate) fn flatten(out: Out, home: &Home) -> Result<u8, Trouble> {
    link::block(async {
        match order(out, home, Door::Supervisor, &ControlRequest::Flatten {}, Goal::Flat).await {
            Ok(Taken { followed: Followed::Lost(last, why), .. }) => {
                out.note(&format!("the supervisor took the order and went silent ({why})"));
                flatten_without(out, home, true, last).await
            }
            Ok(taken) => conclude(out, home, taken, Door::Supervisor, Goal::Flat, &home.pause_file()),
            Err(why) => {
                if alive(home) {
                    out.note(&format!("the supervisor does not answer ({why}); asking deadman itself"));
                }
                flatten_without(out, home, false, None).await
            }
        }
    })?
}

/// A flatten without a supervisor that answers. The file comes first: deadman ends when its work is done and tells no
/// later supervisor, and new risk is to stay blocked over that.
async fn flatten_without(out: Out, home: &Home, taken: bool, last: Option<JobProgress>) -> Result<u8, Trouble> {
    let pause = home.pause_file();
    let file = pause.display().to_string();
    let filed = leave_file(home, &pause, Goal::Flat, "flatten");
    match &filed {
        Ok(true) => out.note(&format!(
            "wrote {file}: new risk stays blocked in every supervisor of this home, now or at its next start, until resume"
        )),
        Ok(false) => {}
        Err(e) => out.note(&format!("could not write {file}: {e}; a later start may add risk again")),
    }
    match order(out, home, Door::Deadman, &ControlRequest::Flatten {}, Goal::Flat).await {
        Ok(taken) => {
            let taken = filed_too(taken, &filed);
            conclude(out, home, taken, Door::Deadman, Goal::Flat, &pause)
        }
        Err(deaf) if taken || alive(home) => {
            let known = last.as_ref().map_or_else(|| "exposure is unknown".to_owned(), residue);
            let filed = if filed.is_ok() { format!("; {file} is in place") } else { String::new() };
            let residue = format!("{known}; the supervisor does not answer, deadman took no order ({deaf}){filed}");
            Err(Trouble::NotFlat { residue, trying: false })
        }
        Err(_) => Err(match filed {
            Ok(true) => Trouble::PauseFiled { home: home.root().into(), left: instance::survivors(home) },
            Ok(false) | Err(_) => nobody(home),
        }),
    }
}

/// `engine kill`.
pub(crate) fn kill(out: Out, home: &Home, args: &KillArgs) -> Result<u8, Trouble> {
    let flatten = !args.no_flatten;
    let goal = Goal::of(flatten);
    let request = ControlRequest::Kill { flatten, reason: args.reason.clone() };
    link::block(async {
        match order(out, home, Door::Supervisor, &request, goal).await {
            Ok(Taken { followed: Followed::Lost(last, why), .. }) => {
                out.note(&format!("the supervisor took the order and went silent ({why})"));
                last_resort(out, home, &request, args, last).await
            }
            Ok(taken) => conclude(out, home, taken, Door::Supervisor, goal, &home.kill_file()),
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
    let goal = Goal::of(!args.no_flatten);
    let reason = args.reason.as_deref().unwrap_or_default();
    let filed = leave_file(home, &home.kill_file(), goal, reason);
    let file = home.kill_file().display().to_string();
    match &filed {
        Ok(true) => {
            out.note(&format!("wrote {file}: every supervisor of this home obeys it, now or at its next start"))
        }
        Ok(false) => {}
        Err(e) => out.note(&format!("could not write {file}: {e}")),
    }
    match order(out, home, Door::Deadman, request, goal).await {
        Ok(taken) => {
            out.note(
                "deadman took the order itself; the engine's permit lapses within one second without its supervisor",
            );
            conclude(out, home, filed_too(taken, &filed), Door::Deadman, goal, &home.kill_file())
        }
        Err(deaf) if alive(home) => {
            let known = last.as_ref().map_or_else(|| "exposure is unknown".to_owned(), residue);
            let filed = if filed.is_ok() { format!("; {file} is in place") } else { String::new() };
            let residue =
                format!("{known}; the supervisor is there and does not answer, deadman took no order ({deaf}){filed}");
            Err(goal.missed(residue, false))
        }
        Err(_) => Err(match filed {
            Ok(true) => Trouble::KillFiled { home: home.root().into(), left: instance::survivors(home) },
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
async fn order(out: Out, home: &Home, door: Door, request: &ControlRequest, goal: Goal) -> Result<Taken, Gone> {
    let path = match door {
        Door::Supervisor => home.control_sock(),
        Door::Deadman => home.deadman_sock(),
    };
    let mut link = Link::ask(&path, request, ANSWER).await?;
    let mut reply = first(home, door, &mut link).await?;
    let deadline = clock::now().after(FOLLOW);
    let (mut last, mut said, mut on_disk) = (None, None, true);
    loop {
        match reply {
            ControlReply::Progress(progress) => {
                let (state, detail) = (goal.word(progress.state), goal.detail(&progress));
                out.doc(&ProgressDoc {
                    schema: "holdfast.progress.v1",
                    job: progress.job,
                    state,
                    round: progress.round,
                    residue: &progress.residue,
                    proof_venue_ms: progress.proof_venue_ms,
                    detail: &detail,
                });
                out.line(&step_line(progress.round, state, &detail));
                match progress.state {
                    JobState::Flat => return Ok(Taken { followed: Followed::Flat(progress), on_disk }),
                    JobState::NotFlat => return Ok(Taken { followed: Followed::NotFlat(progress), on_disk }),
                    JobState::Fencing | JobState::Cancelling | JobState::Closing => last = Some(progress),
                }
            }
            ControlReply::Done { message } => said = Some(message),
            ControlReply::Unsaved { message } => {
                on_disk = false;
                out.note(&plain(&message));
            }
            ControlReply::Refused { code, message, .. } => {
                return Err(Gone::Broken(format!("refused ({code}): {message}")));
            }
            ControlReply::Status { .. } | ControlReply::ResumeOffer { .. } => {}
        }
        let left = Duration::from_nanos(clock::now().until(deadline).0).min(SILENCE);
        reply = match link.reply(left).await {
            Ok(reply) => reply,
            Err(gone) => {
                let followed = match said {
                    Some(message) => Followed::Done(message),
                    None => Followed::Lost(last, gone),
                };
                return Ok(Taken { followed, on_disk });
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

/// The file is a second place for what deadman could not write down.
fn filed_too(taken: Taken, filed: &std::io::Result<bool>) -> Taken {
    Taken { on_disk: taken.on_disk || matches!(filed, Ok(true)), ..taken }
}

/// The error for what is in force and could be forgotten. The supervisor leaves the file at its next tick.
fn unsaved(home: &Home, file: &Path, what: String) -> Trouble {
    let deadline = clock::now().after(Span::from_ms(1000));
    while !file.exists() && clock::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let spare = file.exists().then(|| file.to_owned());
    Trouble::LatchNotOnDisk { what, data: home.data(), spare }
}

fn conclude(out: Out, home: &Home, taken: Taken, door: Door, goal: Goal, file: &Path) -> Result<u8, Trouble> {
    let by = door.as_str();
    let schema = "holdfast.verdict.v1";
    let latch_on_disk = taken.on_disk;
    match taken.followed {
        Followed::Flat(progress) => {
            let venue_time = progress.proof_venue_ms.map(clock::rfc3339);
            let at = venue_time.clone().map_or_else(String::new, |at| format!(" at venue time {at}"));
            let message = match goal {
                Goal::Flat => format!("PROVEN FLAT{at}"),
                Goal::Cancelled => format!("orders cancelled{at}; positions left as ordered"),
            };
            let flat = goal == Goal::Flat;
            out.doc(&Verdict {
                schema,
                flat,
                orders_cancelled: true,
                latch_on_disk,
                by,
                venue_time,
                message: &message,
            });
            out.line(&out.paint(if flat { Tone::Good } else { Tone::Careful }, &message));
            if latch_on_disk { Ok(0) } else { Err(unsaved(home, file, message)) }
        }
        Followed::NotFlat(mut progress) => {
            progress.detail = goal.detail(&progress);
            Err(goal.missed(residue(&progress), true))
        }
        Followed::Done(message) => {
            // A word without proof is no proof.
            let orders_cancelled = false;
            let venue_time = None;
            out.doc(&Verdict {
                schema,
                flat: false,
                orders_cancelled,
                latch_on_disk,
                by,
                venue_time,
                message: &message,
            });
            out.line(&plain(&message));
            Ok(if goal == Goal::Flat { FAILED } else { 0 })
        }
        Followed::Lost(last, why) => {
            let known = last.as_ref().map_or_else(|| "no verdict".to_owned(), residue);
            Err(goal.missed(format!("{known}; then {why}"), door == Door::Supervisor))
        }
    }
}

/// Leaves a file whose being there is an order. `Ok(false)` when there is no such home, which is then not made.
///
/// A kill that only cancels says so in its first line, and is seen with it or not at all: a kill without words closes.
fn leave_file(home: &Home, path: &Path, goal: Goal, why: &str) -> std::io::Result<bool> {
    if !home.root().is_dir() {
        return Ok(false);
    }
    make_private(&home.run())?;
    let open = |path: &Path| OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let words = format!("{} {}\n", clock::rfc3339(clock::wall_ms()), plain(why));
    let mut file = match goal {
        Goal::Flat => open(path)?,
        Goal::Cancelled => {
            let draft = path.with_extension("new");
            let mut file = open(&draft)?;
            file.write_all(b"cancel\n")?;
            std::fs::rename(&draft, path)?;
            file
        }
    };
    // On a full disk these may be missing.
    let _ = file.write_all(words.as_bytes());
    // A power cut should not forget it. On a thread of its own: a disk that hangs must not hold up the order itself.
    let folder = home.run();
    let keep = move || {
        let _ = file.sync_all();
        let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    };
    let _ = std::thread::Builder::new().name("hf-keep".to_owned()).spawn(keep);
    Ok(true)
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// One question, one answer, and whether the disk has what it says.
async fn ask(home: &Home, request: &ControlRequest) -> Result<(ControlReply, bool), Trouble> {
    let conversation = async {
        let mut link = Link::ask(&home.control_sock(), request, ANSWER).await?;
        let reply = link.reply(ANSWER).await?;
        if matches!(reply, ControlReply::Unsaved { .. }) {
            return Ok((link.reply(ANSWER).await?, false));
        }
        Ok::<_, Gone>((reply, true))
    };
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
        ControlReply::Status { .. } | ControlReply::Progress(_) | ControlReply::Unsaved { .. } => {
            Err(Trouble::Unknown { why: "the supervisor answered something else".to_owned() })
        }
    }
}

/// A step of a job in one line.
pub(crate) fn progress_line(progress: &JobProgress) -> String {
    step_line(progress.round, progress.state.as_str(), &progress.detail)
}

fn step_line(round: u32, state: &str, detail: &str) -> String {
    format!("round {round} · {} · {}", state, plain(detail))
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
