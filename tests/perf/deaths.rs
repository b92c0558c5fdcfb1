//! SIGKILL of a worker: how soon the permit is gone and how soon the replacement runs.

use crate::figure::{Row, Samples};
use crate::{Effort, bare, logs};
use holdfast_core::ids::Role;
use holdfast_ipc::clock;
use holdfast_tests::tree::send;
use holdfast_tests::wait::s;
use holdfast_tests::{Tree, engine};
use nix::sys::signal::Signal;

/// Every worker in turn; the one killed first, while a permit lives, changes from tree to tree.
const VICTIMS: [Role; 5] = [Role::Engine, Role::Sensor, Role::Deadman, Role::Api, Role::Venue];

pub(crate) fn measure(effort: Effort) -> Vec<Row> {
    let (mut seen, mut revoked, mut spawned, mut born) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..effort.rounds {
        let tree = Tree::active();
        for turn in 0..VICTIMS.len() {
            let role = VICTIMS[(round + turn) % VICTIMS.len()];
            // The document is up to a tick old: it must be of after the last death.
            holdfast_tests::pause(400);
            tree.until("a worker to kill", s(20), |doc| {
                doc.workers.iter().any(|w| w.role == role && w.state == "ready")
            });
            let pid = tree.pid(role);
            let watched = bare::pidfd(pid);
            let killed = clock::now().0;
            send(pid, Signal::SIGKILL);
            seen.push(bare::ended(&watched) - killed);
            let name = Some(role.as_str());
            // Only the first of a tree dies while a permit lives: after it there is probation.
            if turn == 0 {
                revoked.push(logs::instant(&tree, "permit revoked", None, "revoked_boot_ns", killed) - killed);
            }
            spawned.push(logs::instant(&tree, "spawned", name, "spawned_boot_ns", killed) - killed);
            born.push(logs::instant(&tree, "worker said hello", name, "born_boot_ns", killed) - killed);
        }
    }
    let limit = Samples::of_ns((0..effort.rounds * 5).map(|_| bare::respawn(engine())));
    let seen = Samples::of_ns(seen);
    vec![
        Row::shown("worker death → permit revoked", "ms", Samples::of_ns(revoked))
            .above(seen, 2.0)
            .note("limit: SIGKILL → exit seen by a pidfd in the harness, same deaths"),
        Row::shown("worker death → replacement's first instruction", "ms", Samples::of_ns(born))
            .within(limit, 1.5)
            .note("limit: SIGKILL → pidfd → spawn → first instruction of the same binary, nothing else in the loop"),
        Row::shown("  of which: death → replacement spawned", "ms", Samples::of_ns(spawned)),
    ]
}
