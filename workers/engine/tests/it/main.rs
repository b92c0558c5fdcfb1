//! The engine as its surroundings see it: a real process, a real venue, a real permit, kills included.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a failed expectation is how a test speaks"
)]
mod rig;

use holdfast_core::ids::{Epoch, Role};
use holdfast_core::money::Szi;
use holdfast_core::report::StandingCause;
use holdfast_core::trade::Trade;
use holdfast_ipc::message::ToWorker;
use holdfast_store::journal::{Entry, Intent, IntentKind, Journal, SEGMENT_BYTES};
use rig::{Engine, World, live, until};
use std::rc::Rc;

/// Not a test of its own: the engine process of the others.
#[test]
fn the_engine_process() {
    if std::env::var_os(rig::CHILD).is_some() {
        let code = holdfast_kit::run("test-build", Role::Engine, holdfast_engine::run);
        assert_eq!(code, 0);
    }
}

#[test]
fn it_trades_by_itself_writes_before_it_sends_and_closes_without_a_permit() {
    live(async {
        let world = World::new().await;
        let mut engine = Engine::start(&world, 1).await;
        let said = Rc::clone(&engine.said);
        until("ready", || said.borrow().ready.then_some(())).await;
        engine.reconcile(1).await;
        until("bars without a permit", || (said.borrow().progress > 100).then_some(())).await;
        assert_eq!(world.orders().len(), 0, "no permit, no order");
        engine.permitted.set(true);
        until("two positions opened", || (world.openings() >= 2).then_some(())).await;
        until("a position closed", || {
            world.orders().iter().any(|(_, reduce, o)| *reduce && o == "filled").then_some(())
        })
        .await;
        until("one more opened", || (world.openings() >= 3).then_some(())).await;
        engine.permitted.set(false);
        let opened = world.openings();
        let mut flat = false;
        for _ in 0..400 {
            flat = world.position().await == "0";
            if flat {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert!(flat, "a position stays managed without a permit");
        assert!(world.openings() <= opened + 1, "one order may have been on its way");
        world.check_written_and_once();
        assert!(said.borrow().trips.is_empty(), "{:?}", said.borrow().trips);
        // There is no sensor that tells of executions here: the answers alone fill the record.
        let recorded = |trade: &&Trade| matches!(trade, Trade::Cycle(cycle) if cycle.rejected.is_none());
        until("every sent decision recorded", || {
            (said.borrow().trades.iter().filter(recorded).count() >= 4).then_some(())
        })
        .await;
        engine.order(ToWorker::Drain {}).await;
        assert_eq!(until("its end", || engine.ended()).await, 0);
    });
}

#[test]
fn a_lost_answer_is_settled_by_asking_and_never_sent_twice() {
    live(async {
        let world = World::new().await;
        let mut engine = Engine::start(&world, 1).await;
        let said = Rc::clone(&engine.said);
        engine.reconcile(1).await;
        world.fault(r#"{"kind":"drop_after_execute"}"#);
        engine.permitted.set(true);
        let how = until("a settled order", || {
            world.journal().iter().find_map(|line| line["entry"]["settled"]["how"].as_str().map(str::to_owned))
        })
        .await;
        assert!(how.contains("filled"), "{how}");
        let unknown = world.journal().iter().any(|line| !line["entry"]["outcome"]["outcome"]["unknown"].is_null());
        assert!(unknown, "the outcome was written down as unknown first");
        until("trading goes on", || (world.openings() >= 2).then_some(())).await;
        until("nothing unsettled", || said.borrow().journal.is_some_and(|j| j.unsettled == 0).then_some(())).await;
        world.check_written_and_once();
    });
}

#[test]
fn killed_between_intent_and_answer_its_successor_asks_and_does_not_send_again() {
    live(async {
        let mut world = World::new().await;
        world.settings.strategy.slippage_bps = 200;
        let mut engine = Engine::start(&world, 1).await;
        engine.reconcile(1).await;
        // The order is executed; its answer is still on the way when the engine dies.
        world.forging.set(true);
        world.fault(r#"{"kind":"latency","value":{"ms":8000,"where":"after"},"for_ms":20000}"#);
        engine.permitted.set(true);
        // On a busy host one may arrive after its permit and be refused; the next one counts.
        until("an opening at the venue", || (world.openings() == 1).then_some(())).await;
        engine.kill();
        drop(engine);
        world.clear_faults();
        world.forging.set(false);
        let filled = world.orders().into_iter().find(|(_, _, outcome)| outcome == "filled").expect("the opening").0;
        // On a busy host it may have given up waiting before it died; an answer it has not had.
        let journal = world.journal();
        let outcomes = journal.iter().map(|line| &line["entry"]["outcome"]).filter(|o| o["cloid"] == filled.as_str());
        let answers: Vec<_> = outcomes.filter(|o| o["outcome"]["unknown"].is_null()).collect();
        assert!(answers.is_empty(), "it died before the answer: {answers:?}");
        let mut engine = Engine::start(&world, 2).await;
        engine.reconcile(9).await;
        let settled = world.journal().iter().any(|line| !line["entry"]["settled"].is_null());
        assert!(settled, "{:?}", engine.said.borrow().reconciled);
        assert_eq!(world.openings(), 1);
        until("the position it inherited is closed", || {
            world.orders().iter().any(|(_, reduce, o)| *reduce && o == "filled").then_some(())
        })
        .await;
        world.check_written_and_once();
    });
}

#[test]
fn books_are_not_clean_while_any_order_is_without_an_outcome_however_many_there_are() {
    live(async {
        let world = World::new().await;
        let mut journal = Journal::open(&world.home.decisions(), SEGMENT_BYTES, 1).unwrap();
        for n in 1..=20 {
            let intent = Intent {
                key: format!("{n:064x}"),
                cloid: format!("0x{n:032x}"),
                coin: "BTC".to_owned(),
                is_buy: true,
                size: "0.01".parse().unwrap(),
                px: "1".parse().unwrap(),
                kind: IntentKind::Close,
                expires_after_ms: 1,
                epoch: Epoch(1),
                position_before: Szi::FLAT,
            };
            journal.append(n, &Entry::Intent(intent)).unwrap();
        }
        drop(journal);
        let mut engine = Engine::start(&world, 1).await;
        engine.reconcile(1).await;
        let lines = world.journal();
        let clean = lines.iter().position(|line| !line["entry"]["reconciled"].is_null()).unwrap();
        let settled = lines[..clean].iter().filter(|line| !line["entry"]["settled"].is_null()).count();
        assert_eq!(settled, 20, "settled before the books were called clean");
    });
}

#[test]
fn with_a_broken_journal_it_stays_up_opens_nothing_and_still_closes() {
    live(async {
        let world = World::new().await;
        std::fs::write(world.home.decisions(), b"not a journal\n").unwrap();
        let mut engine = Engine::start(&world, 1).await;
        engine.permitted.set(true);
        let said = Rc::clone(&engine.said);
        until("ready", || said.borrow().ready.then_some(())).await;
        let health = until("the journal's health", || said.borrow().journal).await;
        assert!(!health.healthy);
        engine.order(ToWorker::Reconcile { asked: 1 }).await;
        until("the reason", || {
            said.borrow().reconciled.iter().any(|(_, clean, why)| !clean && why.contains("journal")).then_some(())
        })
        .await;
        world.fault(r#"{"kind":"foreign_position","coin":"BTC","value":"0.01"}"#);
        until("the incident", || said.borrow().trips.iter().any(|t| t.contains("BTC")).then_some(())).await;
        until("its close", || world.orders().iter().any(|(_, reduce, o)| *reduce && o == "filled").then_some(())).await;
        assert!(world.orders().iter().all(|(_, reduce, _)| *reduce), "nothing was opened");
        assert_eq!(std::fs::read(world.home.decisions()).unwrap(), b"not a journal\n", "evidence is kept");
    });
}

#[test]
fn the_daily_loss_limit_blocks_opening_over_a_restart() {
    live(async {
        let mut world = World::new().await;
        world.settings.limits.daily_loss_usd = "0.01".parse().unwrap();
        let mut engine = Engine::start(&world, 1).await;
        let said = Rc::clone(&engine.said);
        engine.reconcile(1).await;
        engine.permitted.set(true);
        // The first fee is more than a cent.
        let words = until("the limit", || said.borrow().limits.first().cloned()).await;
        assert!(words.contains("daily loss"), "{words}");
        let reached = until("the breach as it is on disk", || {
            said.borrow().baselines.last().copied().filter(|day| day.breach.is_some())
        });
        let reached = reached.await;
        let first = said.borrow().baselines[0];
        assert_eq!((first.breach, first.baseline_usd), (None, reached.baseline_usd), "told before it was reached");
        until("flat", || world.orders().iter().any(|(_, reduce, o)| *reduce && o == "filled").then_some(())).await;
        engine.kill();
        drop(engine);
        let opened = world.openings();
        let mut engine = Engine::start(&world, 2).await;
        engine.permitted.set(true);
        engine.reconcile(2).await;
        let said = Rc::clone(&engine.said);
        until("the limit again", || said.borrow().limits.first().cloned()).await;
        until("the same record", || (said.borrow().baselines == [reached]).then_some(())).await;
        until("many bars", || (said.borrow().progress > 150).then_some(())).await;
        assert_eq!(world.openings(), opened);
    });
}

#[test]
fn with_a_silent_sensor_a_position_is_still_closed() {
    live(async {
        let world = World::new().await;
        let mut engine = Engine::start(&world, 1).await;
        engine.reconcile(1).await;
        engine.permitted.set(true);
        until("a position", || (world.openings() >= 1).then_some(())).await;
        world.sensing.set(false);
        until("its close", || world.orders().iter().any(|(_, reduce, o)| *reduce && o == "filled").then_some(())).await;
        world.check_written_and_once();
    });
}

#[test]
fn a_stop_loss_does_not_wait_for_a_comparison_that_hangs_and_voids_its_answer() {
    live(async {
        let mut world = World::new().await;
        // Nothing but the stop may close, and nothing may open.
        (world.settings.strategy.enter_bps, world.settings.strategy.hold_bars) = (9000, 100_000);
        let mut engine = Engine::start(&world, 1).await;
        engine.reconcile(1).await;
        let said = Rc::clone(&engine.said);
        world.fault(r#"{"kind":"foreign_position","coin":"BTC","value":"0.01"}"#);
        until("the position is seen", || said.borrow().trips.iter().any(|t| t.contains("BTC")).then_some(())).await;
        // What only a comparison asks for comes so late that one takes many seconds.
        let slow = r#"{"ms":1900,"types":["exchangeStatus","userRateLimit","userFillsByTime","perpDexs"]}"#;
        world.fault(&format!(r#"{{"kind":"latency","value":{slow}}}"#));
        engine.order(ToWorker::Reconcile { asked: 2 }).await;
        world.fault(r#"{"kind":"price_jump","coin":"BTC","value":-500}"#);
        until("its close", || world.orders().iter().any(|(_, reduce, o)| *reduce && o == "filled").then_some(())).await;
        let answered = said.borrow().reconciled.iter().any(|(asked, ..)| *asked == 2);
        assert!(!answered, "the close went out while the comparison was under way");
        world.clear_faults();
        until("a clean answer", || {
            said.borrow().reconciled.iter().any(|(asked, clean, _)| *asked == 2 && *clean).then_some(())
        })
        .await;
        let held = world.journal().iter().rev().find_map(|l| l["entry"]["reconciled"]["held"].as_array().cloned());
        assert_eq!(held.map(|held| held.len()), Some(0), "compared again after the close");
        assert_eq!(world.position().await, "0");
        assert_eq!(world.orders().len(), 1, "closed once");
        assert_eq!(said.borrow().trips.len(), 1, "our own close is no incident: {:?}", said.borrow().trips);
        world.check_written_and_once();
    });
}

#[test]
fn a_limit_used_up_by_others_is_told_for_as_long_as_it_lasts() {
    live(async {
        let world = World::new().await;
        let mut engine = Engine::start(&world, 1).await;
        engine.reconcile(1).await;
        let said = Rc::clone(&engine.said);
        until("nothing stands", || (said.borrow().standing == Some(None)).then_some(())).await;
        world.fault(r#"{"kind":"foreign_position","coin":"ETH","value":"5"}"#);
        let told = until("the cause", || said.borrow().standing.clone().flatten()).await;
        assert_eq!(told.cause, StandingCause::Capital);
        assert!(told.detail.contains("used up by ETH 5"), "{}", told.detail);
        engine.reconcile(2).await;
        engine.permitted.set(true);
        let bars = said.borrow().progress + 100;
        until("many bars", || (said.borrow().progress > bars).then_some(())).await;
        assert_eq!(world.orders().len(), 0);
        world.fault(r#"{"kind":"foreign_position","coin":"ETH","value":"-5"}"#);
        until("its end", || (said.borrow().standing == Some(None)).then_some(())).await;
    });
}

/// An exchange that takes only post-only orders takes no immediate close: the engine says so instead of only trying on.
#[test]
fn an_exit_that_does_not_succeed_asks_for_help() {
    live(async {
        let mut world = World::new().await;
        (world.settings.strategy.enter_bps, world.settings.strategy.hold_bars) = (9000, 4);
        let mut engine = Engine::start(&world, 1).await;
        engine.reconcile(1).await;
        let said = Rc::clone(&engine.said);
        world.fault(r#"{"kind":"post_only_window"}"#);
        world.fault(r#"{"kind":"foreign_position","coin":"BTC","value":"0.01"}"#);
        let told = until("the cry for help", || said.borrow().standing.clone().flatten()).await;
        assert_eq!(told.cause, StandingCause::Exit);
        assert!(told.detail.contains("engine flatten"), "{}", told.detail);
        world.clear_faults();
        until("its end", || (said.borrow().standing == Some(None)).then_some(())).await;
        assert_eq!(world.position().await, "0");
    });
}

/// The demonstration must be seen to trade: signals of the default parameters on the bundled market at its own speed.
#[test]
fn the_default_strategy_trades_several_times_in_ninety_seconds() {
    use holdfast_engine::bars::Bars;
    use holdfast_engine::strategy::{Holding, Strategy, Want};
    use holdfast_ipc::settings::StrategySettings;
    use holdfast_paper_venue::market::{Market, MarketKind, MarketSource};
    let settings = StrategySettings::default();
    let mut market = Market::open(&MarketSource::Bundled { seed: 1 }).unwrap();
    let speed = u64::from(market.default_speed());
    let (mut bars, mut strategy) = (Bars::new(settings.bar_ms), Strategy::new(settings));
    let (mut holding, mut opened, mut closed, mut published) = (None::<Holding>, 0, 0, 0);
    loop {
        let event = market.next_event();
        let wall_ms = event.at_ms / speed;
        if wall_ms > 90_000 {
            break;
        }
        let MarketKind::Book { bids, asks } = event.kind else { continue };
        // A book of a coin is published at most twice a second.
        if event.coin != "BTC" || bids.is_empty() || asks.is_empty() || wall_ms < published + 500 {
            continue;
        }
        published = wall_ms;
        let Some(mid) = bids[0].px.mid(asks[0].px) else { continue };
        let Some(bar) = bars.push(wall_ms, mid) else { continue };
        match strategy.on_bar(&bar, holding.as_ref()).want {
            Want::Open { is_buy } => {
                let size = if is_buy { "1" } else { "-1" }.parse().unwrap();
                holding = Some(Holding { size, entry_px: mid, since_bar: bar.number });
                opened += 1;
            }
            Want::Close(_) => {
                holding = None;
                closed += 1;
            }
            Want::Hold => {}
        }
    }
    println!("opened {opened}, closed {closed}");
    assert!(opened >= 3 && closed >= 2, "opened {opened}, closed {closed}");
}

#[test]
fn an_order_the_venue_never_took_blocks_opening_until_its_expiry_has_passed() {
    live(async {
        let world = World::new().await;
        let mut engine = Engine::start(&world, 1).await;
        engine.reconcile(1).await;
        world.fault(r#"{"kind":"http_error","value":{"status":503,"path":"/exchange"},"for_ms":4000}"#);
        engine.permitted.set(true);
        let find = |key: &str| world.journal().iter().position(|line| !line["entry"][key].is_null());
        let settled = until("a settled order", || find("settled")).await;
        let how = world.journal()[settled]["entry"]["settled"]["how"].as_str().unwrap().to_owned();
        assert!(how.contains("never arrived"), "{how}");
        let journal = world.journal();
        let intents = journal[..settled].iter().filter(|l| l["entry"]["intent"]["kind"] == "open").count();
        assert_eq!(intents, 1, "nothing else was meant to be opened while one outcome was unknown");
        let expires = journal[find("intent").unwrap()]["entry"]["intent"]["expires_after_ms"].as_u64().unwrap();
        assert!(journal[settled]["at_ms"].as_u64().unwrap() >= expires + 2000);
        until("trading goes on", || (world.openings() >= 1).then_some(())).await;
        world.check_written_and_once();
    });
}
