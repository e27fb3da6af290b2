//! What signals mean to a worker.

use hatchery_core::wire::worker::WorkerSays;
use hatchery_sys::{Pid, Signal};

use crate::Test;
use crate::support::{Master, Options, echo};

pub(crate) const TESTS: &[Test] = &[
    ("term_and_quit_ask_the_master_for_a_replacement", term_and_quit_ask_the_master_for_a_replacement),
    ("a_term_while_it_boots_is_not_forgotten", a_term_while_it_boots_is_not_forgotten),
    ("usr1_reopens_the_logs", usr1_reopens_the_logs),
    ("what_a_terminal_sends_means_nothing", what_a_terminal_sends_means_nothing),
    ("a_worker_that_is_born_an_orphan_goes", a_worker_that_is_born_an_orphan_goes),
];

fn term_and_quit_ask_the_master_for_a_replacement() {
    let master = Master::new();
    let child = master.serving(Options::default());
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        child.kill(signal);
        child.expect(&WorkerSays::Recycle);
        assert_eq!(master.client().echo(), child.pid);
    }
}

fn a_term_while_it_boots_is_not_forgotten() {
    let master = Master::new();
    let child = master.fork(Options::default(), async |worker, nothing| {
        // Blocks the loop, as a boot may: the signal is waiting when it goes on.
        hatchery_sys::process::kill(hatchery_sys::process::pid(), Signal::SIGTERM).unwrap();
        turns(2).await;
        echo(worker, nothing).await
    });
    child.is_ready();
    child.expect(&WorkerSays::Recycle);
}

/// The event loop asks the kernel so many times at least, and sees whatever was there before.
async fn turns(turns: usize) {
    for _ in 0..turns {
        // A new one each time: nobody knows yet that there is something to read.
        let (ours, theirs) = tokio::net::UnixDatagram::pair().unwrap();
        ours.send(b"x").await.unwrap();
        theirs.recv(&mut [0]).await.unwrap();
    }
}

fn usr1_reopens_the_logs() {
    let master = Master::new();
    let child = master.serving(Options::default());
    child.kill(Signal::SIGUSR1);
    child.reopened();
    child.settle();
    assert_eq!(master.client().echo(), child.pid);
}

fn what_a_terminal_sends_means_nothing() {
    let master = Master::new();
    let child = master.serving(Options::default());
    for signal in [
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGWINCH,
        Signal::SIGUSR2,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGPIPE,
    ] {
        child.kill(signal);
        child.settle();
        assert_eq!(master.client().echo(), child.pid);
    }
}

/// The test cannot die for this; a worker whose parent is somebody else is in the same place.
fn a_worker_that_is_born_an_orphan_goes() {
    let master = Master::new();
    let child = master.fork_of(Pid::from_raw(1), Options::default(), echo);
    assert_eq!(child.next(), None);
    child.exits_with(1);
}
