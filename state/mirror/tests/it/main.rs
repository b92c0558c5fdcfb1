//! A real bus on a real disk, followed into a real PostgreSQL on this host.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::allow_attributes,
    reason = "a failed expectation is how a test speaks"
)]

mod server;

use holdfast_mirror::{MirrorError, Postgres, Target};
use holdfast_store::bus::{Bus, Durability, Follower, Mirror, NewEvent, Options};
use holdfast_store::disk::RealFolder;
use serde_json::json;
use server::Server;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

fn bus(home: &Path, seed: u8) -> Bus {
    let options = Options { segment_bytes: 16 << 10, pad_bytes: 1, ..Options::new([seed; 32]) };
    Bus::open(&home.join("bus"), &home.join("keys/bus.key"), options, Arc::new(|| 0), 1.5).expect("a bus").0
}

fn append(bus: &Bus, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let event = NewEvent::new("runtime.health", 2.5, &json!({"n": n, "note": "é☃"})).expect("an event");
        bus.append(vec![event], Durability::Wait).expect("room").wait(LONG).expect("a disk");
    }
}

fn follower(home: &Path) -> Follower<RealFolder> {
    Follower::from(Arc::new(RealFolder::existing(&home.join("bus")).expect("a folder")), 1).expect("a log")
}

fn mirror(target: &Target, follower: &Follower<RealFolder>) -> Postgres {
    Postgres::connect(target, &follower.bus_id().expect("a head").expect("a bus")).expect("a database")
}

#[test]
fn a_mirror_has_every_event_once_and_refuses_a_log_that_is_another_one() {
    let Some(server) = Server::start() else { return };
    let target = server.target();
    let home = tempfile::tempdir().expect("a folder");
    let writer = bus(home.path(), 1);
    append(&writer, 0..150);
    let mut along = follower(home.path());
    let mut first = mirror(&target, &along);
    assert_eq!(first.last().expect("an answer"), None);
    let has = along.feed(&mut first).expect("fed");
    assert!(has >= 150, "rotation adds events of its own: {has}");

    // It goes on where it was, while segments change under it; a second mirror of the same bus repeats nothing.
    append(&writer, 150..300);
    let mut again = mirror(&target, &along);
    assert_eq!(again.high_water().expect("an answer"), has);
    let now_has = follower(home.path()).feed(&mut again).expect("fed");
    assert_eq!(along.feed(&mut first).expect("fed"), now_has, "both stand at the same event");
    let rows = server.ask("SELECT count(*), min(event_index), max(event_index) FROM holdfast_bus");
    assert_eq!(rows, format!("{now_has}|1|{now_has}"));

    // The very bytes.
    let mut lines = Vec::new();
    let mut reader = follower(home.path());
    while let Some(batch) = reader.poll().expect("lines") {
        lines.extend(batch.raw_lines);
    }
    let stored = server.ask("SELECT string_agg(line, E'\\n' ORDER BY event_index) FROM holdfast_bus");
    assert_eq!(stored.as_bytes(), &lines[..lines.len() - 1]);

    // The same lines again change nothing; other lines in their place are refused, and nothing of them is taken.
    let mut reader = follower(home.path());
    let batch = reader.poll().expect("lines").expect("a batch");
    first.apply(batch.first_index, &batch.raw_lines).expect("idempotent");
    let forged = String::from_utf8(batch.raw_lines).expect("text").replacen(
        "\"checksum\":\"sha256:",
        "\"checksum\":\"sha256:f",
        1,
    );
    let refused = first.apply(batch.first_index, forged.as_bytes()).expect_err("a fork");
    assert!(refused.to_string().contains("is not the one the mirror has"), "{refused}");
    assert_eq!(server.ask("SELECT count(*) FROM holdfast_bus"), now_has.to_string());

    // Events taken out of the mirror show.
    server.ask("DELETE FROM holdfast_bus WHERE event_index = 7");
    assert!(matches!(first.last(), Err(MirrorError::Gap { .. })));
    writer.close();
}

#[test]
fn a_log_that_was_cut_after_it_was_mirrored_is_found() {
    let Some(server) = Server::start() else { return };
    let target = server.target();
    let home = tempfile::tempdir().expect("a folder");
    let writer = bus(home.path(), 2);
    append(&writer, 0..20);
    let mut along = follower(home.path());
    let mut mirror = mirror(&target, &along);
    let has = along.feed(&mut mirror).expect("fed");
    writer.close();
    // Somebody puts back the folder of yesterday and goes on: the same bus, another event after the tenth.
    let id = along.bus_id().expect("a head").expect("a bus");
    let rewritten = tempfile::tempdir().expect("a folder");
    let writer = bus(rewritten.path(), 3);
    append(&writer, 100..140);
    let mut other = follower(rewritten.path());
    let refused = other.feed(&mut Postgres::connect(&target, &id).expect("a database")).expect_err("a fork");
    let words = format!("{:?}", refused);
    assert!(words.contains(&format!("Fork {{ index: {has}")), "{words}");
    writer.close();
}

#[test]
fn a_dead_database_is_an_error_within_its_bound_and_says_no_password() {
    let target: Target = "postgres://u:secret@127.0.0.1:9/db".parse().expect("a target");
    let Err(refused) = Postgres::connect(&target, "bus") else { panic!("nobody listens there") };
    let words = format!("{refused} {refused:?}");
    assert!(!words.contains("secret"), "{words}");
}
