//! `engine backup` and `engine migrate`: carrying a home's state to another disk or host, and refusing to run it twice.
//!
//! The work is the store's (`holdfast_store::bundle`); here it is decided when it may be done and told what comes next.
//! Keys never travel: their owner moves `keys/` by hand.

mod admit;
mod plan;
mod say;

pub(crate) use admit::{admit, admitted};

use crate::cli::{BackupArgs, BackupCommand, BundleArgs, ImportArgs, MigrateCommand};
use crate::error::{FAILED, Trouble};
use crate::home;
use crate::out::Out;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_store::bundle::{self, Exported, Filed, Kind, Manifest, Outcome, Terms};
use holdfast_supervisor::instance::{self, Instance};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// `engine backup`.
pub(crate) fn backup(out: Out, home: &Home, args: &BackupArgs) -> Result<u8, Trouble> {
    match (&args.command, &args.to) {
        (Some(BackupCommand::Create(args)), _) => create(out, home, args),
        (Some(BackupCommand::Verify { path }), _) => verify(out, path),
        (Some(BackupCommand::Restore(args)), _) => import(out, home, args),
        (None, Some(to)) => create(out, home, &BundleArgs { to: to.clone(), logs: args.logs }),
        (None, None) => Err(Trouble::Usage("engine backup --to PATH, or one of its commands".to_owned())),
    }
}

/// `engine migrate`.
pub(crate) fn migrate(out: Out, home: &Home, command: &MigrateCommand) -> Result<u8, Trouble> {
    match command {
        MigrateCommand::Export(args) => export(out, home, args),
        MigrateCommand::Verify { path } => verify(out, path),
        MigrateCommand::Import(args) => import(out, home, args),
        MigrateCommand::Check => check(out, home),
        MigrateCommand::Reopen { bundle } => reopen(out, home, bundle),
    }
}

/// A copy, whether or not the engine runs. The source goes on.
fn create(out: Out, home: &Home, args: &BundleArgs) -> Result<u8, Trouble> {
    used(home)?;
    home::private_umask();
    let target = absolute(&args.to)?;
    let origin = plan::origin(home, Kind::Backup)?;
    let made = bundle::create(&plan::source(home, args.logs), &target, origin, |_| Ok(()));
    say::made(out, &target, &made.map_err(say::trouble)?);
    Ok(0)
}

/// The state itself: the engine is down and stays down here.
fn export(out: Out, home: &Home, args: &BundleArgs) -> Result<u8, Trouble> {
    used(home)?;
    home::private_umask();
    let target = absolute(&args.to)?;
    let _held = hold(home)?;
    if let Some(exported) = bundle::marked(&home.exported(), &home.ledger()).map_err(say::trouble)? {
        return Err(say::exported(&exported));
    }
    let mark = |manifest: &Manifest| {
        let exported = Exported { bundle: manifest.bundle.clone(), exported_ms: manifest.created_ms };
        bundle::mark(&home.exported(), &home.ledger(), &exported)
    };
    let origin = plan::origin(home, Kind::Migrate)?;
    let id = origin.bundle.clone();
    let made = bundle::create(&plan::source(home, args.logs), &target, origin, mark).map_err(|error| {
        // Without a bundle there is nothing to protect. A mark that stays is told by the next start.
        if !target.exists() {
            let _ = bundle::unmark(&home.exported(), &home.ledger(), &id, clock::wall_ms());
        }
        say::trouble(error)
    })?;
    say::made(out, &target, &made);
    Ok(0)
}

fn verify(out: Out, path: &Path) -> Result<u8, Trouble> {
    let path = absolute(path)?;
    say::verified(out, &path, &bundle::verify(&path).map_err(say::trouble)?);
    Ok(0)
}

/// Into an empty home, which stays stopped.
fn import(out: Out, home: &Home, args: &ImportArgs) -> Result<u8, Trouble> {
    home::private_umask();
    let target = match &args.into {
        Some(into) => home::resolve(Some(into.clone()))?,
        None => home.clone(),
    };
    quiet(&target)?;
    let record = inside(&target, &target.import_record());
    let (keys, run) = (inside(&target, &target.keys()), inside(&target, &target.run()));
    let (kill, pause) = (inside(&target, &target.kill_file()), inside(&target, &target.pause_file()));
    let terms = Terms {
        accept_fork: args.accept_fork,
        at_ms: clock::wall_ms(),
        record: &record,
        rooms: &[&keys, &run],
        orders: &[(Filed::Kill, &kill), (Filed::Pause, &pause)],
    };
    let import = bundle::import(&absolute(&args.path)?, target.root(), terms).map_err(say::trouble)?;
    Ok(listed(out, &target, &import, true))
}

fn check(out: Out, home: &Home) -> Result<u8, Trouble> {
    match bundle::pending(&home.import_record()).map_err(say::trouble)? {
        Some(import) => Ok(listed(out, home, &import, false)),
        None => Err(Trouble::Refused {
            code: "no_import".into(),
            message: format!("no import waits for its first start in {}", home.root().display()),
            risk: "none; nothing was changed".into(),
            next: "engine status; engine doctor examines a home that has been started".into(),
        }),
    }
}

fn listed(out: Out, home: &Home, import: &bundle::Import, now: bool) -> u8 {
    let items = admit::items(home, import);
    let good = items.iter().all(|item| item.outcome != Outcome::Fail);
    say::checklist(out, home, import, &items, now);
    if good { 0 } else { FAILED }
}

/// The owner's word that the bundle will not be used.
fn reopen(out: Out, home: &Home, bundle: &str) -> Result<u8, Trouble> {
    home::private_umask();
    quiet(home)?;
    let standing = bundle::marked(&home.exported(), &home.ledger()).map_err(say::trouble)?;
    bundle::unmark(&home.exported(), &home.ledger(), bundle, clock::wall_ms()).map_err(say::trouble)?;
    say::reopened(out, bundle, standing.is_some());
    Ok(0)
}

fn absolute(path: &Path) -> Result<std::path::PathBuf, Trouble> {
    let absolute = std::path::absolute(path);
    let clean = absolute.map(|path| path.components().collect());
    clean.map_err(|source| Trouble::Home { what: "find", path: path.into(), source })
}

fn inside(home: &Home, path: &Path) -> std::path::PathBuf {
    path.strip_prefix(home.root()).map_or_else(|_| path.to_owned(), Path::to_owned)
}

/// A home that an engine has run in.
fn used(home: &Home) -> Result<(), Trouble> {
    if home::exists(home)? && home.data().is_dir() {
        return Ok(());
    }
    Err(Trouble::Refused {
        code: "nothing_to_carry".into(),
        message: format!("no engine has run in {}", home.root().display()),
        risk: "nothing was changed".into(),
        next: "name the home with --home; engine doctor looks at it".into(),
    })
}

fn running(home: &Home, pid: u32) -> Trouble {
    Trouble::Refused {
        code: "engine_running".into(),
        message: format!("an engine (pid {pid}) runs in {}", home.root().display()),
        risk: "nothing was changed; a state that is carried away while it is in use would be used twice".into(),
        next: "engine stop, then again; engine backup create copies a running engine".into(),
    }
}

/// Nobody runs here, as far as can be seen.
fn quiet(home: &Home) -> Result<(), Trouble> {
    match instance::probe(home) {
        Instance::Running { pid } => return Err(running(home, pid)),
        Instance::Unknown { why } => return Err(Trouble::Unknown { why }),
        Instance::NotRunning { .. } => {}
    }
    nobody_left(home)
}

/// The locks of a start and of a supervisor, held: nobody runs here and nobody begins to.
fn hold(home: &Home) -> Result<Vec<File>, Trouble> {
    quiet(home)?;
    let mut held = Vec::new();
    for path in [home.run().join("start.lock"), home.supervisor_lock()] {
        let fail = |source| Trouble::Home { what: "lock", path: path.clone(), source };
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => held.push(file),
            Err(TryLockError::WouldBlock) => {
                return Err(Trouble::Unknown { why: format!("{} is held: somebody starts an engine", path.display()) });
            }
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
    }
    // One that had the home before the locks were taken may have left its workers.
    nobody_left(home)?;
    Ok(held)
}

/// No worker outlives its supervisor here.
fn nobody_left(home: &Home) -> Result<(), Trouble> {
    match instance::survivors(home).first() {
        Some((_, pid)) => Err(running(home, *pid)),
        None => Ok(()),
    }
}
