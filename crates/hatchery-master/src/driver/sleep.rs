//! What a master on demand does when nobody has come for a while.

use std::io;
use std::time::Duration;

use hatchery_core::{Event, Master, Outcome};
use hatchery_sys::{signals, title};
use tracing::{error, info, warn};

use super::{Driver, LOG, Turn};
use crate::control::Dormant;
use crate::dormant::{self, Wake};
use crate::pid_file::PidFile;

impl Driver {
    /// Begins anew, in this process. Where that would not lead to the same service, as
    /// with settings that have become wrong, this image waits instead, with what it has loaded.
    pub(super) fn sleep(&mut self) -> Turn {
        match self.hooks.may_begin_anew() {
            Ok(()) => self.sleep_if_nobody_asks(),
            Err(why) => {
                warn!(target: LOG, "what is loaded stays loaded until the next connection: {why}");
                self.wait_in_place()
            }
        }
    }

    /// What is asked for until signals are blocked is done, what comes later waits for the new image.
    fn sleep_if_nobody_asks(&mut self) -> Turn {
        let blocked = match signals::block_all() {
            Ok(blocked) => blocked,
            Err(failure) => return self.cannot_go_on(&format!("cannot block signals: {failure}")),
        };
        let (caught, hooks) = (self.inbox.signals.take(), &mut self.hooks);
        let mut reopen = || hooks.reopen();
        let (generation, listeners, board) = (self.core.generation(), &self.listeners, &self.board);
        let wake = dormant::heed(&caught, self.inbox.outlives_terminal, &mut reopen)
            // Whoever was read would be forgotten with this image.
            .or_else(|| dormant::answer(&mut self.control, &Dormant { generation, listeners, board }, &mut reopen));
        match wake {
            Some(wake) => {
                blocked.restore();
                self.wake(wake)
            }
            None => {
                let failure = self.begin_anew();
                self.cannot_go_on(&format!("cannot begin anew: {failure}"))
            }
        }
    }

    fn wait_in_place(&mut self) -> Turn {
        let (inbox, hooks) = (&mut self.inbox, &mut self.hooks);
        let (signals, anchor, outlives_terminal) = (&mut inbox.signals, inbox.anchor.as_ref(), inbox.outlives_terminal);
        let reopen = || hooks.reopen();
        let (generation, listeners, board) = (self.core.generation(), &self.listeners, &self.board);
        let asks = (&mut self.control, &Dormant { generation, listeners, board });
        let notify = &mut self.notify;
        match dormant::wait_for_somebody(signals, anchor, asks, outlives_terminal, Duration::ZERO, notify, reopen) {
            Ok(wake) => self.wake(wake),
            Err(failure) => self.cannot_go_on(&format!("cannot wait for connections: {failure}")),
        }
    }

    fn wake(&mut self, wake: Wake) -> Turn {
        match wake {
            Wake::Connection | Wake::Asked => self.come_back([Event::Begin]),
            Wake::Command(command) => self.come_back([Event::Begin, Event::Command(command)]),
            Wake::Stop => {
                self.shut();
                info!(target: LOG, "stopped");
                Turn::Over(Outcome::Drained)
            }
        }
    }

    /// The first boot once more, of what is still loaded.
    fn come_back(&mut self, events: impl IntoIterator<Item = Event>) -> Turn {
        self.relays.open_own();
        self.core = Master::new(self.core.as_seed(self.listeners.queue_counts()));
        self.inbox.waiting.extend(events);
        title::set(&format!("hatchery: master gen {}", self.core.generation()));
        Turn::Go
    }

    /// Returns only if it cannot.
    fn begin_anew(&mut self) -> io::Error {
        self.let_newcomers_in();
        let (workers, configured) = self.core.scale();
        let legacy = self.legacy(self.core.generation(), workers, configured);
        legacy.sleep(self.pid_file.as_ref().and_then(PidFile::lock_fd), 0)
    }

    fn cannot_go_on(&mut self, text: &str) -> Turn {
        error!(target: LOG, "{text}");
        self.shut();
        Turn::Over(Outcome::BootFailed { text: text.to_owned() })
    }

    fn shut(&mut self) {
        self.notify.stopping("stopping");
        self.listeners.shut_all();
        self.listeners.remove_files();
    }
}
