//! From the first instruction to the orderly end: the home is taken, its past taken over, then the loop runs.

use super::Driver;
use crate::error::SupervisorError;
use crate::instance::Ownership;
use crate::os::ticker::Ticker;
use crate::perform::aside::Aside;
use crate::perform::clerk::Clerk;
use crate::perform::journal::Journal;
use crate::perform::ledger::Bookkeeper;
use crate::perform::replies::Replies;
use crate::source::files::Spare;
use crate::source::peers::Roll;
use crate::source::viewers::Published;
use crate::source::{self, Input, QUEUE};
use crate::{Launch, leftovers, os, records, takeover};
use holdfast_core::durable::Durable;
use holdfast_core::ids::{Epoch, Role};
use holdfast_core::machine::{Machine, Tree};
use holdfast_core::permit::PermitKey;
use holdfast_core::registry::Profile;
use holdfast_core::report::JobKind;
use holdfast_core::time::{Span, Tick};
use holdfast_ipc::bootstrap::Token;
use holdfast_ipc::clock;
use holdfast_ipc::listen::Door;
use holdfast_ipc::permit::PermitWriter;
use holdfast_ipc::settings::OnSupervisorLoss;
use holdfast_store::{Cell, Keeper};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// From the first instruction to the orderly end.
pub(crate) fn live(launch: Launch) -> Result<(), SupervisorError> {
    let ownership = Ownership::take(&launch.home)?;
    let path = launch.home.judge_cell();
    let (mut cell, durable) = match Cell::<Durable>::open(&path) {
        Ok(opened) => opened,
        // What it held is gone, and counts as the strictest; the ledger's word is in force beside that.
        Err(error) => {
            tracing::error!(%error, "the latches cannot be read: the file is kept aside, and what is lost counts as a kill");
            (takeover::renewed(&path, &error).ok_or(error)?, None)
        }
    };
    let traces = records::traded(&launch.home);
    let (book, mut durable) = records::settle(&launch.home, durable)?;
    let previous = durable.epoch;
    // A first start that was cut short has an epoch and nothing else.
    let used = traces || previous > Epoch(1);
    if !used {
        takeover::begin(&launch.home);
    }
    // The new epoch is on disk before anything acts under it.
    durable.epoch = durable.epoch.next();
    durable.configure_operator(operator_period(&launch), clock::wall_ms());
    durable.written_by = os::process::Identity::own().map_or_else(String::new, |own| own.to_text());
    cell.store(&durable)?;
    let (mut journal, opened) = Journal::open(&launch.home, os::random()?);
    if let Some(told) = opened.as_ref().and_then(|opened| opened.told_epoch).filter(|told| *told > previous.0) {
        records::put_back(&mut durable, previous, Epoch(told), clock::wall_ms());
        cell.store(&durable)?;
    }
    journal.begin(&launch, opened.as_ref(), durable.epoch, previous);
    leftovers::clear(&launch.home)?;
    let taken_over = takeover::take(&launch.home, &mut cell, &mut durable, (used, previous));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SupervisorError::io("start an event loop in", launch.home.root()))?;
    let local = tokio::task::LocalSet::new();
    let (home, launched) = (launch.home.clone(), launch.home.clone());
    let result = local.block_on(&runtime, async move {
        let (inputs, mut queue) = mpsc::channel(QUEUE);
        let ownership = Arc::new(ownership);
        let mut driver = Driver::new(launch, ownership.clone(), (cell, durable), (journal, book), inputs)?;
        if let Err(error) = ownership.announce(&driver.launch.home) {
            // The lock decides who supervises; the clerk writes the file as soon as the disk takes it.
            tracing::error!(%error, "the pidfile was not written: the lock file and the control door say who runs");
        }
        driver.taken_over = taken_over;
        let timed = |what| SupervisorError::io(what, launched.root());
        let mut ticker = Ticker::new().map_err(timed("make a timer for"))?;
        driver.run(&mut queue, &mut ticker).await.map_err(timed("wait on the timer of"))?;
        driver.snapshot();
        driver.book.finish(Duration::from_secs(5)).await;
        let (asked, _) = driver.keeper.asked();
        let written = driver.keeper.finish(Duration::from_secs(5)).await;
        if !written.ok || written.seq < asked {
            driver.clerk.spare(Spare::of(driver.machine.durable()));
        }
        driver.journal.finish(Duration::from_secs(5)).await;
        driver.clerk.finish(Duration::from_secs(1)).await;
        tracing::info!(durable = written.ok, "the supervisor ends");
        ownership.withdraw(&driver.launch.home);
        Ok(())
    });
    for path in [home.control_sock(), home.status_sock(), home.worker_sock()] {
        let _ = std::fs::remove_file(path);
    }
    result
}

impl Driver {
    pub(super) fn new(
        launch: Launch,
        ownership: Arc<Ownership>,
        (cell, durable): (Cell<Durable>, Durable),
        (journal, book): (Journal, Bookkeeper),
        inputs: mpsc::Sender<Input>,
    ) -> Result<Self, SupervisorError> {
        let home = &launch.home;
        let epoch = durable.epoch;
        let permit = PermitWriter::create(&home.run().join("permit"))
            .map_err(SupervisorError::io("make the permit record for", home.run()))?;
        let roll = Rc::new(Roll::new(epoch, launch.build_id.clone()));
        source::peers::listen(Door::open(&home.worker_sock())?, roll.clone(), inputs.clone());
        source::operators::listen(Door::open(&home.control_sock())?, inputs.clone());
        let published = Published::default();
        source::viewers::listen(Door::open(&home.status_sock())?, published.clone());
        source::signals::listen(inputs.clone()).map_err(SupervisorError::io("listen to signals for", home.root()))?;
        let keeper =
            Keeper::start("latches", cell).map_err(SupervisorError::io("start the writer of", home.judge_cell()))?;
        let (clerk, waiting) = Clerk::start(home.clone(), ownership, inputs.clone())
            .map_err(SupervisorError::io("start the writer of", home.status_json()))?;
        let aside = Rc::new(Aside::start().map_err(SupervisorError::io("start a thread for files in", home.run()))?);
        let roles = match launch.settings.profile {
            Profile::Paper => Role::ALL.to_vec(),
            Profile::Live | Profile::Monitor => Role::ALL.into_iter().filter(|role| *role != Role::Venue).collect(),
        };
        let unattended = match launch.settings.deadman.on_supervisor_loss {
            OnSupervisorLoss::Cancel => JobKind::CancelAll,
            OnSupervisorLoss::Flatten => JobKind::Flatten,
        };
        let operator_period = operator_period(&launch);
        let tree = Tree { profile: launch.settings.profile, roles, operator_period, unattended };
        tracing::info!(epoch = epoch.0, home = %home.root().display(), "the supervisor begins");
        Ok(Self {
            machine: Machine::new(tree, durable),
            permit,
            permit_key: PermitKey::new(os::random()?),
            keeper,
            journal,
            book,
            ledger_told: true,
            replies: Replies::default(),
            orders_taken: 0,
            look_at: Tick(0),
            waiting,
            roll,
            inputs,
            published,
            peers: BTreeMap::new(),
            processes: BTreeMap::new(),
            urls: BTreeMap::new(),
            feed_token: Token::new(os::random()?),
            epoch,
            started: clock::now(),
            started_wall_ms: clock::wall_ms(),
            file_written: None,
            file_essence: String::new(),
            headline: None,
            beat_seq: 0,
            announced: false,
            latches_told: true,
            bus_told: None,
            finished: false,
            clerk,
            aside,
            stuck: BTreeSet::new(),
            taken_over: None,
            launch,
        })
    }
}

/// How long the operator may be silent, if that is limited.
fn operator_period(launch: &Launch) -> Option<Span> {
    launch.settings.deadman.operator_hours.map(|hours| Span::from_ms(u64::from(hours).saturating_mul(3_600_000)))
}
