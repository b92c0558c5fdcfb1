//! A successor takes up what the former tree's deadman had begun, at whatever instant deadman is ended.

use holdfast_core::duty::Duty;
use holdfast_core::ids::Role;
use holdfast_core::registry::{ModeReason, TradingMode};
use holdfast_core::report::JobKind;
use holdfast_core::slot;
use holdfast_core::time::Tick;
use holdfast_tests::Tree;
use holdfast_tests::crew::side_by_side;
use holdfast_tests::raw::{Heard, connect, frame, hear, say};
use holdfast_tests::tree::{lives, send};
use holdfast_tests::wait::{now, s, until};
use nix::sys::signal::Signal;

/// What begins the job that is interrupted.
#[derive(Clone, Copy, Debug)]
enum Begun {
    /// Deadman's own policy, after its grace.
    Policy,
    /// A kill at deadman's own door, without a file.
    Kill,
    /// A flatten at the same door.
    Flatten,
}

/// What deadman has written down.
fn duty(tree: &Tree) -> Option<Duty> {
    let bytes = std::fs::read(tree.home.paths().deadman_cell()).ok()?;
    let record = slot::decode(&bytes).ok()??;
    serde_json::from_slice(&record.payload).ok()
}

/// A tree whose supervisor is dead and whose deadman is in the middle of a job that cannot succeed yet.
fn interrupted(begun: Begun) -> (Tree, Tick) {
    let tree = Tree::active();
    tree.foreign_position("BTC", "0.01");
    tree.until("a position", s(20), |doc| doc.exposure.known && !doc.exposure.flat);
    tree.fault(r#"{"kind":"reject_all","for_ms":120000}"#);
    let lost = now();
    send(tree.status().pid, Signal::SIGKILL);
    until("the supervisor gone", s(5), || tree.try_status().is_none().then_some(()));
    let words: &[u8] = match begun {
        Begun::Policy => b"",
        Begun::Kill => b"{\"kill\":{\"flatten\":true,\"reason\":\"by hand\"}}",
        Begun::Flatten => b"{\"flatten\":{}}",
    };
    if !words.is_empty() {
        say(&mut connect(&tree.home.paths().deadman_sock()), &frame(words));
    }
    until("a flatten that was begun", s(20), || duty(&tree)?.job.filter(|job| *job == JobKind::Flatten));
    (tree, lost)
}

fn drill(begun: Begun) {
    let (tree, lost) = interrupted(begun);
    let what = |text: &str| format!("{begun:?}: {text}\n{}", tree.logs());
    let deadman = tree.processes().into_iter().find(|(name, _)| name == "deadman").expect("deadman works on").1;
    let lines = tree.diary("supervisor").0.len();
    let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
    assert!(!lives(deadman), "{}", what("the former deadman lives"));
    // It is a job like any other: seen, and nothing is opened under it.
    let diary = tree.diary("supervisor");
    let ordered = diary.says(lines, "ordered: Flatten").unwrap_or_else(|| panic!("{}", what("no job")));
    let spawned = diary.says(lines, "spawned").unwrap_or_else(|| panic!("{}", what("nobody")));
    assert!(ordered < spawned, "{}", what("somebody was spawned before the job was ordered"));
    let doc = tree.until("flat, with proof", s(60), |doc| doc.kill.state == "flat");
    assert!(doc.kill.proof_at.is_some() && doc.trading_mode != TradingMode::Active, "{}", what(&format!("{doc:#?}")));
    assert!(tree.books().flat(), "{}", what("the venue holds something"));
    let words = match begun {
        Begun::Policy => "epoch 1: a flatten that was begun",
        Begun::Kill => "epoch 1: a kill asked",
        Begun::Flatten => "epoch 1: a flatten asked",
    };
    assert!(doc.kill.taken_over.as_ref().is_some_and(|said| said.contains(words)), "{}", what(&format!("{doc:#?}")));
    assert!(tree.run(&["status"]).out.contains(words), "{}", what("the status is silent"));
    assert_eq!(
        tree.witness().increases(lost.after(s(1)), Tick(doc.generated_boot_ns)).len(),
        0,
        "{}",
        what("new risk")
    );
    match begun {
        Begun::Policy => {
            tree.wait_mode(TradingMode::Active, s(60));
        }
        Begun::Kill => {
            assert!(doc.kill.active && doc.kill.reason.as_deref() == Some("by hand"), "{doc:#?}");
            assert!(doc.workers.iter().any(|w| w.role == Role::Engine && w.pid.is_none()), "{doc:#?}");
        }
        Begun::Flatten => {
            let paused =
                |doc: &holdfast_core::status::StatusDoc| doc.mode_reasons == [ModeReason::ReduceonlyOperatorPaused];
            tree.until("paused, and nothing else", s(60), paused);
        }
    }
    // Taken over once: the next start has nothing to take up but the latch.
    until("nothing begun any more", s(20), || duty(&tree)?.job.is_none().then_some(()));
    let before = tree.diary("supervisor").0.len();
    let _ = tree.run(&["restart"]).expect_code(0);
    let again = tree.diary("supervisor").says(before, "ordered: Flatten").is_some();
    assert_eq!(
        again,
        matches!(begun, Begun::Kill),
        "{}",
        what("a kill proves flat anew at each start, nothing else does")
    );
}

#[test]
fn a_successor_takes_up_what_deadman_had_begun() {
    let cases = [("policy", Begun::Policy), ("kill", Begun::Kill), ("flatten", Begun::Flatten)];
    side_by_side(&cases, 3, |_, begun| drill(*begun));
}

#[test]
fn a_record_that_cannot_be_read_may_have_held_a_kill() {
    let tree = Tree::active();
    let _ = tree.run(&["stop"]).expect_code(0);
    std::fs::write(tree.home.paths().deadman_cell(), "what is this").expect("written");
    let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
    tree.until("flat, with proof", s(30), |doc| doc.kill.state == "flat" && doc.kill.proof_at.is_some());
    assert_eq!(tree.status().trading_mode, TradingMode::Kill);
    let _ = tree.run(&["resume", "--confirm", "resume paper KILL_STATE_INTEGRITY_BROKEN"]).expect_code(0);
    tree.wait_mode(TradingMode::Active, s(60));
    let _ = tree.run(&["stop"]).expect_code(0);
    let lines = tree.diary("supervisor").0.len();
    let _ = tree.run(&["start", "--wait", "30"]).expect_code(0);
    assert_eq!(tree.diary("supervisor").says(lines, "ordered: Flatten"), None, "once\n{}", tree.logs());
}

#[test]
fn a_deadman_whose_record_is_broken_reduces_and_says_so_everywhere() {
    let tree = Tree::active();
    tree.foreign_position("BTC", "0.01");
    tree.until("a position", s(20), |doc| doc.exposure.known && !doc.exposure.flat);
    let cell = tree.home.paths().deadman_cell();
    std::fs::remove_file(&cell).expect("it goes");
    std::fs::create_dir(&cell).expect("nothing that opens as a file");
    let replaced = tree.signal(Role::Deadman, Signal::SIGKILL);
    let doc = tree.until("the broken record", s(20), |doc| doc.dead_man.unrecorded.is_some());
    assert!(doc.trading_mode != TradingMode::Active && tree.pid(Role::Deadman) != replaced, "{doc:#?}");
    let text = tree.run(&["status"]).expect_code(0).out;
    assert!(text.contains("NOT KEPT"), "{text}");
    let doctor = tree.run(&["--json", "doctor"]).expect_code(1).json();
    let checks = doctor["checks"].as_array().expect("checks");
    assert!(checks.iter().any(|c| c["check"] == "deadman" && c["grade"] == "fail"), "{doctor}");
    tree.until("nothing but that in the way", s(60), |doc| {
        doc.next_step.contains("deadman.cell") && doc.workers.iter().all(|worker| !worker.probation)
    });
    // At its own door, before anything else: whoever ordered there knows that a successor may not.
    let mut door = connect(&tree.home.paths().deadman_sock());
    say(&mut door, &frame(b"{\"flatten\":{}}"));
    let Heard::Frame(unsaved) = hear(&mut door) else { panic!("no word at the door") };
    assert!(unsaved["unsaved"]["message"].as_str().is_some_and(|words| words.contains("deadman.cell")), "{unsaved}");
    tree.until("flat by the order at the door", s(30), |doc| doc.kill.state == "flat");
    // A kill is carried out to the proof all the same. (Deadman still looks for late fills and may close this by itself.)
    tree.foreign_position("BTC", "0.01");
    let _ = tree.run(&["kill"]).expect_code(0);
    assert!(tree.books().flat());
    // Mended as the words say: what the record may have held counts as a kill, and then it is kept again.
    std::fs::remove_dir(&cell).expect("it goes");
    let _ = tree.run(&["restart"]).expect_code(0);
    let doc =
        tree.until("flat, with proof", s(60), |doc| doc.kill.state == "flat" && doc.dead_man.unrecorded.is_none());
    assert!(doc.kill.active, "{doc:#?}");
}
