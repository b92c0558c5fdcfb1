//! Which parts of a home travel, in which order, and what must not be in any of them.

use crate::error::Trouble;
use crate::{account, cli, config};
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_store::bundle::{Filed, Kind, Origin, Part, Source, What};

/// Names that are left out of folders: what belongs to a process that runs, or to one surface.
const SKIPPED: [&str; 5] = ["ACTIVE_WATCH.json", "LOCK", "lock", "orders.ballast", "reserve"];

/// Everything that travels. Never `keys/` and never `run/`.
pub(super) fn source(home: &Home, logs: bool) -> Source {
    let venue = home.venue();
    let mut parts = vec![
        // The changes before the snapshot they are folded into: the other way round a fold in between would be lost.
        (venue.join("books.jsonl"), What::Lines),
        (venue.join("books.json"), What::File),
        (venue.join("orders.jsonl"), What::Lines),
        (home.venue_account(), What::File),
        // What deadman owes is taken over by the judge, then taken back: this way round it is in one of them at least.
        (home.deadman_cell(), What::Cell),
        (home.judge_cell(), What::Cell),
        (home.engine_cell(), What::Cell),
        (home.engine_nonce(), What::Cell),
        (home.deadman_nonce(), What::Cell),
        (home.decisions(), What::Journal),
        (home.bus(), What::Bus),
        (home.ledger(), What::Ledger),
        (home.reports(), What::Tree),
        (home.config(), What::File),
    ];
    if logs {
        parts.push((home.logs(), What::Tree));
    }
    Source {
        root: home.root().to_owned(),
        parts: parts.into_iter().map(|(path, what)| Part { path, what }).collect(),
        skipped: SKIPPED.map(str::to_owned).to_vec(),
        secrets: secrets(home),
        config: home.config(),
        orders: vec![(Filed::Kill, home.kill_file()), (Filed::Pause, home.pause_file())],
    }
}

/// Files whose content must not leave the host.
pub(super) fn secrets(home: &Home) -> Vec<std::path::PathBuf> {
    let keys = std::fs::read_dir(home.keys()).into_iter().flatten().flatten().map(|entry| entry.path());
    keys.filter(|path| path.is_file()).chain([home.api_token()]).collect()
}

/// Who makes the bundle, and when.
pub(super) fn origin(home: &Home, kind: Kind) -> Result<Origin, Trouble> {
    let mut id = [0_u8; 16];
    getrandom::fill(&mut id).map_err(|e| Trouble::Os { what: "draw a random id", source: e.into() })?;
    let created_ms = clock::wall_ms();
    let settings = config::load(home, &cli::MarketArgs::default()).map(|loaded| loaded.settings);
    let host = nix::sys::utsname::uname().ok().map(|name| name.nodename().to_string_lossy().into_owned());
    Ok(Origin {
        bundle: id.iter().map(|byte| format!("{byte:02x}")).collect(),
        kind,
        tool: cli::VERSION.to_owned(),
        host: host.unwrap_or_else(|| "unknown".to_owned()),
        // A configuration that is refused travels all the same: it is part of the state.
        profile: settings.map_or_else(|_| "unknown".to_owned(), |settings| settings.profile.to_string()),
        created_ms,
        created_utc: utc(created_ms),
        account: account::known(home),
    })
}

/// An instant for people.
pub(super) fn utc(ms: u64) -> String {
    let stamp = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(|| format!("{ms} ms"), |stamp| stamp.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string())
}
