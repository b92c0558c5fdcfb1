//! Under a service manager: ready when every worker is, the mode as status, a watchdog beat only when asked for.

use holdfast_core::ids::Role;
use holdfast_tests::wait::{attempt, s, until};
use holdfast_tests::{Home, Tree, tree};
use nix::sys::signal::Signal;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

fn heard(socket: &UnixDatagram) -> Option<String> {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[test]
fn the_manager_hears_ready_status_and_the_watchdog_it_asked_for() {
    for watchdog in [false, true] {
        let home = Home::new();
        let path = home.outside().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        let mut command = home.command(&["start", "--foreground"]);
        command.env("NOTIFY_SOCKET", &path).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        if watchdog {
            command.env("WATCHDOG_USEC", "30000000");
        }
        let mut child = command.spawn().expect("engine runs");
        let tree = Tree { home };
        let (mut beat, mut words) = (false, String::new());
        until("READY=1", s(20), || {
            let text = heard(&socket)?;
            beat |= text.contains("WATCHDOG=1");
            if let Some(status) = text.lines().find_map(|line| line.strip_prefix("STATUS=")) {
                words = status.to_owned();
            }
            text.contains("READY=1").then_some(())
        });
        assert_eq!(beat, watchdog, "a watchdog beat exactly when asked for");
        assert!(words.starts_with("ReduceOnly") || words.starts_with("Active"), "{words}");
        assert!(Role::ALL.iter().all(|role| tree.worker(*role).pid.is_some()), "ready means every worker is up");
        tree::send(child.id(), Signal::SIGTERM);
        let ended = attempt(s(20), || child.try_wait().ok().flatten());
        assert!(ended.is_some_and(|status| status.success()), "SIGTERM is an orderly stop: {ended:?}");
        assert!(tree.processes().is_empty(), "nobody is left");
    }
}
