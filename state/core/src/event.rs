//! What the driver tells the judge, and what the judge asks of the driver.

use crate::command::{ControlReply, ControlRequest};
use crate::duty::Duty;
use crate::ids::{Generation, Role};
use crate::message::ToWorker;
use crate::record::{Caller, Record};
use crate::report::{
    AccountView, BusHealth, DeadManReport, JobProgress, JournalHealth, LatchTrip, MarketHealth, ReconcileReport,
    Standing,
};
use crate::time::Tick;
use alloc::boxed::Box;
use alloc::string::String;

/// One operator request that waits for replies. Numbered by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed, or the very first step.
    Wake,
    /// The process of this role exists.
    Spawned {
        /// Which.
        role: Role,
        /// Its pid.
        pid: u32,
    },
    /// It authenticated.
    Greeted {
        /// Which.
        role: Role,
    },
    /// It is set up.
    Ready {
        /// Which.
        role: Role,
    },
    /// It beat.
    Beat {
        /// Which.
        role: Role,
        /// Its progress counter.
        progress: u64,
    },
    /// It broke the protocol or its connection.
    Fault {
        /// Which.
        role: Role,
        /// What it did, for people.
        detail: String,
    },
    /// Its process is gone, or could not be made.
    Exited {
        /// Which.
        role: Role,
        /// How, for people.
        note: String,
        /// Wall clock, for the restart budget.
        wall_ms: u64,
        /// A fresh random number, for jitter.
        chance: u16,
    },
    /// The sensor judged the market.
    Market(MarketHealth),
    /// The account was read.
    Account(Box<AccountView>),
    /// The account could not be read.
    AccountUnknown,
    /// Something was lost; books must be reconciled.
    Trip(LatchTrip),
    /// The engine reconciled, or could not.
    Reconciled(ReconcileReport),
    /// The engine's journal.
    Journal(JournalHealth),
    /// A hard limit of the engine was reached.
    LimitHit {
        /// Which, for people.
        detail: String,
    },
    /// Why the engine's own gate refuses every opening, if something standing does.
    Standing(Option<Standing>),
    /// Deadman reports on a reduce job.
    Job(JobProgress),
    /// The venue's own dead-man switch.
    DeadMan(DeadManReport),
    /// Deadman took something on without an order of ours: it is held from here on.
    Duty(Box<Duty>),
    /// Why deadman cannot write down what it begins; `None` while it can.
    Unrecorded(Option<String>),
    /// Whether latches, epochs and budgets reach the disk.
    Latches {
        /// They do.
        on_disk: bool,
    },
    /// Whether what happens is written down on the runtime bus.
    Bus(BusHealth),
    /// Whether the ledger takes what is recorded in it.
    Ledger {
        /// It does, and in time.
        on_disk: bool,
    },
    /// Two records of the same thing disagree: no opening until an operator has seen it.
    Disagreement {
        /// Which, for people.
        detail: String,
    },
    /// Somebody asked for emergency reduce-only.
    EmergencyReduceOnly,
    /// An operator command.
    Command {
        /// Where replies go; absent for a signal or the kill file.
        id: Option<CommandId>,
        /// What.
        request: ControlRequest,
        /// Who, and how it came in.
        caller: Caller,
        /// Wall clock.
        wall_ms: u64,
    },
}

/// Something to do. Actions are carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write the revoked permit record.
    Revoke,
    /// Write a live permit record for the engine's present generation.
    Grant {
        /// When it lapses.
        deadline: Tick,
    },
    /// Make the process of this role; answer with `Spawned` or `Exited`.
    Spawn {
        /// Which.
        role: Role,
        /// Which start it is.
        generation: Generation,
    },
    /// SIGKILL the process of this role.
    Kill {
        /// Which.
        role: Role,
    },
    /// Say something to a worker.
    Tell {
        /// Which.
        role: Role,
        /// What.
        what: ToWorker,
    },
    /// Write the durable state; replies marked so wait for it.
    Persist,
    /// Write down what happened. Nobody waits for it but replies marked so.
    Record(Box<Record>),
    /// Answer an operator.
    Reply {
        /// Whom.
        id: CommandId,
        /// What.
        reply: ControlReply,
        /// Nothing follows.
        last: bool,
        /// Only after everything asked to be persisted and recorded so far is on disk (or failed to get there).
        after_persist: bool,
    },
    /// Answer an operator with the status document.
    ReplyStatus {
        /// Whom.
        id: CommandId,
    },
    /// The published document changed.
    Publish,
    /// One line for the log.
    Log {
        /// What happened.
        text: String,
    },
    /// Every process is gone: end.
    Finish,
}
