//! Random histories: whatever happens in whatever order, the invariants of `World` hold after every step.

use crate::world::World;
use holdfast_core::command::{ControlReply, ControlRequest};
use holdfast_core::event::Event;
use holdfast_core::ids::{JobId, Role};
use holdfast_core::registry::{LatchReason, TradingMode};
use holdfast_core::report::{JobProgress, JobState, LatchTrip, ReconcileReport};
use holdfast_core::time::Span;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Happening {
    Run(u64),
    Die(Role),
    Mute(Role),
    Fault(Role),
    Sleep(u64),
    Trip(usize),
    StaleReconcile,
    StrayJob(u64),
    Pause,
    Flatten,
    Kill,
    Resume,
    NotFlat(bool),
    Emergency,
}

fn role() -> impl Strategy<Value = Role> {
    (0..Role::ALL.len()).prop_map(|at| Role::ALL[at])
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (100_u64..8000).prop_map(Happening::Run),
        3 => role().prop_map(Happening::Die),
        2 => role().prop_map(Happening::Mute),
        1 => role().prop_map(Happening::Fault),
        1 => (100_u64..20_000).prop_map(Happening::Sleep),
        1 => (0..LatchReason::ALL.len()).prop_map(Happening::Trip),
        1 => Just(Happening::StaleReconcile),
        1 => (0_u64..5).prop_map(Happening::StrayJob),
        1 => Just(Happening::Pause),
        1 => Just(Happening::Flatten),
        1 => Just(Happening::Kill),
        2 => Just(Happening::Resume),
        1 => any::<bool>().prop_map(Happening::NotFlat),
        1 => Just(Happening::Emergency),
    ]
}

fn apply(world: &mut World, happening: &Happening) {
    match happening {
        Happening::Run(ms) => world.run(Span::from_ms(*ms)),
        Happening::Die(role) => world.die(*role, "random"),
        Happening::Mute(role) => {
            world.mute.insert(*role);
        }
        Happening::Fault(role) => world.event(Event::Fault { role: *role, detail: "random".to_owned() }),
        Happening::Sleep(ms) => {
            world.now = world.now.after(Span::from_ms(*ms));
            world.event(Event::Wake);
        }
        Happening::Trip(at) => {
            let reason = LatchReason::ALL[*at];
            world.event(Event::Trip(LatchTrip { reason, detail: String::new() }));
        }
        Happening::StaleReconcile => {
            world.event(Event::Reconciled(ReconcileReport { asked: 0, clean: true, detail: String::new() }));
        }
        Happening::StrayJob(job) => world.event(Event::Job(JobProgress {
            job: JobId(*job),
            state: JobState::Flat,
            round: 1,
            residue: Vec::new(),
            proof_venue_ms: None,
            detail: String::new(),
        })),
        Happening::Pause => {
            world.command(ControlRequest::Pause {});
            assert_ne!(world.mode(), TradingMode::Active, "INV-6: a pause always works");
        }
        Happening::Flatten => {
            world.command(ControlRequest::Flatten {});
            assert_ne!(world.mode(), TradingMode::Active, "INV-6: a flatten always works");
        }
        Happening::Kill => {
            world.command(ControlRequest::Kill { flatten: true, reason: None });
            assert_eq!(world.mode(), TradingMode::Kill, "INV-6: a kill always works");
            assert!(!world.alive.contains_key(&Role::Engine), "and fences the engine");
        }
        Happening::Resume => {
            let killed = world.mode() == TradingMode::Kill;
            let offer = world.command(ControlRequest::Resume { confirm: None });
            if let Some(ControlReply::ResumeOffer { phrase, .. }) = world.reply(offer).cloned() {
                world.command(ControlRequest::Resume { confirm: Some(phrase) });
            }
            assert!(!killed || world.mode() != TradingMode::Active, "never straight from Kill to Active");
        }
        Happening::NotFlat(flat) => world.flat = *flat,
        Happening::Emergency => {
            world.event(Event::EmergencyReduceOnly);
            assert_ne!(world.mode(), TradingMode::Active);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_an_invariant(history in proptest::collection::vec(happening(), 1..60)) {
        let mut world = World::new();
        for happening in &history {
            apply(&mut world, happening);
        }
    }
}
