//! Bundles over real files: what travels, what refuses, and that every changed byte is found.

use super::*;
use crate::Cell;
use crate::bus::{Adopted, Bus, Durability, HeadVerdict, NewEvent, Options};
use crate::journal::{Entry, Journal, SEGMENT_BYTES};
use crate::ledger::{Event, Ledger, PositionOpened, Reader, Record};
use holdfast_core::durable::Durable;
use holdfast_core::duty::Duty;
use holdfast_core::ids::{Epoch, Generation};
use holdfast_core::kill::{KillCause, KillLatch};
use holdfast_core::report::JobKind;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// A home with a little of everything.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let this = Self { dir: tempfile::tempdir().unwrap() };
        for room in ["data/bus", "keys", "venue", "reports", "run"] {
            fs::create_dir_all(this.home(room)).unwrap();
        }
        let (mut cell, _) = Cell::<Durable>::open(&this.home("data/judge.cell")).unwrap();
        cell.store(&Durable { epoch: Epoch(17), paused_since_wall_ms: Some(5), ..Durable::fresh() }).unwrap();
        let (mut cell, _) = Cell::<Duty>::open(&this.home("data/deadman.cell")).unwrap();
        cell.store(&Duty::default()).unwrap();
        let mut journal = Journal::open(&this.home("data/decisions.jsonl"), SEGMENT_BYTES, 1).unwrap();
        for generation in 1..4 {
            journal.append(1, &Entry::Started { epoch: Epoch(17), generation: Generation(generation) }).unwrap();
        }
        let ledger = Ledger::open(&this.home("data/holdfast.sqlite")).unwrap();
        let position = PositionOpened {
            opened_ms: 10,
            venue: "braiins".into(),
            description: "canary".into(),
            expected_maturity_ms: None,
            payload_json: "{}".into(),
        };
        ledger.wait(1, vec![Record::PositionOpened(position)], SOON).unwrap();
        this.bus(2).close();
        this.write("venue/books.json", "{\"seq\":4}");
        this.write("reports/run-1.md", &format!("config_sha256: {}\n", "ab".repeat(32)));
        this.write("reports/ACTIVE_WATCH.json", "{}");
        this.write("config.toml", "profile = \"paper\"\n");
        this.write("keys/engine.key", &"7f".repeat(32));
        this.write("run/supervisor.pid", "4242");
        this.write("run/KILL", "storm");
        this
    }

    fn home(&self, name: &str) -> PathBuf {
        self.dir.path().join("home").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.home(name), text).unwrap();
    }

    /// The home's bus, open, with so many more events.
    fn bus(&self, events: u32) -> Bus {
        let (folder, key) = (self.home("data/bus"), self.home("keys/bus.key"));
        let (bus, _) = Bus::open(&folder, &key, Options::new([7; 32]), Arc::new(|| 0), 1.0).unwrap();
        for n in 0..events {
            let event = NewEvent::new("runtime.note", 1.0, &serde_json::json!({"n": n})).unwrap();
            bus.append(vec![event], Durability::Wait).unwrap().wait(SOON).unwrap();
        }
        bus
    }

    fn bundle(&self) -> PathBuf {
        self.dir.path().join("bundle")
    }

    fn source(&self) -> Source {
        let part = |path: &str, what| Part { path: self.home(path), what };
        Source {
            root: self.dir.path().join("home"),
            parts: vec![
                part("venue/books.json", What::File),
                part("venue/absent.json", What::File),
                part("data/deadman.cell", What::Cell),
                part("data/judge.cell", What::Cell),
                part("data/decisions.jsonl", What::Journal),
                part("data/bus", What::Bus),
                part("data/holdfast.sqlite", What::Ledger),
                part("reports", What::Tree),
                part("config.toml", What::File),
            ],
            skipped: vec!["ACTIVE_WATCH.json".into(), "reserve".into()],
            secrets: vec![self.home("keys/engine.key"), self.home("keys/bus.key")],
            config: self.home("config.toml"),
            orders: vec![(Filed::Kill, self.home("run/KILL")), (Filed::Pause, self.home("run/PAUSE"))],
        }
    }

    fn create(&self, kind: Kind) -> Result<Manifest, BundleError> {
        create(&self.source(), &self.bundle(), origin(kind), |_| Ok(()))
    }

    fn import(&self, accept_fork: bool) -> Result<Import, BundleError> {
        let terms = Terms {
            accept_fork,
            at_ms: 9_000,
            record: Path::new("data/import.json"),
            rooms: &[Path::new("keys"), Path::new("run")],
            orders: &[(Filed::Kill, Path::new("run/KILL")), (Filed::Pause, Path::new("run/PAUSE"))],
        };
        import(&self.bundle(), &self.dir.path().join("new"), terms)
    }
}

fn origin(kind: Kind) -> Origin {
    Origin {
        bundle: "b1".repeat(16),
        kind,
        tool: "0.1.0".into(),
        host: "old".into(),
        profile: "paper".into(),
        created_ms: 8_000,
        created_utc: "1970-01-01T00:00:08+00:00".into(),
        account: Some(format!("0x{}", "5f".repeat(20))),
    }
}

/// Every file below a folder with its bytes.
fn picture(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let all = files::below(folder).unwrap();
    all.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn what_travels_arrives_and_what_must_stay_stays() {
    let place = Place::new();
    let before = picture(&place.home("venue"));
    let made = place.create(Kind::Migrate).unwrap();
    let names: Vec<&str> = made.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(
        names,
        [
            "config.toml",
            "data/bus/events.jsonl",
            "data/bus/head.json",
            "data/deadman.cell",
            "data/decisions.jsonl",
            "data/holdfast.sqlite",
            "data/judge.cell",
            "reports/run-1.md",
            "venue/books.json"
        ]
    );
    assert_eq!((made.epoch, made.latches.as_slice()), (Some(17), &["pause".to_owned()][..]));
    let bus = made.bus.clone().unwrap();
    assert_eq!((bus.count, bus.head), (2, HeadVerdict::Unsigned), "its key does not travel");
    assert_eq!(made.journals["data/decisions.jsonl"].count, 3);
    assert_eq!(made.ledger.positions[0].description, "canary");
    assert_eq!(verify(&place.bundle()).unwrap(), made);
    let text = String::from_utf8(fs::read(place.bundle().join("SHA256SUMS")).unwrap()).unwrap();
    assert_eq!(text.lines().count(), names.len() + 1);
    for (path, _) in picture(&place.bundle()) {
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{}", path.display());
    }
    assert_eq!(picture(&place.home("venue")), before);
    // In: one epoch above, the record beside it, everything else as it was.
    let import = place.import(false).unwrap();
    let new = place.dir.path().join("new");
    assert_eq!(import.epoch, Some(18));
    let (_, durable) = Cell::<Durable>::open(&new.join("data/judge.cell")).unwrap();
    let durable = durable.unwrap();
    assert_eq!((durable.epoch, durable.paused_since_wall_ms), (Epoch(18), Some(5)));
    assert_eq!(fs::read(new.join("venue/books.json")).unwrap(), b"{\"seq\":4}");
    assert_eq!(fs::metadata(new.join("keys")).unwrap().mode() & 0o777, 0o700);
    assert_eq!(
        fs::metadata(new.join("venue/books.json")).unwrap().mtime(),
        fs::metadata(place.home("venue/books.json")).unwrap().mtime()
    );
    assert_eq!((new.join("run/KILL").exists(), new.join("run/PAUSE").exists()), (true, false), "an order waits on");
    let list = |now| check(&new, &new.join("data/holdfast.sqlite"), &import, &[], &[], now);
    let failed = |items: Vec<Item>| -> Vec<&str> {
        items.into_iter().filter(|item| item.outcome == Outcome::Fail).map(|item| item.name).collect()
    };
    assert_eq!(failed(list(9_000)), Vec::<&str>::new(), "{:?}", list(9_000));
    assert_eq!(failed(list(2_000)), ["clock"]);
    fs::write(new.join("reports/run-1.md"), "other").unwrap();
    assert_eq!(failed(list(9_000)), ["files"]);
    assert_eq!(pending(&new.join("data/import.json")).unwrap(), Some(import.clone()));
    finish(&new.join("data/import.json"), &import).unwrap();
    assert_eq!(pending(&new.join("data/import.json")).unwrap(), None);
    // What was imported is one state with what it came from, and a ledger that can be written.
    let name = Reader::open(&new.join("data/holdfast.sqlite")).unwrap().meta().unwrap().state_dir;
    assert_eq!(name, made.ledger.state_dir);
    drop(Ledger::open(&new.join("data/holdfast.sqlite")).unwrap());
    assert!(matches!(place.import(false), Err(BundleError::Occupied { .. })), "over a home that is there");
}

#[test]
fn what_deadman_owes_travels_and_is_told_as_the_next_start_will_take_it() {
    let kill = KillLatch::new(7, KillCause::Operator, Some("door"), JobKind::CancelAll);
    let owes = |job| Some(Duty { job: Some(job), ..Duty::default() });
    let cases = [
        ("nothing", Some(Duty::default()), vec!["pause"]),
        ("a cancel begun", owes(JobKind::CancelAll), vec!["pause", "owed (cancel_all)"]),
        ("a flatten begun", owes(JobKind::Flatten), vec!["pause", "owed (flatten)"]),
        ("a kill at its door", Some(Duty { kill: Some(kill), ..Duty::default() }), vec!["kill (cancel_all)", "pause"]),
        ("no record in a used home", None, vec!["kill (flatten)", "pause", "owed (flatten)"]),
    ];
    for (name, duty, latches) in cases {
        let place = Place::new();
        let path = place.home("data/deadman.cell");
        fs::remove_file(&path).unwrap();
        if let Some(duty) = &duty {
            Cell::open(&path).unwrap().0.store(duty).unwrap();
        }
        assert_eq!(place.create(Kind::Migrate).unwrap().latches, latches, "{name}");
        place.import(false).unwrap();
        let arrived = place.dir.path().join("new/data/deadman.cell");
        assert_eq!(arrived.exists(), duty.is_some(), "{name}");
        assert_eq!(Cell::<Duty>::open(&arrived).unwrap().1, duty, "{name}: for the next start to take over");
    }
}

#[test]
fn an_imported_bus_opens_with_its_own_key_or_is_adopted_on_the_record() {
    for key_comes_along in [false, true] {
        let place = Place::new();
        let told = place.create(Kind::Migrate).unwrap().bus.unwrap();
        let import = place.import(false).unwrap();
        let new = place.dir.path().join("new");
        let (folder, key) = (new.join("data/bus"), new.join("keys/bus.key"));
        if key_comes_along {
            fs::copy(place.home("keys/bus.key"), &key).unwrap();
        }
        let open = || Bus::open(&folder, &key, Options::new([8; 32]), Arc::new(|| 0), 2.0);
        assert_eq!(open().map(|(bus, _)| bus.close()).is_ok(), key_comes_along);
        let adopt = || adopt_bus(&folder, &key, [9; 32], &import, 9_000).unwrap();
        assert_eq!(adopt(), if key_comes_along { Adopted::Needless } else { Adopted::Anew });
        assert_eq!(adopt(), Adopted::Needless, "once");
        let items = check(&new, &new.join("data/holdfast.sqlite"), &import, &[], &[], 9_000);
        let failed: Vec<&Item> = items.iter().filter(|item| item.outcome == Outcome::Fail).collect();
        assert!(failed.is_empty(), "a start that came no further may be tried again: {failed:?}");
        let (bus, opened) = open().unwrap();
        assert_eq!(opened.events, told.count + u64::from(!key_comes_along));
        assert_eq!(Some(opened.bus_id), told.bus_id, "anchors kept elsewhere still name it");
        bus.close();
        // Another log in its place does not pass.
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::remove_file(&key).unwrap();
        open().unwrap().0.close();
        let items = check(&new, &new.join("data/holdfast.sqlite"), &import, &[], &[], 9_000);
        assert!(items.iter().any(|item| item.name == "runtime bus" && item.outcome == Outcome::Fail), "{items:?}");
    }
}

#[test]
fn a_copy_of_what_is_being_written_is_whole_every_time() {
    let place = Place::new();
    let over = std::sync::atomic::AtomicBool::new(false);
    let go_on = || !over.load(std::sync::atomic::Ordering::SeqCst);
    let mut grown = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut journal = Journal::open(&place.home("data/decisions.jsonl"), SEGMENT_BYTES, 1).unwrap();
            while go_on() {
                journal.append(1, &Entry::Started { epoch: Epoch(17), generation: Generation(9) }).unwrap();
            }
        });
        scope.spawn(|| {
            while go_on() {
                place.bus(50).close();
            }
        });
        scope.spawn(|| {
            let ledger = Ledger::open(&place.home("data/holdfast.sqlite")).unwrap();
            while go_on() {
                let event = Event { at_ms: 1, event_type: "e".into(), payload_json: "{}".into() };
                ledger.wait(1, vec![Record::Event(event)], SOON).unwrap();
            }
        });
        scope.spawn(|| {
            let (mut cell, durable) = Cell::<Durable>::open(&place.home("data/judge.cell")).unwrap();
            let mut durable = durable.unwrap();
            while go_on() {
                durable.epoch = durable.epoch.next();
                cell.store(&durable).unwrap();
            }
        });
        for round in 0..6 {
            let target = place.dir.path().join(format!("bundle-{round}"));
            let made = create(&place.source(), &target, origin(Kind::Backup), |_| Ok(()));
            let whole = made.and_then(|made| verify(&target).map(|found| (made, found)));
            if round == 5 || whole.is_err() {
                over.store(true, std::sync::atomic::Ordering::SeqCst);
            }
            let (made, found) = whole.unwrap();
            assert_eq!(made, found);
            grown.push((
                made.journals["data/decisions.jsonl"].count,
                made.bus.unwrap().count,
                made.ledger.events.count,
                made.epoch,
            ));
        }
    });
    assert!(grown.first() < grown.last() && grown.is_sorted(), "nothing was written meanwhile: {grown:?}");
}

#[test]
fn a_backup_is_a_fork_and_goes_on_above_whatever_its_source_does() {
    let place = Place::new();
    place.create(Kind::Backup).unwrap();
    assert!(matches!(place.import(false), Err(BundleError::Fork { .. })));
    assert_eq!(place.import(true).unwrap().epoch, Some(9_000));
}

#[test]
fn a_secret_in_any_part_refuses_the_bundle_by_file_and_line_and_leaves_nothing() {
    let own = "7f".repeat(32);
    for (name, text, line) in [
        ("config.toml", format!("profile = \"paper\"\n# {own}\n"), 2),
        ("reports/run-1.md", format!("x\n\nhash: {own}\n"), 3),
        ("venue/books.json", "{\"k\":\"-----BEGIN PRIVATE KEY-----\"}".to_owned(), 1),
    ] {
        let place = Place::new();
        place.write(name, &text);
        let error = place.create(Kind::Backup).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, BundleError::Secret { line: l, .. } if l == line), "{said}");
        assert!(said.contains(name) && !said.contains(&own), "{said}");
        let left: Vec<_> = fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["home"], "something was left behind");
    }
    // In the ledger too.
    let place = Place::new();
    let position = PositionOpened {
        opened_ms: 1,
        venue: "v".into(),
        description: format!("pasted {own}"),
        expected_maturity_ms: None,
        payload_json: "{}".into(),
    };
    let ledger = Ledger::open(&place.home("data/holdfast.sqlite")).unwrap();
    ledger.wait(1, vec![Record::PositionOpened(position)], SOON).unwrap();
    drop(ledger);
    assert!(matches!(place.create(Kind::Backup), Err(BundleError::Secret { .. })));
}

#[test]
fn a_bundle_appears_whole_or_not_at_all_and_over_nothing() {
    let place = Place::new();
    let inside = create(&place.source(), &place.home("reports/b"), origin(Kind::Backup), |_| Ok(()));
    assert!(matches!(inside, Err(BundleError::Inside { .. })));
    let failing = |_: &Manifest| Err(BundleError::Occupied { path: "mark".into() });
    assert!(create(&place.source(), &place.bundle(), origin(Kind::Migrate), failing).is_err());
    assert!(!place.bundle().exists());
    fs::create_dir(place.bundle()).unwrap();
    fs::write(place.bundle().join("mine"), "x").unwrap();
    assert!(matches!(place.create(Kind::Backup), Err(BundleError::Occupied { .. })));
    fs::remove_file(place.bundle().join("mine")).unwrap();
    place.create(Kind::Backup).unwrap();
    symlink(place.home("config.toml"), place.home("reports/link.md")).unwrap();
    fs::remove_dir_all(place.bundle()).unwrap();
    assert!(matches!(place.create(Kind::Backup), Err(BundleError::Bad { .. })), "a link leads elsewhere");
}

#[test]
fn every_changed_added_or_missing_byte_is_found_by_file() {
    let place = Place::new();
    let manifest = place.create(Kind::Migrate).unwrap();
    let bundle = place.bundle();
    let good = picture(&bundle);
    let all = manifest.files.iter().map(|file| file.path.as_str()).chain(["manifest.json", "SHA256SUMS"]);
    for name in all {
        let path = bundle.join(name);
        let bytes = fs::read(&path).unwrap();
        let third = bytes.len() / 3;
        let flipped = |at: usize| bytes.iter().enumerate().map(|(n, b)| if n == at { b ^ 1 } else { *b }).collect();
        let changes: [Vec<u8>; 5] = [
            flipped(0),
            flipped(third),
            flipped(bytes.len() - 1),
            bytes[..third].to_vec(),
            [&bytes[..], b"\n"].concat(),
        ];
        for (number, change) in changes.iter().enumerate() {
            fs::write(&path, change).unwrap();
            let error = verify(&bundle).expect_err(name).to_string();
            // A list that was changed accuses the file whose line it is.
            assert!(name == "SHA256SUMS" || error.contains(name), "{name}, change {number}: {error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(verify(&bundle).is_err(), "{name} is missing");
        fs::write(&path, &bytes).unwrap();
    }
    // A bad line of the journal is told by its byte.
    let path = bundle.join("data/decisions.jsonl");
    let bytes = fs::read(&path).unwrap();
    let second = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    let mut changed = bytes.clone();
    changed[second + 20] ^= 1;
    fs::write(&path, changed).unwrap();
    assert!(verify(&bundle).unwrap_err().to_string().contains(&format!("byte {second}")));
    fs::write(&path, &bytes).unwrap();
    fs::write(bundle.join("reports/extra.md"), "x").unwrap();
    assert!(verify(&bundle).unwrap_err().to_string().contains("not listed"));
    fs::remove_file(bundle.join("reports/extra.md")).unwrap();
    let config = bundle.join("config.toml");
    fs::remove_file(&config).unwrap();
    symlink(place.home("config.toml"), &config).unwrap();
    assert!(verify(&bundle).is_err(), "a link with the right bytes behind it");
    fs::remove_file(&config).unwrap();
    fs::write(&config, "profile = \"paper\"\n").unwrap();
    assert_eq!(verify(&bundle).unwrap(), manifest);
    assert_eq!(picture(&bundle), good, "looking changed something");
}

/// Rewrites the manifest and the list that covers it, as somebody would who wants to be believed.
fn forge(bundle: &Path, change: impl Fn(&mut serde_json::Value), sums: impl Fn(String) -> String) {
    let path = bundle.join("manifest.json");
    let old = files::measure(&path).unwrap().1;
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let new = files::measure(&path).unwrap().1;
    let list = bundle.join("SHA256SUMS");
    fs::write(&list, sums(fs::read_to_string(&list).unwrap().replace(&old, &new))).unwrap();
}

#[test]
fn a_manifest_that_lies_leads_nowhere() {
    let outside = |path: &'static str| {
        move |bundle: &Path| {
            forge(
                bundle,
                |manifest| manifest["files"][0]["path"] = path.into(),
                |sums| sums.replace("  config.toml\n", &format!("  {path}\n")),
            );
        }
    };
    type Forgery = Box<dyn Fn(&Path)>;
    let claim = |pointer: &'static str, value: serde_json::Value| -> Forgery {
        Box::new(move |bundle: &Path| {
            forge(bundle, |manifest| *manifest.pointer_mut(pointer).unwrap() = value.clone(), |sums| sums);
        })
    };
    let forgeries: Vec<(&str, Forgery, &str)> = vec![
        ("climbs out", Box::new(outside("../config.toml")), "leads out"),
        ("is absolute", Box::new(outside("/etc/passwd")), "leads out"),
        ("climbs out inside", Box::new(outside("data/../../x")), "leads out"),
        ("brings keys", Box::new(outside("keys/engine.key")), "never travels"),
        ("brings a KILL", Box::new(outside("run/KILL")), "never travels"),
        ("claims another epoch", claim("/epoch", 3.into()), "the epoch"),
        ("claims no latch", claim("/latches", serde_json::json!([])), "the latches"),
        ("claims fewer rows", claim("/ledger/tables/manual_positions/rows", 0.into()), "the ledger"),
        ("claims another chain", claim("/journals/data~1decisions.jsonl/count", 9.into()), "the journals"),
        ("is newer", claim("/schema", "holdfast.bundle.v2".into()), "newer version"),
        ("says more than it may", claim("/kind", "gift".into()), "unknown variant"),
    ];
    for (name, forgery, said) in forgeries {
        let place = Place::new();
        place.create(Kind::Migrate).unwrap();
        forgery(&place.bundle());
        let error = place.import(false).expect_err(name).to_string();
        assert!(error.contains(said), "{name}: {error}");
        assert!(!place.dir.path().join("new").exists(), "{name}");
    }
}

#[test]
fn the_mark_of_an_export_is_in_two_places_and_only_its_bundle_takes_it_off() {
    let place = Place::new();
    let (marker, ledger) = (place.home("data/EXPORTED"), place.home("data/holdfast.sqlite"));
    assert_eq!(marked(&marker, &ledger).unwrap(), None);
    let exported = Exported { bundle: "b1".into(), exported_ms: 7 };
    mark(&marker, &ledger, &exported).unwrap();
    assert_eq!(marked(&marker, &ledger).unwrap().as_ref(), Some(&exported));
    assert!(matches!(unmark(&marker, &ledger, "b2", 9), Err(BundleError::OtherBundle { .. })));
    // The ledger alone is enough, and so is the file.
    fs::rename(&marker, place.home("data/aside")).unwrap();
    assert_eq!(marked(&marker, &ledger).unwrap().map(|exported| exported.bundle).as_deref(), Some("b1"));
    fs::rename(place.home("data/aside"), &marker).unwrap();
    fs::rename(&ledger, place.home("data/ledger")).unwrap();
    fs::write(&ledger, "not a database at all").unwrap();
    assert_eq!(marked(&marker, &ledger).unwrap().as_ref(), Some(&exported));
    // One that cannot be understood is one.
    fs::write(&marker, "{").unwrap();
    assert_eq!(marked(&marker, &ledger).unwrap().map(|exported| exported.bundle).as_deref(), Some("unknown"));
    fs::rename(place.home("data/ledger"), &ledger).unwrap();
    fs::remove_file(&marker).unwrap();
    unmark(&marker, &ledger, "b1", 9).unwrap();
    assert_eq!(marked(&marker, &ledger).unwrap(), None);
}
