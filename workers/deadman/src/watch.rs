//! Who watches the watcher: when the supervisor counts as lost, and what follows. Pure; the clock is passed in.
//!
//! * Three signs: its process ended, its connection ended, its beats stopped. Any of them starts the grace time; only
//!   a beat stops it.
//! * Time in which this process did not run itself is nobody's fault: the grace starts anew after such a gap.
//! * After a planned stop was announced, losing the supervisor is no emergency.

use holdfast_core::limits::{DEADMAN_GRACE, OWN_GAP};
use holdfast_core::time::Tick;

/// What was seen of the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It beat.
    Beat,
    /// Its process ended.
    ProcessEnded,
    /// Its connection ended.
    LinkEnded,
    /// It announced a planned stop.
    StandDown,
}

/// What to make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It lives, or is within its grace.
    Well,
    /// It is gone after a planned stop: finish and leave.
    Leave,
    /// It is gone: carry out the fail-closed policy.
    Act,
}

/// The watch over one supervisor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    last_beat: Tick,
    last_own: Tick,
    process_ended: bool,
    link_ended: bool,
    stood_down: bool,
}

impl Watch {
    /// Begins when the supervisor has just welcomed us.
    #[must_use]
    pub(crate) const fn begin(now: Tick) -> Self {
        Self { last_beat: now, last_own: now, process_ended: false, link_ended: false, stood_down: false }
    }

    /// Takes a sign in. A beat that was still in the queue of an ended connection proves nothing.
    pub(crate) const fn sign(&mut self, now: Tick, sign: Sign) {
        match sign {
            Sign::Beat if self.link_ended || self.process_ended => {}
            Sign::Beat => self.last_beat = now,
            Sign::ProcessEnded => self.process_ended = true,
            Sign::LinkEnded => self.link_ended = true,
            Sign::StandDown => self.stood_down = true,
        }
    }

    /// Whether it certainly no longer speaks to us.
    #[must_use]
    pub(crate) const fn ended(&self) -> bool {
        self.process_ended || self.link_ended
    }

    /// Judges; call at least every second.
    pub(crate) fn judge(&mut self, now: Tick) -> Finding {
        if now.since(self.last_own) > OWN_GAP {
            self.last_beat = now;
        }
        self.last_own = now;
        if self.stood_down {
            return if self.ended() { Finding::Leave } else { Finding::Well };
        }
        if now.since(self.last_beat) >= DEADMAN_GRACE { Finding::Act } else { Finding::Well }
    }
}

#[cfg(target_os = "linux")]
mod pidfd {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::os::fd::AsFd;
    use tokio::sync::mpsc;

    /// Sends once when the process ends; at once if it has already. A plain thread: it must not depend on the event loop.
    #[must_use]
    pub(crate) fn watch_process(pid: u32) -> mpsc::Receiver<()> {
        let (gone, told) = mpsc::channel(1);
        let fd = i32::try_from(pid).ok().and_then(Pid::from_raw).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        match fd {
            Some(Ok(fd)) => {
                let spawned = std::thread::Builder::new().name("hf-pidfd".to_owned()).spawn(move || {
                    loop {
                        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
                        match poll(&mut fds, PollTimeout::NONE) {
                            Ok(n) if n > 0 => break,
                            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                            // The connection and the beats still tell.
                            Err(_) => return,
                        }
                    }
                    let _ = gone.try_send(());
                });
                if let Err(error) = spawned {
                    tracing::warn!(%error, "no thread for the supervisor's pidfd; its connection and beats still tell");
                }
            }
            Some(Err(rustix::io::Errno::SRCH)) | None => {
                let _ = gone.try_send(());
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "no pidfd of the supervisor; its connection and beats still tell")
            }
        }
        told
    }
}

#[cfg(target_os = "linux")]
pub(crate) use pidfd::watch_process;

/// Without pidfds the connection and the beats tell.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub(crate) fn watch_process(_pid: u32) -> tokio::sync::mpsc::Receiver<()> {
    tokio::sync::mpsc::channel(1).1
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Tick {
        Tick(ms * 1_000_000)
    }

    /// Steps every 250 ms up to `end`, with these signs; answers when it first found something.
    fn play(signs: &[(u64, Sign)], asleep: Option<(u64, u64)>, end: u64) -> Option<(u64, Finding)> {
        let mut watch = Watch::begin(ms(0));
        for at in (0..=end).step_by(250) {
            if asleep.is_some_and(|(from, to)| (from..to).contains(&at)) {
                continue;
            }
            for (_, sign) in signs.iter().filter(|(when, _)| (*when..*when + 250).contains(&at)) {
                watch.sign(ms(at), *sign);
            }
            let found = watch.judge(ms(at));
            if found != Finding::Well {
                return Some((at, found));
            }
        }
        None
    }

    #[test]
    fn when_it_acts() {
        let beats = |until: u64| (0..until).step_by(250).map(|at| (at, Sign::Beat)).collect::<Vec<_>>();
        let with = |mut signs: Vec<(u64, Sign)>, more: &[(u64, Sign)]| {
            signs.extend_from_slice(more);
            signs
        };
        type Case = (&'static str, Vec<(u64, Sign)>, Option<(u64, u64)>, Option<(u64, Finding)>);
        let cases: [Case; 9] = [
            ("beats go on", beats(20_000), None, None),
            ("beats stop, process alive", beats(10_000), None, Some((14_750, Finding::Act))),
            ("process ends", with(beats(10_000), &[(10_000, Sign::ProcessEnded)]), None, Some((14_750, Finding::Act))),
            (
                "link ends, a late beat is still queued",
                with(beats(10_000), &[(10_000, Sign::LinkEnded), (10_250, Sign::Beat)]),
                None,
                Some((14_750, Finding::Act)),
            ),
            (
                "process ends while beats are still queued",
                with(beats(20_000), &[(10_000, Sign::ProcessEnded)]),
                None,
                Some((15_000, Finding::Act)),
            ),
            ("planned stop", with(beats(5000), &[(4000, Sign::StandDown)]), None, None),
            (
                "planned stop, then gone",
                with(beats(5000), &[(4000, Sign::StandDown), (6000, Sign::LinkEnded)]),
                None,
                Some((6000, Finding::Leave)),
            ),
            (
                "the whole host slept",
                with(beats(5000), &[(13_000, Sign::Beat)]),
                Some((5000, 12_000)),
                Some((18_000, Finding::Act)),
            ),
            ("slept, and the supervisor did not wake", beats(5000), Some((5000, 12_000)), Some((17_000, Finding::Act))),
        ];
        for (name, signs, asleep, wanted) in cases {
            assert_eq!(play(&signs, asleep, 20_000), wanted, "{name}");
        }
    }

    #[tokio::test]
    async fn a_process_that_is_gone_is_told_at_once() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let mut living = watch_process(pid);
        assert!(living.try_recv().is_err());
        child.kill().unwrap();
        child.wait().unwrap();
        let told = tokio::time::timeout(std::time::Duration::from_secs(5), living.recv()).await;
        assert_eq!(told.unwrap(), Some(()));
        assert_eq!(watch_process(pid).recv().await, Some(()));
    }
}
