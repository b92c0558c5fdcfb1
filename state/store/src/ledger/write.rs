//! Each record as SQL. All records of one write share one transaction: either every row is there or none.

use super::error::{LedgerError, sqlite};
use super::events;
use super::record::{PositionOpened, Proposal, Record, Run, Snapshot};
use holdfast_core::conflict::{Latch, LatchRow};
use holdfast_core::ids::Role;
use holdfast_core::money::Amount;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::path::Path;

/// Why a record was not written.
enum Fault {
    Sql(rusqlite::Error),
    Rule(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Snapshots written earlier in the same transaction.
#[derive(Default)]
struct Earlier {
    ocean: Option<i64>,
    market: Option<i64>,
}

/// Writes them all and returns when they are on the disk; gives the row number of each.
pub(super) fn commit(connection: &mut Connection, path: &Path, records: &[Record]) -> Result<Vec<i64>, LedgerError> {
    let fail = sqlite(path, "write it");
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fail)?;
    let mut earlier = Earlier::default();
    let mut rows = Vec::with_capacity(records.len());
    for record in records {
        // An error drops the transaction, which rolls it back.
        rows.push(apply(&tx, record, &mut earlier).map_err(|fault| match fault {
            Fault::Sql(error) => fail(error),
            Fault::Rule(why) => LedgerError::Refused { path: path.to_owned(), why },
        })?);
    }
    tx.commit().map_err(&fail)?;
    Ok(rows)
}

fn apply(tx: &Transaction<'_>, record: &Record, earlier: &mut Earlier) -> Result<i64, Fault> {
    match record {
        Record::Latch(latch, row) => set_latch(tx, *latch, row)?,
        Record::LossBaseline(loss) => {
            let breach = loss.breach.as_ref();
            tx.prepare_cached(
                "INSERT INTO loss_baselines
                     (utc_day, baseline_usd, recorded_ms, breach_equity_usd, breach_epoch, breach_lifted_ms)
                 VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT (utc_day) DO UPDATE SET
                     baseline_usd = excluded.baseline_usd, recorded_ms = excluded.recorded_ms,
                     breach_equity_usd = excluded.breach_equity_usd, breach_epoch = excluded.breach_epoch,
                     breach_lifted_ms = excluded.breach_lifted_ms",
            )?
            .execute(params![
                loss.utc_day,
                loss.baseline_usd.to_string(),
                loss.recorded_ms,
                breach.map(|breach| breach.equity_usd.to_string()),
                breach.map(|breach| breach.epoch.0),
                breach.and_then(|breach| breach.lifted_ms),
            ])?;
        }
        Record::Deaths(role, deaths) => set_deaths(tx, *role, deaths)?,
        Record::PositionOpened(position) => open_position(tx, position)?,
        Record::PositionClosed { id, closed_ms } => {
            close_position(tx, *id, *closed_ms)?;
            return Ok(*id);
        }
        Record::Lifecycle(state) => {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO lifecycle_state
                     (id, phase, next_action_ms, cooldown_until_ms, backoff_until_ms, last_run_id, message, updated_ms,
                      updated_by)
                 VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                state.phase.as_str(),
                state.next_action_ms,
                state.cooldown_until_ms,
                state.backoff_until_ms,
                state.last_run_id,
                state.message,
                state.updated_ms,
                state.updated_by,
            ])?;
        }
        Record::Event(event) => {
            return Ok(events::append(tx, event.at_ms, &event.event_type, &event.payload_json)?);
        }
        Record::RunOpened(run) => open_run(tx, run)?,
        Record::RunUpdated(run) => update_run(tx, run)?,
        Record::Sample(sample) => {
            tx.prepare_cached("INSERT INTO samples (run_id, kind, wall_ms, payload_json) VALUES (?, ?, ?, ?)")?
                .execute(params![sample.run_id, sample.kind, sample.wall_ms, sample.payload_json])?;
        }
        Record::RatchetStep(step) => {
            tx.prepare_cached(
                "INSERT INTO ratchet_steps
                     (at_ms, knob, old_value, new_value, hypothesis, evidence_json, config_before, config_after)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                step.at_ms,
                step.knob.as_str(),
                step.old_value,
                step.new_value,
                step.hypothesis,
                step.evidence_json,
                step.config_before,
                step.config_after,
            ])?;
        }
        Record::Ocean(ocean) => {
            tx.prepare_cached(
                "INSERT INTO ocean_snapshots
                     (at_ms, pool_hashrate_eh_s, network_difficulty_t, share_log_window_t, avg_block_time_hours, source)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                ocean.at_ms,
                ocean.pool_hashrate_eh_s.to_string(),
                ocean.network_difficulty_t.to_string(),
                text(ocean.share_log_window_t),
                text(ocean.avg_block_time_hours),
                ocean.source,
            ])?;
            earlier.ocean = Some(tx.last_insert_rowid());
        }
        Record::Market(market) => {
            tx.prepare_cached(
                "INSERT INTO market_snapshots
                     (at_ms, best_price_btc_per_eh_day, best_bid_btc_per_eh_day, best_ask_btc_per_eh_day,
                      fillable_price_btc_per_eh_day, fillable_target_ph, fillable_available_ph,
                      suggested_bid_btc_per_eh_day, suggested_overpay_btc_per_eh_day, last_price_btc_per_eh_day,
                      total_hashrate_eh_s, available_hashrate_eh_s, status, source, basis)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                market.at_ms,
                text(market.best_price),
                text(market.best_bid),
                text(market.best_ask),
                text(market.fillable_price),
                text(market.fillable_target_ph),
                text(market.fillable_available_ph),
                text(market.suggested_bid),
                text(market.suggested_overpay),
                text(market.last_price),
                text(market.total_hashrate_eh_s),
                text(market.available_hashrate_eh_s),
                market.status,
                market.source,
                market.basis.as_str(),
            ])?;
            earlier.market = Some(tx.last_insert_rowid());
        }
        Record::Proposal(proposal) => propose(tx, proposal, earlier)?,
        Record::Exported { bundle, at_ms } => {
            let at = bundle.as_ref().map(|_| at_ms);
            tx.execute("UPDATE meta SET exported_to = ?, exported_ms = ? WHERE id = 1", params![bundle, at])?;
        }
    }
    Ok(tx.last_insert_rowid())
}

fn text(amount: Option<Amount>) -> Option<String> {
    amount.map(|amount| amount.to_string())
}

fn set_latch(tx: &Transaction<'_>, latch: Latch, row: &LatchRow) -> Result<(), Fault> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO latches (name, in_force, since_ms, until_ms, cause, reason, detail)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        latch.as_str(),
        row.in_force,
        row.since_wall_ms,
        row.until_wall_ms,
        row.cause,
        row.reason,
        row.detail
    ])?;
    Ok(())
}

fn set_deaths(tx: &Transaction<'_>, role: Role, deaths: &[u64]) -> Result<(), Fault> {
    tx.prepare_cached("DELETE FROM restart_budgets WHERE role = ?")?.execute([role.as_str()])?;
    let mut insert = tx.prepare_cached("INSERT INTO restart_budgets (role, wall_ms) VALUES (?, ?)")?;
    for death in deaths {
        insert.execute(params![role.as_str(), death])?;
    }
    Ok(())
}

fn open_position(tx: &Transaction<'_>, position: &PositionOpened) -> Result<(), Fault> {
    tx.prepare_cached(
        "INSERT INTO manual_positions (opened_ms, venue, description, expected_maturity_ms, payload_json)
         VALUES (?, ?, ?, ?, ?)",
    )?
    .execute(params![
        position.opened_ms,
        position.venue,
        position.description,
        position.expected_maturity_ms,
        position.payload_json
    ])?;
    Ok(())
}

fn close_position(tx: &Transaction<'_>, id: i64, closed_ms: u64) -> Result<(), Fault> {
    let found = tx
        .prepare_cached(
            "SELECT expected_maturity_ms, EXISTS (SELECT 1 FROM manual_position_closings WHERE position_id = ?1)
             FROM manual_positions WHERE id = ?1",
        )?
        .query_row([id], |row| Ok((row.get::<_, Option<u64>>(0)?, row.get::<_, bool>(1)?)))
        .optional()?;
    let maturity = match found {
        None => return Err(Fault::Rule(format!("there is no position #{id}"))),
        Some((_, true)) => return Err(Fault::Rule(format!("position #{id} is closed already"))),
        Some((maturity, false)) => maturity,
    };
    let early = maturity.is_some_and(|maturity| closed_ms < maturity);
    tx.prepare_cached(
        "INSERT INTO manual_position_closings (position_id, closed_ms, closed_before_maturity) VALUES (?, ?, ?)",
    )?
    .execute(params![id, closed_ms, early])?;
    Ok(())
}

fn open_run(tx: &Transaction<'_>, run: &Run) -> Result<(), Fault> {
    let open: Option<String> = tx
        .prepare_cached("SELECT run_id FROM runs WHERE status = 'running' LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    if let Some(open) = open {
        return Err(Fault::Rule(format!("a watch is open already: {open}")));
    }
    tx.prepare_cached(
        "INSERT INTO runs (run_id, started_ms, ended_ms, status, planned_cycles, interval_s, good_cycles,
             failed_cycles, last_error, hypothesis, knobs_json, config_sha256, report)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        run.run_id,
        run.started_ms,
        run.ended_ms,
        run.status.as_str(),
        run.planned_cycles,
        run.interval_s,
        run.good_cycles,
        run.failed_cycles,
        run.last_error,
        run.hypothesis,
        run.knobs_json,
        run.config_sha256,
        run.report,
    ])?;
    Ok(())
}

fn update_run(tx: &Transaction<'_>, run: &Run) -> Result<(), Fault> {
    let changed = tx
        .prepare_cached(
            "UPDATE runs SET ended_ms = ?, status = ?, good_cycles = ?, failed_cycles = ?, last_error = ?, report = ?
             WHERE run_id = ? AND status = 'running'",
        )?
        .execute(params![
            run.ended_ms,
            run.status.as_str(),
            run.good_cycles,
            run.failed_cycles,
            run.last_error,
            run.report,
            run.run_id,
        ])?;
    if changed == 1 { Ok(()) } else { Err(Fault::Rule(format!("run {} is not open", run.run_id))) }
}

fn propose(tx: &Transaction<'_>, proposal: &Proposal, earlier: &Earlier) -> Result<(), Fault> {
    let number = |snapshot: Option<Snapshot>, written: Option<i64>| match snapshot {
        None => Ok(None),
        Some(Snapshot::Id(id)) => Ok(Some(id)),
        Some(Snapshot::JustWritten) if written.is_some() => Ok(written),
        Some(Snapshot::JustWritten) => Err(Fault::Rule("the proposal's snapshot is not in this write".to_owned())),
    };
    tx.prepare_cached(
        "INSERT INTO proposals
             (at_ms, run_id, cycle, ocean_id, market_id, action, reason, price_btc_per_eh_day, spend_btc,
              duration_minutes, breakeven_btc_per_eh_day, expected_reward_btc, expected_net_btc, score, maturity_note,
              basis)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        proposal.at_ms,
        proposal.run_id,
        proposal.cycle,
        number(proposal.ocean, earlier.ocean)?,
        number(proposal.market, earlier.market)?,
        proposal.action.as_str(),
        proposal.reason,
        text(proposal.price),
        text(proposal.spend_btc),
        proposal.duration_minutes,
        text(proposal.breakeven),
        text(proposal.expected_reward_btc),
        text(proposal.expected_net_btc),
        text(proposal.score),
        proposal.maturity_note,
        proposal.basis.as_str(),
    ])?;
    Ok(())
}
