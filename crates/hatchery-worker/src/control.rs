//! What reaches a worker from outside: its master's messages and signals.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix;
use std::rc::Rc;

use hatchery_core::wire::worker::{self, MasterSays};
use hatchery_net::Entry;
use hatchery_sys::Signal;
use hatchery_sys::channel::{Channel, Received};
use hatchery_sys::signals::{self, Blocked, Caught, SelfPipe};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::net::unix::pipe;
use tracing::warn;

use crate::relay::outlet::Heir;
use crate::relay::spare::Spare;
use crate::shared::Shared;

/// The longest message of a master: an assignment of every queue that there may
/// be. So large that the allocator maps it by itself: pages that no message ever
/// touches cost nothing, where on the heap all of it would be cleared (44 kB a worker).
const MESSAGE_LIMIT: usize = 256 * 1024;

/// What a terminal, or somebody who signals the whole group, sends to the
/// master as well: it decides. A handler, since ignoring would be inherited by
/// programs that the application starts.
const NOT_FOR_WORKERS: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGWINCH,
    Signal::SIGUSR2,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    // A client that is gone is an error of a write.
    Signal::SIGPIPE,
];

/// Gives this process its own signal handlers; from then on signals are let through.
pub(crate) fn catch_signals(blocked: Blocked) -> io::Result<SelfPipe> {
    let caught = SelfPipe::install(&[Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGUSR1])?;
    signals::ignore_by_handler(&NOT_FOR_WORKERS)?;
    blocked.restore();
    Ok(caught)
}

/// The self-pipe, registered with the event loop.
#[derive(Debug)]
pub(crate) struct Signals {
    pipe: SelfPipe,
    /// Another handle on the reading end: tokio wants to own what it waits for.
    readable: pipe::Receiver,
}

/// The channel to the master, registered with the event loop.
#[derive(Debug)]
pub(crate) struct Master {
    /// Another handle on this worker's end. It is no datagram socket, but nothing
    /// is ever received through it: it only tells when there is something.
    readable: UnixDatagram,
}

impl Signals {
    /// Call this inside of the runtime.
    pub(crate) fn register(pipe: SelfPipe) -> io::Result<Self> {
        let readable = pipe::Receiver::from_owned_fd(pipe.as_fd().try_clone_to_owned()?)?;
        Ok(Self { pipe, readable })
    }

    /// Does what signals say, for ever.
    pub(crate) async fn obey(mut self, shared: Rc<Shared>, reopen: Rc<dyn Fn(Option<OwnedFd>)>) {
        while self.readable.readable().await.is_ok() {
            // Read to its end here, since that is what the event loop goes by. A
            // signal that comes between this and `take` is counted now, and its
            // byte makes one more round.
            while self.readable.try_read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
            for Caught { signal, .. } in self.pipe.take() {
                match signal {
                    // If this is the signal of the master's death, the channel's
                    // end, which is seen apart, makes a drain of it.
                    Signal::SIGTERM | Signal::SIGQUIT => shared.recycle(),
                    Signal::SIGUSR1 => reopen(None),
                    _ => {}
                }
            }
        }
    }
}

impl Shared {
    /// Does what the master says; `enclosed` is the descriptor that came with it.
    fn obey(&self, says: MasterSays, enclosed: Option<OwnedFd>) {
        match says {
            MasterSays::Assign { queues, relay } => self.assign(queues, relay),
            MasterSays::Drain { timeout, heir, last } => {
                self.let_go(timeout, heir.and_then(|heir| known(heir, enclosed)), last);
            }
            MasterSays::Finish { timeout } => self.finish(timeout),
            MasterSays::Shed { connections, heir } => self.hand_over(connections, known(heir, enclosed)),
            MasterSays::Refuge { heir } => self.refuge.offer(known(heir, enclosed)),
            MasterSays::Queue { id } => self.add_queue(id, enclosed),
            // Between two other things: that is the answer.
            MasterSays::Ask => self.counters.turned(),
            MasterSays::Status => self.status.arrived(enclosed),
            MasterSays::Reopen => {}
        }
    }
}

/// Who is named, with the relay that is enclosed; nobody without one.
fn known(heir: worker::Heir, enclosed: Option<OwnedFd>) -> Option<Heir> {
    let entry = match Entry::from_fd(enclosed?) {
        Ok(entry) => entry,
        Err(error) => {
            warn!("the master names a relay that is none: {error}");
            return None;
        }
    };
    Some(Heir { whose: heir.relay, takes: heir.takes, entry })
}

impl Master {
    /// Call this inside of the runtime.
    pub(crate) fn register(channel: &Channel) -> io::Result<Self> {
        let readable = unix::net::UnixDatagram::from(channel.as_fd().try_clone_to_owned()?);
        Ok(Self { readable: UnixDatagram::from_std(readable)? })
    }

    /// Does what the master says, until there is no master.
    pub(crate) async fn obey(self, shared: Rc<Shared>, reopen: Rc<dyn Fn(Option<OwnedFd>)>) {
        let mut message = vec![0; MESSAGE_LIMIT];
        // An order brings the relay of whoever takes the connections.
        let mut spare = Spare::default();
        let _ = spare.hold(shared.channel.as_fd());
        loop {
            let receive = || {
                spare.give();
                let received = shared.channel.recv(&mut message);
                // If that fails, the descriptor that has just come has the number.
                let _ = spare.hold(shared.channel.as_fd());
                received
            };
            let (len, fds) = match self.readable.async_io(Interest::READABLE, receive).await {
                Ok(Received::Message { len, fds }) => (len, fds),
                // An order counts all the same: who is to drain without an heir closes politely.
                Ok(Received::Stripped { len }) => {
                    warn!("no descriptor is left for what the master has sent: connections will not move");
                    (len, Vec::new())
                }
                Ok(Received::Truncated) => {
                    warn!("the master sent a message that is too long");
                    continue;
                }
                Ok(Received::Closed) => return shared.orphaned(),
                Err(error) => {
                    warn!("the channel to the master is broken: {error}");
                    return shared.orphaned();
                }
            };
            match MasterSays::decode(&message[..len]) {
                Ok(MasterSays::Reopen) => reopen(fds.into_iter().next()),
                Ok(says) => shared.obey(says, fds.into_iter().next()),
                Err(error) => warn!("the master sent something that is no message: {error}"),
            }
        }
    }
}
