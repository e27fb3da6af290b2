//! Who is let in.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use hatchery_control::Refusal;
use hatchery_sys::socket::{self, Credentials};
use hatchery_sys::user;
use tracing::warn;

use super::Control;
use super::client::{Client, Heard, State};
use super::endpoint::{self, Endpoint};

/// Clients that are taken in before anything else is looked at again.
const AT_A_TIME: usize = 16;

/// How long nobody is taken in when there is no descriptor left for it.
const REST: Duration = Duration::from_secs(1);

impl Control {
    pub(super) fn door(&self) -> Option<&UnixListener> {
        self.endpoint.as_ref().and_then(Endpoint::listener).filter(|_| self.rests_until.is_none())
    }

    pub(super) fn let_in(&mut self) {
        for _ in 0..AT_A_TIME {
            let Some(listener) = self.endpoint.as_ref().and_then(Endpoint::listener) else { return };
            match endpoint::accept(listener) {
                Ok(stream) => self.meet(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    warn!(target: "hatchery", "no client of the control socket can be taken in for a moment: {error}");
                    self.rests_until = Some(Instant::now() + REST);
                    return;
                }
            }
        }
    }

    fn meet(&mut self, stream: UnixStream) {
        let who = match socket::credentials(stream.as_fd()) {
            Ok(who) if self.may_ask(who) => who,
            // A process that may not even be known, or somebody whom the mode does not let in.
            Ok(who) => {
                warn!(target: "hatchery", "control socket: user {} (pid {}) may not ask", who.uid, who.pid);
                return turn_away(stream, who, Refusal::Forbidden, "only root and the server's own user may ask");
            }
            Err(error) => {
                warn!(target: "hatchery", "control socket: the system does not tell who asks: {error}");
                return;
            }
        };
        self.make_room_for(who);
        let mut client = Client::new(stream, who, State::Asking);
        let heard = client.hear();
        let key = self.next_key;
        self.next_key += 1;
        match heard {
            Heard::Gone => return,
            Heard::Nothing => {}
            Heard::Request(request) => self.asked.push_back((key, request)),
        }
        self.clients.insert(key, client);
    }

    fn may_ask(&self, who: Credentials) -> bool {
        let is_open = self.endpoint.as_ref().is_some_and(Endpoint::is_open_to_others);
        who.uid == 0 || who.uid == user::effective() || is_open
    }
}

/// Says why, if that can be said at once, and closes.
fn turn_away(stream: UnixStream, who: Credentials, because: Refusal, text: &str) {
    Client::new(stream, who, State::Asking).refuse(because, text.to_owned());
}
