//! Taking over a log whose key stayed on another host.
//!
//! * The whole chain is verified first, and must end at the place that somebody vouches for; nothing is cut.
//! * A head that the key at hand has signed stays in force: then there is nothing to adopt.
//! * Else a new key signs a new head, under an epoch above the old one's. The old head and key are kept aside, and the
//!   adoption is an event of the log itself: that the old head proved something ends there, for everybody to see.

use super::chain::Code;
use super::error::{BusError, io_error};
use super::event::{NewEvent, Sum};
use super::head::{self, HEAD, Head};
use super::key::{Key, KeyPlace};
use super::log::{Log, Options};
use super::recover::{corrupt, open, start};
use super::segments::{Position, Segments};
use super::walk::walk;
use crate::disk::{Access, Folder, Storage, read_full, write_all};
use serde_json::json;
use std::io;
use std::sync::Arc;

const EVENT: &str = "bus.adopted";

/// The end of a log, as somebody vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// Events.
    pub count: u64,
    /// Checksum of the last; absent for none.
    pub last: Option<Sum>,
    /// Who vouches, for the record.
    pub by: String,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// The key at hand is this log's own, or there is no log: it opens as it is.
    Needless,
    /// A new key signs it from here on.
    Anew,
}

/// Adopts the log of a folder. Run again after an interruption it goes on.
///
/// # Errors
/// [`BusError::Corrupt`] when the log is not the one vouched for; then nothing was changed.
pub fn adopt<F: Folder>(
    folder: F,
    keys: KeyPlace<F>,
    options: Options,
    as_of: f64,
    vouched: &Vouched,
) -> Result<Adopted, BusError> {
    let (folder, keys) = (Arc::new(folder), Arc::new(keys));
    let io = |what| {
        let folder = Arc::clone(&folder);
        move |e| io_error(folder.path(""), what, e)
    };
    if !folder.lock().map_err(io("lock it"))? {
        return Err(BusError::Busy { path: folder.path("") });
    }
    let segments = Segments::of(&*folder).map_err(io("list it"))?;
    let file = match folder.open(HEAD, Access::Read) {
        Ok(file) => Some(file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(io("open its head")(e)),
    };
    if file.is_none() && segments.none() {
        return Ok(Adopted::Needless);
    }
    let key = match Key::load(&keys) {
        Err(BusError::Key { .. }) => None,
        loaded => loaded?,
    };
    let aside = aside_name(&vouched.by);
    let begun = folder.list().map_err(io("list it"))?.contains(&aside);
    let read = |key| match &file {
        Some(file) => head::read(file, key).map(|heads| heads.newest).map_err(io("read its head")),
        None => Ok(None),
    };
    let signed = if key.is_some() { read(key.as_ref())? } else { None };
    if signed.is_some() {
        // Perhaps interrupted just before it was written down.
        return if begun { recall(folder, keys, options, as_of, vouched) } else { Ok(Adopted::Needless) };
    }
    let known = read(None)?;
    let end = verified(&folder, &segments, known.as_ref(), vouched)?;
    if !begun {
        keep_aside(&*folder, &keys, file.as_ref(), &aside).map_err(io("keep its old head and key"))?;
    }
    let epoch = known.as_ref().map_or(0, |head| head.epoch);
    let seq = known.as_ref().map_or(0, |head| head.seq);
    let bus_id = known.map_or_else(|| head::bus_id(&options.seed), |head| head.bus_id);
    let key = Key::fresh(&options.seed).of_epoch(epoch);
    let head = Head { bus_id, epoch, seq, clean: false, at: end };
    let log = start(folder, keys, options, key, head, &segments)?;
    write_down(log, as_of, vouched)
}

/// The key and the head of an adoption are there already: the log is opened with them, and the adoption written down if
/// that is what is missing.
fn recall<F: Folder>(
    folder: Arc<F>,
    keys: Arc<KeyPlace<F>>,
    options: Options,
    as_of: f64,
    vouched: &Vouched,
) -> Result<Adopted, BusError> {
    let (log, _) = open(Arc::clone(&folder), keys, options, as_of)?;
    let io = |e| io_error(folder.path(""), "read it", e);
    let mut known = false;
    let segments = Segments::of(&*folder).map_err(io)?;
    walk(&*folder, &segments, Position::START, &mut |seen| {
        known |= seen.good.index > vouched.count && seen.good.event_type == EVENT.as_bytes();
        Ok(None)
    })
    .map_err(io)?;
    if known { Ok(Adopted::Needless) } else { write_down(log, as_of, vouched) }
}

fn write_down<F: Folder>(mut log: Log<F>, as_of: f64, vouched: &Vouched) -> Result<Adopted, BusError> {
    let payload = json!({
        "schema_version": "holdfast.bus.adopted.v1", "by": vouched.by, "events": vouched.count,
        "last_checksum": vouched.last.map(|sum| sum.to_string()), "head_file": aside_name(&vouched.by),
    });
    log.append(&[NewEvent::new(EVENT, as_of, &payload)?])?;
    log.close();
    Ok(Adopted::Anew)
}

/// Under which name the old head is kept. Also the mark of an adoption that was begun.
fn aside_name(by: &str) -> String {
    let by: String = by.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    format!("head.before-{by}")
}

/// Walks the whole log: it must hold, end where it is vouched for, and not contradict even a head that proves nothing.
fn verified<F: Folder>(
    folder: &Arc<F>,
    segments: &Segments,
    old: Option<&Head>,
    vouched: &Vouched,
) -> Result<Position, BusError> {
    let mut at_head = None;
    let walked = walk(&**folder, segments, Position::START, &mut |seen| {
        if old.is_some_and(|head| head.at.count == seen.good.index) {
            at_head = Some(seen.good.sum);
        }
        Ok(None)
    });
    let walked = walked.map_err(|e| io_error(folder.path(""), "read it", e))?;
    let end = walked.end;
    if let Some(finding) = walked.flaw {
        return Err(BusError::Corrupt { path: folder.path(""), finding: Box::new(finding) });
    }
    let told = |count: u64, sum: Option<Sum>| {
        sum.map_or_else(|| format!("{count} events"), |sum| format!("{count} events, last {sum}"))
    };
    if (end.count, end.last) != (vouched.count, vouched.last) {
        let expected = told(vouched.count, vouched.last);
        return Err(corrupt(folder, Code::Anchor, "", 0, &expected, &told(end.count, end.last)));
    }
    if let Some(Head { at, .. }) = old
        && (at.count > end.count || at.count > 0 && at_head != at.last)
    {
        return Err(corrupt(folder, Code::Head, HEAD, 0, &told(at.count, at.last), &told(end.count, end.last)));
    }
    Ok(end)
}

/// Gives a key that signed nothing here another name, and copies the head: last, because the copy says that this is done.
fn keep_aside<F: Folder>(folder: &F, keys: &KeyPlace<F>, head: Option<&F::File>, aside: &str) -> io::Result<()> {
    match keys.folder.rename(&keys.name, &format!("{}.{aside}", keys.name)) {
        Ok(()) => keys.folder.sync()?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let mut bytes = Vec::new();
    if let Some(head) = head {
        bytes.resize(usize::try_from(head.size()?).unwrap_or(0).min(4096), 0);
        let got = read_full(head, &mut bytes, 0)?;
        bytes.truncate(got);
    }
    let draft = format!("{aside}.part");
    let mut copy = folder.open(&draft, Access::Make)?;
    write_all(&mut copy, &bytes, 0)?;
    copy.truncate(bytes.len() as u64)?;
    copy.sync()?;
    folder.rename(&draft, aside)?;
    folder.sync()
}
