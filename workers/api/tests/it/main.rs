//! The API worker over real HTTP, with a made-up supervisor, sensor and engine around it.
#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test speaks")]

mod rig;

use holdfast_core::ids::Role;
use holdfast_core::report::{AccountView, MarketState};
use holdfast_core::time::Tick;
use holdfast_ipc::clock;
use holdfast_ipc::feed::{CycleAction, FillView, FromEngine, FromSensor, MarketView};
use holdfast_ipc::message::{FromWorker, ToWorker};
use holdfast_kit::Exit;
use rig::{Given, PATIENCE, Rig, active, killed, live, read_until, restricted};
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const STATUS: &str = "/api/v1/status";
const EMERGENCY: &str = "/api/v1/emergency/reduce_only";

#[test]
fn serves_the_pushed_document_and_nothing_once_it_is_old() {
    live(async {
        let mut rig = Rig::up(Given::default()).await;
        let (head, body) = rig.ask("GET", STATUS, "").await;
        assert!(head.starts_with("http/1.1 503"), "{head}");
        assert_eq!(body, r#"{"error":"status_stale"}"#);

        let doc = active();
        rig.push(doc.clone()).await;
        let body = rig.until(STATUS, |head, _| head.starts_with("http/1.1 200")).await;
        assert_eq!(serde_json::from_str::<holdfast_core::status::StatusDoc>(&body).unwrap(), doc);
        let (head, _) = rig.ask("GET", STATUS, "").await;
        assert!(head.contains("content-type: application/json") && head.contains("cache-control: no-store"), "{head}");
        let metrics = rig.ask("GET", "/metrics", "").await.1;
        for line in [
            "holdfast_status_stale 0",
            "holdfast_trading_mode{mode=\"Active\"} 1",
            "holdfast_trading_mode{mode=\"Kill\"} 0",
            "holdfast_worker_up{role=\"engine\"} 1",
            "holdfast_worker_beat_age_milliseconds{role=\"engine\"} 48",
            "holdfast_permit_live 1",
            "holdfast_exposure_flat 1",
            "holdfast_exposure_known 1",
            "holdfast_kill_active 0",
            "holdfast_kill_state{state=\"none\"} 1",
            "holdfast_journal_events_total 1234",
            "holdfast_decisions_entries_total 567",
            "# EOF",
        ] {
            assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
        }

        // An old one and one from the future are both refused at once.
        for boot_ns in [clock::now().0.saturating_sub(2_100_000_000), clock::now().0.saturating_add(60_000_000_000)] {
            let mut wrong = active();
            wrong.generated_boot_ns = boot_ns;
            rig.push(wrong).await;
            let body = rig.until(STATUS, |head, _| head.starts_with("http/1.1 503")).await;
            assert!(!body.contains("trading_mode"), "{body}");
            let metrics = rig.ask("GET", "/metrics", "").await.1;
            assert!(metrics.contains("holdfast_status_stale 1") && !metrics.contains("trading_mode"), "{metrics}");
            rig.push(active()).await;
            rig.until(STATUS, |head, _| head.starts_with("http/1.1 200")).await;
        }
        // And silence makes the last one old.
        rig.until(STATUS, |head, _| head.starts_with("http/1.1 503")).await;
    });
}

#[test]
fn a_document_over_the_contracts_size_is_not_served() {
    live(async {
        let mut rig = Rig::up(Given::default()).await;
        let mut huge = active();
        huge.next_step = "x".repeat(70_000);
        rig.push(huge).await;
        // Metrics show that it has arrived.
        rig.until("/metrics", |_, body| body.contains("holdfast_status_stale 0")).await;
        assert!(rig.ask("GET", STATUS, "").await.0.starts_with("http/1.1 503"));
    });
}

#[test]
fn every_route_answers_with_the_safety_headers_and_only_its_method() {
    live(async {
        let rig = Rig::up(Given::default()).await;
        let (head, body) = rig.ask("GET", "/api/v1/health", "").await;
        assert!(head.starts_with("http/1.1 200"));
        let health: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(health, serde_json::json!({"ok": true, "build_id": "test-build", "contract_version": "5.2"}));

        let pages = [
            ("/", "text/html", "UNKNOWN — treat as Kill"),
            ("/assets/cockpit.js", "text/javascript", "STALE_MS"),
            ("/assets/cockpit.css", "text/css", "prefers-color-scheme"),
            ("/assets/uplot.js", "text/javascript", "uPlot"),
            ("/assets/uplot.css", "text/css", ".uplot"),
            ("/assets/icon.svg", "image/svg+xml", "<svg"),
            ("/api/v1/history", "application/json", "\"cycles\":[]"),
        ];
        for (path, kind, holds) in pages {
            let (head, body) = rig.ask("GET", path, "").await;
            assert!(head.starts_with("http/1.1 200") && head.contains(kind), "{path}: {head}");
            assert!(body.contains(holds), "{path}");
            for needed in [
                "content-security-policy: default-src 'none'; script-src 'self'",
                "frame-ancestors 'none'",
                "x-content-type-options: nosniff",
                "referrer-policy: no-referrer",
                "connection: close",
            ] {
                assert!(head.contains(needed), "{path} lacks {needed}: {head}");
            }
            assert!(!head.contains("access-control"), "{path}");
        }
        let page = rig.ask("GET", "/", "").await.1;
        assert!(page.contains("<noscript>") && page.contains("test-build"));
        assert!(!page.contains("style=") && !page.contains("onclick"), "the policy forbids inline code and style");

        for method in ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW"] {
            for (path, _, _) in pages.into_iter().chain([(STATUS, "", ""), ("/api/v1/events", "", "")]) {
                let (head, _) = rig.ask(method, path, "").await;
                assert!(head.starts_with("http/1.1 405") && head.contains("allow: get"), "{method} {path}: {head}");
            }
        }
        let (head, _) = rig.ask("GET", EMERGENCY, "").await;
        assert!(head.starts_with("http/1.1 405") && head.contains("allow: post"), "{head}");
        for path in ["/nowhere", "/api/v1/", "/assets/../lib.rs", "/assets/", "//"] {
            let (head, body) = rig.ask("GET", path, "").await;
            assert!(head.starts_with("http/1.1 404"), "{path}: {head}");
            assert_eq!(body, r#"{"error":"not_found"}"#, "{path}");
            assert!(head.contains("x-content-type-options"), "{head}");
        }
    });
}

#[test]
fn answers_only_to_its_own_loopback_name() {
    live(async {
        let rig = Rig::up(Given::default()).await;
        let port = rig.port;
        for (host, status) in [
            (format!("Host: 127.0.0.1:{port}\r\n"), 200),
            (format!("Host: localhost:{port}\r\n"), 200),
            (format!("Host: [::1]:{port}\r\n"), 200),
            (String::new(), 421),
            ("Host: 127.0.0.1\r\n".into(), 421),
            (format!("Host: evil.example:{port}\r\n"), 421),
            (format!("Host: 127.0.0.1.evil.example:{port}\r\n"), 421),
            (format!("Host: 127.0.0.1:{port}\r\nHost: evil.example\r\n"), 421),
        ] {
            let (head, body) = rig.raw(format!("GET /api/v1/health HTTP/1.1\r\n{host}\r\n").as_bytes()).await;
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{host}: {head}");
            assert!(status == 200 || !body.contains("build_id"));
        }
    });
}

#[test]
fn emergency_takes_the_token_and_reaches_the_supervisor() {
    live(async {
        let mut rig = Rig::up(Given::default()).await;
        let path = rig.home().api_token();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let token = std::fs::read_to_string(&path).unwrap();
        let token = token.trim();
        assert_eq!(token.len(), 64);
        let bearer = format!("Authorization: Bearer {token}\r\nContent-Length: 0\r\n");

        for (extra, status) in [
            ("Content-Length: 0\r\n".to_owned(), 401),
            (format!("Authorization: Bearer {}\r\nContent-Length: 0\r\n", "0".repeat(64)), 401),
            (format!("{bearer}Origin: http://evil.example\r\n"), 403),
            (format!("{bearer}Origin: null\r\n"), 403),
            (format!("Authorization: Bearer {token}\r\nContent-Length: 999999\r\n"), 413),
            (format!("Authorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n"), 413),
        ] {
            let (head, _) = rig.ask("POST", EMERGENCY, &extra).await;
            assert!(head.starts_with(&format!("http/1.1 {status}")), "{extra}: {head}");
        }
        assert!(rig.said.try_recv().is_err(), "a refused request reaches nobody");

        for extra in [bearer.clone(), format!("{bearer}Origin: http://127.0.0.1:{}\r\n", rig.port)] {
            let (head, _) = rig.ask("POST", EMERGENCY, &extra).await;
            assert!(head.starts_with("http/1.1 202"), "{head}");
            let said = tokio::time::timeout(PATIENCE, rig.said.recv()).await.unwrap();
            assert!(matches!(said, Some(FromWorker::EmergencyReduceOnly {})), "{said:?}");
        }
    });
}

#[test]
fn the_stream_carries_status_market_fills_cycles_and_account() {
    live(async {
        let mut rig = Rig::up(Given::default()).await;
        let sensor = rig.publisher::<FromSensor>(Role::Sensor);
        let engine = rig.publisher::<FromEngine>(Role::Engine);
        rig.push(restricted()).await;
        rig.until(STATUS, |head, _| head.starts_with("http/1.1 200")).await;
        let mut stream = rig.stream().await;
        let opening = read_until(&mut stream, "event: status").await;
        assert!(opening.to_ascii_lowercase().contains("content-type: text/event-stream"), "{opening}");

        // The feeds are found by asking again and again, so say it until it is heard.
        let side = |px: &str| Some((px.parse().unwrap(), "1".parse().unwrap()));
        let now = clock::wall_ms();
        let tell = async {
            for n in 0..500_u64 {
                let bid = side("107309");
                let view = MarketView {
                    coin: "BTC".into(),
                    state: MarketState::Fresh,
                    venue_ms: now + n,
                    received: clock::now(),
                    bid,
                    ask: side("107310"),
                    mark: None,
                    skew_ms: 0,
                };
                sensor.publish(&FromSensor::Market(view), Some("BTC"));
                sensor.publish(&FromSensor::Account(Box::new(account(now + n))), Some("account"));
                sensor.publish(&FromSensor::Fill(fill(7)), None);
                let (coin, close) = ("BTC".to_owned(), "107309.5".parse().unwrap());
                let action =
                    CycleAction::Open { is_buy: true, size: "0.001".parse().unwrap(), px: "107330".parse().unwrap() };
                engine.publish(
                    &FromEngine::Cycle { coin, bar: n, close, signal_bps: 7, action, detail: "x".repeat(1000) },
                    None,
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let hear = async {
            let mut all = String::new();
            let mut part = vec![0; 64 * 1024];
            while !["event: market", "event: account", "event: fill", "event: cycle"].iter().all(|e| all.contains(e)) {
                let n = tokio::time::timeout(PATIENCE, stream.read(&mut part)).await.unwrap().unwrap();
                assert!(n > 0);
                all.push_str(&String::from_utf8_lossy(&part[..n]));
            }
            all
        };
        let all = tokio::select! { all = hear => all, () = tell => String::new() };
        assert!(all.contains("\"mid\"") || all.contains("\"bid\":[\"107309\",\"1\"]"), "{all}");

        let history: serde_json::Value =
            serde_json::from_str(&rig.until("/api/v1/history", |_, body| body.contains("107309.5")).await).unwrap();
        assert_eq!(history["coin"], "BTC");
        assert_eq!(history["prices"][0][1], "107309.5");
        assert_eq!(history["fills"].as_array().map(Vec::len), Some(1), "a fill said twice is one fill");
        assert_eq!(history["cycles"][0]["detail"].as_str().map(str::len), Some(300));

        // Words for people come with the codes, latch codes in the place of "latched".
        rig.push(restricted()).await;
        let status = read_until(&mut stream, "Restarted; books must be reconciled first.").await;
        assert!(status.contains("REDUCEONLY_WORKER_DEGRADED"), "{status}");
        rig.push(killed()).await;
        read_until(&mut stream, "\"trading_mode\":\"Kill\"").await;

        // A stale document is not an event.
        let mut stale = active();
        stale.generated_boot_ns = 1;
        rig.push(stale).await;
        rig.until(STATUS, |head, _| head.starts_with("http/1.1 503")).await;
        rig.push(killed()).await;
        let next = read_until(&mut stream, "event: status").await;
        assert!(!next.contains("\"trading_mode\":\"Active\""), "{next}");
    });
}

fn account(venue_ms: u64) -> AccountView {
    AccountView {
        read_at: Tick(1),
        venue_ms,
        equity_usd: "10000.5".parse().unwrap(),
        margin_used_usd: "0".parse().unwrap(),
        positions: vec![],
        orders: vec![],
        requests_left: None,
    }
}

fn fill(tid: u64) -> FillView {
    FillView {
        coin: "BTC".into(),
        venue_ms: 1,
        is_buy: true,
        px: "107309".parse().unwrap(),
        size: "0.001".parse().unwrap(),
        closed_pnl_usd: "0".parse().unwrap(),
        fee_usd: "0.04".parse().unwrap(),
        oid: 1,
        tid,
        cloid: None,
    }
}

#[test]
fn streams_are_counted_and_a_reader_that_stalls_loses_its_own() {
    live(async {
        let mut rig = Rig::up(Given::default()).await;
        let mut held = Vec::new();
        for _ in 0..16 {
            let mut stream = rig.stream().await;
            read_until(&mut stream, "text/event-stream").await;
            held.push(stream);
        }
        let (head, body) = rig.ask("GET", "/api/v1/events", "").await;
        assert!(head.starts_with("http/1.1 503"), "{head}");
        assert_eq!(body, r#"{"error":"too_many_streams"}"#);
        // Nobody reads; the documents are large; every queue and socket buffer fills up and all sixteen are dropped,
        // while other requests are answered as before.
        let all = async {
            loop {
                let mut doc = active();
                doc.next_step = "y".repeat(60_000);
                rig.push(doc).await;
                let metrics = rig.ask("GET", "/metrics", "").await.1;
                if metrics.contains("holdfast_api_streams_dropped_total 16") {
                    return metrics;
                }
            }
        };
        let metrics = tokio::time::timeout(2 * PATIENCE, all).await.unwrap();
        assert!(metrics.contains("holdfast_api_streams 0"), "{metrics}");
        let mut stream = rig.stream().await;
        read_until(&mut stream, "event: status").await;
        drop(held);
    });
}

#[test]
fn garbage_and_silence_cost_a_connection_and_nothing_else() {
    live(async {
        let rig = Rig::up(Given::default()).await;
        for garbage in [
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"\0\0\0\0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: -1\r\nContent-Length: 5\r\n\r\n",
        ] {
            let mut stream = TcpStream::connect(("127.0.0.1", rig.port)).await.unwrap();
            let _ = stream.write_all(garbage).await;
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{garbage:?}: {answer}");
        }
        // A head without an end.
        let mut stream = TcpStream::connect(("127.0.0.1", rig.port)).await.unwrap();
        let endless = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nX: {}", rig.port, "x".repeat(20_000));
        let _ = stream.write_all(endless.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));

        // Sixty-four silent connections hold all the places; the next is closed at once; after the head deadline
        // everything is as before.
        let mut silent = Vec::new();
        for _ in 0..64 {
            silent.push(TcpStream::connect(("127.0.0.1", rig.port)).await.unwrap());
        }
        let (head, _) = rig.ask("GET", "/api/v1/health", "").await;
        assert_eq!(head, "", "no place is left");
        let back = async {
            while !rig.ask("GET", "/api/v1/health", "").await.0.starts_with("http/1.1 200") {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, back).await.unwrap();
        drop(silent);
    });
}

#[test]
fn a_port_that_was_asked_for_is_had_or_the_worker_says_why() {
    live(async {
        let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        for given in
            [Given { configured: Some(port), ..Given::default() }, Given { held: Some(port), ..Given::default() }]
        {
            let rig = Rig::up(given).await;
            assert_eq!(rig.port, 0, "not ready");
            let exit = tokio::time::timeout(PATIENCE, rig.worker).await.unwrap().unwrap();
            let Exit::Failed(why) = exit else { unreachable!("{exit:?}") };
            assert!(why.contains(&port.to_string()) && why.contains("api.port"), "{why}");
        }
        drop(taken);
        let rig = Rig::up(Given { configured: Some(port), ..Given::default() }).await;
        assert_eq!(rig.port, port);
        // Two without a wish both come up.
        let (one, two) = (Rig::up(Given::default()).await, Rig::up(Given::default()).await);
        assert_ne!(one.port, two.port);
    });
}

#[test]
fn drains_when_told() {
    live(async {
        let mut rig = Rig::up(Given::default()).await;
        let mut stream = rig.stream().await;
        read_until(&mut stream, "text/event-stream").await;
        rig.orders.send_within(&ToWorker::Drain {}, PATIENCE).await.unwrap();
        let exit = tokio::time::timeout(PATIENCE, &mut rig.worker).await.unwrap().unwrap();
        assert!(matches!(exit, Exit::Drained), "{exit:?}");
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
        assert!(TcpStream::connect(("127.0.0.1", rig.port)).await.is_err(), "nobody listens any more");
    });
}

#[test]
fn vendored_files_are_what_their_readme_says() {
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let readme = std::fs::read_to_string(assets.join("README.md")).unwrap();
    for name in ["uPlot.iife.min.js", "uPlot.min.css"] {
        let sum: String =
            Sha256::digest(std::fs::read(assets.join(name)).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
        let line = readme.lines().find(|line| line.contains(&format!("`{name}`"))).unwrap_or_default();
        assert!(line.contains(&sum), "{name} has sum {sum}");
    }
}
