//! The move to another host, as its runbook tells it: every command block is executed as it stands there.

use holdfast_core::registry::ModeReason;
use holdfast_ipc::clock;
use holdfast_store::bus::{Bus, Durability, NewEvent, Options};
use holdfast_tests::binary::engine;
use holdfast_tests::home::{Ran, finish};
use holdfast_tests::wait::{s, until};
use holdfast_tests::{Home, Tree};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// One block of the runbook.
struct Block {
    name: String,
    code: i32,
    script: String,
}

/// The blocks marked ```` ```sh run=NAME [expect=CODE] ````, in order.
fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(mark) = line.strip_prefix("```sh run=") else { continue };
        let (name, rest) = mark.split_once(' ').unwrap_or((mark, ""));
        let code = rest.strip_prefix("expect=").map_or(0, |code| code.parse().expect("an exit code"));
        let script =
            lines.by_ref().take_while(|line| *line != "```").fold(String::new(), |text, line| text + line + "\n");
        found.push(Block { name: name.to_owned(), code, script });
    }
    found
}

/// Both homes, the bundle between them, and a folder in which `engine` is the program under test.
struct Move {
    old: Tree,
    new: Tree,
    bundle: PathBuf,
    bin: PathBuf,
}

impl Move {
    fn new() -> Self {
        // Nothing closes the position by its age.
        let old = Tree::start_in(Home::with("[strategy]\nhold_bars = 1000\n"));
        old.wait_exposed();
        let new = Home::new();
        std::fs::remove_dir(new.paths().root()).expect("the new home is made by the import");
        let bundle = new.outside().join("bundle");
        let bin = new.outside().join("bin");
        std::fs::create_dir(&bin).expect("a folder");
        std::os::unix::fs::symlink(engine(), bin.join("engine")).expect("a link");
        Self { old, new: Tree { home: new }, bundle, bin }
    }

    fn run(&self, script: &str) -> Ran {
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", script]).env("PATH", path).env("NO_COLOR", "1").env_remove("ENGINE_HOME");
        command.env("HOME", self.bin.parent().unwrap_or(Path::new("/")));
        command.env("OLD", self.old.home.paths().root()).env("NEW", self.new.home.paths().root());
        command.env("BUNDLE", &self.bundle).current_dir(&self.bin);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().expect("sh runs"), s(90))
    }
}

#[test]
fn the_runbook_moves_an_open_position_and_the_old_home_stays_down() {
    let page = include_str!("../../ops/runbooks/host-migration.md");
    let blocks = blocks(page);
    let names: Vec<&str> = blocks.iter().map(|block| block.name.as_str()).collect();
    let expected = ["stop", "export", "stays-down", "verify", "import", "keys", "start", "look", "flatten", "backup"];
    assert_eq!(names, expected, "a step of the runbook is not executed here");
    let moving = Move::new();
    // Nothing changes its size any more: what is open now is what must arrive.
    let _ = moving.old.run(&["pause"]).expect_code(0);
    let epoch = moving.old.status().permit.epoch;
    let refused = moving.old.run(&["--json", "migrate", "export", "--to", "x"]).expect_code(1).json();
    assert_eq!(refused["code"], "engine_running", "{refused}");
    let account = moving.old.account();
    let mut position = String::new();
    for block in &blocks {
        let ran = moving.run(&block.script);
        assert_eq!(ran.code, block.code, "{}: {ran:?}\n{}", block.name, moving.new.logs());
        match block.name.as_str() {
            "stop" => {
                let witness = moving.old.witness().positions();
                assert_eq!(moving.old.processes(), []);
                position = format!("{witness:?}");
                assert!(!witness.is_empty() && ran.out.contains("open:"), "{ran:?}");
                note_on_bus(&moving.old.home);
            }
            "stays-down" => {
                assert!(ran.err.contains("was exported"), "{ran:?}");
                let error = moving.old.run(&["--json", "start"]).expect_code(1).json();
                assert_eq!(error["code"], "state_exported", "{error}");
                let doctor = moving.old.run(&["doctor"]).expect_code(1);
                assert!(doctor.out.contains("was exported"), "{doctor:?}");
                let attached = moving.old.run(&["--json", "start", "--foreground"]).expect_code(1).json();
                assert_eq!(attached["code"], "state_exported", "{attached}");
                assert_eq!(moving.old.processes(), []);
            }
            "verify" => assert!(ran.out.contains("head unsigned (its key does not travel)"), "{ran:?}"),
            "import" => {
                assert!(ran.out.contains("note bus key: missing"), "{ran:?}");
                assert!(ran.out.contains("missing: account.key, engine.key, deadman.key"), "{ran:?}");
                assert_eq!(moving.new.processes(), [], "an import leaves it stopped");
            }
            "keys" => {
                assert!(ran.out.contains("pass key files") && !ran.out.contains("note "), "{ran:?}");
                assert!(ran.out.contains(&account), "{ran:?}");
            }
            // The latch may be lifted sooner than a question arrives: the supervisor's own words tell the order.
            "start" => until("a latch, then reconciled books", s(20), || {
                let told = moving.new.run(&["logs", "supervisor", "-n", "1000"]).expect_code(0).out;
                let latched = told.find(ModeReason::ReduceonlyOpenPermissionLatched.as_str())?;
                let reconciled = told.find("clean: true")?;
                assert!(latched < reconciled, "{told}");
                Some(())
            }),
            "look" => {
                assert!(ran.out.contains("open: "), "{ran:?}");
                assert_eq!(format!("{:?}", moving.new.witness().positions()), position, "the venue's own books");
                // The pause travelled, the epoch went up, and the books agree with the venue.
                let doc = moving.new.until("reconciled books", s(40), |doc| !doc.open_permission_blocked_latch);
                assert!(doc.permit.epoch > epoch && !doc.permit.live, "{doc:?}");
                assert!(doc.mode_reasons.contains(&ModeReason::ReduceonlyOperatorPaused), "{doc:?}");
                assert_eq!(moving.new.account(), account);
            }
            "flatten" => {
                assert!(ran.out.contains("PROVEN FLAT"), "{ran:?}");
                assert!(moving.new.books().flat(), "{:?}", moving.new.books());
            }
            _ => {}
        }
    }
    let _ = moving.new.run(&["stop"]).expect_code(0);
    going_back(&moving);
}

/// One more event on the bus of a home in which nothing runs.
fn note_on_bus(home: &Home) {
    let paths = home.paths();
    let options = Options::new([7; 32]);
    let opened = Bus::open(&paths.bus(), &paths.bus_key(), options, Arc::new(|| clock::now().0 / 1_000_000), 1.0);
    let (bus, _) = opened.expect("a bus");
    let event = NewEvent::new("runtime.note", 1.0, &serde_json::json!({"text": "moved with it"})).expect("an event");
    let written = bus.append(vec![event], Durability::Wait).expect("taken").wait(Duration::from_secs(20));
    assert!(written.is_ok(), "{written:?}");
    bus.close();
}

/// The old home opens again only for the id of its bundle; a backup comes back only as a fork.
fn going_back(moving: &Move) {
    let told = moving.old.run(&["--json", "start"]).expect_code(1).json();
    let id = told["next"].as_str().and_then(|next| next.rsplit(' ').next()).expect("an id").to_owned();
    let wrong = moving.old.run(&["--json", "migrate", "reopen", "--i-will-not-use", "something"]).expect_code(1).json();
    assert_eq!(wrong["code"], "other_bundle", "{wrong}");
    let _ = moving.old.run(&["migrate", "reopen", "--i-will-not-use", &id]).expect_code(0);
    let _ = moving.old.run(&["start"]).expect_code(0);
    let _ = moving.old.run(&["stop"]).expect_code(0);
    let short = format!("{}.short", moving.bundle.display());
    let _ = moving.old.run(&["backup", "--to", &short]).expect_code(0);
    let _ = moving.old.run(&["backup", "verify", &short]).expect_code(0);
    for wrong in [&["backup"][..], &["backup", "--logs"], &["backup", "--to", &short, "verify", &short]] {
        let _ = moving.old.run(wrong).expect_code(2);
    }

    let third = Home::new();
    let backup = format!("{}.backup", moving.bundle.display());
    let refused = third.run(&["--json", "backup", "restore", &backup]).expect_code(1).json();
    assert_eq!(refused["code"], "fork_not_accepted", "{refused}");
    let done = third.run(&["--json", "backup", "restore", &backup, "--accept-fork"]).expect_code(0).json();
    assert_eq!(done["ok"], true, "{done}");
    // An imported home that is not as its bundle says does not start.
    let decisions = third.paths().decisions();
    let text = std::fs::read_to_string(&decisions).expect("a journal");
    std::fs::write(&decisions, text.replacen("\"epoch\":1", "\"epoch\":7", 1)).expect("written");
    let refused = third.run(&["--json", "start"]).expect_code(1).json();
    assert_eq!(refused["code"], "import_unchecked", "{refused}");
    assert_eq!(holdfast_tests::tree::processes_of(third.paths().root()), []);
    // As it was again it starts. Its keys stayed behind: the bus is adopted, and that is an event.
    std::fs::write(&decisions, text).expect("written");
    let third = Tree { home: third };
    let started = third.run(&["start", "--wait", "30"]).expect_code(0);
    assert!(started.err.contains("came without its key"), "{started:?}");
    let events = std::fs::read_to_string(third.home.paths().bus().join("events.jsonl")).expect("a bus");
    assert!(events.contains("moved with it") && events.contains("\"event_type\":\"bus.adopted\""), "{events}");
    let _ = third.run(&["stop"]).expect_code(0);
    note_on_bus(&third.home);
}
