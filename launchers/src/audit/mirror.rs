//! `engine audit mirror`: keeps a second record of the bus in PostgreSQL, in a process of its own that only reads here.
//!
//! A database that is away is waited for, with growing pauses. A record that is not the one the database has is an end: it
//! was cut, rewritten, or is another host's.

use crate::cli::MirrorArgs;
use crate::error::Trouble;
use crate::out::Out;
use holdfast_ipc::bootstrap::Home;

#[cfg(not(feature = "mirror"))]
pub(super) fn mirror(_: Out, _: &Home, _: &MirrorArgs) -> Result<u8, Trouble> {
    Err(Trouble::NotBuilt { what: "the mirror", feature: "mirror" })
}

#[cfg(feature = "mirror")]
pub(super) use follow::mirror;

#[cfg(feature = "mirror")]
mod follow {
    use super::{Home, MirrorArgs, Out, Trouble};
    use crate::audit::place::{self, Source};
    use crate::home::check_key;
    use holdfast_mirror::{MirrorError, Postgres, Target};
    use holdfast_store::bus::{BusError, Follower};
    use serde::Serialize;
    use std::io::Read;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    /// How often new events are looked for.
    const LOOK_EVERY: Duration = Duration::from_secs(1);
    /// Pauses between attempts to reach the database double up to this.
    const PAUSE_MAX: Duration = Duration::from_secs(30);
    /// Longest address of a database.
    const ADDRESS_BYTES_MAX: u64 = 4096;

    /// How far the second record goes.
    #[derive(Serialize)]
    struct Doc {
        schema: &'static str,
        events: u64,
    }

    pub(in crate::audit) fn mirror(out: Out, home: &Home, args: &MirrorArgs) -> Result<u8, Trouble> {
        let target = target(&args.url_file)?;
        let Some((source, _)) = place::of_home(home)? else {
            return Err(Trouble::NoRecord { home: home.root().to_owned() });
        };
        let source = Arc::new(source);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|source| Trouble::Os { what: "start a timer", source })?;
        let (mut told, mut pause) = (None, LOOK_EVERY);
        loop {
            match follow(out, &source, &target, args.once, &mut told) {
                Ok(()) => return Ok(0),
                Err(Away::Lasting(trouble)) => return Err(trouble),
                Err(Away::Passing(trouble)) if args.once => return Err(trouble),
                Err(Away::Passing(trouble)) => out.note(&format!("{trouble}; trying again in {} s", pause.as_secs())),
            }
            runtime.block_on(async { tokio::time::sleep(pause).await });
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    /// Whether waiting helps.
    enum Away {
        Passing(Trouble),
        Lasting(Trouble),
    }

    /// One connection's life. Ends when it breaks, or with `once` when the mirror has everything.
    fn follow(out: Out, source: &Arc<Source>, target: &Target, once: bool, told: &mut Option<u64>) -> Result<(), Away> {
        let bus = |error: BusError| Away::Lasting(Trouble::Bus(error));
        let mut follower = Follower::from(source.clone(), 1).map_err(bus)?;
        let Some(bus_id) = follower.bus_id().map_err(bus)? else {
            return Err(Away::Passing(Trouble::Mirror { why: "the bus has no event yet".to_owned() }));
        };
        let mut mirror = Postgres::connect(target, &bus_id).map_err(away)?;
        loop {
            let events = follower.feed(&mut mirror).map_err(fed)?;
            if told.replace(events) != Some(events) {
                if out.json {
                    out.doc(&Doc { schema: "holdfast.mirror.v1", events });
                } else {
                    out.line(&format!("{events} events are in the mirror"));
                }
            }
            if once {
                return Ok(());
            }
            mirror.rest(LOOK_EVERY);
        }
    }

    fn away(error: MirrorError) -> Away {
        let why = error.to_string();
        match error {
            MirrorError::Database(_) | MirrorError::Slow => Away::Passing(Trouble::Mirror { why }),
            MirrorError::Fork { .. } | MirrorError::Gap { .. } | MirrorError::Line { .. } => {
                Away::Lasting(Trouble::Evidence { what: why })
            }
            MirrorError::Target(_) | MirrorError::Runtime(_) => Away::Lasting(Trouble::Mirror { why }),
        }
    }

    /// What the mirror says comes back through the bus; what the bus says is an end.
    fn fed(error: BusError) -> Away {
        match error {
            BusError::Io { path, what, source } => match source.downcast::<MirrorError>() {
                Ok(said) => away(said),
                Err(source) => Away::Lasting(Trouble::Bus(BusError::Io { path, what, source })),
            },
            other @ (BusError::Busy { .. }
            | BusError::Corrupt { .. }
            | BusError::Key { .. }
            | BusError::Witness { .. }
            | BusError::LossNotAccepted { .. }
            | BusError::Latched { .. }
            | BusError::Full
            | BusError::QueueFull { .. }
            | BusError::Slow
            | BusError::Closed
            | BusError::Event(_)) => Away::Lasting(Trouble::Bus(other)),
        }
    }

    /// The address holds a password: it comes from a file that is its owner's alone.
    fn target(path: &Path) -> Result<Target, Trouble> {
        check_key(path)?;
        let fail = |source| Trouble::Home { what: "read", path: path.to_owned(), source };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(fail)?;
        file.take(ADDRESS_BYTES_MAX).read_to_string(&mut text).map_err(fail)?;
        text.parse().map_err(|error: MirrorError| Trouble::Mirror { why: format!("{}: {error}", path.display()) })
    }
}
