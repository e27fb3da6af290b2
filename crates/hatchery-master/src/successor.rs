//! The exec that an upgrade begins with.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use hatchery_control::Until;
use hatchery_core::wire::handoff::{Asleep, HandedListener, Handoff, VARIABLE};
use hatchery_core::wire::upgrade::SuccessorSays;
use hatchery_core::{Generation, Pid};
use hatchery_net::{Address, Holder, Kept, Listener, Listeners};
use hatchery_sys::board::Board;
use hatchery_sys::channel::Channel;
use hatchery_sys::exec::{self, Program};
use hatchery_sys::fork::{self, Fork};
use hatchery_sys::origin::Origin;
use hatchery_sys::{process, signals, streams};

use crate::anchor::Line;
use crate::commands::HELD;
use crate::control::Control;
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
    /// The board, on which it counts as well.
    pub board: &'a Board,
    /// What the program keeps open.
    pub kept: &'a Kept,
    /// Where operators look at the server.
    pub admin: Option<&'a Listener>,
    /// The line to the anchor, if there is one.
    pub anchor: Option<&'a Line>,
    /// Who asks over the control socket.
    pub control: &'a Control,
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
        let (ours, theirs) = Channel::pair_that_tells()?;
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

    /// Becomes the program anew in this very process, which has no child any more,
    /// to wait for the next connection. Signals are to be blocked: what comes from
    /// here on waits for the handlers of the new image. Returns only if it cannot,
    /// and then the process cannot go on either.
    #[must_use]
    pub fn sleep(&self, pid_file: Option<BorrowedFd<'_>>, failures: u32) -> io::Error {
        // A program that knows nothing of this takes it for a predecessor that is gone, and serves.
        let link = match Channel::pair() {
            Ok((_closed, link)) => link,
            Err(error) => return error,
        };
        streams::flush();
        let asleep = Asleep {
            pid_file: pid_file.map(|fd| fd.as_raw_fd()),
            program: self.origin.program.as_os_str().as_bytes().to_vec(),
            failures,
        };
        let mut handoff = self.handoff(&link);
        handoff.asleep = Some(asleep);
        handoff.control = self.control.socket().map(|fd| fd.as_raw_fd());
        handoff.clients = self.control.everybody().map(|fd| fd.as_raw_fd()).collect();
        handoff.proving = Vec::new();
        (handoff.relay, handoff.back) = (None, None);
        // The program that runs, whatever its path leads to by now.
        self.become_program(Path::new("/proc/self/exe"), &link, &handoff, pid_file)
    }

    /// Returns only if it cannot.
    fn become_successor(&self, link: &Channel) -> io::Error {
        self.become_program(&self.origin.program, link, &self.handoff(link), None)
    }

    fn become_program(
        &self,
        path: &Path,
        link: &Channel,
        handoff: &Handoff,
        pid_file: Option<BorrowedFd<'_>>,
    ) -> io::Error {
        signals::reset_in_child();
        let mut keep: Vec<BorrowedFd<'_>> = self.queues().collect();
        keep.push(link.as_fd());
        keep.extend(self.board.fd());
        keep.extend(self.relays.handed().into_iter().flatten().filter(|_| handoff.asleep.is_none()));
        keep.extend(pid_file);
        keep.extend(self.kept.iter().map(|(_, fd)| fd));
        keep.extend(self.admin().map(|(_, fd)| fd));
        keep.extend(self.anchor.map(AsFd::as_fd));
        match handoff.asleep {
            Some(_) => keep.extend(self.control.socket().into_iter().chain(self.control.everybody())),
            None => keep.extend(self.control.upgraders().map(|(fd, _)| fd)),
        }
        let mut env: Vec<OsString> = self.origin.env.iter().filter(|entry| !is_handoff(entry)).cloned().collect();
        env.push(format!("{VARIABLE}={}", handoff.encode()).into());
        let program =
            Program { path: path.to_owned(), args: self.origin.args.clone(), env, dir: self.origin.dir.clone() };
        let startup = if handoff.asleep.is_some() { self.startup.all_blocked() } else { self.startup.holding(&HELD) };
        exec::exec(&program, &keep, &startup)
    }

    /// Made in the child, since the variable names the process that may read it.
    fn handoff(&self, link: &Channel) -> Handoff {
        let [entry, exit, back] = self.relays.handed().map(|fd| fd.map(|fd| fd.as_raw_fd()));
        Handoff {
            pid: Pid(process::pid().as_raw()),
            generation: self.generation,
            listeners: self.listeners.iter().filter(|listener| !listener.is_closed()).map(handed).collect(),
            link: link.as_fd().as_raw_fd(),
            relay: entry.zip(exit).map(<[i32; 2]>::from),
            back,
            board: self.board.fd().map(|fd| fd.as_raw_fd()),
            workers: Some(self.workers),
            configured: Some(self.configured),
            kept: {
                let kept = self.kept.iter().map(|(name, fd)| (name.to_owned(), fd.as_raw_fd()));
                kept.chain(self.admin().map(|(name, fd)| (name, fd.as_raw_fd()))).collect()
            },
            anchor: self.anchor.map(|line| line.as_fd().as_raw_fd()),
            asleep: None,
            startup: Some(self.startup.to_bits()),
            control: None,
            clients: self.control.upgraders().map(|(fd, _)| fd.as_raw_fd()).collect(),
            proving: {
                let proving = self.control.upgraders().filter(|(_, until)| *until == Until::Proven);
                proving.map(|(fd, _)| fd.as_raw_fd()).collect()
            },
            before: self.control.elders().collect(),
            strays: Vec::new(),
        }
    }

    fn admin(&self) -> Option<(String, BorrowedFd<'_>)> {
        let listener = self.admin?;
        Some((admin_name(listener.asked()), listener.queues().first()?.as_fd()))
    }

    fn queues(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.iter().flat_map(Listener::queues).map(AsFd::as_fd)
    }
}

/// By which name the socket is kept on which operators look at the server. No program can keep one by it.
#[must_use]
pub fn admin_name(address: &Address) -> String {
    format!("admin {address}")
}

fn handed(listener: &Listener) -> HandedListener {
    let (kind, address) = match listener.bound() {
        Address::Tcp(address) => ("tcp", address.to_string().into_bytes()),
        Address::Unix(path) => ("unix", path.as_os_str().as_bytes().to_vec()),
    };
    let queues = listener.queues().iter().map(|queue| queue.as_fd().as_raw_fd()).collect();
    let passed = listener.holder().name().map(str::to_owned);
    let stored = match listener.holder() {
        Holder::Store { copies } => Some(*copies),
        Holder::Program | Holder::Manager { .. } => None,
    };
    HandedListener { kind: kind.to_owned(), address, queues, passed, stored }
}

fn is_handoff(entry: &OsString) -> bool {
    entry.clone().into_vec().strip_prefix(VARIABLE.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
}
