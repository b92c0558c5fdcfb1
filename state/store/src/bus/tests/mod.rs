//! The bus on a disk that crashes, fails and is tampered with, and on a real one.

mod adoption;
mod crash;
mod damage;
mod faults;
mod line;
mod readers;
mod real;
mod rules;

use super::log::Log;
use super::*;
use crate::sim::{Sim, World};
use serde_json::json;
use std::sync::Arc;

const AS_OF: f64 = 1_777_646_400.0;

/// A bus and its key on one crashing disk: the key under another name.
const KEY: &str = "head.key";

fn keys(disk: &Sim) -> KeyPlace<Sim> {
    KeyPlace { folder: disk.clone(), name: KEY.to_owned() }
}

/// Small enough that everything happens soon.
fn small() -> Options {
    Options { segment_bytes: 6000, reserve_bytes: 4096, pad_bytes: 2048, anchor_every: 10, ..Options::new([7; 32]) }
}

/// One segment, no anchors: the lines are exactly what was appended.
fn plain() -> Options {
    Options { segment_bytes: u64::MAX, anchor_every: u64::MAX, pad_bytes: 1, ..small() }
}

fn open_with(disk: &Sim, options: Options) -> Result<(Log<Sim>, Opened), BusError> {
    recover::open(Arc::new(disk.clone()), Arc::new(keys(disk)), options, AS_OF)
}

fn open(disk: &Sim) -> Result<(Log<Sim>, Opened), BusError> {
    open_with(disk, small())
}

fn note(n: u64) -> NewEvent {
    NewEvent::new(
        "runtime.note",
        AS_OF + n as f64,
        &json!({"n": n, "text": "é".repeat(usize::try_from(n % 7).unwrap())}),
    )
    .unwrap()
}

fn order(n: u64) -> NewEvent {
    NewEvent::new("operator.command", AS_OF, &json!({"n": n})).unwrap()
}

fn check(disk: &Sim) -> Report {
    verify(disk, Some(&keys(disk)), &Questions { deep: true, ..Questions::default() }).unwrap()
}

/// A log of so many events, in order closed or not.
fn log_of(events: u64, options: Options, close: bool) -> Sim {
    let disk = Sim::of(World::default());
    let (mut log, _) = open_with(&disk, options).unwrap();
    for n in 1..=events {
        log.append(&[note(n)]).unwrap();
    }
    if close {
        log.close();
    }
    disk.copy()
}

/// The numbers of our own events in the log, in order.
fn numbers(disk: &Sim) -> Vec<u64> {
    content(disk).0
}

/// The same, with the audit that the same pass makes.
fn content(disk: &Sim) -> (Vec<u64>, Report) {
    let mut raw = Vec::new();
    let report = export_single_file(disk, Some(&keys(disk)), &mut raw).unwrap();
    let payloads = memchr::memmem::find_iter(&raw, b"\"payload\":{\"n\":").map(|at| &raw[at + 15..]);
    let number =
        |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).fold(0, |n, b| n * 10 + u64::from(b - b'0'));
    (payloads.map(number).collect(), report)
}
