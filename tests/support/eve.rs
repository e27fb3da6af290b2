//! The moment before connections move, with the process that will send them
//! and the one that will receive them at hand.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use crate::client::{Client, request};
use crate::{Lab, Start, log};

/// More connections with [heavy](Eve::heavy) luggage than fit into a relay.
pub const MANY: usize = 300;

/// The part of a head that a heavy connection has sent, in bytes: more than most of a message.
const LUGGAGE: usize = 16 * 1024;

/// A connection that waits, and what is left to be sent of its next request.
#[derive(Debug)]
pub struct Waiting {
    /// The connection.
    pub client: Client,
    rest: String,
}

/// What has become of connections that waited.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// Those that were answered, without a word of an end.
    pub answered: usize,
    /// Those that were closed in order, with a part of a request after 408.
    pub closed: usize,
    /// Those that were reset.
    pub reset: usize,
}

/// Connections that were answered once.
///
/// # Panics
/// When one is not.
#[must_use]
pub fn idle(address: &str, count: usize) -> Vec<Waiting> {
    // Not every user is given as many descriptors as it may have.
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    let one = || {
        let mut client = Client::connect(address).expect("a connection");
        assert_eq!(client.get("/").expect("an answer").status, 200);
        Waiting { client, rest: request("/whoami", "") }
    };
    (0..count).map(|_| one()).collect()
}

/// Asks on every connection that is still open.
///
/// # Panics
/// When one is open and not answered.
pub fn fate(waiting: &mut [Waiting]) -> Fate {
    let mut fate = Fate::default();
    for Waiting { client, rest } in waiting {
        match client.is_closed() {
            Ok(true) => fate.closed += 1,
            Err(_) => fate.reset += 1,
            Ok(false) => {
                if !client.has_something() {
                    client.send(&rest).unwrap_or_else(|failure| panic!("{failure}, after {fate:?}"));
                }
                let answer = client.answer().unwrap_or_else(|failure| panic!("{failure}, after {fate:?}"));
                match (answer.status, answer.announces_close()) {
                    (200, false) => fate.answered += 1,
                    (408, true) => fate.closed += 1,
                    other => panic!("{other:?}, after {fate:?}"),
                }
            }
        }
    }
    fate
}

/// A server whose one worker has these connections, and the worker of its
/// successor, which serves already. They move when the first master gets WINCH.
#[derive(Debug)]
pub struct Eve {
    /// The server.
    pub lab: Lab,
    /// The connections.
    pub waiting: Vec<Waiting>,
    /// The worker that has them.
    pub sender: i32,
    /// The successor's worker.
    pub reader: i32,
}

impl Eve {
    /// Gets so far with so many connections that are idle.
    ///
    /// # Panics
    /// When that does not succeed.
    #[must_use]
    pub fn new(start: Start, count: usize) -> Self {
        Self::with(start, |lab| idle(lab.address(), count))
    }

    /// Gets so far with connections that take much along, and some that are idle.
    ///
    /// # Panics
    /// When that does not succeed.
    #[must_use]
    pub fn heavy(start: Start, count: usize, idles: usize) -> Self {
        Self::with(start, |lab| {
            let mut waiting = idle(lab.address(), count + idles);
            let head = request("/whoami", &format!("X-Luggage: {}\r\n", "x".repeat(LUGGAGE)));
            let (first, second) = head.split_at(head.len() - 2);
            for Waiting { client, rest } in &mut waiting[..count] {
                client.send(first).expect("sent");
                second.clone_into(rest);
            }
            lab.until("it has read them", || lab.unread() == 0);
            waiting
        })
    }

    fn with(start: Start, come: impl FnOnce(&Lab) -> Vec<Waiting>) -> Self {
        let lab = start.for_a_storm().set("workers", "1").set("upgrade-probation", "10m").ready();
        let waiting = come(&lab);
        let sender = *lab.ready().first().expect("a worker");
        lab.signal(Signal::SIGUSR2);
        lab.until_logged(log::UPGRADE_DONE, 1);
        lab.until("the successor's worker is ready", || lab.ready().len() == 1);
        let reader = *lab.ready().first().expect("a worker");
        assert_ne!(reader, sender);
        Self { lab, waiting, sender, reader }
    }

    /// Tells the old worker to hand them over.
    pub fn let_them_move(&self) {
        self.lab.signal_to(self.lab.first(), Signal::SIGWINCH);
    }

    /// Waits until a process is gone.
    ///
    /// # Panics
    /// When it stays.
    pub fn wait_until_gone(&self, pid: i32) {
        self.lab.until("it is gone", || self.lab.processes().iter().all(|process| process.pid != pid));
    }

    /// Stops both generations.
    ///
    /// # Panics
    /// When something is left.
    pub fn stop(self) {
        self.lab.signal(Signal::SIGTERM);
        self.lab.assert_gone();
    }
}
