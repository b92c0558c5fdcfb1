//! `engine start`: check everything first, start once, wait until every worker is ready or say which is not.
//!
//! What fails before the spawn leaves nothing running and loses nothing. Who supervises is decided by the
//! supervisor's own lock; the lock here only keeps a crowd of starts from spawning a crowd of losers.

use super::detach;
use crate::cli::{Source, StartArgs};
use crate::error::Trouble;
use crate::link::{self, Seen};
use crate::out::{Out, Tone, plain};
use crate::status::{fenced, tone, worker_line};
use crate::{account, carry, config, home, logs, preflight};
use holdfast_core::registry::{ModeReason, Profile, TradingMode};
use holdfast_core::status::{DiskStatus, StatusDoc, WorkerStatus};
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_supervisor::instance::{self, Instance};
use serde::Serialize;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// How often the tree is asked while it comes up.
const POLL: Duration = Duration::from_millis(50);
/// Between taking its lock and writing its pidfile a supervisor is neither running nor absent; it lasts this long at most.
const SETTLE: Span = Span::from_ms(2000);

/// The JSON form.
#[derive(Debug, Serialize)]
struct Started<'a> {
    schema: &'static str,
    started: bool,
    already_running: bool,
    ready: bool,
    pid: u32,
    profile: Profile,
    trading_mode: TradingMode,
    mode_reasons: &'a [ModeReason],
    workers: &'a [WorkerStatus],
    cockpit: &'a str,
    home: &'a str,
    disk: DiskStatus,
    /// What the status says is to be done.
    next_step: &'a str,
    next: &'static str,
}

/// Runs the command.
pub(crate) fn start(out: Out, home: &Home, args: &StartArgs) -> Result<u8, Trouble> {
    home::private_umask();
    let deadline = clock::now().after(Span::from_ms(args.wait.saturating_mul(1000)));
    let already = || already(out, home, deadline, args.wait);
    if home::exists(home)? && settled(home)? {
        return already();
    }
    carry::admit(home)?;
    let mut loaded = config::load(home, &args.market)?;
    config::runnable(&loaded.settings)?;
    preflight::market(&mut loaded)?;
    home::prepare(home)?;
    let Some(turn) = take_turn(home, args.wait)? else { return already() };
    if settled(home)? {
        return already();
    }
    // Looked at again: an export may have been under way while waiting for the turn.
    let import = carry::admit(home)?;
    preflight::ports(out, home, &loaded)?;
    let account = account::prepare(home, &loaded.settings)?;
    if let Some(import) = &import {
        carry::admitted(out, home, import)?;
    }
    if args.foreground {
        drop(turn);
        out.note(&format!("supervising {} in the foreground; Ctrl-C stops it in order", home.root().display()));
        let code = detach::live(home, loaded.settings, account);
        // Somebody else was first in the moment between.
        return if i32::from(code) == holdfast_supervisor::ALREADY_RUNNING { already() } else { Ok(code) };
    }
    let mut child = detach::spawn(out, home, &loaded.flags)?;
    out.detail(&format!("supervisor spawned, pid {}", child.id()));
    let ended = link::block(until_up(home, &mut child, deadline))?;
    drop(turn);
    if ended.is_some() && settled(home)? {
        // Somebody else was first; the supervisor's lock said so.
        return already();
    }
    let died = |exit: ExitStatus| Trouble::StartFailed {
        refused: detach::refused(exit.code()),
        exit: exit.to_string(),
        words: detach::last_words(home),
    };
    if let Some(exit) = ended {
        return Err(died(exit));
    }
    match link::block(until_ready(home, Some(&mut child), deadline))? {
        Waited::Ready(doc) => Ok(report(out, &doc, true)),
        Waited::Over(doc) => Err(not_ready(home, doc.as_deref(), args.wait)),
        Waited::Died(exit) => Err(died(exit)),
    }
}

/// Whether a supervisor holds this home, once that can be told.
fn settled(home: &Home) -> Result<bool, Trouble> {
    let deadline = clock::now().after(SETTLE);
    link::block(async {
        loop {
            match instance::probe(home) {
                Instance::Running { .. } => return Ok(true),
                Instance::NotRunning { .. } => return Ok(false),
                // The pidfile may be lost: one that answers is one that runs.
                Instance::Unknown { .. } if matches!(link::look(home).await, Seen::Live(_)) => return Ok(true),
                Instance::Unknown { why } if clock::now() >= deadline => return Err(Trouble::Unknown { why }),
                Instance::Unknown { .. } => tokio::time::sleep(POLL).await,
            }
        }
    })?
}

/// Says that it runs, once it is up. A tree that has been up for longer than a start takes is reported as it is.
fn already(out: Out, home: &Home, deadline: Tick, secs: u64) -> Result<u8, Trouble> {
    match link::block(until_ready(home, None, deadline))? {
        Waited::Ready(doc) | Waited::Over(Some(doc)) => Ok(report(out, &doc, false)),
        Waited::Over(None) => {
            Err(Trouble::Unknown { why: format!("a supervisor holds this home and did not answer for {secs} s") })
        }
        Waited::Died(exit) => Err(Trouble::Unknown { why: exit.to_string() }),
    }
}

/// Our turn to start; `None` when a supervisor appeared while waiting for it.
fn take_turn(home: &Home, secs: u64) -> Result<Option<File>, Trouble> {
    let path = home.run().join("start.lock");
    let fail = |source| Trouble::Home { what: "lock", path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fail)?;
    let deadline = clock::now().after(Span::from_ms(secs.max(1).saturating_mul(1000)));
    let ours = link::block(async {
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(true),
                Err(TryLockError::Error(e)) => return Err(fail(e)),
                Err(TryLockError::WouldBlock) => {}
            }
            if matches!(instance::probe(home), Instance::Running { .. }) {
                return Ok(false);
            }
            if clock::now() >= deadline {
                return Err(Trouble::StartBusy { secs });
            }
            tokio::time::sleep(POLL).await;
        }
    })??;
    Ok(ours.then_some(file))
}

/// Waits until the new supervisor holds the home; `Some` when it ended instead.
async fn until_up(home: &Home, child: &mut Child, deadline: Tick) -> Option<ExitStatus> {
    loop {
        if let Ok(Some(exit)) = child.try_wait() {
            return Some(exit);
        }
        let ours = match instance::probe(home) {
            Instance::Running { pid } => pid == child.id(),
            // A full disk takes no pidfile; who holds the lock says itself who it is.
            Instance::Unknown { .. } => matches!(link::look(home).await, Seen::Live(doc) if doc.pid == child.id()),
            Instance::NotRunning { .. } => false,
        };
        if ours || clock::now() >= deadline {
            return None;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// How waiting for a tree ended.
enum Waited {
    /// Every worker is ready.
    Ready(Box<StatusDoc>),
    /// Time is up; the last document, if there was one.
    Over(Option<Box<StatusDoc>>),
    /// The supervisor ended.
    Died(ExitStatus),
}

async fn until_ready(home: &Home, mut child: Option<&mut Child>, deadline: Tick) -> Waited {
    let mut last = None;
    loop {
        if let Some(Ok(Some(exit))) = child.as_mut().map(|c| c.try_wait()) {
            return Waited::Died(exit);
        }
        if let Seen::Live(doc) = link::look(home).await {
            if ready(&doc) {
                return Waited::Ready(doc);
            }
            // An old tree with a sick worker is not starting: no use waiting for it.
            let old = child.is_none() && doc.uptime_s.ms > 20_000;
            last = Some(doc);
            if old {
                return Waited::Over(last);
            }
        }
        if clock::now() >= deadline {
            return Waited::Over(last);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Every worker is ready. Under a kill the engine is down on purpose: that tree is as complete as it may be.
fn ready(doc: &StatusDoc) -> bool {
    !doc.workers.is_empty() && doc.workers.iter().all(|w| w.state == "ready" || fenced(doc, w))
}

fn report(out: Out, doc: &StatusDoc, started: bool) -> u8 {
    let next = if doc.kill.active { "engine resume" } else { "engine status --watch" };
    out.doc(&Started {
        schema: "holdfast.start.v1",
        started,
        already_running: !started,
        ready: ready(doc),
        pid: doc.pid,
        profile: doc.profile,
        trading_mode: doc.trading_mode,
        mode_reasons: &doc.mode_reasons,
        workers: &doc.workers,
        cockpit: &doc.api.cockpit,
        home: &doc.home,
        disk: doc.disk,
        next_step: &doc.next_step,
        next,
    });
    let what = if started { "started" } else { "already running" };
    let reason = doc
        .mode_reasons
        .first()
        .map_or_else(String::new, |r| format!(": {} [{r}]", r.display_text().trim_end_matches('.')));
    let mode = out.paint(tone(doc.trading_mode), doc.trading_mode.as_str());
    out.line(&format!("{what} · pid {} · {} · {mode}{reason}", doc.pid, doc.profile));
    for worker in &doc.workers {
        out.line(&format!("  {}", worker_line(out, worker, fenced(doc, worker))));
    }
    if doc.disk.short {
        out.line(&format!("{} {}", out.paint(Tone::Bad, "disk   "), plain(&doc.next_step)));
    }
    let cockpit = if doc.api.cockpit.is_empty() { "not up" } else { &doc.api.cockpit };
    out.line(&format!("{} {}", out.paint(Tone::Faint, "cockpit"), plain(cockpit)));
    out.line(&format!(
        "{} {next} · engine stop ends it · engine kill cancels, closes and latches",
        out.paint(Tone::Faint, "next   ")
    ));
    0
}

/// Which workers are not ready, and why as far as known.
fn not_ready(home: &Home, doc: Option<&StatusDoc>, secs: u64) -> Trouble {
    let Some(doc) = doc else {
        let words = logs::last_line(home, Source::Supervisor).unwrap_or_else(|| detach::last_words(home));
        let waiting = vec![format!("the supervisor does not answer yet (last line: {words})")];
        return Trouble::NotReady { secs, waiting };
    };
    let describe = |w: &WorkerStatus| {
        let exit = w.last_exit.as_ref().map(|exit| format!(", last exit: {}", plain(exit)));
        let source = Source::ALL.into_iter().find(|s| s.as_str() == w.role.as_str());
        let line = || source.and_then(|s| logs::last_line(home, s)).map(|l| format!(", last line: {l}"));
        format!("{} is {}{}", w.role, w.state, exit.or_else(line).unwrap_or_default())
    };
    let mut waiting: Vec<String> =
        doc.workers.iter().filter(|w| w.state != "ready" && !fenced(doc, w)).map(describe).collect();
    if waiting.is_empty() {
        waiting.push("no worker has been spawned yet".to_owned());
    }
    Trouble::NotReady { secs, waiting }
}
