//! Deadman as a real process against the real paper venue, with its supervisor played by the test.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::exit,
    clippy::wildcard_enum_match_arm,
    reason = "a failed expectation is how a test speaks"
)]

mod rig;

use holdfast_core::command::{ControlReply, ControlRequest};
use holdfast_core::duty::Duty;
use holdfast_core::ids::{JobId, Role};
use holdfast_core::kill::KillCause;
use holdfast_core::registry::VenueDeadMan;
use holdfast_core::report::{JobKind, JobState};
use holdfast_ipc::clock;
use holdfast_ipc::conn::Conn;
use holdfast_ipc::message::{FromWorker, ToWorker};
use holdfast_venue_reduce::reduce::{ReduceClient, Timing};
use holdfast_venue_reduce::wire::Dex;
use rig::{BUILD, PATIENCE, Rig, Setup, WORKER, run};
use serde_json::{Value, json};
use std::time::Duration;

/// Not a test: the body of the worker process the rig starts.
#[test]
fn worker_process() {
    if std::env::var_os(WORKER).is_some() {
        std::process::exit(holdfast_kit::run(BUILD, Role::Deadman, holdfast_deadman::run));
    }
}

#[test]
fn it_arms_the_switch_and_flattens_every_dex_with_proof() {
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        rig.until("ACTIVE", |report| match report {
            FromWorker::DeadMan(report) if report.state == VenueDeadMan::Active => report.fires_at_ms,
            _ => None,
        })
        .await;
        rig.hold("BTC", "0.05");
        rig.hold("ETH", "-0.7");
        rig.hold("alt:GOLD", "3");
        rig.rest();
        rig.rest();
        let (positions, orders) = rig.open();
        assert!(positions >= 2 && orders == 2, "{positions} {orders}");
        let began = clock::now();
        let verdicts = rig.reduce(1, JobKind::Flatten).await;
        println!("kill to proven flat: {} ms", clock::now().since(began).as_ms());
        assert_eq!(verdicts.len(), 1, "{verdicts:?}");
        assert!(verdicts[0].proof_venue_ms.is_some());
        assert_eq!(rig.open(), (0, 0));
        rig.nothing_grew();
        // A second job is a new attempt, not a replayed answer.
        rig.hold("BTC", "-0.02");
        assert_eq!(rig.reduce(2, JobKind::Flatten).await.len(), 1);
        // Cancel only: the position stays.
        rig.hold("BTC", "0.02");
        rig.rest();
        assert_eq!(rig.reduce(3, JobKind::CancelAll).await.len(), 1);
        assert_eq!(rig.open(), (1, 0));
        rig.tell(ToWorker::Drain {}).await;
        assert_eq!(rig.ended().await, 0);
        let cleared = |rig: &Rig| rig.witness().iter().filter(|l| l["kind"] == "scheduleCancel").count();
        assert!(cleared(&rig) >= 1);
    });
}

#[test]
fn an_order_in_a_spot_pair_is_cancelled_like_any_other() {
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        rig.venue.fault(json!({"kind": "foreign_spot_order", "value": "-3"}));
        rig.hold("BTC", "0.05");
        rig.rest();
        assert_eq!(rig.open(), (1, 2));
        let verdicts = rig.reduce(1, JobKind::Flatten).await;
        assert!(verdicts.iter().all(|verdict| verdict.state == JobState::Flat), "{verdicts:?}");
        assert_eq!(rig.open(), (0, 0));
        rig.venue.fault(json!({"kind": "foreign_spot_order"}));
        assert_eq!(rig.reduce(2, JobKind::CancelAll).await.len(), 1);
        assert_eq!(rig.open(), (0, 0));
        let cancelled =
            |line: &Value| line["kind"] == "cancel" && line["coin"] == "@107" && line["outcome"] == "success";
        assert_eq!(rig.witness().iter().filter(|line| cancelled(line)).count(), 2);
    });
}

#[test]
fn it_gets_flat_through_a_broken_venue() {
    let faults = [
        json!({"kind": "http_error", "for_ms": 2000}),
        json!({"kind": "http_error", "value": {"status": 500, "path": "/exchange"}, "for_ms": 2000}),
        json!({"kind": "drop_after_execute"}),
        json!({"kind": "garbage_body", "value": "/exchange"}),
        json!({"kind": "partial_fill", "value": "0.3"}),
        json!({"kind": "rate_limit", "for_ms": 1500}),
        json!({"kind": "latency", "value": 300, "for_ms": 3000}),
        json!({"kind": "reject_all", "for_ms": 2000}),
        json!({"kind": "price_jump", "coin": "BTC", "value": -1500, "for_ms": 4000}),
        json!({"kind": "clock_skew", "value": 5000, "for_ms": 3000}),
        json!({"kind": "clock_skew", "value": -5000, "for_ms": 3000}),
    ];
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        for (job, fault) in (1..).zip(faults) {
            rig.hold("BTC", "0.05");
            rig.hold("ETH", "-0.7");
            if fault["kind"] != "price_jump" {
                // A jump through a resting order fills it: that would be the order's doing, not deadman's.
                rig.rest();
            }
            rig.venue.fault(fault.clone());
            let began = clock::now();
            let verdicts = rig.reduce(job, JobKind::Flatten).await;
            println!("{fault}: {} verdicts, {} ms", verdicts.len(), clock::now().since(began).as_ms());
            rig::http(rig.venue.addr, "DELETE", "/sim/faults", "null");
            assert_eq!(rig.open(), (0, 0), "{fault}");
        }
        rig.nothing_grew();
    });
}

#[test]
fn a_post_only_window_ends_flat_or_not_flat_but_never_spins() {
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        rig.hold("BTC", "0.05");
        rig.venue.fault(json!({"kind": "post_only_window", "for_ms": 9000}));
        let before = rig.witness().len();
        let verdicts = rig.reduce(1, JobKind::Flatten).await;
        assert!(verdicts.iter().all(|v| v.state == JobState::Flat || !v.residue.is_empty()));
        assert!(rig.witness().len() - before < 200);
        assert_eq!(rig.open(), (0, 0));
        rig.nothing_grew();
    });
}

#[test]
fn a_late_fill_after_the_proof_is_closed_too() {
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        rig.rest();
        rig.venue.fault(json!({"kind": "late_fill", "value": 700}));
        rig.reduce(1, JobKind::Flatten).await;
        let again = rig
            .until("a second proof", |report| match report {
                FromWorker::Job(p) if p.state == JobState::Flat => Some(p.round),
                _ => None,
            })
            .await;
        assert!(again > 1);
        assert_eq!(rig.open(), (0, 0));
    });
}

#[test]
fn a_lost_supervisor_is_answered_by_flatten_a_report_and_exit() {
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        rig.hold("BTC", "0.05");
        rig.rest();
        let lost = clock::now();
        rig.lose_supervisor();
        assert_eq!(rig.ended().await, 0);
        let took = clock::now().since(lost).as_ms();
        assert!((4500..12_000).contains(&took), "{took} ms");
        assert_eq!(rig.open(), (0, 0));
        let report = rig.report();
        assert_eq!(report["policy"], "flatten");
        assert_eq!(report["progress"]["state"], "flat");
        assert!(report["progress"]["proof_venue_ms"].is_u64(), "{report}");
        rig.nothing_grew();
    });
}

#[test]
fn after_a_planned_stop_it_leaves_at_once_and_touches_nothing() {
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        rig.hold("BTC", "0.05");
        rig.tell(ToWorker::StandDown {}).await;
        // Its answer to anything at all shows that the message before was read.
        rig.reduce(1, JobKind::CancelAll).await;
        let left = clock::now();
        rig.lose_supervisor();
        assert_eq!(rig.ended().await, 0);
        assert!(clock::now().since(left).as_ms() < 3000);
        assert_eq!(rig.open(), (1, 0));
    });
}

#[test]
fn its_own_door_takes_kill_when_no_supervisor_is_there() {
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        rig.hold("BTC", "0.05");
        rig.cut_link();
        let door = rig.home.deadman_sock();
        let mut conn = Conn::<ControlReply, ControlRequest>::connect(&door, PATIENCE).await.unwrap();
        conn.writer.send(&ControlRequest::Kill { flatten: true, reason: None }).await.unwrap();
        let proof = loop {
            match conn.reader.recv_within(PATIENCE).await.unwrap() {
                ControlReply::Progress(p) if p.state == JobState::Flat => break p.proof_venue_ms,
                ControlReply::Progress(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(proof.is_some());
        assert_eq!(rig.open(), (0, 0));
        let mut conn = Conn::<ControlReply, ControlRequest>::connect(&door, PATIENCE).await.unwrap();
        conn.writer.send(&ControlRequest::Resume { confirm: Some("yes".to_owned()) }).await.unwrap();
        assert!(matches!(conn.reader.recv_within(PATIENCE).await.unwrap(), ControlReply::Refused { .. }));
    });
}

/// The record as a successor would read it; nobody may hold the cell any more.
fn record(rig: &Rig) -> Duty {
    holdfast_store::Cell::open(&rig.home.deadman_cell()).unwrap().1.unwrap()
}

#[test]
fn ended_in_the_middle_it_leaves_a_record_that_the_next_one_goes_on_with() {
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        rig.hold("BTC", "0.05");
        rig.venue.fault(json!({"kind": "reject_all", "for_ms": 60_000}));
        rig.cut_link();
        let door = rig.home.deadman_sock();
        let mut conn = Conn::<ControlReply, ControlRequest>::connect(&door, PATIENCE).await.unwrap();
        let reason = Some("drill".to_owned());
        conn.writer.send(&ControlRequest::Kill { flatten: true, reason: reason.clone() }).await.unwrap();
        // At the first order that reached the venue the record must be there, whatever comes next.
        let acted =
            |rig: &Rig| rig.witness().iter().any(|line| line["kind"] == "order" && line["origin"] != "injected");
        while !acted(&rig) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rig.child.kill().unwrap();
        rig.child.wait().unwrap();
        let duty = record(&rig);
        assert_eq!((duty.job, duty.kill.unwrap().reason), (Some(JobKind::Flatten), reason));
        rig::http(rig.venue.addr, "DELETE", "/sim/faults", "null");
        // Replaced under a supervisor that lives: it tells of the kill and goes on by itself.
        rig.restart().await;
        let told = rig.until("the latch", |r| if let FromWorker::Duty(duty) = r { duty.kill } else { None }).await;
        assert_eq!(told.cause, KillCause::Operator);
        rig.until("flat", |r| matches!(r, FromWorker::Job(p) if p.state == JobState::Flat).then_some(())).await;
        assert_eq!(rig.open(), (0, 0));
        rig.lose_supervisor();
        assert_eq!(rig.ended().await, 0);
        let duty = record(&rig);
        assert!(duty.job.is_none() && duty.kill.is_some(), "proven; the latch is still owed: {duty:?}");
    });
}

#[test]
fn a_mere_cancel_at_its_door_does_not_weaken_a_flatten_under_way() {
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        rig.hold("BTC", "0.05");
        rig.venue.fault(json!({"kind": "reject_all", "for_ms": 2500}));
        rig.tell(ToWorker::Reduce { job: JobId(7), kind: JobKind::Flatten }).await;
        rig.until("closing", |r| matches!(r, FromWorker::Job(p) if p.state == JobState::Closing).then_some(())).await;
        let door = rig.home.deadman_sock();
        let mut conn = Conn::<ControlReply, ControlRequest>::connect(&door, PATIENCE).await.unwrap();
        conn.writer.send(&ControlRequest::Kill { flatten: false, reason: None }).await.unwrap();
        rig.until("flat", |r| {
            matches!(r, FromWorker::Job(p) if p.job == JobId(7) && p.state == JobState::Flat).then_some(())
        })
        .await;
        assert_eq!(rig.open(), (0, 0), "flat was said of the job that was to close everything");
    });
}

#[test]
fn an_operator_who_does_not_check_in_means_flat() {
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        rig.hold("BTC", "0.05");
        rig.tell(ToWorker::OperatorDeadline { expires_wall_ms: Some(clock::wall_ms() + 400) }).await;
        let latch = |r| if let FromWorker::Duty(duty) = r { duty.kill } else { None };
        let kill = rig.until("expiry", latch).await;
        assert_eq!((kill.cause, kill.kind), (KillCause::OperatorDeadMan, JobKind::Flatten));
        rig.until("flat", |r| matches!(r, FromWorker::Job(p) if p.state == JobState::Flat).then_some(())).await;
        assert_eq!(rig.open(), (0, 0));
    });
}

#[test]
fn an_ineligible_account_is_said_to_be_so() {
    run(async {
        let faults = vec![json!({"kind": "dead_man_ineligible"})];
        let mut rig = Rig::start(Setup { faults, ..Setup::default() }).await;
        let words = rig
            .until("INELIGIBLE", |report| match report {
                FromWorker::DeadMan(r) if r.state == VenueDeadMan::Ineligible => Some(r.detail),
                _ => None,
            })
            .await;
        assert!(words.starts_with("Cannot set scheduled cancel time"), "{words}");
    });
}

#[test]
fn an_agents_address_as_account_is_refused() {
    run(async {
        let mut rig = Rig::start(Setup { agent_as_account: true, ..Setup::default() }).await;
        assert_eq!(rig.ended().await, 1);
    });
}

#[test]
fn a_paper_venue_that_died_with_the_tree_leaves_nothing_to_close() {
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        rig.venue.stop();
        rig.lose_supervisor();
        assert_eq!(rig.ended().await, 0);
        assert!(rig.report()["note"].as_str().unwrap().starts_with("venue is gone"), "{}", rig.report());
    });
}

#[test]
fn a_dead_venue_does_not_keep_it_from_being_ready() {
    run(async {
        let faults = vec![json!({"kind": "http_error"})];
        let mut rig = Rig::start(Setup { faults, ..Setup::default() }).await;
        let began = clock::now();
        rig.ready().await;
        assert!(clock::now().since(began).as_ms() < 8000);
        tokio::time::timeout(Duration::from_secs(1), async {}).await.unwrap();
    });
}

#[test]
fn idling_costs_little() {
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        let pid = rig.child.id();
        let spent = || -> u64 {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let after = stat.rsplit_once(')').unwrap().1;
            after.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
        };
        let (before, began) = (spent(), clock::now());
        // Two renewals of the switch lie in this span.
        while clock::now().since(began).as_ms() < 10_000 {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let ticks = spent() - before;
        println!("idle: {ticks} ticks of 10 ms in 10 s");
        assert!(ticks <= 10, "{ticks} ticks of 10 ms in 10 s, unoptimised");
    });
}

/// The requests a flatten needs, sent bare: read, close, read, read, each read asking everything at once.
async fn bare(client: &ReduceClient) -> u64 {
    let venue = client.venue();
    let dexes: Vec<Dex> = vec![Dex::first(), "alt".parse().unwrap()];
    let read = || async {
        let each = dexes.iter().map(|dex| async { tokio::join!(venue.open_orders(dex), venue.clearinghouse(dex)) });
        let (names, all) = tokio::join!(venue.perp_dexs(), futures_util::future::join_all(each));
        names.unwrap();
        all.into_iter().for_each(|(orders, account)| drop((orders.unwrap(), account.unwrap())));
    };
    let began = clock::now();
    read().await;
    let now_ms = clock::wall_ms();
    assert!(client.noop(Timing { now_ms, expires_after_ms: now_ms + 5000 }).await.single().unwrap().is_accepted());
    read().await;
    read().await;
    clock::now().since(began).0 / 1000
}

#[test]
fn kill_to_proven_flat_takes_little_more_than_its_round_trips() {
    run(async {
        let mut rig = Rig::start(Setup::default()).await;
        rig.ready().await;
        let client = rig.bare_client();
        let (mut whole, mut limit) = (Vec::new(), Vec::new());
        for job in 1..=15 {
            rig.hold("BTC", "0.05");
            rig.hold("ETH", "-0.7");
            let began = clock::now();
            assert_eq!(rig.reduce(job, JobKind::Flatten).await.len(), 1);
            whole.push(clock::now().since(began).0 / 1000);
            limit.push(bare(&client).await);
        }
        whole.sort_unstable();
        limit.sort_unstable();
        println!("kill to proven flat: {} us, bare round trips {} us (medians)", whole[7], limit[7]);
        assert!(whole[7] < limit[7] * 3, "{whole:?} {limit:?}");
    });
}
