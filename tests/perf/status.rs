//! `engine status`, from the shell's point of view: spawned, answered, gone.

use crate::Effort;
use crate::bare;
use crate::figure::{Row, Samples};
use holdfast_ipc::clock;
use holdfast_tests::{Tree, engine};

pub(crate) fn measure(effort: Effort) -> Vec<Row> {
    let tree = Tree::active();
    let count = effort.rounds * 5;
    let door = tree.home.paths().status_sock();
    let command = |args: &[&str]| {
        let mut command = tree.home.command(args);
        let began = clock::now().0;
        let done = command.output().expect("engine runs");
        let took = clock::now().0 - began;
        assert!(done.status.success(), "{done:?}");
        took
    };
    let mut took = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..count {
        took[0].push(command(&["status"]));
        took[1].push(command(&["status", "--json"]));
        took[2].push(bare::status_door(&door));
        let began = clock::now().0;
        took[3].push(bare::born(engine()) - began);
    }
    let [text, json, limit, spawn] = took.map(Samples::of_ns);
    vec![
        Row::shown("engine status", "ms", text).beside(limit.clone()).at_most(0.5, 5.0),
        Row::shown("engine status --json", "ms", json).beside(limit).at_most(0.5, 5.0),
        Row::shown("  of which: spawning the program at all", "ms", spawn)
            .note("limit: connect to status.sock and read to its end"),
    ]
}
