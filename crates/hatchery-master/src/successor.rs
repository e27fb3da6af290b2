//! The exec that an upgrade begins with.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use hatchery_core::wire::handoff::{HandedListener, Handoff, VARIABLE};
use hatchery_core::wire::upgrade::SuccessorSays;
use hatchery_core::{Generation, Pid};
use hatchery_net::{Address, Listeners};
use hatchery_sys::board::Board;
use hatchery_sys::channel::Channel;
use hatchery_sys::exec::{self, Program};
use hatchery_sys::fork::{self, Fork};
use hatchery_sys::origin::Origin;
use hatchery_sys::{process, signals, streams};

use crate::relays::Relays;

/// What a successor is started from and with.
#[derive(Debug)]
pub struct Legacy<'a> {
    /// How this program was started.
    pub origin: &'a Origin,
    /// The signal mask and dispositions that it was started with.
    pub startup: &'a signals::Startup,
    /// The accept queues, all of which it gets.
    pub listeners: &'a Listeners,
    /// Where connections move to: the successor's relay, and our own for a way back.
    pub relays: &'a Relays,
    /// The board, whose totals it goes on from.
    pub board: &'a Board,
    /// Which generation it will be.
    pub generation: Generation,
    /// How many workers run here.
    pub workers: u16,
    /// How many the settings asked for.
    pub configured: u16,
}

impl Legacy<'_> {
    /// Forks, and in the child becomes the program that this one was started
    /// from, as it is now on disk.
    ///
    /// # Errors
    /// When there is no process or no descriptor left. That the program cannot
    /// be started is said by the child, over the channel.
    pub fn start(&self) -> io::Result<(Pid, Channel)> {
        let (ours, theirs) = Channel::pair()?;
        streams::flush();
        let blocked = signals::block_all()?;
        match fork::fork(&blocked) {
            Ok(Fork::Child) => {
                let error = self.become_successor(&theirs);
                let says = SuccessorSays::Failed { text: error.to_string() };
                let _ = theirs.send(&says.encode(), &[]);
                process::exit_now(127)
            }
            Ok(Fork::Parent { child }) => {
                blocked.restore();
                Ok((Pid(child.as_raw()), ours))
            }
            Err(error) => {
                blocked.restore();
                Err(error)
            }
        }
    }

    /// Returns only if it cannot.
    fn become_successor(&self, link: &Channel) -> io::Error {
        signals::reset_in_child();
        let mut keep: Vec<BorrowedFd<'_>> = self.queues().collect();
        keep.push(link.as_fd());
        keep.extend(self.board.fd());
        keep.extend(self.relays.handed().into_iter().flatten());
        let mut env: Vec<OsString> = self.origin.env.iter().filter(|entry| !is_handoff(entry)).cloned().collect();
        env.push(format!("{VARIABLE}={}", self.handoff(link).encode()).into());
        let program = Program {
            path: self.origin.program.clone(),
            args: self.origin.args.clone(),
            env,
            dir: self.origin.dir.clone(),
        };
        exec::exec(&program, &keep, self.startup)
    }

    /// Made in the child, since the variable names the process that may read it.
    fn handoff(&self, link: &Channel) -> Handoff {
        let [entry, exit, back] = self.relays.handed().map(|fd| fd.map(|fd| fd.as_raw_fd()));
        Handoff {
            pid: Pid(process::pid().as_raw()),
            generation: self.generation,
            listeners: self.listeners.iter().map(handed).collect(),
            link: link.as_fd().as_raw_fd(),
            relay: entry.zip(exit).map(<[i32; 2]>::from),
            back,
            board: self.board.fd().map(|fd| fd.as_raw_fd()),
            workers: Some(self.workers),
            configured: Some(self.configured),
            strays: Vec::new(),
        }
    }

    fn queues(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.iter().flat_map(hatchery_net::Listener::queues).map(AsFd::as_fd)
    }
}

fn handed(listener: &hatchery_net::Listener) -> HandedListener {
    let (kind, address) = match listener.bound() {
        Address::Tcp(address) => ("tcp", address.to_string().into_bytes()),
        Address::Unix(path) => ("unix", path.as_os_str().as_bytes().to_vec()),
    };
    let queues = listener.queues().iter().map(|queue| queue.as_fd().as_raw_fd()).collect();
    HandedListener { kind: kind.to_owned(), address, queues }
}

fn is_handoff(entry: &OsString) -> bool {
    entry.clone().into_vec().strip_prefix(VARIABLE.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
}
