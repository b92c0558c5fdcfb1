//! What was acknowledged survives a kill; damage refuses to start; a full disk stops opening and nothing else.

use crate::support::{AGENT, Api, Key, MAIN, Running, block_on, config, fresh, http, nonce, prepare, witness};
use holdfast_paper_venue::{PaperError, serve};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const CHILD: &str = "HOLDFAST_TEST_PAPER_HOME";

/// Not a test: the process that the next one kills.
#[test]
fn child_venue() {
    let Some(home) = std::env::var_os(CHILD) else { return };
    let ready = |addr: std::net::SocketAddr| println!("\nLISTENING {addr}");
    let mut config = config(Path::new(&home), 0);
    // By hand, to see what an idle venue costs at the market's own speed.
    if std::env::var_os("HOLDFAST_TEST_OWN_SPEED").is_some() {
        config.speed = None;
    }
    block_on(serve(config, ready, std::future::pending(), || ())).unwrap();
}

fn spawn(home: &Path) -> (Child, Api) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["books::child_venue", "--exact", "--nocapture"])
        .env(CHILD, home)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let addr = lines.map_while(Result::ok).find_map(|l| l.strip_prefix("LISTENING ").map(|a| a.parse().unwrap()));
    (child, Api { addr: addr.expect("the child did not start") })
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    prepare(home.path());
    let (agent, main) = (Key::new(AGENT), Key::new(MAIN).address());
    let mut oids = Vec::new();
    let used = nonce();
    for round in 1..=3_u32 {
        let (mut child, api) = spawn(home.path());
        let open = api.info(json!({"type": "openOrders", "user": main}));
        let have: Vec<u64> = open.as_array().unwrap().iter().map(|o| o["oid"].as_u64().unwrap()).collect();
        assert_eq!(have, oids, "round {round}");
        if round > 1 {
            let (_, text) = http(api.addr, "POST", "/exchange", &agent.body(r#"{"type":"noop"}"#, used, None)).unwrap();
            assert!(text.contains("duplicate"), "nonces survive: {text}");
        } else {
            http(api.addr, "POST", "/exchange", &agent.body(r#"{"type":"noop"}"#, used, None)).unwrap();
        }
        assert_eq!(api.ioc(&agent, true, "0.01", false)["filled"]["totalSz"], "0.01");
        assert_eq!(api.szi(&main, "BTC", ""), format!("0.0{round}"));
        oids.push(api.rest(&agent, None)["resting"]["oid"].as_u64().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // A line torn by the kill was never acknowledged: it is cut off, and the rest counts.
    let journal = home.path().join("venue/books.jsonl");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes.extend_from_slice(br#"{"seq":99,"next_oi"#);
    std::fs::write(&journal, &bytes).unwrap();
    let lines = witness(home.path()).len();
    let orders = home.path().join("venue/orders.jsonl");
    let mut bytes = std::fs::read(&orders).unwrap();
    bytes.extend_from_slice(br#"{"boot_ns":12"#);
    std::fs::write(&orders, &bytes).unwrap();
    let venue = Running::start(home.path());
    assert_eq!(venue.api.szi(&main, "BTC", ""), "0.03");
    assert_eq!(witness(home.path()).len(), lines);
    venue.stop();
    let venue = Running::start(home.path());
    assert_eq!(venue.api.szi(&main, "BTC", ""), "0.03", "after an orderly end too");
    let state = venue.api.info(json!({"type": "userFills", "user": main}));
    assert_eq!(state.as_array().unwrap().len(), 3);
    venue.stop();
}

#[test]
fn damaged_books_refuse_to_start() {
    for (file, text) in [
        ("books.json", "{"),
        ("books.jsonl", "garbage\n"),
        ("books.jsonl", "{\"seq\":1}\n"),
        ("account.json", "{\"account\":\"0x12\"}"),
    ] {
        let home = tempfile::tempdir().unwrap();
        prepare(home.path());
        std::fs::write(home.path().join("venue").join(file), text).unwrap();
        let ended = block_on(serve(config(home.path(), 0), |_| panic!("started"), std::future::pending(), || ()));
        let error = ended.unwrap_err();
        assert!(matches!(error, PaperError::Books(_) | PaperError::Account { .. }), "{file}: {error}");
        assert!(error.to_string().contains(file), "{error}");
    }
    // A change missing in the middle.
    let (home, venue) = fresh();
    for _ in 0..3 {
        venue.api.rest(&Key::new(AGENT), None);
    }
    let journal = home.path().join("venue/books.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    drop(venue);
    let other = tempfile::tempdir().unwrap();
    prepare(other.path());
    let kept: Vec<&str> = text.lines().enumerate().filter(|(at, _)| *at != 1).map(|(_, l)| l).collect();
    std::fs::write(other.path().join("venue/books.jsonl"), kept.join("\n") + "\n").unwrap();
    let ended = block_on(serve(config(other.path(), 0), |_| panic!("started"), std::future::pending(), || ()));
    assert!(ended.unwrap_err().to_string().contains("missing"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_opening_and_nothing_else() {
    let (home, venue) = fresh();
    let agent = Key::new(AGENT);
    assert!(venue.api.ioc(&agent, true, "0.01", false)["filled"].is_object());
    let oid = venue.api.rest(&agent, None)["resting"]["oid"].as_u64().unwrap();
    assert!(!witness(home.path()).is_empty());
    venue.stop();
    // From now on every write to the witness fails for want of space.
    let path = home.path().join("venue/orders.jsonl");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let venue = Running::start(home.path());
    let api = &venue.api;
    let cancel = format!(r#"{{"type":"cancel","cancels":[{{"a":0,"o":{oid}}}]}}"#);
    assert_eq!(api.act(&agent, &cancel)["response"]["data"]["statuses"][0], "success");
    let px = (api.touch("BTC").1 * 1.02).floor();
    let open = format!(
        r#"{{"type":"order","orders":[{{"a":0,"b":true,"p":"{px}","s":"0.01","r":false,"t":{{"limit":{{"tif":"Ioc"}}}}}}],"grouping":"na"}}"#
    );
    assert_eq!(http(api.addr, "POST", "/exchange", &agent.body(&open, nonce(), None)).unwrap().0, 503);
    assert_eq!(api.ioc(&agent, false, "0.01", true)["filled"]["totalSz"], "0.01", "closing goes on");
    let state = api.json("GET", "/sim/state", &json!(null));
    assert!(state["witness"]["lost"].as_u64().unwrap() >= 2 && state["witness"]["healthy"] == false, "{state}");
    // Room again: the first order that asks for it gets through.
    std::fs::remove_file(&path).unwrap();
    venue.stop();
    let venue = Running::start(home.path());
    assert!(venue.api.ioc(&agent, true, "0.01", false)["filled"].is_object());
    venue.stop();
}
