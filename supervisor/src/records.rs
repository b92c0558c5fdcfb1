//! The two records of the latches and restart budgets, brought together before anything else of a start.
//!
//! * The cell works on a full disk and is the first authority; the ledger is the second. Whatever either has in force is
//!   in force, and a restart that either knows of is used up.
//! * Where they disagree, nothing opens until an operator has seen it and resumed, however often we start meanwhile.
//! * A ledger that cannot be used is an error, never a new beginning. One that is gone from a used home is made anew, and
//!   that it is gone counts as a disagreement.
//! * Both put back to an older state are found by the runtime bus, which tells of a later epoch: what was promised since is
//!   not known, so it counts as lost.
//! * On a full disk it is gone without: the cell alone says what is in force, and that the ledger was not seen counts as
//!   a disagreement.

use crate::error::SupervisorError;
use crate::os::files::free_mib;
use crate::perform::ledger::Bookkeeper;
use holdfast_core::conflict::{Budgets, LatchRows, compare, compare_budgets, more_used, stricter};
use holdfast_core::durable::Durable;
use holdfast_core::ids::{Epoch, Role};
use holdfast_core::kill::{KillCause, KillLatch};
use holdfast_core::limits::DISK_FREE_MIB;
use holdfast_core::report::JobKind;
use holdfast_core::restart::Deaths;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_store::ledger::{Ledger, LedgerError, Reader};

/// Opens the ledger and says what to go on from. `cell` is what the judge's cell holds.
pub(crate) fn settle(home: &Home, cell: Option<Durable>) -> Result<(Bookkeeper, Durable), SupervisorError> {
    let path = home.ledger();
    let opened = Ledger::open(&path).and_then(|ledger| {
        let reader = Reader::open(&path)?;
        let mut budgets = Budgets::default();
        for role in Role::ALL {
            budgets[role.index()] = Deaths::at(reader.deaths(role)?);
        }
        Ok((ledger, reader.latches()?, reader.loss_baseline()?, budgets))
    });
    let (ledger, rows, loss, budgets) = match opened {
        Ok(opened) => opened,
        // SQLite cannot even be read without room beside it. What is owed must not wait for that.
        Err(error @ (LedgerError::Io { .. } | LedgerError::Failed { .. })) if full(home) => {
            tracing::error!(%error, "the disk is full: starting restricted, without the ledger");
            let mut durable = cell.unwrap_or_else(|| Durable::lost(clock::wall_ms()));
            durable.disagree("the disk was full at a start: what the ledger holds of latches was not seen");
            return Ok((Bookkeeper::without(), durable));
        }
        Err(error) => return Err(error.into()),
    };
    let conflicts = match &cell {
        // A ledger that records nothing is told as one disagreement.
        Some(cell) if !rows.is_empty() => compare_budgets(&cell.deaths, &budgets, clock::wall_ms()),
        Some(_) | None => Vec::new(),
    };
    let mut durable = brought_together(cell, &rows, || used(home));
    durable.deaths = more_used(&durable.deaths, &budgets);
    for words in conflicts {
        tracing::error!(words, "the records of a restart budget disagree: what either knows of is used up");
        durable.disagree(&words);
    }
    Ok((Bookkeeper::new(ledger, rows, loss), durable))
}

fn full(home: &Home) -> bool {
    free_mib(home.root()).is_ok_and(|free| free < DISK_FREE_MIB)
}

fn brought_together(cell: Option<Durable>, rows: &LatchRows, used: impl FnOnce() -> bool) -> Durable {
    let Some(cell) = cell else {
        if rows.is_empty() && !used() {
            return Durable::fresh();
        }
        tracing::error!("this home was used, but its latches are gone: starting killed");
        // The assumed kill waits for an operator as it is; what the ledger adds is in force as well.
        return stricter(&Durable::lost(clock::wall_ms()), rows);
    };
    let mut durable = stricter(&cell, rows);
    for conflict in compare(&cell, rows) {
        tracing::error!(%conflict, "the records of a latch disagree: the stricter holds");
        durable.disagree(&conflict.to_string());
    }
    if rows.is_empty() {
        tracing::error!("the ledger of this used home is gone, or was never written");
        durable.disagree("the ledger records no latch although this home was used: it is gone, or was replaced");
    }
    durable
}

/// The cell and the ledger are of epoch `held`, and the runtime bus tells of a later one: whatever was latched since is
/// assumed, and the epoch goes on above every one that was used.
pub(crate) fn put_back(durable: &mut Durable, held: Epoch, told: Epoch, wall_ms: u64) {
    let words = format!("the latches on disk are of epoch {}, the runtime bus tells of epoch {}", held.0, told.0);
    tracing::error!(words, "the records of the latches were put back to an older state: starting killed");
    durable.latch_kill(KillLatch::new(wall_ms, KillCause::LatchesLost, Some(&words), JobKind::Flatten));
    durable.disagree(&words);
    durable.epoch = told.next();
}

/// An empty cell in a home that was used is a loss, not a beginning.
fn used(home: &Home) -> bool {
    traded(home) || home.deadman_cell().exists()
}

/// Whether workers have left traces in this home.
pub(crate) fn traded(home: &Home) -> bool {
    let traces = [
        home.decisions(),
        home.engine_cell(),
        home.bus(),
        home.engine_nonce(),
        home.deadman_nonce(),
        home.venue().join("orders.jsonl"),
        home.venue().join("books.json"),
        home.venue().join("books.jsonl"),
    ];
    traces.iter().any(|trace| trace.exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::conflict::rows_of;

    #[test]
    fn the_stricter_holds_and_every_disagreement_waits_for_an_operator() {
        let fresh = Durable::fresh;
        let killed = || {
            let kill = KillLatch::new(7, KillCause::Operator, Some("storm"), JobKind::Flatten);
            Durable { kill: Some(kill), ..fresh() }
        };
        let paused = || Durable { paused_since_wall_ms: Some(5), ..fresh() };
        let rows = |durable: Durable| rows_of(&durable, 9);
        let none = LatchRows::new();
        // What the cell has, what the ledger has; killed, paused, and the words of a disagreement.
        type Case<'a> = (&'a str, Option<Durable>, LatchRows, (bool, bool, Option<&'a str>));
        let cases: [Case<'_>; 9] = [
            ("a first start", None, none.clone(), (false, false, None)),
            ("agreed, nothing set", Some(fresh()), rows(fresh()), (false, false, None)),
            ("agreed, killed", Some(killed()), rows(killed()), (true, false, None)),
            ("killed in the ledger only", Some(fresh()), rows(killed()), (true, false, Some("kill: not in force in"))),
            ("killed in the cell only", Some(killed()), rows(fresh()), (true, false, Some("kill: in force, closing"))),
            ("paused in one, killed in the other", Some(paused()), rows(killed()), (true, true, Some("kill: "))),
            ("the ledger is gone", Some(fresh()), none.clone(), (false, false, Some("the ledger records no latch"))),
            ("the cell is gone", None, rows(paused()), (true, true, None)),
            ("the cell is gone, nothing was set", None, rows(fresh()), (true, false, None)),
        ];
        for (name, cell, rows, expect) in cases {
            let lost = cell.is_none() && !rows.is_empty();
            let durable = brought_together(cell, &rows, || false);
            let paused = durable.paused_since_wall_ms.is_some();
            let words = durable.disagreement.as_deref();
            assert_eq!(
                (durable.kill.is_some(), paused, words.is_some()),
                (expect.0, expect.1, expect.2.is_some()),
                "{name}"
            );
            assert!(words.is_none_or(|words| words.starts_with(expect.2.unwrap_or("?"))), "{name}: {words:?}");
            let cause = durable.kill.as_ref().map(|kill| kill.cause);
            assert_eq!(cause == Some(KillCause::LatchesLost), lost, "{name}");
            // Written into both, they agree; the words stay until an operator resumes.
            let again = brought_together(Some(durable.clone()), &rows_of(&durable, 9), || true);
            assert_eq!(again, durable, "{name}");
        }
        assert_eq!(brought_together(None, &none, || true).kill.map(|kill| kill.cause), Some(KillCause::LatchesLost));
    }
}
