//! `engine audit repair`: cuts a record where it stops holding, keeps what was cut, and writes down the loss.

use super::place::{self, Source};
use super::verify::audit;
use crate::error::Trouble;
use crate::out::{Out, plain};
use holdfast_core::report::BusHead;
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_store::bus::{self, Anchor, BusError, KeyPlace, Options, Questions, Receipt};
use holdfast_store::disk::RealFolder;
use holdfast_store::{Cell, CellError};
use holdfast_supervisor::instance::{self, Instance};
use serde::Serialize;
use std::time::Duration;

#[derive(Serialize)]
struct Doc<'a> {
    schema: &'static str,
    /// Absent when nothing was wrong.
    receipt: Option<&'a Receipt>,
}

/// `accepted`: `--accept-loss` was given, and with which phrase.
pub(super) fn repair(out: Out, home: &Home, accepted: Option<Option<&str>>) -> Result<u8, Trouble> {
    match instance::probe(home) {
        Instance::NotRunning { .. } => {}
        Instance::Running { pid } => return Err(Trouble::EngineRuns { pid }),
        Instance::Unknown { why } => return Err(Trouble::Unknown { why }),
    }
    let (witness, seen) = witness(home)?;
    let questions = Questions { witness: seen.clone(), ..Questions::default() };
    let (wrong, phrase) = match place::of_home(home)? {
        None => match &seen {
            Some(seen) => (format!("no bus, and deadman saw {seen}"), "lose what follows event 0".to_owned()),
            None => return Err(Trouble::NoRecord { home: home.root().to_owned() }),
        },
        Some((source, keys)) => match look(&source, keys.as_ref(), &questions)? {
            Some(wrong) => wrong,
            None => {
                out.doc(&Doc { schema: "holdfast.audit.repair.v1", receipt: None });
                out.line("nothing to mend: every event holds");
                return Ok(0);
            }
        },
    };
    if accepted.flatten() != Some(phrase.as_str()) {
        let given = accepted.flatten().is_some();
        return Err(Trouble::LossNotAccepted { what: plain(&wrong), phrase, given });
    }
    let folder = RealFolder::make(&home.bus()).map_err(place::fail("open", &home.bus()))?;
    let keys = bus::key_place(&home.bus_key()).map_err(Trouble::Bus)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Trouble::Os { what: "get random numbers", source: e.into() })?;
    let as_of = Duration::from_millis(clock::wall_ms()).as_secs_f64();
    let options = Options { witness: seen, ..Options::new(seed) };
    let receipt = bus::repair(folder, keys, options, as_of, true).map_err(Trouble::Bus)?;
    begin_anew(home, witness)?;
    out.doc(&Doc { schema: "holdfast.audit.repair.v1", receipt: Some(&receipt) });
    let aside = if receipt.set_aside.is_empty() { "nothing".to_owned() } else { receipt.set_aside.join(", ") };
    out.line(&format!(
        "mended: {} events kept, {} known to be lost; set aside: {aside}; the receipt is in {}",
        receipt.events_kept,
        receipt.events_lost,
        home.bus().display()
    ));
    Ok(0)
}

/// What is wrong with a bus, and the phrase that accepts it.
fn look(
    source: &Source,
    keys: Option<&KeyPlace<RealFolder>>,
    questions: &Questions,
) -> Result<Option<(String, String)>, Trouble> {
    match audit(source, keys, questions) {
        Ok(report) => {
            let phrase = format!("lose what follows event {}", report.events);
            Ok(report.finding.map(|finding| (finding.to_string(), phrase)))
        }
        Err(Trouble::Bus(error @ BusError::Key { .. })) => {
            Ok(Some((error.to_string(), "lose the proof of the head".to_owned())))
        }
        Err(trouble) => Err(trouble),
    }
}

/// What deadman saw last, and its file, held until the repair is done: nobody may add to it meanwhile.
fn witness(home: &Home) -> Result<(Option<Cell<BusHead>>, Option<Anchor>), Trouble> {
    let seen = bus::witness(&home.witness()).map_err(Trouble::Bus)?;
    let held = seen.as_ref().map(|_| Cell::open(&home.witness())).transpose();
    let held =
        held.map_err(|error| Trouble::Bus(BusError::Witness { path: home.witness(), why: error.to_string() }))?;
    Ok((held.map(|(cell, _)| cell), seen))
}

/// From here on the mended bus is the one that deadman saw.
fn begin_anew(home: &Home, witness: Option<Cell<BusHead>>) -> Result<(), Trouble> {
    let Some(mut cell) = witness else { return Ok(()) };
    let report = match place::of_home(home)? {
        Some((source, keys)) => audit(&source, keys.as_ref(), &Questions::default())?,
        None => return Ok(()),
    };
    let Some(head) = report.anchor() else { return Ok(()) };
    let unwritten = |error: CellError| Trouble::Bus(BusError::Witness { path: home.witness(), why: error.to_string() });
    cell.store(&head.head()).map_err(unwritten)
}
