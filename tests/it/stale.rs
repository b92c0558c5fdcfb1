//! A permit that is not renewed is worth nothing: a stopped supervisor, a stopped engine, a pause in between.

use holdfast_core::ids::Role;
use holdfast_core::registry::{LatchReason, TradingMode};
use holdfast_core::time::Tick;
use holdfast_tests::tree::send;
use holdfast_tests::wait::{ms, now, pause, s, throughout};
use holdfast_tests::{Home, Tree, until};
use nix::sys::signal::Signal;

/// A tree that has just opened by itself and will again within seconds.
pub(crate) fn trading(tree: &Tree) {
    tree.wait_mode(TradingMode::Active, s(60));
    let from = now();
    until("an opening", s(90), || (!tree.witness().increases(from, now()).is_empty()).then_some(()));
}

/// Waits for the restriction and then for Active; gives the instant of the last document that said otherwise.
pub(crate) fn last_restricted(tree: &Tree) -> Tick {
    let mut last = Tick(tree.until("a restriction", s(5), |d| d.trading_mode != TradingMode::Active).generated_boot_ns);
    until("Active again", s(90), || {
        let doc = tree.try_status()?;
        if doc.trading_mode == TradingMode::Active {
            return Some(());
        }
        last = Tick(doc.generated_boot_ns);
        None
    });
    last
}

#[test]
fn a_supervisor_that_stands_still_permits_nothing() {
    let tree = Tree::start_in(Home::busy());
    trading(&tree);
    let supervisor = tree.status().pid;
    // Short of deadman's grace: nobody else acts meanwhile.
    let stopped = now();
    send(supervisor, Signal::SIGSTOP);
    throughout("silence", s(4), || true);
    let continued = now();
    send(supervisor, Signal::SIGCONT);
    let late = tree.witness();
    assert!(late.increases(stopped.after(s(1)), continued).is_empty(), "opened without a permit: {:?}", late.0.last());
    let doc = tree.until("the latch", s(3), |doc| doc.open_permission_blocked_latch);
    assert_ne!(doc.trading_mode, TradingMode::Active);
    let host = doc.open_permission_reason_codes.contains(&LatchReason::HostResumeReconcileRequired);
    assert!(host, "{:?}", doc.open_permission_reason_codes);
    assert_eq!(doc.pid, supervisor);
    let restricted = last_restricted(&tree);
    assert!(tree.witness().increases(continued, restricted).is_empty(), "opened before books were reconciled");
    trading(&tree);
    tree.witness().check_openings();
}

#[test]
fn an_engine_that_was_stopped_does_not_open_by_an_old_permit() {
    let tree = Tree::start_in(Home::busy());
    trading(&tree);
    for round in 0..6 {
        // Too short to be restricted for: stopped somewhere in the middle of its work, perhaps between check and send.
        let engine = tree.signal(Role::Engine, Signal::SIGSTOP);
        pause(550 + 15 * round);
        send(engine, Signal::SIGCONT);
        until("a beat", s(5), || tree.worker(Role::Engine).last_beat_ms.filter(|beat| *beat < 500));
    }
    tree.witness().check_openings();
    // Now the permit goes while it stands still; it wakes up with everything it had decided before.
    let engine = tree.signal(Role::Engine, Signal::SIGSTOP);
    let _ = tree.run(&["pause"]).expect_code(0);
    let paused = now();
    pause(400);
    send(engine, Signal::SIGCONT);
    throughout("the pause", s(4), || tree.status().trading_mode != TradingMode::Active);
    let witness = tree.witness();
    let late = witness.increases(paused.after(ms(1000)), now());
    assert!(late.is_empty(), "opened after the pause: {late:?}");
    witness.check_openings();
    resume(&tree);
    trading(&tree);
    tree.witness().check_openings();
}

/// Types the phrase that is asked for.
pub(crate) fn resume(tree: &Tree) {
    until("a resume that is taken", s(60), || {
        let offer = tree.run(&["--json", "resume"]);
        let text = format!("{}{}", offer.out, offer.err);
        let at = text.find("resume paper")?;
        let phrase: String =
            text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || " _".contains(*c)).collect();
        (tree.run(&["resume", "--confirm", phrase.trim_end()]).code == 0).then_some(())
    });
}
