//! How messages get to the service manager, without ever waiting for it.
//!
//! No crate: `sd-notify` reads the variable anew for each message, and waits while the
//! receiver's queue is full.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use hatchery_core::wire::anchor::AnchorHears;
use hatchery_sys::datagrams::Datagrams;
use tracing::warn;

use crate::anchor::Line;

/// Messages that wait for room. Those that only say how it goes do not wait.
const OUTBOX: usize = 16;

/// How soon they are tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The way to the service manager, and what waits for room on it.
#[derive(Debug)]
pub(super) struct Post {
    way: Way,
    /// What did not fit.
    outbox: VecDeque<Letter>,
    /// Whether trouble was logged already.
    warned: bool,
}

/// How messages get there.
#[derive(Debug)]
enum Way {
    /// There is no service manager.
    None,
    /// Its address is not understood.
    Unknown {
        address: OsString,
        why: String,
    },
    Socket(Datagrams),
    /// By the anchor, which is the main process.
    Anchor(Line),
}

/// Something that must not be lost.
#[derive(Debug)]
struct Letter {
    text: String,
    fds: Vec<OwnedFd>,
}

impl Post {
    /// To the socket that `NOTIFY_SOCKET` names.
    pub(super) fn to(address: Option<OsString>) -> Self {
        let way = match address.filter(|address| !address.is_empty()) {
            None => Way::None,
            Some(address) => match Datagrams::to(&address) {
                Ok(socket) => Way::Socket(socket),
                Err(error) => Way::Unknown { address, why: error.to_string() },
            },
        };
        Self { way, outbox: VecDeque::new(), warned: false }
    }

    /// Whether there is anybody to tell.
    pub(super) fn is_heard(&self) -> bool {
        match self.way {
            Way::None | Way::Unknown { .. } => false,
            Way::Socket(_) | Way::Anchor(_) => true,
        }
    }

    /// From here on the anchor passes on what is said.
    pub(super) fn go_by(&mut self, line: &Line) {
        if let Way::Socket(_) = self.way
            && let Ok(line) = line.try_clone()
        {
            self.way = Way::Anchor(line);
        }
    }

    /// Sends what the anchor was asked to pass on, if this process has the socket.
    pub(super) fn pass_on(&mut self, text: &str, fds: &[BorrowedFd<'_>]) {
        if let Way::Socket(socket) = &self.way {
            let sent = socket.send(text.as_bytes(), fds);
            self.judge(sent);
        }
    }

    /// How many messages there is room for.
    pub(super) fn room(&self) -> usize {
        OUTBOX - self.outbox.len()
    }

    /// Sends something that must not be lost, and says whether there was room for it.
    pub(super) fn put(&mut self, text: String, fds: Vec<OwnedFd>) -> bool {
        let fits = self.room() > 0;
        if fits {
            self.outbox.push_back(Letter { text, fds });
        }
        self.flush();
        fits
    }

    /// Sends something if nothing waits, and says whether it is on its way.
    pub(super) fn try_send(&mut self, text: &str) -> bool {
        if !self.outbox.is_empty() {
            return false;
        }
        let sent = self.send(text, &[]);
        let is_sent = sent.is_ok();
        self.judge(sent);
        is_sent
    }

    /// Sends what waits, as far as it goes, and says when to try again.
    pub(super) fn flush(&mut self) -> Option<Duration> {
        while let Some(Letter { text, fds }) = self.outbox.front() {
            let sent = self.send(text, &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>());
            let is_full = sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            self.judge(sent);
            if is_full {
                return Some(RETRY);
            }
            self.outbox.pop_front();
        }
        None
    }

    fn send(&self, text: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        match &self.way {
            Way::None | Way::Unknown { .. } => Ok(()),
            Way::Socket(socket) => socket.send(text.as_bytes(), fds),
            Way::Anchor(line) => line.say(&AnchorHears::Notify { text: text.to_owned() }, fds),
        }
    }

    /// Once: a service manager that does not listen is no reason to fill the log.
    fn judge(&mut self, sent: io::Result<()>) {
        if let Err(error) = sent
            && !std::mem::replace(&mut self.warned, true)
        {
            warn!(target: "hatchery", "cannot tell the service manager how it goes, serving goes on: {error}");
        }
    }

    /// Says once why nobody is told.
    pub(super) fn complain(&mut self) {
        if let Way::Unknown { address, why } = &self.way
            && !std::mem::replace(&mut self.warned, true)
        {
            warn!(target: "hatchery", "NOTIFY_SOCKET: `{}` is {why}: the service manager is told nothing", address.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn what_must_not_be_lost_waits_for_room_and_the_rest_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut post = Post::to(Some(path.into()));
        let sent = (0..100_000).take_while(|_| post.send("full", &[]).is_ok()).count();
        assert!(!post.try_send("STATUS=lost"));
        assert!(post.put("READY=1".to_owned(), Vec::new()));
        assert_eq!(post.flush(), Some(RETRY));
        manager.set_nonblocking(true).unwrap();
        let mut message = [0; 64];
        for _ in 0..sent {
            assert_eq!(manager.recv(&mut message).unwrap(), 4);
        }
        assert!(!post.try_send("STATUS=before what waits"));
        assert_eq!(post.flush(), None);
        assert!(post.try_send("STATUS=heard"));
        for heard in ["READY=1", "STATUS=heard"] {
            let length = manager.recv(&mut message).unwrap();
            assert_eq!(message[..length], *heard.as_bytes());
        }
    }
}
