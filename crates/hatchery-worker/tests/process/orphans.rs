//! Masters that are killed: real processes between the test and the worker.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::process::abort;
use std::time::Duration;

use hatchery_sys::channel::{Channel, Received};
use hatchery_sys::fork::{Fork, fork};
use hatchery_sys::{Pid, Signal, poll, process, signals};
use hatchery_worker::Worker;
use nix::sys::wait::waitpid;
use nix::unistd::pause;

use crate::Test;
use crate::support::{DEADLINE, Master, Options, echo};

pub(crate) const TESTS: &[Test] = &[
    ("a_killed_master_s_worker_finishes_and_goes", a_killed_master_s_worker_finishes_and_goes),
    ("a_killed_master_s_worker_that_is_stuck_is_killed_later", one_that_is_stuck_is_killed_later),
    ("a_killed_master_s_worker_that_boots_dies_with_it", one_that_boots_dies_with_it),
];

/// A master in a process of its own, and something that tells when both it and its worker are gone.
struct Family {
    master: Pid,
    alive: Channel,
}

impl Family {
    /// Returns when `app` has booted, or at once.
    fn found<A, E>(listening: &Master, is_ready: bool, app: A) -> Self
    where
        A: AsyncFn(Worker, &'static ()) -> Result<(), E>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Both have the other end, and neither ever closes it.
        let (alive, theirs) = Channel::pair().unwrap();
        let blocked = signals::block_all().unwrap();
        match fork(&blocked).unwrap() {
            Fork::Parent { child: master } => {
                blocked.restore();
                drop(theirs);
                let family = Self { master, alive };
                family.wait();
                assert!(matches!(family.alive.recv(&mut [0; 16]).unwrap(), Received::Message { .. }));
                family
            }
            Fork::Child => {
                signals::reset_in_child();
                blocked.restore();
                drop(alive);
                let options = Options { drain_timeout: Some(Duration::from_millis(10)), ..Options::default() };
                let child = listening.fork(options, app);
                if is_ready {
                    child.is_ready();
                    child.assign([0]);
                }
                theirs.send(b"founded", &[]).unwrap();
                pause();
                // Nothing of the test's may run in this process.
                abort()
            }
        }
    }

    fn kill_master(&self) {
        process::kill(self.master, Signal::SIGKILL).unwrap();
        waitpid(self.master, None).unwrap();
    }

    fn dies_out(self) {
        self.wait();
        assert!(matches!(self.alive.recv(&mut [0; 16]).unwrap(), Received::Closed));
    }

    fn wait(&self) {
        assert!(poll::readable(&[self.alive.as_fd()], Some(DEADLINE)).unwrap()[0], "nothing happens");
    }
}

fn a_killed_master_s_worker_finishes_and_goes() {
    let listening = Master::new();
    let family = Family::found(&listening, true, echo);
    let mut client = listening.client();
    client.echo();
    family.kill_master();
    assert_eq!(client.hear(), "bye 0");
    family.dies_out();
}

fn one_that_is_stuck_is_killed_later() {
    let listening = Master::new();
    let family = Family::found(&listening, true, async |worker, _| {
        worker
            .serve(async |conn| {
                let _ = conn.stream().try_write(b"stuck\n");
                // A signal's handler interrupts it, and changes nothing.
                loop {
                    pause();
                }
            })
            .await
    });
    let mut client = listening.client();
    assert_eq!(client.hear(), "stuck");
    family.kill_master();
    assert_eq!(client.hear(), "");
    family.dies_out();
}

fn one_that_boots_dies_with_it() {
    let listening = Master::new();
    let family = Family::found(&listening, false, async |_, _| block());
    family.kill_master();
    family.dies_out();
}

fn block() -> Result<(), Infallible> {
    loop {
        pause();
    }
}
