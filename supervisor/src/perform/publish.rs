//! The status document, built from the judge's view and written where it can be read without asking.

use crate::Launch;
use holdfast_core::ids::Role;
use holdfast_core::machine::{Machine, View};
use holdfast_core::money::{Szi, Usd};
use holdfast_core::registry::{ModeReason, TradingMode, VenueDeadMan};
use holdfast_core::report::{AccountView, BusHealth, JobKind, JobState, Residue};
use holdfast_core::status::{
    ApiStatus, DeadManStatus, DecisionsStatus, DiskStatus, ExposureStatus, JournalStatus, KillStatus, LifecycleStatus,
    PermitStatus, STATUS_SCHEMA, Seconds, StatusDoc, WorkerStatus,
};
use holdfast_core::time::Tick;
use holdfast_ipc::clock::{rfc3339, wall_of};
use std::collections::BTreeMap;

/// What the driver knows beside the judge.
pub(crate) struct Facts<'a> {
    pub(crate) launch: &'a Launch,
    pub(crate) pid: u32,
    pub(crate) started: Tick,
    pub(crate) started_wall_ms: u64,
    pub(crate) api_url: &'a str,
    pub(crate) venue_url: String,
    pub(crate) latches_on_disk: bool,
    pub(crate) journal: JournalStatus,
    pub(crate) ledger_on_disk: bool,
    pub(crate) disk: DiskStatus,
    pub(crate) taken_over: Option<&'a str>,
    /// Killed and not gone, with words for people.
    pub(crate) stuck: BTreeMap<Role, String>,
}

/// Builds the document of this instant.
pub(crate) fn document(machine: &Machine, facts: &Facts<'_>, now: Tick) -> StatusDoc {
    let view = machine.view(now);
    let at = |tick: Tick| rfc3339(wall_of(tick));
    let account = view.account;
    StatusDoc {
        schema: STATUS_SCHEMA.to_owned(),
        running: true,
        pid: facts.pid,
        started_at: rfc3339(facts.started_wall_ms),
        uptime_s: Seconds { ms: now.since(facts.started).as_ms() },
        version: facts.launch.version.clone(),
        build_id: facts.launch.build_id.clone(),
        home: facts.launch.home.root().display().to_string(),
        profile: view.profile,
        trading_mode: view.mode,
        mode_reasons: view.reasons.to_vec(),
        open_permission_blocked_latch: !view.latch.is_empty(),
        open_permission_reason_codes: view.latch.to_vec(),
        permit: PermitStatus {
            live: view.permit_for.is_some(),
            epoch: view.epoch.0,
            deadline_in_ms: view.permit_for.map_or(0, |span| span.as_ms()),
        },
        lifecycle: LifecycleStatus { phase: "idle".to_owned(), until: None, run_id: None },
        dead_man: DeadManStatus {
            venue: view.dead_man.map_or(VenueDeadMan::Unknown, |report| report.state),
            venue_fires_at: view.dead_man.and_then(|report| report.fires_at_ms).map(rfc3339),
            venue_detail: view.dead_man.map_or_else(String::new, |report| report.detail.clone()),
            operator_expires_at: view.operator_expires_wall_ms.map(rfc3339),
            unrecorded: view.unrecorded.map(str::to_owned),
        },
        exposure: ExposureStatus {
            flat: view.account_known && account.is_some_and(|account| account.is_flat()),
            known: view.account_known,
            as_of: account.map(|account| at(account.read_at)),
            positions: account.map_or_else(Vec::new, |account| account.positions.clone()),
            open_orders: account.map_or(0, |account| u32::try_from(account.orders.len()).unwrap_or(u32::MAX)),
            equity_usd: account.map(|account| account.equity_usd).map(|usd: Usd| usd.to_string()),
        },
        kill: KillStatus { taken_over: facts.taken_over.map(str::to_owned), ..kill_status(&view) },
        workers: machine.workers(now).map(|worker| worker_status(&worker, facts, now)).collect(),
        api: ApiStatus {
            url: facts.api_url.to_owned(),
            cockpit: if facts.api_url.is_empty() { String::new() } else { format!("{}/", facts.api_url) },
        },
        venue_url: facts.venue_url.clone(),
        journal: facts.journal.clone(),
        decisions: DecisionsStatus {
            entries: view.journal.map_or(0, |journal| journal.entries),
            head: view.journal.and_then(|journal| journal.head).map_or_else(String::new, |head| head.to_string()),
            durable: view.journal.is_some_and(|journal| journal.healthy),
            unsettled: view.journal.map_or(0, |journal| journal.unsettled),
        },
        disk: facts.disk,
        opening_blocked: view.standing.map(str::to_owned),
        generated_at: at(now),
        generated_boot_ns: now.0,
        next_step: next_step(&view, facts),
    }
}

/// The state as a snapshot of the runtime bus holds it.
pub(crate) fn snapshot(doc: &StatusDoc) -> serde_json::Value {
    serde_json::json!({
        "health": {
            "mode": doc.trading_mode, "mode_reasons": doc.mode_reasons, "epoch": doc.permit.epoch, "kill": doc.kill,
            "open_permission_reason_codes": doc.open_permission_reason_codes, "exposure_known": doc.exposure.known,
        },
        "positions": doc.exposure.positions,
    })
}

/// A job that was only to cancel proves nothing about positions, and no proof says anything about later: there the
/// account's own reading decides the word.
fn kill_status(view: &View<'_>) -> KillStatus {
    let unproven = unproven(view);
    let left = view.account.filter(|_| unproven).map_or_else(Vec::new, open);
    KillStatus {
        active: view.kill.is_some(),
        since: view.kill.map(|kill| rfc3339(kill.since_wall_ms)),
        state: if unproven { JobState::NotFlat.as_str() } else { view.job_state }.to_owned(),
        residue: view.residue.iter().cloned().chain(left).collect(),
        reason: view.kill.and_then(|kill| kill.reason.clone()),
        taken_over: None,
        proof_at: view.proof_venue_ms.filter(|_| view.job_kind == Some(JobKind::Flatten) && !unproven).map(rfc3339),
    }
}

/// The job is done, and the account does not look so.
fn unproven(view: &View<'_>) -> bool {
    let flat = view.account_known && view.account.is_some_and(AccountView::is_flat);
    let cancelled = view.job_kind == Some(JobKind::CancelAll) && view.job_state == JobState::Flat.as_str();
    view.contradicted || (cancelled && !flat)
}

/// What an account reading shows as open, per coin.
fn open(account: &AccountView) -> Vec<Residue> {
    let mut left = BTreeMap::new();
    for p in &account.positions {
        left.insert((&p.dex, &p.coin), (p.size, 0_u32));
    }
    for o in &account.orders {
        let entry = left.entry((&o.dex, &o.coin)).or_insert((Szi::FLAT, 0));
        entry.1 = entry.1.saturating_add(1);
    }
    let one = |((dex, coin), (size, orders)): ((&String, &String), _)| Residue {
        dex: dex.clone(),
        coin: coin.clone(),
        size,
        orders,
    };
    left.into_iter().map(one).collect()
}

fn worker_status(worker: &holdfast_core::machine::WorkerView<'_>, facts: &Facts<'_>, now: Tick) -> WorkerStatus {
    WorkerStatus {
        role: worker.role,
        pid: worker.state.pid(),
        state: worker.state.as_str().to_owned(),
        probation: worker.probation,
        restarts: worker.restarts,
        last_beat_ms: worker.state.pulse().map(|pulse| now.since(pulse.beat).as_ms()),
        since: rfc3339(wall_of(worker.since)),
        last_exit: facts.stuck.get(&worker.role).cloned().or_else(|| worker.last_exit.map(str::to_owned)),
        version: facts.launch.version.clone(),
    }
}

/// One line that says what a person should do next; empty when there is nothing to do.
fn next_step(view: &View<'_>, facts: &Facts<'_>) -> String {
    let step = step_of_mode(view, facts);
    let step = match facts.disk.free_mib.filter(|_| facts.disk.short) {
        None => step,
        // What holds the mode may need more than room; the disk alone is said alone.
        Some(free) if !facts.latches_on_disk || view.kill.is_some() || working(view) => {
            format!("{step}; {}", full(facts, free))
        }
        Some(free) => full(facts, free),
    };
    let Some(words) = view.disagreement else { return step };
    let disagree = format!("RECORDS DISAGREED, the stricter holds: {words}; look at the venue, then `engine resume`");
    if view.kill.is_some() || facts.disk.short { format!("{step}; {disagree}") } else { disagree }
}

/// A reduce job is under way.
fn working(view: &View<'_>) -> bool {
    view.job_state != "none" && view.job_state != JobState::Flat.as_str()
}

/// A disk without room, for people.
fn full(facts: &Facts<'_>, free_mib: u64) -> String {
    let again = if facts.ledger_on_disk { "" } else { ", then `engine restart`" };
    format!(
        "THE DISK IS FULL ({free_mib} MiB free): nothing opens risk, closing, kill and flatten go on, what happens may not be \
         recorded; free some space{again}"
    )
}

fn step_of_mode(view: &View<'_>, facts: &Facts<'_>) -> String {
    if !facts.latches_on_disk {
        return "latches could not be written down: check the disk now; a restart could forget them".to_owned();
    }
    if !facts.ledger_on_disk {
        return "the ledger cannot be written: check the disk; if it does not mend by itself, `engine restart`"
            .to_owned();
    }
    if let Some(why) = view.unrecorded.filter(|_| view.kill.is_none() && !working(view)) {
        return format!(
            "deadman works, but cannot write down what it begins ({why}): nothing opens; mend the disk, or move data/deadman.cell \
             aside, then `engine restart`, which starts killed until `engine resume`"
        );
    }
    if let Some(words) = facts.stuck.values().next() {
        return words.clone();
    }
    if let BusHealth::Refused { why } = view.bus {
        // A kill in force is said by the mode; what to do about the evidence is said nowhere else.
        return format!(
            "nothing is recorded and nothing opens risk: {why}; next: `engine stop`, `engine audit repair` (it asks for \
             a phrase that names the loss), `engine start`"
        );
    }
    let job_done = view.job_state == "flat";
    let cancel_only = view.job_kind == Some(JobKind::CancelAll);
    match (view.mode, view.kill) {
        (TradingMode::Kill, Some(_)) if view.contradicted => {
            "NOT FLAT: something is open since the proof; the tree closes it by itself; look at the venue".to_owned()
        }
        (TradingMode::Kill, Some(_)) if job_done && cancel_only => {
            "killed; orders are cancelled, positions were left as ordered: `engine flatten` closes them".to_owned()
        }
        (TradingMode::Kill, Some(_)) if job_done => {
            "killed and flat; `engine resume` when you want to trade again".to_owned()
        }
        (TradingMode::Kill, Some(_)) if view.job_state == "not_flat" => {
            "NOT FLAT: the tree keeps trying; check the venue yourself; `engine kill` starts a new attempt".to_owned()
        }
        (TradingMode::Kill, Some(_)) => "killed; closing what is open: watch `engine status --watch`".to_owned(),
        (TradingMode::Kill, None) => {
            "a worker keeps crashing: `engine logs`, mend it, then `engine restart`".to_owned()
        }
        (TradingMode::ReduceOnly, _) if view.limit_hit.is_some() => {
            format!("limit reached: {}; `engine resume` to go on", view.limit_hit.unwrap_or_default())
        }
        (TradingMode::ReduceOnly, _) if view.reasons.contains(&ModeReason::ReduceonlyOperatorPaused) => {
            "paused; `engine resume` when you want to trade again".to_owned()
        }
        (TradingMode::ReduceOnly, _) if view.reasons.contains(&ModeReason::ReduceonlyContainmentActive) => {
            "closing or cancelling what is open: watch `engine status --watch`; the mode clears with the proof"
                .to_owned()
        }
        (TradingMode::ReduceOnly, _) if !view.latch.is_empty() && !view.reconcile_detail.is_empty() => {
            format!("waiting for reconciliation: {}", view.reconcile_detail)
        }
        (TradingMode::ReduceOnly, _) if view.standing.is_some() => blocked_inside(view),
        (TradingMode::ReduceOnly, _) => {
            "wait: this clears by itself once every worker is ready and books agree; `engine logs` says what is slow"
                .to_owned()
        }
        (TradingMode::Active, _) => match view.incident {
            Some(incident) => {
                format!("INCIDENT: {incident}; look at the venue; `engine heartbeat` takes this line away")
            }
            None => blocked_inside(view),
        },
    }
}

/// What the engine's own gate says; empty when nothing standing blocks it.
fn blocked_inside(view: &View<'_>) -> String {
    view.standing.map_or_else(String::new, |standing| format!("opening blocked inside the engine: {standing}"))
}
