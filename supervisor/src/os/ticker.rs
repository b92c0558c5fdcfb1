//! The one timer of the judge's loop: a timer of the kernel's on the clock of [`Tick`], which counts suspend. It wakes this
//! process once. A timer of the runtime wakes it twice (it is looked for in steps of 64 ms first), every tick, for nothing.

use holdfast_core::time::Tick;
use std::io;

#[cfg(target_os = "linux")]
pub(crate) use linux::Ticker;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::Ticker;

#[cfg(target_os = "linux")]
mod linux {
    use super::{Tick, io};
    use nix::sys::time::TimeSpec;
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
    use std::os::fd::AsFd;
    use std::time::Duration;
    use tokio::net::unix::pipe;

    /// Rings at the instant it was set to last.
    pub(crate) struct Ticker {
        timer: TimerFd,
        /// Named after pipes, but it is what watches any descriptor for reading.
        rung: pipe::Receiver,
        set_to: Tick,
    }

    impl Ticker {
        /// Not set yet. Needs a runtime.
        pub(crate) fn new() -> io::Result<Self> {
            let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
            let rung = pipe::Receiver::from_owned_fd_unchecked(timer.as_fd().try_clone_to_owned()?)?;
            Ok(Self { timer, rung, set_to: Tick(0) })
        }

        /// Sets it, and forgets a ring that nobody waited for. An instant that has passed rings at once.
        pub(crate) fn set(&mut self, to: Tick) -> io::Result<()> {
            if self.set_to != to {
                // Zero would unset it.
                let at = Duration::from_nanos(to.0.max(1));
                let at = Expiration::OneShot(TimeSpec::from_duration(at));
                self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
                self.set_to = to;
            }
            Ok(())
        }

        /// Ends when it rings. Safe to cancel.
        pub(crate) async fn rings(&mut self) -> io::Result<()> {
            let mut times = [0; size_of::<u64>()];
            loop {
                self.rung.readable().await?;
                match self.rung.try_read(&mut times) {
                    Ok(_) => {
                        self.set_to = Tick(0);
                        return Ok(());
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use super::{Tick, io};
    use holdfast_ipc::clock;
    use std::time::Duration;

    /// Rings at the instant it was set to last. The runtime's timer does not count suspend: it may ring late by that.
    pub(crate) struct Ticker {
        set_to: Tick,
    }

    impl Ticker {
        /// Not set yet.
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self { set_to: Tick(0) })
        }

        /// Sets it.
        pub(crate) fn set(&mut self, to: Tick) -> io::Result<()> {
            self.set_to = to;
            Ok(())
        }

        /// Ends when it rings. Safe to cancel.
        pub(crate) async fn rings(&mut self) -> io::Result<()> {
            tokio::time::sleep(Duration::from_nanos(clock::now().until(self.set_to).0)).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::time::Span;
    use holdfast_ipc::clock;
    use std::time::Duration;

    fn ring(set: impl FnOnce(&mut Ticker)) -> Option<Tick> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut ticker = Ticker::new().unwrap();
            set(&mut ticker);
            let rung = tokio::time::timeout(Duration::from_secs(5), ticker.rings()).await;
            rung.ok().map(|rung| rung.map(|()| clock::now()).unwrap())
        })
    }

    #[test]
    fn it_rings_when_it_was_set_to_last_and_not_before() {
        let due = clock::now().after(Span::from_ms(30));
        let rung = ring(|ticker| {
            ticker.set(clock::now().after(Span::from_ms(60_000))).unwrap();
            ticker.set(due).unwrap();
        });
        assert!(rung.is_some_and(|at| at >= due), "{rung:?} {due:?}");
    }

    #[test]
    fn an_instant_that_has_passed_rings_at_once_and_an_old_ring_is_forgotten() {
        assert!(ring(|ticker| ticker.set(Tick(1)).unwrap()).is_some());
        let due = clock::now().after(Span::from_ms(40));
        let rung = ring(|ticker| {
            ticker.set(Tick(1)).unwrap();
            ticker.set(due).unwrap();
        });
        assert!(rung.is_some_and(|at| at >= due), "{rung:?} {due:?}");
    }
}
