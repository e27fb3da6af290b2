//! How a test knows where a handler is, and holds it there.

use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use super::PATIENCE;

/// A door at which handlers knock and wait.
pub(crate) struct Gate(TcpListener);

/// A handler that waits at the gate; dropping it lets the handler go on.
pub(crate) struct Waiting(#[expect(dead_code, reason = "its drop is the signal")] TcpStream);

impl Gate {
    pub(crate) fn open() -> Self {
        let gate = TcpListener::bind("127.0.0.1:0").unwrap();
        gate.set_nonblocking(true).unwrap();
        Self(gate)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// The next handler, if one has knocked.
    pub(crate) fn look(&self) -> Option<Waiting> {
        self.0.accept().ok().map(|(stream, _)| Waiting(stream))
    }

    /// Waits until a handler knocks.
    pub(crate) fn wait(&self) -> Waiting {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.look() {
                Some(waiting) => return waiting,
                None => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    assert!(!left.is_zero(), "no handler came to the gate");
                    hatchery_sys::poll::readable(&[std::os::fd::AsFd::as_fd(&self.0)], Some(left)).unwrap();
                }
            }
        }
    }
}
