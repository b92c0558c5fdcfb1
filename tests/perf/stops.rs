//! SIGSTOP of a worker, and a host with every core busy.

use crate::figure::{Row, Samples, cores};
use crate::{Effort, logs};
use holdfast_core::ids::Role;
use holdfast_core::registry::TradingMode;
use holdfast_ipc::clock;
use holdfast_tests::Tree;
use holdfast_tests::wait::{s, throughout};
use nix::sys::signal::Signal;
use std::cell::Cell;

pub(crate) fn measure(effort: Effort) -> Vec<Row> {
    let (mut restricted, mut replaced) = (Vec::new(), Vec::new());
    for round in 0..effort.rounds.max(Role::ALL.len()) {
        let role = Role::ALL[round % Role::ALL.len()];
        let tree = Tree::active();
        let pid = tree.pid(role);
        let stopped = clock::now().0;
        holdfast_tests::tree::send(pid, Signal::SIGSTOP);
        tree.until("restricted", s(10), |doc| doc.trading_mode != TradingMode::Active);
        restricted.push(clock::now().0 - stopped);
        replaced
            .push(logs::instant(&tree, "worker said hello", Some(role.as_str()), "born_boot_ns", stopped) - stopped);
    }
    vec![
        Row::shown("SIGSTOP → restricted", "ms", Samples::of_ns(restricted))
            .at_most(1.0, 1000.0)
            .note("seen in the status document, read every 15 ms"),
        Row::shown("SIGSTOP → replaced", "ms", Samples::of_ns(replaced)).at_most(1.0, 4000.0),
    ]
}

/// Twice as many spinning threads as cores: nobody may be shot for being slow.
pub(crate) fn busy(effort: Effort) -> Vec<Row> {
    let tree = Tree::active();
    let pids = |tree: &Tree| -> Vec<_> { tree.status().workers.iter().map(|w| (w.role, w.pid)).collect() };
    let before = pids(&tree);
    let end = clock::now().after(s(effort.busy_s));
    let spinners: Vec<_> = (0..cores() * 2)
        .map(|_| {
            std::thread::spawn(move || {
                while clock::now() < end {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let (looks, active) = (Cell::new(0_u32), Cell::new(0_u32));
    throughout("time passing", s(effort.busy_s), || {
        if let Some(doc) = tree.try_status() {
            looks.set(looks.get() + 1);
            active.set(active.get() + u32::from(doc.trading_mode == TradingMode::Active));
        }
        true
    });
    for spinner in spinners {
        let _ = spinner.join();
    }
    let after = pids(&tree);
    let killed = before.iter().filter(|worker| !after.contains(worker)).count();
    let share = f64::from(active.get()) / f64::from(looks.get().max(1)) * 100.0;
    vec![
        Row::shown(format!("all cores busy for {} s: workers lost", effort.busy_s), "n", Samples::of([killed as f64]))
            .at_most(1.0, 0.0)
            .note(format!("{} spinning threads on {} cores; Active in {share:.0} % of looks", cores() * 2, cores())),
    ]
}
