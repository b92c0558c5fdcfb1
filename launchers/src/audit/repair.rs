//! `engine audit repair`: cuts a record where it stops holding, keeps what was cut, and writes down the loss.

use super::place;
use super::verify::audit;
use crate::error::Trouble;
use crate::out::{Out, plain};
use holdfast_ipc::bootstrap::Home;
use holdfast_ipc::clock;
use holdfast_store::bus::{self, BusError, Options, Questions, Receipt};
use holdfast_store::disk::RealFolder;
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
    let no_record = || Trouble::NoRecord { home: home.root().to_owned() };
    let (source, keys) = place::of_home(home)?.ok_or_else(no_record)?;
    let (wrong, phrase) = match audit(&source, keys.as_ref(), &Questions::default()) {
        Ok(report) => match report.finding {
            None => {
                out.doc(&Doc { schema: "holdfast.audit.repair.v1", receipt: None });
                out.line("nothing to mend: every event holds");
                return Ok(0);
            }
            Some(finding) => (finding.to_string(), format!("lose what follows event {}", report.events)),
        },
        Err(Trouble::Bus(error @ BusError::Key { .. })) => (error.to_string(), "lose the proof of the head".to_owned()),
        Err(trouble) => return Err(trouble),
    };
    if accepted.flatten() != Some(phrase.as_str()) {
        let given = accepted.flatten().is_some();
        return Err(Trouble::LossNotAccepted { what: plain(&wrong), phrase, given });
    }
    let folder = RealFolder::existing(&home.bus()).map_err(place::fail("open", &home.bus()))?;
    let keys = bus::key_place(&home.bus_key()).map_err(Trouble::Bus)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Trouble::Os { what: "get random numbers", source: e.into() })?;
    let as_of = Duration::from_millis(clock::wall_ms()).as_secs_f64();
    let receipt = bus::repair(folder, keys, Options::new(seed), as_of, true).map_err(Trouble::Bus)?;
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
