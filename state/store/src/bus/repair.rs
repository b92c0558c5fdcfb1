//! Cutting a damaged log on purpose: the part whose chain holds stays, the rest is copied aside, the loss is written down.

use super::anchor::{ANCHORS, Anchor};
use super::chain::Code;
use super::error::{BusError, io_error};
use super::head::{self, HEAD, Head};
use super::key::{Key, KeyPlace};
use super::log::Options;
use super::recover::{record, set_aside, spare_name, start};
use super::segments::{ACTIVE, Position, Segments};
use super::snapshot::{self, SNAPSHOT, SNAPSHOT_BEFORE, SnapshotState};
use super::walk::{Finding, walk};
use crate::canon;
use crate::disk::{Access, Folder, Storage, write_all};
use serde::Serialize;
use serde_json::json;
use std::io;
use std::sync::Arc;

/// What a repair did, as it is also written into the bus's folder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Receipt {
    /// `holdfast.bus.repair.v1`
    pub schema_version: &'static str,
    /// Wall time, seconds since 1970.
    pub as_of: f64,
    /// What was wrong; absent if nothing was.
    pub finding: Option<Finding>,
    /// Events that are still there, without those the repair wrote.
    pub events_kept: u64,
    /// Events known to be lost; more may have been.
    pub events_lost: u64,
    /// Checksum of the last event kept.
    pub last_checksum: Option<String>,
    /// Files under which what was cut is kept.
    pub set_aside: Vec<String>,
}

/// Verifies the whole log and cuts it at the first event that does not hold. Without `accept_loss` it only says what it
/// would cut. A lost key or head is made anew: that the old one proved something is part of the loss.
///
/// # Errors
/// [`BusError::LossNotAccepted`] if something is wrong and nobody agreed; else as at opening.
pub fn repair<F: Folder>(
    folder: F,
    keys: KeyPlace<F>,
    options: Options,
    as_of: f64,
    accept_loss: bool,
) -> Result<Receipt, BusError> {
    let (folder, keys) = (Arc::new(folder), Arc::new(keys));
    let io = |what| {
        let folder = Arc::clone(&folder);
        move |e| io_error(folder.path(""), what, e)
    };
    if !folder.lock().map_err(io("lock it"))? {
        return Err(BusError::Busy { path: folder.path("") });
    }
    let key = match Key::load(&keys) {
        Err(BusError::Key { .. }) => None,
        loaded => loaded?,
    };
    let head = match folder.open(HEAD, Access::Read) {
        Ok(file) => {
            let signed = head::read(&file, key.as_ref()).map_err(io("read its head"))?.newest;
            let any = head::unsigned(&file).map_err(io("read its head"))?;
            (signed.filter(|_| key.is_some()), any)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => (None, None),
        Err(e) => return Err(io("open its head")(e)),
    };
    let segments = Segments::of(&*folder).map_err(io("list it"))?;
    let (mut at_head, mut at_witness) = (None, None);
    let count = head.0.as_ref().map_or(0, |head| head.at.count);
    let walked = walk(&*folder, &segments, Position::START, &mut |seen| {
        if seen.good.index == count {
            at_head = Some(seen.good.sum);
        }
        if options.witness.as_ref().is_some_and(|witness| witness.count == seen.good.index) {
            at_witness = Some(seen.good.sum);
        }
        Ok(None)
    });
    let walked = walked.map_err(io("read it"))?;
    let finding = walked.flaw.or_else(|| against(head.0.as_ref(), walked.end, at_head));
    let finding = match finding {
        Some(finding) => Some(finding),
        None => beyond(&*folder, head.0.as_ref(), walked.end).map_err(io("read its snapshot"))?,
    };
    let bus_id = head.0.as_ref().or(head.1.as_ref()).map(|head| head.bus_id.as_str());
    let finding = finding.or_else(|| unseen(options.witness.as_ref(), bus_id, walked.end, at_witness));
    let known = options.witness.as_ref().map_or(count, |witness| count.max(witness.count));
    let lost = known.saturating_sub(walked.end.count);
    if let Some(finding) = &finding
        && !accept_loss
    {
        let finding = Box::new(finding.clone());
        return Err(BusError::LossNotAccepted { path: folder.path(""), events: lost, finding });
    }
    let mut moved = move_aside(&*folder, &segments, walked.end, as_of).map_err(io("move segments aside"))?;
    if finding.is_some() {
        // Whatever they say of the part that is cut: the state is made anew from what is left.
        descriptions_aside(&*folder, as_of, &mut moved).map_err(io("move snapshots and anchors aside"))?;
    }
    let known = head.0.or(head.1);
    let epoch = known.as_ref().map_or(0, |head| head.epoch);
    let key = key.filter(|key| key.at(epoch.saturating_add(1)).is_some());
    let key = key.unwrap_or_else(|| Key::fresh(&options.seed).of_epoch(epoch));
    let bus_id = known.as_ref().map_or_else(|| head::bus_id(&options.seed), |head| head.bus_id.clone());
    let seq = known.map_or(0, |head| head.seq);
    let head = Head { bus_id, epoch: epoch.max(key.epoch), seq, clean: false, at: walked.end };
    let segments = Segments::of(&*folder).map_err(io("list it"))?;
    let mut log = start(Arc::clone(&folder), keys, options, key, head, &segments)?;
    let mut receipt = Receipt {
        schema_version: "holdfast.bus.repair.v1",
        as_of,
        finding: finding.clone(),
        events_kept: walked.end.count,
        events_lost: lost,
        last_checksum: walked.end.last.map(|sum| sum.to_string()),
        set_aside: moved,
    };
    if let Some(finding) = finding {
        let mut repaired = json!({ "what": "head", "reason": finding.reason(), "file": finding.file });
        if log.damaged_tail {
            repaired = set_aside(&mut log, &finding, as_of)?;
            receipt.set_aside.extend(repaired["cut_file"].as_str().map(str::to_owned));
        }
        repaired["events_lost"] = lost.into();
        repaired["set_aside"] = receipt.set_aside.clone().into();
        record(&mut log, &[repaired], as_of)?;
    }
    log.close();
    write_receipt(&*folder, &receipt).map_err(io("write the receipt"))?;
    Ok(receipt)
}

/// What a head says against a log whose chain holds.
fn against(head: Option<&Head>, end: Position, at_head: Option<super::event::Sum>) -> Option<Finding> {
    let finding = |expected: String, found: String| {
        Some(Finding { code: Code::Head, event: end.count, file: HEAD.to_owned(), byte: 0, expected, found })
    };
    match head {
        None => finding("a head that this key signed".to_owned(), "none".to_owned()),
        Some(head) if head.at.count > end.count => {
            finding(format!("{} events", head.at.count), format!("{} events", end.count))
        }
        Some(head) if head.at.count > 0 && head.at.last != at_head => {
            finding(format!("{:?}", head.at.last), format!("{at_head:?}"))
        }
        Some(_) => None,
    }
}

/// A snapshot of events that are not there: the log was cut, and its head with it.
fn beyond<F: Folder>(folder: &F, head: Option<&Head>, end: Position) -> io::Result<Option<Finding>> {
    let Some(head) = head else { return Ok(None) };
    let SnapshotState::Fits(snapshot) = snapshot::load(folder, &head.bus_id)? else { return Ok(None) };
    Ok(snapshot::beyond(&snapshot, end.count))
}

/// What deadman saw last, in a log that does not have it.
fn unseen(
    witness: Option<&Anchor>,
    bus_id: Option<&str>,
    end: Position,
    there: Option<super::event::Sum>,
) -> Option<Finding> {
    let witness = witness.filter(|witness| bus_id != Some(&witness.bus_id) || there != Some(witness.sum))?;
    let found = there.map_or_else(|| format!("{} events", end.count), |sum| sum.to_string());
    let expected = format!("what deadman saw last: {witness}");
    Some(Finding { code: Code::Witness, event: witness.count, file: String::new(), byte: 0, expected, found })
}

/// Gives the snapshots and the anchors other names: what they say is about another log from here on.
fn descriptions_aside<F: Folder>(folder: &F, as_of: f64, moved: &mut Vec<String>) -> io::Result<()> {
    for name in [SNAPSHOT, SNAPSHOT_BEFORE, ANCHORS] {
        let to = spare_name(folder, as_of)?;
        match folder.rename(name, &to) {
            Ok(()) => moved.push(to),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    folder.sync()
}

/// Gives every segment behind the good part another name, and makes the last good one the open one.
fn move_aside<F: Folder>(folder: &F, segments: &Segments, end: Position, as_of: f64) -> io::Result<Vec<String>> {
    let mut moved = Vec::new();
    for number in (end.segment + 1..=segments.last()).rev() {
        let to = spare_name(folder, as_of)?;
        match folder.rename(&segments.name(number), &to) {
            Ok(()) => moved.push(to),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    if end.segment <= segments.closed {
        match folder.rename(&segments.name(end.segment), ACTIVE) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    folder.sync()?;
    Ok(moved)
}

fn write_receipt<F: Folder>(folder: &F, receipt: &Receipt) -> io::Result<()> {
    let mut text = canon::encode(receipt).map_err(io::Error::other)?;
    text.push(b'\n');
    let mut file = folder.open(&format!("repair-{:.3}.json", receipt.as_of), Access::Make)?;
    write_all(&mut file, &text, 0)?;
    file.sync()?;
    folder.sync()
}
