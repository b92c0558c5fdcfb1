//! Noise at every door: the supervisor never dies of it, nobody opens risk by it, and kill goes through.

use holdfast_core::ids::{Epoch, Generation, Role};
use holdfast_core::permit::PermitKey;
use holdfast_core::registry::TradingMode;
use holdfast_core::status::StatusDoc;
use holdfast_core::time::Span;
use holdfast_ipc::bootstrap::{Bootstrap, PROTOCOL, PermitHandover, Token};
use holdfast_ipc::clock;
use holdfast_ipc::feed::Subscribe;
use holdfast_ipc::message::{FromWorker, Hello};
use holdfast_ipc::settings::Settings;
use holdfast_tests::home::finish;
use holdfast_tests::raw::{Heard, ask, connect, frame, hear, message, say};
use holdfast_tests::tree::{http, http_with};
use holdfast_tests::wait::{now, pause, s, throughout};
use holdfast_tests::{Home, Tree, engine};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Most descriptors any process of ours may have open in the middle of a flood.
const DESCRIPTORS_MAX: usize = 300;
/// Most memory any process of ours may take in the middle of a flood, in KiB. A debug build.
const RESIDENT_KIB_MAX: u64 = 200 * 1024;

fn sockets(tree: &Tree) -> Vec<PathBuf> {
    let paths = tree.home.paths();
    let all = [
        paths.worker_sock(),
        paths.control_sock(),
        paths.status_sock(),
        paths.sensor_sock(),
        paths.engine_sock(),
        paths.deadman_sock(),
    ];
    all.to_vec()
}

fn api(tree: &Tree) -> SocketAddr {
    tree.status().api.url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// Pids and restarts: unchanged means that nobody died.
fn lives(doc: &StatusDoc) -> Vec<(u32, Option<u32>, u32)> {
    doc.workers.iter().map(|w| (doc.pid, w.pid, w.restarts)).collect()
}

fn bounded(tree: &Tree) {
    for (name, pid) in tree.processes() {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        assert!(open <= DESCRIPTORS_MAX, "{name} has {open} descriptors open");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = resident.map_or(0, |text| text.trim().trim_end_matches(" kB").parse().unwrap());
        assert!(kib <= RESIDENT_KIB_MAX, "{name} takes {kib} KiB");
    }
}

/// Bytes nobody who means well would send.
fn noise() -> Vec<Vec<u8>> {
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let mut all = vec![
        Vec::new(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 4096],
        vec![0; 4096],
        0xffff_ffff_u32.to_be_bytes().to_vec(),
        [&0xffff_ffff_u32.to_be_bytes()[..], &[b'x'; 70_000]].concat(),
        frame(&vec![b'x'; 300 * 1024]),
        frame(&vec![b' '; 256 * 1024]),
        frame(b"not json"),
        frame(b"{}"),
        frame(b"null"),
        frame(b"\"status\""),
        frame(b""),
        frame(&deep),
        frame(b"{\"beat\":{\"seq\":1,\"progress\":1,\"sent\":1}}"),
        frame(b"{\"kill\":{\"flatten\":true,\"reason\":null,\"extra\":1}}"),
        frame(b"{\"resume\":{\"confirm\":1}}"),
        frame(b"{\"kill\":{}}{\"kill\":{}}"),
        frame("{\"ké\u{0}y\":\"\u{202e}\"}".as_bytes()),
        frame(&[0xc3, 0x28, 0xff]),
    ];
    // Half of a frame that begins well.
    all.push(frame(b"{\"status\":{}}")[..9].to_vec());
    all
}

#[test]
fn noise_on_every_socket_kills_nobody() {
    let tree = Tree::start_in(Home::busy());
    tree.wait_mode(TradingMode::Active, s(60));
    let before = lives(&tree.status());
    let kill_before = tree.status().kill.active;
    for path in sockets(&tree) {
        let mut held = Vec::new();
        for bytes in noise() {
            let mut stream = connect(&path);
            say(&mut stream, &bytes);
            // Half of them leave at once, the others stay and are thrown out.
            let mut second = connect(&path);
            say(&mut second, &bytes);
            drop(stream);
            held.push(second);
        }
        for _ in 0..300 {
            drop(UnixStream::connect(&path));
        }
        // What nobody should have answered or kept is closed within the doors' own deadlines.
        for stream in &mut held {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(12)));
            let mut rest = Vec::new();
            let end = stream.take(1 << 22).read_to_end(&mut rest);
            let timed_out = end.is_err_and(|e| matches!(e.kind(), std::io::ErrorKind::WouldBlock));
            assert!(!timed_out, "{} keeps a connection that says nothing", path.display());
        }
        assert_eq!(lives(&tree.status()), before, "after noise on {}", path.display());
        bounded(&tree);
    }
    assert_eq!(tree.status().kill.active, kill_before, "nothing of it was taken for a command");
    tree.wait_mode(TradingMode::Active, s(60));
    assert_eq!(lives(&tree.status()), before);
}

/// Opens connections without end, says a little on some and nothing on most, until told to stop.
fn flood(path: PathBuf, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<usize> {
    std::thread::spawn(move || {
        let (mut held, mut opened) = (std::collections::VecDeque::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            if let Ok(mut stream) = UnixStream::connect(&path) {
                let _ = stream.set_write_timeout(Some(Duration::from_millis(50)));
                if opened % 3 == 0 {
                    // A slow writer: one byte of a length.
                    let _ = stream.write_all(&[0]);
                }
                held.push_back(stream);
                opened += 1;
            }
            if held.len() > 400 {
                held.pop_front();
            }
            pause(1);
        }
        opened
    })
}

#[test]
fn in_a_flood_status_answers_and_kill_ends_flat() {
    let tree = Tree::start_in(Home::busy());
    tree.wait_mode(TradingMode::Active, s(60));
    tree.fault(r#"{"kind":"foreign_position","coin":"BTC","value":"0.02"}"#);
    let before = lives(&tree.status());
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = sockets(&tree).into_iter().map(|path| flood(path, stop.clone())).collect();
    let begun = now();
    throughout("a supervisor and workers that live, bounded", s(8), || {
        bounded(&tree);
        let asked = now();
        let ran = tree.run(&["--json", "status"]);
        let took = now().since(asked);
        assert!(ran.code == 0 && took <= Span::from_ms(1500), "status: {} ms, {ran:?}", took.as_ms());
        lives(&serde_json::from_str(&ran.out).unwrap()) == before
    });
    let ran = finish(tree.home.spawn(&["--json", "kill"]), s(30));
    assert_eq!(ran.code, 0, "{ran:?}\n{}", tree.logs());
    let verdict: serde_json::Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    assert_eq!((&verdict["flat"], &verdict["by"]), (&true.into(), &"supervisor".into()), "{ran:?}");
    let killed = now();
    stop.store(true, Ordering::Relaxed);
    let opened: usize = floods.into_iter().map(|flood| flood.join().unwrap()).sum();
    assert!(opened > 2000, "only {opened} connections: no flood");
    tree.until("the latch", s(5), |doc| doc.kill.active && doc.trading_mode == TradingMode::Kill);
    let witness = tree.witness();
    assert!(witness.positions().is_empty(), "{:?}", witness.positions());
    witness.check_openings();
    assert!(killed.since(begun) < s(60));
}

#[test]
fn http_noise_ends_no_worker() {
    let tree = Tree::active();
    let before = lives(&tree.status());
    let (api, venue) = (api(&tree), tree.venue());
    let long = "x".repeat(1 << 20);
    for address in [api, venue] {
        let mut held = Vec::new();
        for bytes in [
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            b"GET / HTTP/9.9\r\n\r\n",
            b"\r\n\r\n\r\n",
            b"POST /exchange HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
            b"POST /info HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n\xff\xff\xff\xff\xff",
            format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n").as_bytes(),
            format!("GET /{long} HTTP/1.1\r\n\r\n").as_bytes(),
            "GET / HTTP/1.1\r\n".repeat(2000).as_bytes(),
        ] {
            let mut stream = TcpStream::connect(address).unwrap();
            let _ = stream.set_write_timeout(Some(Duration::from_millis(500)));
            let _ = stream.write_all(bytes);
            held.push(stream);
        }
        // Slow clients: a head that never ends.
        for _ in 0..80 {
            if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nX-Slow: ");
                held.push(stream);
            }
        }
        bounded(&tree);
        assert_eq!(lives(&tree.status()), before, "with slow clients at {address}");
        drop(held);
    }
    for body in ["", "{", "[]", "{\"type\":\"allMids\",\"x\":", "{\"action\":{\"type\":\"order\"},\"nonce\":-1}"] {
        for path in ["/info", "/exchange"] {
            let (status, _) = http(venue, "POST", path, body);
            assert!((200..500).contains(&status), "{path} {body:?}: {status}");
        }
    }
    let big = format!("{{\"type\":\"{long}\"}}");
    assert!(matches!(http(venue, "POST", "/info", &big).0, 0 | 400..=499), "an oversized body");
    // Nobody from another site, and nobody without the token.
    let (status, _) = http_with(api, "GET", "/api/v1/status", &[("Host", "evil.example")], "");
    assert!((400..500).contains(&status), "another host name: {status}");
    let (status, _) = http(api, "POST", "/api/v1/emergency/reduce_only", "{}");
    assert!((400..500).contains(&status), "without a token: {status}");
    let mode = tree.wait_mode(TradingMode::Active, s(60));
    assert_eq!(lives(&mode), before, "the same processes");
    let (status, _) = http(api, "GET", "/api/v1/health", "");
    assert_eq!(status, 200, "the api answers again");
}

fn hello(tree: &Tree, role: Role, epoch: u64, build: &str) -> Vec<u8> {
    message(&FromWorker::Hello(Hello {
        role,
        generation: Generation(1),
        epoch: Epoch(epoch),
        build_id: if build.is_empty() { tree.status().build_id } else { build.to_owned() },
        protocol: PROTOCOL,
        token: Token::new([7; 32]),
        born: clock::now(),
    }))
}

#[test]
fn nobody_gets_in_who_was_not_spawned() {
    let tree = Tree::active();
    let before = lives(&tree.status());
    let paths = tree.home.paths();
    // From a process that was not spawned, whatever it says it is.
    for role in Role::ALL {
        for (epoch, build) in [(1, ""), (0, ""), (2, ""), (1, "another-build")] {
            let heard = ask(&paths.worker_sock(), &hello(&tree, role, epoch, build));
            assert_eq!(heard, Heard::Closed, "a hello as {role} under epoch {epoch}, build {build:?}");
        }
    }
    // A subscriber without the epoch's token, under another epoch, or of a role that has no business there.
    for path in [paths.sensor_sock(), paths.engine_sock()] {
        for role in Role::ALL {
            for epoch in [0, 1, 2] {
                let ask_for = Subscribe { role, epoch: Epoch(epoch), token: Token::new([0; 32]) };
                assert_eq!(ask(&path, &message(&ask_for)), Heard::Closed, "{role} under {epoch}");
            }
        }
    }
    // The words of a worker at the operator's door, and of an operator at deadman's.
    let beat = message(&FromWorker::Beat { seq: 1, progress: 1, sent: clock::now() });
    for bytes in [beat, frame(b"{\"resume\":{\"confirm\":\"resume paper\",\"force\":true}}")] {
        match ask(&paths.control_sock(), &bytes) {
            Heard::Frame(reply) => assert_eq!(reply["refused"]["code"], "unreadable_request", "{reply}"),
            Heard::Closed => {}
            Heard::Silence => panic!("no answer"),
        }
    }
    for bytes in [&b"{\"resume\":{\"confirm\":null}}"[..], b"{\"pause\":{}}", b"{\"stop\":{\"flatten\":false}}"] {
        match ask(&paths.deadman_sock(), &frame(bytes)) {
            Heard::Frame(reply) => assert_eq!(reply["refused"]["code"], "not_here", "{reply}"),
            other @ (Heard::Closed | Heard::Silence) => panic!("{other:?}"),
        }
    }
    // The status door never reads a byte: whatever is said there, it writes one document and closes.
    let mut stream = connect(&paths.status_sock());
    say(&mut stream, &frame(b"{\"kill\":{\"flatten\":true,\"reason\":null}}"));
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert!(text.is_empty() || text.contains("holdfast.status.v1"), "{text}");
    let doc = tree.wait_mode(TradingMode::Active, s(30));
    assert_eq!(lives(&doc), before);
    assert!(!doc.kill.active);
}

/// Does something as another user: credentials belong to a thread, so a thread of its own puts them on.
fn as_nobody<T: Send + 'static>(deed: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only the administrator can become another user");
        return None;
    }
    let thread = std::thread::spawn(move || {
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("another user");
        deed()
    });
    Some(thread.join().expect("the deed is done"))
}

#[test]
fn another_user_is_turned_away_at_every_door() {
    use std::os::unix::fs::PermissionsExt;
    let tree = Tree::start();
    let before = lives(&tree.status());
    let wish = frame(b"{\"kill\":{\"flatten\":true,\"reason\":\"mallory\"}}");
    // First the folder: it cannot even be entered.
    let paths = sockets(&tree);
    let Some(reached) = as_nobody(move || paths.iter().filter(|path| UnixStream::connect(path).is_ok()).count()) else {
        return;
    };
    assert_eq!(reached, 0, "run/ is its owner's alone");
    // Then with every mode wide open: the kernel still says who it is.
    let root = tree.home.paths().root();
    for path in [tree.home.outside(), root, &tree.home.paths().run()] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    for path in sockets(&tree) {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        if path == tree.home.paths().status_sock() {
            continue;
        }
        let (to, bytes) = (path.clone(), wish.clone());
        let heard = as_nobody(move || {
            let mut stream = UnixStream::connect(&to).expect("the mode lets it in");
            let _ = stream.set_read_timeout(Some(Duration::from_secs(8)));
            say(&mut stream, &bytes);
            hear(&mut stream)
        });
        assert_eq!(heard, Some(Heard::Closed), "{}", path.display());
    }
    let doc = tree.status();
    assert!(!doc.kill.active, "another user's kill was obeyed");
    assert_eq!(lives(&doc), before);
}

fn bootstrap(home: &Home, role: Role, build: &str, protocol: u32) -> Vec<u8> {
    let root = home.paths().root().to_owned();
    let boot = Bootstrap {
        role,
        generation: Generation(1),
        epoch: Epoch(1),
        build_id: build.to_owned(),
        protocol,
        token: Token::new([1; 32]),
        feed_token: Token::new([2; 32]),
        supervisor_pid: std::process::id(),
        socket: home.paths().worker_sock(),
        home: root,
        settings: Settings::default(),
        venue_url: Some("http://127.0.0.1:9".to_owned()),
        venue_port: None,
        api_port: None,
        account: Some(format!("0x{}", "1".repeat(40))),
        permit: Some(PermitHandover { fd: 0, key: PermitKey::new([3; 32]) }),
    };
    let mut line = serde_json::to_vec(&boot).unwrap();
    line.push(b'\n');
    line
}

fn worker(role: Role, stdin: &[u8]) -> holdfast_tests::Ran {
    let mut command = Command::new(engine());
    command.args(["worker", role.as_str()]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin);
    finish(child, s(20))
}

#[test]
fn a_worker_of_another_build_or_without_a_supervisor_does_nothing() {
    let home = Home::new();
    for role in Role::ALL {
        for (build, protocol) in [("another-build", PROTOCOL), ("another-build", PROTOCOL + 1), ("", PROTOCOL)] {
            let ran = worker(role, &bootstrap(&home, role, build, protocol));
            assert_eq!(ran.code, 76, "{role} {build:?} {protocol}: {ran:?}");
            assert!(ran.err.contains("build"), "{ran:?}");
        }
        for (stdin, code) in [(&b""[..], 2), (b"garbage\n", 1), (b"{}\n", 1), (&[b'x'; 400_000], 1)] {
            let ran = worker(role, stdin);
            assert_eq!(ran.code, code, "{role}, {} bytes: {ran:?}", stdin.len());
        }
        let other = if role == Role::Engine { Role::Sensor } else { Role::Engine };
        let ran = worker(role, &bootstrap(&home, other, "another-build", PROTOCOL));
        assert_eq!(ran.code, 1, "told to be {other}: {ran:?}");
    }
    let left: Vec<_> = std::fs::read_dir(home.paths().root()).unwrap().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "a worker that must do nothing left {left:?}");
}
