//! Whether a home may be started as far as moves are concerned: not exported, and an import's checklist passed.

use super::{plan, say};
use crate::account;
use crate::error::Trouble;
use crate::out::Out;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_store::bundle::{self, Import, Item, Outcome};
use holdfast_store::bus::Adopted;
use holdfast_supervisor::instance::{self, Instance};

/// Refuses a state that lives elsewhere now, and an import that is not what its bundle was. Changes nothing.
pub(crate) fn admit(home: &Home) -> Result<Option<Import>, Trouble> {
    if let Some(exported) = bundle::marked(&home.exported(), &home.ledger()).map_err(say::trouble)? {
        return Err(say::exported(&exported));
    }
    let Some(import) = bundle::pending(&home.import_record()).map_err(say::trouble)? else { return Ok(None) };
    let items = items(home, &import);
    let failed: Vec<String> = items
        .into_iter()
        .filter(|item| item.outcome == Outcome::Fail)
        .map(|item| format!("{}: {}", item.name, item.detail))
        .collect();
    if failed.is_empty() {
        return Ok(Some(import));
    }
    Err(Trouble::Refused {
        code: "import_unchecked".into(),
        message: format!("this home was imported and is not as its bundle says: {}", failed.join("; ")),
        risk: "nothing was started; what is open on the venue is watched only by the venue's own dead-man switch"
            .into(),
        next: "engine migrate check shows every point; import the bundle again into an empty home".into(),
    })
}

/// A start follows: the bus becomes this home's, then the import's record steps aside.
pub(crate) fn admitted(out: Out, home: &Home, import: &Import) -> Result<(), Trouble> {
    let mut seed = [0_u8; 32];
    getrandom::fill(&mut seed).map_err(|e| Trouble::Os { what: "draw a random key", source: e.into() })?;
    let adopted = bundle::adopt_bus(&home.bus(), &home.bus_key(), seed, import, clock::wall_ms());
    if adopted.map_err(say::trouble)? == Adopted::Anew {
        out.note(
            "the runtime bus came without its key: it goes on under a new one, and says so in a bus.adopted event",
        );
    }
    bundle::finish(&home.import_record(), import).map_err(say::trouble)
}

/// Every point of the checklist.
pub(super) fn items(home: &Home, import: &Import) -> Vec<Item> {
    let leftovers = [
        home.pidfile(),
        home.control_sock(),
        home.status_sock(),
        home.worker_sock(),
        home.reports().join("ACTIVE_WATCH.json"),
    ];
    let secrets = plan::secrets(home);
    let mut items = bundle::check(home.root(), &home.ledger(), import, &leftovers, &secrets, clock::wall_ms());
    let running = match instance::probe(home) {
        Instance::NotRunning { .. } => None,
        Instance::Running { pid } => Some(format!("pid {pid}")),
        Instance::Unknown { why } => Some(why),
    };
    items.push(Item::must("engine not running", running.is_none(), running.unwrap_or_else(|| "stopped".to_owned())));
    items.push(keys(home));
    items.extend(import.manifest.bus.as_ref().map(|_| bus_key(home)));
    let told = import.manifest.account.clone();
    let found = account::known(home);
    let detail = match (&found, &told) {
        (Some(found), Some(told)) if found == told => found.clone(),
        (None, None) => "none was known".to_owned(),
        _ => {
            format!("{} here, {} in the bundle", found.as_deref().unwrap_or("none"), told.as_deref().unwrap_or("none"))
        }
    };
    items.push(Item::must("account address", found == told, detail));
    items
}

/// Without its key the bus is adopted by the first start: for the owner to know, not in the way.
fn bus_key(home: &Home) -> Item {
    let name = "bus key";
    if home.bus_key().exists() {
        return Item::must(name, true, "there; a head that it signed stays in force");
    }
    let detail =
        "missing: what the old head proved cannot be checked here. Move keys/bus.key here by hand, or the first \
                  start adopts the verified chain under a new key and records that"
            .to_owned();
    Item { name, outcome: Outcome::Note, detail }
}

/// Keys do not travel: whether their owner has moved them is told, and a wrong one stands in the way.
fn keys(home: &Home) -> Item {
    let name = "key files";
    match account::keys_here(home) {
        Err(trouble) => Item::must(name, false, trouble.to_string()),
        Ok(found) if found.missing.is_empty() && found.strangers.is_empty() => {
            Item::must(name, true, "there, and those the account knows")
        }
        Ok(found) if found.strangers.is_empty() => Item {
            name,
            outcome: Outcome::Note,
            detail: format!(
                "missing: {}; move keys/ here by hand, mode 0600. In the paper profile the next start makes new ones",
                found.missing.join(", ")
            ),
        },
        Ok(found) => Item {
            name,
            outcome: Outcome::Note,
            detail: format!(
                "not those the account knew: {}; the next start registers them",
                found.strangers.join(", ")
            ),
        },
    }
}
