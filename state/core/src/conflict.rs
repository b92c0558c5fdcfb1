//! Two records of the same latches and restart budgets: the durable cell, which works on a full disk, and the ledger,
//! which can be queried.
//!
//! * Where they disagree, the stricter of the two holds: a latch in force in either is in force, a death that either
//!   knows of is counted.
//! * What the ledger never recorded says nothing; what it records and cannot be read counts as the strictest reading.

use crate::durable::Durable;
use crate::ids::Role;
use crate::kill::{KillCause, KillLatch};
use crate::report::{JobKind, LossDay};
use crate::restart::Deaths;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

/// A latch that both records keep, and the one only the ledger does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Latch {
    /// The kill.
    Kill,
    /// The operator's pause.
    Pause,
    /// New risk waits for reconciled books. Set at every start, so the cell has no word on it.
    OpenPermission,
    /// A reduce job without a kill that is not proven yet.
    Owed,
    /// Emergency reduce-only.
    Emergency,
    /// The operator's own dead-man: in force while a deadline runs.
    OperatorDeadman,
}

impl Latch {
    /// Every latch.
    pub const ALL: [Self; 6] =
        [Self::Kill, Self::Pause, Self::OpenPermission, Self::Owed, Self::Emergency, Self::OperatorDeadman];

    /// The word in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::OpenPermission => "open_permission",
            Self::Owed => "owed",
            Self::Emergency => "emergency",
            Self::OperatorDeadman => "operator_deadman",
        }
    }

    /// The latch with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|latch| latch.as_str() == word)
    }
}

impl fmt::Display for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The ledger's word on one latch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatchRow {
    /// Whether it is in force.
    pub in_force: bool,
    /// Since when it is as it is, wall-clock milliseconds.
    pub since_wall_ms: u64,
    /// When it acts by itself, wall-clock milliseconds; the operator's deadline.
    pub until_wall_ms: Option<u64>,
    /// Who or what set it, as a stable word.
    pub cause: String,
    /// The operator's words.
    pub reason: Option<String>,
    /// For a kill and for what is owed `flatten` or `cancel_all`; else for people.
    pub detail: Option<String>,
}

/// The ledger's word on every latch; one that was never recorded is absent.
pub type LatchRows = BTreeMap<Latch, LatchRow>;

/// What one record says of a latch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Unrecorded,
    /// Not in force.
    Clear,
    /// In force.
    InForce {
        /// Positions are closed too.
        flatten: bool,
        /// When it acts by itself, wall-clock milliseconds.
        until_wall_ms: Option<u64>,
    },
}

impl Standing {
    /// The stricter of two.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (
                Self::InForce { flatten: a, until_wall_ms: first },
                Self::InForce { flatten: b, until_wall_ms: second },
            ) => {
                let until_wall_ms = match (first, second) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (one, other) => one.or(other),
                };
                Self::InForce { flatten: a || b, until_wall_ms }
            }
            (force @ Self::InForce { .. }, Self::Clear | Self::Unrecorded)
            | (Self::Clear | Self::Unrecorded, force @ Self::InForce { .. }) => force,
            (Self::Clear, Self::Clear | Self::Unrecorded) | (Self::Unrecorded, Self::Clear) => Self::Clear,
            (Self::Unrecorded, Self::Unrecorded) => Self::Unrecorded,
        }
    }

    /// Whether it restricts.
    #[must_use]
    pub const fn in_force(self) -> bool {
        matches!(self, Self::InForce { .. })
    }
}

/// The two records disagree about a latch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Which.
    pub latch: Latch,
    /// The cell's word.
    pub cell: Standing,
    /// The ledger's word.
    pub ledger: Standing,
    /// What holds: the stricter.
    pub holds: Standing,
}

/// Every latch on which the two disagree, each with the stricter word.
#[must_use]
pub fn compare(durable: &Durable, ledger: &LatchRows) -> Vec<Conflict> {
    let differ = |latch: Latch| {
        let (cell, ledger) = (in_cell(durable, latch), in_ledger(ledger, latch));
        // Saying nothing contradicts nothing but a latch in force. The cell never speaks of the open permission.
        let silent = cell == Standing::Unrecorded || (ledger == Standing::Unrecorded && !cell.in_force());
        (cell != ledger && !silent).then(|| Conflict { latch, cell, ledger, holds: cell.or(ledger) })
    };
    Latch::ALL.into_iter().filter_map(differ).collect()
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unrecorded => f.write_str("nothing recorded"),
            Self::Clear => f.write_str("not in force"),
            Self::InForce { flatten: true, .. } => f.write_str("in force, closing"),
            Self::InForce { until_wall_ms: Some(until), .. } => write!(f, "in force until {until} ms"),
            Self::InForce { flatten: false, until_wall_ms: None } => f.write_str("in force"),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { latch, cell, ledger, .. } = self;
        write!(f, "{latch}: {cell} in the latch file, {ledger} in the ledger")
    }
}

/// What the ledger says against the loss baseline of the engine's own cell, if anything restricts more there. A new day
/// makes a new baseline; a breach does not end with its day.
#[must_use]
pub fn compare_loss(cell: &LossDay, ledger: &LossDay) -> Option<String> {
    let day = ledger.utc_day;
    if let (Some(breach), None) = (&ledger.breach, &cell.breach) {
        let equity = breach.equity_usd;
        return Some(format!(
            "loss limit: reached at equity {equity} USD on day {day} in the ledger, not in the engine's cell"
        ));
    }
    let (ours, theirs) = (cell.baseline_usd, ledger.baseline_usd);
    if cell.utc_day < day {
        return Some(format!(
            "loss baseline: of day {} in the engine's cell, of day {day} in the ledger",
            cell.utc_day
        ));
    }
    (cell.utc_day == day && ours != theirs)
        .then(|| format!("loss baseline of day {day}: {ours} USD in the engine's cell, {theirs} USD in the ledger"))
}

/// The deaths of every role, indexed by [`Role::index`].
pub type Budgets = [Deaths; 5];

/// The roles of whose restart budget the two records know different deaths, in words. Deaths that no longer count at this
/// instant use nothing of a budget: about them nobody can disagree.
#[must_use]
pub fn compare_budgets(cell: &Budgets, ledger: &Budgets, wall_ms: u64) -> Vec<String> {
    let differ = |role: Role| {
        let (ours, theirs) = (cell[role.index()].still(wall_ms), ledger[role.index()].still(wall_ms));
        let (cell, ledger, both) = (ours.count(), theirs.count(), ours.or(&theirs).count());
        (ours != theirs)
            .then(|| format!("restarts of {role}: {cell} in the latch file, {ledger} in the ledger, {both} hold"))
    };
    Role::ALL.into_iter().filter_map(differ).collect()
}

/// The budgets with every death that either record knows of.
#[must_use]
pub fn more_used(cell: &Budgets, ledger: &Budgets) -> Budgets {
    Role::ALL.map(|role| cell[role.index()].or(&ledger[role.index()]))
}

/// The cell's state with everything stricter that the ledger says: what a start must go on from.
#[must_use]
pub fn stricter(durable: &Durable, ledger: &LatchRows) -> Durable {
    let mut merged = durable.clone();
    for Conflict { latch, holds, .. } in compare(durable, ledger) {
        let (Standing::InForce { flatten, until_wall_ms }, Some(row)) = (holds, ledger.get(&latch)) else { continue };
        let kind = if flatten { JobKind::Flatten } else { JobKind::CancelAll };
        match latch {
            Latch::Kill => {
                let told = || KillLatch::new(row.since_wall_ms, cause(&row.cause), row.reason.as_deref(), kind);
                merged.kill.get_or_insert_with(told).kind = kind;
            }
            Latch::Pause => merged.paused_since_wall_ms = merged.paused_since_wall_ms.or(Some(row.since_wall_ms)),
            Latch::Owed => merged.owe(kind),
            Latch::Emergency => merged.emergency = true,
            Latch::OperatorDeadman => merged.operator_expires_wall_ms = until_wall_ms,
            Latch::OpenPermission => {}
        }
    }
    merged
}

/// What the ledger is to hold for this state of the cell; `wall_ms` stamps what has no time of its own.
#[must_use]
pub fn rows_of(durable: &Durable, wall_ms: u64) -> LatchRows {
    let row = |in_force, since: Option<u64>, cause: &str| LatchRow {
        in_force,
        since_wall_ms: since.unwrap_or(wall_ms),
        until_wall_ms: None,
        cause: cause.to_string(),
        reason: None,
        detail: None,
    };
    let kill = durable.kill.as_ref().map_or_else(
        || row(false, None, "none"),
        |kill| LatchRow {
            reason: kill.reason.clone(),
            detail: Some(kind_word(kill.kind).to_string()),
            ..row(true, Some(kill.since_wall_ms), cause_word(kill.cause))
        },
    );
    let owed = LatchRow {
        detail: durable.owed.map(|kind| kind_word(kind).to_string()),
        // Ordered or taken over: the cell does not tell them apart.
        ..row(durable.owed.is_some(), None, "reduce_job")
    };
    let paused = durable.paused_since_wall_ms;
    let expires = durable.operator_expires_wall_ms;
    let deadline = LatchRow { until_wall_ms: expires, ..row(expires.is_some(), None, "configured") };
    LatchRows::from([
        (Latch::Kill, kill),
        (Latch::Pause, row(paused.is_some(), paused, "operator")),
        (Latch::Owed, owed),
        (Latch::Emergency, row(durable.emergency, None, "worker")),
        (Latch::OperatorDeadman, deadline),
    ])
}

fn in_cell(durable: &Durable, latch: Latch) -> Standing {
    let plain = |in_force| if in_force { FORCE } else { Standing::Clear };
    let reducing = |kind: Option<JobKind>| match kind {
        Some(kind) => Standing::InForce { flatten: kind == JobKind::Flatten, until_wall_ms: None },
        None => Standing::Clear,
    };
    match latch {
        Latch::Kill => reducing(durable.kill.as_ref().map(|kill| kill.kind)),
        Latch::Pause => plain(durable.paused_since_wall_ms.is_some()),
        Latch::Owed => reducing(durable.owed),
        Latch::Emergency => plain(durable.emergency),
        Latch::OperatorDeadman => match durable.operator_expires_wall_ms {
            Some(until) => Standing::InForce { flatten: false, until_wall_ms: Some(until) },
            None => Standing::Clear,
        },
        Latch::OpenPermission => Standing::Unrecorded,
    }
}

const FORCE: Standing = Standing::InForce { flatten: false, until_wall_ms: None };

fn in_ledger(rows: &LatchRows, latch: Latch) -> Standing {
    let Some(row) = rows.get(&latch) else { return Standing::Unrecorded };
    if !row.in_force {
        return Standing::Clear;
    }
    // A kill or a job whose extent cannot be read closes positions: the stricter reading.
    let only_cancels = row.detail.as_deref() == Some(kind_word(JobKind::CancelAll));
    let until_wall_ms = match latch {
        // A deadline without an instant has passed.
        Latch::OperatorDeadman => Some(row.until_wall_ms.unwrap_or(0)),
        Latch::Kill | Latch::Pause | Latch::OpenPermission | Latch::Owed | Latch::Emergency => None,
    };
    Standing::InForce { flatten: matches!(latch, Latch::Kill | Latch::Owed) && !only_cancels, until_wall_ms }
}

const fn kind_word(kind: JobKind) -> &'static str {
    match kind {
        JobKind::CancelAll => "cancel_all",
        JobKind::Flatten => "flatten",
    }
}

const fn cause_word(cause: KillCause) -> &'static str {
    match cause {
        KillCause::Operator => "operator",
        KillCause::OperatorDeadMan => "operator_dead_man",
        KillCause::LatchesLost => "latches_lost",
    }
}

fn cause(word: &str) -> KillCause {
    // A word that is not known means that nobody knows why: that is what a lost latch is.
    let known = [KillCause::Operator, KillCause::OperatorDeadMan, KillCause::LatchesLost];
    known.into_iter().find(|cause| cause_word(*cause) == word).unwrap_or(KillCause::LatchesLost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usd;

    /// Every state of one latch in the cell.
    fn cells(latch: Latch) -> Vec<Durable> {
        let fresh = Durable::fresh;
        let kill = |kind| {
            let kill = KillLatch { since_wall_ms: 5, cause: KillCause::Operator, reason: None, kind };
            Durable { kill: Some(kill), ..fresh() }
        };
        match latch {
            Latch::Kill => alloc::vec![fresh(), kill(JobKind::CancelAll), kill(JobKind::Flatten)],
            Latch::Pause => alloc::vec![fresh(), Durable { paused_since_wall_ms: Some(5), ..fresh() }],
            Latch::Owed => {
                let owed = |kind| Durable { owed: Some(kind), ..fresh() };
                alloc::vec![fresh(), owed(JobKind::CancelAll), owed(JobKind::Flatten)]
            }
            Latch::Emergency => alloc::vec![fresh(), Durable { emergency: true, ..fresh() }],
            Latch::OperatorDeadman => {
                let expires = |at| Durable { operator_expires_wall_ms: Some(at), ..fresh() };
                alloc::vec![fresh(), expires(50), expires(70)]
            }
            Latch::OpenPermission => alloc::vec![fresh()],
        }
    }

    /// Every state of one latch in the ledger.
    fn ledgers(latch: Latch) -> Vec<Option<LatchRow>> {
        let row = |in_force, until_wall_ms, detail: Option<&str>| {
            let detail = detail.map(ToString::to_string);
            Some(LatchRow {
                in_force,
                since_wall_ms: 6,
                until_wall_ms,
                cause: "operator".to_string(),
                reason: None,
                detail,
            })
        };
        let mut all = alloc::vec![None, row(false, None, None), row(true, None, None)];
        match latch {
            Latch::Kill | Latch::Owed => all.extend([
                row(true, None, Some("cancel_all")),
                row(true, None, Some("flatten")),
                row(true, None, Some("?")),
            ]),
            Latch::OperatorDeadman => all.extend([row(true, Some(60), None), row(false, Some(60), None)]),
            Latch::Pause | Latch::OpenPermission | Latch::Emergency => {}
        }
        all
    }

    #[test]
    fn in_every_combination_the_stricter_holds_and_agreement_is_no_conflict() {
        let mut seen = 0;
        for latch in Latch::ALL {
            for durable in cells(latch) {
                for row in ledgers(latch) {
                    let rows: LatchRows = row.clone().map(|row| (latch, row)).into_iter().collect();
                    let (cell, ledger) = (in_cell(&durable, latch), in_ledger(&rows, latch));
                    let found = compare(&durable, &rows);
                    let merged = in_cell(&stricter(&durable, &rows), latch);
                    let what = alloc::format!("{latch}: {cell:?} and {ledger:?}: {found:?}, {merged:?}");
                    assert!(found.iter().all(|c| c.latch == latch), "{what}");
                    if latch == Latch::OpenPermission {
                        assert_eq!((found.len(), merged), (0, Standing::Unrecorded), "{what}");
                        continue;
                    }
                    // In force in either: in force after the merge, and never weaker than either said.
                    assert_eq!(merged.in_force(), cell.in_force() || ledger.in_force(), "{what}");
                    assert_eq!(merged.or(cell), merged, "{what}");
                    if ledger.in_force() {
                        assert_eq!(merged.or(ledger), merged, "{what}");
                    }
                    let agree = cell == ledger || (ledger == Standing::Unrecorded && !cell.in_force());
                    assert_eq!(found.is_empty(), agree, "{what}");
                    assert!(found.iter().all(|c| c.holds == merged), "{what}");
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 2 * 3 * 6 + 2 * 2 * 3 + 3 * 5, "every combination");
    }

    #[test]
    fn what_is_written_for_a_cell_agrees_with_it() {
        for latch in Latch::ALL {
            for durable in cells(latch) {
                assert_eq!(compare(&durable, &rows_of(&durable, 9)), [], "{durable:?}");
                assert_eq!(stricter(&durable, &rows_of(&durable, 9)), durable);
            }
        }
    }

    #[test]
    fn a_loss_baseline_that_restricts_more_in_the_ledger_is_a_conflict_and_a_new_day_is_none() {
        use crate::ids::Epoch;
        use crate::report::LossBreach;
        let breach = Some(LossBreach { equity_usd: Usd::whole(7), epoch: Epoch(1) });
        let day = |utc_day, usd, breach| LossDay { utc_day, baseline_usd: Usd::whole(usd), breach };
        let cases = [
            ("the same", day(5, 10, None), day(5, 10, None), None),
            ("a new day", day(6, 12, None), day(5, 10, None), None),
            ("reached in both", day(5, 10, breach), day(5, 10, breach), None),
            ("reached in the cell: it holds by itself", day(5, 10, breach), day(5, 10, None), None),
            ("reached in the ledger", day(5, 10, None), day(5, 10, breach), Some("loss limit: reached")),
            ("reached in the ledger, days ago", day(9, 10, None), day(5, 10, breach), Some("loss limit: reached")),
            ("another baseline", day(5, 10, None), day(5, 12, None), Some("loss baseline of day 5")),
            ("an older cell", day(4, 10, None), day(5, 10, None), Some("loss baseline: of day 4")),
        ];
        for (name, cell, ledger, expect) in cases {
            let found = compare_loss(&cell, &ledger);
            assert_eq!(found.is_some(), expect.is_some(), "{name}");
            assert!(found.is_none_or(|words| words.starts_with(expect.unwrap_or("?"))), "{name}");
        }
    }

    #[test]
    fn a_restart_that_only_one_record_knows_is_used_up_and_one_that_no_longer_counts_is_no_conflict() {
        let now = 10_000_000;
        let budgets = |walls: &[u64]| {
            let mut all = Budgets::default();
            all[Role::Sensor.index()] = Deaths::at(walls.to_vec());
            all
        };
        // Deaths in the cell, deaths in the ledger, the words of a disagreement, what is used.
        type Case<'a> = (&'a str, &'a [u64], &'a [u64], Option<&'a str>, u32);
        let cases: [Case<'_>; 6] = [
            ("none", &[], &[], None, 0),
            ("the same", &[now - 5], &[now - 5], None, 1),
            ("only the cell", &[now - 5], &[], Some("1 in the latch file, 0 in the ledger, 1 hold"), 1),
            ("only the ledger", &[], &[now - 5, now - 4], Some("0 in the latch file, 2 in the ledger, 2 hold"), 2),
            ("one each", &[now - 5], &[now - 4], Some("1 in the latch file, 1 in the ledger, 2 hold"), 2),
            ("long ago", &[], &[5], None, 0),
        ];
        for (name, cell, ledger, words, used) in cases {
            let (cell, ledger) = (budgets(cell), budgets(ledger));
            let found = compare_budgets(&cell, &ledger, now);
            assert_eq!(found.is_empty(), words.is_none(), "{name}: {found:?}");
            assert!(
                found
                    .iter()
                    .all(|said| said.starts_with("restarts of sensor: ") && said.contains(words.unwrap_or("?"))),
                "{name}: {found:?}"
            );
            let both = more_used(&cell, &ledger);
            assert_eq!(both[Role::Sensor.index()].still(now).count(), used, "{name}");
            assert!(compare_budgets(&both, &both, now).is_empty());
        }
    }

    #[test]
    fn a_kill_only_the_ledger_knows_is_taken_over_with_its_words() {
        let row = LatchRow {
            in_force: true,
            since_wall_ms: 7,
            until_wall_ms: None,
            cause: "operator".to_string(),
            reason: Some("storm".to_string()),
            detail: Some("flatten".to_string()),
        };
        let kill = stricter(&Durable::fresh(), &LatchRows::from([(Latch::Kill, row.clone())])).kill.unwrap();
        assert_eq!((kill.since_wall_ms, kill.cause, kill.reason.as_deref()), (7, KillCause::Operator, Some("storm")));
        let odd = LatchRow { cause: "solar flare".to_string(), ..row };
        let kill = stricter(&Durable::fresh(), &LatchRows::from([(Latch::Kill, odd)])).kill.unwrap();
        assert_eq!((kill.cause, kill.kind), (KillCause::LatchesLost, JobKind::Flatten));
    }
}
