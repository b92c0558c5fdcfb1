//! Start, stop, restart and what a person asks in between, with the exit codes of the contract; trades of the engine's
//! own making; recorded markets.

use holdfast_core::ids::Role;
use holdfast_core::registry::{ModeReason, TradingMode};
use holdfast_core::time::Tick;
use holdfast_tests::crew::side_by_side;
use holdfast_tests::home::finish;
use holdfast_tests::tree::{http, lives};
use holdfast_tests::wait::{attempt, now, s, until};
use holdfast_tests::{Home, Tree};
use std::path::{Path, PathBuf};

#[test]
fn a_day_with_the_engine() {
    let home = Home::new();
    // Nothing runs: every question says so, by exit code too.
    for (args, code) in [
        (&["status"][..], 3),
        (&["mode"], 5),
        (&["stop"], 3),
        (&["pause"], 3),
        (&["kill"], 3),
        (&["flatten"], 3),
        (&["heartbeat"], 3),
        (&["resume"], 3),
        (&["no-such-command"], 2),
        (&["stop", "--timeout", "never"], 2),
    ] {
        let ran = home.run(args);
        assert_eq!(ran.code, code, "{args:?} {ran:?}");
    }
    assert!(holdfast_tests::tree::processes_of(home.paths().root()).is_empty());
    // A kill or flatten that found nobody is not forgotten: the next start would obey it. This day begins without.
    std::fs::remove_file(home.paths().kill_file()).expect("the kill was filed");
    std::fs::remove_file(home.paths().pause_file()).expect("the flatten's block on new risk was filed");

    let began = now();
    let started = home.run(&["--json", "start"]).expect_code(0).json();
    let tree = Tree { home };
    assert_eq!((&started["started"], &started["ready"]), (&true.into(), &true.into()), "{started}");
    let pid = started["pid"].as_u64().expect("a pid");
    // A second start starts nothing.
    let again = tree.run(&["--json", "start"]).expect_code(0).json();
    assert_eq!((&again["already_running"], &again["pid"]), (&true.into(), &pid.into()), "{again}");
    assert_eq!(tree.processes().len(), 6, "{:?}", tree.processes());
    let doc = tree.wait_mode(TradingMode::Active, s(30));
    assert!(now().since(began) <= s(30), "Active after {} ms", now().since(began).as_ms());
    assert!(doc.permit.live && doc.mode_reasons.is_empty() && doc.workers.len() == 5, "{doc:?}");
    assert_eq!(tree.run(&["mode"]).code, 0);
    let status = tree.run(&["--json", "status"]).expect_code(0).json();
    assert_eq!(status["schema"], "holdfast.status.v1");
    assert_eq!(status["pid"], pid);
    let cockpit = doc.api.url.strip_prefix("http://").and_then(|a| a.trim_end_matches('/').parse().ok());
    let (code, page) = http(cockpit.expect("an address"), "GET", "/", "");
    assert!(code == 200 && page.contains("<html"), "{code} {page}");

    // Its own decisions: a position opened and one closed, as the venue saw it.
    let traded = |opened: bool| {
        let witness = tree.witness();
        let fills = witness.0.iter().filter(|line| line.kind == "fill" && line.origin.as_deref() == Some("client"));
        let after: Vec<_> = fills.map(|line| line.increased_exposure).collect();
        if opened { after.contains(&true) } else { after.contains(&false) }
    };
    until("a position opened and one closed by itself", s(120), || (traded(true) && traded(false)).then_some(()));
    assert!(now().since(began) <= s(120), "traded after {} ms", now().since(began).as_ms());

    // Pause: at once no permit; resume: by the phrase only.
    let _ = tree.run(&["pause"]).expect_code(0);
    let paused = now();
    let doc = tree.status();
    assert!(!doc.permit.live && doc.mode_reasons.contains(&ModeReason::ReduceonlyOperatorPaused), "{doc:?}");
    assert_eq!(tree.run(&["mode"]).code, 3);
    // Exposure left alone is still managed: positions go to zero by the engine's own closing.
    tree.until("the engine closes its position while paused", s(60), |doc| {
        doc.exposure.known && doc.exposure.positions.is_empty()
    });
    assert!(tree.witness().increases(paused, now()).is_empty(), "new risk while paused");
    let offer = tree.run(&["--json", "resume"]);
    assert_eq!(offer.code, 1, "{offer:?}");
    assert_eq!(tree.run(&["resume", "--confirm", "please"]).code, 1);
    let text = format!("{}{}", offer.out, offer.err);
    let phrase = text.split('\'').nth(1).unwrap_or_else(|| panic!("no phrase in {text}")).to_owned();
    let resumed = tree.run(&["resume", "--confirm", &phrase]);
    assert_eq!(resumed.code, 0, "{resumed:?}");
    tree.wait_mode(TradingMode::Active, s(30));

    let _ = tree.run(&["heartbeat"]).expect_code(0);
    for source in ["supervisor", "sensor", "engine", "api", "deadman", "venue"] {
        let ran = tree.run(&["logs", source, "-n", "5"]).expect_code(0);
        assert!(!ran.out.trim().is_empty(), "{source} wrote nothing: {ran:?}");
    }
    let _ = tree.run(&["doctor"]).expect_code(0);

    // Restart: another supervisor, a higher epoch, nobody left over.
    let before: Vec<(String, u32)> = tree.processes();
    let epoch = tree.status().permit.epoch;
    let _ = finish(tree.home.spawn(&["restart"]), s(60)).expect_code(0);
    for (name, pid) in &before {
        assert!(!lives(*pid), "{name} of the former tree lives");
    }
    let doc = tree.status();
    assert!(u64::from(doc.pid) != pid && doc.permit.epoch > epoch, "{doc:?}");
    tree.wait_mode(TradingMode::Active, s(30));
    assert_eq!(tree.worker(Role::Engine).restarts, 0, "an ordered stop is no death");

    // Stop with exposure: `--flatten` closes it first and proves it.
    tree.wait_exposed();
    let ran = finish(tree.home.spawn(&["stop", "--flatten", "--timeout", "40"]), s(60)).expect_code(0);
    assert!(ran.out.contains("flat"), "{ran:?}");
    assert!(tree.witness().positions().is_empty(), "{:?}", tree.witness().positions());
    assert!(tree.processes().is_empty(), "{:?}", tree.processes());
    assert!(!tree.home.paths().run().join("supervisor.pid").exists());
    let _ = tree.run(&["status", "--json"]).expect_code(3);
}

/// Runs a recorded market; says whether it was taken.
fn play(file: &Path) -> bool {
    let home = Home::new();
    let ran = home.run(&["--json", "start", "--wait", "30", "--market", file.to_str().expect("a path")]);
    let tree = Tree { home };
    if ran.code == 78 || ran.code == 1 {
        // Refused is honest when it says why and left nothing behind.
        let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
        assert_eq!(said["schema"], "holdfast.error.v1", "{said}");
        assert!(
            ["message", "risk", "next"].iter().all(|key| said[*key].as_str().is_some_and(|t| !t.is_empty())),
            "{said}"
        );
        assert!(tree.processes().is_empty(), "refused and running: {ran:?}");
        return false;
    }
    assert_eq!(ran.code, 0, "{}: {ran:?}\n{}", file.display(), tree.logs());
    let fresh = attempt(s(45), || {
        let doc = tree.try_status()?;
        let stale = doc.mode_reasons.contains(&ModeReason::ReduceonlyInputMissingOrStale);
        let up = doc.workers.iter().all(|worker| worker.state == "ready");
        (doc.trading_mode == TradingMode::Active || (up && !stale)).then_some(())
    });
    let doc = tree.status();
    let state = http(tree.venue(), "GET", "/sim/state", "").1;
    if file.to_string_lossy().contains(ONE_INSTANT) {
        // Over before anyone could look: it is said to be stale, and nothing is traded on it.
        let stale = attempt(s(20), || {
            let doc = tree.try_status()?;
            doc.mode_reasons.contains(&ModeReason::ReduceonlyInputMissingOrStale).then_some(())
        });
        assert!(stale.is_some(), "{doc:?}");
        assert!(tree.witness().increases(Tick(0), now()).is_empty(), "traded on a market of one instant");
        return true;
    }
    assert!(fresh.is_some(), "{}: the market was never fresh: {doc:?}\n{state}\n{}", file.display(), tree.logs());
    assert!(doc.workers.iter().all(|worker| worker.restarts == 0), "{}: {doc:?}\n{}", file.display(), tree.logs());
    let _ = tree.run(&["stop"]).expect_code(0);
    true
}

/// Every file below a folder that a person would bring.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_none_or(|ext| ext != "md") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Recordings of a single instant: no market can be fresh after it.
const ONE_INSTANT: &str = "flash";

/// Answers that are no market: accounts, orders, listings.
const NO_MARKET: [&str; 2] = ["not-a-market.json", "fills.json"];

#[test]
fn recorded_markets_are_played_or_refused_with_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let samples = files_below(&root.join("fixtures/market/samples"));
    assert!(samples.len() >= 8, "{samples:?}");
    let cases: Vec<(&str, PathBuf)> = samples
        .iter()
        .map(|path| (path.file_name().and_then(|name| name.to_str()).expect("a name"), path.clone()))
        .collect();
    side_by_side(&cases, 4, |name, path| {
        let taken = play(path);
        // Fills are trades of one account: whoever plays them plays prices, so both answers are honest.
        assert!(taken || NO_MARKET.contains(&name), "{name} was refused");
        assert!(!taken || name != "not-a-market.json", "{name} was played");
    });

    let shared = root.join("../shared/market-data");
    if !shared.is_dir() {
        eprintln!("SKIPPED: ../shared not present");
        return;
    }
    let found = files_below(&shared);
    let cases: Vec<(&str, PathBuf)> = found
        .iter()
        .map(|path| (path.file_name().and_then(|name| name.to_str()).expect("a name"), path.clone()))
        .collect();
    side_by_side(&cases, 4, |name, path| {
        let taken = play(path);
        let market = ["ftx", "binance", "hyperliquid-ws", "l2Book", "candle"].iter().any(|part| name.contains(part));
        assert!(taken || !market, "{name} was refused");
    });
}
