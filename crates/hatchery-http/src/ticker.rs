//! What wakes the sweep.
//!
//! A timer in tokio's wheel, even one a second, makes every pass of the event
//! loop ask the clock for the next deadline: 200 instructions a request. A
//! timerfd is one more descriptor in the epoll set and costs nothing until it
//! fires. Where there is none, or no descriptor is left for it, tokio's timer
//! does the same work.

use std::time::Duration;

#[cfg(target_os = "linux")]
use self::timerfd::TimerFd;

/// A source of ticks.
#[derive(Debug)]
pub(crate) enum Ticker {
    /// A descriptor.
    #[cfg(target_os = "linux")]
    Fd(TimerFd),
    /// tokio's timer.
    Timer,
}

impl Ticker {
    /// Must be called in a runtime.
    pub(crate) fn new() -> Self {
        #[cfg(target_os = "linux")]
        match TimerFd::new() {
            Ok(fd) => return Self::Fd(fd),
            Err(error) => tracing::debug!(%error, "no timerfd, the sweep uses a timer"),
        }
        Self::Timer
    }

    /// Ticks every `period` from now on, until [`Ticker::stop`].
    pub(crate) fn start(&self, period: Duration) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Fd(fd) => fd.start(period),
            Self::Timer => {
                let _each_tick_sleeps = period;
            }
        }
    }

    pub(crate) fn stop(&self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Fd(fd) => fd.stop(),
            Self::Timer => {}
        }
    }

    /// Waits for the next tick; `period` as given to [`Ticker::start`].
    pub(crate) async fn tick(&self, period: Duration) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Fd(fd) => fd.tick(period).await,
            Self::Timer => tokio::time::sleep(period).await,
        }
    }
}

#[cfg(target_os = "linux")]
mod timerfd {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, RawFd};
    use std::time::Duration;

    use nix::sys::time::TimeSpec;
    use nix::sys::timerfd::{ClockId, Expiration, TimerFd as Fd, TimerFlags, TimerSetTimeFlags};
    use tokio::io::unix::AsyncFd;

    /// A timerfd in the event loop.
    #[derive(Debug)]
    pub(crate) struct TimerFd(AsyncFd<Raw>);

    #[derive(Debug)]
    struct Raw(Fd);

    impl AsRawFd for Raw {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    impl TimerFd {
        pub(super) fn new() -> io::Result<Self> {
            let fd = Fd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
            #[expect(
                deprecated,
                reason = "its successor is unsafe; what it asks for holds: the descriptor is owned and stays"
            )]
            AsyncFd::with_interest(Raw(fd), tokio::io::Interest::READABLE).map(Self)
        }

        pub(super) fn start(&self, period: Duration) {
            let every = Expiration::Interval(TimeSpec::from_duration(period));
            if let Err(error) = self.0.get_ref().0.set(every, TimerSetTimeFlags::empty()) {
                tracing::error!(%error, "cannot set the timer of the sweep");
            }
        }

        pub(super) fn stop(&self) {
            let _cannot_fail_once_it_was_set = self.0.get_ref().0.unset();
        }

        pub(super) async fn tick(&self, period: Duration) {
            loop {
                // An error here means that the event loop is being torn down: do not spin meanwhile.
                let Ok(mut ready) = self.0.readable().await else { return tokio::time::sleep(period).await };
                match ready.try_io(|fd| fd.get_ref().0.wait().map_err(io::Error::from)) {
                    Ok(Ok(())) => return,
                    Ok(Err(_)) => return tokio::time::sleep(period).await,
                    Err(_would_block) => {}
                }
            }
        }
    }
}
