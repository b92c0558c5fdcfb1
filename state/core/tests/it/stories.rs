//! Stories with one fault each.

use crate::world::World;
use holdfast_core::command::{ControlReply, ControlRequest};
use holdfast_core::duty::Duty;
use holdfast_core::event::{Action, Event};
use holdfast_core::ids::{JobId, Role};
use holdfast_core::kill::{KillCause, KillLatch};
use holdfast_core::limits::{PROBATION, RESTARTS_MAX, TICK, WORKER_HUNG};
use holdfast_core::message::ToWorker;
use holdfast_core::registry::{LatchReason, ModeReason, TradingMode};
use holdfast_core::report::{
    AccountView, JobKind, JobProgress, JobState, LatchTrip, MarketHealth, MarketState, ReconcileReport, Standing,
    StandingCause,
};
use holdfast_core::time::{Span, Tick};

const SECOND: Span = Span::from_ms(1000);

fn kill() -> ControlRequest {
    ControlRequest::Kill { flatten: true, reason: Some("test".to_owned()) }
}

#[test]
fn the_first_state_is_the_strictest() {
    let world = World::new();
    assert_eq!(world.mode(), TradingMode::ReduceOnly);
    assert_eq!(world.machine.view(world.now).latch, [LatchReason::RestartReconcileRequired]);
    assert!(world.permit_until.is_none());
}

#[test]
fn workers_start_in_order_and_the_tree_becomes_active() {
    let world = World::active();
    let spawned: Vec<Role> = world
        .log
        .iter()
        .filter_map(|action| if let Action::Spawn { role, .. } = action { Some(*role) } else { None })
        .collect();
    assert_eq!(spawned, Role::ALL);
    assert!(world.permit_until.is_some());
}

#[test]
fn nobody_is_started_before_a_venue_that_is_tried_again() {
    let mut world = World::new();
    // Dies at every attempt: at once, then after a backoff.
    for _ in 0..8 {
        world.die(Role::Venue, "exit code 1");
        world.now = world.now.after(TICK);
        world.event(Event::Wake);
        assert!(world.alive.keys().all(|role| *role == Role::Venue), "{:?}", world.alive);
    }
    world.run(Span::from_ms(60_000));
    assert_eq!(world.alive.len(), Role::ALL.len(), "{:?}", world.alive);
    assert_eq!(world.mode(), TradingMode::Active, "{:?}", world.reasons());
}

#[test]
fn any_death_restricts_restarts_at_once_and_needs_probation_and_reconcile() {
    for role in Role::ALL {
        let mut world = World::active();
        world.die(role, "signal 9");
        assert_eq!(world.mode(), TradingMode::ReduceOnly, "{role}");
        assert!(world.permit_until.is_none(), "{role}");
        assert!(world.alive.contains_key(&role), "{role} restarts at once");
        world.run(PROBATION);
        assert_eq!(world.mode(), TradingMode::ReduceOnly, "{role}: probation is not over");
        world.run(SECOND);
        assert_eq!(world.mode(), TradingMode::Active, "{role}: {:?}", world.reasons());
    }
}

#[test]
fn a_silent_worker_restricts_within_a_second_and_is_replaced_within_four() {
    for role in Role::ALL {
        let mut world = World::active();
        let before = world.alive[&role];
        world.mute.insert(role);
        world.run(SECOND);
        assert_eq!(world.mode(), TradingMode::ReduceOnly, "{role}");
        assert!(world.permit_until.is_none(), "{role}");
        world.run(WORKER_HUNG);
        assert_ne!(world.alive[&role], before, "{role} was replaced");
    }
}

#[test]
fn a_host_that_slept_kills_nobody_and_reconciles_before_opening() {
    let mut world = World::active();
    let before = world.alive.clone();
    world.now = world.now.after(Span::from_ms(60_000));
    world.event(holdfast_core::event::Event::Wake);
    assert_eq!(world.mode(), TradingMode::ReduceOnly);
    world.run(SECOND);
    assert_eq!(world.alive, before, "nobody was killed for the supervisor's own sleep");
    world.run(Span::from_ms(12_000));
    assert_eq!(world.mode(), TradingMode::Active);
}

#[test]
fn what_the_engine_refuses_by_itself_restricts_where_there_is_a_word_for_it_and_ends_with_its_cause() {
    for (cause, reasons) in [
        (StandingCause::Capital, &[ModeReason::ReduceonlyMarginMmUtilHigh][..]),
        (StandingCause::Exit, &[ModeReason::ReduceonlyContainmentActive, ModeReason::ReduceonlyRiskstateDegraded]),
        (StandingCause::Other, &[]),
    ] {
        let mut world = World::active();
        world.event(Event::Standing(Some(Standing { cause, detail: "words".to_owned() })));
        assert_eq!(world.machine.view(world.now).reasons, reasons);
        assert_eq!(world.permit_until.is_some(), reasons.is_empty());
        assert_eq!(world.machine.view(world.now).standing, Some("words"));
        world.event(Event::Standing(None));
        assert_eq!((world.mode(), world.machine.view(world.now).standing), (TradingMode::Active, None));
    }
}

#[test]
fn a_kill_fences_first_ends_flat_and_survives_until_resumed_with_the_exact_phrase() {
    let mut world = World::active();
    let id = world.command(kill());
    assert_eq!(world.mode(), TradingMode::Kill);
    assert!(!world.alive.contains_key(&Role::Engine), "the engine is fenced");
    assert!(matches!(world.reply(id), Some(ControlReply::Progress(p)) if p.proof_venue_ms.is_some()));
    world.run(Span::from_ms(60_000));
    assert_eq!(world.mode(), TradingMode::Kill);
    assert!(!world.alive.contains_key(&Role::Engine), "and stays down");

    let offer = world.command(ControlRequest::Resume { confirm: None });
    let Some(ControlReply::ResumeOffer { phrase, .. }) = world.reply(offer).cloned() else { panic!("an offer") };
    assert_eq!(phrase, "resume paper KILL_RISKSTATE_KILL");
    world.command(ControlRequest::Resume { confirm: Some(format!("{phrase} ")) });
    assert_eq!(world.mode(), TradingMode::Kill, "almost is not the phrase");
    world.command(ControlRequest::Resume { confirm: Some(phrase) });
    assert_ne!(world.mode(), TradingMode::Active, "never straight to Active");
    world.run(Span::from_ms(15_000));
    assert_eq!(world.mode(), TradingMode::Active, "{:?}", world.reasons());
}

#[test]
fn a_kill_is_remembered_by_the_next_supervisor_which_proves_flat_again() {
    let mut world = World::active();
    world.command(kill());
    let mut next = World::with(world.machine.durable().clone());
    next.run(Span::from_ms(5000));
    assert_eq!(next.mode(), TradingMode::Kill);
    assert!(!next.alive.contains_key(&Role::Engine));
    assert_eq!(next.machine.view(next.now).job_state, "flat");
}

#[test]
fn a_kill_that_is_not_flat_cannot_be_resumed_and_goes_on() {
    let mut world = World::active();
    world.flat = false;
    let id = world.command(kill());
    assert!(matches!(world.reply(id), Some(ControlReply::Progress(p)) if p.proof_venue_ms.is_none()));
    let refused = world.command(ControlRequest::Resume { confirm: None });
    assert!(matches!(world.reply(refused), Some(ControlReply::Refused { code, .. }) if code == "job_running"));
    assert_eq!(world.machine.view(world.now).job_state, "not_flat");
    world.flat = true;
    world.run(Span::from_ms(15_000));
    assert_eq!(world.machine.view(world.now).job_state, "flat", "a silent job is handed out again");
}

#[test]
fn kill_and_flatten_reach_deadman_even_when_it_is_being_replaced() {
    for request in [kill(), ControlRequest::Flatten {}] {
        let mut world = World::active();
        world.mute.insert(Role::Deadman);
        let id = world.command(request.clone());
        assert!(world.reply(id).is_none());
        world.run(Span::from_ms(4000));
        assert!(
            matches!(world.reply(id), Some(ControlReply::Progress(p)) if p.proof_venue_ms.is_some()),
            "{request:?}: {:?}",
            world.reply(id)
        );
    }
}

#[test]
fn flatten_keeps_the_engine_and_blocks_new_risk_until_resumed() {
    let mut world = World::active();
    world.command(ControlRequest::Flatten {});
    world.run(Span::from_ms(30_000));
    assert_eq!(world.reasons(), ["REDUCEONLY_OPERATOR_PAUSED"]);
    assert!(world.alive.contains_key(&Role::Engine));
}

#[test]
fn flatten_after_kill_is_a_new_job() {
    let mut world = World::active();
    world.command(kill());
    let first = world.machine.durable().last_job;
    let id = world.command(ControlRequest::Flatten {});
    assert!(world.machine.durable().last_job > first);
    assert!(matches!(world.reply(id), Some(ControlReply::Progress(_))));
}

#[test]
fn a_worker_that_keeps_crashing_stays_down_and_kills_the_mode_but_deadman_never_does() {
    for (role, mode) in [(Role::Sensor, TradingMode::Kill), (Role::Api, TradingMode::ReduceOnly)] {
        let mut world = World::active();
        for _ in 0..RESTARTS_MAX {
            world.die(role, "crash");
            while !world.alive.contains_key(&role)
                && world.machine.workers(world.now).any(|w| w.role == role && w.state.as_str() == "backoff")
            {
                world.run(SECOND);
            }
        }
        assert_eq!(world.mode(), mode, "{role}");
        assert!(!world.alive.contains_key(&role));
    }
    let mut world = World::active();
    for _ in 0..3 * RESTARTS_MAX {
        world.die(Role::Deadman, "crash");
        world.run(Span::from_ms(40_000));
        assert!(world.alive.contains_key(&Role::Deadman), "never given up on");
    }
}

#[test]
fn a_stop_takes_everything_down_in_order_and_finishes() {
    let mut world = World::active();
    let id = world.command(ControlRequest::Stop { flatten: false });
    world.run(SECOND);
    assert!(world.finished && world.alive.is_empty());
    assert!(matches!(world.reply(id), Some(ControlReply::Done { .. })));
}

#[test]
fn a_stop_with_flatten_does_not_stop_while_something_is_open() {
    let mut world = World::active();
    world.flat = false;
    let id = world.command(ControlRequest::Stop { flatten: true });
    world.run(SECOND);
    assert!(!world.finished && world.reply(id).is_some());
    world.flat = true;
    world.command(ControlRequest::Stop { flatten: true });
    world.run(SECOND);
    assert!(!world.finished && world.alive.contains_key(&Role::Deadman), "a late fill may yet arrive");
    world.run(SECOND);
    world.run(SECOND);
    assert!(world.finished);
}

#[test]
fn a_stop_does_not_take_deadman_away_from_a_kill_under_way() {
    let mut world = World::active();
    world.flat = false;
    world.command(kill());
    world.command(ControlRequest::Stop { flatten: false });
    world.run(Span::from_ms(3000));
    assert_eq!(world.alive.keys().copied().collect::<Vec<_>>(), [Role::Venue, Role::Deadman]);
    let job = world.machine.durable().last_job;
    world.event(Event::Job(JobProgress {
        job,
        state: JobState::Flat,
        round: 2,
        residue: Vec::new(),
        proof_venue_ms: Some(1),
        detail: String::new(),
    }));
    world.run(Span::from_ms(3000));
    assert!(world.finished, "and ends once it is flat");

    let mut world = World::active();
    world.flat = false;
    world.command(kill());
    world.command(ControlRequest::Stop { flatten: false });
    world.run(Span::from_ms(18_000));
    assert!(world.finished, "it does not wait for ever");
    assert!(world.machine.durable().kill.is_some(), "the next start takes it up");
}

#[test]
fn a_stop_while_a_worker_is_stopped_still_ends() {
    for role in Role::ALL {
        let mut world = World::active();
        world.mute.insert(role);
        world.command(ControlRequest::Stop { flatten: false });
        world.run(Span::from_ms(6000));
        assert!(world.finished, "{role}");
    }
}

#[test]
fn a_killed_engine_that_does_not_end_does_not_hold_up_the_kill() {
    let mut world = World::active();
    world.stuck.insert(Role::Engine);
    let id = world.command(kill());
    world.run(SECOND);
    assert!(world.reply(id).is_none(), "its end is waited for");
    world.command(kill());
    world.run(Span::from_ms(1500));
    assert!(
        matches!(world.reply(id), Some(ControlReply::Progress(p)) if p.proof_venue_ms.is_some()),
        "and then not any more, however often the kill is typed: {:?}",
        world.reply(id)
    );
    assert_eq!(world.mode(), TradingMode::Kill);
    world.stuck.remove(&Role::Engine);
    world.die(Role::Engine, "signal 9");
    world.run(SECOND);
    assert!(!world.alive.contains_key(&Role::Engine), "it stays down when it ends at last");
}

/// The number of the newest request to reconcile.
fn asked(world: &World) -> u64 {
    let asked = |action: &Action| match action {
        Action::Tell { what: ToWorker::Reconcile { asked }, .. } => Some(*asked),
        _ => None,
    };
    world.log.iter().rev().find_map(asked).expect("it was asked")
}

#[test]
fn books_compared_while_the_cause_still_stands_open_nothing_and_are_compared_again() {
    for cause in ["market", "account", "venue", "sensor"] {
        let mut world = World::active();
        let role = if cause == "venue" { Role::Venue } else { Role::Sensor };
        // The engine answers at once, as it might from what it had begun to read just before.
        world.mute.insert(role);
        match cause {
            "market" => {
                let health = MarketHealth { state: MarketState::Gap, last_good: Some(world.now), skew_ms: 0 };
                world.event(Event::Market(health));
            }
            "account" => world.event(Event::AccountUnknown),
            _ => world.event(Event::Fault { role, detail: "test".to_owned() }),
        }
        let reason = LatchReason::WsBookGapReconcileRequired;
        world.event(Event::Trip(LatchTrip { reason, detail: String::new() }));
        let void = asked(&world);
        assert!(world.machine.view(world.now).latch.contains(&reason), "{cause}: cleared while the cause stands");
        world.mute.remove(&role);
        world.run(Span::from_ms(15_000));
        assert_eq!(world.mode(), TradingMode::Active, "{cause}: {:?}", world.reasons());
        assert!(asked(&world) > void, "{cause}: by a newer comparison");
        let stale = ReconcileReport { asked: void, clean: true, detail: String::new() };
        world.event(Event::Trip(LatchTrip { reason, detail: String::new() }));
        world.event(Event::Reconciled(stale));
    }
}

#[test]
fn a_reading_from_the_future_is_no_reading() {
    let mut world = World::active();
    let account = world.machine.view(world.now).account.cloned().expect("it was read");
    world.mute.insert(Role::Sensor);
    world.event(Event::Account(Box::new(AccountView { read_at: Tick(u64::MAX), ..account })));
    assert!(!world.machine.view(world.now).account_known);
    assert_ne!(world.mode(), TradingMode::Active);
    let mut world = World::active();
    let last_good = Some(Tick(u64::MAX));
    world.event(Event::Market(MarketHealth { state: MarketState::Fresh, last_good, skew_ms: 0 }));
    assert_ne!(world.mode(), TradingMode::Active);
}

#[test]
fn nothing_is_opened_while_deadman_closes_by_itself() {
    let mut world = World::active();
    let own = |state| {
        Event::Job(JobProgress {
            job: JobId::OWN,
            state,
            round: 1,
            residue: Vec::new(),
            proof_venue_ms: Some(1),
            detail: String::new(),
        })
    };
    world.event(own(JobState::Closing));
    assert!(world.reasons().contains(&"REDUCEONLY_CONTAINMENT_ACTIVE"), "{:?}", world.reasons());
    assert!(world.permit_until.is_none());
    world.event(own(JobState::Flat));
    assert_eq!(world.mode(), TradingMode::Active);
}

#[test]
fn latches_that_do_not_reach_the_disk_restrict_and_a_kill_goes_ahead_regardless() {
    let mut world = World::active();
    world.event(Event::Latches { on_disk: false });
    assert!(world.reasons().contains(&"REDUCEONLY_INTENT_LEDGER_UNAVAILABLE"), "{:?}", world.reasons());
    assert!(world.permit_until.is_none());
    let id = world.command(kill());
    assert!(matches!(world.reply(id), Some(ControlReply::Progress(p)) if p.proof_venue_ms.is_some()));
    let mut world = World::active();
    world.event(Event::Latches { on_disk: false });
    world.event(Event::Latches { on_disk: true });
    assert_eq!(world.mode(), TradingMode::Active);
}

#[test]
fn a_ledger_that_does_not_take_what_is_recorded_restricts_like_latches_do() {
    let mut world = World::active();
    world.event(Event::Ledger { on_disk: false });
    assert_eq!(world.reasons(), ["REDUCEONLY_INTENT_LEDGER_UNAVAILABLE", "REDUCEONLY_RISKSTATE_DEGRADED"]);
    assert!(world.permit_until.is_none());
    // One of the two that is well again does not speak for the other.
    world.event(Event::Latches { on_disk: false });
    world.event(Event::Latches { on_disk: true });
    assert_eq!(world.mode(), TradingMode::ReduceOnly);
    let id = world.command(kill());
    assert!(matches!(world.reply(id), Some(ControlReply::Progress(p)) if p.proof_venue_ms.is_some()));
    let mut world = World::active();
    world.event(Event::Ledger { on_disk: false });
    world.event(Event::Ledger { on_disk: true });
    assert_eq!(world.mode(), TradingMode::Active);
}

#[test]
fn records_that_disagree_restrict_until_an_operator_resumes_by_name() {
    let mut world = World::active();
    world.event(Event::Disagreement { detail: "loss baseline".into() });
    assert_eq!(world.reasons(), ["REDUCEONLY_EVIDENCE_CHAIN_NOT_GREEN"]);
    assert!(world.permit_until.is_none());
    assert_eq!(world.machine.durable().disagreement.as_deref(), Some("loss baseline"), "a restart remembers it");
    let told = "resume paper REDUCEONLY_EVIDENCE_CHAIN_NOT_GREEN";
    let id = world.command(ControlRequest::Resume { confirm: None });
    assert!(matches!(world.reply(id), Some(ControlReply::ResumeOffer { phrase, .. }) if phrase == told));
    assert_eq!(world.mode(), TradingMode::ReduceOnly);
    world.command(ControlRequest::Resume { confirm: Some(told.into()) });
    assert_eq!(world.machine.durable().disagreement, None);
}

#[test]
fn a_kill_that_only_cancels_does_not_replace_a_flatten_that_is_owed() {
    for request in [ControlRequest::Flatten {}, ControlRequest::Stop { flatten: true }] {
        let mut world = World::active();
        world.flat = false;
        world.command(request.clone());
        world.command(ControlRequest::Kill { flatten: false, reason: None });
        let kinds = |action: &Action| match action {
            Action::Tell { what: ToWorker::Reduce { kind, .. }, .. } => Some(*kind),
            _ => None,
        };
        let last = world.log.iter().rev().find_map(kinds);
        assert_eq!(last, Some(JobKind::Flatten), "{request:?}");
        assert_eq!(world.machine.durable().owed, Some(JobKind::Flatten), "{request:?}");
    }
}

#[test]
fn an_engine_that_is_given_up_on_leaves_nothing_unattended() {
    let mut world = World::active();
    for _ in 0..RESTARTS_MAX {
        world.die(Role::Engine, "crash");
        while !world.alive.contains_key(&Role::Engine)
            && world.machine.workers(world.now).any(|w| w.role == Role::Engine && w.state.as_str() == "backoff")
        {
            world.run(SECOND);
        }
    }
    world.run(SECOND);
    assert_eq!(world.mode(), TradingMode::Kill);
    assert_eq!(world.machine.view(world.now).job_state, "flat", "what was open is closed and proven");
}

/// The kinds of all jobs deadman was given, oldest first.
fn jobs(world: &World) -> Vec<JobKind> {
    let kind = |action: &Action| match action {
        Action::Tell { what: ToWorker::Reduce { kind, .. }, .. } => Some(*kind),
        _ => None,
    };
    world.log.iter().filter_map(kind).collect()
}

#[test]
fn a_job_that_deadman_had_begun_is_taken_up_by_the_next_supervisor_and_nothing_is_opened_before_its_proof() {
    for kind in [JobKind::Flatten, JobKind::CancelAll] {
        let mut durable = World::active().machine.durable().clone();
        durable.take_over(&Duty { job: Some(kind), ..Duty::default() });
        let mut world = World::with(durable);
        world.flat = false;
        world.run(Span::from_ms(20_000));
        assert_eq!(jobs(&world).first(), Some(&kind));
        assert_eq!(world.mode(), TradingMode::ReduceOnly, "{kind:?}");
        assert!(world.reasons().contains(&"REDUCEONLY_CONTAINMENT_ACTIVE"), "{kind:?}: {:?}", world.reasons());
        assert_ne!(world.machine.view(world.now).job_state, "none", "{kind:?}: it is shown");
        // The one after that takes it up as well: it is owed until it is proven.
        let mut next = World::with(world.machine.durable().clone());
        next.run(Span::from_ms(15_000));
        assert_eq!((jobs(&next), next.machine.durable().owed), (vec![kind], None), "{kind:?}");
        assert_eq!(next.mode(), TradingMode::Active, "{kind:?}: {:?}", next.reasons());
        let last = World::with(next.machine.durable().clone());
        assert_eq!(last.machine.view(last.now).job_state, "none", "{kind:?}: proven once");
    }
}

#[test]
fn a_kill_taken_by_deadman_itself_is_latched_at_once_and_outlives_the_tree() {
    for cause in [KillCause::Operator, KillCause::OperatorDeadMan] {
        let mut world = World::active();
        let kill = KillLatch::new(5, cause, Some("at the door"), JobKind::Flatten);
        let duty = Duty { job: Some(JobKind::Flatten), kill: Some(kill.clone()), paused_since_wall_ms: None };
        world.event(Event::Duty(Box::new(duty)));
        assert_eq!(world.mode(), TradingMode::Kill, "{cause:?}");
        assert!(!world.alive.contains_key(&Role::Engine), "{cause:?}");
        let mut next = World::with(world.machine.durable().clone());
        next.run(Span::from_ms(15_000));
        assert_eq!((next.mode(), next.machine.durable().kill.as_ref()), (TradingMode::Kill, Some(&kill)), "{cause:?}");
    }
}

#[test]
fn a_flatten_asked_at_deadmans_door_keeps_new_risk_blocked_until_a_resume() {
    let mut world = World::active();
    let duty = Duty { job: Some(JobKind::Flatten), kill: None, paused_since_wall_ms: Some(5) };
    world.event(Event::Duty(Box::new(duty)));
    world.run(Span::from_ms(15_000));
    assert_eq!(jobs(&world), [JobKind::Flatten]);
    assert_eq!(world.reasons(), ["REDUCEONLY_OPERATOR_PAUSED"]);
}

/// A reading that shows a position.
fn open_at(now: Tick) -> Event {
    let position = holdfast_core::report::PositionView {
        dex: String::new(),
        coin: "BTC".to_owned(),
        size: "0.01".parse().expect("a size"),
        entry_px: None,
        mark_px: None,
        notional_usd: holdfast_core::money::Usd::whole(600),
    };
    Event::Account(Box::new(AccountView {
        read_at: now,
        venue_ms: 2,
        equity_usd: holdfast_core::money::Usd::whole(1000),
        margin_used_usd: holdfast_core::money::Usd::ZERO,
        positions: Vec::from([position]),
        orders: Vec::new(),
        requests_left: None,
    }))
}

#[test]
fn what_appears_under_a_kill_is_a_new_job_and_stands_against_a_resume() {
    let mut world = World::active();
    world.command(kill());
    world.run(SECOND);
    let first = world.machine.durable().last_job;
    world.now = world.now.after(TICK);
    // The job that is ordered now cannot end.
    world.flat = false;
    world.event(open_at(world.now));
    let jobs = |world: &World| world.machine.durable().last_job.0 - first.0;
    assert_eq!((jobs(&world), world.machine.view(world.now).job_state), (1, "not_flat"));
    // Proven again, and open again: said at once, refused to a resume, and closed anew only after a pause.
    let job = world.machine.durable().last_job;
    let (state, proof_venue_ms) = (JobState::Flat, Some(3));
    let flat = JobProgress { job, state, round: 2, residue: Vec::new(), proof_venue_ms, detail: String::new() };
    world.event(Event::Job(flat));
    assert!(!world.machine.view(world.now).contradicted, "no reading is later than the proof");
    world.now = world.now.after(TICK);
    world.event(open_at(world.now));
    assert!(world.machine.view(world.now).contradicted);
    let refused = world.command(ControlRequest::Resume { confirm: None });
    assert!(matches!(world.reply(refused), Some(ControlReply::Refused { code, .. }) if code == "not_proven_flat"));
    assert_eq!(jobs(&world), 1);
    world.now = world.now.after(SECOND);
    for _ in 0..10 {
        world.now = world.now.after(SECOND);
        world.event(open_at(world.now));
    }
    assert_eq!(jobs(&world), 2);
}

#[test]
fn a_kill_that_an_operator_lifted_does_not_come_back_when_deadman_tells_of_it_again() {
    let mut world = World::active();
    let latch = |since| KillLatch::new(since, KillCause::Operator, None, JobKind::Flatten);
    let duty = |since| Event::Duty(Box::new(Duty { kill: Some(latch(since)), ..Duty::default() }));
    world.event(duty(77));
    world.run(SECOND);
    let phrase = "resume paper KILL_RISKSTATE_KILL".to_owned();
    world.command(ControlRequest::Resume { confirm: Some(phrase) });
    world.event(duty(77));
    assert!(world.machine.durable().kill.is_none());
    world.event(duty(78));
    assert!(world.machine.durable().kill.is_some(), "another one is another one");
}

#[test]
fn a_proof_is_forgotten_once_opening_is_possible_again() {
    let mut durable = holdfast_core::durable::Durable::fresh();
    durable.owe(JobKind::Flatten);
    let mut world = World::with(durable);
    world.run(SECOND);
    assert_eq!(world.machine.view(world.now).job_state, "flat");
    world.run(Span::from_ms(20_000));
    assert_eq!((world.mode(), world.machine.view(world.now).job_state), (TradingMode::Active, "none"));
}

#[test]
fn what_an_engine_refused_by_itself_goes_with_it() {
    let mut world = World::active();
    world.event(Event::Standing(Some(Standing { cause: StandingCause::Capital, detail: "words".to_owned() })));
    world.command(kill());
    assert_eq!(world.machine.view(world.now).standing, None);
}
