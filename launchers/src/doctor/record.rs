//! What is on the disk to be trusted at the next start: the ledger, the bus's head, the journal's last segment. Cheap looks
//! that change nothing; `engine audit verify` reads everything.

use super::{Check, fail, ok, warn};
use crate::audit::place;
use crate::growth::{self, DAYS_MIN};
use holdfast_core::conflict::{Budgets, compare, compare_budgets};
use holdfast_core::durable::Durable;
use holdfast_core::ids::Role;
use holdfast_core::restart::Deaths;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_store::Cell;
use holdfast_store::bus::{self, BusError, Head, HeadVerdict};
use holdfast_store::journal::{self, JournalError};
use holdfast_store::ledger::{LedgerError, Reader, SCHEMA};
use std::time::Duration;

/// Looks at two records of which one follows the other, while their owner runs.
const TRIES: u32 = 8;
const BETWEEN: Duration = Duration::from_millis(250);

/// Everything. `lives`: a tree runs, and writes meanwhile.
pub(super) async fn checks(home: &Home, lives: bool) -> Vec<Check> {
    vec![ledger(home, lives).await, bus_head(home), decisions(home), room(home)]
}

async fn ledger(home: &Home, lives: bool) -> Check {
    let path = home.ledger();
    if !path.exists() {
        return if home.judge_cell().exists() {
            let next = "restore it, or engine start: it is made anew, and nothing opens until engine resume";
            fail("ledger", "gone, although this home was used", next)
        } else {
            ok("ledger", "not there yet; engine start makes it")
        };
    }
    let mut differ = Vec::new();
    for again in 0..TRIES {
        if again > 0 {
            tokio::time::sleep(BETWEEN).await;
        }
        differ = match disagreements(home) {
            Ok(differ) => differ,
            Err(error) => {
                let next = "keep the file; engine migrate import of the last good bundle into an empty home";
                return fail("ledger", error, next);
            }
        };
        if differ.is_empty() || !lives {
            break;
        }
    }
    if differ.is_empty() {
        ok("ledger", format!("schema {SCHEMA}, holds, and agrees with the latch file"))
    } else {
        let next = "the stricter holds; look at the venue, then engine resume";
        warn("ledger", format!("the records disagree: {}", differ.join("; ")), next)
    }
}

/// What the ledger and the latch file say differently. Opening it examines it: pages, references, schema.
fn disagreements(home: &Home) -> Result<Vec<String>, String> {
    let told = |error: LedgerError| error.to_string();
    let reader = Reader::open(&home.ledger()).map_err(told)?;
    let Some(cell) = Cell::<Durable>::peek(&home.judge_cell()).map_err(|error| error.to_string())? else {
        return Ok(vec!["nothing in the latch file".to_owned()]);
    };
    let mut budgets = Budgets::default();
    for role in Role::ALL {
        budgets[role.index()] = Deaths::at(reader.deaths(role).map_err(told)?);
    }
    let rows = reader.latches().map_err(told)?;
    let mut differ: Vec<String> = compare(&cell, &rows).iter().map(ToString::to_string).collect();
    differ.extend(compare_budgets(&cell.deaths, &budgets, clock::wall_ms()));
    if rows.is_empty() {
        differ.push("the ledger records no latch".to_owned());
    }
    Ok(differ)
}

fn bus_head(home: &Home) -> Check {
    let next = "engine audit verify; then engine stop and engine audit repair";
    let seen = match bus::witness(&home.witness()) {
        Ok(seen) => seen,
        Err(error) => return fail("bus", error.to_string(), next),
    };
    let glance = || -> Result<Option<(Option<Head>, HeadVerdict)>, String> {
        let Some((source, keys)) = place::of_home(home).map_err(|trouble| trouble.to_string())? else {
            return Ok(None);
        };
        bus::glance(&source, keys.as_ref()).map(Some).map_err(|error: BusError| error.to_string())
    };
    match (glance(), seen) {
        (Err(why), _) => fail("bus", why, next),
        (Ok(None), None) => ok("bus", "nothing recorded yet"),
        (Ok(None), Some(seen)) => fail("bus", format!("gone, and deadman saw {seen}"), next),
        (Ok(Some((None, _))), _) => fail("bus", "it has no head", next),
        (Ok(Some((Some(_), HeadVerdict::Disagrees | HeadVerdict::Absent))), _) => {
            fail("bus", "no head that its key signed", next)
        }
        (Ok(Some((Some(head), verdict))), seen) => {
            let cut = seen.as_ref().filter(|seen| seen.bus_id != head.bus_id || seen.count > head.at.count);
            if let Some(seen) = cut {
                let detail = format!("put back or cut: its head has {} events, and deadman saw {seen}", head.at.count);
                return fail("bus", detail, next);
            }
            if verdict == HeadVerdict::Unsigned {
                return fail("bus", "its key is gone: the head proves nothing", next);
            }
            let witness =
                seen.map_or_else(|| "no witness yet".to_owned(), |seen| format!("deadman saw {}", seen.count));
            ok("bus", format!("{} events, head signed; {witness}", head.at.count))
        }
    }
}

fn decisions(home: &Home) -> Check {
    let path = home.decisions();
    let next = "keep it; restore it, or move it away while flat";
    match journal::exists(&path).and_then(|there| if there { journal::last_segment(&path).map(Some) } else { Ok(None) })
    {
        Ok(None) => ok("decided", "nothing decided yet"),
        Ok(Some(audit)) => {
            let torn = audit.torn_at.map_or("", |_| "; an unfinished last line is cut by the next start");
            ok("decided", format!("{} entries, the last segment holds{torn}", audit.entries))
        }
        Err(error @ JournalError::Broken { .. }) => fail("decided", error.to_string(), next),
        Err(error) => fail("decided", error.to_string(), "mend what the message names"),
    }
}

fn room(home: &Home) -> Check {
    match growth::measure(home) {
        None => ok("records", "nothing recorded yet"),
        Some(growth) if growth.days_left.is_some_and(|days| days < DAYS_MIN) => warn(
            "records",
            growth.to_string(),
            "records are kept for ever: engine stop, move the home to a larger disk, engine start --home there",
        ),
        Some(growth) => ok("records", growth.to_string()),
    }
}
