//! Opening the log for writing: what the disk holds is verified, and what a crash may have left is told from damage.
//!
//! The longest prefix whose chain holds is taken. What stands behind it is cut, copied aside and recorded as an event when
//! it lies above the head and within what one unfinished commit can leave. Everything else refuses: nothing is guessed.
//! A log that is whole in itself, key and head with it, but lacks what a witness saw of it, was put back: it refuses too.

use super::anchor::Anchor;
use super::chain::{Chain, Code};
use super::error::{BusError, io_error};
use super::event::{LINE_BYTES_MAX, NewEvent, Sum};
use super::head::{self, HEAD, Head, HeadFile};
use super::key::{Key, KeyPlace};
use super::lines::content_end;
use super::log::{BATCH_BYTES_MAX, Log, Options, State};
use super::segments::{ACTIVE, Position, Segments};
use super::snapshot::{self, Snapshot, SnapshotState};
use super::walk::{Finding, Walked, line_start, walk, walk_chain};
use crate::disk::{Access, Folder, Storage, read_full, write_all};
use crate::hex::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Bytes before the head that every opening verifies, whatever the head says.
const WINDOW: u64 = 1 << 20;
/// Most bytes that an unfinished commit can leave beside its padding: one batch and what the log adds to it.
const TORN_MAX: u64 = (BATCH_BYTES_MAX + LINE_BYTES_MAX) as u64;
/// Most events that can be ahead of a head: it is synced every 256, and one batch may follow.
const AHEAD_MAX: u64 = 1024;

/// What an opening found.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// Events in the log, with what this opening itself recorded.
    pub events: u64,
    /// The writer's epoch, one more than the last.
    pub epoch: u64,
    /// Which bus.
    pub bus_id: String,
    /// What was mended, as it was recorded in `bus.recovered` events; empty after a clean end.
    pub repairs: Vec<Value>,
    /// The state to boot from, if there is one that fits.
    pub snapshot: SnapshotState,
    /// When the last event before this opening was recorded, seconds since 1970; `None` if there is none at hand.
    pub last_as_of: Option<f64>,
    /// Whether the writer before this one ended in order.
    pub clean_end: bool,
    /// The newest epoch of a supervisor that is told here, as far as this opening read; `None` if none is at hand.
    pub told_epoch: Option<u64>,
}

/// Everything that was read before anything is written.
struct Found {
    segments: Segments,
    key: Key,
    head: Head,
    bad_slots: usize,
    pad_bytes: u64,
    witness: Option<Anchor>,
}

/// What was seen on the way through the log.
#[derive(Default)]
struct Passed {
    /// When the last event was recorded.
    last_as_of: Option<f64>,
    /// The event of the witness's count.
    at_witness: Option<Sum>,
    /// The newest epoch that a supervisor began.
    epoch: Option<u64>,
}

/// The epoch that a `supervisor.epoch` event tells.
fn epoch_of(line: &[u8]) -> Option<u64> {
    let event: Value = serde_json::from_slice(line).ok()?;
    event["payload"]["epoch"].as_u64()
}

/// Opens the log, making it if there is none. `as_of` stamps what is recorded.
pub(super) fn open<F: Folder>(
    folder: Arc<F>,
    keys: Arc<KeyPlace<F>>,
    options: Options,
    as_of: f64,
) -> Result<(Log<F>, Opened), BusError> {
    let io = |what| {
        let folder = Arc::clone(&folder);
        move |e| io_error(folder.path(""), what, e)
    };
    if !folder.lock().map_err(io("lock it"))? {
        return Err(BusError::Busy { path: folder.path("") });
    }
    let found = look(&folder, &keys, &options)?;
    let mut passed = Passed::default();
    let (walked, snapshot) = check(&folder, &found, &mut passed)?;
    witnessed(&folder, &found, &walked, &passed)?;
    let mut log = begin(folder, keys, options, &found, walked.end)?;
    let repairs = match mend(&mut log, &found, &walked, as_of) {
        Ok(repairs) => repairs,
        Err(error) => {
            // The epoch has begun. Left behind by many such attempts, the key would no longer reach its head.
            log.keep_key();
            return Err(error);
        }
    };
    // Without room for it the next append finds out.
    let _ = log.lay_by();
    let Head { epoch, bus_id, .. } = log.head.head.clone();
    let clean_end = found.head.clean;
    let kept = match &snapshot {
        SnapshotState::Fits(snapshot) => snapshot.payload["health"]["epoch"].as_u64(),
        SnapshotState::Absent | SnapshotState::Rebuild(_) => None,
    };
    let (events, last_as_of, told_epoch) = (log.at.count, passed.last_as_of, passed.epoch.max(kept));
    let opened = Opened { events, epoch, bus_id, repairs, snapshot, last_as_of, clean_end, told_epoch };
    Ok((log, opened))
}

/// Sets aside what does not hold, and records what was found.
fn mend<F: Folder>(log: &mut Log<F>, found: &Found, walked: &Walked, as_of: f64) -> Result<Vec<Value>, BusError> {
    let mut repairs = Vec::new();
    if let Some(finding) = &walked.flaw {
        repairs.push(set_aside(log, finding, as_of)?);
    }
    let ahead = walked.end.count.saturating_sub(found.head.at.count);
    if ahead > 0 {
        repairs.push(json!({"what": "ahead", "events": ahead, "head": found.head.at.count}));
    }
    if found.bad_slots > 0 {
        repairs.push(json!({"what": "head_slot", "slots": found.bad_slots}));
    }
    record(log, &repairs, as_of)?;
    Ok(repairs)
}

/// Writes what was mended into the log itself.
pub(super) fn record<F: Folder>(log: &mut Log<F>, repairs: &[Value], as_of: f64) -> Result<(), BusError> {
    let mut events = Vec::new();
    for repair in repairs {
        let mut payload = repair.clone();
        payload["schema_version"] = "holdfast.bus.recovered.v1".into();
        events.push(NewEvent::new("bus.recovered", as_of, &payload)?);
    }
    // A new segment has to begin with its own first event, repaired or not.
    if events.is_empty() && !(log.at.segment > 1 && log.at.offset == 0) {
        return Ok(());
    }
    log.append(&events).map(|_| ())
}

/// Reads heads, key and segments; makes a bus where there is none.
fn look<F: Folder>(folder: &Arc<F>, keys: &KeyPlace<F>, options: &Options) -> Result<Found, BusError> {
    let segments = Segments::of(&**folder).map_err(|e| io_error(folder.path(""), "list it", e))?;
    let file = match folder.open(HEAD, Access::Read) {
        Ok(file) => Some(file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(io_error(folder.path(HEAD), "open it", e)),
    };
    let nothing = file.is_none() && segments.none();
    let key = match Key::load(keys) {
        // The making of the key was interrupted; nothing was signed with it.
        Err(BusError::Key { .. }) if nothing => None,
        loaded => loaded?,
    };
    let missing = |why: &str| BusError::Key { path: keys.folder.path(&keys.name), why: why.to_owned() };
    let heads = |key: &Key| match &file {
        Some(file) => head::read(file, Some(key)).map_err(|e| io_error(folder.path(HEAD), "read it", e)),
        None => Ok(head::Heads { newest: None, bad: 0 }),
    };
    let Some(key) = key else {
        // A bus of which nothing exists is made; anything that exists had a key.
        if !nothing {
            return Err(missing("there is none"));
        }
        if let Some(witness) = &options.witness {
            return Err(unwitnessed(folder, witness, "no bus"));
        }
        let key = Key::fresh(&options.seed);
        key.store(keys)?;
        return make(folder, key, options);
    };
    let heads = heads(&key)?;
    match heads.newest {
        Some(head) => {
            let (pad_bytes, witness) = (options.pad_bytes, options.witness.clone());
            Ok(Found { segments, key, head, bad_slots: heads.bad, pad_bytes, witness })
        }
        None if key.epoch == 0 && blank(folder, &segments)? => make(folder, key, options),
        None => {
            let found = if file.is_some() { "none that this key signed" } else { "no such file" };
            Err(corrupt(folder, Code::Head, HEAD, 0, "the head of this bus", found))
        }
    }
}

/// Whether the making of the bus was interrupted before any event.
fn blank<F: Folder>(folder: &Arc<F>, segments: &Segments) -> Result<bool, BusError> {
    let size = match folder.open(ACTIVE, Access::Read) {
        Ok(file) => file.size().map_err(|e| io_error(folder.path(ACTIVE), "measure it", e))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
        Err(e) => return Err(io_error(folder.path(ACTIVE), "open it", e)),
    };
    Ok(segments.closed == 0 && size == 0)
}

fn make<F: Folder>(folder: &Arc<F>, key: Key, options: &Options) -> Result<Found, BusError> {
    if let Some(witness) = &options.witness {
        return Err(unwitnessed(folder, witness, "no event"));
    }
    let io = |what| move |e| io_error(folder.path(""), what, e);
    folder.open(ACTIVE, Access::Make).map_err(io("make its first segment"))?;
    let file = folder.open(HEAD, Access::Make).map_err(io("make its head"))?;
    folder.sync().map_err(io("sync it"))?;
    let head = Head { bus_id: head::bus_id(&options.seed), epoch: 0, seq: 0, clean: true, at: Position::START };
    let mut head = HeadFile { file, key, head };
    head.begin().map_err(io("write its head"))?;
    let segments = Segments { closed: 0, active: true, missing: None };
    let pad_bytes = options.pad_bytes;
    Ok(Found { segments, key: head.key, head: head.head, bad_slots: 0, pad_bytes, witness: None })
}

/// Verifies from a trusted place on, and refuses what no crash can leave.
fn check<F: Folder>(folder: &Arc<F>, found: &Found, passed: &mut Passed) -> Result<(Walked, SnapshotState), BusError> {
    let head = &found.head;
    if !head.clean {
        forget(folder, found).map_err(|e| io_error(folder.path(ACTIVE), "open it", e))?;
    }
    let io = |e| io_error(folder.path(ACTIVE), "read it", e);
    let snapshot = snapshot::load(&**folder, &head.bus_id).map_err(io)?;
    let usable = match &snapshot {
        SnapshotState::Fits(snapshot) => Some(&**snapshot),
        SnapshotState::Absent | SnapshotState::Rebuild(_) => None,
    };
    let window = window_start(folder, &found.segments, head).map_err(io)?;
    let mut walked = through(folder, found, window, usable, passed).map_err(io)?;
    let mut state = snapshot.clone();
    if let (Some(_), Some(flaw)) = (usable, &walked.flaw)
        && walked.end.count < head.at.count
    {
        // The snapshot may be what does not fit.
        state = SnapshotState::Rebuild(format!("it does not fit the log: {flaw}"));
        walked = through(folder, found, window, None, passed).map_err(io)?;
    }
    judge(folder, found, &walked)?;
    if let SnapshotState::Fits(snapshot) = &state
        && let Some(finding) = snapshot::beyond(snapshot, walked.end.count)
    {
        return Err(BusError::Corrupt { path: folder.path(""), finding: Box::new(finding) });
    }
    Ok((walked, state))
}

/// Refuses a log in which what deadman saw last is not where it was.
fn witnessed<F: Folder>(folder: &Arc<F>, found: &Found, walked: &Walked, passed: &Passed) -> Result<(), BusError> {
    let Some(witness) = &found.witness else { return Ok(()) };
    if witness.bus_id != found.head.bus_id {
        return Err(unwitnessed(folder, witness, &format!("the bus {}", found.head.bus_id)));
    }
    if witness.count > walked.end.count {
        return Err(unwitnessed(folder, witness, &format!("{} events", walked.end.count)));
    }
    let there = match passed.at_witness {
        Some(sum) => Some(sum),
        None => {
            sum_at(&**folder, &found.segments, witness.count).map_err(|e| io_error(folder.path(""), "read it", e))?
        }
    };
    if there == Some(witness.sum) {
        return Ok(());
    }
    Err(unwitnessed(folder, witness, &there.map_or_else(|| "another log".to_owned(), |sum| format!("there {sum}"))))
}

/// The checksum of an event that lies before everything an opening reads: deadman was not told for long.
pub(super) fn sum_at<F: Folder>(folder: &F, segments: &Segments, count: u64) -> io::Result<Option<Sum>> {
    let mut sum = None;
    walk(folder, segments, Position::START, &mut |seen| {
        if seen.good.index == count {
            sum = Some(seen.good.sum);
        }
        Ok(None)
    })?;
    Ok(sum)
}

fn unwitnessed<F: Folder>(folder: &Arc<F>, witness: &Anchor, found: &str) -> BusError {
    let mut error = corrupt(folder, Code::Witness, "", 0, &format!("what deadman saw last: {witness}"), found);
    if let BusError::Corrupt { finding, .. } = &mut error {
        finding.event = witness.count;
    }
    error
}

fn forget<F: Folder>(folder: &Arc<F>, found: &Found) -> io::Result<()> {
    for number in [found.head.at.segment, found.segments.last()] {
        if let Some(file) = found.segments.open(&**folder, number)? {
            file.forget_cache();
        }
    }
    Ok(())
}

/// Where the window before the head begins: a line start, or the beginning of the segment.
fn window_start<F: Folder>(folder: &Arc<F>, segments: &Segments, head: &Head) -> io::Result<(u64, u64)> {
    let near = head.at.offset.saturating_sub(WINDOW);
    let file = segments.open(&**folder, head.at.segment)?;
    Ok((head.at.segment, file.map_or(Ok(0), |file| line_start(&file, near))?.min(head.at.offset)))
}

/// Walks from the window or, if it lies before, from the snapshot; compares with the head and the snapshot on the way.
fn through<F: Folder>(
    folder: &Arc<F>,
    found: &Found,
    window: (u64, u64),
    snapshot: Option<&Snapshot>,
    passed: &mut Passed,
) -> io::Result<Walked> {
    let head = &found.head.at;
    let (from, chain) = match snapshot {
        Some(snapshot) if (snapshot.at.segment, snapshot.at.offset) <= window => {
            let at = &snapshot.at;
            ((at.segment, at.offset), Chain::after(at.count, at.last))
        }
        _ if window == (1, 0) => (window, Chain::START),
        // At the head itself there may be no line left from which to learn.
        _ if window == (head.segment, head.offset) => (window, Chain::after(head.count, head.last)),
        _ => (window, Chain::MIDDLE),
    };
    let wanted = [Some(*head), snapshot.map(|snapshot| snapshot.at)];
    walk_chain(&**folder, &found.segments, from, chain, &mut |seen| {
        passed.last_as_of = Some(seen.good.as_of);
        if seen.good.event_type == b"supervisor.epoch" {
            passed.epoch = passed.epoch.max(epoch_of(seen.line));
        }
        if found.witness.as_ref().is_some_and(|witness| witness.count == seen.good.index) {
            passed.at_witness = Some(seen.good.sum);
        }
        let named = wanted.iter().flatten().find(|at| at.count == seen.good.index);
        let Some(at) = named.filter(|at| at.last != Some(seen.good.sum)) else { return Ok(None) };
        Ok(Some(Finding {
            code: Code::Head,
            event: seen.good.index,
            file: seen.file.to_owned(),
            byte: seen.at,
            expected: at.last.map_or_else(|| "nothing".to_owned(), |sum| sum.to_string()),
            found: seen.good.sum.to_string(),
        }))
    })
}

/// Refuses what no crash leaves.
fn judge<F: Folder>(folder: &Arc<F>, found: &Found, walked: &Walked) -> Result<(), BusError> {
    let (head, end) = (&found.head, &walked.end);
    let refuse = |finding: &Finding| BusError::Corrupt { path: folder.path(""), finding: Box::new(finding.clone()) };
    let name = found.segments.name(end.segment);
    let differs =
        |expected: String, what: String| Err(corrupt(folder, Code::Head, &name, end.offset, &expected, &what));
    if end.count < head.at.count {
        return match &walked.flaw {
            Some(finding) => Err(refuse(finding)),
            None => differs(format!("the {} events of its head", head.at.count), format!("{} events", end.count)),
        };
    }
    if end.count == head.at.count && end.last != head.at.last {
        return differs("the last event of its head".to_owned(), "another one".to_owned());
    }
    if end.count - head.at.count > AHEAD_MAX {
        return differs(
            format!("at most {AHEAD_MAX} events more than its head"),
            format!("{}", end.count - head.at.count),
        );
    }
    let Some(finding) = &walked.flaw else {
        if head.clean && end.count > head.at.count {
            return differs(
                "nothing behind a log that was closed".to_owned(),
                format!("{} events", end.count - head.at.count),
            );
        }
        return Ok(());
    };
    let tail = found
        .segments
        .open(&**folder, end.segment)
        .and_then(|file| file.map_or(Ok(0), |file| content_end(&file, end.offset, u64::MAX)))
        .map_err(|e| io_error(folder.path(&name), "read it", e))?;
    let torn = end.segment > found.segments.closed
        && tail.saturating_sub(end.offset) <= TORN_MAX.saturating_add(found.pad_bytes);
    if head.clean || !torn || matches!(finding.code, Code::Head | Code::Segment) {
        return Err(refuse(finding));
    }
    Ok(())
}

pub(super) fn corrupt<F: Folder>(
    folder: &Arc<F>,
    code: Code,
    file: &str,
    byte: u64,
    expected: &str,
    found: &str,
) -> BusError {
    let (expected, found) = (expected.to_owned(), found.to_owned());
    let finding = Finding { code, event: 0, file: file.to_owned(), byte, expected, found };
    BusError::Corrupt { path: folder.path(""), finding: Box::new(finding) }
}

/// Begins a new epoch at the end of the good part. Its key is kept a moment later: the one before still checks this head.
fn begin<F: Folder>(
    folder: Arc<F>,
    keys: Arc<KeyPlace<F>>,
    options: Options,
    found: &Found,
    end: Position,
) -> Result<Log<F>, BusError> {
    let head = Head { at: end, ..found.head.clone() };
    start(folder, keys, options, found.key.clone(), head, &found.segments)
}

/// Takes the log over at the place its head names, under the next epoch.
pub(super) fn start<F: Folder>(
    folder: Arc<F>,
    keys: Arc<KeyPlace<F>>,
    options: Options,
    key: Key,
    head: Head,
    segments: &Segments,
) -> Result<Log<F>, BusError> {
    let end = head.at;
    let path = folder.path(ACTIVE);
    let io = |what| {
        let path = path.clone();
        move |e| io_error(path, what, e)
    };
    let mut active = folder.open(ACTIVE, Access::Make).map_err(io("open it"))?;
    let file = folder.open(HEAD, Access::Make).map_err(io("open the head"))?;
    if !head.clean {
        // What stands there may still be in the page cache only: it counts from now on.
        active.sync().map_err(io("sync it"))?;
        folder.sync().map_err(io("sync its folder"))?;
    }
    let size = active.size().map_err(io("measure it"))?;
    let epoch = head.epoch.saturating_add(1);
    let key = key.at(epoch).ok_or_else(|| BusError::Key {
        path: keys.folder.path(&keys.name),
        why: format!("it is of epoch {}, the head of epoch {}", key.epoch, head.epoch),
    })?;
    let mut head = HeadFile { file, key, head: Head { epoch, clean: false, ..head } };
    head.begin().map_err(io("write the head"))?;
    let interrupted = end.segment <= segments.closed;
    let state = State::Good;
    let mut log = Log {
        folder,
        keys,
        options,
        active,
        at: end,
        size,
        damaged_tail: false,
        head,
        key_kept: false,
        head_debt: 0,
        state,
        unwritten: VecDeque::new(),
        forgotten: 0,
        buffer: Vec::new(),
    };
    if interrupted && let Err(e) = log.begin_segment(end.segment.saturating_add(1)) {
        log.keep_key();
        return Err(io("begin a segment")(e));
    }
    let content = content_end(&log.active, log.at.offset, u64::MAX).map_err(io("read it"))?;
    log.damaged_tail = content > log.at.offset;
    Ok(log)
}

/// Copies what stands behind the good part into a file of its own; the next commit overwrites it. Gives the record.
pub(super) fn set_aside<F: Folder>(log: &mut Log<F>, finding: &Finding, as_of: f64) -> Result<Value, BusError> {
    let path = log.folder.path(ACTIVE);
    let io = |what| {
        let path = path.clone();
        move |e| io_error(path, what, e)
    };
    let end = content_end(&log.active, log.at.offset, u64::MAX).map_err(io("read it"))?;
    let name = spare_name(&*log.folder, as_of).map_err(io("list its folder"))?;
    let mut copy = log.folder.open(&name, Access::Make).map_err(io("make a copy"))?;
    let (mut at, mut hash) = (log.at.offset, Sha256::new());
    let mut chunk = vec![0; 64 * 1024];
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(chunk.len());
        let got = read_full(&log.active, &mut chunk[..most], at).map_err(io("read it"))?;
        if got == 0 {
            break;
        }
        hash.update(&chunk[..got]);
        write_all(&mut copy, &chunk[..got], at - log.at.offset).map_err(io("copy its tail"))?;
        at = at.saturating_add(got as u64);
    }
    copy.sync().map_err(io("sync the copy"))?;
    log.folder.sync().map_err(io("sync its folder"))?;
    log.damaged_tail = true;
    Ok(json!({
        "what": "cut", "reason": finding.reason(), "file": finding.file, "byte": log.at.offset,
        "cut_bytes": at - log.at.offset, "cut_sha256": format!("sha256:{}", hex(&hash.finalize().into())),
        "cut_file": name,
    }))
}

/// A name for what was cut that no file has.
pub(super) fn spare_name<F: Folder>(folder: &F, as_of: f64) -> io::Result<String> {
    let names = folder.list()?;
    let base = format!("events.torn-{as_of:.3}");
    let mut name = base.clone();
    for n in 2_u32.. {
        if !names.contains(&name) {
            break;
        }
        name = format!("{base}.{n}");
    }
    Ok(name)
}
