//! What a paused tree costs: memory and processor time of all six processes. Beside the time, what six processes cost here
//! that do nothing but exchange beats: a core that wakes has its price, and it is not ours.

use crate::Effort;
use crate::figure::{Row, Samples};
use holdfast_core::limits::TICK;
use holdfast_core::registry::TradingMode;
use holdfast_tests::wait::s;
use holdfast_tests::{Tree, pause};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

/// Flag of a process of this program that answers beats and does nothing else.
pub(crate) const ANSWER: &str = "--answer-beats";
/// Bytes of a beat, as the tree's.
const BEAT: usize = 64;

/// Paused this long before it is looked at.
const SETTLE_S: u64 = 15;

pub(crate) fn measure(_: Effort) -> Vec<Row> {
    let tree = Tree::active();
    let _ = tree.run(&["pause"]).expect_code(0);
    tree.until("flat and paused", s(120), |doc| doc.trading_mode != TradingMode::Active && doc.exposure.flat);
    rest(SETTLE_S);
    let processes = tree.processes();
    assert_eq!(processes.len(), 6, "{processes:?}");
    let before = spent(&processes);
    rest(10);
    let after = spent(&processes);
    let mut rows = Vec::new();
    let mut total = (0.0, 0.0);
    for (name, pid) in &processes {
        let (ns, switches) = (after[name].0 - before[name].0, after[name].1 - before[name].1);
        let memory = memory(*pid);
        let (pss, cpu) = (memory["Pss"], ns as f64 / 1e6);
        total = (total.0 + pss, total.1 + cpu);
        let note = format!(
            "own pages {:.1} MiB (anonymous {:.1}), turns on a core {switches}",
            memory["Private_Dirty"] + memory["Private_Clean"],
            memory["Anonymous"],
        );
        rows.push(Row::shown(format!("  {name}: memory"), "MiB", Samples::of([pss])).note(note));
        rows.push(Row::shown(format!("  {name}: processor in 10 s"), "ms", Samples::of([cpu])));
    }
    drop(tree);
    let bare = Row::shown("  beside it: six bare processes and their beats", "ms", Samples::of([star()]));
    rows.insert(0, bare.note("a beat to each of five every 250 ms, and their answers, on sockets; nothing else"));
    rows.insert(0, Row::shown("idle tree: processor in 10 s", "ms", Samples::of([total.1])).at_most(1.0, 50.0));
    rows.insert(0, Row::shown("idle tree: memory (PSS)", "MiB", Samples::of([total.0])).at_most(1.0, 30.0));
    rows
}

/// Processor milliseconds that the beats of a tree cost in ten seconds without a tree.
fn star() -> f64 {
    let own = std::env::current_exe().expect("this program");
    let mut lines = Vec::new();
    let mut children = Vec::new();
    for _ in 0..5 {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        let mut child = Command::new(&own);
        child.arg(ANSWER).stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        children.push(child.spawn().expect("this program runs"));
        lines.push(ours);
    }
    let mut processes: Vec<(String, u32)> = children.iter().map(|child| (child.id().to_string(), child.id())).collect();
    processes.push(("own".to_owned(), std::process::id()));
    let total = |spent: BTreeMap<String, (u64, u64)>| spent.values().map(|(ns, _)| *ns).sum::<u64>();
    let mut beat = [b'b'; BEAT];
    let mut exchange = || {
        for line in &mut lines {
            line.write_all(&beat).expect("a process that reads");
        }
        for line in &mut lines {
            line.read_exact(&mut beat).expect("a process that answers");
        }
        pause(u16::try_from(TICK.as_ms()).expect("a short tick"));
    };
    (0..8).for_each(|_| exchange());
    let before = total(spent(&processes));
    (0..40).for_each(|_| exchange());
    let after = total(spent(&processes));
    drop(lines);
    for mut child in children {
        let _ = child.wait();
    }
    (after - before) as f64 / 1e6
}

/// The other end of [`star`]: answers until nobody asks.
pub(crate) fn answer() {
    let stdin = std::io::stdin();
    let mut line = UnixStream::from(stdin.as_fd().try_clone_to_owned().expect("a socket"));
    let mut beat = [0; BEAT];
    while line.read_exact(&mut beat).is_ok() && line.write_all(&beat).is_ok() {}
}

fn rest(seconds: u64) {
    for _ in 0..seconds {
        pause(1000);
    }
}

/// Nanoseconds on a core and turns taken, summed over all threads.
fn spent(processes: &[(String, u32)]) -> BTreeMap<String, (u64, u64)> {
    let of = |pid: u32| {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process").flatten();
        threads.fold((0, 0), |(ns, turns), thread| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let mut numbers = text.split_whitespace().map(|n| n.parse::<u64>().unwrap_or(0));
            let (on_core, _, slices) = (numbers.next(), numbers.next(), numbers.next());
            (ns + on_core.unwrap_or(0), turns + slices.unwrap_or(0))
        })
    };
    processes.iter().map(|(name, pid)| (name.clone(), of(*pid))).collect()
}

/// `smaps_rollup` in MiB.
fn memory(pid: u32) -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a process of ours");
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let kib: f64 = rest.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some((name.to_owned(), kib / 1024.0))
    };
    text.lines().filter_map(line).collect()
}
