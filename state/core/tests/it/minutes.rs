//! What is written down of a tree's life: every change once, in order, and nothing for a tick that changes nothing.

use crate::world::World;
use holdfast_core::command::ControlRequest;
use holdfast_core::event::Event;
use holdfast_core::ids::Role;
use holdfast_core::record::{Breaker, Outcome, Record};
use holdfast_core::registry::{ModeReason, TradingMode};
use holdfast_core::report::{BusHealth, JobState};
use holdfast_core::time::Span;

const SECOND: Span = Span::from_ms(1000);

fn types(world: &World, from: usize) -> Vec<&'static str> {
    world.records()[from..].iter().map(|record| record.event_type()).collect()
}

#[test]
fn an_active_tree_that_ticks_writes_nothing_down() {
    let mut world = World::active();
    let before = world.records().len();
    world.run(Span::from_ms(60_000));
    assert_eq!(types(&world, before), [""; 0]);
}

#[test]
fn a_start_is_told_as_its_workers_its_reconciliation_its_mode_and_its_permit() {
    let world = World::active();
    let records = world.records();
    for role in Role::ALL {
        let states: Vec<_> = records
            .iter()
            .filter_map(|record| match record {
                Record::WorkerState { role: whose, state, .. } if *whose == role => Some(*state),
                _ => None,
            })
            .collect();
        assert_eq!(states, ["starting", "ready"], "{role}");
    }
    let at = |wanted: &str| records.iter().rposition(|record| record.event_type() == wanted).expect(wanted);
    assert!(at("worker.state") < at("status.mode") && at("reconciliation.clean") < at("status.mode"));
    assert_eq!(at("permit.granted"), records.iter().position(|r| r.event_type() == "permit.granted").unwrap());
    assert!(at("breaker.closed") < at("permit.granted"), "nothing is open any more when the permit is granted");
}

#[test]
fn a_kill_is_told_from_the_order_to_the_proof_and_a_refused_resume_too() {
    let mut world = World::active();
    world.flat = false;
    let before = world.records().len();
    world.command(ControlRequest::Kill { flatten: true, reason: Some("words".into()) });
    world.run(SECOND);
    let first = types(&world, before);
    assert_eq!(first[0], "operator.command");
    let at = |wanted: &str| first.iter().position(|found| *found == wanted).expect(wanted);
    assert!(at("breaker.opened") < at("permit.revoked") && first.contains(&"reduce.attempt"), "{first:?}");
    world.command(ControlRequest::Resume { confirm: None });
    let refused = world.records().iter().any(|record| {
        matches!(record, Record::OperatorCommand { command: "resume", outcome: Outcome::Refused, code: Some(_), .. })
    });
    assert!(refused, "what is refused is written down too");
    world.flat = true;
    world.run(Span::from_ms(15_000));
    let records = world.records();
    let not_flat = |r: &&&Record| matches!(r, Record::ReduceAttempt { state: Some(JobState::NotFlat), .. });
    assert_eq!(records.iter().filter(not_flat).count(), 1, "the same verdict again is no event");
    assert!(matches!(
        records.iter().rfind(|r| r.event_type().starts_with("reduce.")),
        Some(Record::ReduceConfirmed { proof_venue_ms: Some(1), .. })
    ));
}

#[test]
fn a_bus_that_does_not_write_or_does_not_verify_restricts_each_in_its_word_and_kill_goes_ahead() {
    let words = || "because".to_owned();
    let cases = [
        (BusHealth::Unavailable { why: words() }, ModeReason::ReduceonlyIntentLedgerUnavailable),
        (BusHealth::Refused { why: words() }, ModeReason::ReduceonlyEvidenceChainNotGreen),
    ];
    for (health, reason) in cases {
        let mut world = World::active();
        world.event(Event::Bus(health));
        assert_eq!(world.mode(), TradingMode::ReduceOnly);
        assert!(world.reasons().contains(&reason.as_str()) && world.permit_until.is_none(), "{:?}", world.reasons());
        let opened = |r: &&&Record| matches!(r, Record::BreakerOpened { breaker: Breaker::Bus, causes } if *causes == ["because"]);
        assert_eq!(world.records().iter().filter(opened).count(), 1);
        world.command(ControlRequest::Kill { flatten: true, reason: None });
        world.run(SECOND);
        assert_eq!(world.machine.view(world.now).job_state, "flat");
        let mut world = World::active();
        world.event(Event::Bus(BusHealth::Unavailable { why: words() }));
        world.event(Event::Bus(BusHealth::Good));
        assert_eq!(world.mode(), TradingMode::Active);
    }
}
