//! The performance harness: every figure of `ops/SPEC.md`, each held against a limit measured in the same run.
//!
//! `cargo xtask perf [--only NAME] [--report-only] [--rounds N]` on a release build. Prints one table, writes
//! `target/perf.json`, and ends with 1 when a figure misses what it must reach. A figure is a ratio wherever the machine has
//! a say in it, so that a slow machine does not fail and a fast one does not hide a slow program.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::allow_attributes,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a harness speaks by panicking and printing; nothing of it ships"
)]

mod bare;
mod bus;
mod deaths;
mod figure;
mod idle;
mod kills;
mod logs;
mod status;
mod stops;
mod ticks;
mod wire;

use figure::{Report, Row};
use std::process::ExitCode;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Trees, or samples, per figure.
    pub(crate) rounds: usize,
    /// Seconds with all cores busy.
    pub(crate) busy_s: u64,
}

type Measure = fn(Effort) -> Vec<Row>;

const FIGURES: &[(&str, Measure)] = &[
    ("status", status::measure),
    ("idle", idle::measure),
    ("tick", ticks::measure),
    ("kill", kills::measure),
    ("death", deaths::measure),
    ("stop", stops::measure),
    ("busy", stops::busy),
    ("bus", bus::measure),
];

const USAGE: &str = "perf [--only NAME[,NAME]] [--rounds N] [--busy SECONDS] [--report-only]
names: status idle tick kill death stop busy bus";

fn main() -> ExitCode {
    let mut only: Option<Vec<String>> = None;
    let mut effort = Effort { rounds: 10, busy_s: 60 };
    let mut report_only = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            idle::ANSWER => {
                idle::answer();
                return ExitCode::SUCCESS;
            }
            "--only" => only = args.next().map(|names| names.split(',').map(str::to_owned).collect()),
            "--rounds" => effort.rounds = args.next().and_then(|n| n.parse().ok()).expect("--rounds takes a number"),
            "--busy" => effort.busy_s = args.next().and_then(|n| n.parse().ok()).expect("--busy takes seconds"),
            "--report-only" => report_only = true,
            // Not for people: a figure about a whole process needs a process of its own.
            "--audit" => return bus::audit(&args.next().expect("--audit takes a folder")),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    if cfg!(debug_assertions) && std::env::var_os("ENGINE_BIN").is_none() {
        eprintln!("note: this is a debug build; its figures mean nothing");
    }
    let _ = holdfast_tests::engine();
    let mut report = Report::default();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/perf.json");
    print!("{}", figure::head());
    for (name, measure) in FIGURES {
        if only.as_ref().is_some_and(|names| !names.iter().any(|wanted| wanted == name)) {
            continue;
        }
        eprintln!("measuring {name} ...");
        let rows = measure(effort);
        // Shown and written at once: a harness that breaks on a later figure has not measured this one in vain.
        print!("{}", figure::table(&rows));
        report.rows.extend(rows);
        std::fs::write(&path, report.json()).expect("target/perf.json can be written");
    }
    if report.good() || report_only { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
