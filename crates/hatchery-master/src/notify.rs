//! What the service manager is told: the protocol of `sd_notify(3)`.
//!
//! One process is the *main* one to the service manager, and with `NotifyAccess=main`
//! no other is heard. So only the main one speaks, and it names the next one itself:
//!
//! ```text
//! predecessor   MAINPID=successor, before COMMIT  ──▶ silent
//! successor     silent ──▶ MAINPID=itself, READY=1, once it has taken over
//!               MAINPID=predecessor, when it gives up or is called off ──▶ silent
//! predecessor   MAINPID=itself, READY=1, once it has taken back
//! ```
//! With an anchor the anchor is the main process for good. It passes on what the
//! serving master says, without `MAINPID`.

use std::ffi::OsString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use hatchery_core::{Command, Lineage, Master, Notice};
use hatchery_sys::{Pid, env, process};

use crate::anchor::Line;
use post::Post;
use standing::Standing;
use status::Status;
use store::Store;
pub(crate) use watchdog::Signs;
use watchdog::Watchdog;

mod post;
mod standing;
mod status;
mod store;
mod watchdog;

const SOCKET: &str = "NOTIFY_SOCKET";
const USEC: &str = "WATCHDOG_USEC";
const PID: &str = "WATCHDOG_PID";

/// How often more time is asked for, while something takes long.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// How much of it: three requests may get lost.
const ASK_FOR: Duration = Duration::from_secs(15);

/// What this process says to the service manager, if there is one.
#[derive(Debug)]
pub struct Notify {
    post: Post,
    standing: Standing,
    told: Told,
    status: Status,
    watchdog: Option<Watchdog>,
    store: Store,
    /// When to ask for more time, if it is not over before.
    ask_at: Option<Instant>,
}

/// What the service manager has heard last about what goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Ready,
    Reloading,
    Stopping,
}

/// Who this process is when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The one that the service manager has started.
    Started,
    /// A child of the main process, which serves.
    Successor,
}

impl Notify {
    /// Variables that are for a service's main process.
    pub const VARIABLES: [&str; 3] = [SOCKET, USEC, PID];

    /// Those of them that name a process.
    pub const WATCHDOG: [&str; 2] = [USEC, PID];

    /// Takes the variables out of the environment, so that workers, and what they start, do
    /// not speak for the service.
    ///
    /// A successor is heir to a watchdog that names another process.
    #[must_use]
    pub fn from_env(origin: Origin) -> Self {
        let [socket, usec, pid] = Self::VARIABLES.map(env::take);
        let is_meant = |pid: &OsString| pid.to_str() == Some(&process::pid().to_string());
        let usec = usec.filter(|_| origin == Origin::Successor || pid.as_ref().is_none_or(is_meant));
        let usec = usec.and_then(|usec| usec.to_str()?.parse().ok()).filter(|usec| *usec > 0);
        let standing = match origin {
            Origin::Started => Standing::Main { predecessor: None, introduces: false },
            Origin::Successor => Standing::Waiting { predecessor: process::parent() },
        };
        Self {
            post: Post::to(socket),
            standing,
            told: Told::Nothing,
            status: Status::default(),
            watchdog: usec.map(Duration::from_micros).map(Watchdog::new),
            store: Store::from_env(),
            ask_at: None,
        }
    }

    /// Whether there is a service manager that looks whether this process lives.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watchdog.is_some()
    }

    /// Whether there is anybody to tell.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.post.is_heard()
    }

    /// The service manager knows this process' parent, or whoever has started it, and not this one.
    pub fn introduce(&mut self) {
        self.standing.introduce();
    }

    /// From here on the anchor passes on what is said.
    pub fn go_by(&mut self, line: &Line) {
        self.post.go_by(line);
    }

    /// Passes on what a master has said to the anchor, which stays the main process.
    pub(crate) fn pass_on(&mut self, text: &str, fds: &[BorrowedFd<'_>]) {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("MAINPID=")).collect();
        if !lines.is_empty() {
            self.post.pass_on(&lines.join("\n"), fds);
        }
    }

    /// The workers are not there yet, and need not be: on demand.
    pub(crate) fn dormant(&mut self) {
        self.ready("on demand: waiting for the first connection");
    }

    /// Something takes long in which nothing can be said.
    pub fn busy(&mut self, what: &str) {
        if self.is_main() {
            self.say(&format!("STATUS={what}\n{}", extension()));
        }
    }

    /// Why it ends before it has served.
    pub fn failed(&mut self, why: &str) {
        if self.is_main() {
            self.say(&format!("STATUS={}", one_line(why)));
        }
    }

    /// This process has taken over, or back.
    pub(crate) fn takes_over(&mut self, core: &Master) {
        let predecessor = match self.standing {
            Standing::Waiting { predecessor } => Some(predecessor),
            Standing::Main { introduces, .. } if core.lineage() == Lineage::First => {
                // The first one, whom the service manager knows, unless it is a daemon.
                self.standing = Standing::Main { predecessor: None, introduces };
                return;
            }
            Standing::Main { predecessor, .. } => predecessor,
            Standing::Former => None,
        };
        self.standing = Standing::Main { predecessor, introduces: true };
        if core.life().is_sealed() {
            self.told = Told::Nothing;
            self.stopping(&self.status.of(core));
        } else if self.told != Told::Nothing {
            self.told = Told::Ready;
            self.say("READY=1");
        }
    }

    /// Another process is the main one: said before it can say anything itself.
    pub(crate) fn hands_over(&mut self, main: Pid) {
        if self.is_main() {
            self.say(&format!("MAINPID={main}"));
            self.standing = Standing::Former;
        }
    }

    /// The predecessor is the main process again.
    pub(crate) fn hands_back(&mut self) {
        if let Standing::Main { predecessor: Some(predecessor), .. } = self.standing {
            self.hands_over(predecessor);
        }
    }

    /// A fact that the core has put into the log.
    pub(crate) fn notice(&mut self, notice: &Notice, core: &Master) {
        self.status.notice(notice);
        match notice {
            Notice::Ready { .. } => self.ready(&self.status.of(core)),
            Notice::ReloadBegun => self.reloading(core),
            Notice::ReloadDone | Notice::ReloadFailed { .. } | Notice::Resting if self.told == Told::Reloading => {
                self.ready(&self.status.of(core));
            }
            // Whoever has sent the signal waits for an answer.
            Notice::Refused { command: Command::Reload, .. } if self.told == Told::Ready => {
                self.reloading(core);
                self.ready(&self.status.of(core));
            }
            Notice::GaveUp { .. } if core.lineage().has_predecessor() => self.hands_back(),
            Notice::GaveUp { .. } | Notice::StopAnnounced { .. } | Notice::StopBegun => {
                self.stopping(&self.status.of(core));
            }
            _ => {}
        }
    }

    fn reloading(&mut self, core: &Master) {
        if self.is_main() && self.told != Told::Stopping {
            self.told = Told::Reloading;
            let now = process::monotonic().as_micros();
            self.say(&format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS={}", self.status.of(core)));
            self.ask_at = Some(Instant::now());
        }
    }

    fn ready(&mut self, status: &str) {
        if self.is_main() && self.told != Told::Stopping {
            self.told = Told::Ready;
            self.ask_at = None;
            self.status.said(status);
            self.say(&format!("READY=1\nSTATUS={status}"));
        }
    }

    /// The service ends.
    pub(crate) fn stopping(&mut self, status: &str) {
        if self.is_main() && self.told != Told::Stopping {
            self.told = Told::Stopping;
            self.status.said(status);
            self.say(&format!("STOPPING=1\nSTATUS={status}"));
            self.ask_at = Some(Instant::now());
        }
    }

    fn is_main(&self) -> bool {
        self.standing.is_main()
    }

    /// Says what is due: how it goes, that it lives, that it needs more time. Returns when
    /// to be called again at the latest. `signs` are what each worker shows of life.
    pub(crate) fn keep_up(
        &mut self,
        core: &Master,
        signs: impl FnOnce() -> Vec<Signs>,
    ) -> (Vec<Pid>, Option<Duration>) {
        if !self.is_heard() {
            self.post.complain();
            return (Vec::new(), None);
        }
        let now = Instant::now();
        let mut ask = Vec::new();
        if self.is_main() {
            if self.told == Told::Nothing && self.ask_at.is_none() && core.lineage() == Lineage::First {
                self.ask_at = Some(now);
            }
            if let Some(status) = self.status.news(core) {
                self.say_if_there_is_room(&format!("STATUS={status}"));
            }
            if self.ask_at.is_some_and(|at| at <= now) {
                self.ask_at = Some(now + ASK_EVERY);
                self.say_if_there_is_room(&extension());
            }
            if let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.is_due(now)) {
                let (lives, silent) = watchdog.look(now, core, signs());
                ask = silent;
                if lives {
                    self.say_if_there_is_room("WATCHDOG=1");
                }
            }
        }
        (ask, self.due_after(now))
    }

    /// The same without workers: nobody is there who could hang.
    pub(crate) fn keep_up_dormant(&mut self) -> Option<Duration> {
        if !self.is_heard() {
            return None;
        }
        let now = Instant::now();
        if self.watchdog.as_mut().is_some_and(|watchdog| watchdog.is_due(now)) {
            self.watchdog.as_mut().into_iter().for_each(|watchdog| watchdog.postpone(now));
            self.say_if_there_is_room("WATCHDOG=1");
        }
        self.due_after(now)
    }

    fn due_after(&mut self, now: Instant) -> Option<Duration> {
        let retry = self.post.flush().map(|retry| now + retry);
        let watchdog = self.watchdog.as_ref().filter(|_| self.is_main()).map(Watchdog::due);
        let ask = self.ask_at.filter(|_| self.is_main());
        let due = [retry, watchdog, ask].into_iter().flatten().min();
        due.map(|due| due.saturating_duration_since(now))
    }

    /// Says something that must not be lost.
    fn say(&mut self, text: &str) {
        self.say_with(text, Vec::new());
    }

    fn say_with(&mut self, text: &str, fds: Vec<OwnedFd>) {
        if self.post.put(self.standing.introduced(text), fds) {
            self.standing.introduction_is_made();
        }
    }

    /// Says how it goes, which the next message says as well.
    fn say_if_there_is_room(&mut self, text: &str) {
        if self.post.try_send(&self.standing.introduced(text)) {
            self.standing.introduction_is_made();
        }
    }
}

fn extension() -> String {
    format!("EXTEND_TIMEOUT_USEC={}", ASK_FOR.as_micros())
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn who_is_not_known_yet_says_so_once_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut notify = Notify {
            post: Post::to(Some(path.into())),
            standing: Standing::Main { predecessor: None, introduces: true },
            told: Told::Ready,
            status: Status::default(),
            watchdog: None,
            store: Store::from_env(),
            ask_at: None,
        };
        let sent = (0..100_000).take_while(|_| notify.post.try_send("full")).count();
        notify.say_if_there_is_room("STATUS=lost");
        manager.set_nonblocking(true).unwrap();
        let mut message = [0; 64];
        for _ in 0..sent {
            assert_eq!(manager.recv(&mut message).unwrap(), 4);
        }
        notify.say_if_there_is_room("STATUS=heard");
        let length = manager.recv(&mut message).unwrap();
        assert_eq!(message[..length], *format!("MAINPID={}\nSTATUS=heard", process::pid()).as_bytes());
    }
}
