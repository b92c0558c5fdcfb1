#![expect(clippy::wildcard_enum_match_arm, reason = "a failed expectation is how a test speaks")]

use super::*;
use holdfast_core::ids::{Epoch, Generation, Role};
use holdfast_core::limits::FRAME_BYTES_MAX;
use holdfast_ipc::bootstrap::{PROTOCOL, Token};
use holdfast_ipc::listen::Door;
use holdfast_ipc::settings::Settings;

fn boot(home: &std::path::Path) -> Bootstrap {
    Bootstrap {
        role: Role::Deadman,
        generation: Generation(1),
        epoch: Epoch(1),
        build_id: "test".to_owned(),
        protocol: PROTOCOL,
        token: Token::new([1; 32]),
        feed_token: Token::new([2; 32]),
        supervisor_pid: std::process::id(),
        socket: home.join("s"),
        home: home.to_owned(),
        settings: Settings::default(),
        venue_url: None,
        venue_port: None,
        api_port: None,
        account: None,
        permit: None,
    }
}

#[test]
fn a_report_that_does_not_fit_a_frame_does_not_end_the_beats() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("s");
        let door = Door::open(&path).expect("a door");
        let wait = Duration::from_secs(10);
        let (worker, stream) = tokio::join!(Conn::connect(&path, wait), door.accept());
        let ctx = Ctx::start(boot(dir.path()), worker.expect("a connection"));
        let mut conn = Conn::<FromWorker, ToWorker>::over(stream.expect("a client")).expect("a peer");
        let detail = "x".repeat(FRAME_BYTES_MAX + 1);
        assert!(ctx.report(FromWorker::AccountUnknown { detail }));
        assert!(ctx.report(FromWorker::EmergencyReduceOnly {}));
        let (mut beats, mut after) = (0, false);
        while beats < 3 || !after {
            match conn.reader.recv_within(wait).await.expect("it goes on speaking") {
                FromWorker::Beat { .. } => beats += 1,
                FromWorker::EmergencyReduceOnly {} => after = true,
                other => panic!("{other:?}"),
            }
        }
    });
}
